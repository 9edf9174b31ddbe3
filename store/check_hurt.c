/* Which snapshots the damage touches: every snapshot is walked until its first path that cannot be
 * restored. Directories that were found whole are not entered again. */
#include "store/check_impl.h"

#include "store/tree.h"

struct hurt_walk {
    struct check *c;
    struct bits clean; /* trees below which all can be read, by ordinal */
};

static int visit(void *ctx, const char *path, const struct node *node, struct err *err)
{
    struct hurt_walk *w = ctx;
    struct check *c = w->c;
    uint32_t ordinal;
    if (node->type == NODE_OTHER)
        return err_set(err, ERR_CORRUPT, "%s", path);
    for (size_t i = 0; i < node->content_n; i++)
        if (!check_readable(c, BLOB_DATA, &node->content[i]))
            return err_set(err, ERR_CORRUPT, "%s", path);
    if (node->type != NODE_DIR)
        return TREE_WALK_ON;
    if (!check_readable(c, BLOB_TREE, &node->subtree))
        return err_set(err, ERR_CORRUPT, "%s", path);
    bool known = index_ordinal(c->repo->index, BLOB_TREE, &node->subtree, &ordinal);
    return known && bits_has(&w->clean, ordinal) ? TREE_WALK_SKIP : TREE_WALK_ON;
}

static int leave(void *ctx, const char *path, const struct node *node, struct err *err)
{
    struct hurt_walk *w = ctx;
    uint32_t ordinal;
    (void)path, (void)err;
    if (index_ordinal(w->c->repo->index, BLOB_TREE, &node->subtree, &ordinal))
        bits_add(&w->clean, ordinal);
    return 0;
}

static int walk_root(struct hurt_walk *w, struct check_root *root, struct err *err)
{
    const struct tree_visitor visitor = {.node = visit, .leave = leave, .ctx = w};
    struct check *c = w->c;
    struct err why = {0};
    char hex[STORE_ID_HEX];
    if (!check_readable(c, BLOB_TREE, &root->tree))
        err_set(&why, ERR_CORRUPT, "/");
    else if (tree_walk(c->repo, &root->tree, &visitor, &why) == 0)
        return 0;
    if (!check_is_damage(&why)) {
        *err = why;
        return -1;
    }
    store_id_hex(&root->snapshot, hex);
    root->hurt = true;
    check_say(c, CHECK_HURT, "snapshot %.8s cannot be restored whole, first at %s", hex, why.msg);
    return 0;
}

int check_hurt(struct check *c, struct err *err)
{
    struct hurt_walk w = {.c = c};
    int r = 0;
    for (size_t i = 0; r == 0 && i < c->roots.n; i++) {
        if (!c->roots.p[i].hurt)
            r = walk_root(&w, &c->roots.p[i], err);
        if (r == 0)
            r = check_progress(c, "hurt snapshots", i + 1, c->roots.n, err);
    }
    bits_free(&w.clean);
    return r;
}
