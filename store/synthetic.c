#include "store/synthetic.h"

#include "store/stream.h"

#include <stdlib.h>
#include <sys/stat.h>

/* A file, a graft or a directory, before its tree is written. Children are a sorted, growing array:
 * most callers add in order, so that inserting is appending. */
struct item {
    char *name;
    enum { ITEM_DIR, ITEM_FILE, ITEM_GRAFT } kind;
    int64_t mtime; /* of a file, as is: */
    uint64_t size;
    const struct node *like; /* of the others; NULL: as all */
    struct store_id tree;    /* of a graft */
    struct store_ids content;
    struct {
        struct item **p;
        size_t n, room;
    } children;
};

struct synthetic {
    struct repository *repo;
    struct stream_saver *saver;
    int64_t dir_time;
    struct arena *likes;
    struct item root;
};

struct synthetic *synthetic_new(struct repository *repo, int64_t dir_time)
{
    struct synthetic *s = xcalloc(1, sizeof *s);
    s->repo = repo;
    s->saver = stream_saver_new(repo);
    s->dir_time = dir_time;
    s->likes = arena_new();
    return s;
}

static void free_children(struct item *dir)
{
    for (size_t i = 0; i < dir->children.n; i++) {
        struct item *c = dir->children.p[i];
        free_children(c);
        vec_free(&c->content);
        free(c->name);
        free(c);
    }
    vec_free(&dir->children);
}

void synthetic_free(struct synthetic *s)
{
    if (!s)
        return;
    free_children(&s->root);
    stream_saver_free(s->saver);
    arena_free(s->likes);
    free(s);
}

/* Where `name` is or would be among the children. */
static size_t place_of(const struct item *dir, str name, bool *ret_found)
{
    size_t low = 0, high = dir->children.n;
    *ret_found = false;
    if (high && str_cmp(str_of(dir->children.p[high - 1]->name), name) < 0)
        return high;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = str_cmp(str_of(dir->children.p[mid]->name), name);
        if (order == 0) {
            *ret_found = true;
            return mid;
        }
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static struct item *insert(struct item *dir, size_t at, str name)
{
    (void)vec_add(&dir->children);
    memmove(dir->children.p + at + 1, dir->children.p + at,
            (dir->children.n - 1 - at) * sizeof *dir->children.p);
    struct item *c = xcalloc(1, sizeof *c);
    c->name = str_dup(name);
    dir->children.p[at] = c;
    return c;
}

static bool is_name(str s)
{
    return s.n > 0 && s.n <= 255 && !str_is(s, ".") && !str_is(s, "..");
}

/* Makes the directories of path, and the last element as a new item; *ret_item is an existing
 * directory where may_exist allows it. */
static int make_item(struct synthetic *s, const char *path, bool may_exist, struct item **ret_item,
                     struct err *err)
{
    str rest = str_of(path);
    struct item *at = &s->root;
    if (rest.n && rest.p[0] == '/')
        rest.p++, rest.n--;
    for (;;) {
        str name = str_cut(&rest, '/');
        bool last = rest.p == NULL, found;
        if (!is_name(name))
            return err_set(err, ERR_INVALID, "'%s' is not a path of a file in a snapshot", path);
        size_t place = place_of(at, name, &found);
        struct item *child = found ? at->children.p[place] : insert(at, place, name);
        if (found && (child->kind != ITEM_DIR || (last && !may_exist)))
            return err_set(err, ERR_EXISTS, "'%s': '%.*s' is there already", path, STR_FMT(name));
        at = child;
        if (last)
            break;
    }
    *ret_item = at;
    return 0;
}

int synthetic_add(struct synthetic *s, const char *path, const void *p, size_t n, int64_t mtime,
                  struct err *err)
{
    struct item *item;
    if (make_item(s, path, false, &item, err) < 0)
        return -1;
    item->kind = ITEM_FILE;
    item->mtime = mtime;
    item->size = n;
    if (stream_save_bytes(s->saver, p, n, &item->content, err) < 0)
        return err_wrap(err, "%s", path);
    /* Nearly every file is one chunk, and there may be 100 000: no room for seven more. */
    item->content.room = item->content.n;
    item->content.p = xrealloc(item->content.p, MAX(1, item->content.n) * sizeof *item->content.p);
    return 0;
}

static const struct node *copy_of(struct arena *a, const struct node *like)
{
    if (!like)
        return NULL;
    struct node *copy = arena_alloc(a, sizeof *copy);
    struct node_xattr *xattrs = arena_alloc(a, like->xattrs_n * sizeof *xattrs);
    for (size_t i = 0; i < like->xattrs_n; i++)
        xattrs[i] = (struct node_xattr){arena_str(a, like->xattrs[i].name),
                                        arena_str(a, like->xattrs[i].value)};
    *copy = (struct node){.mode = like->mode,
                          .mtime = like->mtime,
                          .atime = like->atime,
                          .ctime = like->ctime,
                          .uid = like->uid,
                          .gid = like->gid,
                          .user = arena_str(a, like->user),
                          .group = arena_str(a, like->group),
                          .inode = like->inode,
                          .xattrs = xattrs,
                          .xattrs_n = like->xattrs_n};
    return copy;
}

int synthetic_add_dir(struct synthetic *s, const char *path, const struct node *like,
                      struct err *err)
{
    struct item *item;
    if (make_item(s, path, true, &item, err) < 0)
        return -1;
    item->like = copy_of(s->likes, like);
    return 0;
}

int synthetic_graft(struct synthetic *s, const char *path, const struct store_id *tree,
                    const struct node *like, struct err *err)
{
    struct item *item;
    if (!repository_has_blob(s->repo, BLOB_TREE, tree, NULL)) {
        char hex[STORE_ID_HEX];
        store_id_hex(tree, hex);
        return err_set(err, ERR_NOT_FOUND, "%s: tree %.16s is not in this repository", path, hex);
    }
    if (make_item(s, path, false, &item, err) < 0)
        return -1;
    item->kind = ITEM_GRAFT;
    item->tree = *tree;
    item->like = copy_of(s->likes, like);
    return 0;
}

static int save_dir(struct synthetic *s, struct item *dir, int depth, struct store_id *ret_tree,
                    struct err *err);

static int add_child(struct synthetic *s, struct tree_writer *w, struct item *c, int depth,
                     struct err *err)
{
    struct timespec t = {c->kind == ITEM_FILE ? c->mtime : s->dir_time, 0};
    struct node node = {
        .mode = node_mode_from_posix(S_IFDIR | 0700), .mtime = t, .atime = t, .ctime = t};
    if (c->like)
        node = *c->like;
    node.name = str_of(c->name);
    if (c->kind == ITEM_FILE) {
        node.type = NODE_FILE;
        node.mode = node_mode_from_posix(S_IFREG | 0600);
        node.size = c->size;
        node.links = 1;
        node.content = c->content.p;
        node.content_n = c->content.n;
        return tree_writer_add(w, &node, err);
    }
    node.type = NODE_DIR;
    node.has_subtree = true;
    node.subtree = c->tree;
    if (c->kind == ITEM_DIR && save_dir(s, c, depth + 1, &node.subtree, err) < 0)
        return -1;
    return tree_writer_add(w, &node, err);
}

static int save_dir(struct synthetic *s, struct item *dir, int depth, struct store_id *ret_tree,
                    struct err *err)
{
    struct tree_writer *w CLEANUP(tree_writer_free_p) = tree_writer_new();
    if (depth > 256)
        return err_set(err, ERR_INVALID, "a path has more than 256 elements");
    for (size_t i = 0; i < dir->children.n; i++)
        if (add_child(s, w, dir->children.p[i], depth, err) < 0)
            return -1;
    return tree_writer_finish(w, s->repo, ret_tree, NULL, err);
}

int synthetic_finish(struct synthetic *s, struct store_id *ret_tree, struct err *err)
{
    struct store_id tree;
    if (save_dir(s, &s->root, 0, &tree, err) < 0)
        return -1;
    free_children(&s->root);
    *ret_tree = tree;
    return 0;
}
