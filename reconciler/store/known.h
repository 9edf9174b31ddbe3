/* What the cluster knows of backups: its Backups, Schedules and Restores, read once for a pass over
 * a store. */
#ifndef RECONCILER_STORE_KNOWN_H
#define RECONCILER_STORE_KNOWN_H

#include "core/map.h"
#include "core/vec.h"
#include "reconciler/context.h"
#include "reconciler/store/guard.h"

/* On a Backup that was made for a snapshot: the uid of the Backup that wrote the snapshot. */
#define BACKUP_UID_ANNOTATION "gleaner.dev/backup-uid"
/* On a Backup that a Schedule made, also when it was made again: "name". The label of the same name
 * is cut to 63 bytes. */
#define BACKUP_SCHEDULE_ANNOTATION "gleaner.dev/schedule"

struct known_backup {
    const char *ns, *name, *object_uid, *resource_version;
    const char *full;     /* "namespace/name" */
    const char *uid;      /* of the Backup that wrote the snapshot: its own, or the annotation's */
    const char *phase;    /* "" */
    const char *store;    /* "" until it is known */
    const char *content;  /* the repository's namespace, "" */
    const char *snapshot; /* hex, "" */
    const char *repository_id;
    const char *target;      /* "Kind namespace/name" */
    const char *request;     /* gleaner.dev/request, "" */
    const char *handled;     /* status.lastHandledRequest, "" */
    const char *safety;      /* the uid of the Restore that it is the safety backup of, or NULL */
    const char *ttl;         /* spec.ttl, or NULL */
    const char *schedule;    /* "namespace/name", or NULL */
    const char **claim_tags; /* of its volumes, as its snapshot has them */
    size_t claim_tags_n;
    int64_t missing_since_ms; /* 0: it is not missing */
    int64_t completed_ms;     /* 0 */
    int64_t ttl_ms;           /* 0: none */
    bool ended;
};

struct known {
    struct arena *a;
    VEC(struct known_backup) backups;
};

/* All Backups of gleaner's namespace. Those elsewhere are nobody's: whoever may edit a namespace
 * can make one there, with annotations that name another's snapshot and ask to forget it. */
int known_read(struct context *cx, struct arena *a, struct known *ret, struct err *err) must_check;
void known_free(struct known *k); /* fit for CLEANUP */

/* The Backup of a snapshot in that store by the uid of who wrote it, or NULL. */
const struct known_backup *known_by_uid(const struct known *k, const char *store, const char *uid);

/* What the guard wants to know, of a repository of that store; snapshots, asked and min_retention
 * are left to the caller. In the arena. */
int known_guard(struct context *cx, struct arena *a, const struct known *k, struct guard_input *ret,
                struct err *err) must_check;

#endif
