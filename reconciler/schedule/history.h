/* The Backups that a Schedule has made. */
#ifndef RECONCILER_SCHEDULE_HISTORY_H
#define RECONCILER_SCHEDULE_HISTORY_H

#include "core/vec.h"
#include "reconciler/context.h"

enum { SCHEDULE_LABEL_MAX = 63, SCHEDULE_FAILED_KEPT = 3 /* failedBackupsHistoryLimit */ };

/* The first `max` characters of a name, without what no label and no name may end in. */
str schedule_cut_name(const char *name, size_t max);

enum backup_ending { BACKUP_RUNS, BACKUP_COMPLETED, BACKUP_PARTIAL, BACKUP_FAILED };

enum backup_ending backup_ending_of(struct arena *a, str backup);

/* One that has failed and has stored nothing. */
struct failed_backup {
    const char *name, *uid, *made; /* made: RFC 3339 */
};

/* Texts live in the arena. */
struct history {
    const char *running; /* one that has not ended, or NULL */
    VEC(struct failed_backup) failed;
};

/* Lists them. history_free also after a failure. */
int history_read(struct context *cx, struct arena *a, const struct kube_object *schedule,
                 struct history *ret, struct err *err) must_check;
void history_free(struct history *h);

/* Takes away the Backups that have failed and have stored nothing, but for the newest of them, as
 * many as spec.failedBackupsHistoryLimit says. What has a snapshot is retention's: store/retain.h.
 */
int history_trim(struct context *cx, const struct kube_object *schedule, struct history *h,
                 struct err *err) must_check;

#endif
