#include "mover/mover.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/log.h"
#include "gateway/client.h"
#include "mover/archive.h"
#include "mover/extract.h"
#include "store/limits.h"
#include "store/repository.h"

/* The gateway answers an upload when the store has it: a pack over a slow line takes its time. */
enum { STORING_SECONDS = 300 };

enum { PATIENCE_MS = 60000, PAUSE_MS = 1000 };

struct settings {
    bool restore, has_tree;
    struct store_id tree;
    const char *gateway, *ca, *repository, *root, *token_file, *volume, *termination;
};

static const char *setting(const char *name, const char *otherwise)
{
    const char *value = getenv(name);
    return value && *value ? value : otherwise;
}

static int read_settings(int argc, char **argv, struct settings *s, struct err *err)
{
    if (argc != 2 || (!streq(argv[1], "backup") && !streq(argv[1], "restore")))
        return err_set(err, ERR_INVALID, "usage: gleaner mover backup|restore");
    const char *tree = setting(MOVER_ENV_TREE, NULL);
    *s = (struct settings){
        .restore = streq(argv[1], "restore"),
        .gateway = setting(MOVER_ENV_GATEWAY, NULL),
        .ca = setting(MOVER_ENV_CA, NULL),
        .repository = setting(MOVER_ENV_REPOSITORY, NULL),
        .root = setting(MOVER_ENV_ROOT, NULL),
        .token_file = setting(MOVER_ENV_TOKEN_FILE, MOVER_DEFAULT_TOKEN_FILE),
        .volume = setting(MOVER_ENV_VOLUME, MOVER_DEFAULT_VOLUME),
        .termination = setting(MOVER_ENV_TERMINATION, MOVER_DEFAULT_TERMINATION),
        .has_tree = tree != NULL,
    };
    if (!s->gateway || !s->ca || !s->repository || (s->restore && !tree))
        return err_set(err, ERR_INVALID, "%s, %s, %s%s must be set", MOVER_ENV_GATEWAY,
                       MOVER_ENV_CA, MOVER_ENV_REPOSITORY, s->restore ? ", " MOVER_ENV_TREE : "");
    if (tree && !store_id_parse(str_of(tree), &s->tree))
        return err_set(err, ERR_INVALID, "%s is not the id of a tree", MOVER_ENV_TREE);
    return 0;
}

static void pause_ms(long ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&t, &t) < 0 && errno == EINTR)
        ;
}

static bool worth_waiting(const struct err *err)
{
    return err->kind == ERR_UNAUTHORIZED || err->kind == ERR_FORBIDDEN || err_is_transient(err);
}

/* The controller registers this pod only after it exists, and the gateway may be starting. */
static int fetch_password(const struct settings *s, char **ret, struct err *err)
{
    struct gateway_client *c CLEANUP(gateway_client_free_p) = NULL;
    if (gateway_client_new(s->gateway, s->ca, s->token_file, &c, err) < 0)
        return -1;
    int64_t end = clock_mono_ms() + PATIENCE_MS;
    while (gateway_fetch_password(c, ret, err) < 0) {
        if (!worth_waiting(err) || clock_mono_ms() + PAUSE_MS > end)
            return err_wrap(err, "asking for the repository's password");
        pause_ms(PAUSE_MS);
    }
    return 0;
}

static void password_free(char **password)
{
    if (*password)
        OPENSSL_cleanse(*password, strlen(*password));
    free(*password);
}

static int move(const struct settings *s, struct repository *repo, struct mover_report *report,
                struct err *err)
{
    if (repository_load_index(repo, err) < 0)
        return err_wrap(err, "index of repository %s", s->repository);
    int volume CLEANUP(close_p) = open(s->volume, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (volume < 0)
        return err_errno(err, errno, "volume %s", s->volume);
    if (s->restore)
        return extract_volume(repo, volume, &s->tree, s->root, report, err);
    return archive_volume(repo, volume, s->has_tree ? &s->tree : NULL, /* probe= */ NULL, report,
                          err);
}

static int run(const struct settings *s, struct mover_report *report, struct err *err)
{
    struct backend *backend CLEANUP(backend_close_p) = NULL;
    struct repository *repo CLEANUP(repository_close_p) = NULL;
    char *password CLEANUP(password_free) = NULL;
    char *url CLEANUP(free_p) = xasprintf("%s/%s/", s->gateway, s->repository);
    struct backend_rest_options options = {.url = url,
                                           .ca_pem = s->ca,
                                           .token_file = s->token_file,
                                           .timeout_seconds = STORING_SECONDS,
                                           .retry_seconds = 120};
    struct repository_options how;
    mover_repository_options(s->restore, &how);
    if (fetch_password(s, &password, err) < 0)
        return -1;
    if (backend_open_rest(&options, &backend, err) < 0 ||
        repository_open(backend, password, &how, &repo, err) < 0)
        return err_wrap(err, "repository %s", s->repository);
    return move(s, repo, report, err);
}

static void write_report(const char *path, const struct mover_report *report)
{
    struct buf text CLEANUP(buf_free) = {0};
    struct err err;
    mover_report_encode(report, &text);
    int fd CLEANUP(close_p) = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || write(fd, text.p, text.n) != (ssize_t)text.n) {
        err_errno(&err, errno, "writing the report to %s", path);
        log_err("the report cannot be left", &err, NULL, NULL);
    }
    log_line(LOG_INFO, "report", "text", text.p, NULL);
}

static void end_at_once(int signal_number)
{
    _exit(128 + signal_number);
}

void mover_repository_options(bool restore, struct repository_options *ret_options)
{
    *ret_options = (struct repository_options){
        .read_only = restore,
        .lean = !restore,
        .threads = restore ? 0 : STORE_MOVER_THREADS,
        .uploads = STORE_MOVER_UPLOADS,
        .pack_target = STORE_MOVER_PACK_TARGET,
    };
}

void mover_prepare_memory(void)
{
    /* What is big goes back to the kernel when it is freed, and glibc does not learn otherwise:
     * half the memory of a mover of many files. At 4 MiB the holes between chunks are 17 MiB more;
     * at 1 MiB memory that comes and goes is a sixth of the processor's time. One arena for all
     * threads: theirs would keep what another one needs. */
    mallopt(M_MMAP_THRESHOLD, 2 << 20);
    mallopt(M_TRIM_THRESHOLD, 4 << 20);
    mallopt(M_ARENA_MAX, 1);
}

/* The first process of a container ignores signals that it has no handler for. Being killed is safe
 * at any moment. */
static void prepare_process(void)
{
    struct sigaction end = {.sa_handler = end_at_once};
    sigaction(SIGTERM, &end, NULL);
    sigaction(SIGINT, &end, NULL);
    signal(SIGPIPE, SIG_IGN);
    /* One descriptor for each directory on the way down. */
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    mover_prepare_memory();
    umask(0077);
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

static void put_error(struct mover_report *report, const struct err *err)
{
    snprintf(report->error_kind, sizeof report->error_kind, "%s", err_kind_name(err->kind));
    snprintf(report->error, sizeof report->error, "%.*s", (int)sizeof report->error - 1, err->msg);
}

int mover_main(int argc, char **argv)
{
    struct settings s = {0};
    struct mover_report report = {0};
    struct err err = {0};
    log_setup(LOG_INFO, "mover");
    int r = read_settings(argc, argv, &s, &err);
    if (s.termination)
        snprintf(report.verb, sizeof report.verb, "%s", argv[1]);
    if (r < 0) {
        log_err("cannot start", &err, NULL, NULL);
        put_error(&report, &err);
        if (s.termination)
            write_report(s.termination, &report);
        return MOVER_EXIT_USAGE;
    }
    prepare_process();
    log_line(LOG_INFO, "started", "verb", argv[1], "repository", s.repository, NULL);
    if (run(&s, &report, &err) < 0) {
        log_err("failed", &err, "repository", s.repository);
        put_error(&report, &err);
        r = -1;
    }
    write_report(s.termination, &report);
    return r < 0 ? MOVER_EXIT_FAILED : report.problems ? MOVER_EXIT_PROBLEMS : MOVER_EXIT_DONE;
}
