/* What archive and extract both need to know of a mounted volume: what in it is not ours to touch,
 * where it ends, and what stands in a directory. */
#ifndef MOVER_VOLUME_H
#define MOVER_VOLUME_H

#include <sys/stat.h>
#include <time.h>

#include "core/vec.h"
#include "mover/report.h"

/* Names in the volume's own directory that belong to the file system: never archived, removed or
 * written. */
bool volume_is_protected(const char *name);

/* One file as lstat sees it, and the mount that it lies on. */
struct volume_stat {
    uint32_t mode; /* st_mode */
    uint32_t uid, gid;
    uint64_t inode, device, links, size, rdev;
    uint64_t blocks; /* of 512 bytes that it takes on the disk */
    struct timespec mtime, ctime;
    uint64_t mount; /* 0 where the kernel does not tell */
    bool immutable; /* immutable or append-only */
};

/* Of name below dir, or of dir itself (name ""). Never follows a symlink, never mounts. 0 or
 * -errno. */
int volume_stat(int dir, const char *name, struct volume_stat *ret);

/* False: an entry of another mount than its parent's. */
bool volume_same_mount(const struct volume_stat *a, const struct volume_stat *b);

static inline bool volume_same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

/* The names of one directory, sorted by their bytes, in two blocks of memory. */
struct volume_names {
    struct buf text;
    VEC(uint32_t) at;
};

/* All but "." and "..". 0 or -errno; the descriptor stays open and is the caller's. */
int volume_list(int dir, struct volume_names *ret);
void volume_names_free(struct volume_names *names); /* fit for CLEANUP */

static inline const char *volume_name(const struct volume_names *names, size_t i)
{
    return names->text.p + names->at.p[i];
}

/* Opens a directory below dir. A descriptor or -errno. */
int volume_open_dir(int dir, const char *name);

/* The path of the entry that is worked on, for messages: "/a/b". Push and pop in pairs. */
struct volume_path {
    struct buf text;
};
size_t volume_path_push(struct volume_path *p, const char *name); /* what pop wants back */
void volume_path_pop(struct volume_path *p, size_t before);
const char *volume_path_text(const struct volume_path *p); /* "/" for the root */

/* Problems on their way into the report; all of them as lines, up to PROBLEM_LIST_MAX. */
#define PROBLEM_LIST_MAX ((size_t)1 << 20)

struct problems {
    struct mover_report *report;
    struct buf list; /* NULL-initialised; stays below PROBLEM_LIST_MAX */
    /* Is told each of them as well; NULL: nobody. */
    void (*each)(void *ctx, const char *path, const char *what);
    void *ctx;
};
void problem_add(struct problems *p, const char *path, const char *fmt, ...) printf_like(3, 4);

#endif
