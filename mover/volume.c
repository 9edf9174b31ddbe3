#include "mover/volume.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "core/jsonscan.h"

bool volume_is_protected(const char *name)
{
    static const char *const names[] = {"lost+found", ".snapshot", ".zfs"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

int volume_stat(int dir, const char *name, struct volume_stat *ret)
{
    struct statx x;
    int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | (*name ? 0 : AT_EMPTY_PATH);
    if (statx(dir, name, flags, STATX_BASIC_STATS | STATX_MNT_ID, &x) < 0)
        return -errno;
    *ret = (struct volume_stat){
        .mode = x.stx_mode,
        .uid = x.stx_uid,
        .gid = x.stx_gid,
        .inode = x.stx_ino,
        .device = makedev(x.stx_dev_major, x.stx_dev_minor),
        .rdev = makedev(x.stx_rdev_major, x.stx_rdev_minor),
        .links = x.stx_nlink,
        .size = x.stx_size,
        .blocks = x.stx_blocks,
        .mtime = {x.stx_mtime.tv_sec, x.stx_mtime.tv_nsec},
        .ctime = {x.stx_ctime.tv_sec, x.stx_ctime.tv_nsec},
        .mount = x.stx_mask & STATX_MNT_ID ? x.stx_mnt_id : 0,
        .immutable = x.stx_attributes & (STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND),
    };
    return 0;
}

bool volume_same_mount(const struct volume_stat *a, const struct volume_stat *b)
{
    /* Subvolumes have devices of their own inside of one mount; bind mounts the same device in
     * several: the mount's id is the better witness. */
    return a->mount && b->mount ? a->mount == b->mount : a->device == b->device;
}

static int compare_names(const void *a, const void *b, void *text)
{
    const uint32_t *x = a, *y = b;
    return strcmp((const char *)text + *x, (const char *)text + *y);
}

int volume_list(int dir, struct volume_names *ret)
{
    /* Its own description: the position of `dir` stays where it is. */
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    DIR *d = fdopendir(fd);
    if (!d) {
        int e = errno;
        close(fd);
        return -e;
    }
    struct volume_names names = {0};
    struct dirent *entry;
    errno = 0;
    while ((entry = readdir(d))) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            *vec_add(&names.at) = (uint32_t)names.text.n;
            buf_add(&names.text, entry->d_name, strlen(entry->d_name) + 1);
        }
        errno = 0;
    }
    int e = errno;
    closedir(d);
    if (!e && names.text.overflow)
        e = EOVERFLOW;
    if (e) {
        volume_names_free(&names);
        return -e;
    }
    if (names.at.n > 1)
        qsort_r(names.at.p, names.at.n, sizeof *names.at.p, compare_names, names.text.p);
    *ret = names;
    return 0;
}

void volume_names_free(struct volume_names *names)
{
    buf_free(&names->text);
    vec_free(&names->at);
}

int volume_open_dir(int dir, const char *name)
{
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

size_t volume_path_push(struct volume_path *p, const char *name)
{
    size_t before = p->text.n;
    buf_putc(&p->text, '/');
    buf_puts(&p->text, name);
    return before;
}

void volume_path_pop(struct volume_path *p, size_t before)
{
    p->text.n = before;
    p->text.p[before] = '\0';
}

const char *volume_path_text(const struct volume_path *p)
{
    return p->text.n ? p->text.p : "/";
}

void problem_add(struct problems *p, const char *path, const char *fmt, ...)
{
    char all[1024], what[MOVER_REPORT_WHAT];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(all, sizeof all, fmt, ap);
    va_end(ap);
    snprintf(what, sizeof what, "%.*s", (int)sizeof what - 1, all);
    mover_report_problem(p->report, path, what);
    if (p->each)
        p->each(p->ctx, path, all);
    if (p->list.n + 6 * strlen(path) + 6 * sizeof what + 32 > PROBLEM_LIST_MAX)
        return;
    buf_puts(&p->list, "{\"path\":");
    raw_add_string(&p->list, str_of(path));
    buf_puts(&p->list, ",\"what\":");
    raw_add_string(&p->list, str_of(what));
    buf_puts(&p->list, "}\n");
}
