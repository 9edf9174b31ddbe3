/* The marks that engines leave on what they write. */
#ifndef GITOPS_MARKS_H
#define GITOPS_MARKS_H

#include "gitops/engine.h"

/* True if the object bears the mark of this very application: Flux's labels <group>/name and
 * /namespace, or Argo CD's tracking-id where it names the object itself and the application with
 * its namespace, as it does for Applications outside Argo CD's own.
 *
 * Whoever writes an application can make its books say anything (a Secret of Helm's, a status). A
 * mark was written by the engine, with the engine's rights on the object. Sources: fluxcd/pkg ssa
 * SetOwnerLabels, helm-controller postrender origin_labels.go, argo-cd util/argo
 * resource_tracking.go. */
bool application_marks(struct arena *a, const struct application *app, const struct kube_object *o);

/* The application in a tracking-id that names the object itself, or NULL: one that was copied from
 * another object says nothing. The id is <app>:<group>/<Kind>:<namespace>/<name>; app is <name>, or
 * <namespace>_<name> for Applications outside Argo CD's own namespace (no name has a '_'). */
const char *argocd_tracked_by(struct arena *a, const struct kube_object *o);

/* True if the object itself keeps Argo CD from deleting it unasked: the sync options Prune=false
 * and Prune=confirm. Source: Argo CD docs/user-guide/sync-options.md. */
bool argocd_keeps(struct arena *a, const struct kube_object *o);

#endif
