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

#endif
