/* store: one repository in a folder, as its users drive it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "store_support.h"

#include "core/vec.h"
#include "store/limits.h"
#include "store/lock.h"
#include "store/stream.h"
#include "store/synthetic.h"
#include "store/tree.h"
#include "store/verify.h"

#include <dirent.h>
#include <pthread.h>

struct fixture {
    char *folder;
    struct backend *backend;
    struct repository *repo;
};

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    struct err err;
    struct repository_key keys[] = {cheap_key("first"), cheap_key("second")};
    f->folder = make_folder();
    if (backend_open_local(f->folder, &f->backend, &err) < 0 ||
        repository_init(f->backend, keys, 2, NULL, &err) < 0 ||
        repository_open(f->backend, "first", &(struct repository_options){.pack_target = 200000},
                        &f->repo, &err) < 0)
        fail_msg("%s", err.msg);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    repository_close(f->repo);
    backend_close(f->backend);
    remove_folder(f->folder);
    free(f);
    return 0;
}

static struct repository *open_again(struct fixture *f, const char *password)
{
    struct repository *repo;
    struct err err;
    if (repository_open(f->backend, password, NULL, &repo, &err) < 0 ||
        repository_load_index(repo, &err) < 0)
        fail_msg("%s", err.msg);
    return repo;
}

/* ---- opening ---- */

static void test_open(void **state)
{
    struct fixture *f = *state;
    struct repository *second = open_again(f, "second"), *none;
    struct err err;
    assert_true(store_id_equal(repository_id(second), repository_id(f->repo)));
    assert_false(store_id_equal(repository_key_id(second), repository_key_id(f->repo)));
    repository_close(second);
    assert_int_equal(repository_open(f->backend, "third", NULL, &none, &err), -1);
    assert_int_equal(err.kind, ERR_UNAUTHORIZED);
    struct repository_key again = cheap_key("first");
    assert_int_equal(repository_init(f->backend, &again, 1, NULL, &err), -1);
    assert_int_equal(err.kind, ERR_EXISTS);
    struct backend *empty;
    char *folder = make_folder();
    assert_int_equal(backend_open_local(folder, &empty, &err), 0);
    assert_int_equal(repository_open(empty, "first", NULL, &none, &err), -1);
    assert_int_equal(err.kind, ERR_NOT_FOUND);
    backend_close(empty);
    remove_folder(folder);
}

static void test_add_key(void **state)
{
    struct fixture *f = *state;
    struct repository_key key = cheap_key("fourth");
    struct store_id id;
    struct err err;
    assert_int_equal(repository_add_key(f->repo, &key, &id, &err), 0);
    struct repository *repo;
    struct repository_options hint = {.key_hint = &id};
    assert_int_equal(repository_open(f->backend, "fourth", &hint, &repo, &err), 0);
    assert_true(store_id_equal(repository_key_id(repo), &id));
    repository_close(repo);
}

/* rustic's repositories have no folder for locks; an empty mount point has no config. */
static void test_missing_folder(void **state)
{
    struct fixture *f = *state;
    struct lock_options o = {.hostname = "h", .settle_ms = 1};
    struct lock *lock;
    struct err err;
    char path[500];
    snprintf(path, sizeof path, "%s/locks", f->folder);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(lock_acquire(f->repo, &o, &lock, &err), 0);
    assert_int_equal(lock_release(lock, &err), 0);
    assert_int_equal(rmdir(path), 0);
    snprintf(path, sizeof path, "%s/config", f->folder);
    assert_int_equal(unlink(path), 0);
    assert_true(lock_acquire(f->repo, &o, &lock, &err) < 0);
    snprintf(path, sizeof path, "%s/locks", f->folder);
    assert_true(access(path, F_OK) < 0);
}

static void test_urls(void **state)
{
    (void)state;
    struct backend *b;
    struct err err;
    assert_int_equal(backend_open_url("azure:bucket:/x", NULL, &b, &err), -1);
    assert_int_equal(err.kind, ERR_UNSUPPORTED);
    assert_int_equal(backend_open_url("rest:ftp://x", NULL, &b, &err), -1);
    assert_int_equal(err.kind, ERR_INVALID);
    assert_int_equal(backend_open_url("", NULL, &b, &err), -1);
    assert_int_equal(backend_open_url("local:/x/y", NULL, &b, &err), 0);
    backend_close(b);
    assert_int_equal(backend_open_url("rest:https://h/x", NULL, &b, &err), 0);
    backend_close(b);
}

/* ---- blobs ---- */

static void test_blobs(void **state)
{
    struct fixture *f = *state;
    struct err err;
    struct buf out = {0};
    struct store_id text, empty, noise, other = {{1}};
    bool known;
    uint64_t size;
    uint8_t random[5000];
    char zeros[100000] = {0};
    random_bytes(random, sizeof random);
    assert_int_equal(
        repository_save_blob(f->repo, BLOB_DATA, zeros, sizeof zeros, &text, &known, &err), 0);
    assert_false(known);
    assert_int_equal(
        repository_save_blob(f->repo, BLOB_DATA, zeros, sizeof zeros, &text, &known, &err), 0);
    assert_true(known);
    assert_int_equal(repository_save_blob(f->repo, BLOB_DATA, "", 0, &empty, &known, &err), 0);
    assert_int_equal(
        repository_save_blob(f->repo, BLOB_DATA, random, sizeof random, &noise, &known, &err), 0);
    assert_true(repository_has_blob(f->repo, BLOB_DATA, &text, &size));
    assert_int_equal(size, sizeof zeros);
    assert_false(repository_has_blob(f->repo, BLOB_TREE, &text, NULL));
    for (int round = 0; round < 2; round++) { /* from memory, then from the pack */
        assert_int_equal(repository_load_blob(f->repo, BLOB_DATA, &text, &out, &err), 0);
        assert_int_equal(out.n, sizeof zeros);
        assert_int_equal(repository_load_blob(f->repo, BLOB_DATA, &empty, &out, &err), 0);
        assert_int_equal(out.n, 0);
        assert_int_equal(repository_load_blob(f->repo, BLOB_DATA, &noise, &out, &err), 0);
        assert_memory_equal(out.p, random, sizeof random);
        assert_int_equal(repository_flush(f->repo, &err), 0);
    }
    assert_int_equal(repository_load_blob(f->repo, BLOB_DATA, &other, &out, &err), -1);
    assert_int_equal(err.kind, ERR_NOT_FOUND);
    struct repository *again = open_again(f, "second");
    assert_int_equal(
        repository_save_blob(again, BLOB_DATA, zeros, sizeof zeros, &text, &known, &err), 0);
    assert_true(known);
    struct repository_stats stats;
    repository_get_stats(again, &stats);
    assert_int_equal(stats.index_blobs, 3);
    assert_int_equal(stats.packs, 0);
    repository_close(again);
    buf_free(&out);
}

static void test_read_only(void **state)
{
    struct fixture *f = *state;
    struct repository *repo;
    struct store_id id;
    struct err err;
    struct repository_options options = {.read_only = true};
    assert_int_equal(repository_open(f->backend, "first", &options, &repo, &err), 0);
    assert_int_equal(repository_save_blob(repo, BLOB_DATA, "x", 1, &id, NULL, &err), -1);
    assert_int_equal(err.kind, ERR_REFUSED);
    assert_int_equal(repository_flush(repo, &err), 0);
    repository_close(repo);
}

static int refuse(void *ctx, struct err *err)
{
    ++*(int *)ctx;
    return err_set(err, ERR_GONE, "the lock is gone");
}

static void test_hooks(void **state)
{
    struct fixture *f = *state;
    struct repository *repo;
    struct store_id id;
    struct err err;
    int calls = 0;
    struct repository_options options = {.before_index = refuse, .ctx = &calls};
    assert_int_equal(repository_open(f->backend, "first", &options, &repo, &err), 0);
    assert_int_equal(repository_save_blob(repo, BLOB_DATA, "x", 1, &id, NULL, &err), 0);
    assert_int_equal(repository_flush(repo, &err), -1);
    assert_int_equal(err.kind, ERR_GONE);
    assert_int_equal(calls, 1);
    /* Nothing can be built on what has failed. */
    assert_int_equal(repository_save_blob(repo, BLOB_DATA, "y", 1, &id, NULL, &err), -1);
    assert_int_equal(repository_flush(repo, &err), -1);
    repository_close(repo);
}

/* ---- streams ---- */

struct source {
    const uint8_t *p;
    size_t n, step;
};

static int64_t read_source(void *ctx, void *p, size_t n, struct err *err)
{
    struct source *s = ctx;
    (void)err;
    n = MIN(n, MIN(s->n, s->step));
    memcpy(p, s->p, n);
    s->p += n, s->n -= n;
    return (int64_t)n;
}

static int collect(void *ctx, const void *p, size_t n, struct err *err)
{
    (void)err;
    buf_add(ctx, p, n);
    return 0;
}

static void test_streams(void **state)
{
    struct fixture *f = *state;
    struct stream_saver *s = stream_saver_new(f->repo);
    struct store_ids ids = {0}, same = {0}, none = {0};
    struct stream_result result;
    struct buf out = {0};
    struct err err;
    size_t n = 20u << 20;
    uint8_t *p = malloc(n);
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)(i * i >> 12 ^ i * 2654435761u >> 24);
    struct source source = {p, n, 70001};
    assert_int_equal(stream_save(s, read_source, &source, &ids, &result, &err), 0);
    assert_int_equal(result.size, n);
    assert_int_equal(result.chunks, ids.n);
    assert_in_range(ids.n, 3, 40);
    assert_int_equal(stream_save_bytes(s, p, n, &same, &err), 0);
    assert_int_equal(ids.n, same.n);
    assert_memory_equal(ids.p, same.p, ids.n * sizeof *ids.p);
    assert_int_equal(repository_flush(f->repo, &err), 0);
    assert_int_equal(stream_load(f->repo, ids.p, ids.n, collect, &out, &err), 0);
    assert_int_equal(out.n, n);
    assert_memory_equal(out.p, p, n);
    source = (struct source){p, 0, 1};
    assert_int_equal(stream_save(s, read_source, &source, &none, &result, &err), 0);
    assert_int_equal(none.n, 0);
    stream_saver_free(s);
    vec_free(&ids);
    vec_free(&same);
    buf_free(&out);
    free(p);
}

/* ---- threads ---- */

struct worker {
    struct repository *repo;
    unsigned seed;
};

static void *save_many(void *ctx)
{
    struct worker *w = ctx;
    struct buf out = {0};
    struct err err;
    for (unsigned i = 0; i < 300; i++) {
        char blob[3000];
        struct store_id id;
        memset(blob, 0, sizeof blob);
        snprintf(blob, sizeof blob, "blob %u of %u", i, i % 3 ? w->seed : 0);
        err = (struct err){.msg = "other bytes"};
        if (repository_save_blob(w->repo, BLOB_DATA, blob, sizeof blob, &id, NULL, &err) < 0 ||
            repository_load_blob(w->repo, BLOB_DATA, &id, &out, &err) < 0 ||
            memcmp(out.p, blob, sizeof blob) != 0 ||
            (i % 100 == 99 && repository_flush(w->repo, &err) < 0)) {
            fprintf(stderr, "thread %u, blob %u: %s\n", w->seed, i, err.msg);
            abort();
        }
    }
    buf_free(&out);
    return NULL;
}

static void test_threads(void **state)
{
    struct fixture *f = *state;
    struct repository *repo;
    struct err err;
    pthread_t threads[4];
    struct worker workers[4];
    struct repository_options options = {.pack_target = 5000};
    assert_int_equal(repository_open(f->backend, "first", &options, &repo, &err), 0);
    for (unsigned i = 0; i < 4; i++) {
        workers[i] = (struct worker){repo, i + 1};
        pthread_create(&threads[i], NULL, save_many, &workers[i]);
    }
    for (unsigned i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(repository_flush(repo, &err), 0);
    struct repository_stats stats;
    repository_get_stats(repo, &stats);
    assert_int_equal(stats.blobs_new[BLOB_DATA], 100 + 4 * 200);
    repository_close(repo);
    repo = open_again(f, "first");
    repository_get_stats(repo, &stats);
    assert_int_equal(stats.index_blobs, 900);
    repository_close(repo);
}

/* ---- trees and snapshots ---- */

static struct store_id make_tree(struct repository *repo, const char *note)
{
    struct synthetic *s = synthetic_new(repo, 1700000000);
    struct store_id tree = {0};
    struct err err;
    if (synthetic_add(s, "/resources/b.json", "{}", 2, 1, &err) < 0 ||
        synthetic_add(s, "/resources/a.json", note, strlen(note), 2, &err) < 0 ||
        synthetic_add(s, "meta/x", "y", 1, 3, &err) < 0 || synthetic_finish(s, &tree, &err) < 0)
        fail_msg("%s", err.msg);
    synthetic_free(s);
    return tree;
}

static int note_path(void *ctx, const char *path, const struct node *node, struct err *err)
{
    (void)err;
    buf_printf(ctx, "%s %s;", path, node_type_name(node->type));
    return streq(path, "/volumes/data") ? TREE_WALK_SKIP : TREE_WALK_ON;
}

static int note_leave(void *ctx, const char *path, const struct node *node, struct err *err)
{
    (void)err;
    assert_int_equal(node->type, NODE_DIR);
    buf_printf(ctx, "%s left;", path);
    return 0;
}

static int walk_within(struct fixture *f, const struct store_id *root, size_t memory,
                       struct err *err)
{
    struct buf paths CLEANUP(buf_free) = {0};
    struct tree_visitor v = {.node = note_path, .ctx = &paths};
    struct repository_options options = {.read_only = true, .tree_memory = memory};
    struct repository *repo CLEANUP(repository_close_p) = NULL;
    if (repository_open(f->backend, "first", &options, &repo, err) < 0 ||
        repository_load_index(repo, err) < 0)
        fail_msg("%s", err->msg);
    return tree_walk(repo, root, &v, err);
}

static void test_tree_memory(void **state)
{
    struct fixture *f = *state;
    struct err err;
    struct store_id root;
    struct synthetic *s = synthetic_new(f->repo, 1700000000);
    assert_int_equal(synthetic_add(s, "/a/b/c/d/e/f/g/h", "1", 1, 0, &err), 0);
    assert_int_equal(synthetic_finish(s, &root, &err), 0);
    synthetic_free(s);
    assert_int_equal(repository_flush(f->repo, &err), 0);
    assert_int_equal(walk_within(f, &root, 0, &err), 0);
    assert_int_equal(walk_within(f, &root, 1 << 20, &err), 0);
    /* One of them, then all together. */
    assert_int_equal(walk_within(f, &root, 100, &err), -1);
    assert_int_equal(err.kind, ERR_REFUSED);
    assert_non_null(strstr(err.msg, "one directory"));
    assert_int_equal(walk_within(f, &root, 1000, &err), -1);
    assert_int_equal(err.kind, ERR_REFUSED);
    assert_non_null(strstr(err.msg, "above it"));
}

static void test_synthetic(void **state)
{
    struct fixture *f = *state;
    struct err err;
    struct store_id first = make_tree(f->repo, "n"), second = make_tree(f->repo, "n"), root, dir;
    assert_true(store_id_equal(&first, &second));
    struct synthetic *s = synthetic_new(f->repo, 1700000000);
    struct node_xattr label = {STR("user.x"), STR("y")};
    struct node like = {.mode = node_mode_from_posix(S_IFDIR | 02770),
                        .mtime = {5, 6},
                        .ctime = {7, 8},
                        .uid = 999,
                        .gid = 1000,
                        .xattrs = &label,
                        .xattrs_n = 1};
    assert_int_equal(synthetic_graft(s, "/volumes/data", &first, &like, &err), 0);
    assert_int_equal(synthetic_add_dir(s, "/volumes", &like, &err), 0);
    label = (struct node_xattr){0}; /* it was copied */
    assert_int_equal(synthetic_add(s, "/volumes/data/x", "", 0, 0, &err), -1);
    assert_int_equal(err.kind, ERR_EXISTS);
    assert_int_equal(synthetic_add(s, "/z", "1", 1, 0, &err), 0);
    assert_int_equal(synthetic_add(s, "/z", "1", 1, 0, &err), -1);
    assert_int_equal(synthetic_add(s, "/z/y", "1", 1, 0, &err), -1);
    assert_int_equal(synthetic_add(s, "/a/../y", "1", 1, 0, &err), -1);
    assert_int_equal(err.kind, ERR_INVALID);
    struct store_id unknown = {{3}};
    assert_int_equal(synthetic_graft(s, "/v", &unknown, NULL, &err), -1);
    assert_int_equal(err.kind, ERR_NOT_FOUND);
    assert_int_equal(synthetic_finish(s, &root, &err), 0);
    synthetic_free(s);
    struct buf paths = {0};
    struct tree_visitor v = {.node = note_path, .leave = note_leave, .ctx = &paths};
    assert_int_equal(tree_walk(f->repo, &root, &v, &err), 0);
    assert_string_equal(paths.p, "/a dir;/a left;/volumes dir;/volumes/data dir;/volumes left;"
                                 "/z file;");
    assert_int_equal(tree_find_dir(f->repo, &root, "/volumes/data", &dir, &err), 0);
    assert_true(store_id_equal(&dir, &first));
    struct arena *a = arena_new();
    struct node node;
    assert_int_equal(tree_find(f->repo, &root, "volumes/data/resources/a.json", a, &node, &err), 0);
    assert_int_equal(node.size, 1);
    assert_int_equal(node.mode, 0600);
    assert_int_equal(node.mtime.tv_sec, 2);
    static const char *const alike[] = {"/volumes", "/volumes/data"};
    for (size_t i = 0; i < ARRAY_LEN(alike); i++) {
        assert_int_equal(tree_find(f->repo, &root, alike[i], a, &node, &err), 0);
        assert_int_equal(node_mode_to_posix(node.mode), S_IFDIR | 02770);
        assert_true(node.uid == 999 && node.gid == 1000);
        assert_true(node.mtime.tv_sec == 5 && node.mtime.tv_nsec == 6);
        assert_true(node.ctime.tv_sec == 7 && node.ctime.tv_nsec == 8);
        assert_int_equal(node.xattrs_n, 1);
        assert_true(str_is(node.xattrs[0].name, "user.x") && str_is(node.xattrs[0].value, "y"));
    }
    assert_int_equal(tree_find(f->repo, &root, "/a", a, &node, &err), 0);
    assert_int_equal(node_mode_to_posix(node.mode), S_IFDIR | 0700);
    assert_int_equal(node.mtime.tv_sec, 1700000000);
    assert_int_equal(tree_find(f->repo, &root, "/volumes/none/x", a, &node, &err), -1);
    assert_int_equal(err.kind, ERR_NOT_FOUND);
    assert_int_equal(tree_find(f->repo, &root, "/", a, &node, &err), -1);
    arena_free(a);
    buf_free(&paths);
}

static void test_snapshots(void **state)
{
    struct fixture *f = *state;
    struct err err;
    struct arena *a = arena_new();
    struct snapshot_list list;
    struct snapshot s;
    struct store_id tree = make_tree(f->repo, "n"), one, two;
    assert_int_equal(snapshot_find(f->repo, "latest", NULL, a, &s, &err), -1);
    assert_int_equal(err.kind, ERR_NOT_FOUND);
    assert_int_equal(save_test_snapshot(f->repo, &tree, "backup:one", &one, &err), 0);
    assert_int_equal(save_test_snapshot(f->repo, &tree, "backup:two", &two, &err), 0);
    assert_int_equal(save_test_snapshot(f->repo, &tree, "a,b", &two, &err), -1);
    assert_int_equal(err.kind, ERR_INVALID);
    struct store_id unknown = {{1}};
    assert_int_equal(save_test_snapshot(f->repo, &unknown, "x", &two, &err), -1);
    assert_int_equal(snapshot_list_all(f->repo, NULL, a, &list, NULL, &err), 0);
    assert_int_equal(list.n, 2);
    const char *tags[] = {"backup:one"};
    struct snapshot_filter with = {.tags = tags, .tags_n = 1},
                           without = {.not_tags = tags, .not_tags_n = 1};
    assert_int_equal(snapshot_find(f->repo, "latest", &with, a, &s, &err), 0);
    assert_true(store_id_equal(&s.id, &one));
    assert_int_equal(snapshot_find(f->repo, "latest", &without, a, &s, &err), 0);
    assert_false(store_id_equal(&s.id, &one));
    struct snapshot_filter other = {.hostname = "elsewhere"};
    assert_int_equal(snapshot_find(f->repo, "latest", &other, a, &s, &err), -1);
    char hex[STORE_ID_HEX];
    store_id_hex(&one, hex);
    hex[12] = '\0';
    assert_int_equal(snapshot_find(f->repo, hex, NULL, a, &s, &err), 0);
    assert_true(store_id_equal(&s.id, &one));
    assert_int_equal(snapshot_find(f->repo, "xyzz", NULL, a, &s, &err), -1);
    assert_int_equal(err.kind, ERR_INVALID);
    assert_int_equal(snapshot_find(f->repo, "0123456789abcdef", NULL, a, &s, &err), -1);
    assert_int_equal(err.kind, ERR_NOT_FOUND);
    arena_free(a);
}

/* ---- verification ---- */

/* The first file below data/, its path malloc'd. */
static char *some_pack(const struct fixture *f, size_t at_least)
{
    char *data = xasprintf("%s/data", f->folder), *found = NULL;
    DIR *dir = opendir(data);
    for (struct dirent *e; dir && !found && (e = readdir(dir));) {
        char *shard = xasprintf("%s/%s", data, e->d_name);
        DIR *inner = e->d_name[0] == '.' ? NULL : opendir(shard);
        for (struct dirent *i; inner && !found && (i = readdir(inner));) {
            struct stat st;
            char *path = xasprintf("%s/%s", shard, i->d_name);
            if (strlen(i->d_name) == 64 && stat(path, &st) == 0 && (size_t)st.st_size >= at_least)
                found = xstrdup(path);
            free(path);
        }
        if (inner)
            closedir(inner);
        free(shard);
    }
    if (dir)
        closedir(dir);
    free(data);
    assert_non_null(found);
    return found;
}

static void test_verify(void **state)
{
    struct fixture *f = *state;
    struct err err;
    struct store_id tree = make_tree(f->repo, "n"), id;
    struct verify_result r;
    assert_int_equal(save_test_snapshot(f->repo, &tree, "x", &id, &err), 0);
    assert_int_equal(
        verify_read_back(f->repo, &id, &(struct verify_options){.read_data = true}, &r, &err), 0);
    assert_int_equal(r.trees, 3);
    assert_int_equal(r.files, 3);
    assert_int_equal(r.blobs, 6);
    assert_int_equal(r.packs, 2);
    assert_int_equal(r.bytes, 4);
    char *pack = some_pack(f, 1), *aside = xasprintf("%s/aside", f->folder);
    assert_int_equal(rename(pack, aside), 0);
    assert_int_equal(verify_read_back(f->repo, &id, NULL, NULL, &err), -1);
    assert_int_equal(err.kind, ERR_CORRUPT);
    assert_non_null(strstr(err.msg, "missing"));
    assert_int_equal(rename(aside, pack), 0);
    assert_int_equal(verify_read_back(f->repo, &id, NULL, NULL, &err), 0);
    struct stat st;
    assert_int_equal(stat(pack, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0400);
    assert_int_equal(truncate(pack, st.st_size - 1), 0);
    assert_int_equal(verify_read_back(f->repo, &id, NULL, NULL, &err), -1);
    assert_int_equal(err.kind, ERR_CORRUPT);
    struct store_id unknown = {{1}};
    assert_int_equal(verify_read_back(f->repo, &unknown, NULL, NULL, &err), -1);
    free(pack);
    free(aside);
}

/* A file whose chunks do not add up to its size is not restorable as what it was. */
static void test_verify_sizes(void **state)
{
    struct fixture *f = *state;
    struct err err;
    struct store_id blob, tree;
    struct tree_writer *w = tree_writer_new();
    assert_int_equal(repository_save_blob(f->repo, BLOB_DATA, "abc", 3, &blob, NULL, &err), 0);
    struct node node = {
        .name = STR("f"), .type = NODE_FILE, .size = 4, .content = &blob, .content_n = 1};
    assert_int_equal(tree_writer_add(w, &node, &err), 0);
    assert_int_equal(tree_writer_finish(w, f->repo, &tree, NULL, &err), 0);
    assert_int_equal(repository_flush(f->repo, &err), 0);
    assert_int_equal(verify_tree(f->repo, &tree, NULL, NULL, &err), -1);
    assert_non_null(strstr(err.msg, "/f: 4 bytes"));
    tree_writer_free(w);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_open),      TEST(test_add_key),      TEST(test_missing_folder),
        TEST(test_urls),      TEST(test_blobs),        TEST(test_read_only),
        TEST(test_hooks),     TEST(test_streams),      TEST(test_threads),
        TEST(test_synthetic), TEST(test_tree_memory),  TEST(test_snapshots),
        TEST(test_verify),    TEST(test_verify_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
