#include "store/verify.h"

#include "store/bits.h"
#include "store/repository_impl.h"
#include "store/tree.h"

struct verify {
    struct repository *repo;
    const struct verify_options *options;
    struct verify_result result;
    struct bits whole; /* packs that are there with the right size, by number */
    struct bits packs; /* packs that are needed */
    struct bits blobs; /* blobs that were looked at, by ordinal */
    struct buf bytes;
};

static void verify_free(struct verify *v)
{
    bits_free(&v->whole);
    bits_free(&v->packs);
    bits_free(&v->blobs);
    buf_free(&v->bytes);
}

/* Notes a pack of the backend as whole, if its size is the one that the index implies. */
static int see_pack(void *ctx, const struct store_id *id, uint64_t size, struct err *err)
{
    struct verify *v = ctx;
    uint32_t number;
    (void)err;
    pthread_mutex_lock(&v->repo->lock);
    if (index_find_pack(v->repo->index, id, &number)) {
        const struct index_pack *p = index_pack(v->repo->index, number);
        if (p->size == size && !p->conflict)
            bits_add(&v->whole, number);
    }
    pthread_mutex_unlock(&v->repo->lock);
    return 0;
}

/* That some copy of the blob lies in a whole pack. 1: it is new, 0: it was looked at before. */
static int see_blob(struct verify *v, enum blob_type type, const struct store_id *id,
                    uint64_t *ret_size, struct err *err)
{
    char hex[STORE_ID_HEX], pack_hex[STORE_ID_HEX] = "";
    const char *what = type == BLOB_TREE ? "tree" : "data blob";
    struct index_place place;
    uint64_t cursor = 0;
    uint32_t ordinal = 0;
    bool found = false, fresh = false;
    store_id_hex(id, hex);
    pthread_mutex_lock(&v->repo->lock);
    bool known = index_ordinal(v->repo->index, type, id, &ordinal);
    while (known && !found && index_find(v->repo->index, type, id, &cursor, &place)) {
        found = bits_has(&v->whole, place.pack);
        store_id_hex(&index_pack(v->repo->index, place.pack)->id, pack_hex);
    }
    pthread_mutex_unlock(&v->repo->lock);
    if (!known)
        return err_set(err, ERR_CORRUPT, "%s %.16s is in no index", what, hex);
    if (!found)
        return err_set(err, ERR_CORRUPT, "%s %.16s: its pack %.16s is missing or has a wrong size",
                       what, hex, pack_hex);
    *ret_size = place.plain ? place.plain : place.length - CRYPTO_OVERHEAD;
    fresh = bits_add(&v->blobs, ordinal);
    v->result.packs += bits_add(&v->packs, place.pack);
    v->result.blobs += fresh;
    return fresh;
}

static int report(struct verify *v, struct err *err)
{
    const struct verify_options *o = v->options;
    return o && o->progress ? o->progress(o->ctx, v->result.trees, v->result.blobs, err) : 0;
}

static int visit_file(struct verify *v, const char *path, const struct node *node, struct err *err)
{
    uint64_t size = 0;
    for (size_t i = 0; i < node->content_n; i++) {
        uint64_t n = 0;
        int fresh = see_blob(v, BLOB_DATA, &node->content[i], &n, err);
        if (fresh > 0 && v->options && v->options->read_data)
            fresh = repository_load_blob(v->repo, BLOB_DATA, &node->content[i], &v->bytes, err);
        if (fresh < 0)
            return err_wrap(err, "%s", path);
        size += n;
    }
    if (size != node->size)
        return err_set(err, ERR_CORRUPT, "%s: %llu bytes, but its chunks have %llu", path,
                       (unsigned long long)node->size, (unsigned long long)size);
    v->result.files++;
    v->result.bytes += size;
    return report(v, err);
}

static int visit(void *ctx, const char *path, const struct node *node, struct err *err)
{
    struct verify *v = ctx;
    uint64_t size;
    if (node->type == NODE_FILE)
        return visit_file(v, path, node, err);
    if (node->type != NODE_DIR)
        return TREE_WALK_ON;
    int fresh = see_blob(v, BLOB_TREE, &node->subtree, &size, err);
    if (fresh < 0)
        return err_wrap(err, "%s", path);
    v->result.trees += (uint64_t)fresh;
    if (report(v, err) < 0)
        return -1;
    return fresh ? TREE_WALK_ON : TREE_WALK_SKIP;
}

int verify_tree(struct repository *repo, const struct store_id *tree,
                const struct verify_options *options, struct verify_result *ret_result,
                struct err *err)
{
    struct verify v CLEANUP(verify_free) = {.repo = repo, .options = options};
    const struct tree_visitor visitor = {.node = visit, .ctx = &v};
    uint64_t size;
    if (backend_list(repo->backend, BACKEND_DATA, see_pack, &v, err) < 0 ||
        see_blob(&v, BLOB_TREE, tree, &size, err) < 0)
        return -1;
    v.result.trees = 1;
    if (tree_walk(repo, tree, &visitor, err) < 0)
        return -1;
    if (ret_result)
        *ret_result = v.result;
    return 0;
}

int verify_snapshot(struct repository *repo, const struct store_id *snapshot,
                    const struct verify_options *options, struct verify_result *ret_result,
                    struct err *err)
{
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct snapshot s;
    char hex[STORE_ID_HEX];
    store_id_hex(snapshot, hex);
    if (snapshot_load(repo, snapshot, a, &s, err) < 0)
        return -1;
    if (verify_tree(repo, &s.tree, options, ret_result, err) < 0)
        return err_wrap(err, "snapshot %.8s", hex);
    return 0;
}

struct search {
    const struct store_id *wanted;
    bool found;
};

static int look_for(void *ctx, const struct store_id *id, uint64_t size, struct err *err)
{
    struct search *s = ctx;
    (void)size, (void)err;
    s->found = s->found || store_id_equal(s->wanted, id);
    return 0;
}

int verify_read_back(struct repository *repo, const struct store_id *snapshot,
                     const struct verify_options *options, struct verify_result *ret_result,
                     struct err *err)
{
    struct repository *fresh CLEANUP(repository_close_p) = NULL;
    struct search search = {.wanted = snapshot};
    if (backend_foresee(repo->backend, err) < 0 ||
        backend_list(repo->backend, BACKEND_SNAPSHOT, look_for, &search, err) < 0)
        return err_wrap(err, "reading back");
    if (!search.found)
        return err_set(err, ERR_CORRUPT, "reading back: the store does not list the snapshot");
    /* Index files never change: those that were read need not be read again. */
    int same = repository_prove_index(repo, err);
    if (same < 0 ||
        (!same &&
         (repository_reopen(repo, &fresh, err) < 0 || repository_load_index(fresh, err) < 0)) ||
        verify_snapshot(same ? repo : fresh, snapshot, options, ret_result, err) < 0)
        return err_wrap(err, "reading back");
    return 0;
}
