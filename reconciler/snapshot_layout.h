/* Where things lie inside a snapshot, and the tags that carry what is known about it. The one place
 * for these names: backup writes by it, restore reads by it.
 *
 * Paths (cluster-scoped: "cluster" in place of "namespaces/<ns>"):
 *   /resources/<resource>[.<group>]/namespaces/<ns>/<name>.json   kept whole: the API server's
 * bytes /residue/<resource>[.<group>]/namespaces/<ns>/<name>.json     kept fields: apiVersion,
 * kind, metadata{name,namespace,uid,managedFields}, and only the fields that Git does not hold
 *   /declared/<resource>[.<group>]/namespaces/<ns>/<name>.json    booked core workloads and claims
 *       as they were: what Recreate needs where the engine would not bring them back
 *   /volumes/<claim>/...                                          grafted from the mover's tree
 *   /meta/plan.json                                               verdicts (plan_json)
 *   /meta/backup.json                                             target, application, declared,
 *       volumes
 *
 * Tags:
 *   gleaner
 *   backup:<ns>/<name>                   the Backup
 *   uid:<Backup uid>
 *   target:<Kind>/<ns>/<name>
 *   phase:Completed|PartiallyFailed
 *   safety:<Restore uid>                 on safety backups
 *   schedule:<ns>/<name>                 if a Schedule made it
 *   ttl:<spec.ttl>
 *   claim:<name>@<creationTimestamp>     of each claim whose volume it has, or
 *   part:<name>@<creationTimestamp>      has but for what could not be copied
 *
 * Host: the cluster's name; paths: ["/"]. File times: creationTimestamp of the object. */
#ifndef RECONCILER_SNAPSHOT_LAYOUT_H
#define RECONCILER_SNAPSHOT_LAYOUT_H

#include "kube/object.h"

#define SNAPSHOT_RESOURCES "resources"
#define SNAPSHOT_RESIDUE "residue"
#define SNAPSHOT_DECLARED "declared"
#define SNAPSHOT_VOLUMES "volumes"
#define SNAPSHOT_META_PLAN "meta/plan.json"
#define SNAPSHOT_META_BACKUP "meta/backup.json"

enum { SNAPSHOT_CLAIMS_MAX = 50 }; /* claims of one snapshot */

/* "<area>/<resource>[.<group>]/namespaces/<ns>/<name>.json" (or .../cluster/...), in the arena. */
const char *snapshot_object_path(struct arena *a, const char *area, const struct kube_type *t,
                                 const char *ns, const char *name);

/* Tears a path below an area apart; false if it is not one of ours. Bytes come from the store: the
 * caller still compares kind, namespace and name inside the object with these. */
bool snapshot_parse_path(struct arena *a, str path, const char **ret_resource,
                         const char **ret_group, const char **ret_ns, const char **ret_name);

/* The tag of a claim whose volume a snapshot has, in the arena. */
const char *snapshot_claim_tag(struct arena *a, const char *claim, const char *since, bool whole);

struct snapshot_claim {
    const char *id; /* "name@creationTimestamp", in the tag */
    int64_t since_ms;
    bool whole;
};

/* False if it is another tag, or says no name and time. */
bool snapshot_claim_read(const char *tag, struct snapshot_claim *ret);

/* The tag as a snapshot has it that cannot be read back: PartiallyFailed, and of each volume part. */
const char *snapshot_tag_broken(struct arena *a, const char *tag);

#endif
