/* Protection by annotation: protect_reconcile (reconciler/context.h) makes a Schedule for an
 * application, and what follows here looks from the Schedule's side. */
#ifndef RECONCILER_PROTECT_H
#define RECONCILER_PROTECT_H

#include "reconciler/context.h"

/* Deletes the Schedule if an annotation made it and its application is gone: that may have happened
 * while nobody watched. A Schedule that people made, or copied under another name, stays, and so
 * does each one while the application's type is not served. *ret_gone: it was deleted. */
int protect_look_at(struct context *cx, struct arena *a, const struct kube_object *schedule,
                    bool *ret_gone, struct err *err) must_check;

#endif
