/* Drives archive and extract from a shell, for the comparison with stock restic:
 *
 *     mover_tool backup REPO PASSWORD DIR         "tree ID", "snapshot ID", "root ..." and a line
 *                                                 "problem PATH WHAT" for each
 *     mover_tool restore REPO PASSWORD TREE DIR   TREE: a tree's id, or "latest"; problems likewise
 *
 * REPO is a folder. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "mover/archive.h"
#include "mover/extract.h"
#include "store/snapshot.h"

static void print_id(const char *what, const struct store_id *id)
{
    char hex[STORE_ID_HEX];
    store_id_hex(id, hex);
    printf("%s %s\n", what, hex);
}

static void print_problems(const struct mover_report *r)
{
    for (size_t i = 0; i < r->first_n; i++)
        printf("problem %s %s\n", r->first[i].path, r->first[i].what);
}

static int backup(struct repository *repo, const char *path, int dir, struct err *err)
{
    struct mover_report report = {0};
    struct store_id id;
    const char *tags[] = {"backup:test"};
    if (archive_volume(repo, dir, NULL, NULL, &report, err) < 0)
        return -1;
    struct snapshot s = {.tree = report.tree,
                         .paths = &path,
                         .paths_n = 1,
                         .tags = tags,
                         .tags_n = 1,
                         .hostname = "cluster"};
    clock_gettime(CLOCK_REALTIME, &s.time);
    if (snapshot_save(repo, &s, &id, err) < 0)
        return -1;
    print_id("tree", &report.tree);
    print_id("snapshot", &id);
    printf("root %s\n", report.root);
    print_problems(&report);
    return 0;
}

static int restore(struct repository *repo, const char *tree, int dir, struct err *err)
{
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct mover_report report = {0};
    struct snapshot s = {.tree = {{0}}};
    if (streq(tree, "latest") ? snapshot_find(repo, tree, NULL, a, &s, err) < 0
                              : !store_id_parse(str_of(tree), &s.tree))
        return -1;
    if (extract_volume(repo, dir, &s.tree, NULL, &report, err) < 0)
        return -1;
    print_problems(&report);
    return 0;
}

static int run(int argc, char **argv, struct err *err)
{
    struct backend *b CLEANUP(backend_close_p) = NULL;
    struct repository *repo CLEANUP(repository_close_p) = NULL;
    const char *path = argv[argc - 1];
    int dir CLEANUP(close_p) = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return err_errno(err, errno, "%s", path);
    if (backend_open_local(argv[2], &b, err) < 0 ||
        repository_open(b, argv[3], NULL, &repo, err) < 0 || repository_load_index(repo, err) < 0)
        return -1;
    if (streq(argv[1], "backup"))
        return backup(repo, path, dir, err);
    return restore(repo, argv[4], dir, err);
}

int main(int argc, char **argv)
{
    struct err err = {.msg = "not the id of a tree"};
    if (argc != 5 + (argc > 1 && streq(argv[1], "restore"))) {
        fprintf(stderr, "usage: see mover_tool.c\n");
        return 2;
    }
    if (run(argc, argv, &err) == 0)
        return 0;
    fprintf(stderr, "%s: %s\n", err_kind_name(err.kind), err.msg);
    return 1;
}
