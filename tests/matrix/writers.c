#include "writers.h"

#include "store_support.h"

#include "store/synthetic.h"
#include "store/verify.h"

int make_repository(struct backend *b, struct err *err)
{
    struct repository_key keys[] = {cheap_key("first"), cheap_key("second")};
    return repository_init(b, keys, 2, NULL, err);
}

static int add_files(struct synthetic *s, const char *tag, struct err *err)
{
    for (int i = 0; i < 6; i++) {
        char path[64];
        uint8_t text[FILE_SIZE];
        uint64_t seed = i % 2 ? 0 : (uint64_t)(unsigned char)tag[0] * 1000;
        snprintf(path, sizeof path, "/data/%d", i);
        fill_splitmix(seed + (uint64_t)i, text, sizeof text);
        if (synthetic_add(s, path, text, sizeof text, 1, err) < 0)
            return -1;
    }
    return 0;
}

/* As the controller and the gateway confirm the lock. */
static int confirm(void *ctx, struct err *err)
{
    struct lock **lock = ctx;
    return lock_confirm(*lock, err);
}

int write_backup(struct backend *b, const struct lock_options *options, const char *tag,
                 struct store_id *ret_id, struct err *err)
{
    struct repository *repo CLEANUP(repository_close_p) = NULL;
    struct lock *lock = NULL;
    struct repository_options o = {.pack_target = PACK_TARGET,
                                   .before_index = confirm,
                                   .before_snapshot = confirm,
                                   .ctx = &lock};
    struct store_id volume, tree;
    if (repository_open(b, "second", &o, &repo, err) < 0 || lock_sweep(repo, options, err) < 0 ||
        lock_acquire(repo, options, &lock, err) < 0)
        return -1;
    int r = repository_load_index(repo, err);
    struct synthetic *s CLEANUP(synthetic_free_p) = synthetic_new(repo, 1);
    r = r < 0 ? r : add_files(s, tag, err);
    r = r < 0 ? r : synthetic_finish(s, &volume, err);
    r = r < 0 ? r : repository_flush(repo, err);
    r = r < 0 ? r : lock_refresh(lock, err);
    r = r < 0 ? r : synthetic_graft(s, "/volumes/data", &volume, NULL, err);
    r = r < 0 ? r : synthetic_finish(s, &tree, err);
    r = r < 0 ? r : save_test_snapshot(repo, &tree, tag, ret_id, err);
    r = r < 0 ? r : verify_read_back(repo, ret_id, NULL, NULL, err);
    struct err ignored;
    int released = lock_release(lock, r < 0 ? &ignored : err);
    return r < 0 ? r : released;
}

int write_forget(struct backend *b, const struct lock_options *lock, const struct store_id *ids,
                 size_t n, struct err *err)
{
    struct repository *repo CLEANUP(repository_close_p) = NULL;
    size_t removed;
    if (repository_open(b, "second", NULL, &repo, err) < 0 || lock_sweep(repo, lock, err) < 0)
        return -1;
    return forget_snapshots(repo, lock, ids, n, &removed, err);
}

int write_prune(struct backend *b, const struct lock_options *lock, bool dry,
                struct prune_result *ret_result, struct err *err)
{
    struct repository *repo CLEANUP(repository_close_p) = NULL;
    struct repository_options options = {.pack_target = PACK_TARGET};
    struct prune_options o = {.lock = *lock, .max_unused = PRUNE_UNUSED_NONE, .dry_run = dry};
    if (repository_open(b, "second", &options, &repo, err) < 0 || lock_sweep(repo, lock, err) < 0)
        return -1;
    return prune_run(repo, &o, ret_result, err);
}

static int write_two(struct repository *repo, struct err *err)
{
    static const uint64_t seeds[] = {1, 7}; /* of a file that all backups have, and of nobody */
    for (size_t i = 0; i < ARRAY_LEN(seeds); i++) {
        uint8_t text[FILE_SIZE];
        struct store_id id;
        fill_splitmix(seeds[i], text, sizeof text);
        if (repository_save_blob(repo, BLOB_DATA, text, sizeof text, &id, NULL, err) < 0)
            return -1;
    }
    return repository_flush(repo, err);
}

int write_twice(struct backend *b, struct err *err)
{
    struct repository_options options = {.pack_target = PACK_TARGET};
    struct repository *one CLEANUP(repository_close_p) = NULL;
    struct repository *two CLEANUP(repository_close_p) = NULL;
    if (repository_open(b, "first", &options, &one, err) < 0 ||
        repository_open(b, "first", &options, &two, err) < 0 || write_two(one, err) < 0)
        return -1;
    return write_two(two, err);
}
