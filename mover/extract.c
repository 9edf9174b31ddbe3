#include "mover/extract.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "mover/crew.h"
#include "mover/place.h"
#include "mover/root.h"
#include "store/limits.h"

static const char *here(const struct extract *x)
{
    return volume_path_text(&x->path);
}

static int extract_entries(struct extract *x, struct crew_dir *dir, const struct store_id *tree,
                           unsigned depth, struct err *err);

/* The tree gives names without '/', NUL, "." and ".."; here once more, where it counts. */
static int check_name(const struct extract *x, str name, char out[256], struct err *err)
{
    if (name.n == 0 || name.n > 255 || memchr(name.p, '/', name.n) || memchr(name.p, 0, name.n) ||
        str_is(name, ".") || str_is(name, ".."))
        return err_set(err, ERR_CORRUPT, "the tree of %.300s holds a name that no file can have",
                       here(x));
    memcpy(out, name.p, name.n);
    out[name.n] = '\0';
    return 0;
}

static enum extract_want want(const struct extract *x, const struct node *node)
{
    const struct extract_choice *choice = x->choice;
    return choice && choice->want ? choice->want(choice->ctx, here(x), node) : EXTRACT_WANT;
}

/* That something below the directory is wanted. */
static int any_wanted(struct extract *x, const struct store_id *tree, unsigned depth,
                      struct err *err)
{
    struct tree_reader *reader CLEANUP(tree_reader_free_p) = NULL;
    const struct node *node;
    int found = 0, more = 1;
    if (depth >= STORE_TREE_DEPTH)
        return err_set(err, ERR_CORRUPT, "%.300s: too deep", here(x));
    if (tree_reader_open(x->repo, tree, &reader, err) < 0)
        return err_wrap(err, "tree of %s", here(x));
    while (found == 0 && (more = tree_reader_next(reader, &node, err)) > 0) {
        char name[256];
        if (check_name(x, node->name, name, err) < 0)
            return -1;
        size_t before = volume_path_push(&x->path, name);
        enum extract_want is = want(x, node);
        if (is == EXTRACT_ENTER && node->type == NODE_DIR && node->has_subtree)
            found = any_wanted(x, &node->subtree, depth + 1, err);
        else
            found = is == EXTRACT_WANT;
        volume_path_pop(&x->path, before);
    }
    return more < 0 ? -1 : found;
}

static int extract_dir(struct extract *x, int dir, const char *name, const struct node *node,
                       unsigned depth, struct err *err)
{
    struct err why;
    int fd;
    if (place_dir(x, dir, name, &fd, err) < 0)
        return -1;
    if (fd < 0)
        return 0;
    struct crew_dir *entered CLEANUP(crew_abandon) = crew_enter(x->crew, fd);
    if (extract_entries(x, entered, &node->subtree, depth + 1, &why) < 0 &&
        place_failed(x, &why, err) < 0)
        return -1;
    if (x->removing)
        return 0;
    x->problems.report->dirs++;
    crew_leave(TAKE(entered), x, node);
    return 0;
}

/* The pass that makes room: enters what is a directory on both sides, removes what is of another
 * type. */
static int make_room(struct extract *x, int dir, const char *name, const struct node *node,
                     unsigned depth, struct err *err)
{
    struct volume_stat st;
    if (volume_stat(dir, name, &st) < 0 || !volume_same_mount(&x->root, &st))
        return 0;
    bool is_dir = S_ISDIR(st.mode);
    if (is_dir && node->type == NODE_DIR)
        return extract_dir(x, dir, name, node, depth, err);
    if (is_dir != (node->type == NODE_DIR) && node->type < NODE_OTHER)
        return place_remove(x, dir, name, err) < 0 ? -1 : 0;
    return 0;
}

static int extract_node(struct extract *x, struct crew_dir *dir, const char *name,
                        const struct node *node, unsigned depth, struct err *err)
{
    if (node->type == NODE_DIR && (!node->has_subtree || depth >= STORE_TREE_DEPTH))
        return err_set(err, ERR_CORRUPT, "%.300s: a directory without a tree, or too deep",
                       here(x));
    enum extract_want is = want(x, node);
    if (is == EXTRACT_SKIP || (is == EXTRACT_ENTER && node->type != NODE_DIR))
        return 0;
    if (is == EXTRACT_ENTER) {
        int found = any_wanted(x, &node->subtree, depth + 1, err);
        if (found <= 0)
            return found;
    }
    if (x->removing)
        return make_room(x, dir->fd, name, node, depth, err);
    if (node->type == NODE_DIR)
        return extract_dir(x, dir->fd, name, node, depth, err);
    if (node->type < NODE_OTHER)
        return crew_place(dir, x, name, node, err);
    problem_add(&x->problems, here(x), "is of an unknown type in the backup: not restored");
    return 0;
}

static bool is_ours(const struct extract *x, const char *name, unsigned depth)
{
    return depth > 0 || x->choice || !volume_is_protected(name);
}

/* Only the first pass removes: what it left is a mount, which it named. */
static int remove_extra(struct extract *x, int dir, const char *name, unsigned depth,
                        struct err *err)
{
    if (!x->removing || !is_ours(x, name, depth) || (x->choice && !x->choice->remove_others))
        return 0;
    struct err why;
    size_t before = volume_path_push(&x->path, name);
    int r = place_remove(x, dir, name, &why);
    if (r < 0 && (r = place_failed(x, &why, err)) == 0)
        problem_add(&x->problems, here(x), "%s", why.msg);
    volume_path_pop(&x->path, before);
    return MIN(r, 0);
}

static void show_progress(struct extract *x, const struct node *node)
{
    const struct extract_choice *choice = x->choice;
    if (x->removing || !choice || !choice->progress)
        return;
    x->entries++;
    x->bytes += node->type == NODE_FILE ? node->size : 0;
    choice->progress(choice->ctx, x->entries, x->bytes);
}

/* Both sides are sorted: one pass over the tree and the names that are there. */
static int merge(struct extract *x, struct crew_dir *dir, struct tree_reader *tree,
                 const struct volume_names *names, unsigned depth, struct err *err)
{
    const struct node *node;
    struct err why;
    size_t i = 0;
    int more;
    while ((more = tree_reader_next(tree, &node, err)) > 0) {
        char name[256];
        if (check_name(x, node->name, name, err) < 0)
            return -1;
        int order = -1;
        while (i < names->at.n && (order = strcmp(volume_name(names, i), name)) < 0)
            if (remove_extra(x, dir->fd, volume_name(names, i++), depth, err) < 0)
                return -1;
        if (i < names->at.n && order == 0)
            i++;
        if (!is_ours(x, name, depth))
            continue;
        size_t before = volume_path_push(&x->path, name);
        int r = extract_node(x, dir, name, node, depth, &why);
        if (r < 0)
            r = place_failed(x, &why, err);
        volume_path_pop(&x->path, before);
        if (r < 0)
            return -1;
        show_progress(x, node);
    }
    while (more == 0 && i < names->at.n)
        if (remove_extra(x, dir->fd, volume_name(names, i++), depth, err) < 0)
            return -1;
    return more;
}

static int extract_entries(struct extract *x, struct crew_dir *dir, const struct store_id *tree,
                           unsigned depth, struct err *err)
{
    struct volume_names names CLEANUP(volume_names_free) = {0};
    struct tree_reader *reader CLEANUP(tree_reader_free_p) = NULL;
    /* The tree first: one that cannot be read must not look like an empty one. */
    if (tree_reader_open(x->repo, tree, &reader, err) < 0)
        return err_wrap(err, "tree of %s", here(x));
    int e = volume_list(dir->fd, &names);
    if (e < 0)
        return err_errno(err, -e, "reading directory %s", here(x));
    return merge(x, dir, reader, &names, depth, err);
}

static int extract_top(struct extract *x, const struct store_id *tree, struct err *err)
{
    int fd = fcntl(x->volume, F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        return err_errno(err, errno, "the volume");
    struct crew_dir *top CLEANUP(crew_abandon) = crew_enter(x->crew, fd);
    return extract_entries(x, top, tree, /* depth= */ 0, err);
}

static int extract_all(struct extract *x, const struct store_id *tree, const char *root,
                       struct arena *a, struct err *err)
{
    struct node want;
    int e = volume_stat(x->volume, "", &x->root);
    if (e < 0 || !S_ISDIR(x->root.mode))
        return err_errno(err, e < 0 ? -e : ENOTDIR, "the volume");
    if (root && !root_parse(root, a, &want))
        return err_set(err, ERR_INVALID, "\"%.80s\" is not the owner, mode and time of a volume",
                       root);
    x->crew = crew_new(x);
    for (int pass = 0; pass < 2; pass++) {
        x->removing = pass == 0;
        if (extract_top(x, tree, err) < 0)
            return -1;
    }
    if (crew_wait(x->crew, err) < 0)
        return -1;
    if (root)
        place_metadata(x, x->volume, ".", &want);
    if (!x->choice && syncfs(x->volume) < 0)
        return err_errno(err, errno, "making the volume durable");
    x->problems.report->tree = *tree;
    x->problems.report->has_tree = true;
    return 0;
}

static int extract(struct repository *repo, int folder, const struct store_id *tree,
                   const char *root, const struct extract_choice *choice,
                   struct mover_report *report, struct err *err)
{
    struct extract x = {
        .repo = repo,
        .content = content_new(repo, /* past_damage= */ choice != NULL),
        .problems = {.report = report},
        .volume = folder,
        .choice = choice,
        .groups = map_new(link_group_free),
        .claimed = map_new(NULL),
    };
    if (choice) {
        x.problems.each = choice->problem;
        x.problems.ctx = choice->ctx;
    }
    struct arena *a = arena_new();
    int r = extract_all(&x, tree, root, a, err);
    arena_free(a);
    crew_free(x.crew, report);
    attributes_free(&x.attributes);
    content_free(x.content);
    buf_free(&x.problems.list);
    buf_free(&x.path.text);
    map_free(x.groups);
    map_free(x.claimed);
    free(x.link);
    return r;
}

int extract_volume(struct repository *repo, int volume, const struct store_id *tree,
                   const char *root, struct mover_report *report, struct err *err)
{
    return extract(repo, volume, tree, root, NULL, report, err);
}

int extract_folder(struct repository *repo, int folder, const struct store_id *tree,
                   const struct extract_choice *choice, struct mover_report *report,
                   struct err *err)
{
    return extract(repo, folder, tree, NULL, choice, report, err);
}
