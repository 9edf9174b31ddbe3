#include "kube/transport.h"

#include <pthread.h>
#include <stdlib.h>

#ifndef GLEANER_VERSION
#define GLEANER_VERSION "0"
#endif

/* NESTED: calls within the callbacks of calls, as when each() of a list reads something else. */
enum { CONNECT_TIMEOUT_MS = 10000, ERROR_BODY_CAP = 1 << 20, NESTED = 4 };

/* With the nine probes of Linux a peer that is gone without a word is noticed within two minutes:
 * a watch would wait for it until its own time is over. */
enum { KEEPALIVE_IDLE_S = 20, KEEPALIVE_EVERY_S = 10 };

struct thread_handles {
    struct network *net;
    struct thread_handles *next, **at;
    CURL *easy[NESTED]; /* made when first needed */
    unsigned depth;     /* so many are in use */
};

struct network {
    struct kube_config *config;
    pthread_key_t key;
    pthread_mutex_t lock; /* of the list */
    struct thread_handles *handles;
};

static size_t on_body(char *p, size_t size, size_t count, void *ctx)
{
    struct transport_call *call = ctx;
    struct kube_http *x = call->x;
    size_t n = size * count;
    long status = 0;
    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    if (x->sink && status >= 200 && status < 300) {
        if (x->sink(x->sink_ctx, p, n, &call->why) < 0) {
            call->failed = true;
            return 0;
        }
        return n;
    }
    buf_add(&x->answer, p, n);
    call->too_large = x->answer.overflow;
    return call->too_large ? 0 : n;
}

static size_t on_read(char *p, size_t size, size_t count, void *ctx)
{
    struct transport_call *call = ctx;
    size_t n = MIN(size * count, call->x->body.n - call->sent);
    memcpy(p, call->x->body.p + call->sent, n);
    call->sent += n;
    return n;
}

static int on_progress(void *ctx, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const struct transport_call *call = ctx;
    (void)a, (void)b, (void)c, (void)d;
    return call->x->cancel && atomic_load(call->x->cancel);
}

static void add_header(struct transport_call *call, const char *name, const char *value)
{
    char *line CLEANUP(free_p) = xasprintf("%s: %s", name, value);
    struct curl_slist *longer = curl_slist_append(call->headers, line);
    if (!longer)
        abort();
    call->headers = longer;
}

static void set_headers(struct transport_call *call, const char *token)
{
    const struct kube_http *x = call->x;
    add_header(call, "Accept", x->accept ? x->accept : "application/json");
    if (x->content_type) {
        add_header(call, "Content-Type", x->content_type);
        struct curl_slist *longer = curl_slist_append(call->headers, "Expect:");
        if (!longer)
            abort();
        call->headers = longer;
    }
    if (token) {
        char *value CLEANUP(free_p) = xasprintf("Bearer %s", token);
        add_header(call, "Authorization", value);
        explicit_bzero(value, strlen(value));
    }
    curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, call->headers);
}

static void set_blob(CURL *easy, CURLoption option, char *pem)
{
    if (!pem)
        return;
    struct curl_blob blob = {.data = pem, .len = strlen(pem), .flags = CURL_BLOB_COPY};
    curl_easy_setopt(easy, option, &blob);
}

static void set_tls(CURL *easy, struct kube_config *config, const struct kube_credentials *user)
{
    char *ca CLEANUP(free_p) = kube_config_ca(config);
    set_blob(easy, CURLOPT_CAINFO_BLOB, ca);
    set_blob(easy, CURLOPT_SSLCERT_BLOB, user->client_cert);
    set_blob(easy, CURLOPT_SSLKEY_BLOB, user->client_key);
    if (kube_config_insecure(config)) {
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
}

/* The body goes through a reader that cannot be rewound: curl repeats a request whose kept
 * connection turns out dead, but never one of which the server may have seen a byte. */
static void set_body(struct transport_call *call)
{
    CURL *easy = call->easy;
    const struct kube_http *x = call->x;
    if (strcmp(x->method, "GET") == 0) {
        curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
        return;
    }
    curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, x->method);
    curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_read);
    curl_easy_setopt(easy, CURLOPT_READDATA, call);
    curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)x->body.n);
}

static void set_proxy(CURL *easy, struct kube_config *config)
{
    str proxy = str_of(kube_config_proxy(config));
    if (str_starts(str_of(kube_config_server(config)), "http:"))
        curl_easy_setopt(easy, CURLOPT_PROXY, ""); /* loopback only: see config_check */
    if (!proxy.p)
        return;
    /* In Go the proxy looks up the server's name. */
    bool socks = str_starts(proxy, "socks5:");
    char *url CLEANUP(free_p) =
        xasprintf("%s%s", socks ? "socks5h" : "", proxy.p + (socks ? strlen("socks5") : 0));
    curl_easy_setopt(easy, CURLOPT_PROXY, url);
    curl_easy_setopt(easy, CURLOPT_NOPROXY, "");
    explicit_bzero(url, strlen(url));
}

/* curl takes the name for SNI and verification from the URL: a tls-server-name stands there, and
 * the connection and the Host header are still the server's. */
static void set_url(struct transport_call *call, struct kube_config *config)
{
    const char *server = kube_config_server(config), *name = kube_config_tls_server_name(config);
    str host = str_of(server);
    if (!name || !str_starts(host, "https://")) {
        call->url = xasprintf("%s%s", server, call->x->path);
    } else {
        str base = {server + strlen("https://"), host.n - strlen("https://")};
        host = str_cut(&base, '/');
        const char *bracket = memrchr(host.p, ']', host.n), *from = bracket ? bracket : host.p;
        const char *port = memchr(from, ':', host.n - (size_t)(from - host.p));
        int port_n = port ? (int)(host.p + host.n - port) : 0;
        call->url = xasprintf("https://%s%.*s%s%.*s%s", name, port_n, port ? port : "",
                              base.p ? "/" : "", STR_FMT(base), call->x->path);
        char *to CLEANUP(free_p) = xasprintf("::%.*s%s", STR_FMT(host), port ? "" : ":");
        call->connect_to = curl_slist_append(NULL, to);
        if (!call->connect_to)
            abort();
        curl_easy_setopt(call->easy, CURLOPT_CONNECT_TO, call->connect_to);
        char *value CLEANUP(free_p) = str_dup(host);
        add_header(call, "Host", value);
    }
    curl_easy_setopt(call->easy, CURLOPT_URL, call->url);
}

void transport_prepare(struct transport_call *call, CURL *easy, struct kube_config *config,
                       struct kube_http *x)
{
    *call = (struct transport_call){.easy = easy, .x = x};
    struct kube_credentials user CLEANUP(kube_credentials_free) = {0};
    if (!x->answer.cap)
        x->answer.cap = x->sink ? ERROR_BODY_CAP : KUBE_MAX_OBJECT;
    if (kube_config_credentials(config, &user, &call->why) < 0) {
        call->failed = true;
        return;
    }
    set_url(call, config);
    set_proxy(easy, config);
    curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "https,http");
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "gleaner/" GLEANER_VERSION " (linux)");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPIDLE, (long)KEEPALIVE_IDLE_S);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPINTVL, (long)KEEPALIVE_EVERY_S);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_TIMEOUT_MS);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)x->timeout_ms);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->text);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
    curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(easy, CURLOPT_XFERINFODATA, call);
    set_tls(easy, config, &user);
    set_headers(call, user.token);
    set_body(call);
}

/* The path without its query: what messages name. */
static int fail(const struct transport_call *call, enum err_kind kind, const char *why,
                struct err *err)
{
    str path = str_of(call->x->path);
    path = str_cut(&path, '?');
    return err_set(err, kind, "%s %.*s: %s", call->x->method, STR_FMT(path), why);
}

static int no_answer(const struct transport_call *call, CURLcode code, struct err *err)
{
    const char *text = call->text[0] ? call->text : curl_easy_strerror(code);
    if (call->failed) {
        if (err)
            *err = call->why;
        return -1;
    }
    if (call->too_large)
        return fail(call, ERR_TOO_LARGE, "the answer is too large", err);
    if (code == CURLE_ABORTED_BY_CALLBACK)
        return fail(call, ERR_CANCELLED, "cancelled", err);
    if (code == CURLE_OPERATION_TIMEDOUT)
        return fail(call, ERR_TIMEOUT, "the API server did not answer in time", err);
    if (code == CURLE_SEND_FAIL_REWIND)
        return fail(call, ERR_UNAVAILABLE,
                    "the connection broke, the API server may have done it or not", err);
    if (code == CURLE_SSL_CERTPROBLEM)
        return fail(call, ERR_INVALID, text, err);
    return fail(call, ERR_UNAVAILABLE, text, err);
}

int transport_finish(struct transport_call *call, CURLcode code, struct err *err)
{
    int r = 0;
    long status = 0;
    curl_off_t retry_after = 0;
    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(call->easy, CURLINFO_RETRY_AFTER, &retry_after);
    if (code != CURLE_OK || status < 200)
        r = no_answer(call, code, err);
    call->x->status = (int)status;
    call->x->retry_after_ms = (unsigned)(MIN(MAX(retry_after, 0), 3600) * 1000);
    curl_slist_free_all(call->headers);
    curl_slist_free_all(call->connect_to);
    call->headers = call->connect_to = NULL;
    free(call->url);
    call->url = NULL;
    return r;
}

/* ---- handles of each thread ---- */

static void drop_handles(void *p)
{
    struct thread_handles *h = p;
    struct network *net = h->net;
    pthread_mutex_lock(&net->lock);
    *h->at = h->next;
    if (h->next)
        h->next->at = h->at;
    pthread_mutex_unlock(&net->lock);
    for (size_t i = 0; i < NESTED; i++)
        curl_easy_cleanup(h->easy[i]);
    free(h);
}

static struct thread_handles *handles_of_thread(struct network *net)
{
    struct thread_handles *h = pthread_getspecific(net->key);
    if (h)
        return h;
    h = xcalloc(1, sizeof *h);
    h->net = net;
    pthread_mutex_lock(&net->lock);
    h->next = net->handles;
    h->at = &net->handles;
    if (h->next)
        h->next->at = &h->next;
    net->handles = h;
    pthread_mutex_unlock(&net->lock);
    pthread_setspecific(net->key, h);
    return h;
}

static int perform(void *ctx, struct kube_http *x, struct err *err)
{
    struct network *net = ctx;
    struct thread_handles *h = handles_of_thread(net);
    struct transport_call call;
    if (h->depth == NESTED)
        return err_set(err, ERR_INTERNAL, "%s %s: calls are nested too deep", x->method, x->path);
    CURL **easy = &h->easy[h->depth];
    if (!*easy)
        *easy = curl_easy_init();
    if (!*easy)
        abort();
    curl_easy_reset(*easy); /* keeps the connection */
    transport_prepare(&call, *easy, net->config, x);
    h->depth++;
    CURLcode code = curl_easy_perform(*easy);
    h->depth--;
    int r = transport_finish(&call, code, err);
    curl_easy_setopt(*easy, CURLOPT_ERRORBUFFER, NULL);
    return r;
}

static void close_network(void *ctx)
{
    struct network *net = ctx;
    pthread_key_delete(net->key);
    while (net->handles)
        drop_handles(net->handles);
    pthread_mutex_destroy(&net->lock);
    free(net);
}

static void init_curl(void)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        abort();
}

struct kube_transport transport_network(struct kube_config *config)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, init_curl);
    struct network *net = xcalloc(1, sizeof *net);
    net->config = config;
    pthread_mutex_init(&net->lock, NULL);
    if (pthread_key_create(&net->key, drop_handles) != 0)
        abort();
    return (struct kube_transport){.perform = perform, .close = close_network, .ctx = net};
}
