/* A Backup resource for a snapshot that has none: with all that a Restore and people read from one
 * that gleaner has just made. */
#ifndef RECONCILER_STORE_SYNCED_H
#define RECONCILER_STORE_SYNCED_H

#include "reconciler/store/known.h"
#include "reconciler/store/open.h"

/* Makes the resource (unless `there` says that an earlier try has) and fills in its status from the
 * snapshot's tags and /meta. It keeps its name; where that is taken the snapshot's first digits are
 * added. It stands in gleaner's namespace, the only one where Backups are accepted. *ret_full:
 * "namespace/name", in the arena. The index is loaded. ERR_CORRUPT: /meta cannot be read.
 * ERR_EXISTS: its Backup is there after all. */
int synced_make(struct context *cx, struct arena *a, struct opened *o, const char *content_ns,
                const struct snapshot *s, const struct recorded *r,
                const struct known_backup *there, const char **ret_full, struct err *err)
    must_check;

/* The text of the Backup that synced_make creates. */
void synced_body(struct buf *out, const char *ns, const char *name, const char *store,
                 const struct recorded *r);

#endif
