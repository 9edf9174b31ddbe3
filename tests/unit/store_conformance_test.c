/* store: what store/backend.h promises, asked of every backend: a folder, restic's REST protocol,
 * S3 in both styles of addressing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "store_rest_server.h"
#include "store_s3_server.h"

#include "store/synthetic.h"
#include "store/verify.h"

static char *folder;

static void check(int r, const struct err *err)
{
    if (r < 0)
        fail_msg("%s", err->msg);
}

/* ---- the backends ---- */

static int local_setup(void **state)
{
    struct backend *b;
    struct err err;
    folder = make_folder();
    char *path CLEANUP(free_p) = xasprintf("%s/repo", folder);
    check(backend_open_local(path, &b, &err), &err);
    *state = b;
    return 0;
}

static int local_teardown(void **state)
{
    backend_close(*state);
    remove_folder(folder);
    return 0;
}

static int rest_setup(void **state)
{
    void *unused;
    struct backend *b;
    struct err err;
    rest_server_start(&unused);
    struct backend_rest_options o = {.token_file = server.token_file, .retry_seconds = 5};
    check(backend_open_url(server.url, &o, &b, &err), &err);
    *state = b;
    return 0;
}

static int rest_teardown(void **state)
{
    backend_close(*state);
    return rest_server_stop(state);
}

static int s3_setup(void **state, enum s3_lookup lookup)
{
    struct backend *b;
    struct err err;
    s3_server_start();
    char *endpoint CLEANUP(free_p) = xasprintf("http://localhost:%u", s3_server.port);
    struct backend_s3_options o = {.endpoint = endpoint,
                                   .bucket = "bucket",
                                   .prefix = "a b/c&d+\xc3\xa4",
                                   .access_key = "AKIDTEST",
                                   .secret_key = "secret",
                                   .lookup = lookup,
                                   .retry_seconds = 5};
    check(backend_open_s3(&o, &b, &err), &err);
    *state = b;
    return 0;
}

static int s3_path_setup(void **state)
{
    return s3_setup(state, S3_LOOKUP_PATH);
}

static int s3_host_setup(void **state)
{
    return s3_setup(state, S3_LOOKUP_HOST);
}

static int s3_teardown(void **state)
{
    backend_close(*state);
    s3_server_stop();
    return 0;
}

/* ---- the promises ---- */

static const struct backend_file config = {.type = BACKEND_CONFIG};

static void make(struct backend *b)
{
    struct err err;
    check(backend_create(b, &err), &err);
    check(backend_save_as(b, &config, "config", 6, &err), &err);
}

static int no_file(void *ctx, const struct store_id *id, uint64_t size, struct err *err)
{
    (void)ctx, (void)id, (void)size;
    return err_set(err, ERR_CANCELLED, "enough");
}

static void test_nothing_there(void **state)
{
    struct backend *b = *state;
    struct backend_file f = {.type = BACKEND_DATA, .id = {{1}}};
    struct buf out = {0};
    struct err err;
    uint64_t size;
    assert_int_equal(backend_stat(b, &config, &size, &err), -1);
    assert_int_equal(err.kind, ERR_NOT_FOUND);
    assert_int_equal(backend_load_all(b, &config, 100, &out, &err), -1);
    assert_int_equal(err.kind, ERR_NOT_FOUND);
    assert_int_equal(backend_list(b, BACKEND_SNAPSHOT, no_file, NULL, &err), -1);
    assert_int_equal(err.kind, ERR_NOT_FOUND);
    /* Made, it is empty. */
    check(backend_create(b, &err), &err);
    check(backend_create(b, &err), &err);
    check(backend_list(b, BACKEND_SNAPSHOT, no_file, NULL, &err), &err);
    check(backend_remove(b, &f, &err), &err);
    assert_int_equal(backend_load_range(b, &f, 0, 1, &out, &err), -1);
    assert_int_equal(err.kind, ERR_NOT_FOUND);
    buf_free(&out);
}

static void test_config(void **state)
{
    struct backend *b = *state;
    struct buf out = {0};
    struct err err;
    make(b);
    assert_int_equal(backend_save_as(b, &config, "another", 7, &err), -1);
    assert_int_equal(err.kind, ERR_EXISTS);
    check(backend_load_all(b, &config, 6, &out, &err), &err);
    assert_string_equal(out.p, "config");
    assert_int_equal(backend_load_all(b, &config, 5, &out, &err), -1);
    assert_int_equal(err.kind, ERR_TOO_LARGE);
    buf_free(&out);
}

static void test_files(void **state)
{
    struct backend *b = *state;
    struct err err;
    struct buf out = {0};
    make(b);
    for (int t = BACKEND_KEY; t < BACKEND_TYPES; t++) {
        struct backend_file f = {.type = (enum backend_type)t};
        uint64_t size;
        char text[] = "0123456789";
        text[0] = (char)('a' + t);
        check(backend_save(b, f.type, text, 10, &f.id, &err), &err);
        check(backend_save(b, f.type, text, 10, &f.id, &err), &err); /* the same again */
        check(backend_stat(b, &f, &size, &err), &err);
        assert_int_equal(size, 10);
        check(backend_load_all(b, &f, 10, &out, &err), &err);
        assert_string_equal(out.p, text);
        check(backend_load_range(b, &f, 3, 4, &out, &err), &err);
        assert_string_equal(out.p, "3456");
        check(backend_load_range(b, &f, 9, 1, &out, &err), &err);
        assert_string_equal(out.p, "9");
        check(backend_load_range(b, &f, 3, 0, &out, &err), &err);
        assert_int_equal(out.n, 0);
        assert_int_equal(backend_load_range(b, &f, 8, 4, &out, &err), -1);
        assert_int_equal(err.kind, ERR_CORRUPT);
        assert_int_equal(backend_load_range(b, &f, 100, 4, &out, &err), -1);
        assert_int_equal(err.kind, ERR_CORRUPT);
        assert_int_equal(backend_load_all(b, &f, 9, &out, &err), -1);
        assert_int_equal(err.kind, ERR_TOO_LARGE);
        check(backend_remove(b, &f, &err), &err);
        check(backend_remove(b, &f, &err), &err);
        assert_int_equal(backend_stat(b, &f, &size, &err), -1);
        assert_int_equal(err.kind, ERR_NOT_FOUND);
        f.id.b[0] ^= 1;
        assert_int_equal(backend_save_as(b, &f, text, 10, &err), -1);
        assert_int_equal(err.kind, ERR_INVALID);
    }
    buf_free(&out);
}

struct seen {
    uint64_t sizes, n;
};

static int see(void *ctx, const struct store_id *id, uint64_t size, struct err *err)
{
    struct seen *s = ctx;
    (void)id, (void)err;
    s->sizes |= (uint64_t)1 << size;
    s->n++;
    return 0;
}

static void test_lists(void **state)
{
    struct backend *b = *state;
    struct err err;
    struct store_ids ids = {0};
    make(b);
    for (int t = BACKEND_KEY; t < BACKEND_TYPES; t++) {
        enum backend_type type = (enum backend_type)t;
        struct seen seen = {0};
        char text[] = "abcdefghijklmnopqrst";
        for (size_t n = 0; n < 20; n++)
            check(backend_save(b, type, text, n, NULL, &err), &err);
        check(backend_list(b, type, see, &seen, &err), &err);
        assert_int_equal(seen.n, 20);
        assert_int_equal(seen.sizes, (1 << 20) - 1);
        ids.n = 0;
        check(backend_list_ids(b, type, false, 19, &ids, &err), &err);
        assert_int_equal(ids.n, 19);
        assert_int_equal(backend_list_ids(b, type, true, 19, &ids, &err), -1);
        assert_int_equal(err.kind, ERR_TOO_LARGE);
        assert_int_equal(backend_list(b, type, no_file, NULL, &err), -1);
        assert_int_equal(err.kind, ERR_CANCELLED);
    }
    vec_free(&ids);
}

static void test_large_file(void **state)
{
    struct backend *b = *state;
    struct backend_file f = {.type = BACKEND_DATA};
    struct buf out = {0};
    struct err err;
    enum { SIZE = 3 << 20 };
    uint8_t *p = xmalloc(SIZE);
    make(b);
    fill_splitmix(7, p, SIZE);
    check(backend_save(b, f.type, p, SIZE, &f.id, &err), &err);
    check(backend_load_all(b, &f, SIZE, &out, &err), &err);
    assert_memory_equal(out.p, p, SIZE);
    check(backend_load_range(b, &f, 1 << 20, 1 << 20, &out, &err), &err);
    assert_memory_equal(out.p, p + (1 << 20), 1 << 20);
    buf_free(&out);
    free(p);
}

struct worker {
    pthread_t thread;
    struct backend *b;
    int number, r;
    struct err err;
};

static void *work(void *ctx)
{
    struct worker *w = ctx;
    struct buf out = {0};
    for (uint32_t i = 0; w->r == 0 && i < 10; i++) {
        struct backend_file f = {.type = BACKEND_DATA};
        uint64_t text[2] = {(uint64_t)w->number, i};
        w->r = backend_save(w->b, f.type, text, sizeof text, &f.id, &w->err);
        if (w->r == 0)
            w->r = backend_load_all(w->b, &f, sizeof text, &out, &w->err);
    }
    buf_free(&out);
    return NULL;
}

static void test_threads(void **state)
{
    struct worker workers[4] = {0};
    struct store_ids ids = {0};
    struct err err;
    make(*state);
    for (int i = 0; i < 4; i++) {
        workers[i].b = *state;
        workers[i].number = i;
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < 4; i++)
        pthread_join(workers[i].thread, NULL);
    for (int i = 0; i < 4; i++)
        check(workers[i].r, &workers[i].err);
    check(backend_list_ids(*state, BACKEND_DATA, false, 100, &ids, &err), &err);
    assert_int_equal(ids.n, 40);
    vec_free(&ids);
}

static void test_repository(void **state)
{
    struct repository *repo;
    struct store_id tree, id;
    struct err err;
    struct repository_key key = cheap_key("first");
    struct repository_options options = {.pack_target = 4000};
    check(repository_init(*state, &key, 1, NULL, &err), &err);
    assert_int_equal(repository_init(*state, &key, 1, NULL, &err), -1);
    assert_int_equal(err.kind, ERR_EXISTS);
    check(repository_open(*state, "first", &options, &repo, &err), &err);
    check(repository_load_index(repo, &err), &err);
    struct synthetic *s = synthetic_new(repo, 1);
    for (int i = 0; i < 20; i++) {
        char path[64], text[1000];
        random_bytes(text, sizeof text);
        snprintf(path, sizeof path, "/d/%d", i);
        check(synthetic_add(s, path, text, sizeof text, 1, &err), &err);
    }
    struct verify_options all = {.read_data = true};
    check(synthetic_finish(s, &tree, &err), &err);
    check(save_test_snapshot(repo, &tree, "t", &id, &err), &err);
    check(verify_read_back(repo, &id, &all, NULL, &err), &err);
    synthetic_free(s);
    repository_close(repo);
}

#define CASE(where, name)                                                                          \
    {                                                                                              \
#where ": " #name, test_##name, where##_setup, where##_teardown, NULL                      \
    }
#define ALL(where)                                                                                 \
    CASE(where, nothing_there), CASE(where, config), CASE(where, files), CASE(where, lists),       \
        CASE(where, large_file), CASE(where, threads), CASE(where, repository)
#define s3_path_teardown s3_teardown
#define s3_host_teardown s3_teardown

int main(void)
{
    const struct CMUnitTest tests[] = {ALL(local), ALL(rest), ALL(s3_path), ALL(s3_host)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
