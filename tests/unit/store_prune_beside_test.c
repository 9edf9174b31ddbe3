/* store: a prune beside others, beside a store that refuses, fails or lies, and killed anywhere.
 * After each all snapshots that are left are read back whole, and stock restic checks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "store_prune_support.h"

/* ---- packs that no index names ---- */

static void unindexed_packs_go_if_nobody_else_was_there(void **state)
{
    struct world *w = *state;
    backup_range(w, 0, 20);
    save_pack(w, (unsigned[]){30, 31}, 2, false, false);
    size_t packs = files_of(w, BACKEND_DATA);
    struct repository *repo CLEANUP(repository_close_p) = open_at(w->backend, 0);
    struct lock_options other = {.hostname = "a backup", .settle_ms = 1};
    struct lock *lock;
    struct err err;
    must(lock_acquire(repo, &other, &lock, &err), &err);
    struct prune_options o = options();
    struct prune_result r;
    must(prune_with(w, &o, &r, &err), &err); /* nothing to do: the packs may be the other's */
    assert_int_equal(r.packs_unindexed, 0);
    assert_int_equal(files_of(w, BACKEND_DATA), packs);
    must(lock_release(lock, &err), &err);
    r = prune(w);
    assert_int_equal(r.packs_unindexed, 1);
    assert_true(r.unindexed_bytes > 0);
    assert_int_equal(files_of(w, BACKEND_DATA), packs - 1);
    restic_checks(w);
}

/* ---- while somebody else works ---- */

struct meanwhile {
    struct world *w;
    enum prune_phase phase; /* at the first word of this phase */
    uint64_t done;          /* and from this count on */
    void (*act)(struct world *w);
    bool acted;
};

static int act_once(void *ctx, enum prune_phase phase, uint64_t done, uint64_t total,
                    struct err *err)
{
    struct meanwhile *m = ctx;
    (void)total, (void)err;
    if (phase == m->phase && done >= m->done && !m->acted) {
        m->acted = true;
        m->act(m->w);
    }
    return 0;
}

static int prune_while(struct world *w, enum prune_phase phase, uint64_t done,
                       void (*act)(struct world *w), struct prune_result *result, struct err *err)
{
    struct meanwhile m = {w, phase, done, act, false};
    struct prune_options o = options();
    o.progress = act_once;
    o.ctx = &m;
    int r = prune_with(w, &o, result, err);
    assert_true(m.acted);
    return r;
}

static void use_what_was_unused(struct world *w)
{
    backup_range(w, 10, 20);
}

static void a_backup_of_the_meantime_spares_what_it_uses(void **state)
{
    struct world *w = *state;
    struct prune_result r;
    struct err err;
    leave_parts(w);
    must(prune_while(w, PRUNE_WALK, 1, use_what_was_unused, &r, &err), &err);
    assert_true(r.spared > 0);
    assert_true(r.packs_removed > 0);
    assert_int_equal(read_all(w), 2);
    restic_checks(w);
    assert_true(prune(w).removed.blobs < 50);
    assert_int_equal(read_all(w), 2);
}

static void a_backup_while_packs_are_deleted_stores_anew(void **state)
{
    struct world *w = *state;
    struct prune_result r;
    struct err err;
    leave_parts(w);
    must(prune_while(w, PRUNE_LOCKED, 1, use_what_was_unused, &r, &err), &err);
    assert_int_equal(r.spared, 0);
    assert_int_equal(read_all(w), 2);
    restic_checks(w);
}

static struct lock *other_lock;
static struct repository *other_repo;

static void lock_shared(struct world *w)
{
    struct err err;
    other_repo = open_at(w->backend, 0);
    must(lock_acquire(other_repo, &(struct lock_options){.hostname = "else", .settle_ms = 1},
                      &other_lock, &err),
         &err);
}

static void unlock_shared(void)
{
    struct err err;
    must(lock_release(other_lock, &err), &err);
    repository_close(other_repo);
}

static void a_running_backup_makes_it_wait_and_the_copies_serve(void **state)
{
    struct world *w = *state;
    struct prune_result r;
    struct err err;
    leave_parts(w);
    size_t packs = files_of(w, BACKEND_DATA);
    assert_int_equal(prune_while(w, PRUNE_COPY, 1, lock_shared, &r, &err), -1);
    assert_int_equal(err.kind, ERR_BUSY);
    size_t copied = files_of(w, BACKEND_DATA) - packs;
    assert_true(copied > 0);
    assert_int_equal(read_all(w), 1);
    unlock_shared();
    restic_checks(w);
    r = prune(w);
    assert_int_equal(r.packs_repacked, 0);
    assert_true(r.duplicate.blobs > 0);
    assert_true(r.packs_removed > 0);
    assert_int_equal(read_all(w), 1);
    restic_checks(w);
}

/* As any other prune does: the same index in other files. */
static void replace_the_index(struct world *w)
{
    struct repository *repo CLEANUP(repository_close_p) = open_at(w->backend, 0);
    struct store_id old = first_of(w, BACKEND_INDEX), id;
    struct buf text CLEANUP(buf_free) = {0};
    struct err err;
    must(repository_load_file(repo, BACKEND_INDEX, &old, &text, &err), &err);
    must(repository_save_file(repo, BACKEND_INDEX, buf_view(&text), &id, &err), &err);
    must(backend_remove(w->backend, &(struct backend_file){BACKEND_INDEX, old}, &err), &err);
}

static void another_prune_of_the_meantime_ends_this_one(void **state)
{
    struct world *w = *state;
    struct prune_result r;
    struct err err;
    struct store_id gone = backup_range(w, 0, 50);
    backup_range(w, 60, 80);
    forget(w, &gone, 1);
    size_t packs = files_of(w, BACKEND_DATA);
    assert_int_equal(prune_while(w, PRUNE_WALK, 1, replace_the_index, &r, &err), -1);
    assert_int_equal(err.kind, ERR_CONFLICT);
    assert_int_equal(files_of(w, BACKEND_DATA), packs);
    prune(w);
    assert_int_equal(read_all(w), 1);
}

/* As restic repair index: the files of packs become an index again. */
static void index_what_goes(struct world *w)
{
    struct repository *repo CLEANUP(repository_close_p) = open_at(w->backend, 0);
    struct store_ids ids = {0};
    struct buf text CLEANUP(buf_free) = {0};
    struct err err;
    must(backend_list_ids(w->backend, BACKEND_DATA, true, SIZE_MAX, &ids, &err), &err);
    index_text_begin(&text);
    for (size_t i = 0; i < ids.n; i++) {
        struct buf file CLEANUP(buf_free) = {0};
        struct pack pack = {.id = ids.p[i]};
        must(backend_load_all(w->backend, &(struct backend_file){BACKEND_DATA, ids.p[i]}, SIZE_MAX,
                              &file, &err),
             &err);
        must(pack_read_header(&repo->key, buf_view(&file), &pack.blobs, &err), &err);
        index_text_pack(&text, &pack);
        vec_free(&pack.blobs);
    }
    index_text_end(&text);
    struct store_id id;
    must(repository_save_file(repo, BACKEND_INDEX, buf_view(&text), &id, &err), &err);
    vec_free(&ids);
}

/* The last word of the exclusive phase is the first of PRUNE_LOCKED: too early. So the index is
 * made after the old one was removed, at the list of locks before packs are deleted. */
static int list_and_repair(struct backend *b, enum backend_type type, backend_list_fn *fn,
                           void *ctx, struct err *err)
{
    struct fault_backend *f = fault_of(b);
    if (type == BACKEND_LOCK && f->hit && f->calls >= 0) {
        struct world w = {.backend = f->inner};
        f->hit = false;
        index_what_goes(&w);
    }
    return backend_list(f->inner, type, fn, ctx, err);
}

static int remove_and_note(struct backend *b, const struct backend_file *file, struct err *err)
{
    if (file->type == BACKEND_INDEX)
        fault_of(b)->hit = true;
    return fault_remove(b, file, err);
}

static void what_is_indexed_again_before_it_is_deleted_stays(void **state)
{
    struct world *w = *state;
    struct store_id gone = backup_range(w, 0, 50);
    backup_range(w, 60, 80);
    forget(w, &gone, 1);
    struct backend_ops ops = fault_ops;
    ops.list = list_and_repair;
    ops.remove = remove_and_note;
    w->fault.base.ops = &ops;
    size_t packs = files_of(w, BACKEND_DATA);
    struct prune_options o = options();
    struct prune_result r;
    struct err err;
    must(prune_with(w, &o, &r, &err), &err);
    assert_false(w->fault.hit);
    assert_int_equal(files_of(w, BACKEND_DATA), packs);
    w->fault.base.ops = &fault_ops;
    restic_checks(w);
    prune(w);
    assert_true(files_of(w, BACKEND_DATA) < packs);
    assert_int_equal(read_all(w), 1);
    restic_checks(w);
}

/* A backup that ends after the snapshots were listed: its packs are known, or it is not seen. */
static void a_backup_that_ends_while_it_begins_is_seen_or_not(void **state)
{
    struct world *w = *state;
    struct prune_result r;
    struct err err;
    leave_parts(w);
    must(prune_while(w, PRUNE_WALK, 0, use_what_was_unused, &r, &err), &err);
    assert_int_equal(read_all(w), 2);
    restic_checks(w);
}

static void expect_locked(struct world *w, bool shared_too)
{
    struct repository *repo CLEANUP(repository_close_p) = open_at(w->backend, 0);
    struct lock_options other = {.hostname = "else", .settle_ms = 1, .exclusive = true};
    struct lock *lock;
    struct err err;
    assert_int_equal(lock_acquire(repo, &other, &lock, &err), -1);
    assert_int_equal(err.kind, ERR_BUSY);
    other.exclusive = false;
    if (shared_too) {
        assert_int_equal(lock_acquire(repo, &other, &lock, &err), -1);
        assert_int_equal(err.kind, ERR_BUSY);
    } else {
        must(lock_acquire(repo, &other, &lock, &err), &err);
        must(lock_release(lock, &err), &err);
    }
}

static void expect_shared(struct world *w)
{
    expect_locked(w, false);
}

static void expect_exclusive(struct world *w)
{
    expect_locked(w, true);
}

static void backups_go_on_but_for_the_exclusive_phase(void **state)
{
    struct world *w = *state;
    static const struct {
        enum prune_phase phase;
        uint64_t done;
        void (*act)(struct world *w);
    } at[] = {{PRUNE_WALK, 0, expect_shared},
              {PRUNE_WALK, 1, expect_shared},
              {PRUNE_COPY, 1, expect_shared},
              {PRUNE_LOCKED, 0, expect_exclusive},
              {PRUNE_LOCKED, 1, expect_shared}};
    for (size_t i = 0; i < ARRAY_LEN(at); i++) {
        struct prune_result r;
        struct err err;
        unsigned n = 100 * (unsigned)i;
        struct store_id gone = backup_range(w, n, n + 50);
        backup(w->backend, 200000, (unsigned[]){n + 1, n + 8, n + 15, n + 22, n + 29, n + 36}, 6);
        forget(w, &gone, 1);
        must(prune_while(w, at[i].phase, at[i].done, at[i].act, &r, &err), &err);
        assert_int_equal(read_all(w), i + 1);
    }
}

/* A lock that somebody took from us, although we live. */
static void a_lost_lock_ends_it(void **state)
{
    struct world *w = *state;
    leave_parts(w);
    for (enum prune_phase phase = PRUNE_COPY; phase <= PRUNE_LOCKED; phase++) {
        struct prune_result r;
        struct err err;
        size_t index = files_of(w, BACKEND_INDEX);
        assert_int_equal(prune_while(w, phase, 0, unlock, &r, &err), -1);
        assert_int_equal(err.kind, ERR_GONE);
        assert_int_equal(files_of(w, BACKEND_INDEX), index + (phase == PRUNE_LOCKED));
        assert_int_equal(read_all(w), 1);
        restic_checks(w);
    }
}

/* ---- a store that refuses, fails, or lies ---- */

static int refuse_data(struct backend *b, const struct backend_file *file, struct err *err)
{
    if (file->type == BACKEND_DATA)
        return err_set(err, ERR_FORBIDDEN, "object lock");
    return fault_remove(b, file, err);
}

static void packs_that_may_not_be_deleted_are_left_to_the_next_run(void **state)
{
    struct world *w = *state;
    struct store_id gone = backup_range(w, 0, 50);
    backup_range(w, 60, 80);
    forget(w, &gone, 1);
    struct backend_ops ops = fault_ops;
    ops.remove = refuse_data;
    w->fault.base.ops = &ops;
    size_t packs = files_of(w, BACKEND_DATA);
    struct prune_result r = prune(w);
    assert_true(r.packs_removed > 0);
    assert_int_equal(r.packs_refused, r.packs_removed);
    assert_int_equal(r.refusal.kind, ERR_FORBIDDEN);
    assert_int_equal(files_of(w, BACKEND_DATA), packs);
    assert_int_equal(read_all(w), 1);
    restic_checks(w);
    w->fault.base.ops = &fault_ops;
    struct prune_result next = prune(w);
    assert_int_equal(next.packs_unindexed, r.packs_removed);
    assert_int_equal(files_of(w, BACKEND_DATA), packs - r.packs_removed);
}

static int refuse_index(struct backend *b, const struct backend_file *file, struct err *err)
{
    if (file->type == BACKEND_INDEX)
        return err_set(err, ERR_FORBIDDEN, "object lock");
    return fault_remove(b, file, err);
}

static void an_index_file_that_stays_keeps_its_packs(void **state)
{
    struct world *w = *state;
    leave_parts(w);
    struct backend_ops ops = fault_ops;
    ops.remove = refuse_index;
    w->fault.base.ops = &ops;
    struct prune_options o = options();
    struct prune_result r;
    struct err err;
    size_t packs = files_of(w, BACKEND_DATA);
    assert_int_equal(prune_with(w, &o, &r, &err), -1);
    assert_int_equal(err.kind, ERR_FORBIDDEN);
    assert_true(files_of(w, BACKEND_DATA) >= packs);
    assert_int_equal(files_of(w, BACKEND_LOCK), 0);
    restic_checks(w);
    w->fault.base.ops = &fault_ops;
    prune(w);
    assert_int_equal(read_all(w), 1);
    restic_checks(w);
    char *out CLEANUP(free_p) = RESTIC(w, "check");
    assert_null(strstr(out, "several indexes"));
}

/* The nth list of a type gives nothing. */
static struct {
    enum backend_type type;
    int at, calls;
} blind;

static int list_blindly(struct backend *b, enum backend_type type, backend_list_fn *fn, void *ctx,
                        struct err *err)
{
    if (type == blind.type && ++blind.calls == blind.at)
        return 0;
    return fault_list(b, type, fn, ctx, err);
}

static void a_list_that_gives_nothing_loses_nothing(void **state)
{
    struct world *w = *state;
    leave_parts(w);
    struct backend_ops ops = fault_ops;
    ops.list = list_blindly;
    w->fault.base.ops = &ops;
    static const enum backend_type types[] = {BACKEND_SNAPSHOT, BACKEND_INDEX, BACKEND_DATA};
    int tried = 0;
    for (size_t t = 0; t < ARRAY_LEN(types); t++)
        for (int at = 1;; at++) {
            struct prune_options o = options();
            struct prune_result r;
            struct err err = {0};
            blind.type = types[t], blind.at = at, blind.calls = 0;
            int done = prune_with(w, &o, &r, &err);
            assert_int_equal(read_all(w), 1);
            if (blind.calls < at)
                break;
            tried++;
            if (done < 0 && err.kind != ERR_CORRUPT && err.kind != ERR_CONFLICT)
                fail_msg("%s", err.msg);
            struct store_id more =
                backup_range(w, 100 + (unsigned)tried * 20, 145 + (unsigned)tried * 20);
            forget(w, &more, 1);
        }
    assert_true(tried >= 8);
    w->fault.base.ops = &fault_ops;
    prune(w);
    assert_int_equal(read_all(w), 1);
    restic_checks(w);
}

static int list_no_snapshots(struct backend *b, enum backend_type type, backend_list_fn *fn,
                             void *ctx, struct err *err)
{
    return type == BACKEND_SNAPSHOT ? 0 : fault_list(b, type, fn, ctx, err);
}

/* The cluster's Backups name snapshots that the store does not list, however often it is asked. One
 * that is not there either way is passed over. */
static void a_snapshot_that_is_known_need_not_be_listed(void **state)
{
    struct world *w = *state;
    struct prune_options o = options();
    struct prune_result r;
    struct err err;
    leave_parts(w);
    const struct store_id known[] = {first_of(w, BACKEND_SNAPSHOT), {.b = {1}}};
    struct backend_ops ops = fault_ops;
    ops.list = list_no_snapshots;
    w->fault.base.ops = &ops;
    o.known = known;
    o.known_n = ARRAY_LEN(known);
    must(prune_with(w, &o, &r, &err), &err);
    w->fault.base.ops = &fault_ops;
    assert_int_equal(r.snapshots, 1);
    assert_true(r.packs_removed > 0);
    assert_int_equal(read_all(w), 1);
    restic_checks(w);
}

static void use_more_and_blind(struct world *w)
{
    use_what_was_unused(w);
    blind.type = BACKEND_SNAPSHOT, blind.at = 1, blind.calls = 0;
}

static void a_blind_second_list_does_not_hide_a_backup(void **state)
{
    struct world *w = *state;
    struct prune_result r;
    struct err err;
    leave_parts(w);
    struct backend_ops ops = fault_ops;
    ops.list = list_blindly;
    blind.at = 0;
    w->fault.base.ops = &ops;
    must(prune_while(w, PRUNE_WALK, 1, use_more_and_blind, &r, &err), &err);
    assert_true(blind.calls >= 2);
    assert_true(r.spared > 0);
    w->fault.base.ops = &fault_ops;
    assert_int_equal(read_all(w), 2);
    restic_checks(w);
}

/* The nth save of a type is acknowledged, and lost. */
static int lose_save(struct backend *b, const struct backend_file *f, const void *p, size_t n,
                     struct err *err)
{
    if (f->type == blind.type && ++blind.calls == blind.at)
        return 0;
    return fault_save(b, f, p, n, err);
}

static void what_the_store_loses_is_noticed_in_time(void **state)
{
    struct world *w = *state;
    leave_parts(w);
    struct backend_ops ops = fault_ops;
    ops.save = lose_save;
    static const enum backend_type types[] = {BACKEND_DATA, BACKEND_INDEX};
    for (size_t t = 0; t < ARRAY_LEN(types); t++)
        for (int at = 1;; at++) {
            struct prune_options o = options();
            struct prune_result r;
            struct err err;
            w->fault.base.ops = &ops;
            blind.type = types[t], blind.at = at, blind.calls = 0;
            int done = prune_with(w, &o, &r, &err);
            w->fault.base.ops = &fault_ops;
            assert_int_equal(read_all(w), 1);
            if (blind.calls < at)
                break;
            assert_int_equal(done, -1);
            struct store_id more = backup_range(w, 0, 50);
            forget(w, &more, 1);
        }
    prune(w);
    assert_int_equal(read_all(w), 1);
    restic_checks(w);
}

static void a_lost_new_index_is_noticed_before_the_old_one_goes(void **state)
{
    struct world *w = *state;
    for (unsigned i = 0; i < 12; i++)
        backup(w->backend, 200000, (unsigned[]){i * 3 + 1}, 1);
    struct backend_ops ops = fault_ops;
    ops.save = lose_save;
    w->fault.base.ops = &ops;
    blind.type = BACKEND_INDEX, blind.at = 2, blind.calls = 0; /* the first is of copies */
    struct prune_options o = options();
    struct prune_result r;
    struct err err;
    assert_int_equal(prune_with(w, &o, &r, &err), -1);
    assert_non_null(strstr(err.msg, "does not list an index file"));
    w->fault.base.ops = &fault_ops;
    assert_int_equal(blind.calls, 2);
    assert_int_equal(read_all(w), 12);
    prune(w);
    assert_int_equal(files_of(w, BACKEND_INDEX), 1);
    assert_int_equal(read_all(w), 12);
}

static void what_two_index_files_say_is_said_once(void **state)
{
    struct world *w = *state;
    backup_range(w, 0, 20);
    index_what_goes(w);
    char *before CLEANUP(free_p) = RESTIC(w, "check");
    assert_non_null(strstr(before, "several indexes"));
    prune(w);
    char *after CLEANUP(free_p) = RESTIC(w, "check");
    assert_null(strstr(after, "several indexes"));
    assert_int_equal(files_of(w, BACKEND_INDEX), 1);
    assert_int_equal(read_all(w), 1);
}

static void damage(struct world *w, const struct store_id *pack)
{
    char *path CLEANUP(free_p) = path_of(w, BACKEND_DATA, pack);
    assert_int_equal(chmod(path, 0600), 0);
    FILE *f = fopen(path, "r+");
    assert_non_null(f);
    assert_int_equal(fseek(f, 100, SEEK_SET), 0);
    assert_int_equal(fputc('x', f), 'x');
    assert_int_equal(fclose(f), 0);
}

static void an_unreadable_tree_keeps_everything(void **state)
{
    struct world *w = *state;
    struct store_ids packs = {0};
    struct err err;
    leave_parts(w);
    must(backend_list_ids(w->backend, BACKEND_DATA, true, SIZE_MAX, &packs, &err), &err);
    for (size_t i = 0; i < packs.n; i++)
        damage(w, &packs.p[i]);
    vec_free(&packs);
    prune_fails(w, ERR_CORRUPT, "nothing is removed, run check");
}

static void a_damaged_copy_is_made_good_by_another(void **state)
{
    struct world *w = *state;
    unsigned numbers[] = {1, 2, 3, 4, 5, 6, 7, 8};
    struct store_id big = save_pack(w, numbers, 8, true, true); /* mixed: is copied */
    save_pack(w, numbers, 4, true, true);
    backup(w->backend, 0, numbers, 4);
    damage(w, &big);
    prune(w);
    assert_int_equal(read_all(w), 1);
    restic_checks(w);
}

static void a_copy_does_not_go_for_the_sake_of_a_damaged_one(void **state)
{
    struct world *w = *state;
    unsigned numbers[] = {1, 2, 3, 4, 5, 6, 7, 8};
    struct store_id big = save_pack(w, numbers, 8, false, true);
    save_pack(w, numbers, 4, false, true);
    backup(w->backend, 0, numbers, 8);
    damage(w, &big);
    struct prune_result r = prune(w);
    assert_int_equal(r.packs_removed, 1);
    assert_int_equal(read_all(w), 1);
}

static void killed_anywhere_it_leaves_all_and_goes_on(void **state)
{
    struct world *w = *state;
    int points = 0;
    backup(w->backend, 200000, (unsigned[]){1, 26, 31, 36, 41, 46}, 6);
    for (int at = 1;; at++) {
        struct store_id gone = backup_range(w, 25, 70 + (unsigned)at % 7);
        forget(w, &gone, 1);
        struct prune_options o = options();
        struct prune_result r;
        struct err err = {0};
        struct repository *repo = open_at(&w->fault.base, 200000);
        w->fault.calls = 0;
        w->fault.hit = false;
        w->fault.at = at;
        w->fault.dead_after = true;
        w->fault.fault = at % 2 ? FAULT_BEFORE : FAULT_AFTER;
        int done = prune_run(repo, &o, &r, &err);
        assert_true(done == 0 || err.kind != ERR_NONE);
        repository_close(repo);
        w->fault.at = 0;
        assert_int_equal(read_all(w), 1);
        unlock(w);
        if (at % 16 == 0)
            restic_checks(w);
        if (!w->fault.hit)
            break;
        points++;
        if (at % 3 == 0)
            continue; /* the next one meets what two dead ones left */
        prune(w);
        assert_int_equal(read_all(w), 1);
    }
    print_message("%d points\n", points);
    assert_true(points > 30);
    struct prune_result last = prune(w);
    assert_int_equal(last.packs_refused, 0);
    assert_int_equal(prune(w).unused.blobs, 0);
    restic_checks(w);
    char *out CLEANUP(free_p) = RESTIC(w, "check");
    assert_null(strstr(out, "not referenced"));
    assert_null(strstr(out, "several indexes"));
}

static int give_up(void *ctx, enum prune_phase phase, uint64_t done, uint64_t total,
                   struct err *err)
{
    (void)done, (void)total;
    return phase == *(enum prune_phase *)ctx ? err_set(err, ERR_CANCELLED, "enough") : 0;
}

static void it_can_be_ended_in_every_phase(void **state)
{
    struct world *w = *state;
    leave_parts(w);
    for (enum prune_phase phase = PRUNE_WALK; phase <= PRUNE_LOCKED; phase++) {
        struct prune_options o = options();
        struct prune_result r;
        struct err err;
        o.progress = give_up;
        o.ctx = &phase;
        assert_int_equal(prune_with(w, &o, &r, &err), -1);
        assert_int_equal(err.kind, ERR_CANCELLED);
        assert_int_equal(files_of(w, BACKEND_LOCK), 0);
        assert_int_equal(read_all(w), 1);
        restic_checks(w);
    }
    prune(w);
    assert_int_equal(read_all(w), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(unindexed_packs_go_if_nobody_else_was_there),
        CASE(a_backup_of_the_meantime_spares_what_it_uses),
        CASE(a_backup_while_packs_are_deleted_stores_anew),
        CASE(a_running_backup_makes_it_wait_and_the_copies_serve),
        CASE(another_prune_of_the_meantime_ends_this_one),
        CASE(what_is_indexed_again_before_it_is_deleted_stays),
        CASE(a_backup_that_ends_while_it_begins_is_seen_or_not),
        CASE(backups_go_on_but_for_the_exclusive_phase),
        CASE(a_lost_lock_ends_it),
        CASE(packs_that_may_not_be_deleted_are_left_to_the_next_run),
        CASE(an_index_file_that_stays_keeps_its_packs),
        CASE(a_list_that_gives_nothing_loses_nothing),
        CASE(a_snapshot_that_is_known_need_not_be_listed),
        CASE(a_blind_second_list_does_not_hide_a_backup),
        CASE(what_the_store_loses_is_noticed_in_time),
        CASE(a_lost_new_index_is_noticed_before_the_old_one_goes),
        CASE(what_two_index_files_say_is_said_once),
        CASE(an_unreadable_tree_keeps_everything),
        CASE(a_damaged_copy_is_made_good_by_another),
        CASE(a_copy_does_not_go_for_the_sake_of_a_damaged_one),
        CASE(killed_anywhere_it_leaves_all_and_goes_on),
        CASE(it_can_be_ended_in_every_phase),
    };
    return RUN(tests);
}
