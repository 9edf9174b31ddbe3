/* Work on stores that takes long, beside the reconciles: two threads with a queue each. One reads
 * what stores hold and forgets what retention says (seconds); the other prunes and checks (hours),
 * one repository at a time. What is to be done is read anew at each turn, from the resources: a
 * process that was killed goes on. */
#ifndef RECONCILER_BACKGROUND_H
#define RECONCILER_BACKGROUND_H

#include "reconciler/store/known.h"

struct background;

/* cx is borrowed and lives longer. */
struct background *background_start(struct context *cx);

/* cx->stopping is true by now: waits for the threads to see it, and frees all. Accepts NULL. */
void background_stop(struct background *b);

/* NULL is accepted by these, and does nothing. Any thread. */

/* An event of a BackupStore. What we wrote into its status ourselves is no news: only another uid,
 * generation or requestedAt is acted on. True if it was news. */
bool background_store(struct background *b, const struct kube_object *store);

/* A Backup was deleted: unless its snapshot is gone too, it comes back after a look at its store.
 * True if there is anything to look for: not for one that failed with nothing stored, nor for one
 * that retention took away (background_forgot, before it does, with the resource's uid). */
bool background_deleted(struct background *b, const struct kube_object *backup);
void background_forgot(struct background *b, const char *uid);

/* A Backup of that repository was Completed, or is asked to be forgotten. */
void background_retain(struct background *b, const char *store, const char *content_ns);

/* Whether a Backup's repository is to be judged by retention now: one is each hour, and at each
 * look for ten minutes after a ttl has passed (its answer may meet a conflict); that an expired one
 * may have to stay is no reason to ask without end. judged_ago_ms: since it last was, INT64_MAX if
 * that is not known. Pure. */
bool background_is_due(const struct known_backup *b, int64_t now_ms, int64_t judged_ago_ms);

/* Sets the metrics that count Backups: how many there are, and when the newest Completed one of
 * each target was completed. The safety backup of a Restore is no success of whoever makes its
 * backups, and does not count for that. */
void background_measure(struct arena *a, const struct known *k);

#endif
