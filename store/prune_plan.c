/* Which packs go: restic's choice (its internal/repository/prune.go, decidePackAction), over the
 * index as it is, without a second table of blobs. */
#include "store/prune_impl.h"

#include <stdlib.h>

enum {
    SMALL_PART = 25, /* a pack is small below this part of the target size */
    SMALL_PACKS = 10 /* and worth the trouble from so many on */
};

/* One copy of a blob that is used and stored more than once. */
struct twin {
    uint32_t first; /* the blob, by the number of its first copy */
    uint32_t number;
};

struct twins {
    struct twin *p;
    size_t n, room;
};

/* ---- what lies there ---- */

static int see_pack(void *ctx, const struct store_id *id, uint64_t size, struct err *err)
{
    struct prune *p = ctx;
    uint32_t number;
    (void)err;
    p->result.packs_before++;
    pthread_mutex_lock(&p->repo->lock);
    bool known = index_find_pack(p->repo->index, id, &number) && number < p->packs_n;
    if (known) {
        p->packs[number].there = index_pack(p->repo->index, number)->size == size;
        p->packs[number].resized = !p->packs[number].there;
    }
    pthread_mutex_unlock(&p->repo->lock);
    if (!known) {
        *vec_add(&p->unindexed) = *id;
        *vec_add(&p->unindexed_sizes) = size;
    }
    return 0;
}

static void count(struct prune_pack *pack, bool used, uint32_t length)
{
    if (used) {
        pack->used += length;
        pack->used_n++;
    } else {
        pack->unused += length;
        pack->unused_n++;
    }
}

static void count_all(struct prune_count *c, uint32_t length)
{
    c->blobs++;
    c->bytes += length;
}

/* Tells every copy whether its blob is used and has others. */
static void mark_copies(struct prune *p)
{
    const struct index *ix = p->repo->index;
    enum blob_type type;
    struct store_id id;
    struct index_place place;
    uint32_t first;
    for (uint32_t n = 0; n < p->copies_n; n++)
        if (index_entry(ix, n, &type, &id, &place) && index_ordinal(ix, type, &id, &first) &&
            first != n) {
            p->copies[first] |= COPY_MANY;
            p->copies[n] = (uint8_t)(COPY_MANY | (p->copies[first] & COPY_USED));
        }
}

/* Counts what is dead, and what is used and stored once; collects the rest. */
static void sort_copies(struct prune *p, struct twins *twins)
{
    const struct index *ix = p->repo->index;
    enum blob_type type;
    struct store_id id;
    struct index_place place;
    for (uint32_t n = 0; n < p->copies_n; n++) {
        if (!index_entry(ix, n, &type, &id, &place))
            continue;
        struct prune_pack *pack = &p->packs[place.pack];
        bool used = p->copies[n] & COPY_USED;
        pack->has_data |= type == BLOB_DATA;
        pack->has_tree |= type == BLOB_TREE;
        if (type == BLOB_TREE && !place.plain)
            pack->raw += place.length;
        if (!used || !(p->copies[n] & COPY_MANY)) {
            count(pack, used, place.length);
            count_all(used ? &p->result.used : &p->result.unused, place.length);
            p->copies[n] |= used ? COPY_STAYS : 0;
            continue;
        }
        struct twin *t = vec_add(twins);
        t->number = n;
        if (!index_ordinal(ix, type, &id, &t->first))
            t->first = n;
    }
}

static uint64_t small_limit(const struct prune *p)
{
    return p->repo->options.pack_target / SMALL_PART;
}

/* Mixed packs, and trees that were stored before there was compression. That most of a pack is such
 * trees is asked for because single ones do not become smaller. */
static bool is_odd(const struct prune *p, const struct prune_pack *pack, uint64_t size)
{
    if (pack->has_data && pack->has_tree)
        return true;
    return p->repo->config.version >= 2 && pack->raw > 4096 && pack->raw > size / 2;
}

/* ---- copies of one blob: the better stays ----
 *
 * As restic, with a fixed order where restic takes what comes first: so what one run has copied is
 * what the next one keeps, although it was killed in between. */

static int better(uint64_t x, uint64_t y)
{
    return (x < y) - (x > y);
}

static int by_worth(const void *a, const void *b, void *ctx)
{
    const struct twin *x = a, *y = b;
    struct prune *p = ctx;
    enum blob_type type;
    struct store_id id;
    struct index_place at_x, at_y;
    if (x->first != y->first)
        return x->first < y->first ? -1 : 1;
    if (!index_entry(p->repo->index, x->number, &type, &id, &at_x) ||
        !index_entry(p->repo->index, y->number, &type, &id, &at_y))
        return 0;
    const struct prune_pack *px = &p->packs[at_x.pack], *py = &p->packs[at_y.pack];
    const struct index_pack *ix = index_pack(p->repo->index, at_x.pack),
                            *iy = index_pack(p->repo->index, at_y.pack);
    int r = better(px->there, py->there);
    r = r ? r : better(!ix->conflict, !iy->conflict);
    r = r ? r : better(!is_odd(p, px, ix->size), !is_odd(p, py, iy->size));
    r = r ? r : better(px->unused_n == 0, py->unused_n == 0);
    r = r ? r : better(ix->size >= small_limit(p), iy->size >= small_limit(p));
    r = r ? r : better(px->used_n > 0, py->used_n > 0);
    r = r ? r : better(ix->size, iy->size);
    r = r ? r : memcmp(ix->id.b, iy->id.b, STORE_ID_SIZE);
    return r ? r : (x->number > y->number) - (x->number < y->number);
}

static void choose_copies(struct prune *p, struct twins *twins)
{
    enum blob_type type;
    struct store_id id;
    struct index_place place;
    if (twins->n == 0)
        return;
    qsort_r(twins->p, twins->n, sizeof *twins->p, by_worth, p);
    for (size_t i = 0; i < twins->n; i++) {
        bool stays = i == 0 || twins->p[i].first != twins->p[i - 1].first;
        if (!index_entry(p->repo->index, twins->p[i].number, &type, &id, &place))
            continue;
        p->copies[twins->p[i].number] |= stays ? COPY_STAYS : 0;
        count(&p->packs[place.pack], stays, place.length);
        count_all(stays ? &p->result.used : &p->result.duplicate, place.length);
    }
}

/* ---- packs ---- */

struct candidates {
    uint32_t *p;
    size_t n, room;
};

static int check_needed(const struct prune_pack *pack, const struct index_pack *at, struct err *err)
{
    char hex[STORE_ID_HEX];
    if (pack->there && !at->conflict)
        return 0;
    store_id_hex(&at->id, hex);
    return err_set(err, ERR_CORRUPT, "pack %.16s is needed and %s; nothing is removed: run check",
                   hex,
                   at->conflict    ? "two index files say different things of it"
                   : pack->resized ? "has another size than the index says"
                                   : "is missing");
}

static int judge_packs(struct prune *p, struct candidates *many, struct err *err)
{
    struct candidates small = {0};
    int r = 0;
    for (uint32_t n = 0; r == 0 && n < p->packs_n; n++) {
        struct prune_pack *pack = &p->packs[n];
        const struct index_pack *at = index_pack(p->repo->index, n);
        pack->action = PACK_KEEP;
        if (at->state != PACK_STORED)
            continue;
        if (pack->used_n == 0)
            pack->action = PACK_REMOVE;
        else if (check_needed(pack, at, err) < 0)
            r = -1;
        else if (pack->unused_n || is_odd(p, pack, at->size))
            *vec_add(many) = n;
        else if (at->size < small_limit(p))
            *vec_add(&small) = n;
    }
    for (size_t i = 0; small.n >= SMALL_PACKS && i < small.n; i++)
        *vec_add(many) = small.p[i];
    vec_free(&small);
    return r;
}

/* restic's order: trees first, small packs next, then by the share that is not used. */
static int by_waste(const void *a, const void *b, void *ctx)
{
    struct prune *p = ctx;
    uint32_t nx = *(const uint32_t *)a, ny = *(const uint32_t *)b;
    const struct prune_pack *x = &p->packs[nx], *y = &p->packs[ny];
    uint64_t sx = index_pack(p->repo->index, nx)->size, sy = index_pack(p->repo->index, ny)->size;
    int r = better(x->has_tree, y->has_tree);
    r = r ? r : better(sx < small_limit(p), sy < small_limit(p));
    r = r ? r : better(x->unused * (sy - y->unused), y->unused * (sx - x->unused));
    return r ? r : (nx > ny) - (nx < ny);
}

/* restic's percentage is one of all that is left, used and unused. */
static uint64_t tolerated(const struct prune *p)
{
    int part = p->options->max_unused ? p->options->max_unused : 50;
    if (part == PRUNE_UNUSED_NONE)
        return 0;
    if (part == PRUNE_UNUSED_ANY)
        return UINT64_MAX;
    return (uint64_t)((double)part / (1000 - part) * (double)p->result.used.bytes);
}

static void choose_packs(struct prune *p, const struct candidates *many)
{
    uint64_t limit = tolerated(p), copied = 0;
    uint64_t left = p->result.unused.bytes + p->result.duplicate.bytes;
    for (uint32_t n = 0; n < p->packs_n; n++)
        if (p->packs[n].action == PACK_REMOVE)
            left -= p->packs[n].unused;
    for (size_t i = 0; i < many->n; i++) {
        struct prune_pack *pack = &p->packs[many->p[i]];
        uint64_t size = index_pack(p->repo->index, many->p[i])->size;
        if (p->options->max_repack && copied + size >= p->options->max_repack)
            continue;
        if (!pack->has_tree && left < limit && size >= small_limit(p))
            continue;
        pack->action = PACK_COPY;
        copied += size;
        left -= pack->unused;
    }
}

static int decide(struct prune *p, struct err *err)
{
    struct twins twins = {0};
    struct candidates many = {0};
    mark_copies(p);
    sort_copies(p, &twins);
    choose_copies(p, &twins);
    vec_free(&twins);
    int r = judge_packs(p, &many, err);
    if (r == 0 && many.n)
        qsort_r(many.p, many.n, sizeof *many.p, by_waste, p);
    if (r == 0)
        choose_packs(p, &many);
    vec_free(&many);
    return r;
}

void prune_count(struct prune *p)
{
    struct prune_result *r = &p->result;
    r->packs_repacked = r->packs_removed = r->packs_unindexed = r->unindexed_bytes = 0;
    r->removed = (struct prune_count){0};
    for (size_t i = 0; i < p->unindexed.n && p->alone; i++) {
        r->packs_unindexed++;
        r->unindexed_bytes += p->unindexed_sizes.p[i];
    }
    for (uint32_t n = 0; n < p->packs_n; n++) {
        const struct prune_pack *pack = &p->packs[n];
        if (pack->action == PACK_KEEP)
            continue;
        r->packs_repacked += pack->action == PACK_COPY;
        r->packs_removed += pack->action == PACK_REMOVE;
        r->removed.blobs += pack->unused_n;
        r->removed.bytes += pack->unused;
    }
}

static void count_copies(struct prune *p)
{
    for (uint32_t n = 0; n < p->packs_n; n++) {
        if (p->packs[n].action != PACK_COPY)
            continue;
        p->result.repacked.blobs += p->packs[n].used_n;
        p->result.repacked.bytes += p->packs[n].used;
    }
}

int prune_plan(struct prune *p, struct err *err)
{
    p->packs_n = index_packs(p->repo->index);
    p->packs = xcalloc(p->packs_n, sizeof *p->packs);
    if (backend_list(p->repo->backend, BACKEND_DATA, see_pack, p, err) < 0)
        return -1;
    pthread_mutex_lock(&p->repo->lock);
    int r = decide(p, err);
    pthread_mutex_unlock(&p->repo->lock);
    if (r < 0)
        return -1;
    prune_count(p);
    count_copies(p);
    p->planned = true;
    return 0;
}

static bool is_safe(const struct prune *p, enum blob_type type, const struct store_id *id)
{
    struct index_place place;
    uint64_t cursor = 0;
    while (index_find(p->repo->index, type, id, &cursor, &place))
        if (prune_stays(p, place.pack))
            return true;
    return false;
}

int prune_check_plan(struct prune *p, struct err *err)
{
    enum blob_type type;
    struct store_id id;
    struct index_place place;
    int r = 0;
    pthread_mutex_lock(&p->repo->lock);
    for (uint32_t n = 0; r == 0 && n < p->copies_n; n++)
        if (p->copies[n] & COPY_USED && index_entry(p->repo->index, n, &type, &id, &place) &&
            !prune_stays(p, place.pack) && !is_safe(p, type, &id)) {
            char hex[STORE_ID_HEX];
            store_id_hex(&id, hex);
            r = err_set(err, ERR_INTERNAL,
                        "the plan would have removed blob %.16s, which is used: nothing is removed",
                        hex);
        }
    pthread_mutex_unlock(&p->repo->lock);
    return r;
}
