#include "store/http.h"

#include "core/clock.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { POOL = 16, FIRST_PAUSE_MS = 200, LONGEST_PAUSE_MS = 15000 };

/* Bytes of one direction, of all threads together. */
struct flow {
    uint64_t per_second; /* 0: no limit */
    int64_t free_at; /* µs of the monotonic clock: what was let through before is paid by then */
};

struct http {
    char *ca_pem, *user, *password, *token_file;
    long timeout_seconds;
    unsigned retry_seconds, first_seconds;
    pthread_mutex_t lock;
    CURL *idle[POOL];
    size_t idle_n;
    bool reached;
    struct flow send, fetch;
};

struct http_headers {
    struct curl_slist *list;
};

int http_new(const struct http_options *o, struct http **ret_http, struct err *err)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return err_set(err, ERR_INTERNAL, "libcurl does not start");
    struct http *h = xcalloc(1, sizeof *h);
    h->ca_pem = o->ca_pem ? xstrdup(o->ca_pem) : NULL;
    h->user = o->user ? xstrdup(o->user) : NULL;
    h->password = o->password ? xstrdup(o->password) : NULL;
    h->token_file = o->token_file ? xstrdup(o->token_file) : NULL;
    h->timeout_seconds = o->timeout_seconds ? (long)o->timeout_seconds : 60;
    h->retry_seconds = o->retry_seconds ? o->retry_seconds : 60;
    h->first_seconds = o->first_seconds ? o->first_seconds : h->retry_seconds;
    h->send.per_second = o->send_per_second;
    h->fetch.per_second = o->fetch_per_second;
    pthread_mutex_init(&h->lock, NULL);
    *ret_http = h;
    return 0;
}

void http_free(struct http *h)
{
    for (size_t i = 0; i < h->idle_n; i++)
        curl_easy_cleanup(h->idle[i]);
    pthread_mutex_destroy(&h->lock);
    if (h->password)
        OPENSSL_cleanse(h->password, strlen(h->password));
    free(h->ca_pem);
    free(h->user);
    free(h->password);
    free(h->token_file);
    free(h);
}

static CURL *take_handle(struct http *h)
{
    pthread_mutex_lock(&h->lock);
    CURL *c = h->idle_n ? h->idle[--h->idle_n] : NULL;
    pthread_mutex_unlock(&h->lock);
    if (!c && !(c = curl_easy_init()))
        abort(); /* out of memory */
    return c;
}

static void give_handle(struct http *h, CURL *c)
{
    curl_easy_reset(c); /* keeps the connection */
    pthread_mutex_lock(&h->lock);
    bool kept = h->idle_n < POOL;
    if (kept)
        h->idle[h->idle_n++] = c;
    pthread_mutex_unlock(&h->lock);
    if (!kept)
        curl_easy_cleanup(c);
}

int http_read_token(const char *path, char token[HTTP_TOKEN_MAX], struct err *err)
{
    int fd CLEANUP(close_p) = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, token, HTTP_TOKEN_MAX - 1);
    if (n < 0)
        return err_set(err, ERR_UNAUTHORIZED, "the token file %s cannot be read: %s", path,
                       strerror(errno));
    str t = str_trim((str){token, (size_t)n});
    if (t.n == 0)
        return err_set(err, ERR_UNAUTHORIZED, "the token file %s is empty", path);
    memmove(token, t.p, t.n);
    token[t.n] = '\0';
    return 0;
}

static int set_credentials(struct http *h, CURL *c, struct err *err)
{
    if (h->token_file) {
        char token[HTTP_TOKEN_MAX];
        if (http_read_token(h->token_file, token, err) < 0)
            return -1;
        curl_easy_setopt(c, CURLOPT_HTTPAUTH, h->user ? CURLAUTH_BASIC : CURLAUTH_BEARER);
        if (h->user) {
            curl_easy_setopt(c, CURLOPT_USERNAME, h->user);
            curl_easy_setopt(c, CURLOPT_PASSWORD, token);
        } else {
            curl_easy_setopt(c, CURLOPT_XOAUTH2_BEARER, token);
        }
        OPENSSL_cleanse(token, sizeof token);
    } else if (h->user) {
        curl_easy_setopt(c, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
        curl_easy_setopt(c, CURLOPT_USERNAME, h->user);
        curl_easy_setopt(c, CURLOPT_PASSWORD, h->password ? h->password : "");
    }
    return 0;
}

void http_add_header(struct http_headers *to, const char *line)
{
    struct curl_slist *list = curl_slist_append(to->list, line);
    if (!list)
        abort(); /* out of memory */
    to->list = list;
}

static int64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void pause_us(int64_t us)
{
    struct timespec t = {us / 1000000, us % 1000000 * 1000};
    while (nanosleep(&t, &t) < 0 && errno == EINTR)
        ;
}

/* Waits until n bytes more may flow. */
static void wait_for_flow(struct http *h, struct flow *f, size_t n)
{
    if (!f->per_second)
        return;
    pthread_mutex_lock(&h->lock);
    int64_t now = now_us(), start = MAX(f->free_at, now);
    f->free_at = start + (int64_t)((double)n * 1e6 / (double)f->per_second);
    pthread_mutex_unlock(&h->lock);
    pause_us(start - now);
}

/* What one try sends and receives. */
struct transfer {
    struct http *http;
    CURL *curl;
    const struct http_request *request;
    size_t before; /* bytes of request->out that were there */
    size_t sent;
    bool too_large;
};

static size_t receive(char *p, size_t size, size_t n, void *ctx)
{
    struct transfer *t = ctx;
    const struct http_request *r = t->request;
    long status = 0;
    n *= size;
    wait_for_flow(t->http, &t->http->fetch, n);
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status / 100 != 2) {
        if (r->why)
            buf_add(r->why, p, MIN(n, HTTP_WHY_MAX - MIN(r->why->n, (size_t)HTTP_WHY_MAX)));
        return n;
    }
    if (!r->out)
        return n;
    if (n > r->max - (r->out->n - t->before)) {
        t->too_large = true;
        return 0;
    }
    buf_add(r->out, p, n);
    return n;
}

static size_t give(char *p, size_t size, size_t n, void *ctx)
{
    struct transfer *t = ctx;
    n = MIN(size * n, t->request->body_n - t->sent);
    if (n == 0)
        return 0;
    wait_for_flow(t->http, &t->http->send, n);
    memcpy(p, (const char *)t->request->body + t->sent, n);
    t->sent += n;
    return n;
}

/* libcurl begins again where a kept connection turned out to be closed. */
static int give_again(void *ctx, curl_off_t offset, int origin)
{
    struct transfer *t = ctx;
    if (origin != SEEK_SET || offset < 0 || (size_t)offset > t->request->body_n)
        return CURL_SEEKFUNC_FAIL;
    t->sent = (size_t)offset;
    return CURL_SEEKFUNC_OK;
}

static void set_method(CURL *c, const struct http_request *r)
{
    char range[48];
    switch (r->method) {
    case HTTP_GET:
        curl_easy_setopt(c, CURLOPT_HTTPGET, 1L);
        break;
    case HTTP_HEAD:
        curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
        break;
    case HTTP_POST:
        curl_easy_setopt(c, CURLOPT_POST, 1L);
        curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body_n);
        break;
    case HTTP_PUT:
        curl_easy_setopt(c, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(c, CURLOPT_INFILESIZE_LARGE, (curl_off_t)r->body_n);
        break;
    case HTTP_DELETE:
        curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, "DELETE");
        break;
    }
    if (!r->range)
        return;
    unsigned long long from = r->from;
    if (r->n == BACKEND_ALL)
        snprintf(range, sizeof range, "%llu-", from);
    else
        snprintf(range, sizeof range, "%llu-%llu", from, from + r->n - 1);
    curl_easy_setopt(c, CURLOPT_RANGE, range);
}

static void set_common(struct http *h, CURL *c, const struct http_request *r, char *message)
{
    curl_easy_setopt(c, CURLOPT_URL, r->url);
    curl_easy_setopt(c, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, message);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_USERAGENT, "gleaner");
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, 15L);
    /* No limit on the whole: a pack over a slow link may take long. One on standing still. */
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, h->timeout_seconds);
    curl_easy_setopt(c, CURLOPT_BUFFERSIZE, 128L << 10);
    curl_easy_setopt(c, CURLOPT_TCP_KEEPALIVE, 1L);
    if (!h->ca_pem)
        return;
    struct curl_blob ca = {h->ca_pem, strlen(h->ca_pem), CURL_BLOB_NOCOPY};
    curl_easy_setopt(c, CURLOPT_CAINFO_BLOB, &ca);
    curl_easy_setopt(c, CURLOPT_CAPATH, NULL);
}

static int fail(CURLcode code, const char *message, struct err *err)
{
    const char *text = *message ? message : curl_easy_strerror(code);
    switch ((int)code) {
    case CURLE_OPERATION_TIMEDOUT:
        return err_set(err, ERR_TIMEOUT, "%s", text);
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
        return err_set(err, ERR_REFUSED, "the server's certificate is not trusted: %s", text);
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
        return err_set(err, ERR_INVALID, "%s", text);
    default:
        return err_set(err, ERR_UNAVAILABLE, "%s", text);
    }
}

static void set_transfer(CURL *c, struct transfer *t)
{
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, receive);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(c, CURLOPT_READFUNCTION, give);
    curl_easy_setopt(c, CURLOPT_READDATA, t);
    curl_easy_setopt(c, CURLOPT_SEEKFUNCTION, give_again);
    curl_easy_setopt(c, CURLOPT_SEEKDATA, t);
}

/* Runs the request that is set up in t->curl. */
static int perform(struct transfer *t, const char *message, struct http_answer *ret_answer,
                   int64_t *ret_retry_ms, struct err *err)
{
    CURLcode code = curl_easy_perform(t->curl);
    curl_off_t length = -1, retry_after = 0;
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &ret_answer->status);
    curl_easy_getinfo(t->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    curl_easy_getinfo(t->curl, CURLINFO_RETRY_AFTER, &retry_after);
    ret_answer->length = length;
    *ret_retry_ms = MIN(retry_after, LONGEST_PAUSE_MS / 1000) * 1000;
    if (ret_answer->status) {
        pthread_mutex_lock(&t->http->lock);
        t->http->reached = true;
        pthread_mutex_unlock(&t->http->lock);
    }
    if (t->too_large)
        return err_set(err, ERR_TOO_LARGE, "the answer has more than %zu bytes", t->request->max);
    return code == CURLE_OK ? 0 : fail(code, message, err);
}

static void cut(struct buf *b, size_t n)
{
    b->n = n;
    if (b->p)
        b->p[n] = '\0';
}

/* One try. The bytes of a failed one are taken back out of r->out. */
static int try_once(struct http *h, const struct http_request *r, struct http_answer *ret_answer,
                    int64_t *ret_retry_ms, struct err *err)
{
    char message[CURL_ERROR_SIZE] = "";
    CURL *c = take_handle(h);
    struct transfer t = {.http = h, .curl = c, .request = r, .before = r->out ? r->out->n : 0};
    struct http_headers headers = {NULL};
    http_add_header(&headers, "Expect:");
    if (r->why)
        cut(r->why, 0);
    set_common(h, c, r, message);
    set_method(c, r);
    set_transfer(c, &t);
    int done = set_credentials(h, c, err);
    if (done == 0 && r->headers)
        done = r->headers(r->ctx, &headers, err);
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers.list);
    if (done == 0)
        done = perform(&t, message, ret_answer, ret_retry_ms, err);
    if (r->out && (done < 0 || ret_answer->status / 100 != 2))
        cut(r->out, t.before);
    curl_slist_free_all(headers.list);
    give_handle(h, c);
    return done;
}

static bool worth_repeating(const struct http_request *r, int done, const struct http_answer *a,
                            const struct err *err)
{
    if (done < 0)
        return err->kind == ERR_UNAVAILABLE || err->kind == ERR_TIMEOUT;
    if (a->status == 429 || (a->status >= 500 && a->status != 501 && a->status != 507))
        return true;
    return a->status / 100 != 2 && r->again && r->again(r->ctx, a);
}

static bool has_time(struct http *h, int64_t start, int64_t wait)
{
    pthread_mutex_lock(&h->lock);
    unsigned seconds = h->reached ? h->retry_seconds : MIN(h->first_seconds, h->retry_seconds);
    pthread_mutex_unlock(&h->lock);
    return clock_mono_ms() + wait <= start + (int64_t)seconds * 1000;
}

int http_do(struct http *h, const struct http_request *r, struct http_answer *ret_answer,
            struct err *err)
{
    int64_t pause = FIRST_PAUSE_MS, start = clock_mono_ms();
    for (;;) {
        struct http_answer a = {.length = -1};
        struct err why = {0};
        int64_t asked = 0;
        int done = try_once(h, r, &a, &asked, &why);
        /* Half to all of the pause: clients that failed together do not return together. */
        uint16_t random;
        random_bytes(&random, sizeof random);
        int64_t wait = MAX(asked, pause / 2 + pause * random / 131072);
        if (!worth_repeating(r, done, &a, &why) || !has_time(h, start, wait)) {
            if (done < 0 && err)
                *err = why;
            *ret_answer = a;
            return done;
        }
        pause_us(wait * 1000);
        pause = MIN(pause * 2, LONGEST_PAUSE_MS);
    }
}

int http_refuse(const struct http_answer *a, struct err *err)
{
    enum err_kind kind = a->status == 404   ? ERR_NOT_FOUND
                         : a->status == 401 ? ERR_UNAUTHORIZED
                         : a->status == 403 ? ERR_FORBIDDEN
                         : a->status == 416 ? ERR_CORRUPT
                         : a->status == 413 ? ERR_TOO_LARGE
                         : a->status == 429 ? ERR_BUSY
                         : a->status == 507 ? ERR_IO
                         : a->status >= 500 ? ERR_UNAVAILABLE
                                            : ERR_INVALID;
    err_set(err, kind, "the server answered %ld", a->status);
    if (err)
        err->http = (int)a->status;
    return -1;
}

int http_load(struct http *h, struct http_request *r, uint64_t offset, size_t n, size_t max,
              struct buf *out, struct http_answer *ret_answer, struct err *err)
{
    size_t before = out->n;
    r->method = HTTP_GET;
    r->out = out;
    r->max = max;
    r->range = n != BACKEND_ALL || offset > 0;
    r->from = offset;
    r->n = n;
    if (n == 0)
        return 1;
    if (http_do(h, r, ret_answer, err) < 0)
        return -1;
    if (r->range && ret_answer->status == 200)
        return err_set(err, ERR_UNSUPPORTED, "the server does not give parts of files");
    if (ret_answer->status != (r->range ? 206 : 200))
        return 0;
    if (n != BACKEND_ALL && out->n - before != n)
        return err_set(err, ERR_CORRUPT, "%zu bytes instead of %zu from offset %llu",
                       out->n - before, n, (unsigned long long)offset);
    return 1;
}
