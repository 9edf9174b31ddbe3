#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/repo.h"
#include "core/clock.h"
#include "mover/archive.h"
#include "mover/root.h"
#include "store/snapshot.h"
#include "store/synthetic.h"
#include "store/verify.h"

struct saving {
    struct arena *a;
    struct repo_session *s;
    struct synthetic *root;
    struct snapshot snapshot, parent;
    uint64_t problems;
};

static struct timespec now(void)
{
    int64_t ms = clock_wall_ms();
    return (struct timespec){ms / 1000, ms % 1000 * 1000000};
}

/* The newest snapshot of the same host and paths, so that unchanged files are not read again. */
static void find_parent(struct saving *w)
{
    struct snapshot_filter filter = {.hostname = w->snapshot.hostname,
                                     .path = w->snapshot.paths[0]};
    struct err ignored;
    if (snapshot_find(w->s->repo, "latest", &filter, w->a, &w->parent, &ignored) < 0)
        return;
    w->snapshot.has_parent = true;
    w->snapshot.parent = w->parent.id;
}

static void print_problems(const char *path, const struct mover_report *report)
{
    for (size_t i = 0; i < report->first_n; i++)
        fprintf(stderr, "%s%s %s\n", path, report->first[i].path, report->first[i].what);
    if (report->problems > report->first_n)
        fprintf(stderr, "%s: %llu more problems\n", path,
                (unsigned long long)(report->problems - report->first_n));
}

/* As the mover does it: a read for a backup makes no new time. */
static struct node node_of(const struct stat *st)
{
    return (struct node){.mode = node_mode_from_posix(st->st_mode),
                         .mtime = st->st_mtim,
                         .atime = st->st_mtim,
                         .ctime = st->st_ctim,
                         .uid = st->st_uid,
                         .gid = st->st_gid,
                         .inode = st->st_ino};
}

/* The directories above it, with their modes and owners: their times change by what is beside, and
 * would make each run a new tree. One that cannot be looked at is as all that are made. */
static int add_parents(struct saving *w, const char *path, struct err *err)
{
    for (const char *at = strchr(path + 1, '/'); at; at = strchr(at + 1, '/')) {
        const char *parent = arena_strndup(w->a, path, (size_t)(at - path));
        struct stat st;
        if (stat(parent, &st) < 0)
            continue;
        struct node like = {
            .mode = node_mode_from_posix(st.st_mode), .uid = st.st_uid, .gid = st.st_gid};
        if (synthetic_add_dir(w->root, parent, &like, err) < 0)
            return -1;
    }
    return 0;
}

static void show_progress(void *ctx, const struct mover_report *report)
{
    const struct saving *w = ctx;
    struct err ignored;
    (void)progress_show(NULL, "files", w->snapshot.summary.total_files_processed + report->files,
                        /* total= */ 0, &ignored);
}

static int save_directory(struct saving *w, const char *path, struct err *err)
{
    int fd CLEANUP(close_p) = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_errno(err, errno, "%s", path);
    struct store_id before;
    struct err ignored;
    bool known = w->snapshot.has_parent &&
                 tree_find_dir(w->s->repo, &w->parent.tree, path, &before, &ignored) >= 0;
    struct mover_report report = {0};
    const struct archive_probe probe = {.after_entry = show_progress, .ctx = w};
    if (archive_folder(w->s->repo, fd, known ? &before : NULL, &probe, &report, err) < 0)
        return err_wrap(err, "%s", path);
    progress_clear();
    print_problems(path, &report);
    w->problems += report.problems;
    w->snapshot.summary.total_files_processed += report.files;
    w->snapshot.summary.total_bytes_processed += report.bytes;
    w->snapshot.summary.files_unmodified += report.kept;
    w->snapshot.summary.data_added += report.moved;
    struct node like = node_of(&st), root;
    if (root_parse(report.root, w->a, &root)) {
        like.xattrs = root.xattrs;
        like.xattrs_n = root.xattrs_n;
    }
    return add_parents(w, path, err) < 0 ? -1
                                         : synthetic_graft(w->root, path, &report.tree, &like, err);
}

static int save_all(struct saving *w, struct store_id *ret, struct err *err)
{
    struct snapshot *snapshot = &w->snapshot;
    if (repository_load_index(w->s->repo, err) < 0)
        return -1;
    w->root = synthetic_new(w->s->repo, 0);
    for (size_t i = 0; i < snapshot->paths_n; i++)
        if (save_directory(w, snapshot->paths[i], err) < 0)
            return -1;
    if (synthetic_finish(w->root, &snapshot->tree, err) < 0 ||
        repository_flush(w->s->repo, err) < 0)
        return -1;
    snapshot->summary.backup_end = now();
    snapshot->has_summary = true;
    if (snapshot_save(w->s->repo, snapshot, ret, err) < 0)
        return -1;
    return verify_read_back(w->s->repo, ret, NULL, NULL, err);
}

static int absolute_paths(struct arena *a, char **paths, size_t n, const char *const **ret,
                          struct err *err)
{
    const char **out = arena_alloc(a, (n + 1) * sizeof *out);
    for (size_t i = 0; i < n; i++) {
        char real[PATH_MAX];
        struct stat st;
        if (!realpath(paths[i], real) || stat(real, &st) < 0)
            return err_errno(err, errno, "%s", paths[i]);
        if (!S_ISDIR(st.st_mode) || streq(real, "/"))
            return err_set(err, ERR_INVALID,
                           "%s: only directories below / are saved; name the "
                           "directory that holds it",
                           paths[i]);
        out[i] = arena_strdup(a, real);
    }
    *ret = out;
    return 0;
}

struct backup_command {
    struct repo_place place;
    struct cli_list tags;
    const char *host, *time;
};

static void print_result(const struct backup_command *c, const struct saving *w,
                         const struct store_id *id)
{
    const struct snapshot_summary *sum = &w->snapshot.summary;
    char hex[STORE_ID_HEX];
    store_id_hex(id, hex);
    if (c->place.json)
        printf("{\"message_type\":\"summary\",\"files_unmodified\":%llu,\"data_added\":%llu,"
               "\"total_files_processed\":%llu,\"total_bytes_processed\":%llu,"
               "\"snapshot_id\":\"%s\"}\n",
               (unsigned long long)sum->files_unmodified, (unsigned long long)sum->data_added,
               (unsigned long long)sum->total_files_processed,
               (unsigned long long)sum->total_bytes_processed, hex);
    else if (!c->place.quiet)
        printf("snapshot %.8s: %llu files, %llu bytes, %llu of them new\n", hex,
               (unsigned long long)sum->total_files_processed,
               (unsigned long long)sum->total_bytes_processed, (unsigned long long)sum->data_added);
}

static int backup(struct backup_command *c, struct saving *w, char **paths, size_t n)
{
    struct snapshot *snapshot = &w->snapshot;
    struct store_id id;
    struct err err;
    if (absolute_paths(w->a, paths, n, &snapshot->paths, &err) < 0 ||
        repo_open(w->s, &c->place, REPO_WRITE, &err) < 0)
        return repo_fail(w->s, "repo backup", &err);
    snapshot->paths_n = n;
    find_parent(w);
    int r = save_all(w, &id, &err);
    if (w->root)
        synthetic_free(w->root);
    if (r < 0)
        return repo_fail(w->s, "repo backup", &err);
    print_result(c, w, &id);
    return w->problems ? CLI_PARTIAL : CLI_OK;
}

static void command_free(struct backup_command *c)
{
    vec_free(&c->tags);
}

int cli_repo_backup(int argc, char **argv)
{
    struct backup_command c CLEANUP(command_free) = {0};
    const struct cli_option options[] = {
        {"tag", 0, "TAG[,TAG]...", "kept with the snapshot", &c.tags},
        {"host", 'H', "HOST", "noted in the snapshot ($RESTIC_HOST, or this machine's)", &c.host},
        {"time", 0, "TIME", "of the snapshot, such as '2026-01-02 15:04:05' (now)", &c.time},
        REPO_OPTIONS(&c.place)};
    const struct cli_usage usage = {"repo backup", "DIRECTORY...",
                                    "Saves directories as one snapshot and reads it back. What "
                                    "cannot be stored is named, and\nmakes the exit code 3.",
                                    options, ARRAY_LEN(options)};
    int first, code;
    if (!cli_options(argc, argv, &usage, &first, &code))
        return code;
    if (first == argc)
        return cli_usage_error(&usage, "give at least one directory");
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct repo_session s CLEANUP(repo_close) = {0};
    struct saving w = {.a = a, .s = &s};
    char machine[256] = "";
    const char *host = c.host ? c.host : getenv("RESTIC_HOST");
    gethostname(machine, sizeof machine - 1);
    w.snapshot = (struct snapshot){.time = now(),
                                   .hostname = host && *host ? host : machine,
                                   .username = repo_user(),
                                   .uid = getuid(),
                                   .gid = getgid()};
    w.snapshot.tags = repo_split_tags(a, &c.tags, &w.snapshot.tags_n);
    w.snapshot.summary = (struct snapshot_summary){.backup_start = w.snapshot.time,
                                                   .files_new = SNAPSHOT_UNCOUNTED,
                                                   .files_changed = SNAPSHOT_UNCOUNTED,
                                                   .dirs_new = SNAPSHOT_UNCOUNTED,
                                                   .dirs_changed = SNAPSHOT_UNCOUNTED,
                                                   .dirs_unmodified = SNAPSHOT_UNCOUNTED,
                                                   .data_blobs = SNAPSHOT_UNCOUNTED,
                                                   .tree_blobs = SNAPSHOT_UNCOUNTED,
                                                   .data_added_packed = SNAPSHOT_UNCOUNTED};
    if (c.time && !repo_parse_time(c.time, &w.snapshot.time))
        return cli_usage_error(&usage, "--time %s: give it as 2026-01-02 15:04:05", c.time);
    return backup(&c, &w, argv + first, (size_t)(argc - first));
}
