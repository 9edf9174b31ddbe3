/* Drives the store from a shell, for the comparison with stock restic:
 *
 *     store_tool init REPO PASSWORD PASSWORD2      a repository with two key files
 *     store_tool backup REPO PASSWORD DIR          archives a folder as restic does; prints the
 * tree's id store_tool synthetic REPO PASSWORD           a snapshot of made-up files; prints its id
 *     store_tool snapshots REPO PASSWORD           "id tree host paths…" of each
 *     store_tool verify REPO PASSWORD SNAPSHOT     structure and data
 *     store_tool dump REPO PASSWORD SNAPSHOT PATH  a file's bytes
 *     store_tool reencode REPO PASSWORD SNAPSHOT   every tree, decoded and encoded, is byte-equal
 *     store_tool lock REPO PASSWORD HOST           a shared lock that stays behind
 *     store_tool sweep REPO PASSWORD CLUSTER       removes the locks of that cluster's dead (all
 * are)
 *     store_tool cheapen REPO PASSWORD             replaces the key by one whose scrypt costs a
 *                                                  millisecond: a script opens it a hundred times
 *
 * REPO is a URL of backend_open_url; RESTIC_TOKEN_FILE and CA_FILE serve rest:. */
#include "store/keys.h"
#include "store/lock.h"
#include "store/snapshot.h"
#include "store/stream.h"
#include "store/synthetic.h"
#include "store/verify.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

static struct repository *repo;
static struct stream_saver *saver;

static int64_t read_fd(void *ctx, void *p, size_t n, struct err *err)
{
    ssize_t got = read(*(int *)ctx, p, n);
    return got < 0 ? err_errno(err, errno, "read") : got;
}

static int write_out(void *ctx, const void *p, size_t n, struct err *err)
{
    return fwrite(p, 1, n, ctx) == n ? 0 : err_set(err, ERR_IO, "write");
}

static enum node_type type_of(mode_t mode)
{
    return S_ISDIR(mode)    ? NODE_DIR
           : S_ISLNK(mode)  ? NODE_SYMLINK
           : S_ISBLK(mode)  ? NODE_DEV
           : S_ISCHR(mode)  ? NODE_CHARDEV
           : S_ISFIFO(mode) ? NODE_FIFO
                            : NODE_FILE;
}

static void add_xattrs(struct arena *a, const char *path, struct node *node)
{
    char names[4096], value[4096];
    ssize_t n = llistxattr(path, names, sizeof names);
    struct node_xattr *list = arena_alloc(a, 64 * sizeof *list);
    for (char *name = names; n > 0 && name < names + n; name += strlen(name) + 1) {
        ssize_t size = lgetxattr(path, name, value, sizeof value);
        list[node->xattrs_n++] = (struct node_xattr){
            str_of(arena_strdup(a, name)), {arena_strndup(a, value, (size_t)size), (size_t)size}};
    }
    node->xattrs = list;
}

static int archive_dir(const char *path, struct store_id *ret_tree, struct err *err);

static int archive(struct arena *a, const char *path, const char *name, struct node *node,
                   struct store_ids *ids, struct err *err)
{
    struct stat st;
    char target[4096];
    if (lstat(path, &st) < 0)
        return err_errno(err, errno, "%s", path);
    struct passwd *user = getpwuid(st.st_uid);
    struct group *group = getgrgid(st.st_gid);
    *node = (struct node){.name = str_of(name),
                          .type = type_of(st.st_mode),
                          .mode = node_mode_from_posix(st.st_mode),
                          .mtime = st.st_mtim,
                          .atime = st.st_mtim,
                          .ctime = st.st_ctim,
                          .uid = st.st_uid,
                          .gid = st.st_gid,
                          .user = str_of(user ? arena_strdup(a, user->pw_name) : ""),
                          .group = str_of(group ? arena_strdup(a, group->gr_name) : ""),
                          .inode = st.st_ino,
                          .device_id = st.st_dev};
    add_xattrs(a, path, node);
    if (node->type != NODE_DIR && node->type != NODE_FIFO)
        node->links = st.st_nlink;
    if (node->type == NODE_DEV || node->type == NODE_CHARDEV)
        node->device = st.st_rdev;
    if (node->type == NODE_SYMLINK) {
        ssize_t n = readlink(path, target, sizeof target);
        node->link_target = (str){arena_strndup(a, target, (size_t)n), (size_t)n};
    }
    if (node->type == NODE_DIR) {
        node->has_subtree = true;
        return archive_dir(path, &node->subtree, err);
    }
    if (node->type != NODE_FILE)
        return 0;
    int fd CLEANUP(close_p) = open(path, O_RDONLY);
    struct stream_result result;
    if (fd < 0 || stream_save(saver, read_fd, &fd, ids, &result, err) < 0)
        return fd < 0 ? err_errno(err, errno, "%s", path) : -1;
    node->size = result.size;
    node->content = ids->p;
    node->content_n = ids->n;
    return 0;
}

static int by_bytes(const struct dirent **x, const struct dirent **y)
{
    return strcmp((*x)->d_name, (*y)->d_name);
}

static int not_dots(const struct dirent *e)
{
    return !streq(e->d_name, ".") && !streq(e->d_name, "..");
}

static int archive_dir(const char *path, struct store_id *ret_tree, struct err *err)
{
    struct dirent **names;
    struct tree_writer *w CLEANUP(tree_writer_free_p) = tree_writer_new();
    int n = scandir(path, &names, not_dots, by_bytes), r = 0;
    for (int i = 0; i < n; i++) {
        struct arena *a CLEANUP(arena_free_p) = arena_new();
        struct store_ids ids = {0};
        struct node node;
        char *child = arena_printf(a, "%s/%s", path, names[i]->d_name);
        struct stat st;
        if (r == 0 && lstat(child, &st) == 0 && !S_ISSOCK(st.st_mode)) {
            r = archive(a, child, names[i]->d_name, &node, &ids, err);
            if (r == 0)
                r = tree_writer_add(w, &node, err);
        }
        vec_free(&ids);
        free(names[i]);
    }
    free(names);
    return r < 0 ? r : tree_writer_finish(w, repo, ret_tree, NULL, err);
}

static int save_snapshot(const struct store_id *tree, const char *path, struct store_id *ret_id,
                         struct err *err)
{
    const char *paths[] = {path}, *tags[] = {"backup:test", "uid:1"};
    struct snapshot s = {.tree = *tree,
                         .paths = paths,
                         .paths_n = 1,
                         .tags = tags,
                         .tags_n = 2,
                         .hostname = "cluster",
                         .username = "gleaner",
                         .has_summary = true};
    clock_gettime(CLOCK_REALTIME, &s.time);
    s.summary.backup_start = s.summary.backup_end = s.time;
    return snapshot_save(repo, &s, ret_id, err);
}

static void print_id(const char *what, const struct store_id *id)
{
    char hex[STORE_ID_HEX];
    store_id_hex(id, hex);
    printf("%s %s\n", what, hex);
}

static int backup(const char *dir, struct err *err)
{
    struct store_id tree, id;
    if (archive_dir(dir, &tree, err) < 0 || save_snapshot(&tree, dir, &id, err) < 0 ||
        verify_read_back(repo, &id, NULL, NULL, err) < 0)
        return -1;
    print_id("tree", &tree);
    print_id("snapshot", &id);
    return 0;
}

static int synthetic(struct err *err)
{
    struct synthetic *s CLEANUP(synthetic_free_p) = synthetic_new(repo, 1700000000);
    struct store_id tree, volume, id;
    struct tree_writer *w CLEANUP(tree_writer_free_p) = tree_writer_new();
    if (tree_writer_finish(w, repo, &volume, NULL, err) < 0)
        return -1;
    for (int i = 99; i >= 0; i--) {
        char path[100], text[100];
        snprintf(path, sizeof path, "/resources/secrets/namespaces/app/s%d.json", i);
        int n = snprintf(text, sizeof text, "{\"kind\":\"Secret\",\"n\":%d}", i);
        if (synthetic_add(s, path, text, (size_t)n, 1600000000 + i, err) < 0)
            return -1;
    }
    if (synthetic_add(s, "/meta/empty", "", 0, 1, err) < 0 ||
        synthetic_add_dir(s, "/residue", NULL, err) < 0 ||
        synthetic_graft(s, "/volumes/data", &volume, NULL, err) < 0 ||
        synthetic_finish(s, &tree, err) < 0 || save_snapshot(&tree, "/plan", &id, err) < 0 ||
        verify_read_back(repo, &id, &(struct verify_options){.read_data = true}, NULL, err) < 0)
        return -1;
    print_id("snapshot", &id);
    return 0;
}

static int snapshots(struct err *err)
{
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct snapshot_list list;
    if (snapshot_list_all(repo, NULL, a, &list, NULL, err) < 0)
        return -1;
    for (size_t i = 0; i < list.n; i++) {
        char id[STORE_ID_HEX], tree[STORE_ID_HEX];
        store_id_hex(&list.p[i].id, id);
        store_id_hex(&list.p[i].tree, tree);
        printf("%s %s %s", id, tree, list.p[i].hostname ? list.p[i].hostname : "-");
        for (size_t k = 0; k < list.p[i].paths_n; k++)
            printf(" %s", list.p[i].paths[k]);
        putchar('\n');
    }
    return 0;
}

static int verify(const struct snapshot *s, struct err *err)
{
    struct verify_result r;
    if (verify_snapshot(repo, &s->id, &(struct verify_options){.read_data = true}, &r, err) < 0)
        return -1;
    printf("%llu trees %llu files %llu blobs %llu packs %llu bytes\n", (unsigned long long)r.trees,
           (unsigned long long)r.files, (unsigned long long)r.blobs, (unsigned long long)r.packs,
           (unsigned long long)r.bytes);
    return 0;
}

static int dump(const struct snapshot *s, const char *path, struct err *err)
{
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct node node;
    if (tree_find(repo, &s->tree, path, a, &node, err) < 0)
        return -1;
    return stream_load(repo, node.content, node.content_n, write_out, stdout, err);
}

static int reencode_tree(const struct store_id *id, const char *path, struct err *err)
{
    struct tree_reader *r CLEANUP(tree_reader_free_p) = NULL;
    struct tree_writer *w CLEANUP(tree_writer_free_p) = tree_writer_new();
    struct buf text CLEANUP(buf_free) = {0};
    const struct node *node;
    int more;
    if (repository_load_blob(repo, BLOB_TREE, id, &text, err) < 0)
        return -1;
    r = tree_reader_of(buf_view(&text));
    while ((more = tree_reader_next(r, &node, err)) > 0)
        if (tree_writer_add(w, node, err) < 0)
            return -1;
    if (more < 0)
        return -1;
    str again = tree_writer_text(w);
    if (!str_eq(again, buf_view(&text)))
        return err_set(err, ERR_CORRUPT, "%s differs:\n%.*s%.*s", path, STR_FMT(buf_view(&text)),
                       STR_FMT(again));
    return 0;
}

static int reencode_node(void *ctx, const char *path, const struct node *node, struct err *err)
{
    ++*(int *)ctx;
    return node->type == NODE_DIR ? reencode_tree(&node->subtree, path, err) : 0;
}

static int reencode(const struct snapshot *s, struct err *err)
{
    int nodes = 0;
    const struct tree_visitor v = {.node = reencode_node, .ctx = &nodes};
    if (reencode_tree(&s->tree, "/", err) < 0 || tree_walk(repo, &s->tree, &v, err) < 0)
        return -1;
    printf("%d nodes\n", nodes);
    return 0;
}

static enum lock_holder all_are_dead(void *ctx, str namespace, str pod, str uid)
{
    (void)ctx, (void)namespace, (void)pod, (void)uid;
    return LOCK_HOLDER_TERMINATED;
}

static int take_lock(const char *host, struct err *err)
{
    struct lock *lock;
    if (lock_acquire(repo, &(struct lock_options){.hostname = host}, &lock, err) < 0)
        return -1;
    print_id("lock", lock_id(lock));
    exit(0); /* the file stays */
}

static int sweep(const char *cluster, struct err *err)
{
    struct lock_options o = {.cluster = cluster, .judge = all_are_dead, .hostname = "x"};
    int n = lock_sweep(repo, &o, err);
    printf("%d removed\n", n);
    return n;
}

static int cheapen(const char *password, struct err *err)
{
    struct store_id id;
    return key_replace(
        repo,
        &(struct repository_key){
            .password = password, .username = "u", .hostname = "h", .scrypt_log2 = 10},
        &id, err);
}

static int with_snapshot(int argc, char **argv, struct err *err)
{
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct snapshot s;
    if (argc < 5 || snapshot_find(repo, argv[4], NULL, a, &s, err) < 0 ||
        repository_load_index(repo, err) < 0)
        return -1;
    if (streq(argv[1], "verify"))
        return verify(&s, err);
    if (streq(argv[1], "reencode"))
        return reencode(&s, err);
    return dump(&s, argv[5], err);
}

static int run(int argc, char **argv, struct backend *b, struct err *err)
{
    if (streq(argv[1], "init")) {
        struct repository_key keys[] = {
            {.password = argv[3], .username = "operator", .hostname = "c"},
            {.password = argv[4], .username = "mover", .hostname = "ns"}};
        return repository_init(b, keys, 2, NULL, err);
    }
    if (repository_open(b, argv[3], NULL, &repo, err) < 0)
        return -1;
    saver = stream_saver_new(repo);
    if (streq(argv[1], "snapshots"))
        return snapshots(err);
    if (streq(argv[1], "lock"))
        return take_lock(argv[4], err);
    if (streq(argv[1], "sweep"))
        return sweep(argv[4], err);
    if (streq(argv[1], "cheapen"))
        return cheapen(argv[3], err);
    if (!streq(argv[1], "backup") && !streq(argv[1], "synthetic"))
        return with_snapshot(argc, argv, err);
    if (repository_load_index(repo, err) < 0)
        return -1;
    return streq(argv[1], "backup") ? backup(argv[4], err) : synthetic(err);
}

static char *read_text(const char *path)
{
    static char text[65536];
    FILE *f = path ? fopen(path, "r") : NULL;
    if (!f)
        return NULL;
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    return text;
}

int main(int argc, char **argv)
{
    struct err err = {0};
    struct backend *b = NULL;
    struct backend_rest_options rest = {.ca_pem = read_text(getenv("CA_FILE")),
                                        .token_file = getenv("RESTIC_TOKEN_FILE")};
    if (argc < 4)
        return 2;
    int r = backend_open_url(argv[2], &rest, &b, &err);
    if (r == 0)
        r = run(argc, argv, b, &err);
    stream_saver_free(saver);
    repository_close(repo);
    backend_close(b);
    if (r < 0)
        fprintf(stderr, "%s: %s\n", err_kind_name(err.kind), err.msg);
    return r < 0;
}
