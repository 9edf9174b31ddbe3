/* Phase two. Under the exclusive lock, which keeps every backup out: what is used now, and an index
 * that no longer names what goes. The files of packs are deleted after it, under a shared lock: no
 * process that starts now can learn of them, and a shared lock is enough to keep out who would make
 * an index from the files (restic repair index). */
#include "store/prune_impl.h"

#include "core/clock.h"

enum {
    REFUSALS = 20, /* in a row: then the rest is left to the next run */
    CONFIRM = 16   /* packs that are removed before our lock is looked at again */
};

/* ---- the index ---- */

/* A pack that was in no index and is in one now belongs to somebody. */
static void drop_indexed(struct prune *p)
{
    size_t kept = 0;
    uint32_t number;
    pthread_mutex_lock(&p->repo->lock);
    for (size_t i = 0; i < p->unindexed.n; i++) {
        if (index_find_pack(p->repo->index, &p->unindexed.p[i], &number))
            continue;
        p->unindexed.p[kept] = p->unindexed.p[i];
        p->unindexed_sizes.p[kept++] = p->unindexed_sizes.p[i];
    }
    pthread_mutex_unlock(&p->repo->lock);
    p->unindexed.n = p->unindexed_sizes.n = p->alone ? kept : 0;
}

static int check_listed(struct prune *p, const struct store_ids *written, struct err *err)
{
    struct store_ids listed = {0};
    backend_look_again(p->repo->backend, BACKEND_INDEX);
    int r = backend_list_ids(p->repo->backend, BACKEND_INDEX, true, SIZE_MAX, &listed, err);
    for (size_t i = 0; r == 0 && i < written->n; i++) {
        bool found = false;
        for (size_t k = 0; k < listed.n && !found; k++)
            found = store_id_equal(&listed.p[k], &written->p[i]);
        if (!found)
            r = err_set(err, ERR_CORRUPT,
                        "the store does not list an index file that it has stored a moment ago: "
                        "nothing is removed");
    }
    vec_free(&listed);
    return r;
}

static int remove_files(struct prune *p, struct err *err)
{
    for (size_t i = 0; i < p->files.n; i++) {
        struct prune_file *f = &p->files.p[i];
        if (!f->goes)
            continue;
        if (lock_confirm(p->lock, err) < 0 ||
            backend_remove(p->repo->backend, &(struct backend_file){BACKEND_INDEX, f->id}, err) < 0)
            return -1;
        f->gone = true;
    }
    return 0;
}

/* Until the last old file is gone the old index is true too: whoever reads both finds all. */
static int replace_index(struct prune *p, struct err *err)
{
    struct bits packs = {0};
    struct store_ids written = {0};
    prune_choose_files(p, &packs);
    int r = prune_write_index(p, &packs, &written, err);
    if (r == 0)
        r = check_listed(p, &written, err);
    for (size_t i = 0; r == 0 && i < written.n; i++)
        prune_know_file(p, &(struct prune_file){.id = written.p[i]});
    if (r == 0)
        r = remove_files(p, err);
    vec_free(&written);
    bits_free(&packs);
    return r;
}

static int under_exclusive_lock(struct prune *p, struct err *err)
{
    if (prune_walk(p, true, err) < 0 || prune_check_plan(p, err) < 0 ||
        prune_tick(p, PRUNE_LOCKED, 0, 0, err) < 0)
        return -1;
    drop_indexed(p);
    prune_count(p);
    return prune_has_work(p) ? replace_index(p, err) : 0;
}

/* ---- the packs ---- */

struct removal {
    struct prune *prune;
    uint64_t done, total;
    unsigned refused_in_a_row;
    bool given_up;
};

static void refuse(struct prune *p, uint64_t packs, const struct err *why)
{
    if (packs && p->result.packs_refused == 0)
        p->result.refusal = *why;
    p->result.packs_refused += packs;
}

/* < 0 only if the run is to end. */
static int remove_pack(struct removal *r, const struct store_id *id, struct err *err)
{
    struct prune *p = r->prune;
    struct err why = {0};
    if (prune_tick(p, PRUNE_LOCKED, r->done, r->total, err) < 0)
        return -1;
    if (r->done++ % CONFIRM == 0 && lock_confirm(p->lock, err) < 0)
        return -1;
    if (r->given_up) {
        refuse(p, 1, &why);
        return 0;
    }
    if (backend_remove(p->repo->backend, &(struct backend_file){BACKEND_DATA, *id}, &why) == 0) {
        r->refused_in_a_row = 0;
        return 0;
    }
    refuse(p, 1, &why);
    r->given_up = ++r->refused_in_a_row >= REFUSALS || err_is_transient(&why);
    return 0;
}

static int remove_packs(struct prune *p, struct err *err)
{
    struct removal r = {.prune = p, .total = p->unindexed.n};
    for (uint32_t n = 0; n < p->packs_n; n++)
        r.total += !prune_stays(p, n);
    for (size_t i = 0; i < p->unindexed.n; i++)
        if (remove_pack(&r, &p->unindexed.p[i], err) < 0)
            return -1;
    for (uint32_t n = 0; n < p->packs_n; n++)
        if (!prune_stays(p, n) && remove_pack(&r, &index_pack(p->repo->index, n)->id, err) < 0)
            return -1;
    return prune_tick(p, PRUNE_LOCKED, r.done, r.total, err);
}

/* Nothing depends on it any more: what cannot be done now is done by the next run. */
static int delete_packs(struct prune *p, struct err *err)
{
    struct err why = {0};
    uint64_t packs = p->result.packs_removed + p->result.packs_repacked + p->result.packs_unindexed;
    if (packs == 0)
        return 0;
    p->deleting = true;
    if (prune_take_lock(p, false, &why) < 0 || prune_load_index(p, &why) < 0) {
        refuse(p, packs, &why);
        return 0;
    }
    drop_indexed(p);
    if (remove_packs(p, err) < 0)
        return -1;
    return prune_drop_lock(p, err);
}

int prune_remove(struct prune *p, struct err *err)
{
    if (prune_take_lock(p, true, err) < 0)
        return -1;
    int64_t began = clock_mono_ms();
    if (under_exclusive_lock(p, err) < 0 || prune_drop_lock(p, err) < 0)
        return -1;
    p->result.exclusive_ms = (uint64_t)(clock_mono_ms() - began);
    return delete_packs(p, err);
}
