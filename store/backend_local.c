/* A repository in a folder. */
#include "store/backend.h"

#include "store/bytes.h"
#include "store/layout.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct local {
    struct backend base;
    char *root;
};

static struct local *local_of(struct backend *b)
{
    return (struct local *)b;
}

static char *path_of(struct backend *b, const struct backend_file *f)
{
    struct buf path = {0};
    buf_printf(&path, "%s/", local_of(b)->root);
    layout_file(&path, f, true);
    return buf_take(&path);
}

static int sync_folder(const char *path, struct err *err)
{
    int fd CLEANUP(close_p) = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, errno, "%s", path);
    if (fsync(fd) < 0 && errno != EINVAL &&
        errno != ENOTSUP) /* some file systems have no such call */
        return err_errno(err, errno, "syncing %s", path);
    return 0;
}

/* The folder that holds path, as a new string. */
static char *parent_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return xstrdup(".");
    return slash == path ? xstrdup("/") : xstrndup(path, (size_t)(slash - path));
}

/* Makes a folder and what lies above it; durable. */
static int make_folder(const char *path, struct err *err)
{
    char *parent CLEANUP(free_p) = parent_of(path);
    if (mkdir(path, 0700) < 0) {
        if (errno == EEXIST)
            return 0;
        if (errno != ENOENT)
            return err_errno(err, errno, "making folder %s", path);
        if (make_folder(parent, err) < 0)
            return -1;
        if (mkdir(path, 0700) < 0 && errno != EEXIST)
            return err_errno(err, errno, "making folder %s", path);
    }
    return sync_folder(parent, err);
}

static int local_create(struct backend *b, struct err *err)
{
    if (make_folder(local_of(b)->root, err) < 0)
        return -1;
    for (enum backend_type t = BACKEND_KEY; t < BACKEND_TYPES; t++) {
        char *path CLEANUP(free_p) = xasprintf("%s/%s", local_of(b)->root, layout_type_name(t));
        if (make_folder(path, err) < 0)
            return -1;
    }
    return 0;
}

static int write_all(int fd, const char *p, size_t n, struct err *err)
{
    while (n) {
        ssize_t done = write(fd, p, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return err_errno(err, errno, "writing");
        p += done, n -= (size_t)done;
    }
    return 0;
}

/* Writes and syncs the temporary file. */
static int write_temporary(const char *path, const void *p, size_t n, struct err *err)
{
    int fd CLEANUP(close_p) = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0400);
    if (fd < 0)
        return err_errno(err, errno, "%s", path);
    if (write_all(fd, p, n, err) < 0)
        return -1;
    if (fsync(fd) < 0 && errno != EINVAL && errno != ENOTSUP)
        return err_errno(err, errno, "syncing %s", path);
    return 0;
}

/* A config is never replaced: two that initialise at once must not both believe in theirs. */
static int put_in_place(const char *temporary, const char *path, bool replace, struct err *err)
{
    if (replace)
        return rename(temporary, path) < 0 ? err_errno(err, errno, "renaming to %s", path) : 0;
    if (link(temporary, path) < 0)
        return err_errno(err, errno, "%s", path);
    unlink(temporary);
    return 0;
}

/* That a folder which is missing may be made for a file of this type. Only where the repository is
 * there: not below a mount point that is empty for now. rustic makes no folder for locks. */
static bool may_make_folder(struct backend *b, enum backend_type type)
{
    const char *root = local_of(b)->root;
    char *config CLEANUP(free_p) = xasprintf("%s/%s", root, layout_type_name(BACKEND_CONFIG));
    return access(type == BACKEND_DATA ? root : config, F_OK) == 0;
}

static int local_save(struct backend *b, const struct backend_file *f, const void *p, size_t n,
                      struct err *err)
{
    char *path CLEANUP(free_p) = path_of(b, f);
    char *folder CLEANUP(free_p) = parent_of(path);
    struct stat st;
    if (stat(path, &st) == 0) {
        if (f->type == BACKEND_CONFIG)
            return err_set(err, ERR_EXISTS, "%s is there already", path);
        if ((uint64_t)st.st_size == n)
            return sync_folder(folder, err); /* named by its content: it is this file; but who put
                                                it there may have died before it was durable */
    }
    char token[17];
    random_token(token, 8);
    char *temporary CLEANUP(free_p) = xasprintf("%s/.tmp-%s", folder, token);
    int r = write_temporary(temporary, p, n, err);
    if (r < 0 && access(folder, F_OK) < 0 && may_make_folder(b, f->type)) {
        if (make_folder(folder, err) < 0)
            return -1;
        r = write_temporary(temporary, p, n, err);
    }
    if (r == 0)
        r = put_in_place(temporary, path, f->type != BACKEND_CONFIG, err);
    if (r < 0) {
        unlink(temporary);
        return -1;
    }
    return sync_folder(folder, err);
}

static int open_file(const char *path, uint64_t *ret_size, struct err *err)
{
    int fd CLEANUP(close_p) = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_errno(err, errno, "%s", path);
    if (!S_ISREG(st.st_mode))
        return err_set(err, ERR_CORRUPT, "%s is not a file", path);
    *ret_size = (uint64_t)st.st_size;
    int opened = fd;
    fd = -1;
    return opened;
}

static int local_load(struct backend *b, const struct backend_file *f, uint64_t offset, size_t n,
                      size_t max, struct buf *out, struct err *err)
{
    char *path CLEANUP(free_p) = path_of(b, f);
    uint64_t size = 0;
    int fd CLEANUP(close_p) = open_file(path, &size, err);
    if (fd < 0)
        return -1;
    uint64_t left = size > offset ? size - offset : 0;
    if (n == BACKEND_ALL)
        n = (size_t)left;
    if (n > left)
        return err_set(err, ERR_CORRUPT, "%s has %llu bytes; bytes %llu to %llu were asked for",
                       path, (unsigned long long)size, (unsigned long long)offset,
                       (unsigned long long)(offset + n));
    if (n > max)
        return err_set(err, ERR_TOO_LARGE, "%s has %zu bytes; at most %zu are read", path, n, max);
    bytes_room(out, n);
    while (n) {
        ssize_t done = pread(fd, out->p + out->n, n, (off_t)offset);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return err_errno(err, errno, "%s", path);
        if (done == 0)
            return err_set(err, ERR_CORRUPT, "%s became shorter while it was read", path);
        bytes_grow(out, (size_t)done);
        offset += (uint64_t)done, n -= (size_t)done;
    }
    return 0;
}

static int local_stat(struct backend *b, const struct backend_file *f, uint64_t *ret_size,
                      struct err *err)
{
    char *path CLEANUP(free_p) = path_of(b, f);
    struct stat st;
    if (stat(path, &st) < 0)
        return err_errno(err, errno, "%s", path);
    *ret_size = (uint64_t)st.st_size;
    return 0;
}

static void closedir_p(DIR **d)
{
    if (*d)
        closedir(*d);
}

static int list_folder(const char *path, bool shards, backend_list_fn *fn, void *ctx,
                       struct err *err)
{
    DIR *dir CLEANUP(closedir_p) = opendir(path);
    if (!dir)
        return err_errno(err, errno, "%s", path);
    for (;;) {
        errno = 0;
        struct dirent *e = readdir(dir);
        if (!e)
            return errno ? err_errno(err, errno, "%s", path) : 0;
        str name = str_of(e->d_name);
        struct store_id id;
        struct stat st;
        uint8_t digits;
        if (shards && name.n == 2 && hex_decode(name, &digits, 1)) {
            char *shard CLEANUP(free_p) = xasprintf("%s/%s", path, e->d_name);
            if (list_folder(shard, false, fn, ctx, err) < 0)
                return -1;
            continue;
        }
        if (shards || !store_id_parse(name, &id))
            continue;
        if (fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
            if (errno == ENOENT)
                continue; /* removed since: a lock, most likely */
            return err_errno(err, errno, "%s/%s", path, e->d_name);
        }
        if (S_ISREG(st.st_mode) && fn(ctx, &id, (uint64_t)st.st_size, err) < 0)
            return -1;
    }
}

static int local_list(struct backend *b, enum backend_type type, backend_list_fn *fn, void *ctx,
                      struct err *err)
{
    char *path CLEANUP(free_p) = xasprintf("%s/%s", local_of(b)->root, layout_type_name(type));
    char *config CLEANUP(free_p) = xasprintf("%s/config", local_of(b)->root);
    if (access(path, F_OK) < 0 && errno == ENOENT && access(config, F_OK) == 0)
        return 0;
    return list_folder(path, type == BACKEND_DATA, fn, ctx, err);
}

static int local_folders(struct backend *b, backend_folder_fn *fn, void *ctx, struct err *err)
{
    DIR *dir CLEANUP(closedir_p) = opendir(local_of(b)->root);
    if (!dir)
        return errno == ENOENT ? 0 : err_errno(err, errno, "%s", local_of(b)->root);
    for (;;) {
        errno = 0;
        struct dirent *e = readdir(dir);
        struct stat st;
        if (!e)
            return errno ? err_errno(err, errno, "%s", local_of(b)->root) : 0;
        if (e->d_name[0] == '.' || fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
            !S_ISDIR(st.st_mode))
            continue;
        if (fn(ctx, e->d_name, err) < 0)
            return -1;
    }
}

static int local_remove(struct backend *b, const struct backend_file *f, struct err *err)
{
    char *path CLEANUP(free_p) = path_of(b, f);
    if (unlink(path) < 0 && errno != ENOENT)
        return err_errno(err, errno, "%s", path);
    char *folder CLEANUP(free_p) = parent_of(path);
    if (access(folder, F_OK) < 0 && errno == ENOENT)
        return 0; /* of a data file that never was, not even the folder is there */
    return sync_folder(folder, err);
}

static void local_close(struct backend *b)
{
    free(local_of(b)->root);
    free(b);
}

static const struct backend_ops local_ops = {
    .name = "local",
    .create = local_create,
    .save = local_save,
    .load = local_load,
    .stat = local_stat,
    .list = local_list,
    .remove = local_remove,
    .folders = local_folders,
    .close = local_close,
};

int backend_open_local(const char *path, struct backend **ret_backend, struct err *err)
{
    if (!path || !*path)
        return err_set(err, ERR_INVALID, "a local repository needs a path");
    struct local *l = xcalloc(1, sizeof *l);
    l->base.ops = &local_ops;
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    l->root = xstrndup(path, n);
    *ret_backend = &l->base;
    return 0;
}
