#include "store/prune_impl.h"

#include "store/limits.h"

#include <stdlib.h>

/* ---- locks ---- */

int prune_take_lock(struct prune *p, bool exclusive, struct err *err)
{
    struct lock_options options = p->options->lock;
    options.exclusive = exclusive;
    return lock_acquire(p->repo, &options, &p->lock, err);
}

int prune_drop_lock(struct prune *p, struct err *err)
{
    return lock_release(TAKE(p->lock), err);
}

static int confirm(void *ctx, struct err *err)
{
    const struct prune *p = ctx;
    return p->lock ? lock_confirm(p->lock, err)
                   : err_set(err, ERR_INTERNAL, "an index file is written without a lock");
}

int prune_tick(struct prune *p, enum prune_phase phase, uint64_t done, uint64_t total,
               struct err *err)
{
    const struct prune_options *o = p->options;
    if (p->lock && lock_refresh_due(p->lock) && lock_refresh(p->lock, err) < 0)
        return -1;
    return o->progress ? o->progress(o->ctx, phase, done, total, err) : 0;
}

/* ---- phase one ---- */

/* Whoever else has a lock may have packs under way that no index names yet. */
static int look_around(struct prune *p, struct err *err)
{
    struct store_ids ids = {0};
    backend_look_again(p->repo->backend, BACKEND_LOCK);
    int r = backend_list_ids(p->repo->backend, BACKEND_LOCK, false, STORE_LOCKS_MAX, &ids, err);
    p->alone = r == 0 && ids.n == (p->lock != NULL);
    vec_free(&ids);
    return r;
}

struct seen {
    struct prune *prune;
    struct bits packs;
};

static int see_pack(void *ctx, const struct store_id *id, uint64_t size, struct err *err)
{
    struct seen *seen = ctx;
    struct repository *repo = seen->prune->repo;
    uint32_t number;
    (void)err;
    pthread_mutex_lock(&repo->lock);
    if (index_find_pack(repo->index, id, &number) && index_pack(repo->index, number)->size == size)
        bits_add(&seen->packs, number);
    pthread_mutex_unlock(&repo->lock);
    return 0;
}

/* That the store lists what it said to have stored, before anything is removed for it. */
static int check_new_packs(struct prune *p, struct err *err)
{
    struct seen seen = {.prune = p};
    int r = backend_list(p->repo->backend, BACKEND_DATA, see_pack, &seen, err);
    for (uint32_t n = p->packs_n; r == 0 && n < index_packs(p->repo->index); n++)
        if (!bits_has(&seen.packs, n))
            r = err_set(
                err, ERR_CORRUPT,
                "the store does not list a pack that it has stored a moment ago: nothing is "
                "removed");
    bits_free(&seen.packs);
    return r;
}

static int phase_one(struct prune *p, struct err *err)
{
    if (!p->repo->options.read_only && prune_take_lock(p, false, err) < 0)
        return -1;
    if (look_around(p, err) < 0 || prune_walk(p, false, err) < 0 || prune_plan(p, err) < 0)
        return -1;
    if (p->options->dry_run)
        return 0;
    if (prune_copy(p, err) < 0 || prune_load_index(p, err) < 0)
        return -1;
    if (index_packs(p->repo->index) > p->packs_n && check_new_packs(p, err) < 0)
        return -1;
    return prune_check_plan(p, err);
}

/* ---- all of it ---- */

struct hooks {
    int (*before_index)(void *ctx, struct err *err);
    void *ctx;
};

static void prune_end(struct prune *p)
{
    (void)lock_release(p->lock, NULL);
    map_free(p->snapshots);
    map_free(p->file_ids);
    free(p->copies);
    free(p->packs);
    vec_free(&p->unindexed);
    vec_free(&p->unindexed_sizes);
    vec_free(&p->files);
    vec_free(&p->file_packs);
}

static int run(struct prune *p, struct err *err)
{
    if (phase_one(p, err) < 0 || prune_drop_lock(p, err) < 0)
        return -1;
    if (p->options->dry_run || !prune_has_work(p))
        return 0;
    return prune_remove(p, err);
}

static int check_options(struct repository *repo, const struct prune_options *o, struct err *err)
{
    if (o->max_unused >= 1000 || o->max_unused < PRUNE_UNUSED_ANY)
        return err_set(err, ERR_INVALID, "%d thousandths of unused bytes: less than 1000",
                       o->max_unused);
    if (!o->dry_run && repository_check_removable(repo, err) < 0)
        return -1;
    return repo->options.read_only ? 0 : repository_flush(repo, err);
}

int prune_run(struct repository *repo, const struct prune_options *options,
              struct prune_result *ret_result, struct err *err)
{
    struct prune p CLEANUP(prune_end) = {.repo = repo, .options = options};
    if (check_options(repo, options, err) < 0)
        return -1;
    p.snapshots = map_new(NULL);
    p.file_ids = map_new(NULL);
    struct hooks before = {repo->options.before_index, repo->options.ctx};
    repo->options.before_index = confirm;
    repo->options.ctx = &p;
    repository_drop_index(repo);
    int r = run(&p, err);
    repository_drop_index(repo);
    repo->options.before_index = before.before_index;
    repo->options.ctx = before.ctx;
    if (r == 0)
        *ret_result = p.result;
    return r;
}
