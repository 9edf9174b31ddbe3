/* /healthz, /readyz on plain HTTP for the kubelet's probes, and /metrics (reconciler/metrics.h). */
#ifndef RECONCILER_HEALTH_H
#define RECONCILER_HEALTH_H

#include <stdatomic.h>

#include "core/err.h"

struct health;

/* address: as listening_parse takes it. /healthz is 200 while the process lives; /readyz is 200
 * while *ready, else 503. */
int health_start(const char *address, const atomic_bool *ready, struct health **ret,
                 struct err *err) must_check;
void health_stop(struct health *h); /* accepts NULL */

#endif
