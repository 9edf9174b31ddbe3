/* The parts of the Flux engine. Facts: Flux 2.7 sources (kustomize-controller 1.7,
 * helm-controller 1.4, source-controller 1.7). */
#ifndef GITOPS_FLUX_H
#define GITOPS_FLUX_H

#include "gitops/engine.h"

#define FLUX_REQUESTED_AT "reconcile.fluxcd.io/requestedAt"

static inline bool flux_is_helm(const struct application *app)
{
    return app->type == &KUBE_HELMRELEASE;
}

int flux_of(struct arena *a, const struct kube_type *t, const struct kube_object *o,
            struct application *ret, struct err *err) must_check;
int flux_sources(struct kube *k, struct arena *a, const struct application *app,
                 struct sources *ret, struct err *err) must_check;
int flux_books(struct kube *k, struct arena *a, const struct application *app, book_fn *each,
               void *ctx, struct err *err) must_check;

#endif
