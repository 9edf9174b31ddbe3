/* How a Restore ends, or stops half-way: Done; back to where it was, and Failed or Cancelled; Held.
 * Before Clear nothing was changed, and going back is always right; from Clear on only people can
 * decide. */
#ifndef RECONCILER_RESTORE_ENDING_H
#define RECONCILER_RESTORE_ENDING_H

#include "reconciler/restore/restore.h"

/* True for phases in which nothing was changed yet. */
bool ending_is_free(enum restore_phase p);

/* From now on the undos run, last phase first; then the Restore ends in `end` with this reason and
 * message. abandon: from Held, and workloads are let go too. */
int ending_begin(struct restore *r, enum restore_phase end, const char *reason, const char *message,
                 bool abandon, struct err *err) must_check;

/* One step of going back. STEP_... */
int ending_go_back(struct restore *r, struct err *err) must_check;

/* What a failure of the phase's step does: begins to go back, or stops Held with what to do. */
int ending_fail(struct restore *r, const struct err *cause, struct err *err) must_check;

/* While it is Held: other Restores may work, but of the same target. Idempotent. */
int ending_rest(struct restore *r, struct err *err) must_check;

/* True if it is Held and may go on when asked to: not over what no backup has. */
bool ending_may_go_on(const struct restore *r);

/* Enters the phase `p`, which ends it, and cleans up. */
int ending_finish(struct restore *r, enum restore_phase p, const char *reason, const char *message,
                  struct err *err) must_check;

/* Gives back both Leases. Idempotent. */
int ending_release(struct restore *r, struct err *err) must_check;

/* Gives back the leases and the finalizer of one that has ended. Idempotent. */
int ending_clean_up(struct restore *r, struct err *err) must_check;

/* Somebody deletes the Restore. Before Clear that is a cancel. After it the engine stays held:
 * whoever deletes it may not know that data is missing. The markers tell the rest to `gleaner
 * holds`. STEP_... */
int ending_delete(struct restore *r, struct err *err) must_check;

#endif
