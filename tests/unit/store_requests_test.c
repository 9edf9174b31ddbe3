/* store: how many requests a backup costs where each is a round trip. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "store_s3_server.h"

#include "store/lock.h"
#include "store/synthetic.h"
#include "store/tree.h"
#include "store/verify.h"

#include <stdio.h>

enum { FOLDERS = 300, UNCHANGED_MAX = 15 };

static void check(int r, const struct err *err)
{
    if (r < 0)
        fail_msg("%s", err->msg);
}

static int setup(void **state)
{
    struct repository_key key = cheap_key("first");
    struct backend *b;
    struct err err;
    setenv("HOME", "/nonexistent", 1);
    s3_server_start();
    s3_server.page = 1000; /* as real ones */
    char *endpoint CLEANUP(free_p) = xasprintf("http://127.0.0.1:%u", s3_server.port);
    struct backend_s3_options o = {.endpoint = endpoint,
                                   .bucket = "bucket",
                                   .prefix = "p",
                                   .access_key = "AKIDTEST",
                                   .secret_key = "secret",
                                   .retry_seconds = 1};
    check(backend_open_s3(&o, &b, &err), &err);
    check(repository_init(b, &key, 1, NULL, &err), &err);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    backend_close(*state);
    s3_server_stop();
    return 0;
}

static int requests(void)
{
    pthread_mutex_lock(&s3_server.lock);
    int n = s3_server.requests;
    pthread_mutex_unlock(&s3_server.lock);
    return n;
}

static int ignore(void *ctx, const char *path, const struct node *node, struct err *err)
{
    (void)ctx, (void)path, (void)node, (void)err;
    return TREE_WALK_ON;
}

static int confirm(void *ctx, struct err *err)
{
    return lock_confirm(*(struct lock **)ctx, err);
}

/* One backup as a command makes it: `changed` files of many folders are other than before. */
static void back_up(struct backend *b, int changed, struct verify_result *ret)
{
    struct lock *lock = NULL;
    struct repository_options options = {
        .before_index = confirm, .before_snapshot = confirm, .ctx = &lock};
    struct repository *repo CLEANUP(repository_close_p) = NULL;
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct lock_options how = {.hostname = "host", .settle_ms = 1};
    struct tree_visitor visitor = {.node = ignore};
    struct snapshot parent;
    struct store_id tree, id;
    struct err err;
    check(repository_open(b, "first", &options, &repo, &err), &err);
    check(lock_acquire(repo, &how, &lock, &err), &err);
    bool has_parent = snapshot_find(repo, "latest", NULL, a, &parent, &err) == 0;
    check(repository_load_index(repo, &err), &err);
    if (has_parent) /* every tree of the parent is looked at */
        check(tree_walk(repo, &parent.tree, &visitor, &err), &err);
    struct synthetic *s = synthetic_new(repo, 1700000000);
    for (int i = 0; i < FOLDERS; i++) {
        char path[64];
        snprintf(path, sizeof path, "/%d/%d/file", i / 10, i);
        check(synthetic_add(s, path, i < changed ? "other" : "data", i < changed ? 5 : 4, i, &err),
              &err);
    }
    check(synthetic_finish(s, &tree, &err), &err);
    synthetic_free(s);
    check(repository_flush(repo, &err), &err);
    check(save_test_snapshot(repo, &tree, "t", &id, &err), &err);
    check(verify_read_back(repo, &id, NULL, ret, &err), &err);
    check(lock_release(lock, &err), &err);
}

static void test_unchanged(void **state)
{
    struct verify_result result;
    back_up(*state, 0, &result);
    assert_int_equal(result.files, FOLDERS);
    int before = requests();
    back_up(*state, 0, &result);
    assert_int_equal(result.files, FOLDERS);
    int n = requests() - before;
    printf("an unchanged backup of %d folders: %d requests\n", FOLDERS, n);
    assert_in_range(n, 1, UNCHANGED_MAX);
    before = requests();
    back_up(*state, 3, &result);
    printf("one with changes in three of them: %d requests\n", requests() - before);
    assert_in_range(requests() - before, 1, UNCHANGED_MAX + 8);
}

static int count(void *ctx, const struct store_id *id, uint64_t size, struct err *err)
{
    (void)id, (void)size, (void)err;
    ++*(int *)ctx;
    return 0;
}

static int count_list(struct backend *b, enum backend_type type)
{
    int n = 0;
    struct err err;
    check(backend_list(b, type, count, &n, &err), &err);
    return n;
}

/* A list that was taken ahead is given once, and never after something of its type was changed. */
static void test_foresight(void **state)
{
    struct backend *b = *state;
    struct store_id id;
    struct err err;
    check(backend_save(b, BACKEND_SNAPSHOT, "a", 1, &id, &err), &err);
    check(backend_foresee(b, &err), &err);
    int before = requests();
    assert_int_equal(count_list(b, BACKEND_KEY), 1);
    assert_int_equal(count_list(b, BACKEND_LOCK), 0);
    assert_int_equal(requests(), before);
    check(backend_save(b, BACKEND_SNAPSHOT, "b", 1, &id, &err), &err);
    assert_int_equal(count_list(b, BACKEND_SNAPSHOT), 2);
    assert_int_equal(count_list(b, BACKEND_KEY), 1);
    assert_int_equal(requests(), before + 3);
    check(backend_foresee(b, &err), &err);
    check(backend_remove(b, &(struct backend_file){BACKEND_SNAPSHOT, id}, &err), &err);
    assert_int_equal(count_list(b, BACKEND_SNAPSHOT), 1);
}

/* Where one page does not hold all there is, or the server answers with something else, the lists
 * are those that they always were. */
static void test_no_foresight(void **state)
{
    struct backend *b = *state;
    struct store_id id;
    struct err err;
    check(backend_save(b, BACKEND_SNAPSHOT, "a", 1, &id, &err), &err);
    check(backend_save(b, BACKEND_SNAPSHOT, "b", 1, &id, &err), &err);
    pthread_mutex_lock(&s3_server.lock);
    s3_server.page = 2;
    pthread_mutex_unlock(&s3_server.lock);
    check(backend_foresee(b, &err), &err);
    assert_int_equal(count_list(b, BACKEND_SNAPSHOT), 2);
    int before = requests();
    check(backend_foresee(b, &err), &err); /* it is not tried again */
    assert_int_equal(requests(), before);
    assert_int_equal(count_list(b, BACKEND_KEY), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_unchanged, setup, teardown),
        cmocka_unit_test_setup_teardown(test_foresight, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_foresight, setup, teardown),
    };
    return cmocka_run_group_tests_name("store_requests", tests, NULL, NULL);
}
