/* From a store to the cluster: a Backup for each snapshot that gleaner made, and none for those
 * that are gone.
 *
 * A Backup appears as soon as one listing has its snapshot. It vanishes only if two complete
 * listings of the very repository that it was stored in (the id in its decrypted config),
 * SYNC_APART_MS apart, lack the snapshot, neither of them was empty, and the file is not there by
 * its own name either. A store that fails, answers with half of it, or is another one under the
 * same name removes nothing. Nothing here ever deletes from a store. */
#ifndef RECONCILER_STORE_SYNC_H
#define RECONCILER_STORE_SYNC_H

#include "reconciler/store/known.h"
#include "reconciler/store/open.h"

enum { SYNC_PERIOD_MS = 5 * 60 * 1000, SYNC_APART_MS = 4 * 60 * 1000 };

struct sync_result {
    size_t repositories, snapshots; /* that were listed */
    size_t made, removed;           /* Backups */
    size_t failures;                /* repositories and snapshots that could not be read */
    char failure[512];              /* the first of them */
    bool unreachable;               /* the pass was given up: the store does not answer */
};

/* Called for each repository that was listed, with the Backups of the cluster; may be NULL. */
struct sync_options {
    int64_t apart_ms; /* 0: SYNC_APART_MS */
};

/* One pass over a store. What cannot be read is counted, and the pass goes on, unless the store as
 * a whole does not answer any more: all that is left would be waited for in vain. < 0: not even the
 * repositories could be listed, or the cluster does not answer. */
int sync_store(struct context *cx, struct arena *a, const char *store,
               const struct sync_options *options, struct sync_result *ret, struct err *err)
    must_check;

/* It did not answer, which says nothing of what it holds. */
bool sync_is_unreachable(const struct err *err);

/* What is to be done about one Backup that has ended, by one listing. Pure. */
enum sync_verdict {
    SYNC_NOTHING,
    SYNC_FOUND,   /* it is there: whatever said that it is missing goes; its id is noted */
    SYNC_SUSPECT, /* missing for the first time: noted on the Backup */
    SYNC_REMOVE,  /* missing for the second time */
};

struct sync_listing {
    const char *repository_id; /* hex, of the decrypted config */
    size_t count;              /* of snapshots */
    bool has;                  /* this Backup's snapshot */
    int64_t now_ms, apart_ms;
};

enum sync_verdict sync_judge(const struct known_backup *b, const struct sync_listing *l);

#endif
