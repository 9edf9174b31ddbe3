#include "store/stats.h"

#include "core/map.h"
#include "store/bits.h"
#include "store/repository_impl.h"
#include "store/tree.h"

struct counting {
    struct repository *repo;
    enum stats_mode mode;
    struct stats stats;
    struct bits blobs;          /* RAW_DATA: by ordinal */
    struct map *contents;       /* by the SHA-256 of their chunks' ids */
    struct map *paths, *chunks; /* BLOBS_PER_FILE: paths; path and chunk */
    struct map *links;          /* RESTORE_SIZE: inode and device, of one snapshot */
};

bool stats_parse_mode(const char *text, enum stats_mode *ret)
{
    static const char *const words[] = {"restore-size", "files-by-contents", "blobs-per-file",
                                        "raw-data"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (streq(text, words[i])) {
            *ret = (enum stats_mode)i;
            return true;
        }
    return false;
}

/* True if it is new. */
static bool add_key(struct map *m, str key)
{
    if (map_get(m, key))
        return false;
    map_put(m, key, m);
    return true;
}

static int add_blob(struct counting *c, enum blob_type type, const struct store_id *id,
                    struct err *err)
{
    uint32_t ordinal;
    char hex[STORE_ID_HEX];
    pthread_mutex_lock(&c->repo->lock);
    bool known = index_ordinal(c->repo->index, type, id, &ordinal);
    pthread_mutex_unlock(&c->repo->lock);
    store_id_hex(id, hex);
    if (!known)
        return err_set(err, ERR_CORRUPT, "blob %.16s is in no index", hex);
    return bits_add(&c->blobs, ordinal);
}

static int count_raw(struct counting *c, const struct node *node, struct err *err)
{
    for (size_t i = 0; i < node->content_n; i++)
        if (add_blob(c, BLOB_DATA, &node->content[i], err) < 0)
            return -1;
    if (node->type != NODE_DIR)
        return TREE_WALK_ON;
    int fresh = add_blob(c, BLOB_TREE, &node->subtree, err);
    if (fresh < 0)
        return -1;
    return fresh ? TREE_WALK_ON : TREE_WALK_SKIP;
}

static void count_restore(struct counting *c, const struct node *node)
{
    uint64_t link[2] = {node->inode, node->device_id};
    c->stats.files++;
    if (node->links == 1 || node->type == NODE_DIR || node->inode == 0 ||
        add_key(c->links, (str){(const char *)link, sizeof link}))
        c->stats.size += node->size;
}

static int count_chunks(struct counting *c, const char *path, const struct node *node,
                        struct err *err)
{
    if (node->content_n && add_key(c->paths, str_of(path)))
        c->stats.files++;
    for (size_t i = 0; i < node->content_n; i++) {
        struct buf key CLEANUP(buf_free) = {0};
        uint64_t size;
        buf_add(&key, node->content[i].b, STORE_ID_SIZE);
        buf_puts(&key, path);
        if (!repository_has_blob(c->repo, BLOB_DATA, &node->content[i], &size))
            return err_set(err, ERR_CORRUPT, "%s: a blob of it is in no index", path);
        if (!add_key(c->chunks, buf_view(&key)))
            continue;
        c->stats.blobs++;
        c->stats.size += size;
    }
    return 0;
}

static int visit(void *ctx, const char *path, const struct node *node, struct err *err)
{
    struct counting *c = ctx;
    if (c->mode == STATS_RAW_DATA)
        return count_raw(c, node, err);
    if (c->mode == STATS_RESTORE_SIZE) {
        count_restore(c, node);
        return TREE_WALK_ON;
    }
    uint8_t content[32];
    sha256(node->content, node->content_n * sizeof *node->content, content);
    if (!add_key(c->contents, (str){(const char *)content, sizeof content}))
        return TREE_WALK_ON;
    if (c->mode == STATS_BLOBS_PER_FILE)
        return count_chunks(c, path, node, err) < 0 ? -1 : TREE_WALK_ON;
    c->stats.size += node->size;
    c->stats.files++;
    return TREE_WALK_ON;
}

/* The sizes of the blobs that were met. */
static void sum_raw(struct counting *c)
{
    struct stats *s = &c->stats;
    uint32_t n = (uint32_t)index_blobs(c->repo->index);
    for (uint32_t i = 0; i < n; i++) {
        enum blob_type type;
        struct store_id id;
        struct index_place place;
        if (!bits_has(&c->blobs, i) || !index_entry(c->repo->index, i, &type, &id, &place))
            continue;
        uint64_t plain = place.plain ? place.plain + (uint64_t)CRYPTO_OVERHEAD : place.length;
        s->blobs++;
        s->size += place.length;
        if (c->repo->config.version < 2)
            continue;
        s->plain_size += plain;
        if (place.plain) {
            s->compressed += place.length;
            s->compressed_plain += plain;
        }
    }
}

static int count_tree(struct counting *c, const struct store_id *tree, struct err *err)
{
    const struct tree_visitor visitor = {.node = visit, .ctx = c};
    if (c->mode == STATS_RAW_DATA) {
        int fresh = add_blob(c, BLOB_TREE, tree, err);
        if (fresh <= 0)
            return fresh;
    }
    c->links = map_new(NULL);
    int r = tree_walk(c->repo, tree, &visitor, err);
    map_free(c->links);
    return r;
}

int stats_count(struct repository *repo, enum stats_mode mode, const struct store_id *trees,
                size_t n, struct stats *ret, struct err *err)
{
    struct counting c = {.repo = repo, .mode = mode};
    int r = 0;
    c.contents = map_new(NULL);
    c.paths = map_new(NULL);
    c.chunks = map_new(NULL);
    for (size_t i = 0; r == 0 && i < n; i++)
        r = count_tree(&c, &trees[i], err);
    if (r == 0 && mode == STATS_RAW_DATA)
        sum_raw(&c);
    map_free(c.contents);
    map_free(c.paths);
    map_free(c.chunks);
    bits_free(&c.blobs);
    if (r == 0)
        *ret = c.stats;
    return r;
}
