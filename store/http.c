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

enum { POOL = 16, TOKEN_MAX = 16 << 10, FIRST_PAUSE_MS = 200, LONGEST_PAUSE_MS = 15000 };

struct http {
    char *ca_pem, *user, *password, *token_file;
    long timeout_seconds;
    unsigned retry_seconds;
    pthread_mutex_t lock;
    CURL *idle[POOL];
    size_t idle_n;
};

int http_new(const struct backend_rest_options *o, struct http **ret_http, struct err *err)
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

/* The token's file, trimmed. Projected tokens are replaced while we run: read for each request. */
static int read_token(const char *path, char token[TOKEN_MAX], struct err *err)
{
    int fd CLEANUP(close_p) = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, token, TOKEN_MAX - 1);
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
        char token[TOKEN_MAX];
        if (read_token(h->token_file, token, err) < 0)
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

/* What one try receives. */
struct receiving {
    CURL *curl;
    struct buf *out;
    size_t before, max;
    bool too_large;
};

static size_t receive(char *p, size_t size, size_t n, void *ctx)
{
    struct receiving *to = ctx;
    long status = 0;
    curl_easy_getinfo(to->curl, CURLINFO_RESPONSE_CODE, &status);
    if (!to->out || status / 100 != 2)
        return size * n;
    if (size * n > to->max - (to->out->n - to->before)) {
        to->too_large = true;
        return 0;
    }
    buf_add(to->out, p, size * n);
    return size * n;
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
        curl_easy_setopt(c, CURLOPT_POSTFIELDS, r->body ? r->body : "");
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

/* One try. The bytes of a failed one are taken back out of r->out. */
static int try_once(struct http *h, const struct http_request *r, struct http_answer *ret_answer,
                    struct err *err)
{
    char message[CURL_ERROR_SIZE] = "";
    CURL *c = take_handle(h);
    struct receiving to = {c, r->out, r->out ? r->out->n : 0, r->max, false};
    struct curl_slist *headers =
        curl_slist_append(NULL, "Accept: application/vnd.x.restic.rest.v2");
    if (r->method == HTTP_POST) {
        headers = curl_slist_append(headers, "Content-Type: application/octet-stream");
        headers = curl_slist_append(headers, "Expect:");
    }
    set_common(h, c, r, message);
    set_method(c, r);
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, receive);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, &to);
    int done = set_credentials(h, c, err);
    if (done == 0) {
        CURLcode code = curl_easy_perform(c);
        curl_off_t length = -1;
        curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &ret_answer->status);
        curl_easy_getinfo(c, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
        ret_answer->length = length;
        if (to.too_large)
            done = err_set(err, ERR_TOO_LARGE, "the answer has more than %zu bytes", r->max);
        else if (code != CURLE_OK)
            done = fail(code, message, err);
    }
    if (r->out && (done < 0 || ret_answer->status / 100 != 2)) {
        r->out->n = to.before;
        if (r->out->p)
            r->out->p[to.before] = '\0';
    }
    curl_slist_free_all(headers);
    give_handle(h, c);
    return done;
}

static bool worth_repeating(int done, const struct http_answer *a, const struct err *err)
{
    if (done < 0)
        return err->kind == ERR_UNAVAILABLE || err->kind == ERR_TIMEOUT;
    return a->status == 429 || (a->status >= 500 && a->status != 501 && a->status != 507);
}

static void pause_ms(int64_t ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&t, &t) < 0 && errno == EINTR)
        ;
}

int http_do(struct http *h, const struct http_request *r, struct http_answer *ret_answer,
            struct err *err)
{
    int64_t pause = FIRST_PAUSE_MS, end = clock_mono_ms() + (int64_t)h->retry_seconds * 1000;
    for (;;) {
        struct http_answer a = {.length = -1};
        struct err why = {0};
        int done = try_once(h, r, &a, &why);
        /* Half to all of the pause: clients that failed together do not return together. */
        uint16_t random;
        random_bytes(&random, sizeof random);
        int64_t wait = pause / 2 + pause * random / 131072;
        if (!worth_repeating(done, &a, &why) || clock_mono_ms() + wait > end) {
            if (done < 0 && err)
                *err = why;
            *ret_answer = a;
            return done;
        }
        pause_ms(wait);
        pause = MIN(pause * 2, LONGEST_PAUSE_MS);
    }
}
