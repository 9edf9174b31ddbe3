/* The parts of the Argo CD engine. Facts: Argo CD 3.2 sources and runs of it. */
#ifndef GITOPS_ARGOCD_H
#define GITOPS_ARGOCD_H

#include "gitops/engine.h"

int argocd_of(struct arena *a, const struct kube_type *t, const struct kube_object *o,
              struct application *ret, struct err *err) must_check;
int argocd_sources(struct kube *k, struct arena *a, const struct application *app,
                   struct sources *ret, struct err *err) must_check;
int argocd_books(struct kube *k, struct arena *a, const struct application *app, book_fn *each,
                 void *ctx, struct err *err) must_check;

/* True if Argo CD prunes by itself what Git does not hold; of one that is held: once it is resumed.
 */
bool argocd_prunes(const struct application *app);

/* True if Argo CD syncs it by itself: spec.syncPolicy.automated is there and not disabled. */
bool argocd_is_automated(str raw);

/* A repository URL in the form that Argo CD compares (util/git NormalizeGitURL), in the arena. */
const char *argocd_normal_url(struct arena *a, const char *url);

#endif
