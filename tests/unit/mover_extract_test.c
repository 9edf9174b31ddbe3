/* From a repository into a volume that may hold anything: what is equal afterwards, what is
 * refused, and what a mover that is killed at any of its steps leaves behind. */
#include <signal.h>

#include "mover_support.h"

/* ---- every call that changes a volume passes here: the n-th one kills ---- */

static long calls, kill_at;

static void step(void)
{
    /* Small files are placed by several threads. */
    if (__atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST) == kill_at)
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
int fallocate(int fd, int mode, off_t at, off_t n)
{
    step();
    return (int)syscall(SYS_fallocate, fd, mode, at, n);
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
int mknodat(int dir, const char *name, mode_t mode, dev_t device)
{
    step();
    return (int)syscall(SYS_mknodat, dir, name, mode, device);
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
int fchownat(int dir, const char *name, uid_t uid, gid_t gid, int flags)
{
    step();
    return (int)syscall(SYS_fchownat, dir, name, uid, gid, flags);
}
int fchmodat(int dir, const char *name, mode_t mode, int flags)
{
    char path[64];
    step();
    assert_int_equal(flags, AT_SYMLINK_NOFOLLOW);
    int fd = openat(dir, name, O_PATH | O_NOFOLLOW);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int r = (int)syscall(SYS_fchmodat, AT_FDCWD, path, mode);
    close(fd);
    return r;
}
int utimensat(int dir, const char *name, const struct timespec t[2], int flags)
{
    step();
    return (int)syscall(SYS_utimensat, dir, name, t, flags);
}
int lsetxattr(const char *path, const char *name, const void *value, size_t n, int flags)
{
    step();
    return (int)syscall(SYS_lsetxattr, path, name, value, n, flags);
}
int lremovexattr(const char *path, const char *name)
{
    step();
    return (int)syscall(SYS_lremovexattr, path, name);
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
    fill_nasty(v);
    set_time(at(v, "a/relative"), 1600000000, 1);
    set_time(at(v, "small"), 1234567890, 123456789);
    set_time(at(v, "empty"), 1, 999999999);
    set_time(at(v, "emptydir"), 4102444800, 5);
    set_time(at(v, "odd"), 1500000000, 500000000);
    chmod(v, 02775);
    assert_int_equal(lchown(v, 65532, 65533), 0);
    chmod(v, 02775);
    put_attribute(v, "user.root", "of the volume", 13);
    put_acl(v, "system.posix_acl_default", 1005);
    set_time(v, 1700000000, 42);
}

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
    assert_int_equal(stat(at(p->other, "holes"), &st), 0);
    assert_true(st.st_blocks * 512 < 1 << 20);
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
static void put_special_mess(const char *o)
{
    assert_int_equal(mknod(at(o, "null"), S_IFCHR | 0666, makedev(1, 5)), 0); /* another device */
    assert_int_equal(mkfifo(at(o, "socket"), 0600), 0);
    put_text(at(o, "whiteout"), "a file where a device belongs");
    put_text(at(o, "attributed"), "x");
    put_attribute(at(o, "attributed"), "user.extra", "to be removed", 13);
    put_attribute(at(o, "attributed"), "user.zz", "another value", 13);
    put_acl(at(o, "attributed"), "system.posix_acl_access", 77);
    put_text(at(o, "small bare"), "x");
    put_text(at(o, "capable"), "another program");
    put_capability(at(o, "capable"));
    put_text(at(o, "empty"), "");
    put_capability(at(o, "empty")); /* must lose it */
    mkdir(at(o, "links"), 0700);
    put_acl(at(o, "links"), "system.posix_acl_default", 88); /* what is made in it inherits */
    put_noise(at(o, "holes"), 21 << 20, 6, 0600);            /* data where holes belong */
}

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
    put_special_mess(o);
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
    struct stat st;
    assert_int_equal(stat(at(p->other, "holes"), &st), 0);
    assert_true(st.st_blocks * 512 < 1 << 20); /* punched */
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

/* What no file system holds is named, and the rest is there. */
static void odd_trees_are_named(void **state)
{
    struct place *p = *state;
    struct err err = {0};
    struct mover_report from = {.has_tree = true}, report;
    static const struct node_xattr odd[] = {
        {{"user.a\0b", 8}, {"x", 1}}, {{"nothing", 7}, {"x", 1}}, {{"user.good", 9}, {"x", 1}}};
    struct node nodes[] = {
        {.name = STR("attributes"), .type = NODE_FILE, .xattrs = odd, .xattrs_n = 3},
        {.name = STR("fifo"), .type = NODE_FIFO, .mode = node_mode_from_posix(S_IFIFO | 0600)},
        {.name = STR("owner"),
         .type = NODE_FILE,
         .uid = UINT32_MAX,
         .mode = node_mode_from_posix(S_IFREG | 04755)}};
    struct tree_writer *w = tree_writer_new();
    for (size_t i = 0; i < ARRAY_LEN(nodes); i++)
        assert_int_equal(tree_writer_add(w, &nodes[i], &err), 0);
    assert_int_equal(tree_writer_finish(w, p->repo, &from.tree, NULL, &err), 0);
    tree_writer_free(w);
    assert_int_equal(extract(p, p->other, &from, &report, &err), 0);
    assert_int_equal(report.problems, 3);
    assert_true(has_problem(&report, "/attributes", "user.a cannot be set: Invalid argument"));
    assert_true(has_problem(&report, "/attributes", "nothing cannot be set"));
    assert_true(has_problem(&report, "/owner", "owner 4294967295:0 cannot be set"));
    struct stat st;
    assert_int_equal(lstat(at(p->other, "owner"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0755); /* never the rights of somebody else */
    assert_int_equal(lstat(at(p->other, "fifo"), &st), 0);
    assert_true(S_ISFIFO(st.st_mode));
    assert_int_equal(getxattr(at(p->other, "attributes"), "user.good", NULL, 0), 1);
    assert_int_equal(getxattr(at(p->other, "attributes"), "user.a", NULL, 0), -1);
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

/* Small files are placed by several threads: a tree of many, in which `gone` names a chunk that is
 * nowhere (SIZE_MAX: none). */
enum { MANY = 300 };

static void save_many(struct place *p, size_t gone, struct mover_report *ret_from)
{
    struct tree_writer *w = tree_writer_new();
    struct err err;
    *ret_from = (struct mover_report){.has_tree = true};
    for (size_t i = 0; i < MANY; i++) {
        char name[16], text[16];
        struct store_id id = {{7}};
        struct node n = {.type = NODE_FILE, .mode = 0644, .content = &id, .content_n = 1};
        snprintf(name, sizeof name, "f%03zu", i);
        snprintf(text, sizeof text, "text %03zu", i);
        n.name = str_of(name);
        n.size = strlen(text);
        n.uid = getuid();
        n.gid = getgid();
        if (i != gone && repository_save_blob(p->repo, BLOB_DATA, text, n.size, &id, NULL, &err))
            fail_msg("%s", err.msg);
        assert_int_equal(tree_writer_add(w, &n, &err), 0);
    }
    assert_int_equal(tree_writer_finish(w, p->repo, &ret_from->tree, NULL, &err), 0);
    tree_writer_free(w);
}

static void one_of_many_fails(void **state)
{
    struct place *p = *state;
    struct mover_report from, report = {0};
    struct err err = {0};
    for (size_t gone = 0; gone < MANY; gone += 50) {
        save_many(p, gone, &from);
        char *name CLEANUP(free_p) = xasprintf("/f%03zu", gone);
        assert_int_equal(extract(p, p->other, &from, &report, &err), -1);
        assert_int_equal(err.kind, ERR_NOT_FOUND);
        assert_non_null(strstr(err.msg, name));
    }
    save_many(p, SIZE_MAX, &from);
    report = (struct mover_report){0};
    assert_int_equal(extract(p, p->other, &from, &report, &err), 0);
    assert_int_equal(report.files, MANY);
    assert_int_equal(report.bytes, MANY * strlen("text 000"));
    assert_int_equal(report.problems, 0);
    report = (struct mover_report){0};
    assert_int_equal(extract(p, p->other, &from, &report, &err), 0);
    assert_int_equal(report.kept, MANY);
    assert_int_equal(report.moved, 0);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(everything_comes_back),          CASE(what_is_equal_is_left_alone),
        CASE(anything_becomes_equal),         CASE(killed_anywhere_it_ends_equal),
        CASE(hostile_trees_are_refused),      CASE(odd_trees_are_named),
        CASE(a_missing_chunk_names_the_file), CASE(one_of_many_fails),
    };
    return cmocka_run_group_tests_name("mover/extract", tests, NULL, NULL);
}
