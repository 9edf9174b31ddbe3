/* The controller process: watches on the libuv loop, one queue, a pool of threads for reconciles.
 */
#ifndef RECONCILER_MANAGER_H
#define RECONCILER_MANAGER_H

#include "reconciler/context.h"

/* Runs until SIGTERM or SIGINT; running steps are then cancelled at their next API call, which is
 * safe at any point. `gleaner controller`:
 * --namespace, --mover-image, --local-root, --engine-namespaces, --health PORT, --threads N,
 * --sync-seconds N (between two looks at what a store holds, 300), --log-level. Exit code. */
int controller_main(int argc, char **argv);

/* Reconciles a resource of one of our kinds (or an application, by its type) after `ms`. Any
 * thread. */
void manager_enqueue(struct manager *m, const struct kube_type *t, const char *ns, const char *name,
                     unsigned ms);

#endif
