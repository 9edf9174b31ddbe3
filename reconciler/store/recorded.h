/* What the tags of a snapshot say of the Backup that it was made by; reconciler/snapshot_layout.h
 * has the list. */
#ifndef RECONCILER_STORE_RECORDED_H
#define RECONCILER_STORE_RECORDED_H

#include "reconciler/snapshot_layout.h"
#include "store/snapshot.h"

struct recorded {
    char snapshot[STORE_ID_HEX];
    const char *ns, *name, *uid;           /* of the Backup */
    const char *kind, *target_ns, *target; /* its target */
    bool completed;                        /* else PartiallyFailed */
    const char *safety;   /* the uid of the Restore that it is the safety backup of, or NULL */
    const char *schedule; /* "namespace/name", or NULL */
    const char *ttl;      /* as it was written, or NULL */
    int64_t ttl_ms;       /* 0: none, or not readable */
    struct snapshot_claim *claims; /* whose volumes it has */
    size_t claims_n;
    int64_t time_ms;
};

/* False if gleaner did not make the snapshot, or tags that say so were taken off: nobody but who
 * made it may judge it then. Strings live with the snapshot or in the arena. */
bool recorded_read(struct arena *a, const struct snapshot *s, struct recorded *ret);

/* "HelmRelease shop/shop", in the arena. */
const char *recorded_target(struct arena *a, const struct recorded *r);

#endif
