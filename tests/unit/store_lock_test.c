/* store: restic's locks: who may stand beside whom, who is dead, clocks that are wrong, and stock
 * restic at work on the same repository. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "store_support.h"

#include "core/clock.h"
#include "store/lock.h"
#include "store/synthetic.h"
#include "store/verify.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

extern char **environ;

#define DAY ((int64_t)24 * 3600 * 1000)

struct fixture {
    char *folder;
    struct backend *backend;
    struct repository *repo;
};

static int64_t boot_ms, skew_ms; /* the clock that nobody sets; how wrong the wall clock is */

static int64_t fake_boot(void)
{
    return boot_ms;
}

static int64_t fake_wall(void)
{
    return boot_ms + skew_ms;
}

static void check(int r, const struct err *err)
{
    if (r < 0)
        fail_msg("%s", err->msg);
}

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    struct err err;
    struct repository_key keys[] = {cheap_key("first")};
    f->folder = make_folder();
    check(backend_open_local(f->folder, &f->backend, &err), &err);
    check(repository_init(f->backend, keys, 1, NULL, &err), &err);
    check(repository_open(f->backend, "first", NULL, &f->repo, &err), &err);
    check(repository_load_index(f->repo, &err), &err);
    boot_ms = 1767323045000;
    skew_ms = 0;
    *state = f;
    return 0;
}

static int setup_clock(void **state)
{
    clock_override(fake_boot);
    clock_override_wall(fake_wall);
    return setup(state);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    clock_override(NULL);
    clock_override_wall(NULL);
    repository_close(f->repo);
    backend_close(f->backend);
    remove_folder(f->folder);
    free(f);
    return 0;
}

static enum lock_holder judge_as(void *ctx, str namespace, str pod, str uid)
{
    assert_true(str_is(namespace, "ns") && str_is(pod, "pod") && str_is(uid, "uid"));
    return *(enum lock_holder *)ctx;
}

static size_t count_locks(struct fixture *f)
{
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct lock_list list;
    struct err err;
    check(lock_list_all(f->repo, a, &list, &err), &err);
    return list.n;
}

static void refused(int r, const struct err *err, enum err_kind kind)
{
    assert_int_equal(r, -1);
    assert_int_equal(err->kind, kind);
}

/* ---- who may stand beside whom ---- */

static void test_conflicts(void **state)
{
    struct fixture *f = *state;
    struct lock_options shared = {.hostname = "c/ns/a/1", .settle_ms = 1};
    struct lock_options exclusive = {.hostname = "c/ns/b/2", .settle_ms = 1, .exclusive = true};
    struct lock *one, *two, *none;
    struct err err;
    check(lock_acquire(f->repo, &shared, &one, &err), &err);
    check(lock_acquire(f->repo, &shared, &two, &err), &err);
    refused(lock_acquire(f->repo, &exclusive, &none, &err), &err, ERR_BUSY);
    assert_non_null(strstr(err.msg, "c/ns/a/1"));
    assert_int_equal(count_locks(f), 2);
    check(lock_release(one, &err), &err);
    check(lock_release(two, &err), &err);
    check(lock_acquire(f->repo, &exclusive, &one, &err), &err);
    refused(lock_acquire(f->repo, &shared, &none, &err), &err, ERR_BUSY);
    assert_non_null(strstr(err.msg, "exclusively"));
    check(lock_release(one, &err), &err);
    check(lock_release(NULL, &err), &err);
    assert_int_equal(count_locks(f), 0);
}

static void test_life(void **state)
{
    struct fixture *f = *state;
    struct lock_options o = {.hostname = "c/ns/pod/uid", .username = "one", .settle_ms = 1};
    struct lock *lock;
    struct err err;
    check(lock_acquire(f->repo, &o, &lock, &err), &err);
    struct store_id first = *lock_id(lock);
    check(lock_confirm(lock, &err), &err);
    check(lock_confirm_name(f->repo, "one", &err), &err);
    refused(lock_confirm_name(f->repo, "on", &err), &err, ERR_GONE);
    boot_ms += LOCK_REFRESH_MS - 1;
    assert_false(lock_refresh_due(lock));
    boot_ms += 1;
    assert_true(lock_refresh_due(lock));
    check(lock_refresh(lock, &err), &err);
    assert_false(lock_refresh_due(lock));
    assert_false(store_id_equal(&first, lock_id(lock)));
    assert_int_equal(count_locks(f), 1);
    boot_ms += LOCK_STOP_MS - 1;
    check(lock_confirm(lock, &err), &err);
    check(lock_confirm_name(f->repo, "one", &err), &err);
    boot_ms += 1;
    refused(lock_confirm_name(f->repo, "one", &err), &err, ERR_GONE);
    refused(lock_confirm(lock, &err), &err, ERR_GONE);
    skew_ms = -LOCK_STOP_MS; /* a clock that is set back does not bring it to life again */
    refused(lock_refresh(lock, &err), &err, ERR_GONE);
    skew_ms = 0;
    check(lock_release(lock, &err), &err);
    check(lock_acquire(f->repo, &o, &lock, &err), &err);
    struct backend_file file = {BACKEND_LOCK, *lock_id(lock)};
    check(backend_remove(f->backend, &file, &err), &err);
    refused(lock_confirm(lock, &err), &err, ERR_GONE);
    check(lock_release(lock, &err), &err);
}

/* A process may hold several locks of one repository: what one of them allows, another does not. */
static void test_name_is_one_lock(void **state)
{
    struct fixture *f = *state;
    struct lock_options o = {.hostname = "c/ns/pod/uid", .username = "one", .settle_ms = 1};
    struct lock *one, *two;
    struct err err;
    check(lock_acquire(f->repo, &o, &one, &err), &err);
    o.username = "two";
    check(lock_acquire(f->repo, &o, &two, &err), &err);
    check(lock_confirm_name(f->repo, "one", &err), &err);
    check(lock_release(one, &err), &err);
    refused(lock_confirm_name(f->repo, "one", &err), &err, ERR_GONE);
    check(lock_confirm_name(f->repo, "two", &err), &err);
    check(lock_release(two, &err), &err);
    /* Nor is one under which things are removed a writer's. */
    o.exclusive = true;
    check(lock_acquire(f->repo, &o, &two, &err), &err);
    refused(lock_confirm_name(f->repo, "two", &err), &err, ERR_GONE);
    check(lock_release(two, &err), &err);
}

/* ---- lines ---- */

/* A backend that loses a lock file of somebody as soon as another one is written. */
struct loses {
    struct backend base;
    struct backend *inner;
    struct store_id lost;
};

static int loses_save(struct backend *b, const struct backend_file *file, const void *p, size_t n,
                      struct err *err)
{
    struct loses *l = (struct loses *)b;
    check(backend_remove(l->inner, &(struct backend_file){BACKEND_LOCK, l->lost}, err), err);
    return l->inner->ops->save(l->inner, file, p, n, err);
}

static int loses_load(struct backend *b, const struct backend_file *file, uint64_t offset, size_t n,
                      size_t max, struct buf *out, struct err *err)
{
    struct backend *inner = ((struct loses *)b)->inner;
    return inner->ops->load(inner, file, offset, n, max, out, err);
}

static int loses_list(struct backend *b, enum backend_type type, backend_list_fn *fn, void *ctx,
                      struct err *err)
{
    return backend_list(((struct loses *)b)->inner, type, fn, ctx, err);
}

static int loses_remove(struct backend *b, const struct backend_file *file, struct err *err)
{
    return backend_remove(((struct loses *)b)->inner, file, err);
}

static int loses_stat(struct backend *b, const struct backend_file *file, uint64_t *ret_size,
                      struct err *err)
{
    return backend_stat(((struct loses *)b)->inner, file, ret_size, err);
}

static const struct backend_ops loses_ops = {.name = "loses",
                                             .save = loses_save,
                                             .load = loses_load,
                                             .list = loses_list,
                                             .remove = loses_remove,
                                             .stat = loses_stat};

static struct lock *acquire(struct repository *repo, const struct lock_options *o)
{
    struct lock *lock;
    struct err err;
    check(lock_acquire(repo, o, &lock, &err), &err);
    return lock;
}

static void test_line(void **state)
{
    struct fixture *f = *state;
    enum lock_holder holder = LOCK_HOLDER_ALIVE;
    struct lock_options first = {.hostname = "c/ns/pod/uid",
                                 .line = "backup-1",
                                 .settle_ms = 1,
                                 .cluster = "c",
                                 .judge = judge_as,
                                 .judge_ctx = &holder,
                                 .sweep = true};
    struct lock_options next = first, other = first, elsewhere = first;
    struct err err;
    next.hostname = "c/ns/next/2";
    other.line = "backup-2";
    elsewhere.hostname = "d/ns/pod/uid", elsewhere.cluster = "d";
    struct lock *a = acquire(f->repo, &first);
    char name[64];
    snprintf(name, sizeof name, "%s", lock_name(a));
    assert_int_equal(strlen(name), strlen("backup-1+0123456789abcdef"));
    check(lock_refresh(a, &err), &err);
    assert_string_equal(lock_name(a), name);
    check(lock_confirm_name(f->repo, name, &err), &err);
    /* What another Backup or cluster takes is no heir to it. */
    struct lock *b = acquire(f->repo, &other), *c = acquire(f->repo, &elsewhere);
    assert_string_not_equal(lock_name(b), name);
    assert_string_not_equal(lock_name(c), name);
    check(lock_release(b, &err), &err);
    check(lock_release(c, &err), &err);
    assert_int_equal(count_locks(f), 1);
    /* The next one, in another pod, takes it over; the first one sees that, should it live. */
    b = acquire(f->repo, &next);
    assert_string_equal(lock_name(b), name);
    assert_int_equal(count_locks(f), 1);
    refused(lock_confirm(a, &err), &err, ERR_GONE);
    lock_leave(a);
    /* So does one that follows an earlier process of its own pod, after any time. */
    lock_leave(b);
    boot_ms += 10 * LOCK_STALE_MS;
    a = acquire(f->repo, &next);
    assert_string_equal(lock_name(a), name);
    assert_int_equal(count_locks(f), 1);
    check(lock_release(a, &err), &err);
    /* It is over. */
    a = acquire(f->repo, &next);
    assert_string_not_equal(lock_name(a), name);
    check(lock_release(a, &err), &err);
    assert_int_equal(count_locks(f), 0);
}

/* Somebody removes the lock that is to be taken over: who works under its name is not covered. */
static void test_line_is_cut(void **state)
{
    struct fixture *f = *state;
    struct lock_options o = {
        .hostname = "c/ns/pod/uid", .line = "backup-1", .settle_ms = 1, .cluster = "c"};
    struct loses loses = {{&loses_ops}, f->backend, {{0}}};
    struct repository *repo CLEANUP(repository_close_p) = NULL;
    struct lock *a = acquire(f->repo, &o), *b;
    struct err err;
    char name[64];
    snprintf(name, sizeof name, "%s", lock_name(a));
    loses.lost = *lock_id(a);
    lock_leave(a);
    check(repository_open(&loses.base, "first", NULL, &repo, &err), &err);
    refused(lock_acquire(repo, &o, &b, &err), &err, ERR_UNAVAILABLE);
    assert_int_equal(count_locks(f), 0);
    a = acquire(f->repo, &o);
    assert_string_not_equal(lock_name(a), name);
    check(lock_release(a, &err), &err);
}

/* The lock is removed just before a refresh writes the next: there was a time without one. */
static void test_refresh_is_cut(void **state)
{
    struct fixture *f = *state;
    struct lock_options o = {.hostname = "c/ns/pod/uid", .settle_ms = 1};
    struct loses loses = {{&loses_ops}, f->backend, {{0}}};
    struct repository *repo CLEANUP(repository_close_p) = NULL;
    struct lock *other = acquire(f->repo, &o), *lock;
    struct err err;
    loses.lost = *lock_id(other);
    lock_leave(other);
    check(repository_open(&loses.base, "first", NULL, &repo, &err), &err);
    check(lock_acquire(repo, &o, &lock, &err), &err);
    assert_int_equal(count_locks(f), 1);
    loses.lost = *lock_id(lock);
    refused(lock_refresh(lock, &err), &err, ERR_GONE);
    assert_int_equal(count_locks(f), 0);
    refused(lock_confirm(lock, &err), &err, ERR_GONE);
    check(lock_release(lock, &err), &err);
}

/* Movers may work under a lock whose holder has ended: no prune before its heir had its time. */
static void test_line_is_awaited(void **state)
{
    struct fixture *f = *state;
    enum lock_holder holder = LOCK_HOLDER_TERMINATED;
    struct lock_options theirs = {
        .hostname = "c/ns/pod/uid", .line = "backup-1", .settle_ms = 1, .cluster = "c"};
    struct lock_options ours = {.hostname = "c/ns/me/9",
                                .settle_ms = 1,
                                .exclusive = true,
                                .cluster = "c",
                                .judge = judge_as,
                                .judge_ctx = &holder,
                                .sweep = true};
    struct lock_options same_pod = {.hostname = "c/ns/pod/uid", .cluster = "c"};
    struct lock *lock;
    struct err err;
    lock_leave(acquire(f->repo, &theirs));
    refused(lock_acquire(f->repo, &ours, &lock, &err), &err, ERR_BUSY);
    assert_int_equal(lock_sweep(f->repo, &same_pod, &err), 0);
    boot_ms += LOCK_STALE_MS - 1;
    refused(lock_acquire(f->repo, &ours, &lock, &err), &err, ERR_BUSY);
    assert_int_equal(lock_sweep(f->repo, &same_pod, &err), 0);
    boot_ms += 1;
    check(lock_acquire(f->repo, &ours, &lock, &err), &err);
    check(lock_release(lock, &err), &err);
    lock_leave(acquire(f->repo, &theirs));
    assert_int_equal(count_locks(f), 1);
    boot_ms += LOCK_STALE_MS;
    assert_int_equal(lock_sweep(f->repo, &same_pod, &err), 1);
}

/* ---- who is dead ---- */

static void test_judging(void **state)
{
    static const struct {
        enum lock_holder holder;
        int64_t seen;
        bool dead;
    } rows[] = {
        {LOCK_HOLDER_ALIVE, 10 * LOCK_STALE_MS, false},
        {LOCK_HOLDER_UNKNOWN, 10 * LOCK_STALE_MS, false},
        {LOCK_HOLDER_VANISHED, 0, false},
        {LOCK_HOLDER_VANISHED, LOCK_STALE_MS - 1, false},
        {LOCK_HOLDER_VANISHED, LOCK_STALE_MS, true},
        {LOCK_HOLDER_TERMINATED, 0, true},
    };
    struct fixture *f = *state;
    enum lock_holder holder;
    struct lock_options theirs = {.hostname = "c/ns/pod/uid", .settle_ms = 1};
    struct lock_options ours = {.hostname = "c/ns/me/9",
                                .settle_ms = 1,
                                .exclusive = true,
                                .cluster = "c",
                                .judge = judge_as,
                                .judge_ctx = &holder};
    struct lock_options elsewhere = ours;
    struct lock *left, *lock;
    struct err err;
    elsewhere.cluster = "d";
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        check(lock_acquire(f->repo, &theirs, &left, &err), &err);
        assert_int_equal(count_locks(f), 1); /* seen from now on */
        holder = rows[i].holder;
        boot_ms += rows[i].seen;
        refused(lock_acquire(f->repo, &elsewhere, &lock, &err), &err, ERR_BUSY);
        assert_int_equal(lock_sweep(f->repo, &elsewhere, &err), 0);
        int r = lock_acquire(f->repo, &ours, &lock, &err);
        assert_int_equal(r, rows[i].dead ? 0 : -1);
        if (r == 0)
            check(lock_release(lock, &err), &err);
        /* Should it be alive all the same: it is told. */
        assert_int_equal(count_locks(f), rows[i].dead ? 0 : 1);
        boot_ms -= rows[i].seen;
        assert_int_equal(lock_confirm(left, &err), rows[i].dead ? -1 : 0);
        check(lock_release(left, &err), &err);
    }
}

static void test_sweep(void **state)
{
    struct fixture *f = *state;
    enum lock_holder holder = LOCK_HOLDER_TERMINATED;
    struct lock_options theirs = {.hostname = "c/ns/pod/uid", .settle_ms = 1, .cluster = "c"};
    struct lock_options ours = {
        .hostname = "c/ns/me/9", .cluster = "c", .judge = judge_as, .judge_ctx = &holder};
    struct lock *left;
    struct err err;
    check(lock_acquire(f->repo, &theirs, &left, &err), &err);
    assert_int_equal(lock_sweep(f->repo, &ours, &err), 1);
    assert_int_equal(count_locks(f), 0);
    check(lock_release(left, &err), &err);
    /* What an earlier process of this very pod left goes, what this one holds does not. */
    check(lock_acquire(f->repo, &theirs, &left, &err), &err);
    pid_t child = fork();
    if (child == 0)
        _exit(lock_acquire(f->repo, &theirs, &left, &err) < 0);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(count_locks(f), 2);
    check(lock_refresh(left, &err), &err);
    assert_int_equal(lock_sweep(f->repo, &theirs, &err), 1);
    check(lock_confirm(left, &err), &err);
    check(lock_release(left, &err), &err);
    assert_int_equal(count_locks(f), 0);
}

/* ---- a store that does not answer ---- */

/* A backend whose saves wait for the test. */
struct slow {
    struct backend base;
    struct backend *inner;
    int begun, go; /* ends of pipes */
};

static int slow_save(struct backend *b, const struct backend_file *file, const void *p, size_t n,
                     struct err *err)
{
    struct slow *s = (struct slow *)b;
    char c = 0;
    assert_true(write(s->begun, &c, 1) == 1 && read(s->go, &c, 1) == 1);
    return s->inner->ops->save(s->inner, file, p, n, err);
}

static int slow_load(struct backend *b, const struct backend_file *file, uint64_t offset, size_t n,
                     size_t max, struct buf *out, struct err *err)
{
    struct backend *inner = ((struct slow *)b)->inner;
    return inner->ops->load(inner, file, offset, n, max, out, err);
}

static int slow_list(struct backend *b, enum backend_type type, backend_list_fn *fn, void *ctx,
                     struct err *err)
{
    return backend_list(((struct slow *)b)->inner, type, fn, ctx, err);
}

static int slow_remove(struct backend *b, const struct backend_file *file, struct err *err)
{
    return backend_remove(((struct slow *)b)->inner, file, err);
}

static const struct backend_ops slow_ops = {
    .name = "slow", .save = slow_save, .load = slow_load, .list = slow_list, .remove = slow_remove};

static void *acquire_and_release(void *repo)
{
    struct lock_options o = {.hostname = "c/ns/pod/uid", .settle_ms = 1, .cluster = "c"};
    struct lock *lock;
    struct err err;
    check(lock_acquire(repo, &o, &lock, &err), &err);
    check(lock_release(lock, &err), &err);
    return NULL;
}

/* One lock is being written, for as long as it takes; those of other stores are refreshed, and what
 * may be that lock is nobody's left-over. */
static void test_slow_store(void **state)
{
    struct fixture *f = *state;
    struct lock_options o = {.hostname = "c/ns/pod/uid", .settle_ms = 1, .cluster = "c"};
    struct slow slow = {{&slow_ops}, f->backend, 0, 0};
    struct repository *repo;
    struct lock *lock;
    struct err err;
    pthread_t thread;
    int begun[2], go[2];
    char c = 0;
    assert_true(pipe(begun) == 0 && pipe(go) == 0);
    slow.begun = begun[1], slow.go = go[0];
    check(lock_acquire(f->repo, &o, &lock, &err), &err);
    check(repository_open(&slow.base, "first", NULL, &repo, &err), &err);
    assert_int_equal(pthread_create(&thread, NULL, acquire_and_release, repo), 0);
    assert_true(read(begun[0], &c, 1) == 1);
    check(lock_refresh(lock, &err), &err);
    assert_int_equal(lock_sweep(f->repo, &o, &err), 0);
    check(lock_confirm(lock, &err), &err);
    assert_true(write(go[1], &c, 1) == 1);
    assert_int_equal(pthread_join(thread, NULL), 0);
    check(lock_release(lock, &err), &err);
    assert_int_equal(count_locks(f), 0);
    repository_close(repo);
    for (int i = 0; i < 2; i++)
        close(begun[i]), close(go[i]);
}

/* ---- clocks ---- */

/* A lock whose holder's clock is wrong by a day, or ours is: it conflicts, nobody is dead by what
 * it says, and whoever works under it goes on. */
static void test_wrong_clocks(void **state)
{
    static const int64_t wrong[] = {-DAY, -LOCK_STALE_MS, LOCK_STALE_MS, DAY};
    struct fixture *f = *state;
    enum lock_holder holder = LOCK_HOLDER_VANISHED;
    struct lock_options theirs = {.hostname = "c/ns/pod/uid", .username = "theirs", .settle_ms = 1};
    struct lock_options ours = {.hostname = "c/ns/me/9",
                                .settle_ms = 1,
                                .exclusive = true,
                                .cluster = "c",
                                .judge = judge_as,
                                .judge_ctx = &holder};
    struct lock *held, *lock;
    struct err err;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        skew_ms = wrong[i];
        check(lock_acquire(f->repo, &theirs, &held, &err), &err);
        skew_ms = 0;
        refused(lock_acquire(f->repo, &ours, &lock, &err), &err, ERR_BUSY);
        assert_int_equal(lock_sweep(f->repo, &ours, &err), 0);
        check(lock_confirm_name(f->repo, "theirs", &err), &err);
        /* It lives: a new file, which is not old either. */
        skew_ms = wrong[i];
        boot_ms += LOCK_STALE_MS / 2;
        check(lock_refresh(held, &err), &err);
        boot_ms += LOCK_STALE_MS / 2;
        skew_ms = 0;
        refused(lock_acquire(f->repo, &ours, &lock, &err), &err, ERR_BUSY);
        assert_int_equal(lock_sweep(f->repo, &ours, &err), 0);
        /* It does not. */
        boot_ms += LOCK_STALE_MS;
        assert_int_equal(lock_sweep(f->repo, &ours, &err), 1);
        check(lock_release(held, &err), &err);
    }
}

/* Our own clock is set while we hold a lock: we stop rather than go on for too long. */
static void test_clock_is_set(void **state)
{
    static const struct {
        int64_t set, passes;
        bool lost;
    } rows[] = {
        {0, LOCK_STOP_MS - 1, false},
        {0, LOCK_STOP_MS, true},
        {-DAY, 0, true},
        {DAY, 0, true},
        {-60000, LOCK_STOP_MS - 60000, false},
        {-20 * 60000, LOCK_STOP_MS, true}, /* young by the wall clock alone */
        {60000, LOCK_STOP_MS - 60000, true},
    };
    struct fixture *f = *state;
    struct lock_options o = {.hostname = "c/ns/pod/uid", .settle_ms = 1};
    struct lock *lock;
    struct err err;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        skew_ms = 0;
        check(lock_acquire(f->repo, &o, &lock, &err), &err);
        skew_ms = rows[i].set;
        boot_ms += rows[i].passes;
        assert_int_equal(lock_refresh_due(lock), rows[i].passes >= LOCK_REFRESH_MS);
        assert_int_equal(lock_confirm(lock, &err), rows[i].lost ? -1 : 0);
        assert_int_equal(lock_refresh(lock, &err), rows[i].lost ? -1 : 0);
        check(lock_release(lock, &err), &err);
    }
}

/* ---- beside stock restic ---- */

static bool has_restic(void)
{
    if (access("/usr/bin/restic", X_OK) == 0)
        return true;
    print_message("restic is not installed: not tried beside it\n");
    return false;
}

struct restic {
    pid_t pid;
    int input; /* -1: none */
};

#define RESTIC(f, ...)                                                                             \
    restic_start(                                                                                  \
        (const char *const[]){"restic", "-q", "-r", (f)->folder, "--no-cache", __VA_ARGS__, NULL})

static struct restic restic_start(const char *const *argv)
{
    struct restic p;
    int ends[2];
    posix_spawn_file_actions_t actions;
    setenv("RESTIC_PASSWORD", "first", 1);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[0], 0);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    assert_int_equal(
        posix_spawn(&p.pid, "/usr/bin/restic", &actions, NULL, (char *const *)argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[0]);
    p.input = ends[1];
    return p;
}

/* Its exit code. */
static int restic_end(struct restic *p)
{
    int status;
    close(p->input);
    assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

#define RESTIC_RUN(f, ...)                                                                         \
    __extension__({                                                                                \
        struct restic p_ = RESTIC(f, __VA_ARGS__);                                                 \
        restic_end(&p_);                                                                           \
    })

/* Until restic has written its lock. */
static void wait_for_lock(struct fixture *f)
{
    for (int i = 0; i < 2000 && count_locks(f) == 0; i++)
        poll(NULL, 0, 5);
    assert_int_equal(count_locks(f), 1);
}

static void save_snapshot(struct fixture *f, struct lock *lock, const char *text,
                          struct store_id *ret_id)
{
    struct synthetic *s = synthetic_new(f->repo, 1);
    struct store_id tree;
    struct err err;
    check(synthetic_add(s, "/file", text, strlen(text), 1, &err), &err);
    check(synthetic_finish(s, &tree, &err), &err);
    check(repository_flush(f->repo, &err), &err);
    check(lock_confirm(lock, &err), &err);
    check(save_test_snapshot(f->repo, &tree, text, ret_id, &err), &err);
    check(verify_read_back(f->repo, ret_id, NULL, NULL, &err), &err);
    synthetic_free(s);
}

/* restic backs up and we back up, at one time; neither may delete meanwhile. */
static void test_beside_backup(void **state)
{
    struct fixture *f = *state;
    struct lock_options shared = {.hostname = "c/ns/a/1", .settle_ms = 1};
    struct lock_options exclusive = {.hostname = "c/ns/b/2", .settle_ms = 1, .exclusive = true};
    struct lock *lock, *none;
    struct store_id id;
    struct err err;
    if (!has_restic())
        return;
    struct restic theirs = RESTIC(f, "backup", "--stdin");
    wait_for_lock(f);
    refused(lock_acquire(f->repo, &exclusive, &none, &err), &err, ERR_BUSY);
    assert_int_equal(count_locks(f), 1);
    check(lock_acquire(f->repo, &shared, &lock, &err), &err);
    assert_true(write(theirs.input, "theirs", 6) == 6);
    save_snapshot(f, lock, "ours", &id);
    assert_int_equal(restic_end(&theirs), 0);
    assert_int_not_equal(RESTIC_RUN(f, "prune"), 0);
    assert_int_not_equal(RESTIC_RUN(f, "forget", "--keep-last", "1", "--prune"), 0);
    assert_int_not_equal(RESTIC_RUN(f, "check"), 0);
    check(lock_confirm(lock, &err), &err);
    check(lock_release(lock, &err), &err);
    assert_int_equal(RESTIC_RUN(f, "check", "--read-data"), 0);
    assert_int_equal(RESTIC_RUN(f, "prune"), 0);
    check(verify_read_back(f->repo, &id, NULL, NULL, &err), &err);
    assert_int_equal(count_locks(f), 0);
}

/* restic holds the repository for itself: it is stopped in the middle of a prune. */
static void test_beside_prune(void **state)
{
    struct fixture *f = *state;
    struct lock_options shared = {.hostname = "c/ns/a/1",
                                  .settle_ms = 1,
                                  .cluster = "c",
                                  .judge = judge_as,
                                  .judge_ctx = &(enum lock_holder){LOCK_HOLDER_TERMINATED}};
    struct lock *lock, *none;
    struct store_id id;
    struct err err;
    if (!has_restic())
        return;
    check(lock_acquire(f->repo, &shared, &lock, &err), &err);
    save_snapshot(f, lock, "ours", &id);
    check(lock_release(lock, &err), &err);
    struct restic theirs = RESTIC(f, "prune");
    wait_for_lock(f);
    kill(theirs.pid, SIGSTOP);
    if (count_locks(f) == 1) { /* else it was faster */
        refused(lock_acquire(f->repo, &shared, &none, &err), &err, ERR_BUSY);
        assert_non_null(strstr(err.msg, "exclusively"));
        assert_int_equal(lock_sweep(f->repo, &shared, &err), 0);
    }
    kill(theirs.pid, SIGCONT);
    assert_int_equal(restic_end(&theirs), 0);
    check(lock_acquire(f->repo, &shared, &lock, &err), &err);
    check(lock_release(lock, &err), &err);
    check(verify_read_back(f->repo, &id, NULL, NULL, &err), &err);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_CLOCK(name) cmocka_unit_test_setup_teardown(name, setup_clock, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_conflicts),
        TEST_CLOCK(test_life),
        TEST(test_name_is_one_lock),
        TEST_CLOCK(test_line),
        TEST(test_line_is_cut),
        TEST(test_refresh_is_cut),
        TEST_CLOCK(test_line_is_awaited),
        TEST_CLOCK(test_judging),
        TEST(test_sweep),
        TEST_CLOCK(test_wrong_clocks),
        TEST_CLOCK(test_clock_is_set),
        TEST(test_slow_store),
        TEST(test_beside_backup),
        TEST(test_beside_prune),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
