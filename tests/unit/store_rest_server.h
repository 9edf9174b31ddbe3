/* A small server of restic's REST protocol, with faults; its files lie in a folder. */
#ifndef TESTS_STORE_REST_SERVER_H
#define TESTS_STORE_REST_SERVER_H

#include "store_support.h"

#include "store/layout.h"

#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>

/* What the server does; guarded by `lock`. */
static struct server {
    pthread_mutex_t lock;
    struct MHD_Daemon *daemon;
    struct backend *files;
    char *folder, *token_file, *url;
    const char *token;     /* what it accepts as bearer */
    const char *basic;     /* or as the password of user "mover" */
    int fail, fail_status; /* that many requests more are answered so */
    int lose_answers;      /* that many POSTs more do their work and are answered 500 */
    bool short_ranges, ignore_range, deny_rewrites;
    int requests;
    /* Around each request, without the lock; false ends its connection. May be NULL, both. */
    bool (*begins)(const char *method, const char *url);
    void (*ends)(void);
} server = {.lock = PTHREAD_MUTEX_INITIALIZER};

static inline enum MHD_Result answer_as(struct MHD_Connection *c, unsigned status, const char *p,
                                        size_t n, const char *content_type)
{
    struct MHD_Response *r =
        MHD_create_response_from_buffer(n, (void *)(uintptr_t)p, MHD_RESPMEM_MUST_COPY);
    if (content_type)
        MHD_add_response_header(r, "Content-Type", content_type);
    enum MHD_Result done = MHD_queue_response(c, status, r);
    MHD_destroy_response(r);
    return done;
}

static inline enum MHD_Result answer(struct MHD_Connection *c, unsigned status, const char *p,
                                     size_t n)
{
    return answer_as(c, status, p, n, NULL);
}

static inline bool allowed(struct MHD_Connection *c)
{
    const char *header = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Authorization");
    if (server.basic) {
        char *password = NULL, *user = MHD_basic_auth_get_username_password(c, &password);
        bool ok = user && streq(user, "mover") && password && streq(password, server.basic);
        MHD_free(user);
        MHD_free(password);
        return ok;
    }
    return header && str_starts(str_of(header), "Bearer ") && streq(header + 7, server.token);
}

static inline int add_name(void *ctx, const struct store_id *id, uint64_t size, struct err *err)
{
    char hex[STORE_ID_HEX];
    struct buf *out = ctx;
    (void)err;
    store_id_hex(id, hex);
    buf_printf(out, "%s{\"name\":\"%s\",\"size\":%llu}", out->n > 1 ? "," : "", hex,
               (unsigned long long)size);
    return 0;
}

static inline enum MHD_Result give_list(struct MHD_Connection *c, enum backend_type type)
{
    struct buf out CLEANUP(buf_free) = {0};
    struct err err;
    buf_putc(&out, '[');
    buf_puts(&out, "");
    if (backend_list(server.files, type, add_name, &out, &err) < 0)
        return answer(c, 404, "", 0);
    buf_puts(&out, "]\n");
    return answer_as(c, 200, out.p, out.n, "application/vnd.x.restic.rest.v2");
}

static inline enum MHD_Result give_file(struct MHD_Connection *c, const struct backend_file *f)
{
    struct buf out CLEANUP(buf_free) = {0};
    struct err err;
    unsigned long long from = 0, to = UINT64_MAX - 1;
    const char *range = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Range");
    if (server.files->ops->load(server.files, f, 0, BACKEND_ALL, 1u << 30, &out, &err) < 0)
        return answer(c, 404, "", 0);
    if (!range || server.ignore_range)
        return answer(c, 200, out.p, out.n);
    if (sscanf(range, "bytes=%llu-%llu", &from, &to) < 1 || from >= out.n)
        return answer(c, 416, "", 0);
    size_t n = (size_t)MIN(to - from + 1, out.n - from);
    return answer(c, 206, out.p + from, server.short_ranges ? n - 1 : n);
}

static inline enum MHD_Result take_file(struct MHD_Connection *c, const struct backend_file *f,
                                        const struct buf *body)
{
    uint64_t size;
    struct err err;
    if (server.deny_rewrites && backend_stat(server.files, f, &size, &err) == 0)
        return answer(c, 403, "", 0);
    if (backend_save_as(server.files, f, body->p, body->n, &err) < 0)
        return answer(c, err.kind == ERR_EXISTS ? 403 : 400, err.msg, strlen(err.msg));
    if (server.lose_answers > 0) {
        server.lose_answers--;
        return answer(c, 500, "", 0);
    }
    return answer(c, 200, "", 0);
}

static inline enum MHD_Result serve(struct MHD_Connection *c, const char *url, const char *method,
                                    const struct buf *body)
{
    struct backend_file f = {0};
    struct err err;
    uint64_t size;
    str path = str_of(url);
    server.requests++;
    if (server.fail > 0) {
        server.fail--;
        return answer(c, (unsigned)server.fail_status, "", 0);
    }
    if (!allowed(c))
        return answer(c, 401, "", 0);
    if (!str_starts(path, "/repo/"))
        return answer(c, 404, "", 0);
    path = (str){path.p + 6, path.n - 6};
    if (path.n == 0)
        return answer(c, backend_create(server.files, &err) < 0 ? 500 : 200, "", 0);
    str rest = path, type_name = str_cut(&rest, '/');
    int type = layout_type(type_name);
    if (type < 0 || (rest.n && !store_id_parse(rest, &f.id)))
        return answer(c, 404, "", 0);
    f.type = (enum backend_type)type;
    if (rest.p && rest.n == 0)
        return give_list(c, f.type);
    if (streq(method, "POST"))
        return take_file(c, &f, body);
    if (streq(method, "DELETE"))
        return answer(c, backend_remove(server.files, &f, &err) < 0 ? 500 : 200, "", 0);
    if (backend_stat(server.files, &f, &size, &err) < 0)
        return answer(c, 404, "", 0);
    return give_file(c, &f); /* libmicrohttpd leaves out the body of a HEAD */
}

static inline enum MHD_Result handle(void *cls, struct MHD_Connection *c, const char *url,
                                     const char *method, const char *version, const char *upload,
                                     size_t *upload_n, void **ctx)
{
    (void)cls, (void)version;
    struct buf *body = *ctx;
    if (!body) {
        *ctx = xcalloc(1, sizeof *body);
        return MHD_YES;
    }
    if (*upload_n) {
        buf_add(body, upload, *upload_n);
        *upload_n = 0;
        return MHD_YES;
    }
    pthread_mutex_lock(&server.lock); /* begins may wait, and is called without it */
    bool (*begins)(const char *, const char *) = server.begins;
    void (*ends)(void) = server.ends;
    pthread_mutex_unlock(&server.lock);
    if (begins && !begins(method, url))
        return MHD_NO;
    pthread_mutex_lock(&server.lock);
    enum MHD_Result r = serve(c, url, method, body);
    pthread_mutex_unlock(&server.lock);
    if (ends)
        ends();
    return r;
}

static inline void completed(void *cls, struct MHD_Connection *c, void **ctx,
                             enum MHD_RequestTerminationCode code)
{
    (void)cls, (void)c, (void)code;
    if (*ctx)
        buf_free(*ctx);
    free(*ctx);
    *ctx = NULL;
}

static inline void write_token(const char *token)
{
    FILE *f = fopen(server.token_file, "w");
    assert_non_null(f);
    fprintf(f, "%s\n", token);
    fclose(f);
}

static inline int rest_server_start(void **state)
{
    struct err err;
    (void)state;
    server.folder = make_folder();
    server.token_file = xasprintf("%s.token", server.folder);
    char *repo CLEANUP(free_p) = xasprintf("%s/repo", server.folder);
    assert_int_equal(backend_open_local(repo, &server.files, &err), 0);
    server.token = "good";
    server.basic = NULL;
    server.fail = server.lose_answers = server.requests = 0;
    server.short_ranges = server.ignore_range = server.deny_rewrites = false;
    write_token("good");
    server.daemon = MHD_start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION, 0, NULL, NULL, handle,
        NULL, MHD_OPTION_NOTIFY_COMPLETED, completed, NULL, MHD_OPTION_SOCK_ADDR,
        &(struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)},
        MHD_OPTION_END);
    assert_non_null(server.daemon);
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(server.daemon, MHD_DAEMON_INFO_BIND_PORT);
    server.url = xasprintf("rest:http://127.0.0.1:%u/repo", info->port);
    return 0;
}

static inline int rest_server_stop(void **state)
{
    (void)state;
    if (server.daemon)
        MHD_stop_daemon(server.daemon);
    server.daemon = NULL;
    backend_close(server.files);
    unlink(server.token_file);
    free(server.token_file);
    free(server.url);
    remove_folder(server.folder);
    return 0;
}

#endif
