#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "mover/place.h"

static const char *here(const struct extract *x)
{
    return volume_path_text(&x->path);
}

/* Only root may give files away: what others cannot is counted, if the choice has a place for it.
 */
static bool is_excused(const struct extract *x, int error)
{
    if (error != EPERM || geteuid() == 0 || !x->choice || !x->choice->unowned)
        return false;
    atomic_fetch_add(x->choice->unowned, 1);
    return true;
}

/* 1: changed; 0: it was so; -1: not to be set, and named or excused. */
static int set_owner(struct extract *x, int dir, const char *name, const struct node *node,
                     const struct volume_stat *now)
{
    if (now->uid == node->uid && now->gid == node->gid)
        return 0;
    errno = EINVAL; /* of the number that means "leave it" to the kernel */
    if (node->uid != UINT32_MAX && node->gid != UINT32_MAX &&
        fchownat(dir, name, node->uid, node->gid, AT_SYMLINK_NOFOLLOW) == 0)
        return 1;
    if (!is_excused(x, errno))
        problem_add(&x->problems, here(x), "owner %u:%u cannot be set: %s", node->uid, node->gid,
                    strerror(errno));
    return -1;
}

/* Without FSETID the kernel drops the set-group-id bit of a group that is not ours, and says
 * nothing. */
static int set_mode(int dir, const char *name, uint32_t mode)
{
    struct volume_stat now;
    int e = volume_stat(dir, name, &now);
    if (e < 0 || (now.mode & 07777) == mode)
        return e;
    if (fchmodat(dir, name, mode, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    e = volume_stat(dir, name, &now);
    return e < 0 ? e : (now.mode & 07777) == mode ? 0 : -EPERM;
}

/* Owner, attributes, times, mode: a new owner takes capabilities and set-id bits away, an ACL sets
 * the mode's group bits, and the mode has the last word. */
void place_metadata(struct extract *x, int dir, const char *name, const struct node *node)
{
    struct volume_stat now;
    uint32_t mode = node_mode_to_posix(node->mode) & 07777;
    int e = volume_stat(dir, name, &now);
    if (e < 0) {
        problem_add(&x->problems, here(x), "cannot be looked at: %s", strerror(-e));
        return;
    }
    int owner = set_owner(x, dir, name, node, &now);
    bool changed = attributes_match(&x->attributes, dir, name, node, &x->problems, here(x));
    if (!volume_same_time(now.mtime, node->mtime) &&
        utimensat(dir, name, (struct timespec[]){node->atime, node->mtime}, AT_SYMLINK_NOFOLLOW) <
            0)
        problem_add(&x->problems, here(x), "its time cannot be set: %s", strerror(errno));
    if (S_ISLNK(now.mode))
        return;
    if (owner < 0 && !S_ISDIR(now.mode))
        mode &= ~(uint32_t)(S_ISUID | S_ISGID); /* never the rights of somebody else */
    e = owner || changed || (now.mode & 07777) != mode ? set_mode(dir, name, mode) : 0;
    if (e < 0)
        problem_add(&x->problems, here(x), "mode %04o cannot be set: %s", mode, strerror(-e));
}
