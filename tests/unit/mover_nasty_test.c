/* What only root can make: which capabilities of a pod bring it back, and what is said without
 * them; attributes set, changed and removed on what is there already. */
#include <linux/capability.h>

#include "mover_support.h"

#define BIT(cap) (1u << (cap))

enum {
    BACKUP = BIT(CAP_DAC_OVERRIDE) | BIT(CAP_FOWNER),
    OLD = BACKUP | BIT(CAP_CHOWN),
    RESTORE = OLD | BIT(CAP_FSETID) | BIT(CAP_MKNOD) | BIT(CAP_SETFCAP)
};

static int keep_only(uint32_t caps)
{
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {{caps, caps, 0}, {0, 0, 0}};
    return (int)syscall(SYS_capset, &head, data);
}

/* Runs fn in a child that has only those capabilities: its exit code. */
static int with_capabilities(uint32_t caps, int (*fn)(struct place *, const struct mover_report *),
                             struct place *p, const struct mover_report *saved)
{
    int status;
    pid_t child = fork();
    if (child == 0)
        _exit(keep_only(caps) < 0 ? 77 : fn(p, saved));
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void put_foreign_sgid(const char *v)
{
    put_text(at(v, "sgid foreign"), "x");
    assert_int_equal(lchown(at(v, "sgid foreign"), 5, 6), 0);
    assert_int_equal(chmod(at(v, "sgid foreign"), 02755), 0);
    mkdir(at(v, "group"), 0755);
    assert_int_equal(lchown(at(v, "group"), 1000, 4321), 0);
    assert_int_equal(chmod(at(v, "group"), 03770), 0);
    put_text(at(v, "unreadable"), "x");
    assert_int_equal(lchown(at(v, "unreadable"), 1000, 1000), 0);
    assert_int_equal(chmod(at(v, "unreadable"), 0), 0);
    put_attribute(at(v, "unreadable"), "user.note", "x", 1);
}

static int restore_fully(struct place *p, const struct mover_report *saved)
{
    struct mover_report restored;
    struct err err = {0};
    if (extract(p, p->other, saved, &restored, &err) < 0)
        print_message("extract: %s\n", err.msg);
    for (size_t i = 0; i < restored.first_n; i++)
        print_message("%s %s\n", restored.first[i].path, restored.first[i].what);
    return err.kind || restored.problems ? 1 : 0;
}

static int archive_the_same(struct place *p, const struct mover_report *saved)
{
    struct mover_report again;
    if (archive(p, p->volume, NULL, NULL, &again) < 0 || again.problems)
        return 1;
    return store_id_equal(&again.tree, &saved->tree) && streq(again.root, saved->root) ? 0 : 2;
}

static void the_capabilities_of_the_pods_suffice(void **state)
{
    struct place *p = *state;
    struct mover_report saved;
    fill_nasty(p->volume);
    put_foreign_sgid(p->volume);
    assert_int_equal(archive(p, p->volume, NULL, NULL, &saved), 0);
    assert_int_equal(saved.problems, 0);
    assert_int_equal(with_capabilities(BACKUP, archive_the_same, p, &saved), 0);
    assert_int_equal(with_capabilities(RESTORE, restore_fully, p, &saved), 0);
    assert_same(p->volume, p->other);
}

static int restore_with_names(struct place *p, const struct mover_report *saved)
{
    struct mover_report restored;
    struct err err = {0};
    if (extract(p, p->other, saved, &restored, &err) < 0)
        return 1;
    return has_problem(&restored, "/sgid foreign", "mode 2755") &&
                   has_problem(&restored, "/capable", "security.capability") &&
                   has_problem(&restored, "/null", "chardev cannot be made") &&
                   has_problem(&restored, "/far", "dev cannot be made")
               ? 0
               : 2;
}

static void what_is_not_allowed_is_named(void **state)
{
    struct place *p = *state;
    struct mover_report saved, restored;
    fill_nasty(p->volume);
    put_foreign_sgid(p->volume);
    assert_int_equal(archive(p, p->volume, NULL, NULL, &saved), 0);
    assert_int_equal(with_capabilities(OLD, restore_with_names, p, &saved), 0);
    extract_well(p, p->other, &saved, &restored); /* and comes with the next run */
    assert_int_equal(restored.problems, 0);
    assert_same(p->volume, p->other);
}

static int name_trusted(struct place *p, const struct mover_report *saved)
{
    struct mover_report restored;
    struct err err = {0};
    if (extract(p, p->other, saved, &restored, &err) < 0)
        return 1;
    return restored.problems == 2 &&
                   has_problem(&restored, "/file", "trusted.note cannot be set") &&
                   has_problem(&restored, "/link", "trusted.link cannot be set")
               ? 0
               : 2;
}

/* As root of the node they come back; a pod cannot see them, and cannot set them. */
static void trusted_attributes_are_for_root(void **state)
{
    struct place *p = *state;
    struct mover_report saved, restored;
    put_text(at(p->volume, "file"), "x");
    put_attribute(at(p->volume, "file"), "trusted.note", "t", 1);
    assert_int_equal(symlink("file", at(p->volume, "link")), 0);
    put_attribute(at(p->volume, "link"), "trusted.link", "l", 1);
    assert_int_equal(archive(p, p->volume, NULL, NULL, &saved), 0);
    assert_int_equal(with_capabilities(RESTORE, name_trusted, p, &saved), 0);
    extract_well(p, p->other, &saved, &restored);
    assert_int_equal(restored.problems, 0);
    assert_same(p->volume, p->other);
}

/* Attributes, owner and mode follow the tree on every kind of entry, and nothing is written twice.
 */
static void attributes_follow_the_tree(void **state)
{
    struct place *p = *state;
    struct mover_report saved, restored;
    fill_nasty(p->volume);
    assert_int_equal(archive(p, p->volume, NULL, NULL, &saved), 0);
    extract_well(p, p->other, &saved, &restored);
    static const char *const entries[] = {"attributed", "capable", "acl",
                                          "acl/dir",    "fifo",    "null"};
    for (size_t i = 0; i < ARRAY_LEN(entries); i++) {
        const char *e = at(p->other, entries[i]);
        put_attribute(e, "trusted.extra", "x", 1);
        assert_int_equal(lchown(e, 1, 1), 0);
        assert_int_equal(chmod(e, 0), 0);
    }
    assert_int_equal(removexattr(at(p->other, "attributed"), "user.zz"), 0);
    put_attribute(at(p->other, "attributed"), "user.empty", "not", 3);
    assert_int_equal(removexattr(at(p->other, "acl"), "system.posix_acl_default"), 0);
    put_acl(at(p->other, "null"), "system.posix_acl_access", 5);
    put_attribute(p->other, "user.root", "x", 1);
    extract_well(p, p->other, &saved, &restored);
    assert_int_equal(restored.problems, 0);
    assert_same(p->volume, p->other);
    assert_int_equal(restored.moved, 0);
    assert_int_equal(restored.removed, 0);
}

/* A file system without attributes is no fault of the volume. */
static void attributes_need_not_exist(void **state)
{
    struct place *p = *state;
    struct attributes a = {.nfs4 = false};
    struct mover_report report = {.problems = 0};
    struct problems problems = {.report = &report};
    int proc = open("/proc/self", O_RDONLY | O_DIRECTORY);
    (void)p;
    attributes_read(&a, proc, "stat");
    attributes_report(&a, &problems, "/stat");
    assert_int_equal(a.list.n, 0);
    assert_int_equal(report.problems, 0);
    close(proc);
    attributes_free(&a);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(the_capabilities_of_the_pods_suffice),
        CASE(what_is_not_allowed_is_named),
        CASE(trusted_attributes_are_for_root),
        CASE(attributes_follow_the_tree),
        CASE(attributes_need_not_exist),
    };
    return cmocka_run_group_tests_name("mover/nasty", tests, NULL, NULL);
}
