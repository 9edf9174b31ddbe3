/* Holds, whoever looks for them: the controller's sweep and `gleaner holds`, which works without a
 * controller. A hold is found by what stands on the held object itself, never by a Restore. */
#ifndef RECONCILER_HOLDS_H
#define RECONCILER_HOLDS_H

#include "reconciler/context.h"

struct held {
    const struct kube_type *type; /* of the held object: an application, or a stopped workload */
    const char *ns, *name, *object_uid;
    const char *restore, *uid; /* "namespace/name" and uid of the Restore; "" if unreadable */
    const char *state;         /* "held", "cleared", "broken"; "stopped" for a workload */
    bool application;
    bool orphan;       /* its Restore is gone or has ended */
    const char *phase; /* of the Restore; "" if it is gone */
};

/* Calls each() for every held application, then for every stopped workload of the cluster. Strings
 * live in the arena. */
int holds_each(struct kube *k, struct arena *a,
               int (*each)(void *ctx, const struct held *h, struct err *err), void *ctx,
               struct err *err) must_check;

/* *ret: the Restore ("namespace/name") with this uid is gone, or has ended. */
int hold_is_orphan(struct kube *k, struct arena *a, const char *restore, const char *uid, bool *ret,
                   struct err *err) must_check;

/* Gives one back exactly as it was: resumes the application, or scales the workload back. REFUSED
 * while its Restore is at work (neither Held nor an orphan), unless `force`: then the Restore,
 * should a controller run, holds again or stops where it is. One that is free already is no error.
 */
int holds_free(struct kube *k, struct arena *a, const struct held *h, bool force, struct err *err)
    must_check;

#endif
