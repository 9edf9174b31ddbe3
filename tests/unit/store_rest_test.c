/* store: the REST backend against a small server of restic's protocol with faults. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "store_support.h"

#include "store/layout.h"
#include "store/synthetic.h"
#include "store/verify.h"

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
} server = {.lock = PTHREAD_MUTEX_INITIALIZER};

static enum MHD_Result answer(struct MHD_Connection *c, unsigned status, const char *p, size_t n)
{
    struct MHD_Response *r =
        MHD_create_response_from_buffer(n, (void *)(uintptr_t)p, MHD_RESPMEM_MUST_COPY);
    enum MHD_Result done = MHD_queue_response(c, status, r);
    MHD_destroy_response(r);
    return done;
}

static bool allowed(struct MHD_Connection *c)
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

static int add_name(void *ctx, const struct store_id *id, uint64_t size, struct err *err)
{
    char hex[STORE_ID_HEX];
    struct buf *out = ctx;
    (void)err;
    store_id_hex(id, hex);
    buf_printf(out, "%s{\"name\":\"%s\",\"size\":%llu}", out->n > 1 ? "," : "", hex,
               (unsigned long long)size);
    return 0;
}

static enum MHD_Result give_list(struct MHD_Connection *c, enum backend_type type)
{
    struct buf out CLEANUP(buf_free) = {0};
    struct err err;
    buf_putc(&out, '[');
    buf_puts(&out, "");
    if (backend_list(server.files, type, add_name, &out, &err) < 0)
        return answer(c, 404, "", 0);
    buf_puts(&out, "]\n");
    return answer(c, 200, out.p, out.n);
}

static enum MHD_Result give_file(struct MHD_Connection *c, const struct backend_file *f)
{
    struct buf out CLEANUP(buf_free) = {0};
    struct err err;
    unsigned long long from = 0, to = 0;
    const char *range = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Range");
    if (server.files->ops->load(server.files, f, 0, BACKEND_ALL, 1u << 30, &out, &err) < 0)
        return answer(c, 404, "", 0);
    if (!range || server.ignore_range)
        return answer(c, 200, out.p, out.n);
    if (sscanf(range, "bytes=%llu-%llu", &from, &to) != 2 || from >= out.n)
        return answer(c, 416, "", 0);
    size_t n = (size_t)MIN(to - from + 1, out.n - from);
    return answer(c, 206, out.p + from, server.short_ranges ? n - 1 : n);
}

static enum MHD_Result take_file(struct MHD_Connection *c, const struct backend_file *f,
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

static enum MHD_Result serve(struct MHD_Connection *c, const char *url, const char *method,
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

static enum MHD_Result handle(void *cls, struct MHD_Connection *c, const char *url,
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
    pthread_mutex_lock(&server.lock);
    enum MHD_Result r = serve(c, url, method, body);
    pthread_mutex_unlock(&server.lock);
    return r;
}

static void completed(void *cls, struct MHD_Connection *c, void **ctx,
                      enum MHD_RequestTerminationCode code)
{
    (void)cls, (void)c, (void)code;
    if (*ctx)
        buf_free(*ctx);
    free(*ctx);
    *ctx = NULL;
}

static void write_token(const char *token)
{
    FILE *f = fopen(server.token_file, "w");
    assert_non_null(f);
    fprintf(f, "%s\n", token);
    fclose(f);
}

static int setup(void **state)
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

static int teardown(void **state)
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

static struct backend *open_rest(const char *user, unsigned retry_seconds)
{
    struct backend_rest_options o = {
        .token_file = server.token_file, .user = user, .retry_seconds = retry_seconds};
    struct backend *b;
    struct err err;
    if (backend_open_url(server.url, &o, &b, &err) < 0)
        fail_msg("%s", err.msg);
    return b;
}

static void set(int *field, int value)
{
    pthread_mutex_lock(&server.lock);
    *field = value;
    pthread_mutex_unlock(&server.lock);
}

static int get(const int *field)
{
    pthread_mutex_lock(&server.lock);
    int value = *field;
    pthread_mutex_unlock(&server.lock);
    return value;
}

/* ---- tests ---- */

static void whole_way(struct backend *b)
{
    struct repository *repo;
    struct store_id tree, id;
    struct err err = {0};
    struct repository_key key = cheap_key("first");
    if (repository_init(b, &key, 1, NULL, &err) < 0 ||
        repository_open(b, "first", &(struct repository_options){.pack_target = 4000}, &repo,
                        &err) < 0 ||
        repository_load_index(repo, &err) < 0)
        fail_msg("%s", err.msg);
    struct synthetic *s = synthetic_new(repo, 1);
    for (int i = 0; i < 20; i++) {
        char path[64], text[1000];
        random_bytes(text, sizeof text);
        snprintf(path, sizeof path, "/d/%d", i);
        assert_int_equal(synthetic_add(s, path, text, sizeof text, 1, &err), 0);
    }
    struct verify_options all = {.read_data = true};
    if (synthetic_finish(s, &tree, &err) < 0 ||
        save_test_snapshot(repo, &tree, "t", &id, &err) < 0 ||
        verify_read_back(repo, &id, &all, NULL, &err) < 0)
        fail_msg("%s", err.msg);
    synthetic_free(s);
    repository_close(repo);
}

static void test_bearer(void **state)
{
    (void)state;
    struct backend *b = open_rest(NULL, 5);
    whole_way(b);
    backend_close(b);
}

static void test_basic_and_new_token(void **state)
{
    (void)state;
    struct backend *b = open_rest("mover", 5);
    struct backend_file config = {.type = BACKEND_CONFIG};
    struct err err;
    uint64_t size;
    server.basic = "first-token";
    write_token("first-token");
    whole_way(b);
    pthread_mutex_lock(&server.lock);
    server.basic = "second-token";
    pthread_mutex_unlock(&server.lock);
    assert_int_equal(backend_stat(b, &config, &size, &err), -1);
    assert_int_equal(err.kind, ERR_UNAUTHORIZED);
    write_token("second-token"); /* as the kubelet does */
    assert_int_equal(backend_stat(b, &config, &size, &err), 0);
    unlink(server.token_file);
    assert_int_equal(backend_stat(b, &config, &size, &err), -1);
    assert_int_equal(err.kind, ERR_UNAUTHORIZED);
    backend_close(b);
}

static void test_retries(void **state)
{
    (void)state;
    struct backend *b = open_rest(NULL, 20);
    struct backend_file f = {.type = BACKEND_DATA};
    struct err err;
    struct buf out = {0};
    uint64_t size;
    whole_way(b);
    static const int statuses[] = {503, 429, 500};
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        server.fail_status = statuses[i];
        set(&server.fail, 2);
        assert_int_equal(backend_save(b, BACKEND_DATA, &i, sizeof i, &f.id, &err), 0);
        set(&server.fail, 2);
        assert_int_equal(backend_load_all(b, &f, 100, &out, &err), 0);
        assert_int_equal(out.n, sizeof i);
    }
    /* Permanent answers are not asked for again. */
    server.fail_status = 403;
    set(&server.fail, 1);
    int before = get(&server.requests);
    assert_int_equal(backend_stat(b, &f, &size, &err), -1);
    assert_int_equal(err.kind, ERR_FORBIDDEN);
    assert_int_equal(err.http, 403);
    assert_int_equal(get(&server.requests), before + 1);
    f.id.b[0] ^= 1;
    assert_int_equal(backend_stat(b, &f, &size, &err), -1);
    assert_int_equal(err.kind, ERR_NOT_FOUND);
    assert_int_equal(backend_load_all(b, &f, 100, &out, &err), -1);
    assert_int_equal(err.kind, ERR_NOT_FOUND);
    backend_close(b);
    buf_free(&out);
}

static void test_lost_answers(void **state)
{
    (void)state;
    struct backend *b = open_rest(NULL, 20);
    struct store_id id;
    struct err err;
    whole_way(b);
    server.deny_rewrites = true;
    set(&server.lose_answers, 1);
    assert_int_equal(backend_save(b, BACKEND_DATA, "x", 1, &id, &err), 0);
    assert_int_equal(backend_save(b, BACKEND_DATA, "x", 1, &id, &err), 0);
    assert_int_equal(
        backend_save_as(b, &(struct backend_file){.type = BACKEND_CONFIG}, "x", 1, &err), -1);
    assert_int_equal(err.kind, ERR_EXISTS);
    backend_close(b);
}

static void test_ranges(void **state)
{
    (void)state;
    struct backend *b = open_rest(NULL, 1);
    struct backend_file f = {.type = BACKEND_DATA};
    struct buf out = {0};
    struct err err;
    whole_way(b);
    assert_int_equal(backend_save(b, BACKEND_DATA, "0123456789", 10, &f.id, &err), 0);
    assert_int_equal(backend_load_range(b, &f, 3, 4, &out, &err), 0);
    assert_true(str_is(buf_view(&out), "3456"));
    assert_int_equal(backend_load_range(b, &f, 3, 0, &out, &err), 0);
    assert_int_equal(out.n, 0);
    assert_int_equal(backend_load_range(b, &f, 8, 4, &out, &err), -1);
    assert_int_equal(err.kind, ERR_CORRUPT);
    assert_int_equal(backend_load_range(b, &f, 100, 4, &out, &err), -1);
    assert_int_equal(err.kind, ERR_CORRUPT);
    server.short_ranges = true;
    assert_int_equal(backend_load_range(b, &f, 3, 4, &out, &err), -1);
    assert_int_equal(err.kind, ERR_CORRUPT);
    server.short_ranges = false;
    server.ignore_range = true;
    assert_int_equal(backend_load_range(b, &f, 3, 4, &out, &err), -1);
    assert_int_equal(backend_load_all(b, &f, 9, &out, &err), -1);
    assert_int_equal(err.kind, ERR_TOO_LARGE);
    buf_free(&out);
    backend_close(b);
}

static void test_unreachable(void **state)
{
    (void)state;
    struct backend *b = open_rest(NULL, 1);
    struct repository *repo;
    struct err err;
    MHD_stop_daemon(server.daemon);
    server.daemon = NULL;
    assert_int_equal(repository_open(b, "first", NULL, &repo, &err), -1);
    assert_int_equal(err.kind, ERR_UNAVAILABLE);
    assert_non_null(strstr(err.msg, "config"));
    backend_close(b);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_bearer),  TEST(test_basic_and_new_token),
        TEST(test_retries), TEST(test_lost_answers),
        TEST(test_ranges),  TEST(test_unreachable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
