/* Finding a repository, opening it, locking it. */
#include <errno.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "cli/repo.h"
#include "core/clock.h"
#include "core/proc.h"
#include "store/backend_s3.h"
#include "store/limits.h"

enum { SECRET_FILE_MAX = 64 << 10, CA_FILE_MAX = 1 << 20, COMMAND_SECONDS = 300 };
/* restic: cmd/restic/lock.go. */
enum { RETRY_FIRST_MS = 5000, RETRY_MOST_MS = 60000, MIB = 1 << 20, PACK_MIB_MAX = 128 };
enum { KIB = 1 << 10, LIMIT_MAX = 1 << 30 };
enum { SIGNAL_EXIT = 128, PASSWORD_TRIES = 3 };

#define PASSWORD_PROMPT "password of the repository"

/* ---- passwords ---- */

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

void repo_password_free(char **password)
{
    if (*password)
        explicit_bzero(*password, strlen(*password));
    free(*password);
    *password = NULL;
}

/* restic takes the text without white space at its ends. Wipes it. */
static int take_password(struct buf *text, const char *from, char **ret, struct err *err)
{
    str password = str_trim(buf_view(text));
    if (password.n == 0)
        return err_set(err, ERR_INVALID, "%s: there is no password in it", from);
    *ret = str_dup(password);
    explicit_bzero(text->p, text->n);
    return 0;
}

int repo_password_file(const char *path, char **ret, struct err *err)
{
    struct buf text CLEANUP(buf_free) = {0};
    if (read_file(path, SECRET_FILE_MAX, &text, err) < 0)
        return -1;
    return take_password(&text, path, ret, err);
}

/* A terminal whose echo is off, as it was before. */
static struct termios shown;

/* Ctrl-C at the question must not leave a shell that shows nothing. */
static void show_again(int number)
{
    tcsetattr(STDIN_FILENO, TCSANOW, &shown);
    raise(number); /* SA_RESETHAND: this one ends the process */
}

static void on_ending_signals(void (*handler)(int number), struct sigaction before[])
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        struct sigaction action = {.sa_handler = handler, .sa_flags = (int)SA_RESETHAND};
        if (!handler)
            sigaction(numbers[i], &before[i], NULL);
        else if (sigaction(numbers[i], NULL, &before[i]) == 0 && before[i].sa_handler != SIG_IGN)
            sigaction(numbers[i], &action, NULL);
    }
}

static ssize_t read_hidden(const char *prompt, char **line, size_t *room)
{
    struct sigaction before[4];
    struct termios silent = shown;
    silent.c_lflag &= ~(tcflag_t)ECHO;
    on_ending_signals(show_again, before);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
    fprintf(stderr, "%s: ", prompt);
    ssize_t n = getline(line, room, stdin);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown);
    on_ending_signals(NULL, before);
    fputc('\n', stderr);
    return n;
}

int repo_password_ask(const char *prompt, char **ret, struct err *err)
{
    char *line = NULL;
    size_t room = 0;
    bool terminal = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &shown) == 0;
    ssize_t n = terminal ? read_hidden(prompt, &line, &room) : getline(&line, &room, stdin);
    if (n > 0)
        line[strcspn(line, "\r\n")] = '\0';
    if (n > 0 && *line)
        *ret = xstrdup(line);
    if (line)
        explicit_bzero(line, room);
    free(line);
    return *ret ? 0
                : err_set(err, ERR_INVALID,
                          terminal ? "no password was given"
                                   : "no password: give --password-file, RESTIC_PASSWORD_FILE, "
                                     "RESTIC_PASSWORD or RESTIC_PASSWORD_COMMAND");
}

int repo_password_ask_new(const char *prompt, char **ret, struct err *err)
{
    char *again CLEANUP(repo_password_free) = NULL;
    if (repo_password_ask(prompt, ret, err) < 0)
        return -1;
    if (!isatty(STDIN_FILENO))
        return 0;
    if (repo_password_ask("the same again", &again, err) == 0 && streq(*ret, again))
        return 0;
    repo_password_free(ret);
    return again ? err_set(err, ERR_INVALID, "the two passwords differ") : -1;
}

/* The words of a command: blanks part them, quotes and backslashes keep them together. */
static int split_words(struct arena *a, const char *text, const char **words, size_t max,
                       struct err *err)
{
    size_t n = 0;
    for (const char *p = text; *p;) {
        struct buf word CLEANUP(buf_free) = {0};
        char quote = 0;
        p += strspn(p, " \t\n");
        if (!*p)
            break;
        for (; *p && (quote || !strchr(" \t\n", *p)); p++) {
            if (*p == quote)
                quote = 0;
            else if (!quote && (*p == '"' || *p == '\''))
                quote = *p;
            else if (*p == '\\' && quote != '\'' && p[1])
                buf_putc(&word, *++p);
            else
                buf_putc(&word, *p);
        }
        if (quote || n + 1 >= max)
            return err_set(err, ERR_INVALID,
                           "--password-command: a quote is not closed, or there "
                           "are too many words");
        words[n++] = arena_strndup(a, word.p ? word.p : "", word.n);
    }
    words[n] = NULL;
    return n ? 0 : err_set(err, ERR_INVALID, "--password-command: it is empty");
}

static int run_command(const char *command, char **ret, struct err *err)
{
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    const char *words[64] = {"/usr/bin/env"}; /* finds it on PATH */
    if (split_words(a, command, words + 1, ARRAY_LEN(words) - 1, err) < 0)
        return -1;
    struct proc_request request = {.argv = words,
                                   .env = (const char *const *)environ,
                                   .output_cap = SECRET_FILE_MAX,
                                   .timeout_ms = COMMAND_SECONDS * 1000};
    struct proc_result result CLEANUP(proc_result_free) = {0};
    if (proc_run(&request, &result, err) < 0)
        return err_wrap(err, "--password-command");
    if (result.exit_code)
        return err_set(err, ERR_INVALID, "--password-command: exit code %d: %.*s", result.exit_code,
                       STR_FMT(str_trim(buf_view(&result.errors))));
    return take_password(&result.output, "--password-command", ret, err);
}

/* An option, or else the environment's variable; NULL if neither says anything. */
static const char *or_env(const char *option, const char *variable)
{
    const char *v = option ? option : getenv(variable);
    return v && *v ? v : NULL;
}

/* A person types it, and may have typed another. */
static bool is_typed(const struct repo_place *place)
{
    return isatty(STDIN_FILENO) && !or_env(place->password_file, "RESTIC_PASSWORD_FILE") &&
           !or_env(place->password_command, "RESTIC_PASSWORD_COMMAND") &&
           !or_env(NULL, "RESTIC_PASSWORD");
}

static int find_password(const struct repo_place *place, char **ret, struct err *err)
{
    const char *file = or_env(place->password_file, "RESTIC_PASSWORD_FILE");
    const char *command = or_env(place->password_command, "RESTIC_PASSWORD_COMMAND");
    const char *password = or_env(NULL, "RESTIC_PASSWORD");
    if (place->password_command && place->password_file)
        return err_set(err, ERR_INVALID, "give one of --password-file and --password-command");
    if (place->password_command || (!file && command))
        return run_command(command, ret, err);
    if (file)
        return repo_password_file(file, ret, err);
    if (!password && place->makes)
        return repo_password_ask_new("password of the new repository", ret, err);
    if (!password)
        return repo_password_ask(PASSWORD_PROMPT, ret, err);
    *ret = xstrdup(password);
    return 0;
}

/* ---- places ---- */

int repo_place_url(const struct repo_place *place, char **ret, struct err *err)
{
    const char *url = or_env(place->url, "RESTIC_REPOSITORY");
    const char *file = or_env(place->url_file, "RESTIC_REPOSITORY_FILE");
    if (place->url_file || (!url && file)) {
        struct buf text CLEANUP(buf_free) = {0};
        if (place->url)
            return err_set(err, ERR_INVALID, "give one of --repo and --repository-file");
        if (read_file(file, SECRET_FILE_MAX, &text, err) < 0)
            return -1;
        *ret = str_dup(str_trim(buf_view(&text)));
        return *ret && **ret ? 0 : err_set(err, ERR_INVALID, "%s: it names no repository", file);
    }
    if (!url)
        return err_set(err, ERR_INVALID,
                       "no repository is named: give --repo or RESTIC_REPOSITORY");
    *ret = xstrdup(url);
    return 0;
}

struct cli_list repo_extended;

/* KiB in a second to bytes. */
static int parse_limit(const char *option, const char *text, uint64_t *ret, struct err *err)
{
    if (text && (!str_u64(str_of(text), ret) || *ret > LIMIT_MAX))
        return err_set(err, ERR_INVALID, "%s %s: give KiB, such as 500", option, text);
    *ret *= KIB;
    return 0;
}

/* How many connections there may be is nothing that we let anybody choose, and no error. */
static int parse_extended(struct backend_s3_options *s3, struct err *err)
{
    static const struct {
        const char *word;
        enum s3_lookup lookup;
    } lookups[] = {{"auto", S3_LOOKUP_AUTO}, {"path", S3_LOOKUP_PATH}, {"dns", S3_LOOKUP_HOST}};
    for (size_t i = 0; i < repo_extended.n; i++) {
        str value = str_of(repo_extended.p[i]), key = str_trim(str_cut(&value, '='));
        size_t at = 0;
        if (str_is(key, "s3.region"))
            s3->region = value.p;
        else if (str_is(key, "s3.bucket-lookup"))
            while (at < ARRAY_LEN(lookups) && !str_is(value, lookups[at].word))
                at++;
        else if (!str_ends(key, ".connections"))
            at = ARRAY_LEN(lookups);
        if (!value.p || at == ARRAY_LEN(lookups))
            return err_set(
                err, ERR_INVALID,
                "-o %s: s3.region=REGION and s3.bucket-lookup=auto, dns or path are known",
                repo_extended.p[i]);
        if (str_is(key, "s3.bucket-lookup"))
            s3->lookup = lookups[at].lookup;
    }
    return 0;
}

static int open_backend(const struct repo_place *place, const char *url, const char *ca,
                        struct backend **ret, struct err *err)
{
    struct backend_rest_options rest = {.ca_pem = ca};
    struct backend_s3_options s3 = {.ca_pem = ca};
    if (parse_extended(&s3, err) < 0 ||
        parse_limit("--limit-upload", place->send_limit, &rest.send_per_second, err) < 0 ||
        parse_limit("--limit-download", place->fetch_limit, &rest.fetch_per_second, err) < 0)
        return -1;
    s3.send_per_second = rest.send_per_second;
    s3.fetch_per_second = rest.fetch_per_second;
    return str_starts(str_of(url), "s3:") ? backend_open_s3_url(url + strlen("s3:"), &s3, ret, err)
                                          : backend_open_url(url, &rest, ret, err);
}

static void free_text(char **text)
{
    free(*text);
}

int repo_place_open(const struct repo_place *place, struct backend **ret, char **ret_password,
                    struct err *err)
{
    struct buf ca CLEANUP(buf_free) = {0};
    char *password CLEANUP(repo_password_free) = NULL, *url CLEANUP(free_text) = NULL;
    const char *ca_file = or_env(place->ca_file, "RESTIC_CACERT");
    if (place->quiet || place->json)
        progress_quiet();
    if (repo_place_url(place, &url, err) < 0 || find_password(place, &password, err) < 0 ||
        (ca_file && read_file(ca_file, CA_FILE_MAX, &ca, err) < 0))
        return -1;
    if (open_backend(place, url, ca.p, ret, err) < 0)
        return -1;
    *ret_password = TAKE(password);
    return 0;
}

/* ---- opening ---- */

static int confirm(void *ctx, struct err *err)
{
    struct repo_session *s = ctx;
    if (atomic_load(&s->interrupted))
        return err_set(err, ERR_CANCELLED, "interrupted");
    return s->lock ? lock_confirm(s->lock, err) : 0;
}

/* The key file whose id begins with the hint; none is no error. */
static bool find_key(struct backend *b, const char *hint, struct store_id *ret)
{
    struct store_ids ids = {0};
    struct err ignored;
    bool found = false;
    if (backend_list_ids(b, BACKEND_KEY, false, 1000, &ids, &ignored) == 0)
        for (size_t i = 0; i < ids.n && !found; i++) {
            char hex[STORE_ID_HEX];
            store_id_hex(&ids.p[i], hex);
            found = str_starts(str_of(hex), hint);
            *ret = ids.p[i];
        }
    vec_free(&ids);
    return found;
}

static int write_options(const struct repo_place *place, struct repository_options *o,
                         struct err *err)
{
    const char *compression = or_env(place->compression, "RESTIC_COMPRESSION");
    const char *size = or_env(place->pack_size, "RESTIC_PACK_SIZE");
    uint64_t mib = 0;
    if (streq(compression, "max"))
        o->compression = 19;
    else if (compression && !streq(compression, "auto"))
        return err_set(err, ERR_INVALID, "compression '%s': auto and max are known", compression);
    if (size && (!str_u64(str_of(size), &mib) || mib < 4 || mib > PACK_MIB_MAX))
        return err_set(err, ERR_INVALID, "pack size '%s': give 4 to %d MiB", size, PACK_MIB_MAX);
    o->pack_target = (uint32_t)mib * MIB;
    return 0;
}

static int open_repository(struct repo_session *s, const struct repo_place *place,
                           enum repo_use use, struct err *err)
{
    char *password CLEANUP(repo_password_free) = NULL;
    const char *hint = or_env(place->key_hint, "RESTIC_KEY_HINT");
    struct repository_options options = {.ctx = s};
    struct store_id key;
    options.read_only = use == REPO_READ || use == REPO_READ_EXCLUSIVE || use == REPO_UNLOCKED;
    if (use == REPO_WRITE || use == REPO_WRITE_EXCLUSIVE) {
        options.before_index = confirm;
        options.before_snapshot = confirm;
        options.threads = STORE_WRITER_THREADS;
    }
    if (!options.read_only && write_options(place, &options, err) < 0)
        return -1;
    if (repo_place_open(place, &s->backend, &password, err) < 0)
        return -1;
    if (hint && find_key(s->backend, hint, &key))
        options.key_hint = &key;
    for (int tries = is_typed(place) ? PASSWORD_TRIES : 1;; tries--) {
        s->code = 0; /* of the try before */
        if (repository_open(s->backend, password, &options, &s->repo, err) == 0)
            return 0;
        if (err->kind == ERR_NOT_FOUND)
            s->code = REPO_MISSING;
        /* Of S3 too the credentials may be wrong; that is not the password. */
        if (err->kind == ERR_UNAUTHORIZED && strstr(err->msg, "wrong password"))
            s->code = REPO_WRONG_PASSWORD;
        if (s->code != REPO_WRONG_PASSWORD || tries == 1)
            return -1;
        fprintf(stderr, "%s\n", err->msg);
        repo_password_free(&password);
        if (repo_password_ask(PASSWORD_PROMPT, &password, err) < 0)
            return -1;
    }
}

/* ---- the lock ---- */

const char *repo_user(void)
{
    const char *name = getenv("USER");
    if (name && *name)
        return name;
    const struct passwd *account = getpwuid(getuid());
    return account ? account->pw_name : NULL;
}

struct lock_options repo_lock_options(struct repo_session *s)
{
    gethostname(s->host, sizeof s->host - 1);
    return (struct lock_options){.hostname = s->host, .username = repo_user()};
}

static void add_unless_ignored(sigset_t *set, int number)
{
    struct sigaction is;
    if (sigaction(number, NULL, &is) == 0 && is.sa_handler != SIG_IGN)
        sigaddset(set, number);
}

/* SIGTERM also wakes the keeper. The others may be ignored on purpose: nohup, `&` in a script. */
static void ending_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    add_unless_ignored(set, SIGINT);
    add_unless_ignored(set, SIGHUP);
}

/* Without a lock a signal simply ends the process, also while it is blocked for the keeper. */
static void wait_ms(int64_t ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    sigset_t blocked, set;
    pthread_sigmask(SIG_BLOCK, NULL, &blocked);
    if (!sigismember(&blocked, SIGTERM)) {
        nanosleep(&t, NULL);
        return;
    }
    ending_signals(&set);
    int number = sigtimedwait(&set, NULL, &t);
    if (number > 0)
        _exit(SIGNAL_EXIT + number);
}

bool repo_wait_for_lock(struct repo_session *s, const struct err *err)
{
    int64_t left = s->wait_until - clock_mono_ms();
    if (err->kind != ERR_BUSY)
        return false;
    s->code = REPO_LOCKED;
    if (left <= 0)
        return false;
    s->pause = s->pause ? MIN(s->pause * 2, (int64_t)RETRY_MOST_MS) : RETRY_FIRST_MS;
    wait_ms(MIN(s->pause, left));
    s->code = 0;
    return true;
}

static int take_lock(struct repo_session *s, bool exclusive, struct err *err)
{
    struct lock_options options = repo_lock_options(s);
    int r;
    options.exclusive = exclusive;
    do
        r = lock_acquire(s->repo, &options, &s->lock, err);
    while (r < 0 && repo_wait_for_lock(s, err));
    return r;
}

/* From here on the hooks refuse index and snapshot: nobody relies on the lock any more. */
static void end_by_signal(struct repo_session *s, int number)
{
    struct err ignored;
    atomic_store(&s->interrupted, true);
    struct backend_file file = {BACKEND_LOCK, *lock_id(s->lock)};
    if (backend_remove(s->backend, &file, &ignored) < 0)
        fprintf(stderr, "\nthe lock is left behind: %s\n", ignored.msg);
    progress_clear();
    _exit(SIGNAL_EXIT + number);
}

static void *keep(void *ctx)
{
    struct repo_session *s = ctx;
    sigset_t set;
    ending_signals(&set);
    for (bool lost = false;;) {
        struct timespec t = {.tv_sec = LOCK_REFRESH_MS / 1000};
        struct err why; /* the next write sees it too, by lock_confirm */
        int number = sigtimedwait(&set, NULL, &t);
        if (atomic_load(&s->ending))
            return NULL;
        if (number > 0)
            end_by_signal(s, number);
        else if (errno == EAGAIN && !lost)
            lost = lock_refresh(s->lock, &why) < 0 && why.kind == ERR_GONE;
    }
}

static int lock_session(struct repo_session *s, const struct repo_place *place, enum repo_use use,
                        struct err *err)
{
    bool exclusive = use == REPO_READ_EXCLUSIVE || use == REPO_WRITE_EXCLUSIVE;
    bool reads = use == REPO_READ || use == REPO_READ_EXCLUSIVE;
    int64_t patience = 0;
    if (place->retry_lock && !clock_parse_duration(str_of(place->retry_lock), &patience))
        return err_set(err, ERR_INVALID, "--retry-lock %s: no duration such as 5m",
                       place->retry_lock);
    s->wait_until = clock_mono_ms() + patience;
    if (use == REPO_DELETE)
        progress_end_by_signal(); /* at a place where all is whole */
    if (use == REPO_UNLOCKED || use == REPO_DELETE || (reads && place->no_lock))
        return 0;
    sigset_t set;
    ending_signals(&set);
    pthread_sigmask(SIG_BLOCK, &set, NULL); /* before there is a lock file; the keeper takes them */
    int r = take_lock(s, exclusive, err);
    s->has_keeper = r == 0 && pthread_create(&s->keeper, NULL, keep, s) == 0;
    if (!s->has_keeper)
        pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    return r;
}

int repo_open(struct repo_session *s, const struct repo_place *place, enum repo_use use,
              struct err *err)
{
    s->json = place->json;
    if (open_repository(s, place, use, err) < 0)
        return -1;
    return lock_session(s, place, use, err);
}

void repo_close(struct repo_session *s)
{
    struct err ignored;
    if (s->has_keeper) {
        atomic_store(&s->ending, true);
        pthread_kill(s->keeper, SIGTERM);
        pthread_join(s->keeper, NULL);
    }
    if (s->lock)
        (void)lock_release(s->lock, &ignored);
    if (s->repo)
        repository_close(s->repo);
    if (s->backend)
        backend_close(s->backend);
    s->lock = NULL;
    s->repo = NULL;
    s->backend = NULL;
    s->has_keeper = false;
}

int repo_fail(const struct repo_session *s, const char *verb, const struct err *err)
{
    int code = s->code ? s->code : CLI_FAILED;
    progress_clear();
    if (!s->json) {
        (void)cli_fail(verb, err);
        if (code == REPO_LOCKED)
            fprintf(stderr, "'%s repo unlock' removes locks whose holders are gone\n", cli_program);
        return code;
    }
    json_t *j CLEANUP_JSON = json_pack("{s:s, s:i, s:s}", "message_type", "exit_error", "code",
                                       code, "message", err->msg);
    struct buf text CLEANUP(buf_free) = {0};
    json_print(&text, j);
    fprintf(stderr, "%s\n", text.p);
    return code;
}
