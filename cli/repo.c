#include "cli/repo.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { PASSWORD_FILE_MAX = 64 << 10, CA_FILE_MAX = 1 << 20 };

static int read_file(const char *path, size_t max, struct buf *out, struct err *err)
{
    FILE *f = fopen(path, "re");
    if (!f)
        return err_errno(err, errno, "%s", path);
    char piece[4096];
    size_t n;
    out->cap = max;
    while ((n = fread(piece, 1, sizeof piece, f)) > 0)
        buf_add(out, piece, n);
    bool bad = ferror(f);
    fclose(f);
    explicit_bzero(piece, sizeof piece);
    if (bad)
        return err_set(err, ERR_IO, "%s: cannot be read", path);
    return out->overflow ? err_set(err, ERR_TOO_LARGE, "%s: larger than %zu bytes", path, max) : 0;
}

/* restic takes the file without white space at its ends. */
static int read_password(const char *path, char **ret, struct err *err)
{
    struct buf text CLEANUP(buf_free) = {0};
    if (read_file(path, PASSWORD_FILE_MAX, &text, err) < 0)
        return -1;
    str password = str_trim(buf_view(&text));
    if (password.n == 0)
        return err_set(err, ERR_INVALID, "%s: the file holds no password", path);
    *ret = str_dup(password);
    explicit_bzero(text.p, text.n);
    return 0;
}

void repo_password_free(char **password)
{
    if (*password)
        explicit_bzero(*password, strlen(*password));
    free(*password);
    *password = NULL;
}

int repo_place_open(const struct repo_place *place, struct backend **ret, char **ret_password,
                    struct err *err)
{
    const char *url = place->url ? place->url : getenv("RESTIC_REPOSITORY");
    const char *file = place->password_file ? place->password_file : getenv("RESTIC_PASSWORD_FILE");
    if (!url || !*url)
        return err_set(err, ERR_INVALID,
                       "no repository is named: give --repo or RESTIC_REPOSITORY");
    if (!file || !*file)
        return err_set(err, ERR_INVALID,
                       "no password: give --password-file or RESTIC_PASSWORD_FILE");
    struct buf ca CLEANUP(buf_free) = {0};
    char *password CLEANUP(repo_password_free) = NULL;
    if (read_password(file, &password, err) < 0 ||
        (place->ca_file && read_file(place->ca_file, CA_FILE_MAX, &ca, err) < 0))
        return -1;
    struct backend_rest_options rest = {.ca_pem = ca.p};
    if (backend_open_url(url, &rest, ret, err) < 0)
        return -1;
    *ret_password = TAKE(password);
    return 0;
}

static int confirm(void *ctx, struct err *err)
{
    struct repo_session *s = ctx;
    return lock_confirm(s->lock, err);
}

static int take_lock(struct repo_session *s, struct err *err)
{
    char host[256] = "";
    gethostname(host, sizeof host - 1);
    struct lock_options options = {.hostname = host, .username = getenv("USER")};
    return lock_acquire(s->repo, &options, &s->lock, err);
}

int repo_open(struct repo_session *s, const struct repo_place *place, bool write, struct err *err)
{
    char *password CLEANUP(repo_password_free) = NULL;
    struct repository_options options = {.ctx = s, .read_only = !write};
    if (write) {
        options.before_index = confirm;
        options.before_snapshot = confirm;
    }
    if (repo_place_open(place, &s->backend, &password, err) < 0 ||
        repository_open(s->backend, password, &options, &s->repo, err) < 0)
        return -1;
    return write ? take_lock(s, err) : 0;
}

void repo_close(struct repo_session *s)
{
    struct err ignored;
    if (s->lock)
        (void)lock_release(s->lock, &ignored);
    if (s->repo)
        repository_close(s->repo);
    if (s->backend)
        backend_close(s->backend);
    *s = (struct repo_session){0};
}

int cli_repo(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
        const char *what;
    } verbs[] = {
        {"init", cli_repo_init, "make a repository"},
        {"backup", cli_repo_backup, "save directories as a snapshot"},
        {"snapshots", cli_repo_snapshots, "list the snapshots"},
        {"ls", cli_repo_ls, "list the files of a snapshot"},
    };
    for (size_t i = 0; argc > 1 && i < ARRAY_LEN(verbs); i++)
        if (streq(argv[1], verbs[i].name))
            return verbs[i].run(argc - 1, argv + 1);
    bool help = argc > 1 && streq(argv[1], "--help");
    FILE *to = help ? stdout : stderr;
    fprintf(to, "usage: %s repo VERB: restic repositories, without a cluster\n\n", cli_program);
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        fprintf(to, "  %-10s %s\n", verbs[i].name, verbs[i].what);
    return help ? CLI_OK : CLI_USAGE;
}

int cli_repo_init(int argc, char **argv)
{
    struct repo_place place = {0};
    const struct cli_option options[] = {REPO_OPTIONS(&place)};
    const struct cli_usage usage = {"repo init", "",
                                    "Makes a restic repository (format version 2).", options,
                                    ARRAY_LEN(options)};
    int first, code;
    if (!cli_options(argc, argv, &usage, &first, &code))
        return code;
    if (first < argc)
        return cli_usage_error(&usage, "%s: no argument is expected", argv[first]);
    struct backend *backend CLEANUP(backend_close_p) = NULL;
    char *password CLEANUP(repo_password_free) = NULL;
    struct err err;
    char host[256] = "", id[STORE_ID_HEX];
    gethostname(host, sizeof host - 1);
    if (repo_place_open(&place, &backend, &password, &err) < 0)
        return cli_fail("repo init", &err);
    struct repository_key key = {
        .password = password, .username = getenv("USER"), .hostname = host};
    struct repository *repo CLEANUP(repository_close_p) = NULL;
    if (repository_init(backend, &key, 1, NULL, &err) < 0 ||
        repository_open(backend, password, NULL, &repo, &err) < 0)
        return cli_fail("repo init", &err);
    store_id_hex(repository_id(repo), id);
    printf("repository %.10s is made. Keep its password: without it nothing can be read.\n", id);
    return CLI_OK;
}
