/* Whether a kind is namespaced, for texts that leave the namespace out. */
#ifndef GITOPS_SCOPE_H
#define GITOPS_SCOPE_H

#include "gitops/engine.h"

/* Kinds of Kubernetes itself by a table; the rest by discovery, read at the first need. */
struct scope {
    struct kube *k;
    struct kube_discovery *discovery;
};

void scope_free(struct scope *s);

/* *ret_known is false for a kind that nobody serves. */
int scope_namespaced(struct scope *s, str group, const char *kind, bool *ret_known,
                     bool *ret_namespaced, struct err *err) must_check;

#endif
