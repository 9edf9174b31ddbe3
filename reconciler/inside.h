/* Whether a host is served from inside this very cluster: what lies there is lost with it. A Git
 * remote there proves nothing, and a store there is flagged. */
#ifndef RECONCILER_INSIDE_H
#define RECONCILER_INSIDE_H

#include "kube/client.h"

struct inside;

/* Lives as long as the arena. Services, pods (and nodes, where `nodes`: their addresses count as
 * the cluster's own too) are listed at the first question that needs them, once. A node's address
 * says that the machine goes down with the cluster, not who serves there. */
struct inside *inside_new(struct kube *k, struct arena *a, bool nodes);

/* Why a host (a name or an address, lower case) counts as inside, in words and in the arena; NULL:
 * it lies elsewhere. *ret_told false: nobody can tell, and the words say why. A name that does not
 * resolve lies elsewhere. */
const char *inside_why(struct inside *in, const char *host, bool *ret_told);

/* True for a name that only a cluster's own DNS knows: without a dot, *.svc, *.cluster.local,
 * *.localhost. */
bool inside_name(const char *host);

#endif
