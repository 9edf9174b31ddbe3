#include "kube/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/vec.h"
#include "kube/config_private.h"

#define ACCOUNT_FOLDER "/var/run/secrets/kubernetes.io/serviceaccount"

struct kube_config *config_new(void)
{
    struct kube_config *c = xcalloc(1, sizeof *c);
    pthread_mutex_init(&c->lock, NULL);
    return c;
}

static void free_secret(char *s)
{
    if (s)
        explicit_bzero(s, strlen(s));
    free(s);
}

void kube_credentials_free(struct kube_credentials *c)
{
    free_secret(c->token);
    free_secret(c->client_cert);
    free_secret(c->client_key);
    *c = (struct kube_credentials){0};
}

void kube_config_free(struct kube_config *c)
{
    if (!c)
        return;
    free(c->server);
    free(c->ns);
    free(c->tls_server_name);
    free_secret(c->proxy);
    free(c->ca);
    kube_credentials_free(&c->user);
    free(c->token_file);
    free(c->ca_file);
    plugin_free(c->plugin);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

int config_read_file(const char *path, char **ret, struct err *err)
{
    struct buf b CLEANUP(buf_free) = {.cap = CONFIG_FILE_CAP};
    int fd CLEANUP(close_p) = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, errno, "cannot open %s", path);
    for (;;) {
        char piece[8192];
        ssize_t n = read(fd, piece, sizeof piece);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(err, errno, "cannot read %s", path);
        if (n == 0)
            break;
        buf_add(&b, piece, (size_t)n);
    }
    if (b.overflow)
        return err_set(err, ERR_TOO_LARGE, "%s is larger than %d bytes", path, CONFIG_FILE_CAP);
    *ret = buf_take(&b);
    return 0;
}

static bool is_loopback(const char *host)
{
    static const char *const names[] = {"127.0.0.1", "localhost", "[::1]"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        size_t n = strlen(names[i]);
        if (strncmp(host, names[i], n) == 0 && (!host[n] || host[n] == ':' || host[n] == '/'))
            return true;
    }
    return false;
}

int config_check(struct kube_config *c, const char *where, struct err *err)
{
    if (!c->server || !c->server[0])
        return err_set(err, ERR_INVALID, "%s: the cluster has no server", where);
    for (const char *p = c->server; *p; p++)
        if ((unsigned char)*p <= ' ' || *p == '@' || *p == '?' || *p == '#')
            return err_set(err, ERR_INVALID, "%s: server is not an address like https://host:port",
                           where);
    size_t n = strlen(c->server);
    while (n && c->server[n - 1] == '/')
        c->server[--n] = '\0';
    str s = str_of(c->server);
    bool https = str_starts(s, "https://") && s.n > 8, http = str_starts(s, "http://") && s.n > 7;
    if (!https && !http)
        return err_set(err, ERR_INVALID, "%s: server %s is not an https:// address", where,
                       c->server);
    if (http && (!is_loopback(c->server + strlen("http://")) || c->proxy))
        return err_set(err, ERR_INVALID,
                       "%s: server %s: http is accepted on the loopback interface only, and "
                       "without a proxy",
                       where, c->server);
    const struct kube_credentials *user = &c->user;
    if (!user->client_cert != !user->client_key)
        return err_set(err, ERR_INVALID, "%s: the user has a client %s without a client %s", where,
                       user->client_cert ? "certificate" : "key",
                       user->client_cert ? "key" : "certificate");
    if (!c->ns || !c->ns[0]) {
        free(c->ns);
        c->ns = xstrdup("default");
    }
    return 0;
}

static int refresh_ca(struct kube_config *c, struct err *err)
{
    char *ca CLEANUP(free_p) = NULL;
    int r = config_read_file(c->ca_file, &ca, err);
    if (r == 0 && !*ca)
        r = err_set(err, ERR_INVALID, "%s is empty", c->ca_file);
    if (r < 0)
        return c->ca ? 0 : -1;
    free(c->ca);
    c->ca = TAKE(ca);
    return 0;
}

/* With the lock held. What was read before stays where a file cannot be read. */
static int refresh_account(struct kube_config *c, struct err *err)
{
    char *text CLEANUP(free_p) = NULL;
    c->account_read_ms = MAX(clock_mono_ms(), 1);
    if (c->ca_file && refresh_ca(c, err) < 0)
        return -1;
    if (config_read_file(c->token_file, &text, err) < 0)
        return -1;
    str token = str_trim(str_of(text));
    if (token.n == 0 || memchr(token.p, '\n', token.n))
        return err_set(err, ERR_INVALID, "%s does not hold a token", c->token_file);
    free_secret(c->user.token);
    c->user.token = str_dup(token);
    explicit_bzero(text, strlen(text));
    return 0;
}

/* With the lock held. */
static void refresh_files(struct kube_config *c)
{
    int64_t age = clock_mono_ms() - c->account_read_ms;
    if (c->token_file && (c->account_read_ms == 0 || age < 0 || age >= ACCOUNT_TTL_MS))
        (void)!refresh_account(c, NULL);
}

/* With the lock held: who waits for it wants just what this brings. */
static int refresh_plugin(struct kube_config *c, struct err *err)
{
    struct kube_credentials got;
    if (clock_wall_ms() < c->plugin_until_ms)
        return 0;
    if (plugin_run(c, &got, &c->plugin_until_ms, err) < 0)
        return -1;
    kube_credentials_free(&c->user);
    c->user = got;
    return 0;
}

static char *copy_of(const char *text)
{
    return text ? xstrdup(text) : NULL;
}

int kube_config_credentials(struct kube_config *c, struct kube_credentials *ret, struct err *err)
{
    pthread_mutex_lock(&c->lock);
    refresh_files(c);
    int r = c->plugin ? refresh_plugin(c, err) : 0;
    if (r == 0)
        *ret = (struct kube_credentials){copy_of(c->user.token), copy_of(c->user.client_cert),
                                         copy_of(c->user.client_key)};
    pthread_mutex_unlock(&c->lock);
    return r;
}

char *kube_config_ca(struct kube_config *c)
{
    pthread_mutex_lock(&c->lock);
    refresh_files(c);
    char *copy = copy_of(c->ca);
    pthread_mutex_unlock(&c->lock);
    return copy;
}

void kube_config_drop_token(struct kube_config *c)
{
    pthread_mutex_lock(&c->lock);
    c->account_read_ms = 0;
    c->plugin_until_ms = 0;
    pthread_mutex_unlock(&c->lock);
}

int config_in_cluster(const char *host, const char *port, const char *folder, struct kube_config *c,
                      struct err *err)
{
    char *token CLEANUP(free_p) = xasprintf("%s/token", folder);
    char *ca CLEANUP(free_p) = xasprintf("%s/ca.crt", folder);
    char *ns CLEANUP(free_p) = xasprintf("%s/namespace", folder);
    char *text CLEANUP(free_p) = NULL;
    bool v6 = strchr(host, ':') && host[0] != '[';
    c->server = xasprintf(v6 ? "https://[%s]:%s" : "https://%s:%s", host, port);
    c->token_file = TAKE(token);
    c->ca_file = TAKE(ca);
    if (refresh_account(c, err) < 0)
        return err_wrap(err, "the account of this pod");
    struct err absent;
    if (config_read_file(ns, &text, &absent) == 0)
        c->ns = str_dup(str_trim(str_of(text)));
    return config_check(c, "the account of this pod", err);
}

struct file {
    char *path, *text;
};

struct files {
    struct file *p;
    size_t n, room;
};

static void free_files(struct files *f)
{
    for (size_t i = 0; i < f->n; i++) {
        free(f->p[i].path);
        free_secret(f->p[i].text);
    }
    vec_free(f);
}

/* Reads the files of a colon list; absent ones are skipped if there are several. */
static int read_list(const char *list, bool may_lack, struct files *files, struct err *err)
{
    str rest = str_of(list);
    while (rest.p) {
        str path = str_cut(&rest, ':');
        if (path.n == 0)
            continue;
        struct err why;
        struct file f = {.path = str_dup(path)};
        if (config_read_file(f.path, &f.text, &why) < 0) {
            free(f.path);
            if (may_lack && why.kind == ERR_NOT_FOUND)
                continue;
            *err = why;
            return -1;
        }
        *vec_add(files) = f;
    }
    return 0;
}

static int load_files(const char *list, bool may_lack, const char *context, struct kube_config *c,
                      struct err *err)
{
    struct files files CLEANUP(free_files) = {0};
    if (read_list(list, may_lack, &files, err) < 0)
        return -1;
    if (files.n == 0)
        return err_set(err, ERR_NOT_FOUND, "none of the kubeconfig files exists: %s", list);
    struct kubeconfig_text *texts CLEANUP(free_p) = xcalloc(files.n, sizeof *texts);
    for (size_t i = 0; i < files.n; i++)
        texts[i] = (struct kubeconfig_text){files.p[i].path, str_of(files.p[i].text)};
    return kubeconfig_read(texts, files.n, context, c, err);
}

static int load(const char *path, const char *context, struct kube_config *c, struct err *err)
{
    if (path)
        return load_files(path, false, context, c, err);
    const char *list = getenv("KUBECONFIG");
    if (list && list[0])
        return load_files(list, strchr(list, ':') != NULL, context, c, err);
    const char *host = getenv("KUBERNETES_SERVICE_HOST"), *port = getenv("KUBERNETES_SERVICE_PORT");
    if (host && host[0] && port && port[0] && access(ACCOUNT_FOLDER "/token", F_OK) == 0)
        return config_in_cluster(host, port, ACCOUNT_FOLDER, c, err);
    const char *home = getenv("HOME");
    char *file CLEANUP(free_p) = xasprintf("%s/.kube/config", home ? home : "");
    if (access(file, F_OK) < 0)
        return err_set(err, ERR_NOT_FOUND,
                       "no cluster is configured: set KUBECONFIG, or make %s, or run in a pod",
                       file);
    return load_files(file, false, context, c, err);
}

int kube_config_load(const char *path, const char *context, struct kube_config **ret,
                     struct err *err)
{
    struct kube_config *c CLEANUP(kube_config_free_p) = config_new();
    struct err why;
    if (load(path, context, c, &why) < 0) {
        if (err)
            *err = why;
        return -1;
    }
    *ret = TAKE(c);
    return 0;
}

const char *kube_config_server(const struct kube_config *c)
{
    return c->server;
}

const char *kube_config_namespace(const struct kube_config *c)
{
    return c->ns;
}

bool kube_config_insecure(const struct kube_config *c)
{
    return c->insecure;
}

const char *kube_config_tls_server_name(const struct kube_config *c)
{
    return c->tls_server_name;
}

const char *kube_config_proxy(const struct kube_config *c)
{
    return c->proxy;
}
