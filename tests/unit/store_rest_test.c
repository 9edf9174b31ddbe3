/* store: the REST backend against a small server of restic's protocol with faults. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "store_rest_server.h"

#include "store/synthetic.h"
#include "store/verify.h"

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
    struct repository *repo = NULL;
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, rest_server_start, rest_server_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_bearer),  TEST(test_basic_and_new_token),
        TEST(test_retries), TEST(test_lost_answers),
        TEST(test_ranges),  TEST(test_unreachable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
