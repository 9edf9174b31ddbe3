/* gleaner repo restore: a snapshot, or a part of it, into a folder. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/pattern.h"
#include "cli/repo.h"
#include "mover/extract.h"
#include "store/gojson.h"

struct restoring {
    struct repo_place place;
    struct repo_filter filter;
    struct cli_list include, exclude, iinclude, iexclude;
    struct patterns included, excluded;
    bool includes; /* only what matches; no pattern that says anything: nothing */
    const char *target;
    bool remove_others;
    uint64_t bytes;       /* that there are, 0: not known */
    pthread_mutex_t lock; /* of what is printed */
    atomic_ullong unowned, kept_bytes;
};

/* One that is empty matches nothing. */
static int add_patterns(struct patterns *to, const struct cli_list *from, const char *option,
                        bool fold, struct err *err)
{
    for (size_t i = 0; i < from->n; i++)
        if (patterns_add(to, option, from->p[i], fold, err) < 0)
            return -1;
    return 0;
}

static int add_all_patterns(struct restoring *r, struct err *err)
{
    if (add_patterns(&r->included, &r->include, "--include", false, err) < 0 ||
        add_patterns(&r->included, &r->iinclude, "--iinclude", true, err) < 0 ||
        add_patterns(&r->excluded, &r->exclude, "--exclude", false, err) < 0)
        return -1;
    return add_patterns(&r->excluded, &r->iexclude, "--iexclude", true, err);
}

static enum extract_want want(void *ctx, const char *path, const struct node *node)
{
    const struct restoring *r = ctx;
    bool below;
    (void)node;
    if (!r->includes)
        return patterns_match(&r->excluded, path, &below) ? EXTRACT_SKIP : EXTRACT_WANT;
    if (patterns_match(&r->included, path, &below))
        return EXTRACT_WANT;
    return below ? EXTRACT_ENTER : EXTRACT_SKIP;
}

/* restic's line in JSON, ours in text. */
static void print_problem(void *ctx, const char *path, const char *what)
{
    struct restoring *r = ctx;
    struct buf line CLEANUP(buf_free) = {0};
    if (r->place.json) {
        buf_puts(&line, "{\"message_type\":\"error\",\"error\":{\"message\":");
        gojson_string(&line, str_of(what));
        buf_puts(&line, "},\"during\":\"restore\",\"item\":");
        gojson_string(&line, str_of(path));
        buf_puts(&line, "}\n");
    } else {
        buf_printf(&line, "%s%s %s\n", r->target, path, what);
    }
    pthread_mutex_lock(&r->lock);
    progress_clear();
    fwrite(line.p, 1, line.n, stderr);
    pthread_mutex_unlock(&r->lock);
}

static void show_progress(void *ctx, uint64_t entries, uint64_t bytes)
{
    struct restoring *r = ctx;
    struct err ignored;
    pthread_mutex_lock(&r->lock);
    if (bytes <= r->bytes)
        (void)progress_show(NULL, "bytes", bytes, r->bytes, &ignored);
    else
        (void)progress_show(NULL, "files and directories", entries, /* total= */ 0, &ignored);
    pthread_mutex_unlock(&r->lock);
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
    struct extract_choice choice = {.ctx = r,
                                    .remove_others = r->remove_others,
                                    .problem = print_problem,
                                    .progress = show_progress,
                                    .unowned = &r->unowned,
                                    .kept_bytes = &r->kept_bytes};
    if (r->includes || r->excluded.n)
        choice.want = want;
    if (make_folder(r->target, err) < 0)
        return -1;
    int fd CLEANUP(close_p) = open(r->target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, errno, "%s", r->target);
    return extract_folder(s->repo, fd, tree, &choice, report, err);
}

/* As restic counts: what was there already is skipped, and is in no other number. */
static void print_json(const struct restoring *r, const struct mover_report *report)
{
    uint64_t files = report->files + report->dirs + report->links - report->kept;
    uint64_t kept_bytes = atomic_load(&r->kept_bytes), bytes = report->bytes - kept_bytes;
    struct buf line CLEANUP(buf_free) = {0};
    buf_printf(&line,
               "{\"message_type\":\"summary\",\"total_files\":%llu,\"files_restored\":%llu,"
               "\"files_skipped\":%llu,",
               (unsigned long long)files, (unsigned long long)files,
               (unsigned long long)report->kept);
    if (r->remove_others)
        buf_printf(&line, "\"files_deleted\":%llu,", (unsigned long long)report->removed);
    buf_printf(&line, "\"total_bytes\":%llu,\"bytes_restored\":%llu,\"bytes_skipped\":%llu}",
               (unsigned long long)bytes, (unsigned long long)bytes,
               (unsigned long long)kept_bytes);
    puts(line.p);
}

static void print_result(const struct restoring *r, const struct mover_report *report,
                         const char *id)
{
    unsigned long long unowned = atomic_load(&r->unowned);
    if (unowned && !r->place.quiet && !r->place.json)
        fprintf(stderr,
                "%llu files and directories are yours now: only root can give them their "
                "owners\n",
                unowned);
    uint64_t entries = report->files + report->dirs + report->links;
    if (r->place.json)
        print_json(r, report);
    else if (!r->place.quiet)
        printf("snapshot %.8s is in %s: %llu files and directories, %llu bytes, %llu of them "
               "written; %llu files were there already\n",
               id, r->target, (unsigned long long)entries, (unsigned long long)report->bytes,
               (unsigned long long)report->moved, (unsigned long long)report->kept);
}

static int restore_tree(struct restoring *r, struct repo_session *s,
                        const struct snapshot *snapshot, const struct store_id *tree,
                        struct mover_report *report, struct err *err)
{
    bool whole = !r->includes && !r->excluded.n && store_id_equal(tree, &snapshot->tree);
    if (whole && snapshot->has_summary)
        r->bytes = snapshot->summary.total_bytes_processed;
    int code = restore(r, s, tree, report, err);
    progress_clear();
    return code;
}

static int run(struct restoring *r, const char *which)
{
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct repo_session s CLEANUP(repo_close) = {.json = r->place.json};
    struct mover_report report = {0};
    struct snapshot snapshot;
    struct store_id tree;
    struct err err;
    char hex[STORE_ID_HEX];
    if (add_all_patterns(r, &err) < 0 || repo_open(&s, &r->place, REPO_READ, &err) < 0 ||
        repo_find_tree(&s, &r->filter, which, a, &snapshot, &tree, NULL, &err) < 0 ||
        restore_tree(r, &s, &snapshot, &tree, &report, &err) < 0)
        return repo_fail(&s, "repo restore", &err);
    store_id_hex(&snapshot.id, hex);
    print_result(r, &report, hex);
    if (report.problems == 0)
        return CLI_OK;
    err_set(&err, ERR_IO, "%llu problems: not all is as it is in the snapshot",
            (unsigned long long)report.problems);
    return repo_fail(&s, "repo restore", &err);
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
    struct restoring r CLEANUP(restoring_free) = {.lock = PTHREAD_MUTEX_INITIALIZER};
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
    r.includes = r.include.n || r.iinclude.n;
    bool excludes = r.exclude.n || r.iexclude.n;
    if (r.includes && excludes)
        return cli_usage_error(&usage, "give either --include or --exclude");
    if (r.remove_others && (r.includes || excludes))
        return cli_usage_error(&usage, "--delete removes for whole snapshots only");
    return run(&r, argv[first]);
}
