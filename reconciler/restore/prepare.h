/* From the bytes of a backup to the body of a request: what an object must lose to be made again,
 * and what tells it from the live one. Pure functions of their input.
 *
 * Lost at every object: uid, resourceVersion, generation, creationTimestamp, deletion marks,
 * selfLink, generateName, finalizers, managedFields (written afterwards, see fields.h), status; and
 * ownerReferences, but for owners that exist again, which get the owner's new uid. Lost by kind:
 * PersistentVolumeClaim: spec.volumeName and the binder's annotations. Service: addresses and ports
 * that the cluster gives out, unless somebody owns the field. ServiceAccount: token and dockercfg
 * secrets that the platform makes. Secret that verdict_is_token: the token and the account's uid.
 * Job: the selector and labels with the old uid, and ttlSecondsAfterFinished. docs/restore.md
 * publishes this list.
 *
 * Source: what the API server refuses or overwrites at create; garbage collection by owner uid. */
#ifndef RECONCILER_RESTORE_PREPARE_H
#define RECONCILER_RESTORE_PREPARE_H

#include "core/json.h"
#include "kube/object.h"

/* On a workload that a restore stopped: how it was. {"restore","uid","replicas","managedFields"} */
#define STOPPED_ANNOTATION "gleaner.dev/stopped"

/* The uid of the owner as it lives now; *ret_uid NULL: there is none. */
typedef int prepare_owner_fn(void *ctx, const struct kube_owner *owner, const char **ret_uid,
                             struct err *err);

struct prepared {
    str body;             /* for a create */
    str managed;          /* the saved managedFields; absent if there were none */
    unsigned owners_lost; /* owners that do not exist any more */
};

/* owner NULL: every ownerReference is dropped (for comparisons). An object that was backed up while
 * a restore had stopped it comes out as it was before. */
int prepare_object(struct arena *a, const struct kube_object *stored, prepare_owner_fn *owner,
                   void *ctx, struct prepared *ret, struct err *err) must_check;

/* The body that replaces `live` by the prepared object: uid, resourceVersion, finalizers and
 * ownerReferences are the live ones', as are fields that the cluster gave out. */
int prepare_replace(struct arena *a, const struct prepared *p, const struct kube_object *live,
                    str *ret, struct err *err) must_check;

/* True if `live` holds what the prepared object says: everything but metadata and status, plus
 * labels and annotations. `exact`: and nothing beside it; otherwise more members are no difference.
 * `may_differ` (may be NULL) is asked for a differing leaf by its path. The first difference is
 * named in *ret_where (a path, never a value). */
typedef bool prepare_may_differ_fn(void *ctx, const char *const *path);
int prepare_compare(struct arena *a, const struct prepared *p, const struct kube_object *live,
                    bool exact, prepare_may_differ_fn *may_differ, void *ctx, bool *ret_same,
                    const char **ret_where, struct err *err) must_check;

/* ---- finished Jobs ---- */

/* The body of a create that runs nothing: prepared, and spec.suspend true. */
int job_prepare(struct arena *a, const struct prepared *p, str *ret, struct err *err) must_check;

/* {"status":...}: the merge patch of /status that makes it finished as it was. Conditions that
 * newer servers demand beside Complete and Failed are added where an older backup lacks them. */
int job_status_patch(struct arena *a, const struct kube_object *stored, const char *uid, str *ret,
                     struct err *err) must_check;

/* The value of spec.suspend in the backup. */
bool job_was_suspended(const struct kube_object *stored);

#endif
