/* One Lease for each target, in gleaner's namespace: a Backup and a Restore of the same target, or
 * two of a kind, never work at the same time. The holder is a resource of ours, not a process: a
 * Lease does not expire, but one whose holder is gone or finished is taken over.
 *
 * holderIdentity is "<Kind>/<namespace>/<name>/<uid>". */
#ifndef RECONCILER_TARGET_LEASE_H
#define RECONCILER_TARGET_LEASE_H

#include "reconciler/context.h"

struct lease_holder {
    const struct kube_type *type; /* KUBE_BACKUP or KUBE_RESTORE */
    const char *ns, *name, *uid;
    /* A safety backup works under the lease of the Restore with this uid (its label
     * gleaner.dev/safety-for); NULL for all else. */
    const char *guest_of;
};

#define LEASE_SAFETY_LABEL "gleaner.dev/safety-for"

/* The Lease of all Restores: one works at a time in a cluster. */
#define LEASE_RESTORES "gleaner-restores"

/* "gleaner-target-<16 hex>", in the arena. */
const char *lease_of_target(struct arena *a, const char *kind, const char *ns, const char *name);

/* Takes the lease, or finds that it is ours already, or that we may work under it. *ret_taken
 * false: *ret_other says whose it is, for people ("Restore gleaner-system/shop"), in the arena.
 * CONFLICT: somebody else was faster, try again. */
int lease_take(struct context *cx, struct arena *a, const char *lease,
               const struct lease_holder *me, bool *ret_taken, const char **ret_other,
               struct err *err) must_check;

/* The Restore that now works, in any step from Hold on, Held too, on content of the namespace, and
 * that this holder is no guest of: its volumes are not to be read. *ret: "gleaner-system/shop", in
 * the arena, or NULL. One that still waits for leases is none: it may be waiting for this Backup.
 */
int lease_restore_in(struct context *cx, struct arena *a, const char *content_ns,
                     const struct lease_holder *me, const char **ret, struct err *err) must_check;

/* Gives it up if it is ours; anything else is left alone. Idempotent. */
int lease_give(struct context *cx, struct arena *a, const char *lease,
               const struct lease_holder *me, struct err *err) must_check;

#endif
