/* Removing locks that others left, as `restic unlock` judges them. For people at a terminal: what
 * runs by itself judges only its own cluster's locks (lock_sweep). */
#ifndef STORE_UNLOCK_H
#define STORE_UNLOCK_H

#include "store/lock.h"

/* Stale: older than 30 minutes, or of this host and of a process that is gone (restic's
 * internal/restic/lock.go). */
bool lock_is_stale(const struct lock_info *info, const char *hostname);

/* Removes the lock files that are stale; with `all` every one. ret_removed (may be NULL) is set
 * always. */
int unlock_repository(struct repository *repo, const char *hostname, bool all, size_t *ret_removed,
                      struct err *err) must_check;

#endif
