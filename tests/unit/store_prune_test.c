/* store: forgetting and pruning, one at a time: what goes, what stays, what makes it refuse. After
 * every prune all snapshots that are left are read back whole; stock restic counts what is to be
 * done, and checks what was done. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "store_prune_support.h"

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

/* ---- others' repositories ---- */

/* Four backups of a file that changes, by stock restic; the last one stays. */
static void restic_history(struct world *w)
{
    char *source CLEANUP(free_p) = xasprintf("%s.source", w->folder);
    char *file CLEANUP(free_p) = xasprintf("%s/f", source);
    assert_int_equal(mkdir(source, 0700), 0);
    for (unsigned i = 0; i < 60; i++) {
        char *small CLEANUP(free_p) = xasprintf("%s/a-file-with-a-long-name-%u", source, i);
        FILE *f = fopen(small, "w");
        assert_non_null(f);
        assert_int_equal(fclose(f), 0);
    }
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
    remove_folder(TAKE(source));
}

static struct prune_result prune_as_restic(struct world *w)
{
    struct repository *repo CLEANUP(repository_close_p) = open_at(w->backend, 0);
    struct prune_options o = options();
    struct prune_result r;
    struct err err;
    must(prune_run(repo, &o, &r, &err), &err);
    return r;
}

static void what_restic_wrote_is_pruned(void **state)
{
    struct world *w = *state;
    restic_history(w);
    same_as_restic(w);
    assert_true(prune_as_restic(w).removed.bytes > 5 << 20);
    assert_int_equal(read_all(w), 1);
    restic_checks(w);
    free(RESTIC(w, "prune"));
    assert_int_equal(read_all(w), 1);
}

static void version_1_is_pruned_and_its_trees_compressed_once_it_is_2(void **state)
{
    struct world *outer = *state;
    struct world w = {.folder = xasprintf("%s/v1", outer->folder)};
    struct err err;
    free(RESTIC(&w, "init", "--repository-version", "1"));
    must(backend_open_local(w.folder, &w.backend, &err), &err);
    restic_history(&w);
    same_as_restic(&w);
    assert_true(prune_as_restic(&w).removed.bytes > 5 << 20);
    assert_int_equal(prune_as_restic(&w).packs_repacked, 0);
    assert_int_equal(read_all(&w), 1);
    restic_checks(&w);
    free(RESTIC(&w, "migrate", "upgrade_repo_v2"));
    struct prune_result said = same_as_restic(&w), r = prune_as_restic(&w);
    assert_int_equal(said.packs_repacked, 1);
    assert_int_equal(r.packs_repacked, 1);
    assert_int_equal(prune_as_restic(&w).packs_repacked, 0);
    same_as_restic(&w);
    assert_int_equal(read_all(&w), 1);
    restic_checks(&w);
    backend_close(w.backend);
    free(w.folder);
}

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
        CASE(what_restic_wrote_is_pruned),
        CASE(version_1_is_pruned_and_its_trees_compressed_once_it_is_2),
    };
    return RUN(tests);
}
