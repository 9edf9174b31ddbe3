/* What the tests of movers share: a repository beside two folders, odd files, and a description of
 * a folder with all that must be equal. Run as root: owners, devices and mounts are part of it. */
#ifndef MOVER_SUPPORT_H
#define MOVER_SUPPORT_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/codec.h"
#include "core/map.h"
#include "mover/archive.h"
#include "mover/attributes.h"
#include "mover/extract.h"
#include "mover/root.h"
#include "mover/volume.h"
#include "store/tree.h"

/* ---- a place for a test ---- */

struct place {
    char dir[64], volume[80], other[80];
    struct backend *backend;
    struct repository *repo;
};

static inline char *at(const char *dir, const char *name)
{
    static char text[8][PATH_MAX];
    static unsigned next;
    char *p = text[next++ % 8];
    snprintf(p, PATH_MAX, "%s/%s", dir, name);
    return p;
}

static inline int remove_one(const char *path, const struct stat *st, int type, struct FTW *w)
{
    (void)st, (void)type, (void)w;
    return remove(path);
}

static inline int set_up(void **state)
{
    struct place *p = xcalloc(1, sizeof *p);
    struct err err = {0};
    struct repository_key key = {.password = "a password of a test", .scrypt_log2 = 10};
    strcpy(p->dir, "/tmp/gleaner-volume-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    snprintf(p->volume, sizeof p->volume, "%s/volume", p->dir);
    snprintf(p->other, sizeof p->other, "%s/other", p->dir);
    assert_int_equal(mkdir(p->volume, 0755), 0);
    assert_int_equal(mkdir(p->other, 0755), 0);
    assert_int_equal(backend_open_local(at(p->dir, "repository"), &p->backend, &err), 0);
    assert_int_equal(repository_init(p->backend, &key, 1, NULL, &err), 0);
    assert_int_equal(repository_open(p->backend, key.password, NULL, &p->repo, &err), 0);
    assert_int_equal(repository_load_index(p->repo, &err), 0);
    *state = p;
    return 0;
}

static inline int tear_down(void **state)
{
    struct place *p = *state;
    repository_close(p->repo);
    backend_close(p->backend);
    nftw(p->dir, remove_one, 64, FTW_DEPTH | FTW_PHYS);
    free(p);
    return 0;
}

static inline void put(const char *path, const void *bytes, size_t n, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    while (n) {
        ssize_t w = write(fd, bytes, n);
        assert_true(w > 0);
        bytes = (const char *)bytes + w;
        n -= (size_t)w;
    }
    assert_int_equal(syscall(SYS_fchmod, fd, mode), 0);
    close(fd);
}

static inline void put_text(const char *path, const char *text)
{
    put(path, text, strlen(text), 0644);
}

/* Reproducible bytes that compress badly. */
static inline char *noise(size_t n, uint64_t seed)
{
    uint64_t *p = xmalloc(n + 8), x = seed * 2654435769u + 1;
    for (size_t i = 0; i < n / 8 + 1; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        p[i] = x;
    }
    return (char *)p;
}

static inline void put_noise(const char *path, size_t n, uint64_t seed, mode_t mode)
{
    char *p = noise(n, seed);
    put(path, p, n, mode);
    free(p);
}

static inline void set_time(const char *path, int64_t sec, long nsec)
{
    struct timespec t[2] = {{sec, nsec}, {sec, nsec}};
    assert_int_equal(syscall(SYS_utimensat, AT_FDCWD, path, t, AT_SYMLINK_NOFOLLOW), 0);
}

/* ---- what few file systems' users ever see ---- */

static inline void put_attribute(const char *path, const char *name, const void *value, size_t n)
{
    if (lsetxattr(path, name, value, n, 0) < 0)
        fail_msg("%s: attribute %s: %s", path, name, strerror(errno));
}

static inline void put_le(uint8_t **p, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++)
        *(*p)++ = (uint8_t)(v >> 8 * i);
}

/* An ACL that lets a user read: linux/posix_acl_xattr.h. */
static inline void put_acl(const char *path, const char *which, uint32_t user)
{
    uint8_t acl[64], *p = acl;
    const struct {
        unsigned tag, perm;
        uint32_t id;
    } entries[] = {{1, 6, UINT32_MAX},
                   {2, 4, user},
                   {4, 4, UINT32_MAX},
                   {16, 4, UINT32_MAX},
                   {32, 0, UINT32_MAX}};
    put_le(&p, 2, 4);
    for (size_t i = 0; i < ARRAY_LEN(entries); i++) {
        put_le(&p, entries[i].tag, 2);
        put_le(&p, entries[i].perm, 2);
        put_le(&p, entries[i].id, 4);
    }
    put_attribute(path, which, acl, (size_t)(p - acl));
}

/* cap_net_bind_service+ep, version 2: linux/capability.h. */
static inline void put_capability(const char *path)
{
    uint8_t value[20], *p = value;
    put_le(&p, 0x02000001, 4);
    put_le(&p, 1 << 10, 4);
    put_le(&p, 0, 4);
    put_le(&p, 0, 8);
    put_attribute(path, "security.capability", value, sizeof value);
}

static inline void put_socket(const char *path)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    snprintf(name.sun_path, sizeof name.sun_path, "%.100s", path);
    int s = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(s, (struct sockaddr *)&name, sizeof name), 0);
    close(s);
}

/* Devices, pipes and sockets, also linked; attributes, ACLs and capabilities; holes. */
static inline void fill_nasty(const char *v)
{
    assert_int_equal(mknod(at(v, "null"), S_IFCHR | 0666, makedev(1, 3)), 0);
    assert_int_equal(mknod(at(v, "whiteout"), S_IFCHR | 0600, 0), 0);
    assert_int_equal(mknod(at(v, "far"), S_IFBLK | 0640, makedev(259, 70000)), 0);
    assert_int_equal(chmod(at(v, "far"), 06640), 0);
    assert_int_equal(mkfifo(at(v, "fifo"), 0622), 0);
    assert_int_equal(lchown(at(v, "fifo"), 11, 12), 0);
    put_socket(at(v, "socket"));
    mkdir(at(v, "links"), 0755);
    assert_int_equal(link(at(v, "null"), at(v, "links/null")), 0);
    assert_int_equal(link(at(v, "fifo"), at(v, "links/fifo")), 0);
    assert_int_equal(link(at(v, "socket"), at(v, "links/socket")), 0);
    set_time(at(v, "fifo"), -1, 1);
    set_time(at(v, "null"), -86400 * 3650, 999999999);
    set_time(at(v, "socket"), 5000000000, 7);
    put_text(at(v, "attributed"), "x");
    put_attribute(at(v, "attributed"), "user.zz", "value <x>", 9);
    put_attribute(at(v, "attributed"), "user.empty", "", 0);
    put_attribute(at(v, "attributed"), "user.bytes", "\xff\0\xfe", 3);
    put_attribute(at(v, "attributed"), "user.caf\xc3\xa9 \"q\"", "1", 1);
    put_acl(at(v, "attributed"), "system.posix_acl_access", 1000);
    put_acl(at(v, "fifo"), "system.posix_acl_access", 1001);
    put_text(at(v, "capable"), "#!");
    assert_int_equal(lchown(at(v, "capable"), 99, 98), 0);
    assert_int_equal(chmod(at(v, "capable"), 06755), 0);
    put_capability(at(v, "capable"));
    mkdir(at(v, "acl"), 0770);
    put_acl(at(v, "acl"), "system.posix_acl_access", 1002);
    put_acl(at(v, "acl"), "system.posix_acl_default", 1003);
    put_text(at(v, "acl/inherits"), "x");
    mkdir(at(v, "acl/dir"), 0755);
    put_text(at(v, "acl/bare"), "x");
    assert_int_equal(removexattr(at(v, "acl/bare"), "system.posix_acl_access"), 0);
    put_text(at(v, "acl/dir/before"), "1969");
    set_time(at(v, "acl/dir/before"), -315619200, 500000000);
    put_attribute(at(v, "acl/dir"), "user.dir", "d", 1);
    int fd = open(at(v, "holes"), O_WRONLY | O_CREAT, 0600);
    for (int i = 0; i < 5; i++)
        assert_int_equal(syscall(SYS_pwrite64, fd, "island", 6, (3 + 17 * i) * 100000), 6);
    assert_int_equal(syscall(SYS_ftruncate, fd, 20000001), 0);
    close(fd);
}

/* ---- comparing ---- */

static inline uint64_t file_hash(const char *path)
{
    struct sha256_ctx *c = sha256_new();
    uint8_t sum[32];
    static char piece[1 << 16];
    int fd = open(path, O_RDONLY | O_NOFOLLOW);
    assert_true(fd >= 0);
    ssize_t n;
    while ((n = read(fd, piece, sizeof piece)) > 0)
        sha256_update(c, piece, (size_t)n);
    assert_int_equal(n, 0);
    close(fd);
    sha256_final(c, sum);
    uint64_t h;
    memcpy(&h, sum, sizeof h);
    return h;
}

static inline int compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static inline void describe_attributes(struct buf *out, const char *path)
{
    char names[4096], value[4096], *lines[64];
    size_t lines_n = 0;
    ssize_t n = llistxattr(path, names, sizeof names);
    assert_true(n >= 0);
    for (const char *x = names; x < names + n; x += strlen(x) + 1) {
        ssize_t len = lgetxattr(path, x, value, sizeof value);
        assert_true(len >= 0 && lines_n < ARRAY_LEN(lines));
        struct buf line = {0};
        buf_printf(&line, " %s=", x);
        base64_encode(&line, value, (size_t)len);
        lines[lines_n++] = buf_take(&line);
    }
    qsort(lines, lines_n, sizeof *lines, compare_texts);
    for (size_t i = 0; i < lines_n; i++) {
        buf_puts(out, lines[i]);
        free(lines[i]);
    }
}

/* One line for each entry with all that must be equal; links are told by the first name of their
 * inode. */
static inline void describe(struct buf *out, const char *dir, const char *below, struct map *inodes)
{
    char path[PATH_MAX], target[PATH_MAX];
    snprintf(path, sizeof path, "%s%s", dir, below);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    assert_true(fd >= 0);
    struct volume_names names;
    assert_int_equal(volume_list(fd, &names), 0);
    close(fd);
    for (size_t i = 0; i < names.at.n; i++) {
        struct stat st;
        char name[PATH_MAX];
        if (!*below && volume_is_protected(volume_name(&names, i)))
            continue;
        snprintf(name, sizeof name, "%s/%s", below, volume_name(&names, i));
        snprintf(path, sizeof path, "%s%s", dir, name);
        assert_int_equal(lstat(path, &st), 0);
        str key = {(const char *)&st.st_ino, sizeof st.st_ino};
        if (!map_get(inodes, key))
            map_put(inodes, key, xstrdup(name));
        buf_printf(out, "%s %o %u:%u %lld.%09ld %s", name, st.st_mode, st.st_uid, st.st_gid,
                   (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec,
                   S_ISDIR(st.st_mode) ? "" : (char *)map_get(inodes, key));
        if (S_ISREG(st.st_mode))
            buf_printf(out, " %lld %016llx", (long long)st.st_size,
                       (unsigned long long)file_hash(path));
        if (S_ISLNK(st.st_mode)) {
            ssize_t n = readlink(path, target, sizeof target);
            buf_printf(out, " -> %.*s", (int)n, target);
        }
        if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode))
            buf_printf(out, " %u:%u", major(st.st_rdev), minor(st.st_rdev));
        describe_attributes(out, path);
        buf_putc(out, '\n');
        if (S_ISDIR(st.st_mode))
            describe(out, dir, name, inodes);
    }
    volume_names_free(&names);
}

static inline char *description(const char *dir)
{
    struct buf out = {0};
    struct stat st;
    struct map *inodes = map_new(free);
    assert_int_equal(lstat(dir, &st), 0);
    buf_printf(&out, "/ %o %u:%u %lld.%09ld", st.st_mode, st.st_uid, st.st_gid,
               (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    describe_attributes(&out, dir);
    buf_putc(&out, '\n');
    describe(&out, dir, "", inodes);
    map_free(inodes);
    return buf_take(&out);
}

static inline void assert_same(const char *a, const char *b)
{
    char *x = description(a), *y = description(b);
    assert_string_equal(x, y);
    free(x);
    free(y);
}

static inline int archive(struct place *p, const char *dir, const struct store_id *parent,
                          const struct archive_probe *probe, struct mover_report *report)
{
    struct err err = {0};
    *report = (struct mover_report){0};
    int fd = open(dir, O_RDONLY | O_DIRECTORY);
    int r = archive_volume(p->repo, fd, parent, probe, report, &err);
    close(fd);
    if (r < 0)
        print_message("archive: %s\n", err.msg);
    return r;
}

static inline int extract(struct place *p, const char *dir, const struct mover_report *from,
                          struct mover_report *report, struct err *err)
{
    *report = (struct mover_report){0};
    int fd = open(dir, O_RDONLY | O_DIRECTORY);
    int r = extract_volume(p->repo, fd, &from->tree, *from->root ? from->root : NULL, report, err);
    close(fd);
    return r;
}

static inline void extract_well(struct place *p, const char *dir, const struct mover_report *from,
                                struct mover_report *report)
{
    struct err err = {0};
    if (extract(p, dir, from, report, &err) < 0)
        fail_msg("extract: %s", err.msg);
    for (size_t i = 0; i < report->first_n; i++)
        print_message("problem: %s %s\n", report->first[i].path, report->first[i].what);
}

static inline bool has_problem(const struct mover_report *r, const char *path, const char *part)
{
    for (size_t i = 0; i < r->first_n; i++)
        if (streq(r->first[i].path, path) && strstr(r->first[i].what, part))
            return true;
    print_message("no problem '%s' of %s\n", part, path);
    return false;
}

#endif
