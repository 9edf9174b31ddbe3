/* Reading the index files of a repository. */
#include "store/repository_impl.h"

#include "store/limits.h"
#include "store/unpacked.h"

#include <stdlib.h>

static str key_of(const struct store_id *id)
{
    return (str){(const char *)id->b, STORE_ID_SIZE};
}

void repository_know_index(struct repository *repo, const struct store_id *id)
{
    pthread_mutex_lock(&repo->index_lock);
    map_put(repo->index_files, key_of(id), repo);
    pthread_mutex_unlock(&repo->index_lock);
}

static int add_pack(void *ctx, const struct store_id *pack, const struct pack_blob *blobs,
                    const uint32_t *offsets, size_t n, struct err *err)
{
    struct repository *repo = ctx;
    pthread_mutex_lock(&repo->lock);
    int r = index_add_pack(repo->index, pack, blobs, offsets, n, err);
    pthread_mutex_unlock(&repo->lock);
    return r;
}

/* What one index file is read with. */
struct reading {
    struct buf opened;
    struct decompress_stream stream;
};

static void reading_free(struct reading *r)
{
    buf_free(&r->opened);
    free(r);
}
DEFINE_CLEANUP(struct reading *, reading_free)

static int read_file(struct repository *repo, const struct store_id *id, struct work *w,
                     index_pack_fn *fn, index_pack_fn *marked, void *ctx, struct err *err)
{
    struct reading *reading CLEANUP(reading_free_p) = xcalloc(1, sizeof *reading);
    if (backend_load_all(repo->backend, &(struct backend_file){BACKEND_INDEX, *id}, STORE_FILE_MAX,
                         &w->sealed, err) < 0)
        return -1;
    if (crypto_open(&repo->key, w->sealed.p, w->sealed.n, &reading->opened, err) < 0) {
        if (err)
            err->kind = ERR_CORRUPT;
        return -1;
    }
    buf_free(&w->sealed);
    str raw;
    if (unpacked_begin(buf_view(&reading->opened), w, STORE_INDEX_TEXT_MAX, &raw, &reading->stream,
                       err) < 0)
        return -1;
    struct json_in in CLEANUP(json_in_free);
    if (raw.p)
        json_in_text(&in, raw, err);
    else
        json_in_pieces(&in, decompress_next, &reading->stream, err);
    return index_text_read_marked(&in, fn, marked, ctx);
}

int repository_read_index(struct repository *repo, const struct store_id *id, index_pack_fn *fn,
                          void *ctx, struct err *err)
{
    return repository_read_index_marked(repo, id, fn, NULL, ctx, err);
}

int repository_read_index_marked(struct repository *repo, const struct store_id *id,
                                 index_pack_fn *fn, index_pack_fn *marked, void *ctx,
                                 struct err *err)
{
    char hex[STORE_ID_HEX];
    struct work *w = repository_take_work(repo);
    int r = read_file(repo, id, w, fn, marked, ctx, err);
    repository_give_work(repo, w);
    store_id_hex(id, hex);
    return r < 0 ? err_wrap(err, "index %.8s", hex) : 0;
}

struct file_ids {
    struct store_id *p;
    size_t n, room;
    struct repository *repo;
};

static int collect(void *ctx, const struct store_id *id, uint64_t size, struct err *err)
{
    struct file_ids *ids = ctx;
    (void)size, (void)err;
    if (!map_get(ids->repo->index_files, key_of(id)))
        *vec_add(ids) = *id;
    return 0;
}

int repository_load_index(struct repository *repo, struct err *err)
{
    struct file_ids ids = {.repo = repo};
    pthread_mutex_lock(&repo->index_lock);
    if (repo->index_loaded)
        backend_look_again(repo->backend, BACKEND_INDEX);
    repo->index_loaded = true;
    int r = backend_list(repo->backend, BACKEND_INDEX, collect, &ids, err);
    for (size_t i = 0; r == 0 && i < ids.n; i++) {
        r = repository_read_index(repo, &ids.p[i], add_pack, repo, err);
        if (r == 0)
            map_put(repo->index_files, key_of(&ids.p[i]), repo);
    }
    pthread_mutex_unlock(&repo->index_lock);
    vec_free(&ids);
    return r;
}

void repository_drop_index(struct repository *repo)
{
    pthread_mutex_lock(&repo->index_lock);
    pthread_mutex_lock(&repo->lock);
    map_free(repo->index_files);
    repo->index_files = map_new(NULL);
    index_free(repo->index);
    repo->index = index_new();
    if (repo->options.lean)
        index_make_lean(repo->index, repo->options.lean_ids);
    for (size_t t = 0; t < ARRAY_LEN(repo->windows); t++)
        repo->windows[t].valid = false; /* they go by the numbers of packs */
    pthread_mutex_unlock(&repo->lock);
    pthread_mutex_unlock(&repo->index_lock);
}
