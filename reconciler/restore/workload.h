/* Stopping and starting one workload. How it was stands on the workload itself, written in the same
 * write that stops it, so that whoever finds it can start it again: a later step, a restarted
 * controller, or `gleaner holds --free`. */
#ifndef RECONCILER_RESTORE_WORKLOAD_H
#define RECONCILER_RESTORE_WORKLOAD_H

#include "kube/client.h"

/* The annotation's content; text NULL: it is not stopped by anybody. */
struct stopped {
    const char *text;
    const char *restore, *uid; /* "namespace/name" and uid of the Restore */
    bool cleared; /* the target was changed since: only a finished restore or a person starts it */
    int64_t replicas;
    int64_t generation; /* of the object once it was stopped; 0: an older note does not say */
    const char *target; /* "<kind> <namespace>/<name>" of that Restore; NULL in an older note */
    str managed;        /* the owners of its fields before */
};

/* The Restore that stops, as its notes name it. */
struct stopper {
    const char *restore, *uid; /* "namespace/name" and uid */
    const char *target;        /* "<kind> <namespace>/<name>" */
};

/* What a restore can stop, ended by NULL. */
extern const struct kube_type *const workload_types[];

/* The one of these, or NULL. */
const struct kube_type *workload_type(const char *group, const char *kind);

/* ERR_CORRUPT: the annotation is broken. */
int stopped_read(struct arena *a, const struct kube_object *workload, struct stopped *ret,
                 struct err *err) must_check;

/* REFUSED: a StatefulSet whose claims Kubernetes would delete as soon as it is scaled down. */
int workload_may_stop(const struct kube_object *o, struct err *err) must_check;

/* Scales to 0 and notes how it was; one write under uid and resourceVersion. A workload that this
 * Restore has stopped already and that somebody has changed since is stopped again. REFUSED:
 * another Restore stopped it, or it may not be stopped. CONFLICT: read again. */
int workload_stop(struct kube *k, struct arena *a, const struct kube_type *t,
                  const struct kube_object *o, const struct stopper *by, struct err *err)
    must_check;

/* Takes over the note that a Restore which is gone has left: ours from now on, everything else in
 * it stays; scaled to 0 again. CONFLICT: read again. */
int workload_adopt(struct kube *k, struct arena *a, const struct kube_type *t,
                   const struct kube_object *o, const struct stopper *by, struct err *err)
    must_check;

/* False: its spec was changed since it was stopped, so it may have run meanwhile. */
bool workload_is_still(const struct kube_object *o, const struct stopped *s);

/* Writes into the note that the target is being changed from now on. A workload without a note of
 * this Restore is left alone. CONFLICT: read again. */
int workload_mark_cleared(struct kube *k, struct arena *a, const struct kube_type *t,
                          const struct kube_object *o, const char *restore_uid, struct err *err)
    must_check;

/* The way back, in two writes: replicas, then the owners of all fields together with the note's
 * removal. Killed between the two, the note still says what to do. A workload without a note is
 * left alone. */
int workload_start(struct kube *k, struct arena *a, const struct kube_type *t,
                   const struct kube_object *o, struct err *err) must_check;

/* Gives fields back until no entry of ours is on the object, in one merge patch under uid and
 * resourceVersion; nothing if there is none. `drop_note` takes the annotation off in the same
 * write. saved, heir: see fields_give_back. CONFLICT: read again. */
int object_give_back(struct kube *k, struct arena *a, const struct kube_type *t,
                     const struct kube_object *live, str saved, const char *heir, bool drop_note,
                     struct err *err) must_check;

#endif
