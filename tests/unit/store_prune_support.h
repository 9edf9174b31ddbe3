/* What the tests of forgetting and pruning share: a repository with backups of numbered blobs,
 * packs made by hand, stock restic as the judge. Include cmocka before. */
#ifndef TESTS_STORE_PRUNE_SUPPORT_H
#define TESTS_STORE_PRUNE_SUPPORT_H

#include "store_support.h"

#include "core/clock.h"
#include "core/proc.h"
#include "core/vec.h"
#include "store/limits.h"
#include "store/prune.h"
#include "store/repository_impl.h"
#include "store/tree.h"
#include "store/verify.h"

/* ---- a repository ---- */

struct world {
    char *folder;
    struct backend *backend;
    struct fault_backend fault; /* in front of it */
    uint64_t seed;
};

static inline void must(int r, const struct err *err)
{
    if (r < 0)
        fail_msg("%s", err->msg);
}

static inline int setup(void **state)
{
    struct world *w = xcalloc(1, sizeof *w);
    struct err err;
    struct repository_key key = cheap_key("p");
    w->folder = make_folder();
    must(backend_open_local(w->folder, &w->backend, &err), &err);
    must(repository_init(w->backend, &key, 1, NULL, &err), &err);
    w->fault = (struct fault_backend){.base = {&fault_ops}, .inner = w->backend};
    w->seed = 1;
    *state = w;
    return 0;
}

static inline int teardown(void **state)
{
    struct world *w = *state;
    backend_close(w->backend);
    remove_folder(w->folder);
    free(w);
    return 0;
}

static inline unsigned draw(struct world *w, unsigned n)
{
    uint64_t v;
    fill_splitmix(w->seed++ * 0x9e3779b97f4a7c15u, (uint8_t *)&v, sizeof v);
    return (unsigned)(v % n);
}

/* pack_target 0: the default. */
static inline struct repository *open_at(struct backend *b, uint32_t pack_target)
{
    struct repository *repo;
    struct err err;
    must(repository_open(b, "p", &(struct repository_options){.pack_target = pack_target}, &repo,
                         &err),
         &err);
    return repo;
}

/* Blob number n of the world: always the same bytes, some of which can be compressed. */
static inline struct store_id save_numbered(struct repository *repo, unsigned n, size_t size)
{
    uint8_t *bytes CLEANUP(free_p) = xcalloc(1, size + 8);
    struct store_id id;
    struct err err;
    fill_splitmix(n + 1000, bytes, n % 3 ? size / 8 * 8 : 64);
    must(repository_save_blob(repo, BLOB_DATA, bytes, size, &id, NULL, &err), &err);
    return id;
}

static inline size_t size_of(unsigned n)
{
    return 3000 + n * 7919 % 90000;
}

/* A snapshot of the numbered blobs, one file each, spread over folders. */
static inline struct store_id save_snapshot(struct repository *repo, const unsigned *numbers,
                                            size_t n, int64_t seconds, const char *program)
{
    struct tree_writer *root CLEANUP(tree_writer_free_p) = tree_writer_new();
    static const char *const paths[] = {"/plan"};
    struct snapshot s = {.time = {seconds, 0},
                         .paths = paths,
                         .paths_n = 1,
                         .hostname = "h",
                         .program_version = program};
    struct store_id id;
    struct err err;
    for (size_t i = 0; i < n; i += 8) {
        struct tree_writer *folder CLEANUP(tree_writer_free_p) = tree_writer_new();
        char name[32];
        for (size_t k = i; k < MIN(i + 8, n); k++) {
            struct store_id content = save_numbered(repo, numbers[k], size_of(numbers[k]));
            snprintf(name, sizeof name, "f%06zu", k);
            must(tree_writer_add(folder,
                                 &(struct node){.name = str_of(name),
                                                .type = NODE_FILE,
                                                .mode = 0644,
                                                .size = size_of(numbers[k]),
                                                .content = &content,
                                                .content_n = 1},
                                 &err),
                 &err);
        }
        snprintf(name, sizeof name, "d%06zu", i);
        struct node node = {.name = str_of(name),
                            .type = NODE_DIR,
                            .mode = node_mode_from_posix(040755),
                            .has_subtree = true};
        must(tree_writer_finish(folder, repo, &node.subtree, NULL, &err), &err);
        must(tree_writer_add(root, &node, &err), &err);
    }
    must(tree_writer_finish(root, repo, &s.tree, NULL, &err), &err);
    must(snapshot_save(repo, &s, &id, &err), &err);
    return id;
}

/* A backup by a process of its own. */
static inline struct store_id backup(struct backend *b, uint32_t pack_target,
                                     const unsigned *numbers, size_t n)
{
    struct repository *repo CLEANUP(repository_close_p) = open_at(b, pack_target);
    struct err err;
    must(repository_load_index(repo, &err), &err);
    return save_snapshot(repo, numbers, n, 1700000000, NULL);
}

static inline struct store_id backup_range(struct world *w, unsigned from, unsigned to)
{
    unsigned numbers[1000];
    assert_true(to - from <= ARRAY_LEN(numbers));
    for (unsigned i = from; i < to; i++)
        numbers[i - from] = i;
    return backup(w->backend, 200000, numbers, to - from);
}

/* ---- looking ---- */

static inline size_t files_of(struct world *w, enum backend_type type)
{
    struct store_ids ids = {0};
    struct err err;
    must(backend_list_ids(w->backend, type, true, SIZE_MAX, &ids, &err), &err);
    size_t n = ids.n;
    vec_free(&ids);
    return n;
}

static inline struct store_id first_of(struct world *w, enum backend_type type)
{
    struct store_ids ids = {0};
    struct err err;
    must(backend_list_ids(w->backend, type, true, SIZE_MAX, &ids, &err), &err);
    assert_true(ids.n > 0);
    struct store_id id = ids.p[0];
    vec_free(&ids);
    return id;
}

/* What whoever judges the locks of the dead does. */
static inline void unlock(struct world *w)
{
    struct err err;
    while (files_of(w, BACKEND_LOCK)) {
        struct backend_file file = {BACKEND_LOCK, first_of(w, BACKEND_LOCK)};
        must(backend_remove(w->backend, &file, &err), &err);
    }
}

/* Every snapshot, read back as a new process sees it; how many. */
static inline size_t read_all(struct world *w)
{
    struct repository *repo CLEANUP(repository_close_p) = open_at(w->backend, 0);
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct snapshot_list list;
    size_t unreadable;
    struct err err;
    must(snapshot_list_all(repo, NULL, a, &list, &unreadable, &err), &err);
    assert_int_equal(unreadable, 0);
    must(repository_load_index(repo, &err), &err);
    for (size_t i = 0; i < list.n; i++)
        must(verify_tree(repo, &list.p[i].tree, &(struct verify_options){.read_data = true}, NULL,
                         &err),
             &err);
    return list.n;
}

static inline char *restic(struct world *w, const char *const *words)
{
    const char *path = getenv("TESTS_RESTIC") ? getenv("TESTS_RESTIC") : "/usr/bin/restic";
    const char *argv[24] = {path, "--no-cache", "-r", w->folder};
    static const char *const env[] = {"RESTIC_PASSWORD=p", "TZ=UTC", "HOME=/nonexistent", NULL};
    struct proc_result result;
    struct err err;
    if (access(path, X_OK) != 0)
        fail_msg("this test needs %s", path);
    for (size_t n = 4; *words; n++)
        argv[n] = *words++;
    must(proc_run(&(struct proc_request){.argv = argv, .env = env}, &result, &err), &err);
    if (result.exit_code != 0)
        fail_msg("restic: %s%s", result.output.p, result.errors.p);
    char *out = buf_take(&result.output);
    proc_result_free(&result);
    return out;
}
#define RESTIC(w, ...) restic(w, (const char *const[]){__VA_ARGS__, NULL})

static inline void restic_checks(struct world *w)
{
    char *out CLEANUP(free_p) = RESTIC(w, "check", "--read-data");
    assert_non_null(strstr(out, "no errors were found"));
}

/* ---- pruning ---- */

static inline struct prune_options options(void)
{
    return (struct prune_options){.lock = {.hostname = "c/n/p/u", .cluster = "c", .settle_ms = 1}};
}

static inline int prune_with(struct world *w, const struct prune_options *o,
                             struct prune_result *result, struct err *err)
{
    struct repository *repo CLEANUP(repository_close_p) = open_at(&w->fault.base, 200000);
    return prune_run(repo, o, result, err);
}

static inline struct prune_result prune(struct world *w)
{
    struct prune_options o = options();
    struct prune_result result;
    struct err err;
    must(prune_with(w, &o, &result, &err), &err);
    assert_int_equal(files_of(w, BACKEND_LOCK), 0);
    return result;
}

static inline void prune_fails(struct world *w, enum err_kind kind, const char *words)
{
    struct prune_options o = options();
    struct prune_result result;
    struct err err;
    size_t packs = files_of(w, BACKEND_DATA), index = files_of(w, BACKEND_INDEX);
    assert_int_equal(prune_with(w, &o, &result, &err), -1);
    if (err.kind != kind || !strstr(err.msg, words))
        fail_msg("%s: %s", err_kind_name(err.kind), err.msg);
    assert_int_equal(files_of(w, BACKEND_DATA), packs);
    assert_int_equal(files_of(w, BACKEND_INDEX), index);
}

static inline void forget(struct world *w, const struct store_id *ids, size_t n)
{
    struct repository *repo CLEANUP(repository_close_p) = open_at(w->backend, 0);
    struct lock_options lock = options().lock;
    size_t removed;
    struct err err;
    must(forget_snapshots(repo, &lock, ids, n, &removed, &err), &err);
    assert_int_equal(removed, n);
}

/* One snapshot, of packs of which it uses none, some, or all. */
static inline void leave_parts(struct world *w)
{
    unsigned numbers[16];
    for (unsigned i = 0; i < 6; i++)
        numbers[i] = 20 + i * 5;
    for (unsigned i = 6; i < 16; i++)
        numbers[i] = 60 + i;
    struct store_id gone = backup_range(w, 0, 50);
    backup(w->backend, 200000, numbers, ARRAY_LEN(numbers));
    forget(w, &gone, 1);
}

/* A pack made by hand, and an index file that names it. */
static inline struct store_id save_pack(struct world *w, const unsigned *numbers, size_t n,
                                        bool mixed, bool indexed)
{
    struct repository *repo CLEANUP(repository_close_p) = open_at(w->backend, 0);
    struct pack *pack CLEANUP(pack_free_p) = pack_new(BLOB_DATA, 0, 1 << 20);
    struct buf sealed CLEANUP(buf_free) = {0}, text CLEANUP(buf_free) = {0};
    struct store_id id;
    struct err err;
    for (size_t i = 0; i < n; i++) {
        size_t size = size_of(numbers[i]);
        uint8_t *bytes CLEANUP(free_p) = xcalloc(1, size + 8);
        fill_splitmix(numbers[i] + 1000, bytes, numbers[i] % 3 ? size / 8 * 8 : 64);
        store_id_of(bytes, size, &id);
        buf_reset(&sealed);
        crypto_seal(&repo->key, bytes, size, &sealed);
        pack_add(pack, &id, sealed.p, sealed.n, 0);
    }
    if (mixed) {
        static const char tree[] = "{\"nodes\":[]}\n";
        pack->type = BLOB_TREE;
        store_id_of(tree, sizeof tree - 1, &id);
        buf_reset(&sealed);
        crypto_seal(&repo->key, tree, sizeof tree - 1, &sealed);
        pack_add(pack, &id, sealed.p, sealed.n, 0);
    }
    must(pack_close(pack, &repo->key, &err), &err);
    must(backend_save(w->backend, BACKEND_DATA, pack->bytes.p, pack->bytes.n, &pack->id, &err),
         &err);
    index_text_begin(&text);
    index_text_pack(&text, pack);
    index_text_end(&text);
    if (indexed)
        must(repository_save_file(repo, BACKEND_INDEX, buf_view(&text), &id, &err), &err);
    return pack->id;
}

static inline char *path_of(struct world *w, enum backend_type type, const struct store_id *id)
{
    char hex[STORE_ID_HEX];
    store_id_hex(id, hex);
    return type == BACKEND_DATA ? xasprintf("%s/data/%.2s/%s", w->folder, hex, hex)
                                : xasprintf("%s/%s/%s", w->folder,
                                            type == BACKEND_INDEX ? "index" : "snapshots", hex);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

/* TESTS_ONLY: a pattern of the names of the tests to run. */
#define RUN(tests)                                                                                 \
    (cmocka_set_test_filter(getenv("TESTS_ONLY")), cmocka_run_group_tests(tests, NULL, NULL))

#endif
