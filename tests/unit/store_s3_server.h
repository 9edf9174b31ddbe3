/* A small server of S3's protocol that keeps its objects in memory, with faults. It believes every
 * signature (a real server judges these, in the end-to-end tests), but checks what the headers say
 * of the body. */
#ifndef TESTS_STORE_S3_SERVER_H
#define TESTS_STORE_S3_SERVER_H

#include "store_support.h"

#include "store/backend_s3.h"
#include "store/xml.h"

#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>

struct s3_object {
    char *key;
    struct buf body;
};

/* Where a request is: its headers are read, or its work is done and the answer not sent. */
enum s3_stage { S3_BEGUN, S3_DONE };

/* Guarded by `lock`; tests change it only between requests. */
static struct s3_server {
    pthread_mutex_t lock;
    struct MHD_Daemon *daemon;
    unsigned port;
    struct {
        struct s3_object *p;
        size_t n, room;
    } objects;
    bool bucket;        /* it is there */
    size_t page;        /* objects of one page of a list */
    const char *access; /* the access key that it knows */
    const char *token;  /* the session token that it wants, or NULL */
    const char *region; /* another is answered with this one's name */

    int fail, fail_status; /* that many requests more are answered so, */
    const char *fail_code; /* with this code */
    int retry_after;       /* seconds that such an answer names; 0: none */
    int drop;              /* that many requests more get no answer */
    int lose;              /* that many PUTs more do their work and get no answer */
    int cut;               /* that many bodies of GETs more end in the middle */
    int delay_ms, delays;  /* that many answers more are late */
    bool short_ranges, ignore_ranges, no_conditions;
    bool list_nothing, list_twice, list_backwards, list_foreign, list_forever, list_words;
    bool echo; /* errors repeat the access key in their words */
    bool full; /* nothing can be stored any more */
    /* Called with the lock held; false ends the connection. May be NULL. */
    bool (*stage)(enum s3_stage stage, const char *method);
    /* Called with the lock held for each request of the bucket; key: "" of a list. May be NULL. */
    void (*asked)(struct MHD_Connection *c, const char *method, const char *key);

    int requests, sessions;
    char host[128], date[32];
} s3_server = {.lock = PTHREAD_MUTEX_INITIALIZER};

static inline enum MHD_Result s3_answer(struct MHD_Connection *c, unsigned status, const char *p,
                                        size_t n)
{
    struct MHD_Response *r =
        MHD_create_response_from_buffer(n, (void *)(uintptr_t)p, MHD_RESPMEM_MUST_COPY);
    char seconds[16];
    snprintf(seconds, sizeof seconds, "%d", s3_server.retry_after);
    if (status == 503 && s3_server.retry_after)
        MHD_add_response_header(r, "Retry-After", seconds);
    enum MHD_Result done = MHD_queue_response(c, status, r);
    MHD_destroy_response(r);
    return done;
}

static inline enum MHD_Result s3_error(struct MHD_Connection *c, unsigned status, const char *code)
{
    struct buf text CLEANUP(buf_free) = {0};
    const char *who = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Authorization");
    buf_printf(&text,
               "<?xml version=\"1.0\"?>\n<Error><Code>%s</Code><Message>words%s</Message>"
               "<Region>%s</Region><ServerTime>2031-01-02T03:04:05Z</ServerTime></Error>",
               code ? code : "InternalError", s3_server.echo && who ? who : "",
               s3_server.region ? s3_server.region : "");
    return s3_answer(c, status, text.p, text.n);
}

static inline struct s3_object *s3_find(const char *key)
{
    for (size_t i = 0; i < s3_server.objects.n; i++)
        if (streq(s3_server.objects.p[i].key, key))
            return &s3_server.objects.p[i];
    return NULL;
}

static inline void s3_forget(struct s3_object *o)
{
    free(o->key);
    buf_free(&o->body);
    *o = s3_server.objects.p[--s3_server.objects.n];
}

static inline int s3_compare(const void *a, const void *b)
{
    const struct s3_object *x = a, *y = b;
    int r = strcmp(x->key, y->key);
    return s3_server.list_backwards ? -r : r;
}

static inline void s3_entry(struct buf *out, const char *key, size_t size)
{
    buf_puts(out, "<Contents><Key>");
    xml_escape(out, str_of(key));
    buf_printf(out, "</Key><ETag>&quot;x&quot;</ETag><Size>%zu</Size></Contents>", size);
}

/* The folders directly below a prefix, all in one page. */
static inline enum MHD_Result s3_list_folders(struct MHD_Connection *c, const char *prefix)
{
    struct buf out CLEANUP(buf_free) = {0};
    const char *last = "";
    size_t skip = strlen(prefix), last_n = 0;
    buf_puts(&out, "<?xml version=\"1.0\"?>\n<ListBucketResult xmlns=\"http://x/\"><Name>b</Name>"
                   "<IsTruncated>false</IsTruncated>");
    for (size_t i = 0; i < s3_server.objects.n; i++) {
        const char *key = s3_server.objects.p[i].key;
        const char *end = str_starts(str_of(key), prefix) ? strchr(key + skip, '/') : NULL;
        size_t n = end ? (size_t)(end + 1 - key) : 0;
        if (n == 0 || (n == last_n && memcmp(key, last, n) == 0))
            continue;
        last = key, last_n = n;
        buf_puts(&out, "<CommonPrefixes><Prefix>");
        xml_escape(&out, (str){key, n});
        buf_puts(&out, "</Prefix></CommonPrefixes>");
    }
    buf_puts(&out, "</ListBucketResult>");
    return s3_answer(c, 200, out.p, out.n);
}

static inline enum MHD_Result s3_list(struct MHD_Connection *c)
{
    struct buf out CLEANUP(buf_free) = {0};
    const char *prefix = MHD_lookup_connection_value(c, MHD_GET_ARGUMENT_KIND, "prefix");
    const char *token = MHD_lookup_connection_value(c, MHD_GET_ARGUMENT_KIND, "continuation-token");
    const char *after = MHD_lookup_connection_value(c, MHD_GET_ARGUMENT_KIND, "start-after");
    size_t at = token ? strtoul(token, NULL, 10) : 0, n = 0;
    struct s3_object *all = s3_server.objects.p;
    if (s3_server.list_words)
        return s3_answer(c, 200, "<html><body>Welcome</body></html>", 33);
    if (s3_server.objects.n)
        qsort(all, s3_server.objects.n, sizeof *all, s3_compare);
    if (MHD_lookup_connection_value(c, MHD_GET_ARGUMENT_KIND, "delimiter") &&
        !s3_server.list_nothing)
        return s3_list_folders(c, prefix ? prefix : "");
    buf_puts(&out, "<?xml version=\"1.0\"?>\n<ListBucketResult xmlns=\"http://x/\"><Name>b</Name>");
    for (; at < s3_server.objects.n && n < s3_server.page && !s3_server.list_nothing; at++) {
        if (!str_starts(str_of(all[at].key), prefix ? prefix : "") ||
            (after && strcmp(all[at].key, after) <= 0))
            continue;
        for (int i = 0; i <= s3_server.list_twice; i++)
            s3_entry(&out, all[at].key, all[at].body.n);
        n++;
    }
    if (s3_server.list_foreign)
        s3_entry(&out, "elsewhere/keys/x", 1);
    bool more = s3_server.list_forever || (at < s3_server.objects.n && !s3_server.list_nothing);
    buf_printf(&out, "<IsTruncated>%s</IsTruncated>", more ? "true" : "false");
    if (more)
        buf_printf(&out, "<NextContinuationToken>%zu</NextContinuationToken>", at);
    buf_puts(&out, "</ListBucketResult>");
    return s3_answer(c, 200, out.p, out.n);
}

/* Half of a body, then the end of the connection. */
static inline ssize_t s3_half(void *ctx, uint64_t at, char *p, size_t n)
{
    struct buf *body = ctx;
    if (at >= body->n / 2)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    n = MIN(n, body->n / 2 - at);
    memcpy(p, body->p + at, n);
    return (ssize_t)n;
}

static inline void s3_half_free(void *ctx)
{
    buf_free(ctx);
    free(ctx);
}

static inline enum MHD_Result s3_give_half(struct MHD_Connection *c, unsigned status, const char *p,
                                           size_t n)
{
    struct buf *copy = xcalloc(1, sizeof *copy);
    buf_add(copy, p, n);
    struct MHD_Response *r =
        MHD_create_response_from_callback(n, 4096, s3_half, copy, s3_half_free);
    enum MHD_Result done = MHD_queue_response(c, status, r);
    MHD_destroy_response(r);
    return done;
}

static inline enum MHD_Result s3_give(struct MHD_Connection *c, const struct s3_object *o)
{
    unsigned long long from = 0, to = o->body.n;
    const char *range = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Range");
    size_t n = o->body.n;
    unsigned status = 200;
    if (range && !s3_server.ignore_ranges) {
        if (sscanf(range, "bytes=%llu-%llu", &from, &to) < 1 || from >= o->body.n)
            return s3_error(c, 416, "InvalidRange");
        n = (size_t)MIN(to - from + 1, o->body.n - from) - s3_server.short_ranges;
        status = 206;
    }
    if (s3_server.cut > 0) {
        s3_server.cut--;
        return s3_give_half(c, status, o->body.p + from, n);
    }
    return s3_answer(c, status, o->body.n ? o->body.p + from : "", n);
}

static inline enum MHD_Result s3_take(struct MHD_Connection *c, const char *key,
                                      const struct buf *body)
{
    struct buf base64 CLEANUP(buf_free) = {0};
    struct store_id id;
    char hex[STORE_ID_HEX];
    const char *hash = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "x-amz-content-sha256");
    const char *sum = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "x-amz-checksum-sha256");
    const char *only = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "If-None-Match");
    store_id_of(body->p, body->n, &id);
    store_id_hex(&id, hex);
    base64_encode(&base64, &id, sizeof id);
    if (!streq(hash, hex))
        return s3_error(c, 400, "XAmzContentSHA256Mismatch");
    if (!streq(sum, base64.p))
        return s3_error(c, 400, "BadDigest");
    if (s3_server.full)
        return s3_error(c, 507, "XMinioStorageFull");
    if (only && s3_server.no_conditions)
        return s3_error(c, 501, "NotImplemented");
    struct s3_object *o = s3_find(key);
    if (o && only)
        return s3_error(c, 412, "PreconditionFailed");
    if (!o) {
        o = vec_add(&s3_server.objects);
        o->key = xstrdup(key);
    }
    buf_reset(&o->body);
    buf_add(&o->body, body->p, body->n);
    if (s3_server.lose > 0) {
        s3_server.lose--;
        return MHD_NO;
    }
    return s3_answer(c, 200, "", 0);
}

/* A session for a web identity whose token is "jwt". */
static inline enum MHD_Result s3_session(struct MHD_Connection *c, const struct buf *body)
{
    static char token[32];
    struct buf out CLEANUP(buf_free) = {0};
    if (!strstr(body->p, "WebIdentityToken=jwt") ||
        !strstr(body->p, "RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr"))
        return s3_error(c, 400, "InvalidIdentityToken");
    snprintf(token, sizeof token, "session-%d", ++s3_server.sessions);
    s3_server.token = token;
    buf_printf(
        &out,
        "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>"
        "<AccessKeyId>%s</AccessKeyId><SecretAccessKey>s</SecretAccessKey>"
        "<SessionToken>%s</SessionToken><Expiration>2100-01-01T00:00:00Z</Expiration>"
        "</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>",
        s3_server.access, token);
    return s3_answer(c, 200, out.p, out.n);
}

static inline unsigned s3_judge(struct MHD_Connection *c, const char **ret_code)
{
    const char *who = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Authorization");
    const char *token = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "x-amz-security-token");
    char *scope CLEANUP(free_p) = xasprintf("/%s/s3/", s3_server.region ? s3_server.region : "");
    char *name CLEANUP(free_p) = xasprintf("Credential=%s/", s3_server.access);
    *ret_code = NULL;
    if (!who || !strstr(who, name))
        *ret_code = "InvalidAccessKeyId";
    else if (s3_server.region && !strstr(who, scope))
        *ret_code = "AuthorizationHeaderMalformed";
    else if (s3_server.token && !streq(token, s3_server.token))
        *ret_code = "ExpiredToken";
    return *ret_code && streq(*ret_code, "InvalidAccessKeyId") ? 403 : 400;
}

static inline enum MHD_Result s3_serve(struct MHD_Connection *c, const char *url,
                                       const char *method, const struct buf *body)
{
    const char *code, *host = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Host");
    s3_server.requests++;
    snprintf(s3_server.host, sizeof s3_server.host, "%s", host ? host : "");
    const char *date = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "x-amz-date");
    snprintf(s3_server.date, sizeof s3_server.date, "%s", date ? date : "");
    if (s3_server.drop > 0) {
        s3_server.drop--;
        return MHD_NO;
    }
    if (s3_server.fail > 0) {
        s3_server.fail--;
        return s3_error(c, (unsigned)s3_server.fail_status, s3_server.fail_code);
    }
    if (streq(method, "POST"))
        return s3_session(c, body);
    unsigned status = s3_judge(c, &code);
    if (code)
        return s3_error(c, status, code);
    if (str_starts(str_of(url), "/bucket"))
        url += strlen("/bucket");
    else if (!host || !str_starts(str_of(host), "bucket."))
        return s3_error(c, 404, "NoSuchBucket");
    while (*url == '/')
        url++;
    if (s3_server.asked)
        s3_server.asked(c, method, url);
    if (!*url && streq(method, "PUT"))
        s3_server.bucket = true;
    if (!s3_server.bucket)
        return s3_error(c, 404, "NoSuchBucket");
    if (!*url)
        return streq(method, "PUT") ? s3_answer(c, 200, "", 0) : s3_list(c);
    if (streq(method, "PUT"))
        return s3_take(c, url, body);
    struct s3_object *o = s3_find(url);
    if (streq(method, "DELETE")) {
        if (o)
            s3_forget(o);
        return s3_answer(c, 204, "", 0);
    }
    return o ? s3_give(c, o) : s3_error(c, 404, "NoSuchKey");
}

static inline enum MHD_Result s3_handle(void *cls, struct MHD_Connection *c, const char *url,
                                        const char *method, const char *version, const char *upload,
                                        size_t *upload_n, void **ctx)
{
    (void)cls, (void)version;
    struct buf *body = *ctx;
    if (!body) {
        pthread_mutex_lock(&s3_server.lock);
        bool go_on = !s3_server.stage || s3_server.stage(S3_BEGUN, method);
        pthread_mutex_unlock(&s3_server.lock);
        if (!go_on)
            return MHD_NO;
        *ctx = xcalloc(1, sizeof *body);
        buf_puts(*ctx, "");
        return MHD_YES;
    }
    if (*upload_n) {
        buf_add(body, upload, *upload_n);
        *upload_n = 0;
        return MHD_YES;
    }
    pthread_mutex_lock(&s3_server.lock);
    int late = s3_server.delays > 0 ? s3_server.delay_ms : 0;
    s3_server.delays -= late > 0;
    enum MHD_Result r = s3_serve(c, url, method, body);
    if (s3_server.stage && !s3_server.stage(S3_DONE, method))
        r = MHD_NO;
    pthread_mutex_unlock(&s3_server.lock);
    if (late)
        usleep((useconds_t)late * 1000);
    return r;
}

static inline void s3_completed(void *cls, struct MHD_Connection *c, void **ctx,
                                enum MHD_RequestTerminationCode code)
{
    (void)cls, (void)c, (void)code;
    if (*ctx)
        buf_free(*ctx);
    free(*ctx);
    *ctx = NULL;
}

static inline void s3_server_start(void)
{
    s3_server = (struct s3_server){
        .lock = PTHREAD_MUTEX_INITIALIZER, .bucket = true, .page = 3, .access = "AKIDTEST"};
    s3_server.daemon = MHD_start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION, 0, NULL, NULL, s3_handle,
        NULL, MHD_OPTION_NOTIFY_COMPLETED, s3_completed, NULL, MHD_OPTION_SOCK_ADDR,
        &(struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)},
        MHD_OPTION_END);
    if (!s3_server.daemon)
        abort();
    s3_server.port = MHD_get_daemon_info(s3_server.daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
}

static inline void s3_server_stop(void)
{
    if (s3_server.daemon)
        MHD_stop_daemon(s3_server.daemon);
    s3_server.daemon = NULL;
    while (s3_server.objects.n)
        s3_forget(&s3_server.objects.p[0]);
    vec_free(&s3_server.objects);
}

#endif
