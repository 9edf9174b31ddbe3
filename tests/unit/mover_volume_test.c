/* Volumes into a repository and back: what is equal afterwards, what is named, and what a mover
 * that is killed at any of its steps leaves behind. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <linux/capability.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/map.h"
#include "mover/archive.h"
#include "mover/extract.h"
#include "mover/volume.h"
#include "store/tree.h"

/* ---- every call that changes a volume passes here: the n-th one kills ---- */

static long calls, kill_at;

static void step(void)
{
    if (++calls == kill_at)
        kill(getpid(), SIGKILL);
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
    step();
    return syscall(SYS_pwrite64, fd, p, n, at);
}
int ftruncate(int fd, off_t n)
{
    step();
    return (int)syscall(SYS_ftruncate, fd, n);
}
int unlinkat(int dir, const char *name, int flags)
{
    step();
    return (int)syscall(SYS_unlinkat, dir, name, flags);
}
int mkdirat(int dir, const char *name, mode_t mode)
{
    step();
    return (int)syscall(SYS_mkdirat, dir, name, mode);
}
int linkat(int from, const char *a, int to, const char *b, int flags)
{
    step();
    return (int)syscall(SYS_linkat, from, a, to, b, flags);
}
int symlinkat(const char *target, int dir, const char *name)
{
    step();
    return (int)syscall(SYS_symlinkat, target, dir, name);
}
int fchown(int fd, uid_t uid, gid_t gid)
{
    step();
    return (int)syscall(SYS_fchown, fd, uid, gid);
}
int fchmod(int fd, mode_t mode)
{
    step();
    return (int)syscall(SYS_fchmod, fd, mode);
}
int futimens(int fd, const struct timespec t[2])
{
    step();
    return (int)syscall(SYS_utimensat, fd, NULL, t, 0);
}
int utimensat(int dir, const char *name, const struct timespec t[2], int flags)
{
    step();
    return (int)syscall(SYS_utimensat, dir, name, t, flags);
}

/* ---- a place for a test ---- */

struct place {
    char dir[64], volume[80], other[80];
    struct backend *backend;
    struct repository *repo;
};

static char *at(const char *dir, const char *name)
{
    static char text[8][PATH_MAX];
    static unsigned next;
    char *p = text[next++ % 8];
    snprintf(p, PATH_MAX, "%s/%s", dir, name);
    return p;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *w)
{
    (void)st, (void)type, (void)w;
    return remove(path);
}

static int set_up(void **state)
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

static int tear_down(void **state)
{
    struct place *p = *state;
    repository_close(p->repo);
    backend_close(p->backend);
    nftw(p->dir, remove_one, 64, FTW_DEPTH | FTW_PHYS);
    free(p);
    return 0;
}

static void put(const char *path, const void *bytes, size_t n, mode_t mode)
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

static void put_text(const char *path, const char *text)
{
    put(path, text, strlen(text), 0644);
}

/* Reproducible bytes that compress badly. */
static char *noise(size_t n, uint64_t seed)
{
    uint64_t *p = xmalloc(n + 8), x = seed * 2654435769u + 1;
    for (size_t i = 0; i < n / 8 + 1; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        p[i] = x;
    }
    return (char *)p;
}

static void put_noise(const char *path, size_t n, uint64_t seed, mode_t mode)
{
    char *p = noise(n, seed);
    put(path, p, n, mode);
    free(p);
}

static void set_time(const char *path, int64_t sec, long nsec)
{
    struct timespec t[2] = {{sec, nsec}, {sec, nsec}};
    assert_int_equal(syscall(SYS_utimensat, AT_FDCWD, path, t, AT_SYMLINK_NOFOLLOW), 0);
}

static const char *const odd_names[] = {"with space",
                                        "quo\"te",
                                        "back\\slash",
                                        "new\nline",
                                        "tab\t",
                                        "caf\xc3\xa9",
                                        "lat\xe4in",
                                        "\xff\xfe",
                                        "-rf",
                                        "a<b>&c",
                                        "\xe2\x80\x8b zero width",
                                        ".hidden",
                                        "~",
                                        "$HOME",
                                        "*"};

/* A volume with everything that is archived. */
static void fill(const char *v)
{
    char long_name[256];
    memset(long_name, 'n', 255);
    long_name[255] = '\0';
    put_text(at(v, "empty"), "");
    put_text(at(v, "small"), "some text\n");
    put_noise(at(v, "big"), 5 << 20, 1, 0640);
    put_text(at(v, "none"), "nobody may read it");
    assert_int_equal(chmod(at(v, "none"), 0), 0);
    put(at(v, "suid"), "#!", 2, 04755);
    put(at(v, "sgid"), "#!", 2, 02755);
    put_text(at(v, long_name), "a long name");
    mkdir(at(v, "odd"), 0755);
    for (size_t i = 0; i < ARRAY_LEN(odd_names); i++)
        put_text(at(at(v, "odd"), odd_names[i]), odd_names[i]);
    mkdir(at(v, "emptydir"), 0755);
    mkdir(at(v, "sticky"), 0755);
    mkdir(at(v, "group"), 0755);
    put_text(at(v, "group/file"), "x");
    mkdir(at(v, "a"), 0755);
    mkdir(at(v, "b"), 0700);
    put_noise(at(v, "a/linked"), 100000, 2, 0644);
    assert_int_equal(link(at(v, "a/linked"), at(v, "b/linked too")), 0);
    assert_int_equal(link(at(v, "a/linked"), at(v, "zz")), 0);
    put_text(at(v, "b/pair1"), "pair");
    assert_int_equal(link(at(v, "b/pair1"), at(v, "b/pair2")), 0);
    symlink("../small", at(v, "a/relative"));
    symlink("/etc/passwd", at(v, "a/absolute"));
    symlink("nowhere at all", at(v, "a/dangling"));
    symlink("\xff\xfe/lat\xe4", at(v, "a/odd target"));
    assert_int_equal(linkat(AT_FDCWD, at(v, "a/dangling"), AT_FDCWD, at(v, "a/zlink"), 0), 0);
    int fd = open(at(v, "sparse"), O_WRONLY | O_CREAT, 0600);
    assert_int_equal(syscall(SYS_ftruncate, fd, 30 << 20), 0);
    assert_int_equal(syscall(SYS_pwrite64, fd, "end", 3, (30 << 20) - 3), 3);
    close(fd);
    char deep[PATH_MAX];
    snprintf(deep, sizeof deep, "%s/deep", v);
    for (int i = 0; i < 60; i++) {
        mkdir(deep, 0755);
        strcat(deep, "/d");
    }
    put_text(deep, "bottom");
    assert_int_equal(lchown(at(v, "small"), 1234, 5678), 0);
    assert_int_equal(lchown(at(v, "a/dangling"), 7, 8), 0);
    assert_int_equal(lchown(at(v, "group"), 1000, 4321), 0);
    chmod(at(v, "group"), 02770);
    chmod(at(v, "sticky"), 01777);
    set_time(at(v, "a/relative"), 1600000000, 1);
    set_time(at(v, "small"), 1234567890, 123456789);
    set_time(at(v, "empty"), 1, 999999999);
    set_time(at(v, "emptydir"), 4102444800, 5);
    set_time(at(v, "odd"), 1500000000, 500000000);
    chmod(v, 02775);
    assert_int_equal(lchown(v, 65532, 65533), 0);
    chmod(v, 02775);
    set_time(v, 1700000000, 42);
}

/* ---- comparing ---- */

static uint64_t file_hash(const char *path)
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

/* One line for each entry with all that must be equal; links are told by the first name of their
 * inode. */
static void describe(struct buf *out, const char *dir, const char *below, struct map *inodes)
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
        buf_putc(out, '\n');
        if (S_ISDIR(st.st_mode))
            describe(out, dir, name, inodes);
    }
    volume_names_free(&names);
}

static char *description(const char *dir)
{
    struct buf out = {0};
    struct stat st;
    struct map *inodes = map_new(free);
    assert_int_equal(lstat(dir, &st), 0);
    buf_printf(&out, "/ %o %u:%u %lld.%09ld\n", st.st_mode, st.st_uid, st.st_gid,
               (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    describe(&out, dir, "", inodes);
    map_free(inodes);
    return buf_take(&out);
}

static void assert_same(const char *a, const char *b)
{
    char *x = description(a), *y = description(b);
    assert_string_equal(x, y);
    free(x);
    free(y);
}

static int archive(struct place *p, const char *dir, const struct store_id *parent,
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

static int extract(struct place *p, const char *dir, const struct mover_report *from,
                   struct mover_report *report, struct err *err)
{
    *report = (struct mover_report){0};
    int fd = open(dir, O_RDONLY | O_DIRECTORY);
    int r = extract_volume(p->repo, fd, &from->tree, *from->root ? from->root : NULL, report, err);
    close(fd);
    return r;
}

static void extract_well(struct place *p, const char *dir, const struct mover_report *from,
                         struct mover_report *report)
{
    struct err err = {0};
    if (extract(p, dir, from, report, &err) < 0)
        fail_msg("extract: %s", err.msg);
    for (size_t i = 0; i < report->first_n; i++)
        print_message("problem: %s %s\n", report->first[i].path, report->first[i].what);
}

static bool has_problem(const struct mover_report *r, const char *path, const char *part)
{
    for (size_t i = 0; i < r->first_n; i++)
        if (streq(r->first[i].path, path) && strstr(r->first[i].what, part))
            return true;
    print_message("no problem '%s' of %s\n", part, path);
    return false;
}

/* ---- tests ---- */

static void everything_comes_back(void **state)
{
    struct place *p = *state;
    struct mover_report saved, restored;
    fill(p->volume);
    char *before = description(p->volume);
    assert_int_equal(archive(p, p->volume, NULL, NULL, &saved), 0);
    assert_int_equal(saved.problems, 0);
    char *after = description(p->volume);
    assert_string_equal(before, after); /* reading changes nothing, times included */
    extract_well(p, p->other, &saved, &restored);
    assert_int_equal(restored.problems, 0);
    assert_same(p->volume, p->other);
    assert_int_equal(restored.files, saved.files);
    assert_int_equal(restored.dirs, saved.dirs);
    assert_int_equal(restored.links, saved.links);
    assert_int_equal(restored.bytes, saved.bytes);
    struct stat st;
    assert_int_equal(stat(at(p->other, "sparse"), &st), 0);
    assert_true(st.st_blocks * 512 < 1 << 20); /* holes stay holes */
    free(before);
    free(after);
}

static void what_is_equal_is_left_alone(void **state)
{
    struct place *p = *state;
    struct mover_report saved, restored;
    struct stat before, after;
    fill(p->volume);
    assert_int_equal(archive(p, p->volume, NULL, NULL, &saved), 0);
    extract_well(p, p->other, &saved, &restored);
    assert_int_equal(stat(at(p->other, "big"), &before), 0);
    calls = 0;
    extract_well(p, p->other, &saved, &restored);
    assert_int_equal(calls, 0);
    assert_int_equal(restored.moved, 0);
    assert_int_equal(restored.removed, 0);
    assert_int_equal(stat(at(p->other, "big"), &after), 0);
    assert_memory_equal(&before.st_ctim, &after.st_ctim, sizeof before.st_ctim);
    /* One byte in the middle: one block is written. */
    int fd = open(at(p->other, "big"), O_WRONLY);
    assert_int_equal(syscall(SYS_pwrite64, fd, "!", 1, 3000000), 1);
    close(fd);
    extract_well(p, p->other, &saved, &restored);
    assert_int_equal(restored.moved, 4096);
    assert_same(p->volume, p->other);
}

/* A volume of another application: names taken by other types, links that share what must not be
 * shared, extras, longer and shorter files. */
static void make_mess(struct place *p, const char *canary)
{
    const char *o = p->other;
    mkdir(at(o, "small"), 0755);
    put_text(at(o, "small/inside"), "x");
    put_text(at(o, "odd"), "a file where a directory belongs");
    assert_int_equal(symlink(canary, at(o, "emptydir")), 0); /* must not be entered */
    assert_int_equal(symlink(canary, at(o, "extra link")), 0);
    put_noise(at(o, "big"), 6 << 20, 1, 0600); /* longer, the same beginning */
    put_noise(at(o, "suid"), 1000, 9, 0600);
    assert_int_equal(link(at(o, "suid"), at(o, "sgid")), 0); /* one inode for two files */
    mkdir(at(o, "a"), 0700);
    mkdir(at(o, "b"), 0700);
    put_text(at(o, "a/linked"), "shared");
    assert_int_equal(link(at(o, "a/linked"), at(o, "b/pair1")), 0);
    assert_int_equal(link(at(o, "a/linked"), at(o, "b/extra")), 0);
    put_text(at(o, "b/pair2"), "pair");
    mkdir(at(o, "a/absolute"), 0700);
    symlink("elsewhere", at(o, "a/relative"));
    mkdir(at(o, "z extra"), 0755);
    mkdir(at(o, "z extra/below"), 0755);
    put_text(at(o, "z extra/below/file"), "x");
    assert_int_equal(mkfifo(at(o, "pipe"), 0600), 0);
    mkdir(at(o, "lost+found"), 0700);
    put_text(at(o, "lost+found/#1"), "the file system's");
    mkdir(at(o, ".snapshot"), 0755);
    put_text(at(o, ".snapshot/x"), "the server's");
}

static void anything_becomes_equal(void **state)
{
    struct place *p = *state;
    struct mover_report saved, restored;
    char canary[128];
    snprintf(canary, sizeof canary, "%s/canary", p->dir);
    mkdir(canary, 0755);
    put_text(at(canary, "file"), "outside of the volume");
    char *before = description(canary);
    fill(p->volume);
    mkdir(at(p->volume, "lost+found"), 0700);
    put_text(at(p->volume, "lost+found/#2"), "not archived");
    set_time(p->volume, 1700000000, 42);
    make_mess(p, canary);
    assert_int_equal(archive(p, p->volume, NULL, NULL, &saved), 0);
    extract_well(p, p->other, &saved, &restored);
    assert_int_equal(restored.problems, 0);
    assert_same(p->volume, p->other);
    assert_int_equal(access(at(p->other, "lost+found/#1"), F_OK), 0);
    assert_int_equal(access(at(p->other, "lost+found/#2"), F_OK), -1);
    assert_int_equal(access(at(p->other, ".snapshot/x"), F_OK), 0);
    char *after = description(canary);
    assert_string_equal(before, after);
    free(before);
    free(after);
}

static void copy_mess(struct place *p)
{
    nftw(p->other, remove_one, 64, FTW_DEPTH | FTW_PHYS);
    assert_int_equal(mkdir(p->other, 0755), 0);
    make_mess(p, "/nowhere");
}

/* Killed before each of its steps in turn, and run again: always the same end. */
static void killed_anywhere_it_ends_equal(void **state)
{
    struct place *p = *state;
    struct mover_report saved, restored;
    fill(p->volume);
    assert_int_equal(archive(p, p->volume, NULL, NULL, &saved), 0);
    copy_mess(p);
    calls = 0;
    extract_well(p, p->other, &saved, &restored);
    long all = calls;
    assert_true(all > 100);
    int killed = 0;
    for (long n = 1; n <= all; n += n < 20 ? 1 : 7) {
        copy_mess(p);
        pid_t child = fork();
        if (child == 0) {
            calls = 0;
            kill_at = n;
            extract_well(p, p->other, &saved, &restored);
            _exit(0);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        killed += WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
        extract_well(p, p->other, &saved, &restored);
        assert_int_equal(restored.problems, 0);
        assert_same(p->volume, p->other);
    }
    print_message("%ld steps, killed at %d of them\n", all, killed);
    assert_true(killed > 20);
}

static void unchanged_files_are_not_read(void **state)
{
    struct place *p = *state;
    struct mover_report first, second, third;
    fill(p->volume);
    assert_int_equal(archive(p, p->volume, NULL, NULL, &first), 0);
    assert_int_equal(first.kept, 0);
    assert_int_equal(archive(p, p->volume, &first.tree, NULL, &second), 0);
    assert_memory_equal(&first.tree, &second.tree, sizeof first.tree);
    assert_int_equal(second.kept, first.files);
    assert_int_equal(second.moved, 0);
    /* Same size and time, other bytes: ctime tells. */
    put_text(at(p->volume, "group/file"), "y");
    assert_int_equal(archive(p, p->volume, &first.tree, NULL, &third), 0);
    assert_int_equal(third.kept, first.files - 1);
    assert_int_equal(third.moved, 1);
    assert_memory_not_equal(&first.tree, &third.tree, sizeof first.tree);
    /* A parent that is not there costs time only. */
    struct store_id nothing = {{1}};
    assert_int_equal(archive(p, p->volume, &nothing, NULL, &second), 0);
    assert_memory_equal(&second.tree, &third.tree, sizeof third.tree);
    assert_int_equal(second.kept, 0);
}

struct writer {
    const char *file;
    int times, reads;
};

static void write_on(void *ctx, const char *path)
{
    struct writer *w = ctx;
    (void)path;
    if (++w->reads > w->times)
        return;
    int fd = open(w->file, O_WRONLY | O_APPEND);
    assert_int_equal(write(fd, "more\n", 5), 5);
    close(fd);
}

static void a_changing_file_is_read_again(void **state)
{
    struct place *p = *state;
    struct mover_report saved, restored;
    put_text(at(p->volume, "log"), "line\n");
    char file[PATH_MAX];
    snprintf(file, sizeof file, "%s/log", p->volume);
    struct writer w = {file, 2, 0};
    struct archive_probe probe = {write_on, &w};
    assert_int_equal(archive(p, p->volume, NULL, &probe, &saved), 0);
    assert_int_equal(saved.problems, 0);
    assert_int_equal(w.reads, 3);
    extract_well(p, p->other, &saved, &restored);
    assert_same(p->volume, p->other);

    w = (struct writer){file, 100, 0};
    assert_int_equal(archive(p, p->volume, NULL, &probe, &saved), 0);
    assert_int_equal(w.reads, ARCHIVE_READS);
    assert_int_equal(saved.problems, 1);
    assert_true(has_problem(&saved, "/log", "changed each of the"));
    extract_well(p, p->other, &saved, &restored); /* stored as it was last read */
    struct stat st;
    assert_int_equal(stat(at(p->other, "log"), &st), 0);
    assert_true(st.st_size >= 15);
}

static void the_rest_is_named(void **state)
{
    struct place *p = *state;
    struct mover_report saved, restored;
    put_text(at(p->volume, "plain"), "x");
    assert_int_equal(mkfifo(at(p->volume, "pipe"), 0600), 0);
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    snprintf(name.sun_path, sizeof name.sun_path, "%.80s/sock", p->volume);
    int s = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(s, (struct sockaddr *)&name, sizeof name), 0);
    close(s);
    put_text(at(p->volume, "attr"), "x");
    bool attr = setxattr(at(p->volume, "attr"), "user.note", "v", 1, 0) == 0;
    if (!attr)
        print_message("not seen: this file system has no user attributes\n");
    bool device = mknod(at(p->volume, "null"), S_IFCHR | 0600, 1 << 8 | 3) == 0;
    if (!device)
        print_message("not seen: no right to make a device\n");
    assert_int_equal(archive(p, p->volume, NULL, NULL, &saved), 0);
    assert_int_equal(saved.problems, 2 + (uint64_t)attr + (uint64_t)device);
    assert_true(has_problem(&saved, "/pipe", "a named pipe"));
    assert_true(has_problem(&saved, "/sock", "a socket"));
    assert_true(!attr || has_problem(&saved, "/attr", "user.note"));
    assert_true(!device || has_problem(&saved, "/null", "a character device"));
    extract_well(p, p->other, &saved, &restored);
    assert_int_equal(restored.files, 2); /* what has an attribute is there, without it */
}

static void many_problems_become_a_list(void **state)
{
    struct place *p = *state;
    struct mover_report saved;
    struct err err = {0};
    for (int i = 0; i < 40; i++) {
        char name[32];
        snprintf(name, sizeof name, "pipe%02d", i);
        assert_int_equal(mkfifo(at(p->volume, name), 0600), 0);
    }
    assert_int_equal(archive(p, p->volume, NULL, NULL, &saved), 0);
    assert_int_equal(saved.problems, 40);
    assert_true(saved.has_list);
    struct buf list = {0};
    assert_int_equal(repository_load_blob(p->repo, BLOB_DATA, &saved.list, &list, &err), 0);
    assert_non_null(
        strstr(list.p, "{\"path\":\"/pipe39\",\"what\":\"is a named pipe: not archived\"}\n"));
    buf_free(&list);
}

/* In a mount namespace of its own: the child's exit code says what it saw. */
static int see_other_mount(struct place *p)
{
    struct mover_report saved, restored;
    struct err err = {0};
    put_text(at(p->volume, "file"), "x");
    mkdir(at(p->volume, "mounted"), 0755);
    mkdir(at(p->other, "mounted"), 0755);
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("none", at(p->volume, "mounted"), "tmpfs", 0, NULL) < 0 ||
        mount("none", at(p->other, "mounted"), "tmpfs", 0, NULL) < 0)
        return 77;
    put_text(at(p->volume, "mounted/inside"), "x");
    put_text(at(p->other, "mounted/inside"), "x");
    if (archive(p, p->volume, NULL, NULL, &saved) < 0 || saved.files != 1 ||
        !has_problem(&saved, "/mounted", "another mount"))
        return 1;
    if (extract(p, p->other, &saved, &restored, &err) < 0 || restored.problems != 1 ||
        !has_problem(&restored, "/mounted", "another mount: not removed"))
        return 2;
    return access(at(p->other, "mounted/inside"), F_OK) == 0 ? 0 : 3;
}

static void other_mounts_are_left_alone(void **state)
{
    struct place *p = *state;
    int status;
    pid_t child = fork();
    if (child == 0)
        _exit(see_other_mount(p));
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        print_message("not seen: no right to mount\n");
    else
        assert_int_equal(WEXITSTATUS(status), 0);
}

/* The three capabilities of the mover's pod are enough, for set-id bits too. */
static int restore_with_three(struct place *p, const struct mover_report *saved)
{
    struct mover_report restored;
    struct err err = {0};
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    uint32_t three = 1u << CAP_CHOWN | 1u << CAP_DAC_OVERRIDE | 1u << CAP_FOWNER;
    struct __user_cap_data_struct caps[2] = {{three, three, 0}, {0, 0, 0}};
    if (syscall(SYS_capset, &head, caps) < 0)
        return 77;
    if (extract(p, p->other, saved, &restored, &err) < 0) {
        print_message("extract: %s\n", err.msg);
        return 1;
    }
    return restored.problems == 1 && has_problem(&restored, "/sgid foreign", "mode 2755") ? 0 : 2;
}

static void three_capabilities_suffice(void **state)
{
    struct place *p = *state;
    struct mover_report saved;
    int status;
    fill(p->volume);
    /* The one thing that they cannot: a set-group-id program of a group that is not ours. */
    put_text(at(p->volume, "sgid foreign"), "x");
    assert_int_equal(lchown(at(p->volume, "sgid foreign"), 5, 6), 0);
    chmod(at(p->volume, "sgid foreign"), 02755);
    assert_int_equal(archive(p, p->volume, NULL, NULL, &saved), 0);
    pid_t child = fork();
    if (child == 0)
        _exit(restore_with_three(p, &saved));
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77) {
        print_message("not seen: no right to drop capabilities\n");
        return;
    }
    assert_int_equal(WEXITSTATUS(status), 0);
    struct stat st;
    assert_int_equal(stat(at(p->other, "group"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 02770);
    assert_int_equal(st.st_gid, 4321);
    assert_int_equal(stat(p->other, &st), 0);
    assert_int_equal(st.st_mode & 07777, 02775);
    assert_int_equal(st.st_gid, 65533);
}

static void hostile_trees_are_refused(void **state)
{
    struct place *p = *state;
    static const char *const names[] = {"..", ".", "a/b", "../../canary", "", "a\\x00b"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char text[512];
        struct err err = {0};
        struct mover_report from = {.has_tree = true}, report;
        snprintf(
            text, sizeof text,
            "{\"nodes\":[{\"name\":\"%s\",\"type\":\"symlink\",\"mtime\":\"2020-01-01T00:00:00Z\","
            "\"atime\":\"2020-01-01T00:00:00Z\",\"ctime\":\"2020-01-01T00:00:00Z\",\"uid\":0,"
            "\"gid\":0,\"linktarget\":\"x\",\"content\":null}]}\n",
            names[i]);
        if (i == 5) /* \x00 as Go quotes it, inside of JSON */
            memcpy(strstr(text, "a\\x00b"), "a\\\\x00", 6);
        assert_int_equal(
            repository_save_blob(p->repo, BLOB_TREE, text, strlen(text), &from.tree, NULL, &err),
            0);
        assert_int_equal(extract(p, p->other, &from, &report, &err), -1);
        assert_int_equal(err.kind, ERR_CORRUPT);
    }
    char *left = description(p->other);
    assert_null(strstr(left, "->"));
    free(left);
}

static void a_missing_chunk_names_the_file(void **state)
{
    struct place *p = *state;
    struct err err = {0};
    struct mover_report from = {.has_tree = true}, report;
    struct store_id gone = {{7}};
    struct tree_writer *w = tree_writer_new();
    struct node n = {.name = STR("file"),
                     .type = NODE_FILE,
                     .mode = 0644,
                     .size = 5,
                     .content = &gone,
                     .content_n = 1};
    assert_int_equal(tree_writer_add(w, &n, &err), 0);
    assert_int_equal(tree_writer_finish(w, p->repo, &from.tree, NULL, &err), 0);
    tree_writer_free(w);
    put_text(at(p->other, "file"), "as it was");
    assert_int_equal(extract(p, p->other, &from, &report, &err), -1);
    assert_int_equal(err.kind, ERR_NOT_FOUND);
    assert_non_null(strstr(err.msg, "/file"));
    struct stat st;
    assert_int_equal(stat(at(p->other, "file"), &st), 0);
    assert_int_equal(st.st_size, 9);
}

static void the_root_is_one_line(void **state)
{
    (void)state;
    struct volume_stat st = {.mode = S_IFDIR | 02770,
                             .uid = 1,
                             .gid = 4294967295u,
                             .mtime = {-5, 7}},
                       back;
    char text[MOVER_ROOT_MAX];
    volume_root_format(&st, text);
    assert_string_equal(text, "2770:1:4294967295:-5.000000007");
    assert_true(volume_root_parse(text, &back));
    assert_int_equal(back.mode, S_IFDIR | 02770);
    assert_int_equal(back.gid, 4294967295u);
    assert_int_equal(back.mtime.tv_sec, -5);
    assert_int_equal(back.mtime.tv_nsec, 7);
    static const char *const bad[] = {"",
                                      "0755",
                                      "0755:1:1:1",
                                      "0755:1:1:1.5",
                                      "9:1:1:1.000000000",
                                      "0755:-1:1:1.000000000",
                                      "0755:1:1:1.00000000x",
                                      "0755: 1:1:1.000000000",
                                      "17777:1:1:1.000000000"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(volume_root_parse(bad[i], &back));
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(everything_comes_back),
        CASE(what_is_equal_is_left_alone),
        CASE(anything_becomes_equal),
        CASE(killed_anywhere_it_ends_equal),
        CASE(unchanged_files_are_not_read),
        CASE(a_changing_file_is_read_again),
        CASE(the_rest_is_named),
        CASE(many_problems_become_a_list),
        CASE(other_mounts_are_left_alone),
        CASE(three_capabilities_suffice),
        CASE(hostile_trees_are_refused),
        CASE(a_missing_chunk_names_the_file),
        cmocka_unit_test(the_root_is_one_line),
    };
    return cmocka_run_group_tests_name("mover/volume", tests, NULL, NULL);
}
