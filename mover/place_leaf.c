#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "mover/place.h"

enum { LINK_MAX_BYTES = 65536 };

static const char *here(const struct extract *x)
{
    return volume_path_text(&x->path);
}

/* ---- hard links ---- */

void link_group_free(void *group)
{
    struct link_group *g = group;
    free(g->path);
    free(g);
}

static bool is_linked(const struct node *n)
{
    return n->links > 1 && n->inode;
}

static str group_key(const struct node *n, uint64_t key[2])
{
    key[0] = n->device_id;
    key[1] = n->inode;
    return (str){(const char *)key, 2 * sizeof *key};
}

static str claim_key(const struct volume_stat *st, uint64_t key[2])
{
    key[0] = st->device;
    key[1] = st->inode;
    return (str){(const char *)key, 2 * sizeof *key};
}

/* The directory of a path below the volume, and the last name in it. */
static int open_parent(const struct extract *x, const char *path, const char **ret_name)
{
    int fd = openat(x->volume, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    const char *slash;
    while (fd >= 0 && (slash = strchr(++path, '/'))) {
        char name[256];
        snprintf(name, sizeof name, "%.*s", (int)(slash - path), path);
        int next = openat(fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int e = errno;
        close(fd);
        errno = e;
        fd = next;
        path = slash;
    }
    *ret_name = path;
    return fd;
}

static int link_to(struct extract *x, int dir, const char *name, const struct link_group *g,
                   const struct volume_stat *st, bool exists, struct err *err)
{
    const char *first;
    if (exists && st->inode == g->inode && st->device == g->device)
        return 0;
    int r = exists ? place_remove(x, dir, name, err) : 0;
    if (r)
        return r < 0 ? -1 : 0;
    int from CLEANUP(close_p) = open_parent(x, g->path, &first);
    if (from < 0 || linkat(from, first, dir, name, 0) < 0)
        return err_errno(err, errno, "linking %s to %s", here(x), g->path);
    return 0;
}

static int remember_link(struct extract *x, int dir, const char *name, const struct node *node,
                         struct err *err)
{
    struct volume_stat st;
    uint64_t key[2];
    int e = volume_stat(dir, name, &st);
    if (e < 0)
        return err_errno(err, -e, "%s", here(x));
    struct link_group *g = xcalloc(1, sizeof *g);
    *g = (struct link_group){
        .path = xstrdup(here(x)), .inode = st.inode, .device = st.device, .left = node->links - 1};
    map_put(x->groups, group_key(node, key), g);
    map_put(x->claimed, claim_key(&st, key), x);
    return 0;
}

/* ---- files, symlinks, devices, named pipes, sockets ---- */

/* A run that goes on leaves no half file under its name, or says so. */
static int half_file(const struct extract *x, int dir, const char *name, bool existed,
                     struct err *err)
{
    bool untouched = existed && err->kind == ERR_NOT_FOUND;
    if (x->choice && !untouched && (existed || unlinkat(dir, name, 0) < 0))
        return err_wrap(err, "%s: half of it is there", here(x));
    return err_wrap(err, "%s", here(x));
}

/* A user's own file may be closed to the user. */
static int open_existing(const struct extract *x, int dir, const char *name, int flags)
{
    int fd = openat(dir, name, flags);
    if (fd >= 0 || errno != EACCES || !x->choice)
        return fd;
    if (fchmodat(dir, name, 0600, AT_SYMLINK_NOFOLLOW) < 0)
        return -1;
    return openat(dir, name, flags);
}

static void count_kept(struct extract *x, uint64_t size)
{
    x->problems.report->kept++;
    if (x->choice && x->choice->kept_bytes)
        atomic_fetch_add(x->choice->kept_bytes, size);
}

/* Content first: writing takes capabilities and set-id bits away. 1: it stands there. */
static int place_file(struct extract *x, int dir, const char *name, bool exists,
                      const struct node *node, struct err *err)
{
    struct volume_stat st;
    uint64_t size, written;
    bool changed;
    int flags = O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
    int fd CLEANUP(close_p) = exists ? open_existing(x, dir, name, flags)
                                     : openat(dir, name, flags | O_CREAT | O_EXCL, 0600);
    if (fd < 0)
        return err_errno(err, errno, "opening %s", here(x));
    int e = volume_stat(fd, "", &st);
    if (e < 0 || !S_ISREG(st.mode))
        return err_errno(err, e < 0 ? -e : EBUSY, "%s changes while it is restored", here(x));
    if (content_match(x->content, fd, st.size, node->content, node->content_n, &size, &written,
                      &changed, err) < 0)
        return half_file(x, dir, name, exists, err);
    const struct err *damage = content_damage(x->content);
    if (damage)
        problem_add(&x->problems, here(x), "is not whole: %s", damage->msg);
    place_metadata(x, dir, name, node);
    x->problems.report->bytes += size;
    x->problems.report->moved += written;
    if (exists && !changed && !damage)
        count_kept(x, size);
    return 1;
}

static bool link_is(struct extract *x, int dir, const char *name, str target)
{
    if (!x->link)
        x->link = xmalloc(LINK_MAX_BYTES);
    ssize_t n = readlinkat(dir, name, x->link, LINK_MAX_BYTES);
    return n >= 0 && str_eq((str){x->link, (size_t)n}, target);
}

static int place_symlink(struct extract *x, int dir, const char *name, bool exists,
                         const struct node *node, struct err *err)
{
    if (exists && !link_is(x, dir, name, node->link_target)) {
        if (place_remove(x, dir, name, err) < 0)
            return -1;
        exists = false;
    }
    if (!exists) {
        char *target CLEANUP(free_p) = str_dup(node->link_target);
        if (!target || !*target || strlen(target) != node->link_target.n)
            return err_set(err, ERR_CORRUPT, "%.300s: the symlink has no target that could be made",
                           here(x));
        if (symlinkat(target, dir, name) < 0)
            return err_errno(err, errno, "making symlink %s", here(x));
    }
    place_metadata(x, dir, name, node);
    return 1;
}

static uint32_t posix_type(enum node_type type)
{
    static const uint32_t types[NODE_TYPES] = {
        [NODE_FILE] = S_IFREG,    [NODE_SYMLINK] = S_IFLNK, [NODE_DEV] = S_IFBLK,
        [NODE_CHARDEV] = S_IFCHR, [NODE_FIFO] = S_IFIFO,    [NODE_SOCKET] = S_IFSOCK};
    return types[type];
}

static bool is_device(enum node_type type)
{
    return type == NODE_DEV || type == NODE_CHARDEV;
}

/* 0: this process may not make one, or the file system cannot hold it, which is named. */
static int place_special(struct extract *x, int dir, const char *name, bool exists,
                         const struct node *node)
{
    dev_t device = is_device(node->type) ? node->device : 0;
    if (!exists && mknodat(dir, name, posix_type(node->type) | 0600, device) < 0) {
        problem_add(&x->problems, here(x), "the %s cannot be made: %s", node_type_name(node->type),
                    strerror(errno));
        return 0;
    }
    place_metadata(x, dir, name, node);
    return 1;
}

/* Whether what stands there may be changed in place. Another name of the same inode may be another
 * file of the tree: only the first name of a group may use an inode that has several, and only
 * once. */
static bool is_usable(const struct extract *x, const struct volume_stat *st,
                      const struct node *node)
{
    uint64_t key[2];
    if ((st->mode & S_IFMT) != posix_type(node->type) ||
        (is_device(node->type) && st->rdev != node->device))
        return false;
    return st->links <= 1 || (is_linked(node) && !map_get(x->claimed, claim_key(st, key)));
}

static void count_leaf(struct extract *x, const struct node *node)
{
    x->problems.report->files += node->type == NODE_FILE;
    x->problems.report->links += node->type == NODE_SYMLINK;
}

/* A further name of a node that was placed before. */
static int place_again(struct extract *x, int dir, const char *name, const struct node *node,
                       struct link_group *g, const struct volume_stat *st, bool exists,
                       struct err *err)
{
    uint64_t key[2];
    if (link_to(x, dir, name, g, st, exists, err) < 0)
        return -1;
    if (node->type == NODE_FILE)
        x->problems.report->bytes += node->size;
    if (--g->left == 0)
        map_del(x->groups, group_key(node, key));
    return 0;
}

static int place_first(struct extract *x, int dir, const char *name, bool exists,
                       const struct node *node, struct err *err)
{
    if (node->type == NODE_FILE)
        return place_file(x, dir, name, exists, node, err);
    if (node->type == NODE_SYMLINK)
        return place_symlink(x, dir, name, exists, node, err);
    return place_special(x, dir, name, exists, node);
}

int place_leaf(struct extract *x, int dir, const char *name, const struct node *node,
               struct err *err)
{
    struct volume_stat st = {0};
    uint64_t key[2];
    int e = volume_stat(dir, name, &st);
    bool exists = e == 0;
    if (e < 0 && e != -ENOENT)
        return err_errno(err, -e, "%s", here(x));
    if (exists && !volume_same_mount(&x->root, &st)) {
        problem_add(&x->problems, here(x), "is another mount: not restored");
        return 0;
    }
    count_leaf(x, node);
    struct link_group *g = is_linked(node) ? map_get(x->groups, group_key(node, key)) : NULL;
    if (g)
        return place_again(x, dir, name, node, g, &st, exists, err);
    if (exists && !is_usable(x, &st, node)) {
        int r = place_remove(x, dir, name, err);
        if (r)
            return r < 0 ? -1 : 0; /* a mount in the way is named */
        exists = false;
    }
    int r = place_first(x, dir, name, exists, node, err);
    if (r > 0 && is_linked(node))
        return remember_link(x, dir, name, node, err);
    return MIN(r, 0);
}
