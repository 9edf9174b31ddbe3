/* Makes a repository of packs that hold data and trees in turn, as restic before 0.8 left them:
 *
 *     mixed_packs REPO PASSWORD
 *
 * Every blob of the index goes into a new pack; then the old index files and packs are removed. In
 * version 2 each third blob is stored uncompressed, which no writer does but all must read. */
#include "store/repository_impl.h"
#include "store/unpacked.h"

#include <stdio.h>
#include <stdlib.h>

enum { BLOBS_IN_PACK = 7 };

static struct repository *repo;

static int add_blob(struct work *w, uint32_t n, struct pack *pack, struct err *err)
{
    struct index_place place;
    struct store_id id;
    struct buf plain CLEANUP(buf_free) = {0};
    enum blob_type type;
    uint64_t cursor = 0;
    struct index_place first;
    if (!index_entry(repo->index, n, &type, &id, &place) ||
        !index_find(repo->index, type, &id, &cursor, &first) || first.pack != place.pack ||
        first.offset != place.offset)
        return 0; /* a copy */
    if (repository_load_blob(repo, type, &id, &plain, err) < 0)
        return -1;
    bool compressed = repo->config.version > 1 && n % 3 && plain.n;
    buf_reset(&w->sealed);
    if (compressed)
        compress_frame(w, 3, plain.p, plain.n, &w->packed);
    crypto_seal(&repo->key, compressed ? w->packed.p : plain.p, compressed ? w->packed.n : plain.n,
                &w->sealed);
    pack->type = type;
    pack_add(pack, &id, w->sealed.p, w->sealed.n, compressed ? (uint32_t)plain.n : 0);
    return 0;
}

static int send_pack(struct pack *pack, struct buf *index, struct err *err)
{
    if (pack->blobs.n == 0)
        return 0;
    if (pack_close(pack, &repo->key, err) < 0 ||
        backend_save(repo->backend, BACKEND_DATA, pack->bytes.p, pack->bytes.n, &pack->id, err) < 0)
        return -1;
    index_text_pack(index, pack);
    return 0;
}

static int remove_all(enum backend_type type, const struct store_ids *ids, struct err *err)
{
    for (size_t i = 0; i < ids->n; i++)
        if (backend_remove(repo->backend, &(struct backend_file){type, ids->p[i]}, err) < 0)
            return -1;
    return 0;
}

/* From both ends of the index in turn: data and trees lie apart there. */
static int repack(struct buf *index, struct err *err)
{
    struct work *w CLEANUP(work_free_p) = work_new();
    uint32_t all = (uint32_t)index_blobs(repo->index);
    for (uint32_t n = 0; n < all;) {
        struct pack *pack CLEANUP(pack_free_p) = pack_new(BLOB_DATA, 0, 1 << 20);
        for (int i = 0; i < BLOBS_IN_PACK && n < all; i++, n++)
            if (add_blob(w, n % 2 ? all - 1 - n / 2 : n / 2, pack, err) < 0)
                return -1;
        if (send_pack(pack, index, err) < 0)
            return -1;
    }
    return 0;
}

static int run(struct err *err)
{
    struct store_ids packs = {0}, indexes = {0};
    struct buf index CLEANUP(buf_free) = {0};
    struct store_id id;
    if (repository_load_index(repo, err) < 0 ||
        backend_list_ids(repo->backend, BACKEND_DATA, true, 100000, &packs, err) < 0 ||
        backend_list_ids(repo->backend, BACKEND_INDEX, true, 100000, &indexes, err) < 0)
        return -1;
    index_text_begin(&index);
    if (repack(&index, err) < 0)
        return -1;
    index_text_end(&index);
    int r = repository_save_file(repo, BACKEND_INDEX, buf_view(&index), &id, err);
    r = r < 0 ? r : remove_all(BACKEND_INDEX, &indexes, err);
    r = r < 0 ? r : remove_all(BACKEND_DATA, &packs, err);
    vec_free(&packs);
    vec_free(&indexes);
    return r;
}

int main(int argc, char **argv)
{
    struct backend *b CLEANUP(backend_close_p) = NULL;
    struct err err = {0};
    if (argc != 3)
        return 2;
    int r = backend_open_local(argv[1], &b, &err);
    r = r < 0 ? r : repository_open(b, argv[2], NULL, &repo, &err);
    r = r < 0 ? r : run(&err);
    repository_close(repo);
    if (r < 0)
        fprintf(stderr, "mixed_packs: %s\n", err.msg);
    return r < 0;
}
