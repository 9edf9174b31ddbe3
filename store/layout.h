/* Every path rule of the store, in one place.
 *
 * A store's prefix holds one repository for each namespace and one for the cluster:
 *     <prefix>/<clusterName>/<namespace>     and     <prefix>/<clusterName>/_cluster
 * A repository holds restic's layout: config, keys/ID, locks/ID, snapshots/ID, index/ID,
 * data/XX/ID. */
#ifndef STORE_LAYOUT_H
#define STORE_LAYOUT_H

#include "store/backend.h"

/* Where the namespace would be for the repository of cluster-scoped and manifest snapshots; an
 * underscore cannot begin a namespace's name. */
#define LAYOUT_CLUSTER "_cluster"

/* Appends "<clusterName>/<namespace>" (namespace NULL: LAYOUT_CLUSTER). ERR_INVALID unless both are
 * one plain path element: letters, digits, '-', '.', '_', not beginning with '.', at most 253
 * bytes. */
int layout_repository(struct buf *out, const char *cluster_name, const char *namespace,
                      struct err *err) must_check;

/* The inverse, for a path that a client sent (no leading or trailing '/'): the two elements as
 * slices of path. False unless the path is exactly what layout_repository makes. */
bool layout_parse_repository(str path, str *ret_cluster_name, str *ret_namespace);

/* "config", "keys", "locks", "snapshots", "index", "data"; -1 for another word. */
const char *layout_type_name(enum backend_type type);
int layout_type(str name);

/* Appends the file's path inside a repository; `sharded` puts data files below their first two
 * digits (local and object stores do, the REST protocol does not). */
void layout_file(struct buf *out, const struct backend_file *f, bool sharded);

#endif
