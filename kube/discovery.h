/* What the API server serves: aggregated discovery (/api and /apis, APIGroupDiscoveryList v2, then
 * v2beta1), one type for each group and resource at its preferred fresh version. */
#ifndef KUBE_DISCOVERY_H
#define KUBE_DISCOVERY_H

#include "kube/client.h"

struct kube_discovery; /* immutable, so shared between threads without a lock */

int kube_discover(struct kube *k, struct kube_discovery **ret, struct err *err) must_check;
void kube_discovery_free(struct kube_discovery *d);
DEFINE_CLEANUP(struct kube_discovery *, kube_discovery_free)

size_t kube_discovery_count(const struct kube_discovery *d);
const struct kube_type *kube_discovery_at(const struct kube_discovery *d, size_t i);

/* NULL if not served. version NULL: the preferred one. */
const struct kube_type *kube_discovery_kind(const struct kube_discovery *d, str group,
                                            const char *version, const char *kind);

/* Groups whose answer was stale: "no such type" is not proven for them. Comma-separated; "" if
 * none. */
const char *kube_discovery_stale(const struct kube_discovery *d);

#endif
