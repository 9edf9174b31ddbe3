#include "store/unlock.h"

#include "core/clock.h"
#include "core/vec.h"
#include "store/limits.h"

#include <errno.h>
#include <signal.h>

bool lock_is_stale(const struct lock_info *info, const char *hostname)
{
    if (clock_wall_ms() - info->time_ms > LOCK_STALE_MS)
        return true;
    return streq(info->hostname, hostname) && info->pid > 0 && info->pid <= INT32_MAX &&
           kill((pid_t)info->pid, 0) < 0 && errno == ESRCH;
}

static int remove_lock(struct repository *repo, const struct store_id *id, size_t *removed,
                       struct err *err)
{
    if (backend_remove(repository_backend(repo), &(struct backend_file){BACKEND_LOCK, *id}, err) <
        0)
        return -1;
    if (removed)
        ++*removed;
    return 0;
}

static int remove_all(struct repository *repo, size_t *removed, struct err *err)
{
    struct store_ids ids = {0};
    int r =
        backend_list_ids(repository_backend(repo), BACKEND_LOCK, true, STORE_LOCKS_MAX, &ids, err);
    for (size_t i = 0; r == 0 && i < ids.n; i++)
        r = remove_lock(repo, &ids.p[i], removed, err);
    vec_free(&ids);
    return r;
}

int unlock_repository(struct repository *repo, const char *hostname, bool all, size_t *ret_removed,
                      struct err *err)
{
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct lock_list list;
    if (ret_removed)
        *ret_removed = 0;
    if (all)
        return remove_all(repo, ret_removed, err);
    if (lock_list_all(repo, a, &list, err) < 0)
        return -1;
    for (size_t i = 0; i < list.n; i++)
        if (lock_is_stale(&list.p[i], hostname) &&
            remove_lock(repo, &list.p[i].id, ret_removed, err) < 0)
            return -1;
    return 0;
}
