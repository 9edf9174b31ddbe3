#include "mover/place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "store/limits.h"

enum { LINK_MAX_BYTES = 65536, REMOVE_DEPTH = 2 * STORE_TREE_DEPTH };

static const char *here(const struct extract *x)
{
    return volume_path_text(&x->path);
}

void link_group_free(void *group)
{
    struct link_group *g = group;
    free(g->path);
    free(g);
}

/* ---- removal ---- */

static int remove_below(struct extract *x, int dir, const char *name, unsigned depth,
                        struct err *err);

static int remove_children(struct extract *x, int dir, const char *name, unsigned depth,
                           struct err *err)
{
    struct volume_names names CLEANUP(volume_names_free) = {0};
    int kept = 0;
    int fd CLEANUP(close_p) = volume_open_dir(dir, name);
    int e = fd < 0 ? fd : volume_list(fd, &names);
    if (e < 0)
        return err_errno(err, -e, "removing %s", here(x));
    for (size_t i = 0; i < names.at.n; i++) {
        size_t before = volume_path_push(&x->path, volume_name(&names, i));
        int r = remove_below(x, fd, volume_name(&names, i), depth + 1, err);
        volume_path_pop(&x->path, before);
        if (r < 0)
            return -1;
        kept |= r;
    }
    return kept;
}

static int remove_below(struct extract *x, int dir, const char *name, unsigned depth,
                        struct err *err)
{
    struct volume_stat st;
    int e = volume_stat(dir, name, &st);
    if (e == -ENOENT)
        return 0;
    if (e < 0)
        return err_errno(err, -e, "removing %s", here(x));
    if (!volume_same_mount(&x->root, &st)) {
        problem_add(&x->problems, here(x), "is another mount: not removed");
        return 1;
    }
    if (depth > REMOVE_DEPTH)
        return err_set(err, ERR_TOO_LARGE,
                       "removing %.200s: more than %d directories below each "
                       "other",
                       here(x), REMOVE_DEPTH);
    int kept = S_ISDIR(st.mode) ? remove_children(x, dir, name, depth, err) : 0;
    if (kept)
        return kept;
    if (unlinkat(dir, name, S_ISDIR(st.mode) ? AT_REMOVEDIR : 0) < 0 && errno != ENOENT)
        return err_errno(err, errno, "removing %s", here(x));
    x->problems.report->removed++;
    return 0;
}

int place_remove(struct extract *x, int dir, const char *name, struct err *err)
{
    return remove_below(x, dir, name, 0, err);
}

/* ---- owner, mode, time ---- */

/* Without FSETID the setgid bit can only be set while the group is one of ours. A directory keeps
 * it when its group is changed after. */
static int set_mode(int fd, uint32_t mode, uint32_t gid)
{
    struct volume_stat now;
    if (fchmod(fd, mode) < 0)
        return -errno;
    int e = volume_stat(fd, "", &now);
    if (e < 0 || (now.mode & 07777) == mode)
        return e;
    if (!S_ISDIR(now.mode))
        return -EPERM;
    if (fchown(fd, (uid_t)-1, getegid()) < 0 || fchmod(fd, mode) < 0 ||
        fchown(fd, (uid_t)-1, gid) < 0)
        return -errno;
    e = volume_stat(fd, "", &now);
    return e < 0 ? e : (now.mode & 07777) == mode && now.gid == gid ? 0 : -EPERM;
}

void place_metadata(struct extract *x, int fd, uint32_t mode, uint32_t uid, uint32_t gid,
                    struct timespec atime, struct timespec mtime)
{
    struct volume_stat now;
    int e = volume_stat(fd, "", &now);
    bool owner = e == 0 && (now.uid != uid || now.gid != gid);
    if (owner && fchown(fd, uid, gid) < 0) {
        problem_add(&x->problems, here(x), "owner %u:%u cannot be set: %s", uid, gid,
                    strerror(errno));
        gid = now.gid;
    }
    /* A new owner clears set-id bits. */
    if (e == 0 && (owner || (now.mode & 07777) != mode))
        e = set_mode(fd, mode, gid);
    if (e < 0)
        problem_add(&x->problems, here(x), "mode %04o cannot be set: %s", mode, strerror(-e));
    if ((e < 0 || !volume_same_time(now.mtime, mtime)) &&
        futimens(fd, (struct timespec[]){atime, mtime}) < 0)
        problem_add(&x->problems, here(x), "its time cannot be set: %s", strerror(errno));
}

/* ---- hard links ---- */

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

/* ---- files and symlinks ---- */

static int place_file(struct extract *x, int dir, const char *name, bool exists,
                      const struct node *node, struct err *err)
{
    struct volume_stat st;
    uint64_t size, written;
    bool changed;
    int flags = O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | (exists ? 0 : O_CREAT | O_EXCL);
    int fd CLEANUP(close_p) = openat(dir, name, flags, 0600);
    if (fd < 0)
        return err_errno(err, errno, "opening %s", here(x));
    int e = volume_stat(fd, "", &st);
    if (e < 0 || !S_ISREG(st.mode))
        return err_errno(err, e < 0 ? -e : EBUSY, "%s changes while it is restored", here(x));
    if (content_match(x->content, fd, st.size, node->content, node->content_n, &size, &written,
                      &changed, err) < 0)
        return err_wrap(err, "%s", here(x));
    place_metadata(x, fd, node_mode_to_posix(node->mode) & 07777, node->uid, node->gid, node->atime,
                   node->mtime);
    x->problems.report->bytes += size;
    x->problems.report->moved += written;
    x->problems.report->kept += exists && !changed;
    return 0;
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
    struct volume_stat st;
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
    int e = volume_stat(dir, name, &st);
    if (e < 0)
        return err_errno(err, -e, "%s", here(x));
    if ((st.uid != node->uid || st.gid != node->gid) &&
        fchownat(dir, name, node->uid, node->gid, AT_SYMLINK_NOFOLLOW) < 0)
        problem_add(&x->problems, here(x), "owner %u:%u cannot be set: %s", node->uid, node->gid,
                    strerror(errno));
    if (!volume_same_time(st.mtime, node->mtime) &&
        utimensat(dir, name, (struct timespec[]){node->atime, node->mtime}, AT_SYMLINK_NOFOLLOW) <
            0)
        problem_add(&x->problems, here(x), "its time cannot be set: %s", strerror(errno));
    return 0;
}

/* Whether what stands there may be changed in place. Another name of the same inode may be another
 * file of the tree: only the first name of a group may use an inode that has several, and only
 * once. */
static bool is_usable(const struct extract *x, const struct volume_stat *st,
                      const struct node *node)
{
    uint64_t key[2];
    uint32_t type = node->type == NODE_FILE ? S_IFREG : S_IFLNK;
    if ((st->mode & S_IFMT) != type)
        return false;
    return st->links <= 1 || (is_linked(node) && !map_get(x->claimed, claim_key(st, key)));
}

static void count_leaf(struct extract *x, const struct node *node)
{
    if (node->type == NODE_FILE)
        x->problems.report->files++;
    else
        x->problems.report->links++;
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
    if (node->xattrs_n)
        problem_add(&x->problems, here(x), "its extended attributes are not restored");
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
    int r = node->type == NODE_FILE ? place_file(x, dir, name, exists, node, err)
                                    : place_symlink(x, dir, name, exists, node, err);
    if (r == 0 && is_linked(node))
        r = remember_link(x, dir, name, node, err);
    return r;
}

/* ---- directories ---- */

int place_dir(struct extract *x, int dir, const char *name, int *ret_fd, struct err *err)
{
    struct volume_stat st;
    int e = volume_stat(dir, name, &st);
    *ret_fd = -1;
    if (e < 0 && e != -ENOENT)
        return err_errno(err, -e, "%s", here(x));
    if (e == 0 && !volume_same_mount(&x->root, &st)) {
        problem_add(&x->problems, here(x), "is another mount: not restored");
        return 0;
    }
    if (e == 0 && !S_ISDIR(st.mode)) {
        if (place_remove(x, dir, name, err) < 0)
            return -1;
        e = -ENOENT;
    }
    if (e < 0 && mkdirat(dir, name, 0700) < 0)
        return err_errno(err, errno, "making directory %s", here(x));
    int fd = volume_open_dir(dir, name);
    if (fd < 0)
        return err_errno(err, -fd, "opening directory %s", here(x));
    *ret_fd = fd;
    return 0;
}
