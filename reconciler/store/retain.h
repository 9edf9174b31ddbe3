/* Forgets what retention, ttl and people say of one repository, as reconciler/store/guard.h allows:
 * the snapshots under restic's exclusive lock, then their Backups. */
#ifndef RECONCILER_STORE_RETAIN_H
#define RECONCILER_STORE_RETAIN_H

#include "reconciler/store/known.h"
#include "reconciler/store/open.h"

/* On a Backup: "forget", or "forget:TOKEN" to ask again; answered in status.lastHandledRequest. */
#define FORGET_REQUEST "forget"

/* True if the Backup is asked to be forgotten and was not answered. */
bool retain_is_asked(const char *request, const char *handled);

struct retain_result {
    size_t kept, forgotten; /* snapshots */
};

/* One pass. BUSY: somebody else works on the repository; who asked is told so. A store that is only
 * read forgets nothing. */
int store_retain(struct context *cx, struct arena *a, const char *store, const char *content_ns,
                 struct retain_result *ret, struct err *err) must_check;

/* spec.minRetention of a BackupStore in milliseconds; 0: none. One that cannot be read is
 * ERR_INVALID: nothing is forgotten. */
int retain_minimum(const struct kube_object *store, struct arena *a, int64_t *ret_ms,
                   struct err *err) must_check;

#endif
