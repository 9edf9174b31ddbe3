/* store: a writer that fails or dies at each of its backend calls, one after the other. Whatever
 * the call, what was complete before stays whole, what is listed after is whole, and the next
 * writer gets to the end. Stock restic judges each outcome too, where it is installed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "store_support.h"

#include "store/lock.h"
#include "store/synthetic.h"
#include "store/verify.h"

#include <spawn.h>
#include <sys/wait.h>

extern char **environ;

static bool has_restic(void)
{
    return access("/usr/bin/restic", X_OK) == 0;
}

/* restic check --read-data without a lock, because the dead leave theirs. */
static void check_by_restic(const char *folder)
{
    const char *const argv[] = {"restic",    "-q",    "-r",          folder, "--no-cache",
                                "--no-lock", "check", "--read-data", NULL};
    pid_t pid;
    int status;
    if (!has_restic())
        return;
    setenv("RESTIC_PASSWORD", "first", 1);
    posix_spawn_file_actions_t quiet;
    posix_spawn_file_actions_init(&quiet);
    posix_spawn_file_actions_addopen(&quiet, 1, "/dev/null", 1 /* O_WRONLY */, 0);
    assert_int_equal(
        posix_spawn(&pid, "/usr/bin/restic", &quiet, NULL, (char *const *)argv, environ), 0);
    posix_spawn_file_actions_destroy(&quiet);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (status)
        fail_msg("restic check of %s: status %d", folder, status);
}

/* What a backup does: open, lock, index, data in several packs, a graft, snapshot, read back. */
static int write_backup(struct backend *b, const char *tag, struct store_id *ret_id,
                        struct err *err)
{
    struct repository *repo CLEANUP(repository_close_p) = NULL;
    struct repository_options options = {.pack_target = 4000};
    struct lock *lock = NULL;
    struct store_id volume, tree;
    if (repository_open(b, "second", &options, &repo, err) < 0)
        return -1;
    struct lock_options o = {.hostname = "c/ns/pod/uid", .settle_ms = 1};
    if (lock_acquire(repo, &o, &lock, err) < 0)
        return -1;
    int r = repository_load_index(repo, err);
    struct synthetic *s CLEANUP(synthetic_free_p) = synthetic_new(repo, 1);
    for (int i = 0; r == 0 && i < 6; i++) {
        char path[64], text[2000];
        uint32_t seed = (uint32_t)i * 77 + (unsigned char)tag[0];
        for (size_t k = 0; k < sizeof text; k++) {
            seed = seed * 1664525 + 1013904223;
            text[k] = (char)(seed >> 24);
        }
        snprintf(path, sizeof path, "/data/%d", i);
        r = synthetic_add(s, path, text, sizeof text, 1, err);
    }
    r = r < 0 ? r : synthetic_finish(s, &volume, err);
    r = r < 0 ? r : repository_flush(repo, err);
    r = r < 0 ? r : lock_refresh(lock, err);
    r = r < 0 ? r : synthetic_graft(s, "/volumes/data", &volume, 0755, 1, err);
    r = r < 0 ? r : synthetic_finish(s, &tree, err);
    r = r < 0 ? r : lock_confirm(lock, err);
    r = r < 0 ? r : save_test_snapshot(repo, &tree, tag, ret_id, err);
    r = r < 0 ? r : verify_read_back(repo, ret_id, NULL, NULL, err);
    struct err ignored;
    int released = lock_release(lock, r < 0 ? &ignored : err);
    return r < 0 ? r : released;
}

/* Every snapshot that is listed can be read to the last byte; `must` (may be NULL) is among them.
 */
static size_t check_snapshots(struct backend *b, const struct store_id *must)
{
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct repository *repo CLEANUP(repository_close_p) = NULL;
    struct snapshot_list list;
    struct err err;
    size_t unreadable = 0;
    bool found = false;
    if (repository_open(b, "first", NULL, &repo, &err) < 0 ||
        snapshot_list_all(repo, NULL, a, &list, &unreadable, &err) < 0 ||
        repository_load_index(repo, &err) < 0)
        fail_msg("%s", err.msg);
    assert_int_equal(unreadable, 0);
    for (size_t i = 0; i < list.n; i++) {
        struct verify_options all = {.read_data = true};
        if (verify_snapshot(repo, &list.p[i].id, &all, NULL, &err) < 0)
            fail_msg("%s", err.msg);
        found = found || (must && store_id_equal(must, &list.p[i].id));
    }
    assert_true(!must || found);
    return list.n;
}

static int init(struct backend *b, struct err *err)
{
    struct repository_key keys[] = {cheap_key("first"), cheap_key("second")};
    return repository_init(b, keys, 2, NULL, err);
}

/* One run of the backup with a fault at call `at`; false once there is no such call. */
static bool backup_with_fault(enum fault fault, bool dead, int at)
{
    char *folder = make_folder();
    struct backend *real;
    struct store_id before, during, after;
    struct err err;
    if (backend_open_local(folder, &real, &err) < 0 || init(real, &err) < 0 ||
        write_backup(real, "before", &before, &err) < 0)
        fail_msg("%s", err.msg);
    struct fault_backend b = {{&fault_ops}, real, fault, dead, at, 0, false};
    int r = write_backup(&b.base, "during", &during, &err);
    size_t n = check_snapshots(real, &before);
    if (r == 0)
        check_snapshots(real, &during);
    assert_in_range(n, r == 0 ? 2 : 1, 2);
    if (b.hit && dead) {
        check_by_restic(folder);
        assert_int_equal(r, -1);
    }
    if (write_backup(real, "after", &after, &err) < 0)
        fail_msg("after a fault at call %d: %s", at, err.msg);
    check_snapshots(real, &after);
    backend_close(real);
    remove_folder(folder);
    return b.hit;
}

static bool init_with_fault(enum fault fault, bool dead, int at)
{
    char *folder = make_folder();
    struct backend *real;
    struct store_id id;
    struct err err;
    assert_int_equal(backend_open_local(folder, &real, &err), 0);
    struct fault_backend b = {{&fault_ops}, real, fault, dead, at, 0, false};
    (void)!init(&b.base, &err);
    /* The second init finishes the first, or finds it finished. */
    if (init(real, &err) < 0 && err.kind != ERR_EXISTS)
        fail_msg("after a fault at call %d: %s", at, err.msg);
    if (write_backup(real, "after", &id, &err) < 0)
        fail_msg("after a fault at call %d: %s", at, err.msg);
    check_snapshots(real, &id);
    backend_close(real);
    remove_folder(folder);
    return b.hit;
}

static void run_all(bool (*run)(enum fault fault, bool dead, int at), const char *what)
{
    static const struct {
        enum fault fault;
        bool dead;
    } modes[] = {
        {FAULT_BEFORE, true}, {FAULT_AFTER, true}, {FAULT_BEFORE, false}, {FAULT_AFTER, false}};
    int points = 0;
    for (size_t i = 0; i < ARRAY_LEN(modes); i++)
        for (int at = 1; run(modes[i].fault, modes[i].dead, at); at++)
            points++;
    assert_in_range(points, 4, 10000);
    print_message("%d points of %s\n", points, what);
}

static void test_init(void **state)
{
    (void)state;
    run_all(init_with_fault, "init");
}

static void test_backup(void **state)
{
    (void)state;
    if (!has_restic())
        print_message("restic is not installed: judged by our own reader alone\n");
    run_all(backup_with_fault, "backup");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_init),
        cmocka_unit_test(test_backup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
