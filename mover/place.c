#include "mover/place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "store/limits.h"

enum { REMOVE_DEPTH = 2 * STORE_TREE_DEPTH };

static const char *here(const struct extract *x)
{
    return volume_path_text(&x->path);
}

int place_failed(struct extract *x, const struct err *why, struct err *err)
{
    const char *what = why->msg;
    size_t n = strlen(here(x));
    if (!x->choice || why->kind == ERR_CANCELLED || err_is_transient(why)) {
        *err = *why;
        return -1;
    }
    if (x->removing)
        return 0;
    if (strncmp(what, here(x), n) == 0 && strncmp(what + n, ": ", 2) == 0)
        what += n + 2; /* the path is named once */
    problem_add(&x->problems, here(x), "cannot be restored: %s", what);
    return 0;
}

/* ---- removal ---- */

static bool removes_below(const struct extract *x)
{
    return !x->choice || x->choice->remove_others;
}

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
    bool enter = S_ISDIR(st.mode) && removes_below(x);
    int kept = enter ? remove_children(x, dir, name, depth, err) : 0;
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
