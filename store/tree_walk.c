#include "store/tree.h"

#include "core/vec.h"
#include "store/limits.h"

#include <stdlib.h>

void node_copy(struct arena *a, const struct node *from, struct node *to)
{
    *to = *from;
    to->name = arena_str(a, from->name);
    to->user = arena_str(a, from->user);
    to->group = arena_str(a, from->group);
    to->link_target = arena_str(a, from->link_target);
    struct node_xattr *xattrs = arena_alloc(a, from->xattrs_n * sizeof *xattrs);
    for (size_t i = 0; i < from->xattrs_n; i++)
        xattrs[i] = (struct node_xattr){arena_str(a, from->xattrs[i].name),
                                        arena_str(a, from->xattrs[i].value)};
    to->xattrs = xattrs;
    struct store_id *content = arena_alloc(a, from->content_n * sizeof *content);
    if (from->content_n)
        memcpy(content, from->content, from->content_n * sizeof *content);
    to->content = content;
}

/* One directory on the way down. */
struct level {
    struct tree_reader *reader;
    struct arena *arena; /* holds `node` */
    struct node node;    /* the directory itself; not set for the root */
    size_t path_n;       /* of the directory's own path */
};

struct levels {
    struct level *p;
    size_t n, room;
};

static void levels_free(struct levels *l)
{
    for (size_t i = 0; i < l->n; i++) {
        tree_reader_free(l->p[i].reader);
        arena_free(l->p[i].arena);
    }
    vec_free(l);
}

/* The texts of all directories on the way are in memory. */
static int check_memory(struct repository *repo, const struct levels *levels, const char *path,
                        struct err *err)
{
    size_t most = repository_tree_memory(repo), n = 0;
    for (size_t i = 0; most && i < levels->n; i++)
        n += tree_reader_bytes(levels->p[i].reader);
    return n <= most ? 0
                     : err_set(err, ERR_REFUSED,
                               "%.200s: the lists of the directories above it take more than the "
                               "%zu MiB that there are for them: give the process more memory",
                               path, most >> 20);
}

static int enter(struct repository *repo, struct levels *levels, const struct store_id *tree,
                 const struct node *node, const struct buf *path, struct err *err)
{
    struct tree_reader *reader;
    if (levels->n >= STORE_TREE_DEPTH)
        return err_set(err, ERR_TOO_LARGE, "%.200s…: directories are nested more than %d deep",
                       path->p, STORE_TREE_DEPTH);
    if (tree_reader_open(repo, tree, &reader, err) < 0)
        return err_wrap(err, "%s", path->n ? path->p : "/");
    struct level *l = vec_add(levels);
    l->reader = reader;
    l->path_n = path->n;
    if (node) {
        l->arena = arena_new();
        node_copy(l->arena, node, &l->node);
    }
    return check_memory(repo, levels, path->p, err);
}

static int leave(struct levels *levels, const struct tree_visitor *v, struct buf *path,
                 struct err *err)
{
    struct level *l = &levels->p[levels->n - 1];
    path->n = l->path_n;
    if (path->p)
        path->p[path->n] = '\0';
    if (l->arena && v->leave && v->leave(v->ctx, path->p, &l->node, err) < 0)
        return -1;
    tree_reader_free(l->reader);
    arena_free(l->arena);
    levels->n--;
    return 0;
}

int tree_walk(struct repository *repo, const struct store_id *root, const struct tree_visitor *v,
              struct err *err)
{
    struct levels levels CLEANUP(levels_free) = {0};
    struct buf path CLEANUP(buf_free) = {0};
    buf_puts(&path, "");
    if (enter(repo, &levels, root, NULL, &path, err) < 0)
        return -1;
    while (levels.n) {
        struct level *l = &levels.p[levels.n - 1];
        const struct node *node;
        path.n = l->path_n;
        path.p[path.n] = '\0';
        int more = tree_reader_next(l->reader, &node, err);
        if (more < 0)
            return err_wrap(err, "%s", path.n ? path.p : "/");
        if (more == 0) {
            if (leave(&levels, v, &path, err) < 0)
                return -1;
            continue;
        }
        buf_putc(&path, '/');
        buf_str(&path, node->name);
        int r = v->node(v->ctx, path.p, node, err);
        if (r < 0)
            return -1;
        if (node->type == NODE_DIR && r != TREE_WALK_SKIP &&
            enter(repo, &levels, &node->subtree, node, &path, err) < 0)
            return -1;
    }
    return 0;
}

/* The node `name` of a tree: 1, or 0 if it has none. */
static int find_in(struct repository *repo, const struct store_id *tree, str name, struct arena *a,
                   struct node *ret, struct err *err)
{
    struct tree_reader *r CLEANUP(tree_reader_free_p) = NULL;
    const struct node *node;
    int more;
    if (tree_reader_open(repo, tree, &r, err) < 0)
        return -1;
    while ((more = tree_reader_next(r, &node, err)) > 0) {
        if (!str_eq(node->name, name))
            continue;
        node_copy(a, node, ret);
        return 1;
    }
    return more;
}

static bool next_element(str *rest, str *ret)
{
    while (rest->n) {
        *ret = str_cut(rest, '/');
        if (ret->n)
            return true;
    }
    return false;
}

/* As tree_find; the root itself is success with *ret_root. */
static int find(struct repository *repo, const struct store_id *root, const char *path,
                struct arena *a, struct node *ret_node, bool *ret_root, struct err *err)
{
    str rest = str_of(path), name;
    struct node node = {.type = NODE_DIR, .has_subtree = true, .subtree = *root};
    *ret_root = true;
    while (next_element(&rest, &name)) {
        if (node.type != NODE_DIR)
            return err_set(err, ERR_NOT_FOUND, "%s: '%.*s' is not a directory", path,
                           STR_FMT(node.name));
        int found = find_in(repo, &node.subtree, name, a, &node, err);
        if (found < 0)
            return err_wrap(err, "%s", path);
        if (found == 0)
            return err_set(err, ERR_NOT_FOUND, "%s: there is no '%.*s' in the snapshot", path,
                           STR_FMT(name));
        *ret_root = false;
    }
    *ret_node = node;
    return 0;
}

int tree_find(struct repository *repo, const struct store_id *root, const char *path,
              struct arena *a, struct node *ret_node, struct err *err)
{
    bool is_root;
    struct node node;
    if (find(repo, root, path, a, &node, &is_root, err) < 0)
        return -1;
    if (is_root)
        return err_set(err, ERR_INVALID, "'%s' is the root, which has no node", path);
    *ret_node = node;
    return 0;
}

int tree_find_dir(struct repository *repo, const struct store_id *root, const char *path,
                  struct store_id *ret_tree, struct err *err)
{
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    bool is_root;
    struct node node;
    if (find(repo, root, path, a, &node, &is_root, err) < 0)
        return -1;
    if (node.type != NODE_DIR)
        return err_set(err, ERR_INVALID, "%s is not a directory", path);
    *ret_tree = node.subtree;
    return 0;
}
