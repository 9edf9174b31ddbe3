#include "gateway/client.h"

#include <curl/curl.h>
#include <openssl/crypto.h>
#include <stdlib.h>

#include "core/codec.h"
#include "core/jsonscan.h"
#include "gateway/server.h"
#include "store/http.h"

enum {
    ANSWER_MAX = 64 << 10,
    BODY_MAX = GATEWAY_REGISTRATION_MAX,
    TIMEOUT_MS = 15000,
    CONNECT_MS = 5000
};

struct gateway_client {
    CURL *curl;
    char *url, *ca_pem, *token_file;
};

int gateway_client_new(const char *url, const char *ca_pem, const char *token_file,
                       struct gateway_client **ret_client, struct err *err)
{
    if (!str_starts(str_of(url), "https://"))
        return err_set(err, ERR_INVALID, "the gateway's URL '%s' is not https://HOST:PORT",
                       url ? url : "");
    CURL *curl = curl_easy_init();
    if (!curl)
        return err_set(err, ERR_INTERNAL, "libcurl does not start");
    struct gateway_client *c = xcalloc(1, sizeof *c);
    size_t n = strlen(url);
    *c = (struct gateway_client){.curl = curl,
                                 .url = xstrndup(url, n - (url[n - 1] == '/')),
                                 .ca_pem = xstrdup(ca_pem ? ca_pem : ""),
                                 .token_file = xstrdup(token_file)};
    *ret_client = c;
    return 0;
}

void gateway_client_free(struct gateway_client *c)
{
    if (!c)
        return;
    curl_easy_cleanup(c->curl);
    free(c->url);
    free(c->ca_pem);
    free(c->token_file);
    free(c);
}

static void wipe(struct buf *b)
{
    if (b->p)
        OPENSSL_cleanse(b->p, b->room);
    buf_free(b);
}

/* A buffer that never moves, so that wiping it wipes all that it held. */
static struct buf fixed_buffer(size_t room)
{
    struct buf b = {.p = xmalloc(room + 1), .room = room + 1, .cap = room};
    b.p[0] = '\0';
    return b;
}

static size_t receive(char *p, size_t size, size_t n, void *ctx)
{
    struct buf *to = ctx;
    buf_add(to, p, size * n);
    return to->overflow ? 0 : size * n;
}

static int failed_transfer(CURLcode code, const char *message, struct err *err)
{
    const char *text = *message ? message : curl_easy_strerror(code);
    if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE)
        return err_set(err, ERR_REFUSED,
                       "gateway: its certificate is not the one that we trust: %s", text);
    return err_set(err, code == CURLE_OPERATION_TIMEDOUT ? ERR_TIMEOUT : ERR_UNAVAILABLE,
                   "gateway: %s", text);
}

/* The gateway's own sentence (it holds no secret) goes into the message. */
static int failed_answer(long status, const struct buf *answer, struct err *err)
{
    enum err_kind kind = status == 400   ? ERR_INVALID
                         : status == 401 ? ERR_UNAUTHORIZED
                         : status == 403 ? ERR_FORBIDDEN
                         : status == 404 ? ERR_NOT_FOUND
                         : status == 429 ? ERR_BUSY
                         : status >= 500 ? ERR_UNAVAILABLE
                                         : ERR_INTERNAL;
    str text = str_trim((str){answer->p, MIN(answer->n, (size_t)200)});
    err_set(err, kind, "gateway answers %ld: %.*s", status, STR_FMT(text));
    if (err)
        err->http = (int)status;
    return -1;
}

static void set_up(struct gateway_client *c, const char *method, const char *url, const char *token,
                   str body, struct buf *answer, char *message)
{
    CURL *h = c->curl;
    struct curl_blob ca = {c->ca_pem, strlen(c->ca_pem), CURL_BLOB_COPY};
    curl_easy_reset(h); /* the connection stays */
    curl_easy_setopt(h, CURLOPT_URL, url);
    curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "https");
    curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, method);
    if (body.p) {
        curl_easy_setopt(h, CURLOPT_POSTFIELDS, body.p);
        curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.n);
    }
    curl_easy_setopt(h, CURLOPT_CAINFO_BLOB, &ca);
    curl_easy_setopt(h, CURLOPT_CAPATH, NULL);
    curl_easy_setopt(h, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
    curl_easy_setopt(h, CURLOPT_XOAUTH2_BEARER, token);
    curl_easy_setopt(h, CURLOPT_TIMEOUT_MS, (long)TIMEOUT_MS);
    curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
    curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(h, CURLOPT_USERAGENT, "gleaner");
    curl_easy_setopt(h, CURLOPT_ERRORBUFFER, message);
    curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, receive);
    curl_easy_setopt(h, CURLOPT_WRITEDATA, answer);
}

/* One exchange; *answer gets the body. */
static int exchange(struct gateway_client *c, const char *method, const char *path, str body,
                    struct buf *answer, struct err *err)
{
    char message[CURL_ERROR_SIZE] = "", token[HTTP_TOKEN_MAX];
    long status = 0;
    char *url CLEANUP(free_p) = xasprintf("%s%s", c->url, path);
    if (http_read_token(c->token_file, token, err) < 0)
        return -1;
    set_up(c, method, url, token, body, answer, message);
    CURLcode code = curl_easy_perform(c->curl);
    curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_setopt(c->curl, CURLOPT_XOAUTH2_BEARER, NULL);
    OPENSSL_cleanse(token, sizeof token);
    if (code != CURLE_OK)
        return failed_transfer(code, message, err);
    return status / 100 == 2 ? 0 : failed_answer(status, answer, err);
}

static void add_member(struct buf *out, const char *name, const char *value)
{
    buf_printf(out, "%s\"%s\":", out->n > 1 ? "," : "", name);
    raw_add_string(out, str_of(value ? value : ""));
}

static void add_s3(struct buf *out, const struct backend_s3_options *s3)
{
    static const char *const lookups[] = {
        [S3_LOOKUP_AUTO] = "", [S3_LOOKUP_PATH] = "path", [S3_LOOKUP_HOST] = "host"};
    const char *const members[][2] = {{"endpoint", s3->endpoint},
                                      {"bucket", s3->bucket},
                                      {"prefix", s3->prefix},
                                      {"region", s3->region},
                                      {"lookup", lookups[s3->lookup]},
                                      {"ca", s3->ca_pem},
                                      {"access_key", s3->access_key},
                                      {"secret_key", s3->secret_key},
                                      {"session_token", s3->session_token}};
    buf_puts(out, ",\"s3\":{");
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        buf_printf(out, "%s\"%s\":", i ? "," : "", members[i][0]);
        raw_add_string(out, str_of(members[i][1] ? members[i][1] : ""));
    }
    buf_putc(out, '}');
}

int gateway_register(struct gateway_client *c, const struct gateway_mover *m, struct err *err)
{
    struct buf body CLEANUP(wipe) = fixed_buffer(BODY_MAX);
    struct buf answer CLEANUP(wipe) = fixed_buffer(ANSWER_MAX);
    char *path CLEANUP(free_p) = xasprintf("/gleaner/v1/movers/%s", m->pod_uid);
    buf_putc(&body, '{');
    add_member(&body, "store", m->store);
    add_member(&body, "repository", m->repository);
    add_member(&body, "password", m->password);
    buf_puts(&body, ",\"keys\":[");
    for (size_t i = 0; m->keys && m->keys[i]; i++) {
        buf_puts(&body, i ? "," : "");
        raw_add_string(&body, str_of(m->keys[i]));
    }
    buf_printf(&body, "],\"write\":%s,\"budget\":%llu", m->write ? "true" : "false",
               (unsigned long long)m->budget);
    add_member(&body, "lock", m->lock);
    add_member(&body, "key_text", m->key_text);
    if (m->config.n) {
        buf_puts(&body, ",\"config\":\"");
        base64_encode(&body, m->config.p, m->config.n);
        buf_putc(&body, '"');
    }
    if (m->s3)
        add_s3(&body, m->s3);
    buf_putc(&body, '}');
    if (body.overflow)
        return err_set(err, ERR_TOO_LARGE, "registration of mover %s", m->pod_uid);
    if (exchange(c, "PUT", path, buf_view(&body), &answer, err) < 0)
        return err_wrap(err, "registering mover %s", m->pod_uid);
    return 0;
}

int gateway_unregister(struct gateway_client *c, const char *pod_uid, struct err *err)
{
    struct buf answer CLEANUP(wipe) = fixed_buffer(ANSWER_MAX);
    char *path CLEANUP(free_p) = xasprintf("/gleaner/v1/movers/%s", pod_uid);
    if (exchange(c, "DELETE", path, (str){0}, &answer, err) < 0)
        return err_wrap(err, "unregistering mover %s", pod_uid);
    return 0;
}

int gateway_fetch_password(struct gateway_client *c, char **ret_password, struct err *err)
{
    struct buf answer CLEANUP(wipe) = fixed_buffer(ANSWER_MAX);
    if (exchange(c, "GET", "/gleaner/v1/key", (str){0}, &answer, err) < 0)
        return -1;
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    str raw = raw_get(buf_view(&answer), "password"), text = raw_string(a, raw);
    char *password = text.p && text.n ? xstrndup(text.p, text.n) : NULL;
    if (text.p)
        OPENSSL_cleanse((char *)(uintptr_t)text.p, text.n);
    if (!password)
        return err_set(err, ERR_CORRUPT, "gateway: its answer holds no password");
    *ret_password = password;
    return 0;
}
