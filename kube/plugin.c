#include "kube/plugin.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/codec.h"
#include "core/json.h"
#include "core/jsonscan.h"
#include "core/vec.h"
#include "kube/config_private.h"

/* The time is for a person who logs in with a browser. */
enum { OUTPUT_CAP = 1 << 20, RUN_MS = 600000, EARLY_MS = 60000 };

#define INFO "KUBERNETES_EXEC_INFO"

static void free_texts(char **texts)
{
    for (char **t = texts; t && *t; t++)
        free(*t);
    free(texts);
}

void plugin_free(struct plugin *p)
{
    if (!p)
        return;
    free(p->where);
    free(p->api_version);
    free_texts(p->argv);
    free_texts(p->env);
    free(p->hint);
    free(p);
}

static int printf_like(3, 4) failed(const struct plugin *p, struct err *err, const char *fmt, ...)
{
    char why[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    return err_set(err, ERR_UNAUTHORIZED, "%s: the user's command %s %s%s%s", p->where, p->argv[0],
                   why, p->hint ? ": " : "", p->hint ? p->hint : "");
}

/* ---- what the command is told ---- */

static void add_text(json_t *object, const char *name, const char *text)
{
    if (text)
        json_object_set_new(object, name, json_string(text));
}

static json_t *cluster_of(const struct kube_config *c)
{
    json_t *cluster = json_pack("{s:s}", "server", c->server);
    add_text(cluster, "tls-server-name", c->tls_server_name);
    add_text(cluster, "proxy-url", c->proxy);
    if (c->insecure)
        json_object_set_new(cluster, "insecure-skip-tls-verify", json_true());
    if (c->ca) {
        struct buf b CLEANUP(buf_free) = {0};
        base64_encode(&b, c->ca, strlen(c->ca));
        add_text(cluster, "certificate-authority-data", b.p);
    }
    return cluster;
}

static char *info_text(const struct kube_config *c, bool interactive)
{
    struct buf b = {0};
    json_t *info CLEANUP_JSON =
        json_pack("{s:s, s:s, s:{s:b}}", "apiVersion", c->plugin->api_version, "kind",
                  "ExecCredential", "spec", "interactive", interactive);
    if (c->plugin->tells_cluster)
        json_object_set_new(json_value_at(info, "spec", NULL), "cluster", cluster_of(c));
    buf_puts(&b, INFO "=");
    json_print(&b, info);
    return buf_take(&b);
}

struct texts {
    char **p;
    size_t n, room;
};

static bool same_name(const char *a, const char *b)
{
    size_t n = strcspn(a, "=");
    return n == strcspn(b, "=") && memcmp(a, b, n) == 0;
}

/* One of that name is put in the place of an earlier one. */
static void put_variable(struct texts *env, char *variable)
{
    for (size_t i = 0; i < env->n; i++)
        if (same_name(env->p[i], variable)) {
            env->p[i] = variable;
            return;
        }
    *vec_add(env) = variable;
}

/* Ours, the kubeconfig's, what the protocol tells. The texts are borrowed, the array is not. */
static char **environment(const struct plugin *p, char *info)
{
    struct texts env = {0};
    for (char **e = environ; *e; e++)
        *vec_add(&env) = *e;
    for (char **e = p->env; *e; e++)
        put_variable(&env, *e);
    put_variable(&env, info);
    *vec_add(&env) = NULL;
    return env.p;
}

/* ---- the process ---- */

/* 0, or an errno. Neither our descriptors nor our signal handling are the command's. */
static int start(const struct plugin *p, char **env, bool interactive, int out, pid_t *ret_pid)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t none, defaults;
    sigemptyset(&none);
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE);
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    if (!interactive)
        posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO);
    posix_spawn_file_actions_addclosefrom_np(&files, STDERR_FILENO + 1);
    int r = posix_spawnp(ret_pid, p->argv[0], &files, &attributes, p->argv, env);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
    return r;
}

/* All that it prints. */
static int gather(const struct plugin *p, int fd, int64_t deadline, struct buf *out,
                  struct err *err)
{
    for (;;) {
        char piece[8192];
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        int64_t left = deadline - clock_mono_ms();
        if (left <= 0)
            return failed(p, err, "did not end in time");
        if (poll(&ready, 1, (int)MIN(left, 1000)) <= 0)
            continue;
        ssize_t n = read(fd, piece, sizeof piece);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return 0;
        buf_add(out, piece, (size_t)n);
        explicit_bzero(piece, (size_t)n);
        if (out->overflow)
            return failed(p, err, "printed more than %d bytes", OUTPUT_CAP);
    }
}

/* Its wait status; false if it had to be killed. */
static bool reap(pid_t pid, int64_t deadline, int *ret_status)
{
    bool in_time = true;
    *ret_status = 0;
    for (pid_t got; (got = waitpid(pid, ret_status, in_time ? WNOHANG : 0)) != pid;) {
        if (got < 0 && errno != EINTR)
            break;
        if (in_time && clock_mono_ms() >= deadline) {
            kill(pid, SIGKILL);
            in_time = false;
        }
        poll(NULL, 0, in_time ? 2 : 0);
    }
    return in_time;
}

static int run(const struct plugin *p, char **env, bool interactive, struct buf *out,
               struct err *err)
{
    int ends[2], status;
    pid_t pid;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return err_errno(err, errno, "making a pipe");
    int from CLEANUP(close_p) = ends[0];
    int64_t deadline = clock_mono_ms() + RUN_MS;
    int why = start(p, env, interactive, ends[1], &pid);
    close(ends[1]);
    if (why == ENOENT)
        return failed(p, err, "was not found");
    if (why)
        return failed(p, err, "cannot be run (%s)", strerror(why));
    int r = gather(p, from, deadline, out, err);
    bool in_time = reap(pid, r < 0 ? 0 : deadline, &status);
    if (r < 0)
        return r;
    if (!in_time)
        return failed(p, err, "did not end in time");
    if (WIFSIGNALED(status))
        return failed(p, err, "died of signal %d", WTERMSIG(status));
    return WEXITSTATUS(status) ? failed(p, err, "failed with exit code %d", WEXITSTATUS(status))
                               : 0;
}

/* ---- what it answers ---- */

static char *text_of(struct arena *a, str status, const char *name)
{
    char *text = raw_text(a, status, name, NULL);
    if (!text || !*text)
        return NULL;
    char *copy = xstrdup(text);
    explicit_bzero(text, strlen(text));
    return copy;
}

/* It becomes part of a header. */
static bool is_token(const char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s <= ' ' || *s == 0x7f)
            return false;
    return true;
}

static int read_answer(const struct plugin *p, str text, struct kube_credentials *ret,
                       int64_t *ret_until_ms, struct err *err)
{
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct kube_credentials got CLEANUP(kube_credentials_free) = {0};
    if (raw_check(text, NULL) < 0 || !raw_is(raw_get(text, "kind"), "ExecCredential"))
        return failed(p, err, "printed something that is no ExecCredential");
    if (!raw_is(raw_get(text, "apiVersion"), p->api_version))
        return failed(p, err, "printed an ExecCredential that is not of %s", p->api_version);
    str status = raw_get(text, "status");
    got.token = text_of(a, status, "token");
    got.client_cert = text_of(a, status, "clientCertificateData");
    got.client_key = text_of(a, status, "clientKeyData");
    if (!got.client_cert != !got.client_key)
        return failed(p, err, "gave a certificate without a key, or a key without a certificate");
    if (!got.token && !got.client_cert)
        return failed(p, err, "printed an ExecCredential without a token and a certificate");
    if (got.token && !is_token(got.token))
        return failed(p, err, "gave a token with spaces or control characters");
    const char *expires = raw_text(a, status, "expirationTimestamp", NULL);
    int64_t expires_ms = INT64_MAX;
    if (expires && !clock_parse(str_of(expires), &expires_ms))
        return failed(p, err, "gave an expirationTimestamp that is not a time");
    *ret_until_ms = expires_ms == INT64_MAX ? INT64_MAX : expires_ms - EARLY_MS;
    *ret = got;
    got = (struct kube_credentials){0};
    return 0;
}

int plugin_run(const struct kube_config *c, struct kube_credentials *ret, int64_t *ret_until_ms,
               struct err *err)
{
    const struct plugin *p = c->plugin;
    bool terminal = isatty(STDIN_FILENO), interactive = terminal && p->in != PLUGIN_NEVER;
    if (p->in == PLUGIN_ALWAYS && !terminal)
        return failed(p, err, "wants to ask something, and there is no terminal");
    /* All its room at once: the token in it leaves no copies behind. */
    struct buf out CLEANUP(buf_free) = {
        .p = xcalloc(1, OUTPUT_CAP + 1), .room = OUTPUT_CAP + 1, .cap = OUTPUT_CAP};
    char *info CLEANUP(free_p) = info_text(c, interactive);
    char **env CLEANUP(free_p) = environment(p, info);
    if (run(p, env, interactive, &out, err) < 0)
        return -1;
    return read_answer(p, str_trim(buf_view(&out)), ret, ret_until_ms, err);
}
