/* What the snapshots use: every tree is read once, in the order in which trees lie in packs. */
#include "store/prune_impl.h"

#include "core/clock.h"
#include "store/limits.h"
#include "store/tree.h"

enum { RUSTIC_QUIET_MS = 24 * 60 * 60 * 1000 };

/* A tree to be read, and where it lies. */
struct pending {
    uint32_t ordinal, pack, offset;
};

struct pendings {
    struct pending *p;
    size_t n, room;
};

static int by_place(const void *a, const void *b)
{
    const struct pending *x = a, *y = b;
    if (x->pack != y->pack)
        return x->pack < y->pack ? -1 : 1;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

static int corrupt(struct err *err, enum blob_type type, const struct store_id *id,
                   const char *what)
{
    char hex[STORE_ID_HEX];
    store_id_hex(id, hex);
    return err_set(err, ERR_CORRUPT,
                   "a snapshot refers to %s %.16s, which %s; nothing is removed: run check",
                   type == BLOB_TREE ? "tree" : "data blob", hex, what);
}

/* A snapshot of the meantime uses a blob that none used when the plan was made: one pack that holds
 * it stays. */
static int spare(struct prune *p, enum blob_type type, const struct store_id *id, struct err *err)
{
    struct index_place place, best = {0};
    uint64_t cursor = 0;
    bool found = false;
    while (index_find(p->repo->index, type, id, &cursor, &place)) {
        if (prune_stays(p, place.pack))
            return 0;
        if (!found && p->packs[place.pack].there)
            best = place, found = true;
    }
    if (!found)
        return corrupt(err, type, id, "lies in a pack that is missing");
    p->packs[best.pack].action = PACK_KEEP;
    p->result.spared++;
    return 0;
}

/* Marks a blob as used. A tree that was not seen is pending. */
static int use(struct prune *p, enum blob_type type, const struct store_id *id,
               struct pendings *pending, struct err *err)
{
    uint32_t ordinal;
    struct index_place place;
    uint64_t cursor = 0;
    int r = 0;
    pthread_mutex_lock(&p->repo->lock);
    bool known = index_ordinal(p->repo->index, type, id, &ordinal) && ordinal < p->copies_n;
    bool fresh = known && !(p->copies[ordinal] & COPY_USED);
    if (fresh) {
        p->copies[ordinal] |= COPY_USED;
        if (p->planned)
            r = spare(p, type, id, err);
    }
    if (r == 0 && fresh && type == BLOB_TREE &&
        index_find(p->repo->index, type, id, &cursor, &place))
        *vec_add(pending) = (struct pending){ordinal, place.pack, place.offset};
    pthread_mutex_unlock(&p->repo->lock);
    return known ? r : corrupt(err, type, id, "is in no index");
}

/* Whatever refers to blobs does so, also in nodes of types that we do not know. */
static int read_tree(struct prune *p, const struct store_id *id, struct pendings *pending,
                     struct err *err)
{
    struct tree_reader *reader CLEANUP(tree_reader_free_p) = NULL;
    const struct node *node;
    int more;
    if (tree_reader_open(p->repo, id, &reader, err) < 0)
        return -1;
    while ((more = tree_reader_next(reader, &node, err)) > 0) {
        for (size_t i = 0; i < node->content_n; i++)
            if (use(p, BLOB_DATA, &node->content[i], pending, err) < 0)
                return -1;
        if (node->has_subtree && use(p, BLOB_TREE, &node->subtree, pending, err) < 0)
            return -1;
    }
    return more;
}

static int read_pending(struct prune *p, const struct pending *tree, struct pendings *next,
                        struct err *err)
{
    enum blob_type type;
    struct store_id id;
    struct index_place place;
    char hex[STORE_ID_HEX];
    pthread_mutex_lock(&p->repo->lock);
    bool found = index_entry(p->repo->index, tree->ordinal, &type, &id, &place);
    pthread_mutex_unlock(&p->repo->lock);
    if (!found)
        return err_set(err, ERR_INTERNAL, "a pack was lost while trees were read");
    struct err why = {0};
    if (read_tree(p, &id, next, &why) == 0)
        return 0;
    store_id_hex(&id, hex);
    if (err)
        *err = why;
    return err_wrap(
        err, why.kind == ERR_CORRUPT ? "nothing is removed, run check: tree %.16s" : "tree %.16s",
        hex);
}

/* One depth after the other: within one, trees are read in the order of their places. */
static int walk(struct prune *p, struct pendings *level, struct err *err)
{
    uint64_t done = 0;
    int r = 0;
    while (r == 0 && level->n) {
        struct pendings next = {0};
        qsort(level->p, level->n, sizeof *level->p, by_place);
        for (size_t i = 0; r == 0 && i < level->n; i++) {
            r = read_pending(p, &level->p[i], &next, err);
            if (r == 0)
                r = prune_tick(p, PRUNE_WALK, ++done, 0, err);
        }
        vec_free(level);
        *level = next;
    }
    return r;
}

/* ---- snapshots ---- */

/* rustic takes no locks: what it is writing now is in no snapshot, and nobody can wait for it. */
static int refuse_rustic(const struct snapshot *s, struct err *err)
{
    int64_t age = clock_wall_ms() - (int64_t)s->time.tv_sec * 1000;
    if (strncmp(s->program_version, "rustic", strlen("rustic")) != 0 || age >= RUSTIC_QUIET_MS)
        return 0;
    return err_set(
        err, ERR_REFUSED,
        "rustic wrote here less than a day ago: it takes no locks, so that a prune could "
        "remove what it is using; wait, or prune with rustic");
}

/* A snapshot that was not walked yet. */
struct root {
    struct store_id snapshot, tree;
};

struct roots {
    struct root *p;
    size_t n, room;
};

/* A file that is listed and not there is as bad as one that cannot be read: whoever forgets a
 * snapshot has the repository for himself, so that this is a store that does not tell the truth. */
static int take_snapshot(struct prune *p, const struct store_id *id, struct roots *roots,
                         struct err *err)
{
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct snapshot s;
    str key = {(const char *)id->b, STORE_ID_SIZE};
    if (map_get(p->snapshots, key))
        return 0;
    if (snapshot_load(p->repo, id, a, &s, err) < 0) {
        if (err && (err->kind == ERR_NOT_FOUND || err->kind == ERR_UNSUPPORTED))
            err->kind = ERR_CORRUPT;
        return err_wrap(err, "a snapshot cannot be read, so nothing is removed: run check");
    }
    if (refuse_rustic(&s, err) < 0)
        return -1;
    map_put(p->snapshots, key, p);
    *vec_add(roots) = (struct root){*id, s.tree};
    p->result.snapshots++;
    return prune_tick(p, PRUNE_WALK, 0, 0, err);
}

/* A list that lacks them would have their data removed. */
static int ask_for_known(struct prune *p, struct roots *roots, struct err *err)
{
    const struct prune_options *o = p->options;
    for (size_t i = 0; i < o->known_n; i++) {
        const struct backend_file file = {BACKEND_SNAPSHOT, o->known[i]};
        struct err why = {0};
        uint64_t size;
        if (map_get(p->snapshots, (str){(const char *)o->known[i].b, STORE_ID_SIZE}))
            continue;
        if (backend_stat(p->repo->backend, &file, &size, &why) == 0) {
            if (take_snapshot(p, &o->known[i], roots, err) < 0)
                return -1;
        } else if (why.kind != ERR_NOT_FOUND) {
            if (err)
                *err = why;
            return -1;
        }
    }
    return 0;
}

static int list_snapshots(struct prune *p, struct roots *roots, struct err *err)
{
    struct store_ids ids = {0};
    backend_look_again(p->repo->backend, BACKEND_SNAPSHOT);
    int r =
        backend_list_ids(p->repo->backend, BACKEND_SNAPSHOT, true, STORE_SNAPSHOTS_MAX, &ids, err);
    for (size_t i = 0; r == 0 && i < ids.n; i++)
        r = take_snapshot(p, &ids.p[i], roots, err);
    vec_free(&ids);
    return r < 0 ? -1 : ask_for_known(p, roots, err);
}

static int walk_roots(struct prune *p, const struct roots *roots, struct err *err)
{
    struct pendings level = {0};
    int r = 0;
    for (size_t i = 0; r == 0 && i < roots->n; i++) {
        char hex[STORE_ID_HEX];
        store_id_hex(&roots->p[i].snapshot, hex);
        r = use(p, BLOB_TREE, &roots->p[i].tree, &level, err);
        if (r < 0)
            err_wrap(err, "snapshot %.8s", hex);
    }
    if (r == 0)
        r = walk(p, &level, err);
    vec_free(&level);
    return r;
}

static void make_room(struct prune *p)
{
    size_t n = index_blobs(p->repo->index);
    if (n > p->copies_n) {
        p->copies = xrealloc(p->copies, n);
        memset(p->copies + p->copies_n, 0, n - p->copies_n);
        p->copies_n = n;
    }
}

/* The index is loaded after the snapshots were listed: what they refer to was indexed before they
 * were written. */
int prune_walk(struct prune *p, bool twice, struct err *err)
{
    struct roots roots = {0};
    int r = list_snapshots(p, &roots, err);
    if (r == 0 && twice)
        r = list_snapshots(p, &roots, err);
    if (r == 0)
        r = prune_load_index(p, err);
    if (r == 0) {
        make_room(p);
        r = walk_roots(p, &roots, err);
    }
    vec_free(&roots);
    return r;
}
