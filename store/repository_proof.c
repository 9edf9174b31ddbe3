/* That the index in memory is the one that another process would read now. */
#include "store/repository_impl.h"

#include <stdlib.h>

struct looking {
    struct repository *repo;
    struct store_ids fresh; /* listed, not known yet */
    size_t known;           /* listed and known */
};

static str key_of(const struct store_id *id)
{
    return (str){(const char *)id->b, STORE_ID_SIZE};
}

static int look(void *ctx, const struct store_id *id, uint64_t size, struct err *err)
{
    struct looking *l = ctx;
    (void)size, (void)err;
    if (map_get(l->repo->index_files, key_of(id)))
        l->known++;
    else
        *vec_add(&l->fresh) = *id;
    return 0;
}

static bool names(struct repository *repo, uint32_t number, const struct pack_blob *b,
                  uint32_t offset)
{
    struct index_place place;
    uint64_t cursor = 0;
    while (index_find(repo->index, b->type, &b->id, &cursor, &place))
        if (place.pack == number && place.offset == offset && place.length == b->length &&
            place.plain == b->plain)
            return true;
    return false;
}

/* That the index says the same of a pack as the file that we wrote. */
static int compare_pack(void *ctx, const struct store_id *pack, const struct pack_blob *blobs,
                        const uint32_t *offsets, size_t n, struct err *err)
{
    struct repository *repo = ctx;
    uint32_t number;
    pthread_mutex_lock(&repo->lock);
    bool same = index_find_pack(repo->index, pack, &number);
    for (size_t i = 0; same && i < n; i++)
        same = names(repo, number, &blobs[i], offsets[i]);
    pthread_mutex_unlock(&repo->lock);
    return same ? 0 : err_set(err, ERR_CORRUPT, "an index file reads back other than written");
}

static bool is_settled(struct repository *repo)
{
    pthread_mutex_lock(&repo->lock);
    bool settled = !repo->failed && !repo->open[0] && !repo->open[1] && !repo->busy &&
                   !repo->unindexed.n && !repo->queue.first && !repo->queue.uploads;
    pthread_mutex_unlock(&repo->lock);
    return settled;
}

static int prove(struct repository *repo, struct err *err)
{
    struct looking l = {.repo = repo};
    int r = backend_list(repo->backend, BACKEND_INDEX, look, &l, err);
    bool all = r == 0 && l.fresh.n == 0 && l.known == map_count(repo->index_files);
    vec_free(&l.fresh);
    for (size_t i = 0; all && r == 0 && i < repo->written.n; i++)
        r = repository_read_index(repo, &repo->written.p[i], compare_pack, repo, err);
    if (r < 0 || !all)
        return MIN(r, 0);
    vec_free(&repo->written); /* each once: the name is the hash of the content */
    return 1;
}

int repository_prove_index(struct repository *repo, struct err *err)
{
    if (repo->options.lean || !is_settled(repo))
        return 0;
    pthread_mutex_lock(&repo->index_lock);
    int r = prove(repo, err);
    pthread_mutex_unlock(&repo->index_lock);
    return r;
}
