/* gleaner repo dump: a file of a snapshot, or a folder as an archive, to stdout or a file. */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/repo.h"
#include "store/stream.h"

struct dumping {
    struct repository *repo;
    const char *folder; /* "" or "a/b": what the archive's names begin with */
    struct archive *archive;
    int fd;
};

static void archive_free_p(struct archive **a)
{
    if (*a)
        archive_write_free(*a);
}

static void entry_free_p(struct archive_entry **e)
{
    archive_entry_free(*e);
}

static int archive_err(struct dumping *d, const char *path, struct err *err)
{
    const char *why = archive_error_string(d->archive);
    return err_set(err, ERR_IO, "%s: %s", path, why ? why : "the archive cannot be written");
}

static int write_fd(void *ctx, const void *p, size_t n, struct err *err)
{
    const struct dumping *d = ctx;
    for (const char *at = p; n;) {
        ssize_t done = write(d->fd, at, n);
        if (done < 0 && errno != EINTR)
            return err_errno(err, errno, "writing");
        if (done > 0)
            at += done, n -= (size_t)done;
    }
    return 0;
}

static int write_data(void *ctx, const void *p, size_t n, struct err *err)
{
    struct dumping *d = ctx;
    for (const char *at = p; n;) {
        la_ssize_t done = archive_write_data(d->archive, at, n);
        if (done <= 0)
            return archive_err(d, "content", err);
        at += done, n -= (size_t)done;
    }
    return 0;
}

static void set_type(struct archive_entry *e, const struct node *node)
{
    static const mode_t types[NODE_TYPES] = {
        [NODE_FILE] = S_IFREG, [NODE_DIR] = S_IFDIR,     [NODE_SYMLINK] = S_IFLNK,
        [NODE_DEV] = S_IFBLK,  [NODE_CHARDEV] = S_IFCHR, [NODE_FIFO] = S_IFIFO};
    archive_entry_set_mode(e, (node_mode_to_posix(node->mode) & 07777) | types[node->type]);
    if (node->type == NODE_DEV || node->type == NODE_CHARDEV)
        archive_entry_set_rdev(e, (dev_t)node->device);
    if (node->type == NODE_FILE)
        archive_entry_set_size(e, (la_int64_t)node->size);
}

static void fill_entry(struct arena *a, struct archive_entry *e, const char *path,
                       const struct node *node)
{
    archive_entry_copy_pathname(e, path);
    set_type(e, node);
    archive_entry_set_uid(e, node->uid);
    archive_entry_set_gid(e, node->gid);
    if (node->user.n)
        archive_entry_copy_uname(e, arena_str(a, node->user).p);
    if (node->group.n)
        archive_entry_copy_gname(e, arena_str(a, node->group).p);
    archive_entry_set_mtime(e, node->mtime.tv_sec, node->mtime.tv_nsec);
    archive_entry_set_atime(e, node->atime.tv_sec, node->atime.tv_nsec);
    archive_entry_set_ctime(e, node->ctime.tv_sec, node->ctime.tv_nsec);
    if (node->type == NODE_SYMLINK)
        archive_entry_copy_symlink(e, arena_str(a, node->link_target).p);
    for (size_t i = 0; i < node->xattrs_n; i++)
        archive_entry_xattr_add_entry(e, arena_str(a, node->xattrs[i].name).p,
                                      node->xattrs[i].value.p, node->xattrs[i].value.n);
}

static int add_entry(void *ctx, const char *path, const struct node *node, struct err *err)
{
    struct dumping *d = ctx;
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct archive_entry *e CLEANUP(entry_free_p) = archive_entry_new();
    if (node->type == NODE_SOCKET || node->type == NODE_OTHER) /* no archive has these */
        return TREE_WALK_ON;
    fill_entry(a, e, arena_printf(a, "%s%s", d->folder, *d->folder ? path : path + 1), node);
    if (archive_write_header(d->archive, e) < ARCHIVE_WARN)
        return archive_err(d, path, err);
    if (node->type == NODE_FILE &&
        stream_load(d->repo, node->content, node->content_n, write_data, d, err) < 0)
        return err_wrap(err, "%s", path);
    return TREE_WALK_ON;
}

static int dump_folder(struct dumping *d, const struct store_id *tree, const char *format,
                       struct err *err)
{
    struct archive *archive CLEANUP(archive_free_p) = archive_write_new();
    const struct tree_visitor visitor = {.node = add_entry, .ctx = d};
    d->archive = archive;
    setlocale(LC_CTYPE, "C.UTF-8"); /* names are bytes that are UTF-8, mostly */
    int r = streq(format, "zip") ? archive_write_set_format_zip(archive)
                                 : archive_write_set_format_pax(archive);
    if (r != ARCHIVE_OK || archive_write_open_fd(archive, d->fd) != ARCHIVE_OK)
        return archive_err(d, "archive", err);
    if (tree_walk(d->repo, tree, &visitor, err) < 0)
        return -1;
    return archive_write_close(archive) == ARCHIVE_OK ? 0 : archive_err(d, "archive", err);
}

static int dump(struct dumping *d, const struct store_id *tree, const char *path,
                const char *format, struct arena *a, struct err *err)
{
    struct node node;
    struct store_id below = *tree;
    const char *name = path + strspn(path, "/");
    if (*name) {
        if (tree_find(d->repo, tree, name, a, &node, err) < 0)
            return -1;
        if (node.type == NODE_FILE)
            return stream_load(d->repo, node.content, node.content_n, write_fd, d, err);
        if (node.type != NODE_DIR)
            return err_set(err, ERR_INVALID, "%s is neither a file nor a directory", path);
        below = node.subtree;
    }
    char *folder = arena_strdup(a, name);
    for (size_t n = strlen(folder); n > 0 && folder[n - 1] == '/'; n--)
        folder[n - 1] = '\0';
    d->folder = folder;
    return dump_folder(d, &below, format, err);
}

int cli_repo_dump(int argc, char **argv)
{
    struct repo_place place = {0};
    struct repo_filter filter CLEANUP(repo_filter_free) = {0};
    const char *format = "tar", *target = NULL;
    const struct cli_option options[] = {
        {"archive", 'a', "FORMAT", "of a folder: tar (the default) or zip", &format},
        {"target", 't', "FILE", "write there, not to stdout", &target},
        REPO_FILTER_OPTIONS(&filter),
        REPO_OPTIONS(&place)};
    const struct cli_usage usage = {
        "repo dump", "SNAPSHOT[:FOLDER] PATH",
        "Writes a file of a snapshot to stdout; a folder as an archive.", options,
        ARRAY_LEN(options)};
    int first, code;
    if (!cli_options(argc, argv, &usage, &first, &code))
        return code;
    if (argc - first != 2)
        return cli_usage_error(&usage, "give a snapshot and a path in it");
    if (!streq(format, "tar") && !streq(format, "zip"))
        return cli_usage_error(&usage, "--archive %s: tar and zip are known", format);
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct repo_session s CLEANUP(repo_close) = {0};
    struct dumping d = {.fd = STDOUT_FILENO};
    struct snapshot snapshot;
    struct store_id tree;
    struct err err;
    int file CLEANUP(close_p) = -1;
    if (repo_open(&s, &place, REPO_READ, &err) < 0 ||
        repo_find_tree(&s, &filter, argv[first], a, &snapshot, &tree, NULL, &err) < 0)
        return repo_fail(&s, "repo dump", &err);
    d.repo = s.repo;
    if (target) {
        d.fd = file = open(target, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (file < 0) {
            err_errno(&err, errno, "%s", target);
            return repo_fail(&s, "repo dump", &err);
        }
    }
    return dump(&d, &tree, argv[first + 1], format, a, &err) < 0 ? repo_fail(&s, "repo dump", &err)
                                                                 : CLI_OK;
}
