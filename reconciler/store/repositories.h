/* Which repositories a store holds below its clusterName, asked of the store itself: a cluster that
 * was made anew knows of no namespace yet. */
#ifndef RECONCILER_STORE_REPOSITORIES_H
#define RECONCILER_STORE_REPOSITORIES_H

#include "reconciler/store/open.h"

/* The namespaces ("_cluster" among them) in order of their names, in the arena. A folder need not
 * be a repository: whoever opens it is told. Errors as store_open. */
int store_repositories(struct context *cx, struct arena *a, const char *store, const char ***ret,
                       size_t *ret_n, struct err *err) must_check;

#endif
