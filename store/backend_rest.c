/* A repository behind restic's REST protocol, version 2: one request for each call, connections
 * kept in a pool. */
#include "store/backend.h"

#include "store/http.h"
#include "store/jsonin.h"
#include "store/layout.h"
#include "store/limits.h"

#include <stdlib.h>

struct rest {
    struct backend base;
    struct http *http;
    char *url; /* with a '/' at its end */
};

static struct rest *rest_of(struct backend *b)
{
    return (struct rest *)b;
}

static char *url_of(struct backend *b, const struct backend_file *f)
{
    struct buf url = {0};
    buf_puts(&url, rest_of(b)->url);
    layout_file(&url, f, false);
    return buf_take(&url);
}

static int rest_headers(void *ctx, struct http_headers *to, struct err *err)
{
    const struct http_request *r = ctx;
    (void)err;
    http_add_header(to, "Accept: application/vnd.x.restic.rest.v2");
    if (r->method == HTTP_POST)
        http_add_header(to, "Content-Type: application/octet-stream");
    return 0;
}

static int rest_do(struct backend *b, struct http_request *r, struct http_answer *ret_answer,
                   struct err *err)
{
    r->headers = rest_headers;
    r->ctx = r;
    return http_do(rest_of(b)->http, r, ret_answer, err);
}

static int rest_create(struct backend *b, struct err *err)
{
    char *url CLEANUP(free_p) = xasprintf("%s?create=true", rest_of(b)->url);
    struct http_answer a = {0};
    struct http_request r = {.method = HTTP_POST, .url = url};
    if (rest_do(b, &r, &a, err) < 0)
        return err_wrap(err, "creating the repository's folders (rest)");
    return a.status == 200 ? 0 : http_refuse(&a, err);
}

static int rest_stat(struct backend *b, const struct backend_file *f, uint64_t *ret_size,
                     struct err *err)
{
    char *url CLEANUP(free_p) = url_of(b, f);
    struct http_answer a = {0};
    struct http_request r = {.method = HTTP_HEAD, .url = url};
    if (rest_do(b, &r, &a, err) < 0)
        return -1;
    if (a.status != 200)
        return http_refuse(&a, err);
    if (a.length < 0)
        return err_set(err, ERR_INVALID, "the server did not tell the file's length");
    *ret_size = (uint64_t)a.length;
    return 0;
}

static int rest_save(struct backend *b, const struct backend_file *f, const void *p, size_t n,
                     struct err *err)
{
    char *url CLEANUP(free_p) = url_of(b, f);
    struct http_answer a = {0};
    struct http_request r = {.method = HTTP_POST, .url = url, .body = p, .body_n = n};
    if (rest_do(b, &r, &a, err) < 0)
        return -1;
    if (a.status == 200 || a.status == 201)
        return 0;
    /* 403: the server keeps what it has. Ours, if an answer was lost and the request repeated. */
    uint64_t size;
    struct err ignored;
    if (a.status == 403 && rest_stat(b, f, &size, &ignored) == 0) {
        if (f->type == BACKEND_CONFIG)
            return err_set(err, ERR_EXISTS, "the repository has a config already");
        if (size == n)
            return 0;
    }
    return http_refuse(&a, err);
}

static int rest_load(struct backend *b, const struct backend_file *f, uint64_t offset, size_t n,
                     size_t max, struct buf *out, struct err *err)
{
    char *url CLEANUP(free_p) = url_of(b, f);
    struct http_answer a = {0};
    struct http_request r = {.url = url, .headers = rest_headers, .ctx = &r};
    int done = http_load(rest_of(b)->http, &r, offset, n, max, out, &a, err);
    return done == 0 ? http_refuse(&a, err) : MIN(done, 0);
}

/* [{"name":"...","size":1}, ...] */
static int read_list(struct json_in *in, backend_list_fn *fn, void *ctx)
{
    bool first = true;
    int r;
    if (json_in_array(in) < 0)
        return -1;
    while ((r = json_in_item(in, &first)) > 0) {
        struct store_id id;
        bool named = false, first_key = true;
        uint64_t size = 0;
        str key, name;
        if (json_in_object(in) < 0)
            return -1;
        while ((r = json_in_key(in, &first_key, &key)) > 0) {
            if (str_is(key, "name")) {
                if (json_in_string(in, &name) < 0)
                    return -1;
                named = store_id_parse(name, &id);
            } else if ((str_is(key, "size") ? json_in_u64(in, &size) : json_in_skip(in)) < 0) {
                return -1;
            }
        }
        if (r < 0 || (named && fn(ctx, &id, size, in->err) < 0))
            return -1;
    }
    return r < 0 ? r : json_in_end(in);
}

static int rest_list(struct backend *b, enum backend_type type, backend_list_fn *fn, void *ctx,
                     struct err *err)
{
    char *url CLEANUP(free_p) = xasprintf("%s%s/", rest_of(b)->url, layout_type_name(type));
    struct buf text CLEANUP(buf_free) = {0};
    struct http_answer a = {0};
    struct http_request r = {
        .method = HTTP_GET, .url = url, .out = &text, .max = STORE_REST_LIST_MAX};
    if (rest_do(b, &r, &a, err) < 0)
        return -1;
    if (a.status != 200)
        return http_refuse(&a, err);
    struct json_in in CLEANUP(json_in_free);
    json_in_text(&in, buf_view(&text), err);
    if (json_in_null(&in) > 0)
        return 0; /* an empty list, from servers written in Go */
    return read_list(&in, fn, ctx);
}

static int rest_remove(struct backend *b, const struct backend_file *f, struct err *err)
{
    char *url CLEANUP(free_p) = url_of(b, f);
    struct http_answer a = {0};
    struct http_request r = {.method = HTTP_DELETE, .url = url};
    if (rest_do(b, &r, &a, err) < 0)
        return -1;
    return a.status == 200 || a.status == 204 || a.status == 404 ? 0 : http_refuse(&a, err);
}

static void rest_close(struct backend *b)
{
    http_free(rest_of(b)->http);
    free(rest_of(b)->url);
    free(b);
}

static const struct backend_ops rest_ops = {
    .name = "rest",
    .create = rest_create,
    .save = rest_save,
    .load = rest_load,
    .stat = rest_stat,
    .list = rest_list,
    .remove = rest_remove,
    .close = rest_close,
};

int backend_open_rest(const struct backend_rest_options *options, struct backend **ret_backend,
                      struct err *err)
{
    str url = str_of(options->url);
    if (!str_starts(url, "http://") && !str_starts(url, "https://"))
        return err_set(err, ERR_INVALID, "a REST repository needs a URL of http:// or https://");
    struct http_options o = {.ca_pem = options->ca_pem,
                             .user = options->user,
                             .password = options->password,
                             .token_file = options->token_file,
                             .timeout_seconds = options->timeout_seconds,
                             .retry_seconds = options->retry_seconds,
                             .send_per_second = options->send_per_second,
                             .fetch_per_second = options->fetch_per_second};
    struct http *http;
    if (http_new(&o, &http, err) < 0)
        return -1;
    struct rest *r = xcalloc(1, sizeof *r);
    r->base.ops = &rest_ops;
    r->http = http;
    r->url = xasprintf("%s%s", options->url, str_ends(url, "/") ? "" : "/");
    *ret_backend = &r->base;
    return 0;
}
