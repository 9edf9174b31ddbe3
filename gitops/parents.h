/* Who declares an application. */
#ifndef GITOPS_PARENTS_H
#define GITOPS_PARENTS_H

#include "gitops/engine.h"

enum { PARENTS_MAX = 8 };

struct parents {
    struct application at[PARENTS_MAX];
    size_t n;
};

/* The applications whose own books, or whose manager's field ownership, hold this object. Labels
 * and tracking annotations only say where to look: operators copy them. */
int parents_direct(struct kube *k, struct arena *a, const struct application *child,
                   struct parents *ret, struct err *err) must_check;

#endif
