/* What managedFields say: who owns which field of an object.
 *
 * Source: Kubernetes structured-merge-diff (fieldsV1 is a trie of f:name, k:{...}, v:..., i:n and
 * "."), and facts about managers: fields without any owner are defaults of the server. */
#ifndef GITOPS_EVIDENCE_H
#define GITOPS_EVIDENCE_H

#include "gitops/engine.h"

/* Every owner of one field, e.g. evidence_owner_each(o, (path){"data","key"}). */
struct owner {
    const char *manager, *operation, *subresource;
};

/* Calls each() for every managedFields entry that owns the field at `path` (names as in the object,
 * without "f:"; ended by NULL) or something below it. Objects without managedFields have no owners.
 */
int evidence_owners(struct arena *a, const struct kube_object *o, const char *const *path,
                    int (*each)(void *ctx, const struct owner *w, struct err *err), void *ctx,
                    struct err *err) must_check;

/* True if one of the engine's managers owns something of the object other than its status: that the
 * engine applied it. For Argo CD's client-side apply also a last-applied annotation that names the
 * object itself. */
bool evidence_applied(struct arena *a, const struct engine *e, const struct kube_object *o);

/* True if an engine manager owns the field (or, for Argo CD's client-side apply, the last-applied
 * annotation has it: another manager may have changed its value since). */
bool evidence_declared(struct arena *a, const struct engine *e, const struct kube_object *o,
                       const char *const *path);

/* Why Git is only the seed of a live object, by the marks that it carries (ssa: IfNotPresent or
 * Ignore, reconcile: disabled, hooks of Helm and Argo CD); NULL if it carries none. The books of a
 * Kustomization do not say it, so ask this of every object of theirs. */
const char *evidence_seed(struct arena *a, const struct kube_object *o);

#endif
