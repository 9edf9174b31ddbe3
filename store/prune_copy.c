/* Phase one's writing: what is used in packs that go is stored once more. The sealed bytes are
 * copied as they are, after they were opened and hashed. Where a copy goes because there is another
 * one, the other one is read first. */
#include "store/prune_impl.h"

#include "core/clock.h"
#include "store/limits.h"

#include <stdlib.h>

/* Neighbours are read with one request if less than GAP lies between them. */
enum { GAP = 128 << 10, READ = 8 << 20, PACK_HEADER_ROOM = 64 << 10 };

/* A used blob of the pack that is being emptied. */
struct item {
    struct store_id id;
    struct index_place place;
    enum blob_type type;
    bool is_there; /* it stays where it is, if it is whole */
};

struct items {
    struct item *p;
    size_t n, room;
};

struct copier {
    struct prune *prune;
    struct work *work;
    struct buf range, plain;
    struct pack *open[2];
    struct buf index; /* text of an index file of what was uploaded */
    size_t index_blobs;
    int64_t index_ms; /* when the first pack came into it */
    uint64_t done, total;
};

static void copier_end(struct copier *c)
{
    repository_give_work(c->prune->repo, c->work);
    buf_free(&c->range);
    buf_free(&c->plain);
    buf_free(&c->index);
    pack_free(c->open[0]);
    pack_free(c->open[1]);
}

/* ---- writing ---- */

static int write_index(struct copier *c, struct err *err)
{
    struct store_id id;
    if (c->index_blobs == 0)
        return 0;
    index_text_end(&c->index);
    if (repository_save_file(c->prune->repo, BACKEND_INDEX, buf_view(&c->index), &id, err) < 0)
        return err_wrap(err, "writing an index file");
    c->index_blobs = 0;
    return 0;
}

static bool index_is_due(const struct copier *c)
{
    return c->index_blobs >= STORE_INDEX_BLOBS ||
           (c->index_blobs && clock_mono_ms() - c->index_ms >= (int64_t)STORE_INDEX_SECONDS * 1000);
}

static int upload(struct copier *c, enum blob_type type, struct err *err)
{
    struct pack *pack CLEANUP(pack_free_p) = TAKE(c->open[type]);
    struct repository *repo = c->prune->repo;
    if (!pack)
        return 0;
    if (pack_close(pack, &repo->key, err) < 0 ||
        backend_save(repo->backend, BACKEND_DATA, pack->bytes.p, pack->bytes.n, &pack->id, err) < 0)
        return -1;
    if (c->index_blobs == 0) {
        buf_reset(&c->index);
        index_text_begin(&c->index);
        c->index_ms = clock_mono_ms();
    }
    index_text_pack(&c->index, pack);
    c->index_blobs += pack->blobs.n;
    return index_is_due(c) ? write_index(c, err) : 0;
}

static int add(struct copier *c, const struct item *item, const void *sealed, size_t n,
               uint32_t plain, struct err *err)
{
    const struct repository_options *o = &c->prune->repo->options;
    size_t target =
        item->type == BLOB_TREE ? MIN(STORE_TREE_PACK_TARGET, o->pack_target) : o->pack_target;
    struct pack *open = c->open[item->type];
    if (open &&
        (!pack_fits(open, n) || (open->bytes.n >= target / 2 && open->bytes.n + n > target)))
        if (upload(c, item->type, err) < 0)
            return -1;
    if (!c->open[item->type])
        c->open[item->type] = pack_new(item->type, 0, target + PACK_HEADER_ROOM);
    open = c->open[item->type];
    pack_add(open, &item->id, sealed, n, plain);
    return open->bytes.n >= target ? upload(c, item->type, err) : 0;
}

/* For trees that were stored before there was compression, and where the copy in this pack is
 * damaged but another one is whole. */
static int add_plain(struct copier *c, const struct item *item, struct err *err)
{
    struct repository *repo = c->prune->repo;
    struct work *w = c->work;
    struct buf again CLEANUP(buf_free) = {0};
    uint32_t plain = 0;
    buf_reset(&w->sealed);
    compress_frame(w, repo->options.compression, c->plain.p, c->plain.n, &w->packed);
    if (repo->config.version >= 2 && w->packed.n < c->plain.n)
        plain = (uint32_t)c->plain.n;
    if (plain)
        crypto_seal(&repo->key, w->packed.p, w->packed.n, &w->sealed);
    else
        crypto_seal(&repo->key, c->plain.p, c->plain.n, &w->sealed);
    if (blob_open(&repo->key, w, w->sealed.p, w->sealed.n, plain, &item->id, &again, err) < 0)
        return err_wrap(err, "a blob did not read back as it was stored: faulty memory?");
    return add(c, item, w->sealed.p, w->sealed.n, plain, err);
}

/* ---- reading ---- */

static int copy_one(struct copier *c, const struct item *item, const char *sealed, struct err *err)
{
    struct repository *repo = c->prune->repo;
    const struct index_place *at = &item->place;
    struct err why = {0};
    bool whole = sealed && blob_open(&repo->key, c->work, sealed, at->length, at->plain, &item->id,
                                     &c->plain, &why) == 0;
    if (whole && item->is_there)
        return prune_tick(c->prune, PRUNE_COPY, c->done, c->total, err);
    if (!whole && repository_load_blob(repo, item->type, &item->id, &c->plain, err) < 0)
        return err_wrap(err, "nothing is removed: run check");
    bool again = !whole || (item->type == BLOB_TREE && at->plain == 0 && repo->config.version >= 2);
    if ((again ? add_plain(c, item, err) : add(c, item, sealed, at->length, at->plain, err)) < 0)
        return -1;
    c->done += item->is_there ? 0 : at->length;
    return prune_tick(c->prune, PRUNE_COPY, c->done, c->total, err);
}

/* Items first to end - 1 with one request. If it fails, each of them may still have another copy.
 */
static int copy_range(struct copier *c, const struct items *items, size_t first, size_t end,
                      struct err *err)
{
    const struct index_place *from = &items->p[first].place, *to = &items->p[end - 1].place;
    struct repository *repo = c->prune->repo;
    struct err why = {0};
    pthread_mutex_lock(&repo->lock);
    struct backend_file file = {BACKEND_DATA, index_pack(repo->index, from->pack)->id};
    pthread_mutex_unlock(&repo->lock);
    bool there =
        to->length <= STORE_BLOB_MAX + CRYPTO_OVERHEAD &&
        backend_load_range(repo->backend, &file, from->offset,
                           (size_t)(to->offset - from->offset) + to->length, &c->range, &why) == 0;
    for (size_t i = first; i < end; i++) {
        const char *sealed = there ? c->range.p + (items->p[i].place.offset - from->offset) : NULL;
        if (copy_one(c, &items->p[i], sealed, err) < 0)
            return -1;
    }
    return 0;
}

static int by_offset(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    return (x->place.offset > y->place.offset) - (x->place.offset < y->place.offset);
}

static int copy_pack(struct copier *c, struct items *items, struct err *err)
{
    if (items->n == 0)
        return 0;
    qsort(items->p, items->n, sizeof *items->p, by_offset);
    for (size_t first = 0, end; first < items->n; first = end) {
        const struct index_place *from = &items->p[first].place;
        uint64_t at = (uint64_t)from->offset + from->length;
        for (end = first + 1; end < items->n; end++) {
            const struct index_place *next = &items->p[end].place;
            uint64_t next_end = (uint64_t)next->offset + next->length;
            if (next->offset < at || next->offset - at > GAP || next_end - from->offset > READ)
                break;
            at = next_end;
        }
        if (copy_range(c, items, first, end, err) < 0)
            return -1;
    }
    items->n = 0;
    return 0;
}

/* True if a pack that stays (or one that goes) has the blob too. */
static bool is_in_pack_that(const struct prune *p, bool stays, const struct item *item)
{
    struct index_place place;
    uint64_t cursor = 0;
    while (index_find(p->repo->index, item->type, &item->id, &cursor, &place))
        if (prune_stays(p, place.pack) == stays)
            return true;
    return false;
}

static bool is_wanted(const struct prune *p, uint8_t flags, struct item *item)
{
    item->is_there = prune_stays(p, item->place.pack);
    if (item->is_there)
        return flags & COPY_USED && flags & COPY_MANY && is_in_pack_that(p, false, item);
    return flags & COPY_STAYS && !is_in_pack_that(p, true, item);
}

/* Collects blobs of one pack, from copy *n on. The blobs of a pack have numbers in a row. */
static void collect(const struct prune *p, uint32_t *n, struct items *items)
{
    pthread_mutex_lock(&p->repo->lock);
    for (; *n < p->copies_n; ++*n) {
        struct item item;
        if (!(p->copies[*n] & (COPY_STAYS | COPY_MANY)) ||
            !index_entry(p->repo->index, *n, &item.type, &item.id, &item.place))
            continue;
        if (items->n && items->p[0].place.pack != item.place.pack)
            break;
        if (is_wanted(p, p->copies[*n], &item))
            *vec_add(items) = item;
    }
    pthread_mutex_unlock(&p->repo->lock);
}

static int copy_all(struct copier *c, struct err *err)
{
    struct items items = {0};
    int r = 0;
    for (uint32_t n = 0; r == 0 && n < c->prune->copies_n;) {
        collect(c->prune, &n, &items);
        r = copy_pack(c, &items, err);
    }
    vec_free(&items);
    return r;
}

int prune_copy(struct prune *p, struct err *err)
{
    if (p->result.packs_repacked == 0 && p->result.duplicate.blobs == 0)
        return 0;
    struct copier c CLEANUP(copier_end) = {
        .prune = p, .work = repository_take_work(p->repo), .total = p->result.repacked.bytes};
    struct err why = {0};
    int r = copy_all(&c, err);
    /* What was copied serves the next run, if this one was ended. */
    int written = upload(&c, BLOB_DATA, &why);
    if (written == 0)
        written = upload(&c, BLOB_TREE, &why);
    if (written == 0)
        written = write_index(&c, &why);
    if (r == 0 && written < 0) {
        if (err)
            *err = why;
        r = -1;
    }
    return r;
}
