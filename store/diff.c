#include "store/diff.h"

#include "store/bits.h"
#include "store/limits.h"
#include "store/repository_impl.h"

struct diff {
    struct repository *repo;
    bool metadata;
    diff_fn *fn;
    void *ctx;
    struct diff_result result;
    struct bits before, after, common; /* blobs, by ordinal */
    struct buf path;                   /* ends with '/' */
    unsigned depth;
};

static bool time_equal(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool xattrs_equal(const struct node *a, const struct node *b)
{
    bool equal = a->xattrs_n == b->xattrs_n;
    for (size_t i = 0; equal && i < a->xattrs_n; i++) {
        equal = false;
        for (size_t j = 0; j < b->xattrs_n && !equal; j++)
            equal = str_eq(a->xattrs[i].name, b->xattrs[j].name) &&
                    str_eq(a->xattrs[i].value, b->xattrs[j].value);
    }
    return equal;
}

static bool content_equal(const struct node *a, const struct node *b)
{
    return a->content_n == b->content_n &&
           (a->content_n == 0 ||
            memcmp(a->content, b->content, a->content_n * sizeof *a->content) == 0);
}

bool node_equal(const struct node *a, const struct node *b, bool content)
{
    return str_eq(a->name, b->name) && a->type == b->type && a->mode == b->mode &&
           time_equal(a->mtime, b->mtime) && time_equal(a->atime, b->atime) &&
           time_equal(a->ctime, b->ctime) && a->uid == b->uid && a->gid == b->gid &&
           str_eq(a->user, b->user) && str_eq(a->group, b->group) && a->inode == b->inode &&
           a->device_id == b->device_id && a->size == b->size && a->links == b->links &&
           str_eq(a->link_target, b->link_target) && a->device == b->device &&
           a->has_subtree == b->has_subtree &&
           (!a->has_subtree || store_id_equal(&a->subtree, &b->subtree)) && xattrs_equal(a, b) &&
           (!content || content_equal(a, b));
}

/* ---- counting ---- */

static void add_blob(struct diff *d, struct bits *to, enum blob_type type,
                     const struct store_id *id)
{
    uint32_t ordinal;
    pthread_mutex_lock(&d->repo->lock);
    if (index_ordinal(d->repo->index, type, id, &ordinal))
        bits_add(to, ordinal);
    pthread_mutex_unlock(&d->repo->lock);
}

static void add_blobs(struct diff *d, struct bits *to, const struct node *node)
{
    for (size_t i = 0; i < node->content_n; i++)
        add_blob(d, to, BLOB_DATA, &node->content[i]);
    if (node->type == NODE_DIR)
        add_blob(d, to, BLOB_TREE, &node->subtree);
}

static void count(struct diff_stat *s, const struct node *node)
{
    if (node->type == NODE_FILE)
        s->files++;
    else if (node->type == NODE_DIR)
        s->dirs++;
    else
        s->others++;
}

static void sum_blobs(struct diff *d, const struct bits *mine, const struct bits *theirs,
                      struct diff_stat *s)
{
    for (uint32_t i = 0; i < index_blobs(d->repo->index); i++) {
        enum blob_type type;
        struct store_id id;
        struct index_place place;
        if (!bits_has(mine, i) || bits_has(theirs, i) || bits_has(&d->common, i) ||
            !index_entry(d->repo->index, i, &type, &id, &place))
            continue;
        if (type == BLOB_TREE)
            s->tree_blobs++;
        else
            s->data_blobs++;
        s->bytes += place.plain ? place.plain : place.length - CRYPTO_OVERHEAD;
    }
}

/* ---- walking ---- */

static size_t push(struct diff *d, const struct node *node)
{
    size_t before = d->path.n;
    buf_str(&d->path, node->name);
    if (node->type == NODE_DIR)
        buf_putc(&d->path, '/');
    return before;
}

static void pop(struct diff *d, size_t before)
{
    d->path.n = before;
    d->path.p[before] = '\0';
}

static void tell(const struct diff *d, const char *modifier)
{
    if (d->fn && *modifier)
        d->fn(d->ctx, d->path.p, modifier);
}

static int open_tree(struct diff *d, const struct store_id *id, struct tree_reader **ret,
                     struct err *err)
{
    if (d->depth >= STORE_TREE_DEPTH)
        return err_set(err, ERR_CORRUPT, "directories are nested too deep");
    return tree_reader_open(d->repo, id, ret, err) < 0 ? err_wrap(err, "%s", d->path.p) : 0;
}

/* A tree that only one side has; or, without a modifier, that both have. */
static int one_side(struct diff *d, const struct store_id *tree, const char *modifier,
                    struct diff_stat *s, struct bits *blobs, struct err *err)
{
    struct tree_reader *reader CLEANUP(tree_reader_free_p) = NULL;
    const struct node *node;
    int more;
    if (open_tree(d, tree, &reader, err) < 0)
        return -1;
    d->depth++;
    while ((more = tree_reader_next(reader, &node, err)) > 0) {
        size_t before = push(d, node);
        add_blobs(d, blobs, node);
        if (modifier) {
            tell(d, modifier);
            count(s, node);
        }
        if (node->type == NODE_DIR && one_side(d, &node->subtree, modifier, s, blobs, err) < 0)
            return -1;
        pop(d, before);
    }
    d->depth--;
    return more;
}

static int only(struct diff *d, const struct node *node, bool added, struct err *err)
{
    struct diff_stat *s = added ? &d->result.added : &d->result.removed;
    struct bits *blobs = added ? &d->after : &d->before;
    const char *modifier = added ? "+" : "-";
    size_t before = push(d, node);
    tell(d, modifier);
    count(s, node);
    add_blobs(d, blobs, node);
    if (node->type == NODE_DIR && one_side(d, &node->subtree, modifier, s, blobs, err) < 0)
        return -1;
    pop(d, before);
    return 0;
}

static int both_sides(struct diff *d, const struct store_id *a, const struct store_id *b,
                      struct err *err);

static int compare(struct diff *d, const struct node *a, const struct node *b, struct err *err)
{
    char modifier[4] = "";
    size_t n = 0;
    size_t before = push(d, b);
    add_blobs(d, &d->before, a);
    add_blobs(d, &d->after, b);
    if (a->type != b->type)
        modifier[n++] = 'T';
    if (a->type == NODE_FILE && b->type == NODE_FILE && !content_equal(a, b)) {
        modifier[n++] = 'M';
        d->result.changed_files++;
        if (node_equal(a, b, false))
            modifier[n++] = '?';
    } else if (d->metadata && !node_equal(a, b, true)) {
        modifier[n++] = 'U';
    }
    tell(d, modifier);
    int r = 0;
    if (a->type == NODE_DIR && b->type == NODE_DIR)
        r = store_id_equal(&a->subtree, &b->subtree)
                ? one_side(d, &a->subtree, NULL, NULL, &d->common, err)
                : both_sides(d, &a->subtree, &b->subtree, err);
    pop(d, before);
    return r;
}

/* Both are sorted by name. */
static int both_sides(struct diff *d, const struct store_id *a, const struct store_id *b,
                      struct err *err)
{
    struct tree_reader *ra CLEANUP(tree_reader_free_p) = NULL;
    struct tree_reader *rb CLEANUP(tree_reader_free_p) = NULL;
    const struct node *na, *nb;
    if (open_tree(d, a, &ra, err) < 0 || open_tree(d, b, &rb, err) < 0)
        return -1;
    d->depth++;
    int ma = tree_reader_next(ra, &na, err), mb = ma < 0 ? -1 : tree_reader_next(rb, &nb, err);
    while (ma > 0 || mb > 0) {
        int order = ma <= 0 ? 1 : mb <= 0 ? -1 : str_cmp(na->name, nb->name);
        if (ma < 0 || mb < 0)
            return -1;
        int r = order < 0   ? only(d, na, false, err)
                : order > 0 ? only(d, nb, true, err)
                            : compare(d, na, nb, err);
        if (r < 0)
            return -1;
        if (order <= 0)
            ma = tree_reader_next(ra, &na, err);
        if (order >= 0 && ma >= 0)
            mb = tree_reader_next(rb, &nb, err);
    }
    d->depth--;
    return ma < 0 || mb < 0 ? -1 : 0;
}

int diff_trees(struct repository *repo, const struct store_id *before, const struct store_id *after,
               bool metadata, diff_fn *fn, void *ctx, struct diff_result *ret, struct err *err)
{
    struct diff d = {.repo = repo, .metadata = metadata, .fn = fn, .ctx = ctx};
    buf_putc(&d.path, '/');
    add_blob(&d, &d.before, BLOB_TREE, before);
    add_blob(&d, &d.after, BLOB_TREE, after);
    int r = both_sides(&d, before, after, err);
    if (r == 0) {
        sum_blobs(&d, &d.before, &d.after, &d.result.removed);
        sum_blobs(&d, &d.after, &d.before, &d.result.added);
        *ret = d.result;
    }
    bits_free(&d.before);
    bits_free(&d.after);
    bits_free(&d.common);
    buf_free(&d.path);
    return r;
}
