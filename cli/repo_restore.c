/* gleaner repo restore: a snapshot, or a part of it, into a folder. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/pattern.h"
#include "cli/repo.h"
#include "mover/extract.h"

struct restoring {
    struct repo_place place;
    struct repo_filter filter;
    struct cli_list include, exclude, iinclude, iexclude;
    struct patterns included, excluded;
    const char *target;
    bool remove_others;
};

static void add_patterns(struct patterns *to, const struct cli_list *from, bool fold)
{
    for (size_t i = 0; i < from->n; i++) {
        struct pattern *p = pattern_new(from->p[i], fold);
        if (p)
            *vec_add(to) = p;
    }
}

static enum extract_want want(void *ctx, const char *path, const struct node *node)
{
    const struct restoring *r = ctx;
    bool below;
    (void)node;
    if (r->excluded.n)
        return patterns_match(&r->excluded, path, &below) ? EXTRACT_SKIP : EXTRACT_WANT;
    if (patterns_match(&r->included, path, &below))
        return EXTRACT_WANT;
    return below ? EXTRACT_ENTER : EXTRACT_SKIP;
}

static int make_folder(const char *path, struct err *err)
{
    char part[4096];
    size_t n = strlen(path);
    if (n == 0 || n >= sizeof part)
        return err_set(err, ERR_INVALID, "--target: no usable path");
    for (size_t i = 1; i <= n; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        memcpy(part, path, i);
        part[i] = '\0';
        if (mkdir(part, 0700) < 0 && errno != EEXIST)
            return err_errno(err, errno, "%s", part);
    }
    return 0;
}

static int restore(struct restoring *r, struct repo_session *s, const struct store_id *tree,
                   struct mover_report *report, struct err *err)
{
    struct extract_choice choice = {.ctx = r, .remove_others = r->remove_others};
    if (r->included.n || r->excluded.n)
        choice.want = want;
    if (make_folder(r->target, err) < 0)
        return -1;
    int fd CLEANUP(close_p) = open(r->target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, errno, "%s", r->target);
    return extract_folder(s->repo, fd, tree, &choice, report, err);
}

static void print_result(const struct restoring *r, const struct mover_report *report,
                         const char *id)
{
    for (size_t i = 0; i < report->first_n; i++)
        fprintf(stderr, "%s%s %s\n", r->target, report->first[i].path, report->first[i].what);
    if (report->problems > report->first_n)
        fprintf(stderr, "%llu more problems\n",
                (unsigned long long)(report->problems - report->first_n));
    uint64_t entries = report->files + report->dirs + report->links;
    if (r->place.json)
        printf("{\"message_type\":\"summary\",\"total_files\":%llu,\"files_restored\":%llu,"
               "\"files_skipped\":%llu,\"files_deleted\":%llu,\"total_bytes\":%llu,"
               "\"bytes_restored\":%llu}\n",
               (unsigned long long)entries, (unsigned long long)(entries - report->kept),
               (unsigned long long)report->kept, (unsigned long long)report->removed,
               (unsigned long long)report->bytes, (unsigned long long)report->moved);
    else if (!r->place.quiet)
        printf("snapshot %.8s is in %s: %llu files and directories, %llu bytes, %llu of them "
               "written; %llu files were there already\n",
               id, r->target, (unsigned long long)entries, (unsigned long long)report->bytes,
               (unsigned long long)report->moved, (unsigned long long)report->kept);
}

static int run(struct restoring *r, const char *which)
{
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct repo_session s CLEANUP(repo_close) = {0};
    struct mover_report report = {0};
    struct snapshot snapshot;
    struct store_id tree;
    struct err err;
    char hex[STORE_ID_HEX];
    if (repo_open(&s, &r->place, REPO_READ, &err) < 0 ||
        repo_find_tree(&s, &r->filter, which, a, &snapshot, &tree, NULL, &err) < 0 ||
        restore(r, &s, &tree, &report, &err) < 0)
        return repo_fail(&s, "repo restore", &err);
    store_id_hex(&snapshot.id, hex);
    print_result(r, &report, hex);
    return report.problems ? CLI_FAILED : CLI_OK;
}

static void restoring_free(struct restoring *r)
{
    repo_filter_free(&r->filter);
    vec_free(&r->include);
    vec_free(&r->exclude);
    vec_free(&r->iinclude);
    vec_free(&r->iexclude);
    patterns_free(&r->included);
    patterns_free(&r->excluded);
}

int cli_repo_restore(int argc, char **argv)
{
    struct restoring r CLEANUP(restoring_free) = {0};
    const struct cli_option options[] = {
        {"target", 't', "DIR", "where to; it is made if need be", &r.target},
        {"include", 'i', "PATTERN...", "only what matches", &r.include},
        {"iinclude", 0, "PATTERN...", "the same, whatever its case", &r.iinclude},
        {"exclude", 'e', "PATTERN...", "all but what matches", &r.exclude},
        {"iexclude", 0, "PATTERN...", "the same, whatever its case", &r.iexclude},
        {"delete", 0, NULL, "remove from the target what the snapshot does not hold",
         &r.remove_others},
        {"sparse", 0, NULL, NULL, &r.place.ignored}, /* always */
        {"verify", 0, NULL, NULL, &r.place.ignored}, /* every blob's hash is always checked */
        REPO_FILTER_OPTIONS(&r.filter),
        REPO_OPTIONS(&r.place)};
    const struct cli_usage usage = {
        "repo restore", "SNAPSHOT[:FOLDER]",
        "Writes a snapshot ('latest', an id or the beginning of one), or a folder of it, into a "
        "directory.\nFiles that are equal already are compared by hash and left alone; what "
        "differs is overwritten.",
        options, ARRAY_LEN(options)};
    int first, code;
    if (!cli_options(argc, argv, &usage, &first, &code))
        return code;
    if (argc - first != 1)
        return cli_usage_error(&usage, "give one snapshot");
    if (!r.target)
        return cli_usage_error(&usage, "give --target");
    add_patterns(&r.included, &r.include, false);
    add_patterns(&r.included, &r.iinclude, true);
    add_patterns(&r.excluded, &r.exclude, false);
    add_patterns(&r.excluded, &r.iexclude, true);
    if (r.included.n && r.excluded.n)
        return cli_usage_error(&usage, "give either --include or --exclude");
    if (r.remove_others && (r.included.n || r.excluded.n))
        return cli_usage_error(&usage, "--delete removes for whole snapshots only");
    return run(&r, argv[first]);
}
