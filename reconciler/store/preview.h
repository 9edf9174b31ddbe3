/* What the guard would say, from the cluster's Backups alone: for who has no password of the store.
 * Every snapshot that gleaner made has a Backup, so that it is the same but for what was forgotten
 * or made since the last look at the store. */
#ifndef RECONCILER_STORE_PREVIEW_H
#define RECONCILER_STORE_PREVIEW_H

#include "reconciler/store/known.h"

struct preview_row {
    const struct known_backup *backup;
    struct guard_verdict verdict;
};

/* One row for each Backup with a snapshot, oldest first; `asked` are names of Backups in gleaner's
 * namespace that a person would ask to forget. In the arena. */
int preview_judge(struct context *cx, struct arena *a, const struct known *k,
                  const char *const *asked, size_t asked_n, struct preview_row **ret, size_t *ret_n,
                  struct err *err) must_check;

#endif
