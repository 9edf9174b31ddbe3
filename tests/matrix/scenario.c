/* What is killed: making a repository, and a backup. */
#include "judge.h"

#include "store_support.h"

#include "store/lock.h"
#include "store/synthetic.h"
#include "store/verify.h"

static struct store_id before; /* the snapshot that was complete before anything happened */

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

static int add_files(struct synthetic *s, const char *tag, struct err *err)
{
    for (int i = 0; i < 6; i++) {
        char path[64];
        uint8_t text[2000];
        snprintf(path, sizeof path, "/data/%d", i);
        fill_splitmix((uint64_t)(unsigned char)tag[0] * 1000 + (uint64_t)i, text, sizeof text);
        if (synthetic_add(s, path, text, sizeof text, 1, err) < 0)
            return -1;
    }
    return 0;
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
    struct lock_options o = new_writer();
    if (lock_sweep(repo, &o, err) < 0 || lock_acquire(repo, &o, &lock, err) < 0)
        return -1;
    int r = repository_load_index(repo, err);
    struct synthetic *s CLEANUP(synthetic_free_p) = synthetic_new(repo, 1);
    r = r < 0 ? r : add_files(s, tag, err);
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

static void next_backup(struct world *w, struct store_id *ret_id)
{
    struct backend *b CLEANUP(backend_close_p) = world_backend(w);
    struct err err;
    if (write_backup(b, "after", ret_id, &err) < 0)
        fail("the next backup: %s", err.msg);
}

static int init(struct backend *b, struct err *err)
{
    struct repository_key keys[] = {cheap_key("first"), cheap_key("second")};
    return repository_init(b, keys, 2, NULL, err);
}

/* ---- init ---- */

static void init_run(struct backend *b, struct outcome *o)
{
    o->r = init(b, &o->err);
}

/* The second init finishes the first, or finds it finished. */
static void init_judge(struct world *w, const struct outcome *o)
{
    struct backend *b CLEANUP(backend_close_p) = world_backend(w);
    struct store_id after;
    struct err err;
    int r = init(b, &err);
    if (r < 0 && err.kind != ERR_EXISTS)
        fail("the second init: %s", err.msg);
    if (r == 0 && o && o->r == 0)
        fail("two inits believe that the repository is theirs");
    next_backup(w, &after);
    judge_snapshots(w, (const struct store_id *const[]){&after}, 1);
}

/* ---- backup ---- */

static void backup_prepare(struct world *w)
{
    struct backend *b CLEANUP(backend_close_p) = world_backend(w);
    struct err err;
    if (init(b, &err) < 0 || write_backup(b, "before", &before, &err) < 0)
        fail("%s", err.msg);
}

static void backup_run(struct backend *b, struct outcome *o)
{
    o->r = write_backup(b, "during", &o->snapshot, &o->err);
    o->has_snapshot = o->r == 0;
}

static void backup_judge(struct world *w, const struct outcome *o)
{
    const struct store_id *must[] = {&before, o ? &o->snapshot : NULL};
    struct store_id after;
    size_t n = judge_snapshots(w, must, o && o->has_snapshot ? 2 : 1);
    if (n > 2)
        fail("%zu snapshots", n);
    next_backup(w, &after);
    judge_snapshots(w, (const struct store_id *const[]){&before, &after}, 2);
}

const struct scenario scenarios[] = {
    {"init", NULL, init_run, init_judge},
    {"backup", backup_prepare, backup_run, backup_judge},
};
const size_t scenarios_n = ARRAY_LEN(scenarios);
