/* What is killed: making a repository, a backup, forgetting, a prune. */
#include "judge.h"
#include "writers.h"

#include "store_support.h"

static struct store_id before;  /* the snapshot that was complete before anything happened */
static struct store_id gone[2]; /* those that are to go */
static uint64_t data_left;      /* bytes of packs after a prune without faults */

static enum lock_holder all_dead(void *ctx, str namespace, str pod, str uid)
{
    (void)ctx, (void)namespace, (void)pod, (void)uid;
    return LOCK_HOLDER_TERMINATED;
}

/* Each writer is a new pod, which knows that the earlier ones have ended. */
static struct lock_options new_writer(void)
{
    static char identity[64];
    static int pods;
    snprintf(identity, sizeof identity, "c/ns/pod/%d-%d", (int)getpid(), pods++);
    return (struct lock_options){
        .hostname = identity, .cluster = "c", .judge = all_dead, .settle_ms = 1};
}

static void backup_or_fail(struct backend *b, const char *tag, struct store_id *ret_id)
{
    struct lock_options lock = new_writer();
    struct err err;
    if (write_backup(b, &lock, tag, ret_id, &err) < 0)
        wrong("backup '%s': %s", tag, err.msg);
}

static void next_backup(struct world *w, struct store_id *ret_id)
{
    struct backend *b CLEANUP(backend_close_p) = world_backend(w);
    backup_or_fail(b, "after", ret_id);
}

/* ---- init ---- */

static void init_run(struct backend *b, struct outcome *o)
{
    o->r = make_repository(b, &o->err);
}

/* The second init finishes the first, or finds it finished. */
static void init_judge(struct world *w, const struct outcome *o)
{
    struct backend *b CLEANUP(backend_close_p) = world_backend(w);
    struct store_id after;
    struct err err;
    int r = make_repository(b, &err);
    if (r < 0 && err.kind != ERR_EXISTS)
        wrong("the second init: %s", err.msg);
    if (r == 0 && o && o->r == 0)
        wrong("two inits believe that the repository is theirs");
    next_backup(w, &after);
    judge_snapshots(w, (const struct store_id *const[]){&after}, 1);
}

/* ---- backup ---- */

static void backup_prepare(struct world *w)
{
    struct backend *b CLEANUP(backend_close_p) = world_backend(w);
    struct err err;
    if (make_repository(b, &err) < 0)
        wrong("%s", err.msg);
    backup_or_fail(b, "before", &before);
}

static void backup_run(struct backend *b, struct outcome *o)
{
    struct lock_options lock = new_writer();
    o->r = write_backup(b, &lock, "during", &o->snapshot, &o->err);
    o->has_snapshot = o->r == 0;
}

static void backup_judge(struct world *w, const struct outcome *o)
{
    const struct store_id *must[] = {&before, o ? &o->snapshot : NULL};
    struct store_id after;
    size_t n = judge_snapshots(w, must, o && o->has_snapshot ? 2 : 1);
    if (n > 2)
        wrong("%zu snapshots", n);
    next_backup(w, &after);
    judge_snapshots(w, (const struct store_id *const[]){&before, &after}, 2);
}

/* ---- forget ---- */

static void forget_prepare(struct world *w)
{
    struct backend *b CLEANUP(backend_close_p) = world_backend(w);
    struct err err;
    if (make_repository(b, &err) < 0)
        wrong("%s", err.msg);
    backup_or_fail(b, "1", &gone[0]);
    backup_or_fail(b, "before", &before);
    backup_or_fail(b, "2", &gone[1]);
}

static int forget(struct backend *b, struct err *err)
{
    struct lock_options lock = new_writer();
    return write_forget(b, &lock, gone, ARRAY_LEN(gone), err);
}

static void forget_run(struct backend *b, struct outcome *o)
{
    o->r = forget(b, &o->err);
}

static void forget_judge(struct world *w, const struct outcome *o)
{
    const struct store_id *must[] = {&before, NULL};
    struct backend *b CLEANUP(backend_close_p) = world_backend(w);
    struct store_id after;
    struct err err;
    size_t n = judge_snapshots(w, must, 1);
    if (n > (o && o->r == 0 ? 1 : 3))
        wrong("%zu snapshots", n);
    if (forget(b, &err) < 0)
        wrong("the next forget: %s", err.msg);
    next_backup(w, &after);
    must[1] = &after;
    if (judge_snapshots(w, must, 2) != 2)
        wrong("a forgotten snapshot is there");
}

/* ---- prune ---- */

static int prune(struct backend *b, bool dry, struct prune_result *ret, struct err *err)
{
    struct lock_options lock = new_writer();
    return write_prune(b, &lock, dry, ret, err);
}

static int add_size(void *ctx, const struct store_id *id, uint64_t size, struct err *err)
{
    (void)id, (void)err;
    *(uint64_t *)ctx += size;
    return 0;
}

static uint64_t data_bytes(struct backend *b)
{
    uint64_t sum = 0;
    struct err err;
    if (backend_list(b, BACKEND_DATA, add_size, &sum, &err) < 0)
        wrong("%s", err.msg);
    return sum;
}

/* Everything that a prune can meet: packs of which all, some or nothing is used, blobs that are
 * there twice, packs that no index names, and half of a pack. */
static void prune_prepare(struct world *w)
{
    struct backend *b CLEANUP(backend_close_p) = world_backend(w);
    struct prune_result result;
    struct err err;
    uint8_t lost[3000];
    forget_prepare(w);
    if (write_twice(b, &err) < 0)
        wrong("%s", err.msg);
    fill_splitmix(99, lost, sizeof lost);
    for (size_t i = 0; i < ARRAY_LEN(gone); i++)
        if (backend_save(b, BACKEND_DATA, lost, sizeof lost - i, NULL, &err) < 0 ||
            backend_remove(b, &(struct backend_file){BACKEND_SNAPSHOT, gone[i]}, &err) < 0)
            wrong("%s", err.msg);
    world_keep(w);
    if (prune(b, false, &result, &err) < 0)
        wrong("%s", err.msg);
    if (!result.packs_repacked || !result.packs_removed || result.packs_unindexed != 2 ||
        !result.duplicate.blobs || !result.unused.blobs)
        wrong("the prune had too little to do: packs repacked %llu, removed %llu, unindexed %llu, "
              "blobs duplicate %llu, unused %llu",
              (unsigned long long)result.packs_repacked, (unsigned long long)result.packs_removed,
              (unsigned long long)result.packs_unindexed,
              (unsigned long long)result.duplicate.blobs, (unsigned long long)result.unused.blobs);
    data_left = data_bytes(b);
    world_reset(w);
}

static void prune_scenario_run(struct backend *b, struct outcome *o)
{
    struct prune_result result;
    o->r = prune(b, false, &result, &o->err);
}

/* The next prune frees what one without faults frees, and leaves nothing for a third. */
static void prune_judge(struct world *w, const struct outcome *o)
{
    const struct store_id *must[] = {&before, NULL};
    struct backend *b CLEANUP(backend_close_p) = world_backend(w);
    struct prune_result result;
    struct store_id after;
    struct err err;
    (void)o;
    if (judge_snapshots(w, must, 1) != 1)
        wrong("there are other snapshots");
    if (prune(b, false, &result, &err) < 0)
        wrong("the next prune: %s", err.msg);
    uint64_t bytes = data_bytes(b);
    if (bytes > data_left + data_left / 10)
        wrong("%llu bytes are left, %llu without the fault", (unsigned long long)bytes,
              (unsigned long long)data_left);
    if (prune(b, true, &result, &err) < 0)
        wrong("a third prune: %s", err.msg);
    if (result.unused.blobs || result.duplicate.blobs || result.packs_unindexed ||
        result.packs_removed || result.packs_repacked)
        wrong("the next prune left %llu blobs unused, %llu duplicate, %llu packs unindexed",
              (unsigned long long)result.unused.blobs, (unsigned long long)result.duplicate.blobs,
              (unsigned long long)result.packs_unindexed);
    judge_snapshots(w, must, 1);
    next_backup(w, &after);
    must[1] = &after;
    judge_snapshots(w, must, 2);
}

const struct scenario scenarios[] = {
    {"init", NULL, init_run, init_judge},
    {"backup", backup_prepare, backup_run, backup_judge},
    {"forget", forget_prepare, forget_run, forget_judge},
    {"prune", prune_prepare, prune_scenario_run, prune_judge},
};
const size_t scenarios_n = ARRAY_LEN(scenarios);
