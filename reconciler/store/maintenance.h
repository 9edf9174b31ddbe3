/* Prune and check of a store by the clock: spec.maintenance of its BackupStore, one repository
 * after the other. What was done stands in status.maintenance, so that a controller that was killed
 * goes on with the repository that it was at. */
#ifndef RECONCILER_STORE_MAINTENANCE_H
#define RECONCILER_STORE_MAINTENANCE_H

#include "reconciler/context.h"
#include "reconciler/status.h"

/* One turn: at most one repository is pruned or checked. *ret_again: ms until the next turn is due;
 * -1: never, until the BackupStore changes. Runs as long as the repository takes. What cannot be
 * done is said in the status; < 0 only if not even that could be written. */
int maintenance_turn(struct context *cx, struct arena *a, const char *store, int64_t *ret_again,
                     struct err *err) must_check;

/* The condition Checked from status.maintenance.check, for who writes the BackupStore's conditions;
 * none before the first check has ended; and the metric gleaner_check_damages. */
void maintenance_conditions(struct status *s);

#endif
