#include "store/prune.h"

static int remove_all(struct repository *repo, struct lock *lock, const struct store_id *ids,
                      size_t n, size_t *removed, struct err *err)
{
    for (size_t i = 0; i < n; i++) {
        if ((lock_refresh_due(lock) && lock_refresh(lock, err) < 0) ||
            lock_confirm(lock, err) < 0 ||
            backend_remove(repository_backend(repo),
                           &(struct backend_file){BACKEND_SNAPSHOT, ids[i]}, err) < 0)
            return -1;
        ++*removed;
    }
    return 0;
}

static int forget(struct repository *repo, const struct lock_options *options,
                  const struct store_id *ids, size_t n, size_t *removed, struct err *err)
{
    struct lock_options exclusive = *options;
    struct lock *lock;
    struct err why = {0};
    if (n == 0)
        return 0;
    exclusive.exclusive = true;
    if (repository_check_removable(repo, err) < 0 || lock_acquire(repo, &exclusive, &lock, err) < 0)
        return -1;
    int r = remove_all(repo, lock, ids, n, removed, err);
    if (lock_release(lock, &why) < 0 && r == 0) {
        if (err)
            *err = why;
        r = -1;
    }
    return r;
}

int forget_snapshots(struct repository *repo, const struct lock_options *options,
                     const struct store_id *ids, size_t n, size_t *ret_removed, struct err *err)
{
    size_t removed = 0;
    int r = forget(repo, options, ids, n, &removed, err);
    if (ret_removed)
        *ret_removed = removed;
    return r;
}
