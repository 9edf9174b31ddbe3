/* A backend that is hit at one of its calls, or at one step inside a call. Steps on a folder are
 * system calls, which the linker leads through here (--wrap); those of a bucket are requests, which
 * the server hits. */
#include "matrix.h"

#include "core/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

const char *const fault_names[FAULT_KINDS] = {
#define X(name, text) text,
    FAULTS(X)
#undef X
};

static struct hit_backend {
    struct backend base;
    struct backend *inner;
    struct world *world;
    struct point fault;
    struct fault_count count;
    bool inside; /* a call goes on */
    bool full;   /* the folder's file system has no space any more */
} current;

bool fault_applies(const struct world *w, enum fault_level level, enum fault_kind kind)
{
    if (level == LEVEL_CALL)
        return kind != FAULT_SHORT;
    if (!w->steps)
        return false;
    /* A server that answers nothing any more is what the calls see; no need to wait for it. */
    return !w->s3 || kind != FAULT_CUT_OFF;
}

static void die(void)
{
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

/* ---- calls ---- */

/* True if this call fails; *ret_work: whether it does its work first. */
static bool call_begins(bool *ret_work)
{
    const struct point *f = &current.fault;
    int call = ++current.count.calls;
    bool sticky = f->kind == FAULT_CUT_OFF;
    *ret_work = true;
    current.inside = true;
    if (f->level != LEVEL_CALL || !f->at || !(call == f->at || (sticky && call > f->at)))
        return false;
    current.count.hit = true;
    if (f->kind == FAULT_KILL_BEFORE)
        die();
    *ret_work = f->kind == FAULT_LOST || f->kind == FAULT_KILL_AFTER;
    return true;
}

static int call_ends(bool hit, int r, struct err *err)
{
    static const enum err_kind kinds[FAULT_KINDS] = {[FAULT_IO] = ERR_IO,
                                                     [FAULT_SPACE] = ERR_IO,
                                                     [FAULT_TIMEOUT] = ERR_TIMEOUT,
                                                     [FAULT_LOST] = ERR_UNAVAILABLE,
                                                     [FAULT_CUT_OFF] = ERR_UNAVAILABLE};
    current.inside = false;
    if (!hit)
        return r;
    if (current.fault.kind == FAULT_KILL_AFTER)
        die();
    return err_set(err, kinds[current.fault.kind], "%s (injected at call %d)",
                   fault_names[current.fault.kind], current.count.calls);
}

#define CALL(operation)                                                                            \
    do {                                                                                           \
        bool work_, hit_ = call_begins(&work_);                                                    \
        int r_ = work_ ? (operation) : 0;                                                          \
        return call_ends(hit_, r_, err);                                                           \
    } while (0)

static int hit_create(struct backend *b, struct err *err)
{
    (void)b;
    CALL(current.inner->ops->create(current.inner, err));
}

static int hit_save(struct backend *b, const struct backend_file *f, const void *p, size_t n,
                    struct err *err)
{
    (void)b;
    CALL(current.inner->ops->save(current.inner, f, p, n, err));
}

static int hit_load(struct backend *b, const struct backend_file *f, uint64_t offset, size_t n,
                    size_t max, struct buf *out, struct err *err)
{
    (void)b;
    CALL(current.inner->ops->load(current.inner, f, offset, n, max, out, err));
}

static int hit_stat(struct backend *b, const struct backend_file *f, uint64_t *ret_size,
                    struct err *err)
{
    (void)b;
    CALL(current.inner->ops->stat(current.inner, f, ret_size, err));
}

static int hit_list(struct backend *b, enum backend_type type, backend_list_fn *fn, void *ctx,
                    struct err *err)
{
    (void)b;
    CALL(current.inner->ops->list(current.inner, type, fn, ctx, err));
}

static int hit_remove(struct backend *b, const struct backend_file *f, struct err *err)
{
    (void)b;
    CALL(current.inner->ops->remove(current.inner, f, err));
}

static void hit_close(struct backend *b)
{
    (void)b;
}

static const struct backend_ops hit_ops = {
    .name = "faulty",
    .create = hit_create,
    .save = hit_save,
    .load = hit_load,
    .stat = hit_stat,
    .list = hit_list,
    .remove = hit_remove,
    .close = hit_close,
};

struct backend *fault_backend_open(struct world *w, const struct point *fault)
{
    static const struct point none = {0};
    current = (struct hit_backend){
        .base.ops = &hit_ops, .inner = world_backend(w), .world = w, .fault = *fault};
    if (w->s3 && w->steps)
        world_arm(w, fault->level == LEVEL_STEP ? fault : &none, getpid());
    return &current.base;
}

struct fault_count fault_backend_close(struct backend *b)
{
    static const struct point none = {0};
    struct fault_count count = current.count;
    (void)b;
    if (current.world->s3 && current.world->steps) {
        count.steps = world_arm(current.world, &none, 0);
        if (current.fault.level == LEVEL_STEP)
            count.hit = current.fault.at && count.steps >= current.fault.at;
    }
    backend_close(current.inner);
    current = (struct hit_backend){0};
    return count;
}

/* ---- steps on a folder ---- */

enum what { READS, SYNCS, TAKES_SPACE, CHANGES };

enum verdict { GO_ON, FAIL_NOW, DO_AND_FAIL, DO_AND_DIE, DO_HALF };

/* Decides about a system call; errno is what it fails with. */
static enum verdict step(enum what what)
{
    const struct point *f = &current.fault;
    if (!current.inside || current.world->s3 || f->level != LEVEL_STEP)
        return GO_ON;
    bool now = ++current.count.steps == f->at;
    current.count.hit = current.count.hit || now;
    if (current.full && (what == TAKES_SPACE || what == SYNCS)) {
        errno = ENOSPC;
        return FAIL_NOW;
    }
    bool later = f->kind == FAULT_CUT_OFF && f->at && current.count.steps > f->at;
    if (!now && !later)
        return GO_ON;
    switch (f->kind) {
    case FAULT_KILL_BEFORE:
        die();
        break;
    case FAULT_KILL_AFTER:
        return DO_AND_DIE;
    case FAULT_SPACE:
        current.full = true;
        if (what == TAKES_SPACE)
            return DO_HALF;
        return GO_ON;
    case FAULT_SHORT:
        return DO_HALF;
    case FAULT_TIMEOUT:
        errno = ETIMEDOUT;
        return FAIL_NOW;
    case FAULT_LOST:
        errno = ETIMEDOUT;
        return DO_AND_FAIL;
    case FAULT_IO:
    case FAULT_CUT_OFF:
    case FAULT_KINDS:
        break;
    }
    errno = EIO;
    return FAIL_NOW;
}

/* The wrapped calls: __real_ is the C library's. After a call that is done all the same, `undo`
 * gives back what the caller will not. */
#define STEP(type, what, failed, whole, half, undo)                                                \
    do {                                                                                           \
        int kept_ = errno;                                                                         \
        enum verdict v_ = step(what);                                                              \
        int why_ = errno;                                                                          \
        errno = kept_;                                                                             \
        if (v_ == GO_ON)                                                                           \
            return whole;                                                                          \
        if (v_ == DO_HALF)                                                                         \
            return half;                                                                           \
        if (v_ != FAIL_NOW) {                                                                      \
            type r_ = whole;                                                                       \
            if (v_ == DO_AND_DIE)                                                                  \
                die();                                                                             \
            if (r_ != (failed))                                                                    \
                undo;                                                                              \
        }                                                                                          \
        errno = why_;                                                                              \
        return failed;                                                                             \
    } while (0)

#define WRAP(type, name, parameters)                                                               \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters

WRAP(int, open, (const char *path, int flags, ...))
{
    va_list ap;
    va_start(ap, flags);
    mode_t mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;
    va_end(ap);
    STEP(int, flags &O_CREAT ? TAKES_SPACE : READS, -1, __real_open(path, flags, mode),
         __real_open(path, flags, mode), close(r_));
}

WRAP(ssize_t, write, (int fd, const void *p, size_t n))
{
    const struct point *f = &current.fault;
    if (current.inside && !current.world->s3 && f->level == LEVEL_STEP &&
        f->kind == FAULT_KILL_BEFORE && current.count.steps + 1 == f->at)
        (void)!__real_write(fd, p, n / 2); /* in the middle of it */
    STEP(ssize_t, TAKES_SPACE, -1, __real_write(fd, p, n), __real_write(fd, p, n / 2 + 1), (void)0);
}

WRAP(ssize_t, pread, (int fd, void *p, size_t n, off_t at))
{
    STEP(ssize_t, READS, -1, __real_pread(fd, p, n, at), __real_pread(fd, p, n / 2 + 1, at),
         (void)0);
}

WRAP(int, fsync, (int fd))
{
    STEP(int, SYNCS, -1, __real_fsync(fd), __real_fsync(fd), (void)0);
}

WRAP(int, rename, (const char *from, const char *to))
{
    STEP(int, TAKES_SPACE, -1, __real_rename(from, to), __real_rename(from, to), (void)0);
}

WRAP(int, link, (const char *from, const char *to))
{
    STEP(int, TAKES_SPACE, -1, __real_link(from, to), __real_link(from, to), (void)0);
}

WRAP(int, unlink, (const char *path))
{
    STEP(int, CHANGES, -1, __real_unlink(path), __real_unlink(path), (void)0);
}

WRAP(int, mkdir, (const char *path, mode_t mode))
{
    STEP(int, TAKES_SPACE, -1, __real_mkdir(path, mode), __real_mkdir(path, mode), (void)0);
}

WRAP(int, stat, (const char *path, struct stat *st))
{
    STEP(int, READS, -1, __real_stat(path, st), __real_stat(path, st), (void)0);
}

WRAP(DIR *, opendir, (const char *path))
{
    STEP(DIR *, READS, NULL, __real_opendir(path), __real_opendir(path), closedir(r_));
}
