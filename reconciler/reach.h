/* How far the books of an application reach.
 *
 * What books name is read, stored, held and made again with the rights of the controller, and
 * whoever writes an application in a namespace can make its books name anything: a Secret of Helm's
 * and a status are bytes like others. So they speak of the application's own namespace, and beyond
 * it only of what bears the application's mark (gitops/marks.h). Applications in the engines' own
 * namespaces (--engine-namespaces), where nobody but the cluster's administrators writes, reach
 * everything. */
#ifndef RECONCILER_REACH_H
#define RECONCILER_REACH_H

#include "gitops/engine.h"
#include "reconciler/context.h"

bool reach_is_engine_ns(const struct context *cx, const char *ns);

/* Whether the application's books may speak of this object. Namespaces and definitions need no
 * mark: they hold nothing. Allocates in the arena. */
bool reach_may_name(const struct context *cx, struct arena *a, const struct application *app,
                    const struct kube_object *o);

#endif
