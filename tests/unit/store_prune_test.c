/* store: forgetting and pruning. After every prune all snapshots that are left are read back whole;
 * stock restic counts what is to be done, and checks what was done. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

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

static void must(int r, const struct err *err)
{
    if (r < 0)
        fail_msg("%s", err->msg);
}

static int setup(void **state)
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

static int teardown(void **state)
{
    struct world *w = *state;
    backend_close(w->backend);
    remove_folder(w->folder);
    free(w);
    return 0;
}

static unsigned draw(struct world *w, unsigned n)
{
    uint64_t v;
    fill_splitmix(w->seed++ * 0x9e3779b97f4a7c15u, (uint8_t *)&v, sizeof v);
    return (unsigned)(v % n);
}

/* pack_target 0: the default. */
static struct repository *open_at(struct backend *b, uint32_t pack_target)
{
    struct repository *repo;
    struct err err;
    must(repository_open(b, "p", &(struct repository_options){.pack_target = pack_target}, &repo,
                         &err),
         &err);
    return repo;
}

/* Blob number n of the world: always the same bytes, some of which can be compressed. */
static struct store_id save_numbered(struct repository *repo, unsigned n, size_t size)
{
    uint8_t *bytes CLEANUP(free_p) = xcalloc(1, size + 8);
    struct store_id id;
    struct err err;
    fill_splitmix(n + 1000, bytes, n % 3 ? size / 8 * 8 : 64);
    must(repository_save_blob(repo, BLOB_DATA, bytes, size, &id, NULL, &err), &err);
    return id;
}

static size_t size_of(unsigned n)
{
    return 3000 + n * 7919 % 90000;
}

/* A snapshot of the numbered blobs, one file each, spread over folders. */
static struct store_id save_snapshot(struct repository *repo, const unsigned *numbers, size_t n,
                                     int64_t seconds, const char *program)
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
static struct store_id backup(struct backend *b, uint32_t pack_target, const unsigned *numbers,
                              size_t n)
{
    struct repository *repo CLEANUP(repository_close_p) = open_at(b, pack_target);
    struct err err;
    must(repository_load_index(repo, &err), &err);
    return save_snapshot(repo, numbers, n, 1700000000, NULL);
}

static struct store_id backup_range(struct world *w, unsigned from, unsigned to)
{
    unsigned numbers[1000];
    assert_true(to - from <= ARRAY_LEN(numbers));
    for (unsigned i = from; i < to; i++)
        numbers[i - from] = i;
    return backup(w->backend, 200000, numbers, to - from);
}

/* ---- looking ---- */

static size_t files_of(struct world *w, enum backend_type type)
{
    struct store_ids ids = {0};
    struct err err;
    must(backend_list_ids(w->backend, type, true, SIZE_MAX, &ids, &err), &err);
    size_t n = ids.n;
    vec_free(&ids);
    return n;
}

static struct store_id first_of(struct world *w, enum backend_type type)
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
static void unlock(struct world *w)
{
    struct err err;
    while (files_of(w, BACKEND_LOCK)) {
        struct backend_file file = {BACKEND_LOCK, first_of(w, BACKEND_LOCK)};
        must(backend_remove(w->backend, &file, &err), &err);
    }
}

/* Every snapshot, read back as a new process sees it; how many. */
static size_t read_all(struct world *w)
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

static char restic_path[] = "/usr/bin/restic";

static char *restic(struct world *w, const char *const *words)
{
    const char *argv[24] = {restic_path, "--no-cache", "-r", w->folder};
    static const char *const env[] = {"RESTIC_PASSWORD=p", "TZ=UTC", "HOME=/nonexistent", NULL};
    struct proc_result result;
    struct err err;
    if (access(restic_path, X_OK) != 0)
        fail_msg("this test needs %s", restic_path);
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

static void restic_checks(struct world *w)
{
    char *out CLEANUP(free_p) = RESTIC(w, "check", "--read-data");
    assert_non_null(strstr(out, "no errors were found"));
}

/* ---- pruning ---- */

static struct prune_options options(void)
{
    return (struct prune_options){.lock = {.hostname = "c/n/p/u", .cluster = "c", .settle_ms = 1}};
}

static int prune_with(struct world *w, const struct prune_options *o, struct prune_result *result,
                      struct err *err)
{
    struct repository *repo CLEANUP(repository_close_p) = open_at(&w->fault.base, 200000);
    return prune_run(repo, o, result, err);
}

static struct prune_result prune(struct world *w)
{
    struct prune_options o = options();
    struct prune_result result;
    struct err err;
    must(prune_with(w, &o, &result, &err), &err);
    assert_int_equal(files_of(w, BACKEND_LOCK), 0);
    return result;
}

static void prune_fails(struct world *w, enum err_kind kind, const char *words)
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

static void forget(struct world *w, const struct store_id *ids, size_t n)
{
    struct repository *repo CLEANUP(repository_close_p) = open_at(w->backend, 0);
    struct lock_options lock = options().lock;
    size_t removed;
    struct err err;
    must(forget_snapshots(repo, &lock, ids, n, &removed, &err), &err);
    assert_int_equal(removed, n);
}

/* One snapshot, of packs of which it uses none, some, or all. */
static void leave_parts(struct world *w)
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

/* ---- forget ---- */

static void forgetting_needs_the_repository_for_itself(void **state)
{
    struct world *w = *state;
    struct store_id ids[] = {backup_range(w, 0, 10), backup_range(w, 10, 20)};
    struct repository *repo CLEANUP(repository_close_p) = open_at(w->backend, 0);
    struct lock_options mine = options().lock, other = {.hostname = "else", .settle_ms = 1};
    struct lock *lock;
    size_t removed = 7;
    struct err err;
    must(lock_acquire(repo, &other, &lock, &err), &err);
    assert_int_equal(forget_snapshots(repo, &mine, ids, 2, &removed, &err), -1);
    assert_int_equal(err.kind, ERR_BUSY);
    assert_int_equal(removed, 0);
    assert_int_equal(read_all(w), 2);
    must(lock_release(lock, &err), &err);
    must(forget_snapshots(repo, &mine, ids, 1, &removed, &err), &err);
    assert_int_equal(removed, 1);
    must(forget_snapshots(repo, &mine, ids, 2, &removed, &err), &err); /* one is gone already */
    assert_int_equal(removed, 2);
    must(forget_snapshots(repo, &mine, NULL, 0, NULL, &err), &err);
    assert_int_equal(files_of(w, BACKEND_SNAPSHOT), 0);
    assert_int_equal(files_of(w, BACKEND_LOCK), 0);
}

static void a_failure_says_how_many_are_forgotten(void **state)
{
    struct world *w = *state;
    struct store_id ids[] = {backup_range(w, 0, 10), backup_range(w, 10, 20),
                             backup_range(w, 20, 30)};
    struct repository *repo CLEANUP(repository_close_p) = open_at(&w->fault.base, 0);
    struct lock_options mine = options().lock;
    size_t removed = 7, most = 0;
    struct err err;
    for (int at = 1; files_of(w, BACKEND_SNAPSHOT); at++) {
        size_t before = files_of(w, BACKEND_SNAPSHOT);
        w->fault.calls = 0;
        w->fault.at = at;
        int r = forget_snapshots(repo, &mine, ids, 3, &removed, &err);
        w->fault.at = 0;
        size_t now = files_of(w, BACKEND_SNAPSHOT);
        assert_true(now <= before && (r == 0 || removed <= 3));
        assert_true(3 - now >= removed);
        most = MAX(most, removed);
        unlock(w);
    }
    assert_true(most > 0);
}

/* ---- what restic says ---- */

static uint64_t number_after(const char *text, const char *label, double *ret_bytes)
{
    const char *at = strstr(text, label);
    if (!at)
        return 0;
    char *end;
    uint64_t n = strtoull(at + strlen(label), &end, 10);
    const char *slash = strstr(end, "/ ");
    if (ret_bytes && slash) {
        *ret_bytes = strtod(slash + 2, &end);
        *ret_bytes *= strncmp(end, " GiB", 4) == 0   ? 1 << 30
                      : strncmp(end, " MiB", 4) == 0 ? 1 << 20
                      : strncmp(end, " KiB", 4) == 0 ? 1 << 10
                                                     : 1;
    }
    return n;
}

static void same_count(const char *text, const char *label, const struct prune_count *ours)
{
    double bytes = 0;
    uint64_t blobs = number_after(text, label, &bytes);
    double off =
        bytes > (double)ours->bytes ? bytes - (double)ours->bytes : (double)ours->bytes - bytes;
    if (blobs != ours->blobs || off > (double)ours->bytes / 1000 + 1)
        fail_msg("%s: ours %llu blobs, %llu bytes; restic's %llu, %.0f:\n%s", label,
                 (unsigned long long)ours->blobs, (unsigned long long)ours->bytes,
                 (unsigned long long)blobs, bytes, text);
}

/* restic takes packs of less than a 25th of 16 MiB for small. */
static struct prune_result same_as_restic(struct world *w)
{
    struct repository *repo CLEANUP(repository_close_p) = open_at(w->backend, 0);
    struct prune_options o = options();
    struct prune_result r;
    struct err err;
    o.dry_run = true;
    must(prune_run(repo, &o, &r, &err), &err);
    char *out CLEANUP(free_p) = RESTIC(w, "prune", "--dry-run", "-v");
    same_count(out, "used:", &r.used);
    same_count(out, "duplicates:", &r.duplicate);
    same_count(out, "unused:", &r.unused);
    struct prune_count total = r.removed;
    total.bytes += r.unindexed_bytes;
    same_count(out, "total prune:", &total);
    uint64_t repack = number_after(out, "to repack:", NULL);
    const char *packs = strstr(out, "totally used packs:");
    assert_non_null(packs);
    if (number_after(packs, "to repack:", NULL) != r.packs_repacked ||
        number_after(packs, "to delete:", NULL) != r.packs_removed)
        fail_msg("packs: ours %llu to repack, %llu to delete; restic's (%llu blobs):\n%s",
                 (unsigned long long)r.packs_repacked, (unsigned long long)r.packs_removed,
                 (unsigned long long)repack, out);
    return r;
}

/* Backups of random parts of a pool, in packs big and small; then some are forgotten. */
static void random_history(struct world *w)
{
    struct store_id ids[12];
    size_t n = 4 + draw(w, 8), gone = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned numbers[300], many = 1 + draw(w, i % 3 ? 40 : 250), from = draw(w, 400);
        for (unsigned k = 0; k < many; k++)
            numbers[k] = from + k * (1 + draw(w, 2));
        ids[i] = backup(w->backend, 700000 + draw(w, 600000), numbers, many);
    }
    for (size_t i = 0; i < n; i++)
        if (draw(w, 2))
            ids[gone++] = ids[i];
    forget(w, ids, gone);
}

static void what_is_to_be_done_is_what_restic_says(void **state)
{
    struct world *w = *state;
    const char *seed = getenv("TESTS_SEED");
    w->seed = seed ? strtoull(seed, NULL, 10) : 1;
    random_history(w);
    size_t left = files_of(w, BACKEND_SNAPSHOT);
    struct prune_result said = same_as_restic(w), r;
    struct repository *repo CLEANUP(repository_close_p) = open_at(w->backend, 0);
    struct prune_options o = options();
    struct err err;
    must(prune_run(repo, &o, &r, &err), &err);
    print_message("%llu packs: %llu removed, %llu copied; %llu of %llu bytes gone\n",
                  (unsigned long long)r.packs_before, (unsigned long long)r.packs_removed,
                  (unsigned long long)r.packs_repacked, (unsigned long long)r.removed.bytes,
                  (unsigned long long)(said.used.bytes + said.unused.bytes));
    assert_int_equal(r.removed.bytes, said.removed.bytes);
    assert_int_equal(r.packs_repacked, said.packs_repacked);
    assert_int_equal(read_all(w), left);
    restic_checks(w);
    struct prune_result after = same_as_restic(w);
    assert_int_equal(after.unused.bytes,
                     said.unused.bytes + said.duplicate.bytes - said.removed.bytes);
    assert_int_equal(after.duplicate.blobs, 0);
    assert_int_equal(after.used.blobs, said.used.blobs);
}

/* ---- what goes, and what stays ---- */

static void what_no_snapshot_uses_is_removed(void **state)
{
    struct world *w = *state;
    leave_parts(w);
    struct prune_result r = prune(w);
    uint64_t left = r.unused.bytes - r.removed.bytes;
    assert_true(r.unused.blobs >= 40 && left * 19 < r.used.bytes);
    assert_true(r.packs_removed > 0 && r.packs_repacked > 0);
    assert_int_equal(r.packs_refused, 0);
    assert_int_equal(read_all(w), 1);
    restic_checks(w);
    struct prune_result again = prune(w);
    assert_int_equal(again.unused.bytes, left);
    assert_int_equal(again.exclusive_ms, 0); /* nothing to do: nobody is kept waiting */
    assert_int_equal(again.packs_before, files_of(w, BACKEND_DATA));
}

static void an_emptied_repository_is_empty(void **state)
{
    struct world *w = *state;
    struct store_id gone = backup_range(w, 0, 50);
    forget(w, &gone, 1);
    prune(w);
    assert_int_equal(files_of(w, BACKEND_DATA), 0);
    assert_int_equal(files_of(w, BACKEND_INDEX), 0);
    restic_checks(w);
}

static void a_dry_run_changes_nothing(void **state)
{
    struct world *w = *state;
    leave_parts(w);
    size_t packs = files_of(w, BACKEND_DATA), index = files_of(w, BACKEND_INDEX);
    struct prune_options o = options();
    struct prune_result r;
    struct err err;
    o.dry_run = true;
    must(prune_with(w, &o, &r, &err), &err);
    assert_true(r.removed.blobs >= 40);
    assert_int_equal(files_of(w, BACKEND_DATA), packs);
    assert_int_equal(files_of(w, BACKEND_INDEX), index);
    assert_int_equal(files_of(w, BACKEND_LOCK), 0);
    struct repository *repo CLEANUP(repository_close_p) = NULL;
    must(repository_open(w->backend, "p", &(struct repository_options){.read_only = true}, &repo,
                         &err),
         &err);
    must(prune_run(repo, &o, &r, &err), &err);
    o.dry_run = false;
    assert_int_equal(prune_run(repo, &o, &r, &err), -1);
    assert_int_equal(err.kind, ERR_REFUSED);
}

static void append_only_is_obeyed(void **state)
{
    struct world *w = *state;
    struct store_id id = backup_range(w, 0, 50);
    struct repository *repo CLEANUP(repository_close_p) = open_at(w->backend, 0);
    struct prune_options o = options();
    struct prune_result r;
    struct err err;
    repo->config.append_only = true;
    assert_int_equal(prune_run(repo, &o, &r, &err), -1);
    assert_int_equal(err.kind, ERR_REFUSED);
    assert_int_equal(forget_snapshots(repo, &o.lock, &id, 1, NULL, &err), -1);
    assert_int_equal(err.kind, ERR_REFUSED);
    assert_int_equal(read_all(w), 1);
}

static void max_unused_bounds_what_is_copied(void **state)
{
    struct world *w = *state;
    unsigned all[120], half[60];
    for (unsigned i = 0; i < 120; i++)
        all[i] = i;
    for (unsigned i = 0; i < 60; i++)
        half[i] = i * 2;
    struct store_id gone = backup(w->backend, 200000, all, 120);
    backup(w->backend, 200000, half, 60);
    forget(w, &gone, 1);
    struct prune_options o = options();
    struct prune_result any, part, none;
    struct err err;
    o.dry_run = true;
    o.max_unused = PRUNE_UNUSED_ANY;
    must(prune_with(w, &o, &any, &err), &err);
    o.max_unused = 300;
    must(prune_with(w, &o, &part, &err), &err);
    o.max_unused = PRUNE_UNUSED_NONE;
    must(prune_with(w, &o, &none, &err), &err);
    assert_true(any.packs_repacked < part.packs_repacked);
    assert_true(part.packs_repacked < none.packs_repacked);
    uint64_t left = part.unused.bytes - part.removed.bytes;
    assert_true(left * 1000 < 300 * (left + part.used.bytes));
    assert_int_equal(none.removed.blobs, none.unused.blobs);
    o.max_repack = 700000;
    must(prune_with(w, &o, &part, &err), &err);
    assert_true(part.packs_repacked > 0 && part.packs_repacked < none.packs_repacked);
    assert_true(part.repacked.bytes < 700000);
    o.max_unused = 1000;
    assert_int_equal(prune_with(w, &o, &part, &err), -1);
    assert_int_equal(err.kind, ERR_INVALID);
}

static void small_packs_and_small_index_files_are_merged(void **state)
{
    struct world *w = *state;
    for (unsigned i = 0; i < 4; i++)
        backup(w->backend, 0, (unsigned[]){i * 3 + 1}, 1); /* one data and one tree pack each */
    size_t packs = files_of(w, BACKEND_DATA);
    struct repository *repo CLEANUP(repository_close_p) = open_at(w->backend, 0);
    struct prune_options o = options();
    struct prune_result r;
    struct err err;
    must(prune_run(repo, &o, &r, &err), &err);
    assert_int_equal(r.packs_repacked, 0); /* 8 are too few */
    assert_int_equal(files_of(w, BACKEND_DATA), packs);
    for (unsigned i = 4; i < 12; i++)
        backup(w->backend, 0, (unsigned[]){i * 3 + 1}, 1);
    must(prune_run(repo, &o, &r, &err), &err);
    assert_int_equal(r.packs_repacked, 24);
    assert_int_equal(files_of(w, BACKEND_DATA), 2);
    assert_int_equal(files_of(w, BACKEND_INDEX), 1);
    assert_int_equal(read_all(w), 12);
    restic_checks(w);
}

/* A pack made by hand, and an index file that names it. */
static struct store_id save_pack(struct world *w, const unsigned *numbers, size_t n, bool mixed,
                                 bool indexed)
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

static void of_duplicates_one_copy_stays(void **state)
{
    struct world *w = *state;
    unsigned numbers[20];
    for (unsigned i = 0; i < 20; i++)
        numbers[i] = i;
    save_pack(w, numbers, 20, false, true);
    save_pack(w, numbers, 20, false, true);
    save_pack(w, numbers, 7, false, true);
    backup(w->backend, 0, numbers, 20); /* stores no data of its own */
    struct prune_result r = prune(w);
    assert_int_equal(r.duplicate.blobs, 27);
    assert_int_equal(r.packs_removed, 2);
    assert_int_equal(r.packs_repacked, 0);
    assert_int_equal(read_all(w), 1);
    restic_checks(w);
    assert_int_equal(prune(w).duplicate.blobs, 0);
}

static void mixed_packs_are_taken_apart(void **state)
{
    struct world *w = *state;
    unsigned numbers[] = {1, 2, 3};
    save_pack(w, numbers, 3, true, true);
    struct repository *repo CLEANUP(repository_close_p) = open_at(w->backend, 0);
    struct err err;
    must(repository_load_index(repo, &err), &err);
    struct tree_writer *empty CLEANUP(tree_writer_free_p) = tree_writer_new();
    struct store_id tree, id;
    must(tree_writer_finish(empty, repo, &tree, NULL, &err), &err);
    must(save_test_snapshot(repo, &tree, "t", &id, &err), &err);
    save_snapshot(repo, numbers, 3, 1700000000, NULL);
    struct prune_result r = prune(w);
    assert_int_equal(r.packs_repacked, 1);
    assert_int_equal(r.repacked.blobs, 4);
    assert_int_equal(read_all(w), 2);
    char *out CLEANUP(free_p) = RESTIC(w, "check", "--read-data");
    assert_null(strstr(out, "mixed"));
    assert_int_equal(prune(w).packs_repacked, 0);
}

/* ---- what makes it refuse ---- */

static char *path_of(struct world *w, enum backend_type type, const struct store_id *id)
{
    char hex[STORE_ID_HEX];
    store_id_hex(id, hex);
    return type == BACKEND_DATA ? xasprintf("%s/data/%.2s/%s", w->folder, hex, hex)
                                : xasprintf("%s/%s/%s", w->folder,
                                            type == BACKEND_INDEX ? "index" : "snapshots", hex);
}

static void an_unreadable_snapshot_keeps_everything(void **state)
{
    struct world *w = *state;
    struct store_id gone = backup_range(w, 0, 50), hurt = backup_range(w, 50, 60);
    forget(w, &gone, 1);
    char *path CLEANUP(free_p) = path_of(w, BACKEND_SNAPSHOT, &hurt);
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(truncate(path, 40), 0);
    prune_fails(w, ERR_CORRUPT, "cannot be read");
    assert_int_equal(truncate(path, 0), 0);
    prune_fails(w, ERR_CORRUPT, "cannot be read");
}

static void a_missing_blob_keeps_everything(void **state)
{
    struct world *w = *state;
    struct store_id gone = backup_range(w, 0, 50);
    struct store_id index = first_of(w, BACKEND_INDEX);
    struct err err;
    backup_range(w, 40, 60);
    forget(w, &gone, 1);
    must(backend_remove(w->backend, &(struct backend_file){BACKEND_INDEX, index}, &err), &err);
    prune_fails(w, ERR_CORRUPT, "is in no index");
}

static void a_needed_pack_that_is_missing_or_cut_keeps_everything(void **state)
{
    struct world *w = *state;
    unsigned numbers[] = {1, 2, 3};
    struct store_id gone = backup_range(w, 100, 150), pack = save_pack(w, numbers, 3, false, true);
    backup(w->backend, 0, numbers, 3);
    forget(w, &gone, 1);
    char *path CLEANUP(free_p) = path_of(w, BACKEND_DATA, &pack), *aside CLEANUP(free_p) = NULL;
    aside = xasprintf("%s/aside", w->folder);
    assert_int_equal(rename(path, aside), 0);
    prune_fails(w, ERR_CORRUPT, "is missing");
    assert_int_equal(rename(aside, path), 0);
    assert_int_equal(chmod(path, 0600), 0);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(truncate(path, st.st_size + 1), 0);
    prune_fails(w, ERR_CORRUPT, "another size");
    assert_int_equal(truncate(path, st.st_size), 0);
    prune(w);
    assert_int_equal(read_all(w), 1);
}

static void what_is_missing_and_not_needed_leaves_the_index(void **state)
{
    struct world *w = *state;
    struct err err;
    struct store_id pack = save_pack(w, (unsigned[]){1, 2, 3}, 3, false, true);
    must(backend_remove(w->backend, &(struct backend_file){BACKEND_DATA, pack}, &err), &err);
    backup_range(w, 1, 4); /* thinks that it is there */
    prune_fails(w, ERR_CORRUPT, "is missing");
    save_pack(w, (unsigned[]){3, 2, 1}, 3, false, true);
    struct prune_result r = prune(w);
    assert_int_equal(r.packs_removed, 1);
    assert_int_equal(read_all(w), 1);
    restic_checks(w);
}

static void rustic_is_given_time(void **state)
{
    struct world *w = *state;
    struct store_id gone = backup_range(w, 0, 50), id;
    struct err err;
    forget(w, &gone, 1);
    {
        struct repository *repo CLEANUP(repository_close_p) = open_at(w->backend, 0);
        must(repository_load_index(repo, &err), &err);
        id =
            save_snapshot(repo, (unsigned[]){1}, 1, clock_wall_ms() / 1000 - 3600, "rustic 0.11.4");
        prune_fails(w, ERR_REFUSED, "rustic wrote here");
        forget(w, &id, 1);
        save_snapshot(repo, (unsigned[]){1}, 1, clock_wall_ms() / 1000 - 90000, "rustic 0.11.4");
        static const char marked[] =
            "{\"packs\":[],\"packs_to_delete\":[{\"id\":\"1111111111111111111111111111111111111111"
            "111111111111111111111111\",\"time\":\"2024-01-01T00:00:00Z\",\"blobs\":[]}]}";
        must(repository_save_file(repo, BACKEND_INDEX, str_of(marked), &id, &err), &err);
    }
    prune_fails(w, ERR_REFUSED, "marked packs");
    must(backend_remove(w->backend, &(struct backend_file){BACKEND_INDEX, id}, &err), &err);
    assert_true(prune(w).packs_removed > 0);
    assert_int_equal(read_all(w), 1);
}

/* ---- packs that no index names ---- */

static void unindexed_packs_go_if_nobody_else_was_there(void **state)
{
    struct world *w = *state;
    backup_range(w, 0, 20);
    save_pack(w, (unsigned[]){30, 31}, 2, false, false);
    size_t packs = files_of(w, BACKEND_DATA);
    struct repository *repo CLEANUP(repository_close_p) = open_at(w->backend, 0);
    struct lock_options other = {.hostname = "a backup", .settle_ms = 1};
    struct lock *lock;
    struct err err;
    must(lock_acquire(repo, &other, &lock, &err), &err);
    struct prune_options o = options();
    struct prune_result r;
    must(prune_with(w, &o, &r, &err), &err); /* nothing to do: the packs may be the other's */
    assert_int_equal(r.packs_unindexed, 0);
    assert_int_equal(files_of(w, BACKEND_DATA), packs);
    must(lock_release(lock, &err), &err);
    r = prune(w);
    assert_int_equal(r.packs_unindexed, 1);
    assert_true(r.unindexed_bytes > 0);
    assert_int_equal(files_of(w, BACKEND_DATA), packs - 1);
    restic_checks(w);
}

/* ---- while somebody else works ---- */

struct meanwhile {
    struct world *w;
    enum prune_phase phase; /* at the first word of this phase */
    uint64_t done;          /* and from this count on */
    void (*act)(struct world *w);
    bool acted;
};

static int act_once(void *ctx, enum prune_phase phase, uint64_t done, uint64_t total,
                    struct err *err)
{
    struct meanwhile *m = ctx;
    (void)total, (void)err;
    if (phase == m->phase && done >= m->done && !m->acted) {
        m->acted = true;
        m->act(m->w);
    }
    return 0;
}

static int prune_while(struct world *w, enum prune_phase phase, uint64_t done,
                       void (*act)(struct world *w), struct prune_result *result, struct err *err)
{
    struct meanwhile m = {w, phase, done, act, false};
    struct prune_options o = options();
    o.progress = act_once;
    o.ctx = &m;
    int r = prune_with(w, &o, result, err);
    assert_true(m.acted);
    return r;
}

static void use_what_was_unused(struct world *w)
{
    backup_range(w, 10, 20);
}

static void a_backup_of_the_meantime_spares_what_it_uses(void **state)
{
    struct world *w = *state;
    struct prune_result r;
    struct err err;
    leave_parts(w);
    must(prune_while(w, PRUNE_WALK, 1, use_what_was_unused, &r, &err), &err);
    assert_true(r.spared > 0);
    assert_true(r.packs_removed > 0);
    assert_int_equal(read_all(w), 2);
    restic_checks(w);
    assert_true(prune(w).removed.blobs < 50);
    assert_int_equal(read_all(w), 2);
}

static void a_backup_while_packs_are_deleted_stores_anew(void **state)
{
    struct world *w = *state;
    struct prune_result r;
    struct err err;
    leave_parts(w);
    must(prune_while(w, PRUNE_LOCKED, 1, use_what_was_unused, &r, &err), &err);
    assert_int_equal(r.spared, 0);
    assert_int_equal(read_all(w), 2);
    restic_checks(w);
}

static struct lock *other_lock;
static struct repository *other_repo;

static void lock_shared(struct world *w)
{
    struct err err;
    other_repo = open_at(w->backend, 0);
    must(lock_acquire(other_repo, &(struct lock_options){.hostname = "else", .settle_ms = 1},
                      &other_lock, &err),
         &err);
}

static void unlock_shared(void)
{
    struct err err;
    must(lock_release(other_lock, &err), &err);
    repository_close(other_repo);
}

static void a_running_backup_makes_it_wait_and_the_copies_serve(void **state)
{
    struct world *w = *state;
    struct prune_result r;
    struct err err;
    leave_parts(w);
    size_t packs = files_of(w, BACKEND_DATA);
    assert_int_equal(prune_while(w, PRUNE_COPY, 1, lock_shared, &r, &err), -1);
    assert_int_equal(err.kind, ERR_BUSY);
    size_t copied = files_of(w, BACKEND_DATA) - packs;
    assert_true(copied > 0);
    assert_int_equal(read_all(w), 1);
    unlock_shared();
    restic_checks(w);
    r = prune(w);
    assert_int_equal(r.packs_repacked, 0);
    assert_true(r.duplicate.blobs > 0);
    assert_true(r.packs_removed > 0);
    assert_int_equal(read_all(w), 1);
    restic_checks(w);
}

/* As any other prune does: the same index in other files. */
static void replace_the_index(struct world *w)
{
    struct repository *repo CLEANUP(repository_close_p) = open_at(w->backend, 0);
    struct store_id old = first_of(w, BACKEND_INDEX), id;
    struct buf text CLEANUP(buf_free) = {0};
    struct err err;
    must(repository_load_file(repo, BACKEND_INDEX, &old, &text, &err), &err);
    must(repository_save_file(repo, BACKEND_INDEX, buf_view(&text), &id, &err), &err);
    must(backend_remove(w->backend, &(struct backend_file){BACKEND_INDEX, old}, &err), &err);
}

static void another_prune_of_the_meantime_ends_this_one(void **state)
{
    struct world *w = *state;
    struct prune_result r;
    struct err err;
    struct store_id gone = backup_range(w, 0, 50);
    backup_range(w, 60, 80);
    forget(w, &gone, 1);
    size_t packs = files_of(w, BACKEND_DATA);
    assert_int_equal(prune_while(w, PRUNE_WALK, 1, replace_the_index, &r, &err), -1);
    assert_int_equal(err.kind, ERR_CONFLICT);
    assert_int_equal(files_of(w, BACKEND_DATA), packs);
    prune(w);
    assert_int_equal(read_all(w), 1);
}

/* As restic repair index: the files of packs become an index again. */
static void index_what_goes(struct world *w)
{
    struct repository *repo CLEANUP(repository_close_p) = open_at(w->backend, 0);
    struct store_ids ids = {0};
    struct buf text CLEANUP(buf_free) = {0};
    struct err err;
    must(backend_list_ids(w->backend, BACKEND_DATA, true, SIZE_MAX, &ids, &err), &err);
    index_text_begin(&text);
    for (size_t i = 0; i < ids.n; i++) {
        struct buf file CLEANUP(buf_free) = {0};
        struct pack pack = {.id = ids.p[i]};
        must(backend_load_all(w->backend, &(struct backend_file){BACKEND_DATA, ids.p[i]}, SIZE_MAX,
                              &file, &err),
             &err);
        must(pack_read_header(&repo->key, buf_view(&file), &pack.blobs, &err), &err);
        index_text_pack(&text, &pack);
        vec_free(&pack.blobs);
    }
    index_text_end(&text);
    struct store_id id;
    must(repository_save_file(repo, BACKEND_INDEX, buf_view(&text), &id, &err), &err);
    vec_free(&ids);
}

/* The last word of the exclusive phase is the first of PRUNE_LOCKED: too early. So the index is
 * made after the old one was removed, at the list of locks before packs are deleted. */
static int list_and_repair(struct backend *b, enum backend_type type, backend_list_fn *fn,
                           void *ctx, struct err *err)
{
    struct fault_backend *f = fault_of(b);
    if (type == BACKEND_LOCK && f->hit && f->calls >= 0) {
        struct world w = {.backend = f->inner};
        f->hit = false;
        index_what_goes(&w);
    }
    return backend_list(f->inner, type, fn, ctx, err);
}

static int remove_and_note(struct backend *b, const struct backend_file *file, struct err *err)
{
    if (file->type == BACKEND_INDEX)
        fault_of(b)->hit = true;
    return fault_remove(b, file, err);
}

static void what_is_indexed_again_before_it_is_deleted_stays(void **state)
{
    struct world *w = *state;
    struct store_id gone = backup_range(w, 0, 50);
    backup_range(w, 60, 80);
    forget(w, &gone, 1);
    struct backend_ops ops = fault_ops;
    ops.list = list_and_repair;
    ops.remove = remove_and_note;
    w->fault.base.ops = &ops;
    size_t packs = files_of(w, BACKEND_DATA);
    struct prune_options o = options();
    struct prune_result r;
    struct err err;
    must(prune_with(w, &o, &r, &err), &err);
    assert_false(w->fault.hit);
    assert_int_equal(files_of(w, BACKEND_DATA), packs);
    w->fault.base.ops = &fault_ops;
    restic_checks(w);
    prune(w);
    assert_true(files_of(w, BACKEND_DATA) < packs);
    assert_int_equal(read_all(w), 1);
    restic_checks(w);
}

/* ---- a store that refuses, fails, or lies ---- */

static int refuse_data(struct backend *b, const struct backend_file *file, struct err *err)
{
    if (file->type == BACKEND_DATA)
        return err_set(err, ERR_FORBIDDEN, "object lock");
    return fault_remove(b, file, err);
}

static void packs_that_may_not_be_deleted_are_left_to_the_next_run(void **state)
{
    struct world *w = *state;
    struct store_id gone = backup_range(w, 0, 50);
    backup_range(w, 60, 80);
    forget(w, &gone, 1);
    struct backend_ops ops = fault_ops;
    ops.remove = refuse_data;
    w->fault.base.ops = &ops;
    size_t packs = files_of(w, BACKEND_DATA);
    struct prune_result r = prune(w);
    assert_true(r.packs_removed > 0);
    assert_int_equal(r.packs_refused, r.packs_removed);
    assert_int_equal(r.refusal.kind, ERR_FORBIDDEN);
    assert_int_equal(files_of(w, BACKEND_DATA), packs);
    assert_int_equal(read_all(w), 1);
    restic_checks(w);
    w->fault.base.ops = &fault_ops;
    struct prune_result next = prune(w);
    assert_int_equal(next.packs_unindexed, r.packs_removed);
    assert_int_equal(files_of(w, BACKEND_DATA), packs - r.packs_removed);
}

static int refuse_index(struct backend *b, const struct backend_file *file, struct err *err)
{
    if (file->type == BACKEND_INDEX)
        return err_set(err, ERR_FORBIDDEN, "object lock");
    return fault_remove(b, file, err);
}

static void an_index_file_that_stays_keeps_its_packs(void **state)
{
    struct world *w = *state;
    leave_parts(w);
    struct backend_ops ops = fault_ops;
    ops.remove = refuse_index;
    w->fault.base.ops = &ops;
    struct prune_options o = options();
    struct prune_result r;
    struct err err;
    size_t packs = files_of(w, BACKEND_DATA);
    assert_int_equal(prune_with(w, &o, &r, &err), -1);
    assert_int_equal(err.kind, ERR_FORBIDDEN);
    assert_true(files_of(w, BACKEND_DATA) >= packs);
    assert_int_equal(files_of(w, BACKEND_LOCK), 0);
    restic_checks(w);
    w->fault.base.ops = &fault_ops;
    prune(w);
    assert_int_equal(read_all(w), 1);
    restic_checks(w);
    char *out CLEANUP(free_p) = RESTIC(w, "check");
    assert_null(strstr(out, "several indexes"));
}

/* The nth list of a type gives nothing. */
static struct {
    enum backend_type type;
    int at, calls;
} blind;

static int list_blindly(struct backend *b, enum backend_type type, backend_list_fn *fn, void *ctx,
                        struct err *err)
{
    if (type == blind.type && ++blind.calls == blind.at)
        return 0;
    return fault_list(b, type, fn, ctx, err);
}

static void a_list_that_gives_nothing_loses_nothing(void **state)
{
    struct world *w = *state;
    leave_parts(w);
    struct backend_ops ops = fault_ops;
    ops.list = list_blindly;
    w->fault.base.ops = &ops;
    static const enum backend_type types[] = {BACKEND_SNAPSHOT, BACKEND_INDEX, BACKEND_DATA};
    int tried = 0;
    for (size_t t = 0; t < ARRAY_LEN(types); t++)
        for (int at = 1;; at++) {
            struct prune_options o = options();
            struct prune_result r;
            struct err err = {0};
            blind.type = types[t], blind.at = at, blind.calls = 0;
            int done = prune_with(w, &o, &r, &err);
            assert_int_equal(read_all(w), 1);
            if (blind.calls < at)
                break;
            tried++;
            if (done < 0 && err.kind != ERR_CORRUPT && err.kind != ERR_CONFLICT)
                fail_msg("%s", err.msg);
            struct store_id more =
                backup_range(w, 100 + (unsigned)tried * 20, 145 + (unsigned)tried * 20);
            forget(w, &more, 1);
        }
    assert_true(tried >= 8);
    w->fault.base.ops = &fault_ops;
    prune(w);
    assert_int_equal(read_all(w), 1);
    restic_checks(w);
}

static void use_more_and_blind(struct world *w)
{
    use_what_was_unused(w);
    blind.type = BACKEND_SNAPSHOT, blind.at = 1, blind.calls = 0;
}

static void a_blind_second_list_does_not_hide_a_backup(void **state)
{
    struct world *w = *state;
    struct prune_result r;
    struct err err;
    leave_parts(w);
    struct backend_ops ops = fault_ops;
    ops.list = list_blindly;
    blind.at = 0;
    w->fault.base.ops = &ops;
    must(prune_while(w, PRUNE_WALK, 1, use_more_and_blind, &r, &err), &err);
    assert_true(blind.calls >= 2);
    assert_true(r.spared > 0);
    w->fault.base.ops = &fault_ops;
    assert_int_equal(read_all(w), 2);
    restic_checks(w);
}

static void a_damaged_copy_is_made_good_by_another(void **state)
{
    struct world *w = *state;
    unsigned numbers[] = {1, 2, 3, 4, 5, 6, 7, 8};
    struct store_id big = save_pack(w, numbers, 8, true, true); /* mixed: is copied */
    save_pack(w, numbers, 4, true, true);
    backup(w->backend, 0, numbers, 4);
    char *path CLEANUP(free_p) = path_of(w, BACKEND_DATA, &big);
    assert_int_equal(chmod(path, 0600), 0);
    FILE *f = fopen(path, "r+");
    assert_non_null(f);
    assert_int_equal(fseek(f, 100, SEEK_SET), 0);
    assert_int_equal(fputc('x', f), 'x');
    assert_int_equal(fclose(f), 0);
    prune(w);
    assert_int_equal(read_all(w), 1);
    restic_checks(w);
}

static void killed_anywhere_it_leaves_all_and_goes_on(void **state)
{
    struct world *w = *state;
    int points = 0;
    backup(w->backend, 200000, (unsigned[]){1, 26, 31, 36, 41, 46}, 6);
    for (int at = 1;; at++) {
        struct store_id gone = backup_range(w, 25, 70 + (unsigned)at % 7);
        forget(w, &gone, 1);
        struct prune_options o = options();
        struct prune_result r;
        struct err err = {0};
        struct repository *repo = open_at(&w->fault.base, 200000);
        w->fault.calls = 0;
        w->fault.hit = false;
        w->fault.at = at;
        w->fault.dead_after = true;
        w->fault.fault = at % 2 ? FAULT_BEFORE : FAULT_AFTER;
        int done = prune_run(repo, &o, &r, &err);
        assert_true(done == 0 || err.kind != ERR_NONE);
        repository_close(repo);
        w->fault.at = 0;
        assert_int_equal(read_all(w), 1);
        unlock(w);
        if (at % 16 == 0)
            restic_checks(w);
        if (!w->fault.hit)
            break;
        points++;
        if (at % 3 == 0)
            continue; /* the next one meets what two dead ones left */
        prune(w);
        assert_int_equal(read_all(w), 1);
    }
    print_message("%d points\n", points);
    assert_true(points > 30);
    struct prune_result last = prune(w);
    assert_int_equal(last.packs_refused, 0);
    assert_int_equal(prune(w).unused.blobs, 0);
    restic_checks(w);
    char *out CLEANUP(free_p) = RESTIC(w, "check");
    assert_null(strstr(out, "not referenced"));
    assert_null(strstr(out, "several indexes"));
}

static int give_up(void *ctx, enum prune_phase phase, uint64_t done, uint64_t total,
                   struct err *err)
{
    (void)done, (void)total;
    return phase == *(enum prune_phase *)ctx ? err_set(err, ERR_CANCELLED, "enough") : 0;
}

static void it_can_be_ended_in_every_phase(void **state)
{
    struct world *w = *state;
    leave_parts(w);
    for (enum prune_phase phase = PRUNE_WALK; phase <= PRUNE_LOCKED; phase++) {
        struct prune_options o = options();
        struct prune_result r;
        struct err err;
        o.progress = give_up;
        o.ctx = &phase;
        assert_int_equal(prune_with(w, &o, &r, &err), -1);
        assert_int_equal(err.kind, ERR_CANCELLED);
        assert_int_equal(files_of(w, BACKEND_LOCK), 0);
        assert_int_equal(read_all(w), 1);
        restic_checks(w);
    }
    prune(w);
    assert_int_equal(read_all(w), 1);
}

/* ---- others' repositories ---- */

static void what_restic_wrote_is_pruned(void **state)
{
    struct world *w = *state;
    char *source CLEANUP(free_p) = xasprintf("%s.source", w->folder);
    char *file CLEANUP(free_p) = xasprintf("%s/f", source);
    assert_int_equal(mkdir(source, 0700), 0);
    for (unsigned i = 0; i < 4; i++) {
        uint8_t *bytes CLEANUP(free_p) = xmalloc(3 << 20);
        FILE *f = fopen(file, i % 2 ? "a" : "w");
        assert_non_null(f);
        fill_splitmix(i, bytes, 3 << 20);
        assert_int_equal(fwrite(bytes, 1, 3 << 20, f), 3 << 20);
        assert_int_equal(fclose(f), 0);
        free(RESTIC(w, "backup", source));
    }
    free(RESTIC(w, "forget", "--keep-last", "1"));
    same_as_restic(w);
    struct repository *repo CLEANUP(repository_close_p) = open_at(w->backend, 0);
    struct prune_options o = options();
    struct prune_result r;
    struct err err;
    must(prune_run(repo, &o, &r, &err), &err);
    assert_true(r.removed.bytes > 5 << 20);
    assert_int_equal(read_all(w), 1);
    restic_checks(w);
    free(RESTIC(w, "prune"));
    assert_int_equal(read_all(w), 1);
    remove_folder(TAKE(source));
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(forgetting_needs_the_repository_for_itself),
        CASE(a_failure_says_how_many_are_forgotten),
        CASE(what_is_to_be_done_is_what_restic_says),
        CASE(what_no_snapshot_uses_is_removed),
        CASE(an_emptied_repository_is_empty),
        CASE(a_dry_run_changes_nothing),
        CASE(append_only_is_obeyed),
        CASE(max_unused_bounds_what_is_copied),
        CASE(small_packs_and_small_index_files_are_merged),
        CASE(of_duplicates_one_copy_stays),
        CASE(mixed_packs_are_taken_apart),
        CASE(an_unreadable_snapshot_keeps_everything),
        CASE(a_missing_blob_keeps_everything),
        CASE(a_needed_pack_that_is_missing_or_cut_keeps_everything),
        CASE(what_is_missing_and_not_needed_leaves_the_index),
        CASE(rustic_is_given_time),
        CASE(unindexed_packs_go_if_nobody_else_was_there),
        CASE(a_backup_of_the_meantime_spares_what_it_uses),
        CASE(a_backup_while_packs_are_deleted_stores_anew),
        CASE(a_running_backup_makes_it_wait_and_the_copies_serve),
        CASE(another_prune_of_the_meantime_ends_this_one),
        CASE(what_is_indexed_again_before_it_is_deleted_stays),
        CASE(packs_that_may_not_be_deleted_are_left_to_the_next_run),
        CASE(an_index_file_that_stays_keeps_its_packs),
        CASE(a_list_that_gives_nothing_loses_nothing),
        CASE(a_blind_second_list_does_not_hide_a_backup),
        CASE(a_damaged_copy_is_made_good_by_another),
        CASE(killed_anywhere_it_leaves_all_and_goes_on),
        CASE(it_can_be_ended_in_every_phase),
        CASE(what_restic_wrote_is_pruned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
