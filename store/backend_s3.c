#include "store/backend_s3.h"

#include "store/breaker.h"
#include "store/gojson.h"
#include "store/http.h"
#include "store/layout.h"
#include "store/limits.h"
#include "store/s3_credentials.h"
#include "store/s3_folders.h"
#include "store/s3_list.h"
#include "store/s3_place.h"
#include "store/sigv4.h"
#include "store/xml.h"

#include "core/clock.h"

#include <openssl/crypto.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    AHEAD_MS = 10000,
    RETRY_SECONDS = 900,
    FIRST_SECONDS = 30,
    EXTRA_MAX = 2,
    CORRECTIONS_MAX = 3
};

struct s3 {
    struct backend base;
    struct http *http;
    struct s3_credentials *credentials;
    struct s3_place place;
    struct breaker *breaker;
    pthread_mutex_t lock; /* guards what follows and place.region */
    int64_t skew_ms;      /* the server's clock less ours, where that matters */
    bool must_exist;      /* the bucket; never changes */
    /* Lists that were taken ahead: each is given once. */
    struct s3_entries ahead[BACKEND_TYPES];
    bool has_ahead[BACKEND_TYPES];
    int64_t ahead_ms;
    bool no_ahead; /* one page does not hold them all */
    bool there;    /* the repository has been seen or made: an empty list is an empty list */
};

/* One request: what is signed, and what the server said. */
struct call {
    struct s3 *s3;
    const char *method;
    struct buf path, query, url;
    char payload[STORE_ID_HEX];
    struct sigv4_pair extra[EXTRA_MAX];
    size_t extra_n;
    struct buf why;
    int corrections;
    struct http_request request;
};

static struct s3 *s3_of(struct backend *b)
{
    return (struct s3 *)b;
}

/* ---- requests ---- */

static void call_free(struct call *c)
{
    buf_free(&c->path);
    buf_free(&c->query);
    buf_free(&c->url);
    buf_free(&c->why);
}

static void add_line(struct http_headers *to, str name, str value)
{
    char *line = xasprintf("%.*s: %.*s", STR_FMT(name), STR_FMT(value));
    http_add_header(to, line);
    OPENSSL_cleanse(line, strlen(line));
    free(line);
}

enum { REGION_MAX = 64 };

static void region_of(struct s3 *s3, char region[REGION_MAX])
{
    pthread_mutex_lock(&s3->lock);
    snprintf(region, REGION_MAX, "%s", s3->place.region);
    pthread_mutex_unlock(&s3->lock);
}

/* Signs one try, with the time, region and credentials of now. */
static int sign(void *ctx, struct http_headers *to, struct err *err)
{
    struct call *c = ctx;
    struct s3_secret secret CLEANUP(s3_secret_wipe) = {0};
    struct sigv4_pair headers[SIGV4_HEADERS_MAX];
    char time[SIGV4_TIME], region[REGION_MAX];
    if (s3_credentials_get(c->s3->credentials, &secret, err) < 0)
        return -1;
    pthread_mutex_lock(&c->s3->lock);
    sigv4_time(clock_wall_ms() + c->s3->skew_ms, time);
    pthread_mutex_unlock(&c->s3->lock);
    region_of(c->s3, region);
    size_t n = 0;
    headers[n++] = (struct sigv4_pair){STR("host"), str_of(c->s3->place.host)};
    headers[n++] = (struct sigv4_pair){STR("x-amz-content-sha256"), str_of(c->payload)};
    headers[n++] = (struct sigv4_pair){STR("x-amz-date"), str_of(time)};
    if (secret.token)
        headers[n++] = (struct sigv4_pair){STR("x-amz-security-token"), str_of(secret.token)};
    for (size_t i = 0; i < c->extra_n; i++)
        headers[n++] = c->extra[i];
    struct sigv4_request r = {.method = c->method,
                              .path = buf_view(&c->path),
                              .query = buf_view(&c->query),
                              .headers = headers,
                              .headers_n = n,
                              .payload = c->payload};
    struct sigv4_key key = {secret.access, secret.secret, region, "s3"};
    struct buf signature CLEANUP(buf_free) = {0};
    sigv4_sign(&signature, &r, &key, time);
    for (size_t i = 0; i < n; i++)
        add_line(to, headers[i].name, headers[i].value);
    add_line(to, STR("Authorization"), buf_view(&signature));
    if (c->request.method == HTTP_PUT)
        http_add_header(to, "Content-Type: application/octet-stream");
    return 0;
}

/* The first text of that name in what the server said, or "". */
static void said(const struct call *c, const char *name, struct buf *out)
{
    struct xml_wanted wanted = {name, out};
    struct err ignored;
    buf_puts(out, "");
    (void)!xml_find(buf_view(&c->why), &wanted, 1, &ignored);
}

static bool is_one_of(str s, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (str_is(s, words[i]))
            return true;
    return false;
}

/* Letters, digits, '-', '.', '_': what codes and regions are made of. */
static bool is_word(str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '-' || c == '.' || c == '_'))
            return false;
    }
    return s.n > 0;
}

/* A region that the server names instead of ours. */
static bool take_region(struct s3 *s3, const struct buf *region)
{
    if (region->n > 40 || !is_word(buf_view(region)))
        return false;
    pthread_mutex_lock(&s3->lock);
    bool other = !streq(s3->place.region, region->p);
    if (other) {
        free(s3->place.region);
        s3->place.region = xstrdup(region->p);
    }
    pthread_mutex_unlock(&s3->lock);
    return other;
}

static bool take_clock(struct s3 *s3, str server_time)
{
    int64_t theirs;
    if (!clock_parse(server_time, &theirs))
        return false;
    pthread_mutex_lock(&s3->lock);
    s3->skew_ms = theirs - clock_wall_ms();
    pthread_mutex_unlock(&s3->lock);
    return true;
}

static bool again(void *ctx, const struct http_answer *a)
{
    static const char *const slow[] = {"RequestTimeout", "SlowDown", "OperationAborted",
                                       "ConditionalRequestConflict", "Throttling"};
    static const char *const expired[] = {"ExpiredToken", "ExpiredTokenException",
                                          "TokenRefreshRequired"};
    struct call *c = ctx;
    struct buf code CLEANUP(buf_free) = {0}, more CLEANUP(buf_free) = {0};
    (void)a;
    said(c, "Code", &code);
    str what = buf_view(&code);
    if (is_one_of(what, slow, ARRAY_LEN(slow)))
        return true;
    if (c->corrections++ >= CORRECTIONS_MAX)
        return false;
    if (is_one_of(what, expired, ARRAY_LEN(expired)))
        return s3_credentials_renew(c->s3->credentials);
    if (str_is(what, "RequestTimeTooSkewed")) {
        said(c, "ServerTime", &more);
        return take_clock(c->s3, buf_view(&more));
    }
    said(c, "Region", &more);
    return take_region(c->s3, &more);
}

/* Prepares a request for an object (key: its path in the repository) or the bucket (NULL). */
static void call_begin(struct call *c, struct s3 *s3, enum http_method method, const char *key,
                       struct sigv4_pair *query, size_t query_n)
{
    static const char *const methods[] = {
        [HTTP_GET] = "GET", [HTTP_HEAD] = "HEAD", [HTTP_PUT] = "PUT", [HTTP_DELETE] = "DELETE"};
    struct store_id nothing;
    *c = (struct call){.s3 = s3, .method = methods[method]};
    buf_puts(&c->path, s3->place.bucket);
    buf_putc(&c->path, '/');
    if (key) {
        sigv4_encode(&c->path, str_of(s3->place.prefix), true);
        sigv4_encode(&c->path, str_of(key), true);
    }
    sigv4_query(&c->query, query, query_n);
    buf_puts(&c->query, "");
    buf_printf(&c->url, "%s%s%s%s", s3->place.origin, c->path.p, query_n ? "?" : "", c->query.p);
    store_id_of("", 0, &nothing);
    store_id_hex(&nothing, c->payload);
    c->request = (struct http_request){.method = method,
                                       .url = c->url.p,
                                       .why = &c->why,
                                       .headers = sign,
                                       .again = again,
                                       .ctx = c};
}

static void file_call(struct call *c, struct s3 *s3, enum http_method method,
                      const struct backend_file *f)
{
    struct buf key CLEANUP(buf_free) = {0};
    layout_file(&key, f, true);
    call_begin(c, s3, method, key.p, NULL, 0);
}

static int call_do(struct call *c, struct http_answer *a, struct err *err)
{
    return http_do(c->s3->http, &c->request, a, err);
}

/* The error of an answer: status, the server's code and words, unless these hold a secret. */
static int refuse(struct call *c, const struct http_answer *a, struct err *err)
{
    static const char *const unknown[] = {"InvalidAccessKeyId", "SignatureDoesNotMatch",
                                          "XAdminUserNotFound", /* versitygw's, with 404 */
                                          "ExpiredToken",       "InvalidToken",
                                          "InvalidTokenId"};
    struct buf code CLEANUP(buf_free) = {0}, words CLEANUP(buf_free) = {0};
    http_refuse(a, err);
    said(c, "Code", &code);
    said(c, "Message", &words);
    for (size_t i = 0; i < words.n; i++)
        if ((unsigned char)words.p[i] < ' ')
            words.p[i] = ' ';
    if (code.n > 64 || !is_word(buf_view(&code)) ||
        s3_credentials_in(c->s3->credentials, buf_view(&code)))
        return -1;
    enum err_kind kind = is_one_of(buf_view(&code), unknown, ARRAY_LEN(unknown)) ? ERR_UNAUTHORIZED
                         : str_is(buf_view(&code), "NotImplemented")             ? ERR_UNSUPPORTED
                         : str_is(buf_view(&code), "SlowDown")                   ? ERR_BUSY
                         : err                                                   ? err->kind
                                                                                 : ERR_INVALID;
    bool shown = words.n && gojson_utf8(buf_view(&words)) &&
                 !s3_credentials_in(c->s3->credentials, buf_view(&words));
    err_set(err, kind, "the server answered %ld %s%s%.*s", a->status, code.p, shown ? ": " : "",
            shown ? (int)MIN(words.n, (size_t)300) : 0, shown ? words.p : "");
    if (err)
        err->http = (int)a->status;
    return -1;
}

static void set_there(struct s3 *s3)
{
    pthread_mutex_lock(&s3->lock);
    s3->there = true;
    pthread_mutex_unlock(&s3->lock);
}

static bool is_there(struct s3 *s3)
{
    pthread_mutex_lock(&s3->lock);
    bool there = s3->there;
    pthread_mutex_unlock(&s3->lock);
    return there;
}

/* ---- operations ---- */

static int make_bucket(struct s3 *s3, struct err *err)
{
    struct call c CLEANUP(call_free);
    struct http_answer a = {0};
    struct store_id id;
    char region[REGION_MAX];
    region_of(s3, region);
    call_begin(&c, s3, HTTP_PUT, NULL, NULL, 0);
    char *where CLEANUP(free_p) =
        xasprintf("<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
                  "<LocationConstraint>%s</LocationConstraint></CreateBucketConfiguration>",
                  region);
    if (!streq(region, "us-east-1")) {
        c.request.body = where;
        c.request.body_n = strlen(where);
        store_id_of(where, strlen(where), &id);
        store_id_hex(&id, c.payload);
    }
    if (call_do(&c, &a, err) < 0)
        return -1;
    return a.status == 200 ? 0 : refuse(&c, &a, err);
}

/* There are no folders; but is there a bucket? restic makes it, and so do we. */
static int s3_create(struct backend *b, struct err *err)
{
    struct s3 *s3 = s3_of(b);
    struct call c CLEANUP(call_free);
    struct http_answer a = {0};
    struct buf code CLEANUP(buf_free) = {0};
    struct sigv4_pair query[] = {{STR("list-type"), STR("2")},
                                 {STR("max-keys"), STR("1")},
                                 {STR("prefix"), str_of(s3->place.prefix)}};
    call_begin(&c, s3, HTTP_GET, NULL, query, ARRAY_LEN(query));
    if (call_do(&c, &a, err) < 0)
        return err_wrap(err, "looking for bucket %s (s3)", s3->place.name);
    if (a.status != 200) {
        said(&c, "Code", &code);
        if (s3->must_exist || !str_is(buf_view(&code), "NoSuchBucket"))
            return refuse(&c, &a, err), err_wrap(err, "looking for bucket %s (s3)", s3->place.name);
        if (make_bucket(s3, err) < 0)
            return err_wrap(err, "making bucket %s (s3)", s3->place.name);
    }
    set_there(s3);
    return 0;
}

static int head(struct s3 *s3, const struct backend_file *f, struct http_answer *a, struct err *err)
{
    struct call c CLEANUP(call_free);
    file_call(&c, s3, HTTP_HEAD, f);
    return call_do(&c, a, err);
}

/* An answer to HEAD has no words: what the server has against it, it says to a GET. 0: nothing
 * (any more: a region or clock was corrected). */
static int ask_why(struct s3 *s3, const struct backend_file *f, struct err *err)
{
    struct call c CLEANUP(call_free);
    struct http_answer a = {0};
    file_call(&c, s3, HTTP_GET, f);
    c.request.range = true;
    c.request.n = 1;
    if (call_do(&c, &a, err) < 0)
        return -1;
    return a.status == 206 || a.status == 200 || a.status == 416 ? 0 : refuse(&c, &a, err);
}

static int s3_stat(struct backend *b, const struct backend_file *f, uint64_t *ret_size,
                   struct err *err)
{
    struct http_answer a = {0};
    if (head(s3_of(b), f, &a, err) < 0 ||
        (a.status != 200 && (ask_why(s3_of(b), f, err) < 0 || head(s3_of(b), f, &a, err) < 0)))
        return -1;
    if (a.status != 200)
        return http_refuse(&a, err);
    if (a.length < 0)
        return err_set(err, ERR_INVALID, "the server did not tell the file's length");
    if (f->type == BACKEND_CONFIG)
        set_there(s3_of(b));
    *ret_size = (uint64_t)a.length;
    return 0;
}

static int s3_load(struct backend *b, const struct backend_file *f, uint64_t offset, size_t n,
                   size_t max, struct buf *out, struct err *err)
{
    struct s3 *s3 = s3_of(b);
    struct call c CLEANUP(call_free);
    struct http_answer a = {0};
    struct err why = {0};
    file_call(&c, s3, HTTP_GET, f);
    if (breaker_check(s3->breaker, f, err) < 0)
        return -1;
    int r = http_load(s3->http, &c.request, offset, n, max, out, &a, &why);
    if (r == 0)
        r = refuse(&c, &a, &why);
    if (r > 0) {
        if (f->type == BACKEND_CONFIG)
            set_there(s3);
        return 0;
    }
    if (err_is_transient(&why))
        breaker_note(s3->breaker, f);
    if (err)
        *err = why;
    return -1;
}

/* `first`: only where no file is. 0: saved; 1: *a says why not. */
static int put(struct s3 *s3, const struct backend_file *f, const struct store_id *id,
               const void *p, size_t n, bool first, struct call *c, struct http_answer *a,
               struct err *err)
{
    struct buf checksum CLEANUP(buf_free) = {0};
    file_call(c, s3, HTTP_PUT, f);
    store_id_hex(id, c->payload);
    base64_encode(&checksum, id->b, STORE_ID_SIZE);
    c->extra[c->extra_n++] = (struct sigv4_pair){STR("x-amz-checksum-sha256"), buf_view(&checksum)};
    if (first)
        c->extra[c->extra_n++] = (struct sigv4_pair){STR("if-none-match"), STR("*")};
    c->request.body = p;
    c->request.body_n = n;
    int r = call_do(c, a, err);
    c->extra_n = 0; /* the checksum's text ends here */
    return r < 0 ? -1 : a->status != 200;
}

/* 0: there is no config; 1: there is this one already. */
static int compare_config(struct backend *b, const void *p, size_t n, struct err *err)
{
    struct backend_file f = {.type = BACKEND_CONFIG};
    struct buf there CLEANUP(buf_free) = {0};
    struct err why = {0};
    if (s3_load(b, &f, 0, BACKEND_ALL, STORE_FILE_MAX, &there, &why) < 0) {
        if (why.kind == ERR_NOT_FOUND)
            return 0;
        return err_set(err, why.kind, "%s", why.msg);
    }
    if (there.n == n && memcmp(there.p, p, n) == 0)
        return 1;
    return err_set(err, ERR_EXISTS, "the repository has a config already");
}

/* The one file whose name its content does not make: looked for first, because older servers do not
 * know the condition. */
static int save_config(struct backend *b, const struct backend_file *f, const void *p, size_t n,
                       struct err *err)
{
    struct store_id id;
    int there = compare_config(b, p, n, err);
    if (there != 0)
        return MIN(there, 0);
    store_id_of(p, n, &id);
    for (int first = 1; first >= 0; first--) {
        struct call c CLEANUP(call_free);
        struct http_answer a = {0};
        int r = put(s3_of(b), f, &id, p, n, first, &c, &a, err);
        if (r <= 0)
            return r;
        /* 412: somebody was faster, or our own answer was lost. */
        if (a.status == 412 && (there = compare_config(b, p, n, err)) != 0)
            return MIN(there, 0);
        if (a.status != 501 || !first)
            return refuse(&c, &a, err);
    }
    return 0;
}

static void drop_ahead(struct s3 *s3, enum backend_type type)
{
    pthread_mutex_lock(&s3->lock);
    s3->has_ahead[type] = false;
    vec_free(&s3->ahead[type]);
    pthread_mutex_unlock(&s3->lock);
}

/* The list that was taken ahead, if there is one that is not too old. */
static bool take_ahead(struct s3 *s3, enum backend_type type, struct s3_entries *ret)
{
    pthread_mutex_lock(&s3->lock);
    bool has = s3->has_ahead[type] && clock_mono_ms() - s3->ahead_ms < AHEAD_MS;
    if (has) {
        s3->has_ahead[type] = false;
        *ret = s3->ahead[type];
        s3->ahead[type] = (struct s3_entries){0};
    }
    pthread_mutex_unlock(&s3->lock);
    if (!has)
        drop_ahead(s3, type);
    return has;
}

/* What is sorted behind data/: index, keys, locks, snapshots. A page that goes on, among files that
 * are not ours or very many that are, is not worth the other pages. */
static int foresee(struct s3 *s3, struct s3_entries entries[BACKEND_TYPES], bool *ret_whole,
                   struct err *err)
{
    struct call c CLEANUP(call_free);
    struct http_answer a = {0};
    struct buf text CLEANUP(buf_free) = {0}, next CLEANUP(buf_free) = {0};
    char *after CLEANUP(free_p) = xasprintf("%sdata0", s3->place.prefix);
    struct sigv4_pair query[] = {{STR("list-type"), STR("2")},
                                 {STR("prefix"), str_of(s3->place.prefix)},
                                 {STR("start-after"), str_of(after)}};
    call_begin(&c, s3, HTTP_GET, NULL, query, ARRAY_LEN(query));
    c.request.out = &text;
    c.request.max = STORE_S3_PAGE_MAX;
    if (call_do(&c, &a, err) < 0)
        return -1;
    if (a.status != 200)
        return refuse(&c, &a, err);
    if (s3_list_page_all(buf_view(&text), s3->place.prefix, STORE_S3_FILES_MAX, entries, &next,
                         err) < 0)
        return -1;
    *ret_whole = next.n == 0;
    return 0;
}

static int s3_foresee(struct backend *b, struct err *err)
{
    struct s3 *s3 = s3_of(b);
    struct s3_entries entries[BACKEND_TYPES] = {0};
    bool whole = false;
    int64_t now = clock_mono_ms();
    pthread_mutex_lock(&s3->lock);
    bool useless = s3->no_ahead;
    pthread_mutex_unlock(&s3->lock);
    int r = useless ? 0 : foresee(s3, entries, &whole, err);
    pthread_mutex_lock(&s3->lock);
    s3->no_ahead |= r == 0 && !whole;
    s3->ahead_ms = now;
    for (int t = 0; t < BACKEND_TYPES; t++) {
        struct s3_entries old = s3->ahead[t];
        s3->has_ahead[t] = r == 0 && whole && t != BACKEND_CONFIG && t != BACKEND_DATA;
        s3->ahead[t] = s3->has_ahead[t] ? entries[t] : old;
        entries[t] = s3->has_ahead[t] ? old : entries[t];
    }
    pthread_mutex_unlock(&s3->lock);
    for (int t = 0; t < BACKEND_TYPES; t++)
        vec_free(&entries[t]);
    return r;
}

static void s3_look_again(struct backend *b, enum backend_type type)
{
    drop_ahead(s3_of(b), type);
}

static int s3_save(struct backend *b, const struct backend_file *f, const void *p, size_t n,
                   struct err *err)
{
    struct call c CLEANUP(call_free) = {0};
    struct http_answer a = {0};
    if (f->type == BACKEND_CONFIG)
        return save_config(b, f, p, n, err);
    int r = put(s3_of(b), f, &f->id, p, n, false, &c, &a, err);
    drop_ahead(s3_of(b), f->type);
    return r > 0 ? refuse(&c, &a, err) : r;
}

static int list_page(struct s3 *s3, enum backend_type type, const char *token,
                     struct s3_entries *entries, struct buf *next, struct err *err)
{
    struct call c CLEANUP(call_free);
    struct http_answer a = {0};
    struct buf text CLEANUP(buf_free) = {0};
    char *prefix CLEANUP(free_p) = xasprintf("%s%s/", s3->place.prefix, layout_type_name(type));
    struct sigv4_pair query[3] = {{STR("list-type"), STR("2")}, {STR("prefix"), str_of(prefix)}};
    size_t n = 2;
    if (*token)
        query[n++] = (struct sigv4_pair){STR("continuation-token"), str_of(token)};
    call_begin(&c, s3, HTTP_GET, NULL, query, n);
    c.request.out = &text;
    c.request.max = STORE_S3_PAGE_MAX;
    if (call_do(&c, &a, err) < 0)
        return -1;
    if (a.status != 200)
        return refuse(&c, &a, err);
    return s3_list_page(buf_view(&text), s3->place.prefix, type, STORE_S3_FILES_MAX, entries, next,
                        err);
}

/* All pages, before any file is told: a list is whole or an error, and each file is in it once,
 * whatever order the server has. */
static int collect(struct s3 *s3, enum backend_type type, struct s3_entries *entries,
                   struct err *err)
{
    struct buf token CLEANUP(buf_free) = {0}, next CLEANUP(buf_free) = {0};
    buf_puts(&token, "");
    for (size_t pages = 0;; pages++) {
        if (list_page(s3, type, token.p, entries, &next, err) < 0)
            return -1;
        if (next.n == 0)
            break;
        if (str_eq(buf_view(&next), buf_view(&token)) || pages == STORE_S3_FILES_MAX)
            return err_set(err, ERR_CORRUPT, "the server's list does not end");
        buf_reset(&token);
        buf_str(&token, buf_view(&next));
    }
    s3_list_sort(entries);
    return 0;
}

static int s3_list(struct backend *b, enum backend_type type, backend_list_fn *fn, void *ctx,
                   struct err *err)
{
    struct s3 *s3 = s3_of(b);
    struct s3_entries entries = {0};
    uint64_t size;
    int r = 0;
    if (take_ahead(s3, type, &entries))
        s3_list_sort(&entries);
    else
        r = collect(s3, type, &entries, err);
    if (r == 0 && entries.n == 0 && !is_there(s3))
        r = s3_stat(b, &(struct backend_file){.type = BACKEND_CONFIG}, &size, err);
    for (size_t i = 0; r == 0 && i < entries.n; i++)
        r = fn(ctx, &entries.p[i].id, entries.p[i].size, err) < 0 ? -1 : 0;
    vec_free(&entries);
    return r;
}

static int s3_folders(struct backend *b, backend_folder_fn *fn, void *ctx, struct err *err)
{
    struct s3 *s3 = s3_of(b);
    struct buf token CLEANUP(buf_free) = {0}, next CLEANUP(buf_free) = {0};
    for (size_t pages = 0; pages < STORE_S3_FILES_MAX; pages++) {
        struct call c CLEANUP(call_free);
        struct http_answer a = {0};
        struct buf text CLEANUP(buf_free) = {0};
        struct sigv4_pair query[4] = {{STR("list-type"), STR("2")},
                                      {STR("delimiter"), STR("/")},
                                      {STR("prefix"), str_of(s3->place.prefix)}};
        size_t n = 3;
        if (token.n)
            query[n++] = (struct sigv4_pair){STR("continuation-token"), buf_view(&token)};
        call_begin(&c, s3, HTTP_GET, NULL, query, n);
        c.request.out = &text;
        c.request.max = STORE_S3_PAGE_MAX;
        if (call_do(&c, &a, err) < 0)
            return -1;
        if (a.status != 200)
            return refuse(&c, &a, err);
        if (s3_folders_page(buf_view(&text), s3->place.prefix, fn, ctx, &next, err) < 0)
            return -1;
        if (next.n == 0)
            return 0;
        buf_reset(&token);
        buf_str(&token, buf_view(&next));
    }
    return err_set(err, ERR_CORRUPT, "the server's list does not end");
}

static int s3_remove(struct backend *b, const struct backend_file *f, struct err *err)
{
    struct call c CLEANUP(call_free);
    struct http_answer a = {0};
    file_call(&c, s3_of(b), HTTP_DELETE, f);
    int r = call_do(&c, &a, err);
    drop_ahead(s3_of(b), f->type);
    if (r < 0)
        return -1;
    return a.status == 200 || a.status == 204 || a.status == 404 ? 0 : refuse(&c, &a, err);
}

static void s3_close(struct backend *b)
{
    struct s3 *s3 = s3_of(b);
    if (s3->http)
        http_free(s3->http);
    s3_credentials_free(s3->credentials);
    s3_place_free(&s3->place);
    for (int t = 0; t < BACKEND_TYPES; t++)
        vec_free(&s3->ahead[t]);
    breaker_free(s3->breaker);
    pthread_mutex_destroy(&s3->lock);
    free(s3);
}

static const struct backend_ops s3_ops = {
    .name = "s3",
    .create = s3_create,
    .save = s3_save,
    .load = s3_load,
    .stat = s3_stat,
    .list = s3_list,
    .foresee = s3_foresee,
    .look_again = s3_look_again,
    .remove = s3_remove,
    .folders = s3_folders,
    .close = s3_close,
};

int backend_open_s3(const struct backend_s3_options *o, struct backend **ret_backend,
                    struct err *err)
{
    struct http_options http = {.ca_pem = o->ca_pem,
                                .timeout_seconds = o->timeout_seconds,
                                .retry_seconds =
                                    o->retry_seconds ? o->retry_seconds : RETRY_SECONDS,
                                .first_seconds = FIRST_SECONDS,
                                .send_per_second = o->send_per_second,
                                .fetch_per_second = o->fetch_per_second};
    struct s3_place place;
    if (s3_place_make(o, &place, err) < 0)
        return -1;
    struct s3 *s3 = xcalloc(1, sizeof *s3);
    struct backend *b CLEANUP(backend_close_p) = &s3->base;
    s3->base.ops = &s3_ops;
    s3->place = place;
    s3->must_exist = o->bucket_must_exist;
    s3->no_ahead = o->fresh_lists;
    s3->breaker = breaker_new();
    pthread_mutex_init(&s3->lock, NULL);
    if (s3_credentials_new(o, place.region, &s3->credentials, err) < 0 ||
        http_new(&http, &s3->http, err) < 0)
        return -1;
    *ret_backend = TAKE(b);
    return 0;
}

void backend_s3_set_keys(struct backend *b, const char *access_key, const char *secret_key,
                         const char *session_token)
{
    if (b->ops == &s3_ops)
        s3_credentials_set(s3_of(b)->credentials, access_key, secret_key, session_token);
}

int backend_open_s3_url(const char *url, const struct backend_s3_options *options,
                        struct backend **ret_backend, struct err *err)
{
    struct backend_s3_options o = options ? *options : (struct backend_s3_options){0};
    char *endpoint CLEANUP(free_p) = NULL, *bucket CLEANUP(free_p) = NULL;
    char *prefix CLEANUP(free_p) = NULL;
    if (s3_place_parse(url, &endpoint, &bucket, &prefix, err) < 0)
        return -1;
    o.endpoint = endpoint;
    o.bucket = bucket;
    o.prefix = prefix;
    return backend_open_s3(&o, ret_backend, err);
}
