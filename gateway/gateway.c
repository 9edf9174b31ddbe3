#include "gateway/gateway.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <malloc.h>
#include <microhttpd.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "core/log.h"
#include "gateway/client.h"
#include "gateway/listen.h"
#include "gateway/review.h"
#include "gateway/server.h"
#include "gateway/tls.h"

enum { PEM_MAX = 256 << 10, API_TIMEOUT_MS = 10000, EXIT_USAGE = 2, LOOK_SECONDS = 20 };

struct settings {
    const char *listen, *cert_file, *key_file, *local_root, *controller, *audience, *spool;
    struct listening health; /* port 0: none */
    uint64_t budget;
};

static int usage(const char *what)
{
    fprintf(stderr,
            "gleaner gateway: %s\n"
            "usage: gleaner gateway --tls-cert FILE --tls-key FILE --controller USER\n"
            "           [--local-root DIR] [--listen [ADDR:]PORT] [--audience WORD]\n"
            "           [--health [ADDR:]PORT] [--budget BYTES] [--spool DIR]\n",
            what);
    return EXIT_USAGE;
}

static int read_arguments(int argc, char **argv, struct settings *s)
{
    static const struct option options[] = {
        {"listen", required_argument, NULL, 'l'},     {"tls-cert", required_argument, NULL, 'c'},
        {"tls-key", required_argument, NULL, 'k'},    {"local-root", required_argument, NULL, 'r'},
        {"controller", required_argument, NULL, 'u'}, {"audience", required_argument, NULL, 'a'},
        {"health", required_argument, NULL, 'h'},     {"budget", required_argument, NULL, 'b'},
        {"spool", required_argument, NULL, 's'},      {0}};
    *s = (struct settings){
        .listen = ":8443", .local_root = "/var/lib/gleaner/store", .audience = GATEWAY_AUDIENCE};
    const char **texts[128] = {
        ['l'] = &s->listen,     ['c'] = &s->cert_file, ['k'] = &s->key_file, ['r'] = &s->local_root,
        ['u'] = &s->controller, ['a'] = &s->audience,  ['s'] = &s->spool};
    optind = 1;
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (o == 'h' &&
            (listening_parse(optarg, &s->health, NULL) < 0 || !listening_port(&s->health)))
            return usage("--health takes a port");
        if (o == 'b' && !str_u64(str_of(optarg), &s->budget))
            return usage("--budget takes a number of bytes");
        if (o == '?')
            return usage("an option is not known or lacks its value");
        if (texts[o])
            *texts[o] = optarg;
    }
    if (optind < argc)
        return usage("takes no arguments");
    if (!s->cert_file || !s->key_file || !s->controller)
        return usage("--tls-cert, --tls-key and --controller are needed");
    return 0;
}

static int read_pem(const char *path, struct buf *ret, struct err *err)
{
    int fd CLEANUP(close_p) = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, errno, "%s", path);
    *ret = (struct buf){.p = xcalloc(1, PEM_MAX + 1), .room = PEM_MAX + 1};
    ssize_t n;
    while ((n = read(fd, ret->p + ret->n, PEM_MAX - ret->n)) > 0)
        ret->n += (size_t)n;
    if (n < 0)
        return err_errno(err, errno, "%s", path);
    return ret->n < PEM_MAX ? 0 : err_set(err, ERR_TOO_LARGE, "%s is no PEM file", path);
}

/* ---- health, in plain HTTP for the kubelet ---- */

static enum MHD_Result answer_health(void *local_root, struct MHD_Connection *c, const char *path,
                                     const char *method, const char *version, const char *data,
                                     size_t *data_n, void **state)
{
    (void)method, (void)version, (void)data, (void)data_n, (void)state;
    bool alive = streq(path, "/healthz"), ready = streq(path, "/readyz");
    unsigned status = alive ? 200 : !ready ? 404 : access(local_root, R_OK | X_OK) == 0 ? 200 : 503;
    static char ok[] = "ok\n", no[] = "the store's folder is not there\n", none[] = "not found\n";
    char *text = status == 200 ? ok : status == 404 ? none : no;
    struct MHD_Response *r =
        MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_PERSISTENT);
    enum MHD_Result done = MHD_queue_response(c, status, r);
    MHD_destroy_response(r);
    return done;
}

static int start_health(const struct settings *s, struct MHD_Daemon **ret, struct err *err)
{
    const struct listening *l = &s->health;
    if (!listening_port(l))
        return 0;
    *ret = MHD_start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL | l->flags, 0, NULL, NULL, answer_health,
        (void *)(uintptr_t)s->local_root, MHD_OPTION_SOCK_ADDR, (const struct sockaddr *)&l->at,
        MHD_OPTION_CONNECTION_LIMIT, 16u, MHD_OPTION_CONNECTION_TIMEOUT, 10u, MHD_OPTION_END);
    return *ret ? 0 : err_set(err, ERR_IO, "cannot serve health on port %u", listening_port(l));
}

/* ---- the process ---- */

static void wipe(struct buf *b)
{
    if (b->p)
        OPENSSL_cleanse(b->p, b->room);
    buf_free(b);
}

/* Waits for the signal to end. The certificate's Secret is mounted: the kubelet puts a new one
 * beside the old, and a pair of which only one half is new does not serve. */
static int serve_until(struct gateway *g, const struct settings *s, const sigset_t *end,
                       struct buf *cert, struct buf *key, struct err *err)
{
    const struct timespec pause = {.tv_sec = LOOK_SECONDS};
    while (sigtimedwait(end, NULL, &pause) < 0) {
        struct buf new_cert CLEANUP(wipe) = {0}, new_key CLEANUP(wipe) = {0};
        struct err ignored;
        if (read_pem(s->cert_file, &new_cert, &ignored) < 0 ||
            read_pem(s->key_file, &new_key, &ignored) < 0 ||
            str_eq(buf_view(&new_cert), buf_view(cert)) ||
            str_eq(buf_view(&new_key), buf_view(key)) ||
            gateway_certificate_check(new_cert.p, new_key.p, &ignored) < 0)
            continue;
        log_line(LOG_INFO, "the certificate is another one: serving with it", NULL);
        if (gateway_renew(g, new_cert.p, new_key.p, err) < 0)
            return -1;
        wipe(cert);
        wipe(key);
        *cert = new_cert;
        *key = new_key;
        new_cert = new_key = (struct buf){0};
    }
    return 0;
}

static int serve(const struct settings *s, const sigset_t *end, struct err *err)
{
    struct kube_config *config;
    struct kube *kube CLEANUP(kube_free_p) = NULL;
    struct buf cert CLEANUP(wipe) = {0};
    struct buf key CLEANUP(wipe) = {0};
    struct gateway *gateway CLEANUP(gateway_stop_p) = NULL;
    struct MHD_Daemon *health = NULL;
    if (read_pem(s->cert_file, &cert, err) < 0 || read_pem(s->key_file, &key, err) < 0 ||
        kube_config_load(NULL, NULL, &config, err) < 0 || kube_new(config, &kube, err) < 0)
        return -1;
    kube_set_timeout(kube, API_TIMEOUT_MS);
    struct review review = {kube, s->audience};
    struct gateway_options options = {
        .listen = s->listen,
        .cert_pem = cert.p,
        .key_pem = key.p,
        .local_root = s->local_root,
        .spool = s->spool,
        .controller = s->controller,
        .budget = s->budget,
        .review = review_token,
        .review_ctx = &review,
    };
    if (gateway_start(&options, &gateway, err) < 0 || start_health(s, &health, err) < 0)
        return -1;
    log_line(LOG_INFO, "serving", "listen", s->listen, "root", s->local_root, NULL);
    int done = serve_until(gateway, s, end, &cert, &key, err);
    log_line(LOG_INFO, "stopping", NULL);
    if (health)
        MHD_stop_daemon(health);
    return done;
}

int gateway_main(int argc, char **argv)
{
    struct settings s;
    struct err err = {0};
    sigset_t end;
    log_setup(LOG_INFO, "gateway");
    if (read_arguments(argc, argv, &s) != 0)
        return EXIT_USAGE;
    /* Blocked before any thread is there: all threads inherit it, and sigwait takes it. */
    sigemptyset(&end);
    sigaddset(&end, SIGTERM);
    sigaddset(&end, SIGINT);
    sigprocmask(SIG_BLOCK, &end, NULL);
    signal(SIGPIPE, SIG_IGN);
    /* A thread for each connection, but not a heap for each thread; what is big goes back at once.
     */
    mallopt(M_ARENA_MAX, 2);
    mallopt(M_MMAP_THRESHOLD, 1 << 20);
    mallopt(M_TRIM_THRESHOLD, 1 << 20);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    if (serve(&s, &end, &err) == 0)
        return 0;
    log_err("the gateway cannot serve", &err, NULL, NULL);
    return 1;
}
