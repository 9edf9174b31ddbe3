/* Writing one stored object into the cluster, with clean hands: created where absent, replaced
 * under uid and resourceVersion where not, and every field given back to the owner that it had.
 * Each call is idempotent: killed anywhere and called again, it ends the same. */
#ifndef RECONCILER_RESTORE_WRITE_H
#define RECONCILER_RESTORE_WRITE_H

#include "reconciler/restore/prepare.h"
#include "reconciler/restore/restore.h"

/* Made where it is not there; one that is there keeps its content, and loses only what we left on
 * it. *ret_live: as it is now. REFUSED: the kind is not served. */
int write_absent(struct restore *r, struct stored *archive, const struct item *it,
                 const struct kube_type *t, struct kube_object *ret_live, struct err *err)
    must_check;

/* Made, or made equal to the stored one (core objects; reach is only made). A finished Job comes
 * back without running; an unfinished one, or one that is there, is left alone. REFUSED: the API
 * server would not have it changed. CONFLICT: somebody else wrote meanwhile. */
int write_item(struct restore *r, struct stored *archive, const struct item *it,
               const struct kube_type *t, struct err *err) must_check;

/* An object that comes after its owner: made where it is not there. A Job as write_item has it,
 * because who owns it does not make it run a second time. A Secret that write_overwrites is made
 * equal: its owner may have made it anew meanwhile, with another password than the volumes know.
 * Not `last`: only if every owner is there. */
int write_owned(struct restore *r, struct stored *archive, const struct item *it,
                const struct kube_type *t, bool last, struct err *err) must_check;

/* True for objects that are made equal where they are there: core ones, but for definitions, claims
 * and Jobs. Of those that come after their owner only Secrets whose value is the backup's: no
 * token, whose truth is the cluster, nor Helm's record of a release. */
bool write_overwrites(const struct item *it, const struct kube_object *stored);

/* What the functions here would do to an object as it is now, and why ("is not there"). */
struct write_need {
    enum { WRITE_NOTHING, WRITE_MAKES, WRITE_REPLACES, WRITE_PATCHES } what;
    const char *why;
};
int write_would(struct restore *r, struct stored *archive, const struct item *it,
                const struct kube_type *t, struct write_need *ret, struct err *err) must_check;
int write_residue_would(struct restore *r, struct stored *archive, const struct item *it,
                        const struct kube_type *t, struct write_need *ret, struct err *err)
    must_check;

/* If it is an account's token (anything else is left alone): made as soon as its account is there,
 * because the cluster deletes one without. */
int write_token(struct restore *r, struct stored *archive, const struct item *it,
                const struct kube_type *t, struct err *err) must_check;

/* What was the target's own when it was backed up may be another application's today, and the
 * safety backup has no copy of it then. *ret: the one whose books hold it ("HelmRelease
 * shop/other"; an Event tells of it), NULL if there is none. Only applications that the object's
 * own marks name are asked; not those that are held for this Restore or that hold such a one in
 * their books. */
int write_foreign(struct restore *r, const struct kube_object *live, const char **ret,
                  struct err *err) must_check;

/* The fields of a residue item put back on the live object: those that differ and that no engine
 * declares; of an item that has drifted also keys that one declares, but not while it settles. An
 * object that is not there is left alone (*ret_there). */
int write_residue(struct restore *r, struct stored *archive, const struct item *it,
                  const struct kube_type *t, bool *ret_there, struct err *err) must_check;

/* An object of a Helm manifest that is not there: made as helm-controller would have made it. */
int write_chart_object(struct restore *r, const struct kube_type *t, const struct book_entry *e,
                       const struct application *app, struct err *err) must_check;

/* The stored object, prepared, with owners of today. */
int write_prepare(struct restore *r, struct stored *archive, const struct item *it,
                  struct kube_object *ret_stored, struct prepared *ret, struct err *err) must_check;

/* The managers of every engine, ended by NULL. */
const char *const *write_engine_managers(struct arena *a);

/* ERR_NOT_FOUND is not a failure: *ret_there false. */
int write_get(struct restore *r, const struct kube_type *t, const char *ns, const char *name,
              struct kube_object *ret, bool *ret_there, struct err *err) must_check;

#endif
