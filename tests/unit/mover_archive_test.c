/* From a volume into a repository: what is read, what is read again, and what is named. */
#include <linux/fs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>

#include "mover_support.h"

/* An NFSv4 server shows its ACL on every file. */
static bool with_nfs4;

ssize_t llistxattr(const char *path, char *list, size_t room)
{
    static const char name[] = "system.nfs4_acl";
    ssize_t n = syscall(SYS_llistxattr, path, list, room);
    if (!with_nfs4 || n < 0 || (size_t)n + sizeof name > room)
        return n;
    memcpy(list + n, name, sizeof name);
    return n + (ssize_t)sizeof name;
}

/* Bytes that this process has asked the kernel for. */
static uint64_t io_read(void)
{
    unsigned long long n = 0;
    FILE *f = fopen("/proc/self/io", "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "rchar: %llu", &n), 1);
    fclose(f);
    return n;
}

static void unchanged_files_are_not_read(void **state)
{
    struct place *p = *state;
    struct mover_report first, second, third;
    put_noise(at(p->volume, "big"), 3 << 20, 1, 0640);
    put_text(at(p->volume, "file"), "x");
    fill_nasty(p->volume);
    assert_int_equal(archive(p, p->volume, NULL, NULL, &first), 0);
    assert_int_equal(first.kept, 0);
    assert_int_equal(archive(p, p->volume, &first.tree, NULL, &second), 0);
    assert_memory_equal(&first.tree, &second.tree, sizeof first.tree);
    assert_int_equal(second.kept, first.files);
    assert_int_equal(second.moved, 0);
    /* Same size and time, other bytes: ctime tells. */
    put_text(at(p->volume, "file"), "y");
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
    struct archive_probe probe = {.before_read = write_on, .ctx = &w};
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

/* What the format cannot hold; the flag is seen where this file system has it. */
static void the_rest_is_named(void **state)
{
    struct place *p = *state;
    struct mover_report saved, restored;
    put_text(at(p->volume, "attr"), "x");
    put_attribute(at(p->volume, "attr"), "user.lat\xe4in", "v", 1);
    put_attribute(at(p->volume, "attr"), "user.note", "v", 1);
    put_text(at(p->volume, "immutable"), "x");
    int flags = 0, fd = open(at(p->volume, "immutable"), O_RDONLY);
    bool flag = ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0 &&
                (flags |= FS_IMMUTABLE_FL, ioctl(fd, FS_IOC_SETFLAGS, &flags) == 0);
    if (!flag)
        print_message("not seen: no immutable flag here: %s\n", strerror(errno));
    assert_int_equal(archive(p, p->volume, NULL, NULL, &saved), 0);
    flags &= ~FS_IMMUTABLE_FL;
    assert_true(!flag || ioctl(fd, FS_IOC_SETFLAGS, &flags) == 0);
    close(fd);
    assert_int_equal(saved.problems, 1 + (uint64_t)flag);
    assert_true(has_problem(&saved, "/attr", "not UTF-8"));
    assert_true(!flag || has_problem(&saved, "/immutable", "immutable"));
    extract_well(p, p->other, &saved, &restored);
    assert_int_equal(restored.files, 2);
    assert_int_equal(getxattr(at(p->other, "attr"), "user.note", NULL, 0), 1);
}

/* Said once, and no fault of any backup; what else a file has is archived. */
static void an_acl_of_nfs_is_said_once(void **state)
{
    struct place *p = *state;
    struct mover_report saved, restored, back;
    struct err err = {0};
    struct buf text = {0};
    fill_nasty(p->volume);
    with_nfs4 = true;
    assert_int_equal(archive(p, p->volume, NULL, NULL, &saved), 0);
    assert_int_equal(saved.problems, 0);
    assert_non_null(strstr(saved.note, "NFSv4"));
    mover_report_encode(&saved, &text);
    assert_int_equal(mover_report_decode(buf_view(&text), &back, &err), 0);
    assert_string_equal(back.note, saved.note);
    buf_free(&text);
    extract_well(p, p->other, &saved, &restored); /* and nothing tries to remove it there */
    with_nfs4 = false;
    assert_int_equal(restored.problems, 0);
    assert_same(p->volume, p->other);
}

/* 3 GiB of holes between islands: nothing of them is read, and the chunks are those of a reader. */
static void holes_are_not_read(void **state)
{
    struct place *p = *state;
    struct mover_report saved, dense;
    int fd = open(at(p->volume, "file"), O_RDWR | O_CREAT, 0600);
    char *island = noise(900000, 3);
    assert_int_equal(pwrite(fd, island, 900000, 1000000), 900000);
    assert_int_equal(pwrite(fd, island, 70, 30000000), 70);
    assert_int_equal(pwrite(fd, island, 900000, 35000007), 900000);
    free(island);
    assert_int_equal(ftruncate(fd, 50000003), 0);
    assert_int_equal(archive(p, p->volume, NULL, NULL, &saved), 0);
    assert_int_equal(saved.problems, 0);
    assert_int_equal(saved.bytes, 50000003);
    char *all = xcalloc(1, 50000003);
    assert_int_equal(pread(fd, all, 50000003, 0), 50000003);
    assert_int_equal(pwrite(fd, all, 50000003, 0), 50000003); /* no hole is left */
    free(all);
    assert_int_equal(archive(p, p->volume, NULL, NULL, &dense), 0);
    assert_int_equal(dense.moved, 0); /* all chunks were known */
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(ftruncate(fd, (off_t)3 << 30), 0);
    close(fd);
    uint64_t before = io_read();
    assert_int_equal(archive(p, p->volume, NULL, NULL, &saved), 0);
    assert_int_equal(saved.bytes, (uint64_t)3 << 30);
    assert_true(io_read() - before < 10 << 20);
}

static void many_problems_become_a_list(void **state)
{
    struct place *p = *state;
    struct mover_report saved;
    struct err err = {0};
    for (int i = 0; i < 40; i++) {
        char name[32];
        snprintf(name, sizeof name, "file%02d", i);
        put_text(at(p->volume, name), "");
        put_attribute(at(p->volume, name), "user.\xff", "", 0);
    }
    assert_int_equal(archive(p, p->volume, NULL, NULL, &saved), 0);
    assert_int_equal(saved.problems, 40);
    assert_true(saved.has_list);
    struct buf list = {0};
    assert_int_equal(repository_load_blob(p->repo, BLOB_DATA, &saved.list, &list, &err), 0);
    assert_non_null(strstr(list.p,
                           "{\"path\":\"/file39\",\"what\":\"has an attribute whose name is "
                           "not UTF-8: no tree can hold it\"}\n"));
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

static void the_root_is_one_line(void **state)
{
    (void)state;
    static const struct node_xattr attributes[] = {{{"user.a b", 8}, {"\0x", 2}},
                                                   {{"user.empty", 10}, {"", 0}}};
    struct node dir = {.mode = node_mode_from_posix(S_IFDIR | 02770),
                       .uid = 1,
                       .gid = 4294967295u,
                       .mtime = {-5, 7}},
                back;
    char text[MOVER_ROOT_MAX];
    struct arena *a = arena_new();
    assert_true(root_format(&dir, text));
    assert_string_equal(text, "2770:1:4294967295:-5.000000007");
    dir.xattrs = attributes, dir.xattrs_n = 2;
    assert_true(root_format(&dir, text));
    assert_string_equal(text, "2770:1:4294967295:-5.000000007 dXNlci5hIGI=,AHg= dXNlci5lbXB0eQ==,");
    assert_true(root_parse(text, a, &back));
    assert_int_equal(node_mode_to_posix(back.mode), S_IFDIR | 02770);
    assert_int_equal(back.gid, 4294967295u);
    assert_int_equal(back.mtime.tv_sec, -5);
    assert_int_equal(back.mtime.tv_nsec, 7);
    assert_int_equal(back.xattrs_n, 2);
    assert_true(str_eq(back.xattrs[0].name, attributes[0].name));
    assert_true(str_eq(back.xattrs[0].value, attributes[0].value));
    char *big = noise(MOVER_ROOT_MAX, 1);
    struct node_xattr long_one = {{"user.big", 8}, {big, MOVER_ROOT_MAX}};
    dir.xattrs = &long_one, dir.xattrs_n = 1;
    assert_false(root_format(&dir, text));
    free(big);
    static const char *const bad[] = {"",
                                      "0755",
                                      "0755:1:1:1",
                                      "0755:1:1:1.5",
                                      "9:1:1:1.000000000",
                                      "0755:-1:1:1.000000000",
                                      "0755:1:1:1.00000000x",
                                      "0755: 1:1:1.000000000",
                                      "17777:1:1:1.000000000",
                                      "0755:1:1:1.000000000 ",
                                      "0755:1:1:1.000000000 dXNlcg==",
                                      "0755:1:1:1.000000000 ,AHg=",
                                      "0755:1:1:1.000000000 AHg=,AHg=",
                                      "0755:1:1:1.000000000 dXNlcg==,!"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(root_parse(bad[i], a, &back));
    arena_free(a);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(unchanged_files_are_not_read),
        CASE(a_changing_file_is_read_again),
        CASE(the_rest_is_named),
        CASE(an_acl_of_nfs_is_said_once),
        CASE(holes_are_not_read),
        CASE(many_problems_become_a_list),
        CASE(other_mounts_are_left_alone),
        cmocka_unit_test(the_root_is_one_line),
    };
    return cmocka_run_group_tests_name("mover/archive", tests, NULL, NULL);
}
