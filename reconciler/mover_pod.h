/* A mover Pod: the short-lived pod that mounts one claim and moves its bytes between the volume and
 * the store, through the gateway. Backup and Restore make, watch and remove it by these calls.
 *
 * The name follows from the owner's uid, the direction and the claim, so that a controller that was
 * killed anywhere finds its pod again; nothing is remembered. The pod carries the label
 * MOVER_LABEL=<uid of the Backup or Restore> and is registered at the gateway by its own uid, for
 * one repository. It gets no API rights, no store credential and no hostPath: a projected token for
 * the gateway (audience gleaner-gateway, 600 s), the gateway's CA, and the claim. Istio and Linkerd
 * are told to put no proxy beside it; where something else does, what counts is the mover's own
 * container. */
#ifndef RECONCILER_MOVER_POD_H
#define RECONCILER_MOVER_POD_H

#include "gateway/client.h"
#include "mover/report.h"
#include "reconciler/store/open.h"

#define MOVER_LABEL "gleaner.dev/mover"
#define MOVER_CLAIM_ANNOTATION "gleaner.dev/claim"
#define MOVER_LOCK_ANNOTATION "gleaner.dev/lock" /* the name of the lock that it was made under */

enum {
    MOVER_DEADLINE_S = 24 * 60 * 60, /* activeDeadlineSeconds of the pod */
    MOVER_LOST_MS = 5 * 60 * 1000,   /* this long without a word from its node */
};

enum mover_direction { MOVER_BACKUP, MOVER_RESTORE };

struct mover_pod_spec {
    enum mover_direction direction;
    const char *owner_uid;      /* uid of the Backup or Restore */
    const char *owner;          /* "Backup gleaner-system/nightly": for messages */
    const char *ns, *claim;     /* the claim; mounted read-only for MOVER_BACKUP */
    const struct opened *store; /* the namespace's repository: path and mover key are used */
    const char *lock;           /* lock_name of the Backup's lock (MOVER_BACKUP), or NULL */
    const char *node; /* run there; NULL: the node of a running consumer of the claim, if any */
    /* Hex id. MOVER_RESTORE: the tree that the volume shall equal; MOVER_BACKUP: the last backup's
     * tree of this claim, or NULL. */
    const char *tree;
    const char *root; /* MOVER_RESTORE: the backup's report.root ("" or NULL: left as it is) */
};

/* What the gateway is told of a mover; borrows from what it was made of. */
struct mover_pod_registration {
    struct gateway_mover mover;
    struct backend_s3_options s3;
    const char *keys[2];
};

enum mover_state {
    MOVER_WAITING, /* Pending or being made: `why` says for what */
    MOVER_RUNNING,
    MOVER_DONE,  /* exit code 0 or 3 (report.problems > 0): `report` is its answer */
    MOVER_FAILED /* ended without success: `why`; `report` where it left one */
};

struct mover_pod {
    const char *name, *uid; /* of the pod */
    const char *node;       /* "" until scheduled */
    enum mover_state state;
    const char *why; /* one sentence for people; "" */
    bool cut;        /* FAILED because the lock's name changed */
    bool has_report;
    struct mover_report report;
    int64_t age_ms; /* since its creationTimestamp */
    /* It is being deleted, and since when that should be over (deletionTimestamp, which has the
     * grace period in it). -1: it is not being deleted. */
    int64_t leaving_ms;
};

/* Makes the pod unless it is there, registers it at the gateway, and says where it stands. One call
 * is one short step: call again after a second or two, or when the pod's watch fires. An ended pod
 * is not made again: remove it first. One that was made under a lock of another name has FAILED,
 * whatever it says: what it relied on may have been pruned while there was no lock. REFUSED: Pod
 * Security or a quota forbids the pod, with what to change; NOT_FOUND: no such claim or namespace;
 * UNAVAILABLE: API server or gateway. */
int mover_pod_step(struct context *cx, struct arena *a, const struct mover_pod_spec *spec,
                   struct mover_pod *ret, struct err *err) must_check;

/* The registration of the pod with this uid; place: where the store lies now. *ret refers to
 * itself: it is not copied. */
void mover_pod_registration(const struct mover_pod_spec *spec, const char *uid,
                            const struct store_place *place, struct mover_pod_registration *ret);

/* Deletes every mover pod of the owner in ns (uid preconditions, grace 0 for ended ones), and takes
 * its registration back. *ret_gone: none is left. Idempotent. claim NULL: all claims. */
int mover_pod_remove(struct context *cx, struct arena *a, const char *owner_uid, const char *ns,
                     const char *claim /* may be NULL */, bool *ret_gone, struct err *err)
    must_check;

/* As mover_pod_remove of all claims, and *ret_gone is true also when all that is left should have
 * been gone for MOVER_LOST_MS: their nodes do not answer. The kubelet ends them when it comes back;
 * the gateway does not hear them any more. Only where nothing that they write can do harm. */
int mover_pod_leave(struct context *cx, struct arena *a, const char *owner_uid, const char *ns,
                    bool *ret_gone, struct err *err) must_check;

/* The name of a running or scheduled pod (other than a mover) that mounts the claim, and its node:
 * NULL if none does. Both in the arena. Finished pods do not count. */
int claim_consumer(struct context *cx, struct arena *a, const char *ns, const char *claim,
                   const char **ret_pod, const char **ret_node, struct err *err) must_check;

/* "gleaner-mover-<8 hex>", in the arena. */
const char *mover_pod_name(struct arena *a, enum mover_direction direction, const char *owner_uid,
                           const char *claim);

#endif
