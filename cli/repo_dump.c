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
#include "store/gojson.h"
#include "store/stream.h"

struct dumping {
    struct repository *repo;
    const char *folder; /* "" or "a/b": what the archive's names begin with */
    struct archive *archive;
    bool zip, in_file; /* in_file: not all of its content is written */
    int fd;
};

/* What was not closed has failed, and must not be given an end. */
static void archive_free_p(struct archive **a)
{
    if (!*a)
        return;
    archive_write_fail(*a);
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

/* No archive has sockets, and a zip has nothing but files, directories and symlinks. */
static bool is_archived(const struct dumping *d, const struct node *node)
{
    if (d->zip)
        return node->type == NODE_FILE || node->type == NODE_DIR || node->type == NODE_SYMLINK;
    return node->type != NODE_SOCKET && node->type != NODE_OTHER;
}

/* A name in a zip is said to be UTF-8 where the locale is: only those that are. */
static void set_names(const struct dumping *d, const char *name)
{
    if (d->zip)
        setlocale(LC_CTYPE, gojson_utf8(str_of(name)) ? "C.UTF-8" : "C");
}

static int add_entry(void *ctx, const char *path, const struct node *node, struct err *err)
{
    struct dumping *d = ctx;
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct archive_entry *e CLEANUP(entry_free_p) = archive_entry_new();
    if (!is_archived(d, node)) {
        fprintf(stderr, "%s: left out: a %s has no place in a %s archive\n", path,
                node_type_name(node->type), d->zip ? "zip" : "tar");
        return TREE_WALK_ON;
    }
    const char *name = arena_printf(a, "%s%s", d->folder, *d->folder ? path : path + 1);
    set_names(d, name);
    fill_entry(a, e, name, node);
    if (archive_write_header(d->archive, e) < ARCHIVE_WARN)
        return archive_err(d, path, err);
    d->in_file = true;
    if (node->type == NODE_FILE &&
        stream_load(d->repo, node->content, node->content_n, write_data, d, err) < 0)
        return err_wrap(err, "%s", path);
    d->in_file = false;
    return TREE_WALK_ON;
}

/* A tar that ends after an entry is whole for tar, also without its end mark. This one ends in a
 * header for all that follows ('g'), of which no file is made. */
static void tear(struct dumping *d)
{
    char header[512] = "torn";
    struct err ignored;
    unsigned sum = 0;
    snprintf(header + 124, 12, "%011zo", sizeof header);
    memset(header + 148, ' ', 8); /* the sum, while it is made */
    header[156] = 'g';
    memcpy(header + 257, "ustar\00000", 8);
    for (size_t i = 0; i < sizeof header; i++)
        sum += (unsigned char)header[i];
    snprintf(header + 148, 8, "%06o", sum);
    if (archive_write_finish_entry(d->archive) == ARCHIVE_OK)
        (void)write_fd(d, header, sizeof header, &ignored);
}

static int dump_folder(struct dumping *d, const struct store_id *tree, struct err *err)
{
    struct archive *archive CLEANUP(archive_free_p) = archive_write_new();
    const struct tree_visitor visitor = {.node = add_entry, .ctx = d};
    d->archive = archive;
    setlocale(LC_CTYPE, "C.UTF-8"); /* names are bytes that are UTF-8, mostly */
    int r = d->zip ? archive_write_set_format_zip(archive) : archive_write_set_format_pax(archive);
    /* Nothing is held back: after a failure the output ends where writing ended. */
    if (r != ARCHIVE_OK || archive_write_set_bytes_per_block(archive, 0) != ARCHIVE_OK ||
        archive_write_open_fd(archive, d->fd) != ARCHIVE_OK)
        return archive_err(d, "archive", err);
    if (tree_walk(d->repo, tree, &visitor, err) < 0) {
        if (!d->zip && !d->in_file)
            tear(d);
        return -1;
    }
    return archive_write_close(archive) == ARCHIVE_OK ? 0 : archive_err(d, "archive", err);
}

static int dump(struct dumping *d, const struct store_id *tree, const char *path, struct arena *a,
                struct err *err)
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
    return dump_folder(d, &below, err);
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
    struct dumping d = {.fd = STDOUT_FILENO, .zip = streq(format, "zip")};
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
    return dump(&d, &tree, argv[first + 1], a, &err) < 0 ? repo_fail(&s, "repo dump", &err)
                                                         : CLI_OK;
}
