/* Index files, packs, snapshots, trees: everything but the bytes of the packs. */
#include "store/check_impl.h"

#include "store/limits.h"
#include "store/tree.h"

/* ---- index ---- */

struct extent {
    uint32_t offset, length;
};

static int by_offset(const void *a, const void *b)
{
    const struct extent *x = a, *y = b;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

/* That the blobs lie one after the other from the start of the pack, in whatever order they are
 * named. */
static bool lie_in_line(const struct pack_blob *blobs, const uint32_t *offsets, size_t n)
{
    struct extent *e CLEANUP(free_p) = xmalloc(n * sizeof *e);
    for (size_t i = 0; i < n; i++)
        e[i] = (struct extent){offsets[i], blobs[i].length};
    qsort(e, n, sizeof *e, by_offset);
    uint64_t at = 0;
    for (size_t i = 0; i < n; at += e[i++].length)
        if (e[i].offset != at)
            return false;
    return true;
}

static bool is_mixed(const struct pack_blob *blobs, size_t n)
{
    for (size_t i = 1; i < n; i++)
        if (blobs[i].type != blobs[0].type)
            return true;
    return false;
}

/* That another index file said the same of this pack. */
static bool says_the_same(const struct check *c, uint32_t pack, const struct pack_blob *blobs,
                          const uint32_t *offsets, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct index_place place;
        uint64_t cursor = 0;
        bool found = false;
        while (!found && index_find(c->repo->index, blobs[i].type, &blobs[i].id, &cursor, &place))
            found = place.pack == pack && place.offset == offsets[i] &&
                    place.length == blobs[i].length && place.plain == blobs[i].plain;
        if (!found)
            return false;
    }
    return n == c->blobs_of.p[pack];
}

struct index_reading {
    struct check *c;
    char hex[STORE_ID_HEX];
};

static int add_pack(void *ctx, const struct store_id *pack, const struct pack_blob *blobs,
                    const uint32_t *offsets, size_t n, struct err *err)
{
    struct index_reading *reading = ctx;
    struct check *c = reading->c;
    struct index *ix = c->repo->index;
    char hex[STORE_ID_HEX];
    uint32_t number;
    store_id_hex(pack, hex);
    if (is_mixed(blobs, n))
        check_say(c, CHECK_HINT, "pack %s holds both data and trees", hex);
    bool known = index_find_pack(ix, pack, &number), conflict = false;
    if (known) {
        c->result.index_wrong = true;
        conflict = !says_the_same(c, number, blobs, offsets, n);
        check_say(c, conflict ? CHECK_DAMAGE : CHECK_HINT,
                  conflict ? "pack %s: index %.10s says other things of it than another index"
                           : "pack %s is named by more than one index file, also by %.10s",
                  hex, reading->hex);
    }
    if (index_add_pack(ix, pack, blobs, offsets, n, err) < 0)
        return -1;
    if (!known) {
        (void)index_find_pack(ix, pack, &number);
        while (c->blobs_of.n <= number)
            (void)vec_add(&c->blobs_of);
        c->blobs_of.p[number] = (uint32_t)n;
        if (!lie_in_line(blobs, offsets, n)) {
            conflict = c->result.index_wrong = true;
            check_say(c, CHECK_DAMAGE,
                      "pack %s: the blobs that index %.10s names overlap or leave gaps", hex,
                      reading->hex);
        }
    }
    if (conflict)
        index_pack(ix, number)->conflict = true;
    return 0;
}

int check_index(struct check *c, struct err *err)
{
    struct store_ids ids = {0};
    int r = backend_list_ids(c->repo->backend, BACKEND_INDEX, true, SIZE_MAX, &ids, err);
    for (size_t i = 0; r == 0 && i < ids.n; i++) {
        struct err why = {0};
        struct index_reading reading = {.c = c};
        store_id_hex(&ids.p[i], reading.hex);
        if (repository_read_index(c->repo, &ids.p[i], add_pack, &reading, &why) == 0)
            repository_know_index(c->repo, &ids.p[i]);
        else if (check_is_damage(&why))
            c->result.index_wrong = true, check_say(c, CHECK_DAMAGE, "%s", why.msg);
        else
            r = -1, *err = why;
        if (r == 0)
            r = check_progress(c, "index files", i + 1, ids.n, err);
    }
    vec_free(&ids);
    return r;
}

/* ---- packs ---- */

struct pack_listing {
    struct check *c;
    struct bits there;
};

static int see_pack(void *ctx, const struct store_id *id, uint64_t size, struct err *err)
{
    struct pack_listing *l = ctx;
    struct check *c = l->c;
    char hex[STORE_ID_HEX];
    uint32_t number;
    (void)err;
    store_id_hex(id, hex);
    c->result.packs++;
    if (!index_find_pack(c->repo->index, id, &number)) {
        check_say(c, CHECK_HINT, "pack %s is named by no index", hex);
        return 0;
    }
    const struct index_pack *p = index_pack(c->repo->index, number);
    bits_add(&l->there, number);
    if (p->size != size) {
        check_say(c, CHECK_DAMAGE, "pack %s has %llu bytes, but its blobs make %llu", hex,
                  (unsigned long long)size, (unsigned long long)p->size);
        *vec_add(&c->broken) = *id;
    } else if (!p->conflict)
        bits_add(&c->whole, number);
    return 0;
}

int check_packs(struct check *c, struct err *err)
{
    struct pack_listing l = {.c = c};
    int r = backend_list(c->repo->backend, BACKEND_DATA, see_pack, &l, err);
    for (uint32_t i = 0; r == 0 && i < index_packs(c->repo->index); i++) {
        char hex[STORE_ID_HEX];
        store_id_hex(&index_pack(c->repo->index, i)->id, hex);
        if (!bits_has(&l.there, i))
            check_say(c, CHECK_DAMAGE, "pack %s is missing", hex);
    }
    bits_free(&l.there);
    return r;
}

/* ---- snapshots ---- */

int check_snapshots(struct check *c, struct err *err)
{
    for (size_t i = 0; i < c->snapshot_ids.n; i++) {
        struct arena *a CLEANUP(arena_free_p) = arena_new();
        struct snapshot s;
        struct err why = {0};
        struct check_root root = {.snapshot = c->snapshot_ids.p[i]};
        if (snapshot_load(c->repo, &root.snapshot, a, &s, &why) == 0) {
            root.tree = s.tree;
        } else if (check_is_damage(&why)) {
            root.hurt = true;
            check_say(c, CHECK_DAMAGE, "%s", why.msg);
        } else {
            *err = why;
            return -1;
        }
        *vec_add(&c->roots) = root;
        c->result.snapshots++;
        if (check_progress(c, "snapshots", i + 1, c->snapshot_ids.n, err) < 0)
            return -1;
    }
    return 0;
}

/* ---- trees ---- */

struct tree_walk_state {
    struct check *c;
    struct store_ids stack; /* trees to look at; guarded by the check's mutex, as all below */
    unsigned busy;
    bool stop;
    struct err err;
    pthread_cond_t changed;
};

/* Finds a blob in the index; true if it is new. */
static bool see_blob(struct check *c, enum blob_type type, const struct store_id *id,
                     bool *ret_known)
{
    uint32_t ordinal;
    *ret_known = index_ordinal(c->repo->index, type, id, &ordinal);
    if (!*ret_known)
        return false;
    pthread_mutex_lock(&c->mutex);
    bool fresh = bits_add(&c->seen, ordinal);
    c->result.blobs += fresh;
    pthread_mutex_unlock(&c->mutex);
    return fresh;
}

static void check_file(struct check *c, const char *tree, const struct node *node)
{
    uint64_t size = 0;
    bool known = true;
    for (size_t i = 0; i < node->content_n; i++) {
        uint64_t n = 0;
        (void)see_blob(c, BLOB_DATA, &node->content[i], &known);
        if (!known) {
            char hex[STORE_ID_HEX];
            store_id_hex(&node->content[i], hex);
            check_say(c, CHECK_DAMAGE, "tree %.10s: file '%.*s': its blob %.10s is in no index",
                      tree, STR_FMT(node->name), hex);
            return;
        }
        (void)repository_has_blob(c->repo, BLOB_DATA, &node->content[i], &n);
        size += n;
    }
    if (size != node->size)
        check_say(c, CHECK_HINT, "tree %.10s: file '%.*s' says %llu bytes, but its blobs have %llu",
                  tree, STR_FMT(node->name), (unsigned long long)node->size,
                  (unsigned long long)size);
}

static void check_node(struct check *c, const char *tree, const struct node *node,
                       struct store_ids *children)
{
    bool known;
    if (node->type == NODE_OTHER)
        check_say(c, CHECK_DAMAGE, "tree %.10s: '%.*s' has a type that nobody knows", tree,
                  STR_FMT(node->name));
    if (node->type == NODE_FILE)
        check_file(c, tree, node);
    if (node->type != NODE_DIR)
        return;
    if (see_blob(c, BLOB_TREE, &node->subtree, &known))
        *vec_add(children) = node->subtree;
    if (known)
        return;
    char hex[STORE_ID_HEX];
    store_id_hex(&node->subtree, hex);
    check_say(c, CHECK_DAMAGE, "tree %.10s: directory '%.*s': its tree %.10s is in no index", tree,
              STR_FMT(node->name), hex);
}

static int check_tree(struct check *c, const struct store_id *id, struct store_ids *children,
                      struct err *err)
{
    struct tree_reader *reader CLEANUP(tree_reader_free_p) = NULL;
    const struct node *node;
    struct err why = {0};
    char hex[STORE_ID_HEX];
    store_id_hex(id, hex);
    int more = tree_reader_open(c->repo, id, &reader, &why);
    if (more == 0)
        while ((more = tree_reader_next(reader, &node, &why)) > 0)
            check_node(c, hex, node, children);
    if (more < 0 && !check_is_damage(&why)) {
        *err = why;
        return -1;
    }
    if (more < 0)
        check_say(c, CHECK_DAMAGE, "tree %.10s cannot be read: %s", hex, why.msg);
    return 0;
}

static void *tree_worker(void *ctx)
{
    struct tree_walk_state *w = ctx;
    struct check *c = w->c;
    struct store_ids children = {0};
    pthread_mutex_lock(&c->mutex);
    for (;;) {
        while (!w->stop && !w->stack.n && w->busy)
            pthread_cond_wait(&w->changed, &c->mutex);
        if (w->stop || !w->stack.n)
            break;
        struct store_id id = w->stack.p[--w->stack.n];
        struct err err;
        uint64_t done = ++c->result.trees;
        w->busy++;
        pthread_mutex_unlock(&c->mutex);
        children.n = 0;
        int r = check_tree(c, &id, &children, &err);
        if (r == 0)
            r = check_progress(c, "trees", done, 0, &err);
        pthread_mutex_lock(&c->mutex);
        w->busy--;
        for (size_t i = 0; i < children.n; i++)
            *vec_add(&w->stack) = children.p[i];
        if (r < 0 && !w->stop)
            w->stop = true, w->err = err;
        pthread_cond_broadcast(&w->changed);
    }
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&c->mutex);
    vec_free(&children);
    return NULL;
}

int check_trees(struct check *c, struct err *err)
{
    struct tree_walk_state w = {.c = c};
    for (size_t i = 0; i < c->roots.n; i++) {
        const struct check_root *root = &c->roots.p[i];
        char hex[STORE_ID_HEX], tree[STORE_ID_HEX];
        bool known = true;
        if (root->hurt) /* its file cannot be read */
            continue;
        if (see_blob(c, BLOB_TREE, &root->tree, &known))
            *vec_add(&w.stack) = root->tree;
        store_id_hex(&root->snapshot, hex);
        store_id_hex(&root->tree, tree);
        if (!known)
            check_say(c, CHECK_DAMAGE, "snapshot %.8s: its tree %.10s is in no index", hex, tree);
    }
    pthread_cond_init(&w.changed, NULL);
    check_in_threads(c, tree_worker, &w);
    pthread_cond_destroy(&w.changed);
    vec_free(&w.stack);
    if (w.stop)
        *err = w.err;
    return w.stop ? -1 : 0;
}
