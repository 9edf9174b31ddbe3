/* Index files of a prune: which are read, which go, what the new ones say. */
#include "store/prune_impl.h"

#include "store/limits.h"

#include <stdlib.h>

/* So many files that name few blobs each are made one. */
enum { FEW_BLOBS = STORE_INDEX_BLOBS / 4, SMALL_FILES = 10 };

/* ---- reading ---- */

struct reading {
    struct prune *prune;
    struct prune_file *file;
};

static int take_pack(void *ctx, const struct store_id *id, const struct pack_blob *blobs,
                     const uint32_t *offsets, size_t n, struct err *err)
{
    struct reading *r = ctx;
    struct prune *p = r->prune;
    uint32_t number = 0;
    pthread_mutex_lock(&p->repo->lock);
    int done = index_add_pack(p->repo->index, id, blobs, offsets, n, err);
    bool known = done == 0 && index_find_pack(p->repo->index, id, &number);
    pthread_mutex_unlock(&p->repo->lock);
    if (!known)
        return -1;
    *vec_add(&p->file_packs) = number;
    r->file->n++;
    r->file->blobs += n;
    /* Somebody names a pack again that we are about to remove. */
    if (p->deleting && number < p->packs_n)
        p->packs[number].action = PACK_KEEP;
    return 0;
}

static int refuse_marked(void *ctx, const struct store_id *id, const struct pack_blob *blobs,
                         const uint32_t *offsets, size_t n, struct err *err)
{
    (void)ctx, (void)id, (void)blobs, (void)offsets, (void)n;
    return err_set(err, ERR_REFUSED,
                   "rustic prunes this repository and has marked packs for deletion that it may "
                   "still take back: prune with rustic until none is marked");
}

static int read_file(struct prune *p, const struct store_id *id, struct err *err)
{
    struct prune_file file = {.id = *id, .first = p->file_packs.n};
    struct reading reading = {p, &file};
    if (repository_read_index_marked(p->repo, id, take_pack, refuse_marked, &reading, err) < 0)
        return -1;
    prune_know_file(p, &file);
    return 0;
}

static str key_of(const struct store_id *id)
{
    return (str){(const char *)id->b, STORE_ID_SIZE};
}

void prune_know_file(struct prune *p, const struct prune_file *file)
{
    *vec_add(&p->files) = *file;
    map_put(p->file_ids, key_of(&file->id), p);
    repository_know_index(p->repo, &file->id);
}

static int check_files(const struct prune *p, const struct store_ids *listed, struct err *err)
{
    struct map *ids CLEANUP(map_free_p) = map_new(NULL);
    for (size_t i = 0; i < listed->n; i++)
        map_put(ids, key_of(&listed->p[i]), ids);
    for (size_t i = 0; i < p->files.n; i++)
        if (!p->files.p[i].gone && !map_get(ids, key_of(&p->files.p[i].id)))
            return err_set(
                err, ERR_CONFLICT,
                "index files of the repository were replaced by somebody else meanwhile: "
                "nothing more is removed, prune again");
    return 0;
}

int prune_load_index(struct prune *p, struct err *err)
{
    struct store_ids ids = {0};
    backend_look_again(p->repo->backend, BACKEND_INDEX);
    int r = backend_list_ids(p->repo->backend, BACKEND_INDEX, true, STORE_PACKS_MAX, &ids, err);
    if (r == 0)
        r = check_files(p, &ids, err);
    for (size_t i = 0; r == 0 && i < ids.n; i++) {
        if (map_get(p->file_ids, key_of(&ids.p[i])))
            continue;
        r = read_file(p, &ids.p[i], err);
        if (r == 0)
            r = prune_tick(p, PRUNE_WALK, 0, 0, err);
    }
    vec_free(&ids);
    return r;
}

/* ---- choosing ---- */

static size_t small_files(const struct prune *p)
{
    size_t n = 0;
    for (size_t i = 0; i < p->files.n; i++)
        n += p->files.p[i].blobs < FEW_BLOBS;
    return n;
}

/* A file goes if it names a pack that goes, or one that an earlier file names too, or if it is one
 * of many small ones. What the others name is in *stay. */
static bool choose_file(const struct prune *p, const struct prune_file *f, bool small,
                        struct bits *stay)
{
    const uint32_t *packs = p->file_packs.p + f->first;
    bool goes = small && f->blobs < FEW_BLOBS;
    for (size_t i = 0; i < f->n; i++)
        goes = goes || !prune_stays(p, packs[i]) || bits_has(stay, packs[i]);
    for (size_t i = 0; i < f->n && !goes; i++)
        bits_add(stay, packs[i]);
    return goes;
}

void prune_choose_files(struct prune *p, struct bits *ret_packs)
{
    struct bits stay = {0};
    bool small = small_files(p) >= SMALL_FILES;
    for (size_t i = 0; i < p->files.n; i++)
        p->files.p[i].goes = choose_file(p, &p->files.p[i], small, &stay);
    for (size_t i = 0; i < p->files.n; i++) {
        const struct prune_file *f = &p->files.p[i];
        for (size_t k = f->first; k < f->first + f->n && f->goes; k++)
            if (prune_stays(p, p->file_packs.p[k]) && !bits_has(&stay, p->file_packs.p[k]))
                bits_add(ret_packs, p->file_packs.p[k]);
    }
    bits_free(&stay);
}

bool prune_has_work(const struct prune *p)
{
    struct bits seen = {0};
    bool work = small_files(p) >= SMALL_FILES || (p->alone && p->unindexed.n);
    for (size_t i = 0; i < p->file_packs.n && !work; i++)
        work = !prune_stays(p, p->file_packs.p[i]) || !bits_add(&seen, p->file_packs.p[i]);
    bits_free(&seen);
    return work;
}

/* ---- writing ---- */

struct writing {
    struct prune *prune;
    const struct bits *packs;
    struct bits written;
    struct buf text;
    size_t blobs; /* in the text */
    struct pack_blobs of_pack;
    struct {
        uint32_t *p;
        size_t n, room;
    } offsets;
    uint32_t pack;
    struct store_ids *ids;
};

static void writing_end(struct writing *w)
{
    bits_free(&w->written);
    buf_free(&w->text);
    vec_free(&w->of_pack);
    vec_free(&w->offsets);
}

static int end_file(struct writing *w, struct err *err)
{
    struct store_id id;
    if (w->blobs == 0)
        return 0;
    index_text_end(&w->text);
    if (repository_save_file(w->prune->repo, BACKEND_INDEX, buf_view(&w->text), &id, err) < 0)
        return err_wrap(err, "writing an index file");
    *vec_add(w->ids) = id;
    w->blobs = 0;
    return 0;
}

static int end_pack(struct writing *w, struct err *err)
{
    if (w->of_pack.n == 0)
        return 0;
    struct repository *repo = w->prune->repo;
    pthread_mutex_lock(&repo->lock);
    struct store_id id = index_pack(repo->index, w->pack)->id;
    pthread_mutex_unlock(&repo->lock);
    if (!bits_add(&w->written, w->pack))
        return err_set(err, ERR_CORRUPT,
                       "index files say different things of a pack; nothing is removed: run check");
    if (w->blobs == 0) {
        buf_reset(&w->text);
        index_text_begin(&w->text);
    }
    index_text_blobs(&w->text, &id, w->of_pack.p, w->offsets.p, w->of_pack.n);
    w->blobs += w->of_pack.n;
    w->of_pack.n = w->offsets.n = 0;
    return w->blobs >= STORE_INDEX_BLOBS ? end_file(w, err) : 0;
}

static int write_copies(struct writing *w, struct err *err)
{
    struct repository *repo = w->prune->repo;
    enum blob_type type;
    struct store_id id;
    struct index_place place;
    for (uint32_t n = 0; n < index_blobs(repo->index); n++) {
        pthread_mutex_lock(&repo->lock);
        bool there = index_entry(repo->index, n, &type, &id, &place);
        pthread_mutex_unlock(&repo->lock);
        if (!there || !bits_has(w->packs, place.pack))
            continue;
        if (place.pack != w->pack && end_pack(w, err) < 0)
            return -1;
        w->pack = place.pack;
        *vec_add(&w->of_pack) = (struct pack_blob){id, type, place.length, place.plain};
        *vec_add(&w->offsets) = place.offset;
    }
    return end_pack(w, err) < 0 ? -1 : end_file(w, err);
}

int prune_write_index(struct prune *p, const struct bits *packs, struct store_ids *ret_ids,
                      struct err *err)
{
    struct writing w CLEANUP(writing_end) = {.prune = p, .packs = packs, .ids = ret_ids};
    return write_copies(&w, err);
}
