#include "mover/archive.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "mover/attributes.h"
#include "mover/reading.h"
#include "mover/root.h"
#include "store/limits.h"
#include "store/stream.h"
#include "store/tree.h"

struct archive {
    struct repository *repo;
    struct stream_saver *saver;
    struct problems problems;
    struct volume_path path;
    struct volume_stat root;
    struct store_ids ids;         /* of the file at hand */
    char *link;                   /* the symlink at hand */
    struct attributes attributes; /* of the entry at hand */
    bool nfs4;                    /* said once */
    const struct archive_probe *probe;
};

enum { LINK_MAX_BYTES = 65536 };

/* ---- the directory's tree in the earlier backup, read beside the names ---- */

struct parent {
    struct tree_reader *reader;
    const struct node *node;
};

static void parent_next(struct parent *p)
{
    struct err ignored;
    if (p->reader && tree_reader_next(p->reader, &p->node, &ignored) <= 0) {
        tree_reader_free(TAKE(p->reader));
        p->node = NULL;
    }
}

/* A parent that cannot be read is none: everything is read again. */
static void parent_open(struct archive *a, const struct store_id *tree, struct parent *p)
{
    struct err ignored;
    *p = (struct parent){0};
    if (tree && tree_reader_open(a->repo, tree, &p->reader, &ignored) == 0)
        parent_next(p);
}

/* Both sides are sorted by bytes: one pass finds every pair. */
static const struct node *parent_find(struct parent *p, const char *name)
{
    while (p->node && str_cmp(p->node->name, str_of(name)) < 0)
        parent_next(p);
    return p->node && str_is(p->node->name, name) ? p->node : NULL;
}

static void parent_close(struct parent *p)
{
    tree_reader_free(p->reader);
}

/* ---- what all entries share ---- */

static const char *here(const struct archive *a)
{
    return volume_path_text(&a->path);
}

static void fill_node(const struct archive *a, const char *name, const struct volume_stat *st,
                      struct node *n)
{
    *n = (struct node){
        .name = str_of(name),
        .mode = node_mode_from_posix(st->mode),
        .mtime = st->mtime,
        .atime = st->mtime, /* reading for a backup must not make a new tree */
        .ctime = st->ctime,
        .uid = st->uid,
        .gid = st->gid,
        .inode = st->inode,
    };
    if (S_ISDIR(st->mode))
        return;
    n->links = st->links;
    /* The volume's own device gets another number at every mount; links need only be told apart. */
    if (st->links > 1)
        n->device_id = st->device == a->root.device ? 1 : st->device;
}

/* Reads the attributes of the entry into a->attributes. */
static void read_attributes(struct archive *a, int dir, const char *name)
{
    attributes_read(&a->attributes, dir, name);
    if (!a->attributes.nfs4 || a->nfs4)
        return;
    a->nfs4 = true;
    snprintf(a->problems.report->note, sizeof a->problems.report->note,
             "its server keeps NFSv4 ACLs: they are not archived, modes and owners are");
}

static void set_attributes(const struct archive *a, struct node *n)
{
    n->xattrs = a->attributes.list.p;
    n->xattrs_n = a->attributes.list.n;
}

/* What the format cannot hold of any entry, and what could not be read. */
static void name_losses(struct archive *a, const struct volume_stat *st)
{
    if (st->immutable)
        problem_add(&a->problems, here(a),
                    "is immutable or append-only: that flag is not archived");
    attributes_report(&a->attributes, &a->problems, here(a));
}

/* ---- regular files ---- */

static bool same_state(const struct volume_stat *a, const struct volume_stat *b)
{
    return a->size == b->size && volume_same_time(a->mtime, b->mtime) &&
           volume_same_time(a->ctime, b->ctime);
}

/* Reads the open file and its attributes until nothing happened to it meanwhile. 1: stored; 0:
 * unreadable, and named. */
static int save_content(struct archive *a, int dir, const char *name, int fd,
                        struct volume_stat *st, uint64_t *ret_size, struct err *err)
{
    for (int tries = 1;; tries++) {
        struct reading r;
        struct stream_result result;
        struct volume_stat after;
        a->ids.n = 0;
        if (a->probe && a->probe->before_read)
            a->probe->before_read(a->probe->ctx, here(a));
        reading_start(&r, fd, st);
        if (stream_save_sparse(a->saver, reading_read, reading_skip, &r, &a->ids, &result, err) <
            0) {
            if (!r.error)
                return err_wrap(err, "%s", here(a));
            problem_add(&a->problems, here(a), "cannot be read: %s", strerror(r.error));
            return 0;
        }
        a->problems.report->moved += result.new_bytes;
        *ret_size = result.size;
        read_attributes(a, dir, name);
        int e = volume_stat(fd, "", &after);
        if (e < 0) {
            problem_add(&a->problems, here(a), "cannot be read: %s", strerror(-e));
            return 0;
        }
        if (same_state(st, &after) && result.size == st->size)
            return 1;
        *st = after;
        if (tries == ARCHIVE_READS) {
            problem_add(&a->problems, here(a), "changed each of the %d times it was read",
                        ARCHIVE_READS);
            return 1;
        }
    }
}

/* The file is as it was, and all that it held is stored: its chunks into a->ids. */
static bool take_from_parent(struct archive *a, const struct volume_stat *st, const struct node *p)
{
    uint64_t sum = 0, size;
    bool sized = true;
    if (!p || p->type != NODE_FILE || p->size != st->size || p->inode != st->inode ||
        !volume_same_time(p->mtime, st->mtime) || !volume_same_time(p->ctime, st->ctime))
        return false;
    a->ids.n = 0;
    for (size_t i = 0; i < p->content_n; i++) {
        if (!repository_has_blob(a->repo, BLOB_DATA, &p->content[i], &size))
            return false;
        *vec_add(&a->ids) = p->content[i];
        sized = sized && size != REPOSITORY_SIZE_UNKNOWN;
        sum += sized ? size : 0;
    }
    /* Where sizes are not known, reading back will compare them. */
    return !sized || sum == st->size;
}

static int open_file(struct archive *a, int dir, const char *name, struct volume_stat *st)
{
    /* Without O_NOATIME (only an owner or FOWNER may ask for it) the read shows in atime. */
    int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
    int fd = openat(dir, name, flags | O_NOATIME);
    if (fd < 0 && errno == EPERM)
        fd = openat(dir, name, flags);
    if (fd < 0) {
        problem_add(&a->problems, here(a), "cannot be opened: %s", strerror(errno));
        return -1;
    }
    int e = volume_stat(fd, "", st);
    if (e < 0 || !S_ISREG(st->mode)) {
        problem_add(&a->problems, here(a), "was replaced while it was opened");
        close(fd);
        return -1;
    }
    return fd;
}

/* 1: *n is ready for the tree; 0: left out, and named. */
static int archive_file(struct archive *a, int dir, const char *name, struct volume_stat *st,
                        const struct node *parent, struct node *n, struct err *err)
{
    uint64_t size = st->size;
    if (take_from_parent(a, st, parent)) {
        a->problems.report->kept++;
        read_attributes(a, dir, name);
    } else {
        int fd CLEANUP(close_p) = open_file(a, dir, name, st);
        if (fd < 0)
            return 0;
        int r = save_content(a, dir, name, fd, st, &size, err);
        if (r <= 0)
            return r;
    }
    fill_node(a, name, st, n);
    n->type = NODE_FILE;
    n->size = size;
    n->content = a->ids.p;
    n->content_n = a->ids.n;
    set_attributes(a, n);
    name_losses(a, st);
    a->problems.report->files++;
    a->problems.report->bytes += size;
    return 1;
}

/* ---- the rest ---- */

static int archive_link(struct archive *a, int dir, const char *name, const struct volume_stat *st,
                        struct node *n)
{
    ssize_t len = readlinkat(dir, name, a->link, LINK_MAX_BYTES);
    if (len < 0 || len == LINK_MAX_BYTES) {
        problem_add(&a->problems, here(a), "its target cannot be read: %s",
                    len < 0 ? strerror(errno) : "too long");
        return 0;
    }
    fill_node(a, name, st, n);
    n->type = NODE_SYMLINK;
    n->link_target = (str){a->link, (size_t)len};
    read_attributes(a, dir, name);
    set_attributes(a, n);
    name_losses(a, st);
    a->problems.report->links++;
    return 1;
}

/* Devices, named pipes and sockets: restic's backup leaves sockets out, but its trees have a type
 * for them that its readers know. It counts no links of named pipes; ours are told only if there
 * are several. */
static int archive_special(struct archive *a, int dir, const char *name,
                           const struct volume_stat *st, struct node *n)
{
    fill_node(a, name, st, n);
    switch (st->mode & S_IFMT) {
    case S_IFBLK:
        n->type = NODE_DEV;
        n->device = st->rdev;
        break;
    case S_IFCHR:
        n->type = NODE_CHARDEV;
        n->device = st->rdev;
        break;
    case S_IFIFO:
    case S_IFSOCK:
        n->type = S_ISFIFO(st->mode) ? NODE_FIFO : NODE_SOCKET;
        n->links = st->links > 1 ? st->links : 0;
        break;
    default:
        problem_add(&a->problems, here(a), "is of an unknown type: not archived");
        return 0;
    }
    read_attributes(a, dir, name);
    set_attributes(a, n);
    name_losses(a, st);
    return 1;
}

static int archive_entries(struct archive *a, int dir, const struct store_id *parent,
                           unsigned depth, struct store_id *ret_tree, struct err *err);

static int archive_dir(struct archive *a, int dir, const char *name, struct volume_stat *st,
                       const struct node *parent, unsigned depth, struct node *n, struct err *err)
{
    int fd CLEANUP(close_p) = volume_open_dir(dir, name);
    if (fd < 0) {
        problem_add(&a->problems, here(a), "cannot be opened: %s", strerror(-fd));
        return 0;
    }
    if (depth >= STORE_TREE_DEPTH) {
        problem_add(&a->problems, here(a), "lies below %u directories: not archived",
                    STORE_TREE_DEPTH);
        return 0;
    }
    struct store_id subtree = {0};
    bool known = parent && parent->type == NODE_DIR && parent->has_subtree;
    if (known)
        subtree = parent->subtree;
    if (archive_entries(a, fd, known ? &subtree : NULL, depth + 1, &subtree, err) < 0)
        return -1;
    fill_node(a, name, st, n);
    n->type = NODE_DIR;
    n->has_subtree = true;
    n->subtree = subtree;
    read_attributes(a, fd, ".");
    set_attributes(a, n);
    name_losses(a, st);
    a->problems.report->dirs++;
    return 1;
}

/* 1: *n is ready for the tree; 0: left out, and named. */
static int archive_entry(struct archive *a, int dir, const char *name, const struct node *parent,
                         unsigned depth, struct node *n, struct err *err)
{
    struct volume_stat st;
    int e = volume_stat(dir, name, &st);
    if (e == -ENOENT) {
        problem_add(&a->problems, here(a), "vanished while the volume was read");
        return 0;
    }
    if (e < 0) {
        problem_add(&a->problems, here(a), "cannot be looked at: %s", strerror(-e));
        return 0;
    }
    if (!volume_same_mount(&a->root, &st)) {
        problem_add(&a->problems, here(a), "is another mount: not archived");
        return 0;
    }
    if (S_ISREG(st.mode))
        return archive_file(a, dir, name, &st, parent, n, err);
    if (S_ISLNK(st.mode))
        return archive_link(a, dir, name, &st, n);
    if (S_ISDIR(st.mode))
        return archive_dir(a, dir, name, &st, parent, depth, n, err);
    return archive_special(a, dir, name, &st, n);
}

static int archive_each(struct archive *a, int dir, const struct volume_names *names,
                        struct parent *parent, unsigned depth, struct tree_writer *tree,
                        struct err *err)
{
    for (size_t i = 0; i < names->at.n; i++) {
        const char *name = volume_name(names, i);
        if (depth == 0 && volume_is_protected(name))
            continue;
        struct node n;
        size_t before = volume_path_push(&a->path, name);
        int r = archive_entry(a, dir, name, parent_find(parent, name), depth, &n, err);
        if (r > 0 && tree_writer_add(tree, &n, err) < 0)
            r = err_wrap(err, "%s", here(a));
        volume_path_pop(&a->path, before);
        if (r < 0)
            return -1;
        if (a->probe && a->probe->after_entry)
            a->probe->after_entry(a->probe->ctx, a->problems.report);
    }
    return 0;
}

static int archive_entries(struct archive *a, int dir, const struct store_id *parent,
                           unsigned depth, struct store_id *ret_tree, struct err *err)
{
    struct volume_names names CLEANUP(volume_names_free) = {0};
    struct parent earlier CLEANUP(parent_close) = {0};
    int e = volume_list(dir, &names);
    if (e < 0 && depth == 0)
        return err_errno(err, -e, "reading the volume's own directory");
    if (e < 0)
        problem_add(&a->problems, here(a), "cannot be read: %s", strerror(-e));
    parent_open(a, parent, &earlier);
    struct tree_writer *tree CLEANUP(tree_writer_free_p) = tree_writer_new();
    if (archive_each(a, dir, &names, &earlier, depth, tree, err) < 0)
        return -1;
    return tree_writer_finish(tree, a->repo, ret_tree, /* ret_known= */ NULL, err);
}

/* The problems that the report has no room for. */
static int save_list(struct archive *a, struct err *err)
{
    struct mover_report *r = a->problems.report;
    if (r->problems <= r->first_n)
        return 0;
    if (repository_save_blob(a->repo, BLOB_DATA, a->problems.list.p, a->problems.list.n, &r->list,
                             /* ret_known= */ NULL, err) < 0)
        return err_wrap(err, "list of problems");
    r->has_list = true;
    return 0;
}

/* The volume's own directory, which no tree holds. */
static void archive_root(struct archive *a, int volume)
{
    struct node n;
    fill_node(a, ".", &a->root, &n);
    read_attributes(a, volume, ".");
    set_attributes(a, &n);
    name_losses(a, &a->root);
    if (root_format(&n, a->problems.report->root))
        return;
    problem_add(&a->problems, "/", "has more extended attributes than are kept of a volume's root");
    n.xattrs_n = 0;
    (void)root_format(&n, a->problems.report->root);
}

static int archive_all(struct archive *a, int volume, const struct store_id *parent,
                       struct err *err)
{
    struct store_id tree;
    int e = volume_stat(volume, "", &a->root);
    if (e < 0 || !S_ISDIR(a->root.mode))
        return err_errno(err, e < 0 ? -e : ENOTDIR, "the volume");
    archive_root(a, volume);
    if (archive_entries(a, volume, parent, /* depth= */ 0, &tree, err) < 0 || save_list(a, err) < 0)
        return -1;
    a->problems.report->tree = tree;
    a->problems.report->has_tree = true;
    return 0;
}

int archive_volume(struct repository *repo, int volume, const struct store_id *parent,
                   const struct archive_probe *probe, struct mover_report *report, struct err *err)
{
    if (archive_folder(repo, volume, parent, probe, report, err) == 0 &&
        repository_flush(repo, err) == 0)
        return 0;
    report->has_tree = false;
    return -1;
}

int archive_folder(struct repository *repo, int folder, const struct store_id *parent,
                   const struct archive_probe *probe, struct mover_report *report, struct err *err)
{
    struct archive a = {
        .repo = repo,
        .saver = stream_saver_new(repo),
        .problems = {.report = report},
        .link = xmalloc(LINK_MAX_BYTES),
        .probe = probe,
    };
    int r = archive_all(&a, folder, parent, err);
    stream_saver_free(a.saver);
    buf_free(&a.problems.list);
    buf_free(&a.path.text);
    vec_free(&a.ids);
    attributes_free(&a.attributes);
    free(a.link);
    return r;
}
