/* What a Restore reads: one snapshot, its objects and what the backup knew of them.
 *
 * The bytes come from a store that others may have written to: kind, namespace and name inside an
 * object must be those of its path, and what does not fit is ERR_CORRUPT. */
#ifndef RECONCILER_RESTORE_STORED_H
#define RECONCILER_RESTORE_STORED_H

#include "core/map.h"
#include "reconciler/snapshot_layout.h"
#include "reconciler/store/lock.h"
#include "reconciler/verdict.h"
#include "store/snapshot.h"

/* One file of an area: where it lies and what the backup said. */
struct item {
    const char *path;             /* whole, for messages */
    const char *resource, *group; /* as in the path */
    const char *ns, *name;        /* ns "" for cluster-scoped */
    struct store_id *chunks;
    size_t chunk_count;
    uint64_t size;
    /* From /meta/plan.json; an object that it does not name is core and normal. */
    enum verdict_restore restore;
    bool core;
    const char *class; /* "" if unknown */
};

struct stored {
    struct arena *a;   /* of the reconcile that reads: items and texts */
    struct arena *own; /* of the snapshot's own facts */
    struct opened opened;
    struct lock *lock; /* shared, against a prune; NULL where nothing may be written */
    struct snapshot snapshot;
    json_t *plan, *backup; /* /meta/plan.json, /meta/backup.json */
    char key[200];
};

/* What is to be opened, and for whom. */
struct stored_question {
    const char *uid; /* of the Restore */
    const char *store, *content_ns, *snapshot;
    bool mover; /* a mover will work on it: the namespace's key is made if it is not there */
};

/* Opens the repository, takes a shared lock there and finds the snapshot; or takes the one that an
 * earlier step of the same Restore left open in this process, because opening costs a tenth of a
 * second of scrypt and the index. The caller owns it until stored_keep or stored_close. NOT_FOUND:
 * no such store, repository or snapshot. BUSY: somebody deletes from the repository just now. */
int stored_open(struct context *cx, struct arena *a, const struct stored_question *q,
                struct stored **ret, struct err *err) must_check;
void stored_close(struct stored *s); /* accepts NULL */

/* Leaves it open for the next step; whatever another Restore had left is closed. Accepts NULL. */
void stored_keep(struct stored *s);
void stored_drop(void); /* closes what was kept */

/* The files of an area (SNAPSHOT_RESOURCES, ...), in the order in which they are to be made: first
 * before normal before after-owner; then by kind (accounts, secrets, configuration, the rest, jobs,
 * workloads, webhooks); then by path. An area that is not there is empty. */
int stored_items(struct stored *s, const char *area, struct item **ret, size_t *ret_n,
                 struct err *err) must_check;

/* The object of an item, in the arena; its name and namespace are those of the path. */
int stored_object(struct stored *s, struct arena *a, const struct item *it, struct kube_object *ret,
                  struct err *err) must_check;

/* The tree of a claim's volume, as hex in the arena. NOT_FOUND: it was not stored. */
int stored_volume(struct stored *s, const char *claim, const char **ret_tree, struct err *err)
    must_check;

/* Calls each() for every object of /meta/plan.json. Strings are never NULL and live with the
 * source. */
struct planned {
    const char *group, *kind, *ns, *name, *class, *keep;
    bool core;
};
int stored_planned(struct stored *s,
                   int (*each)(void *ctx, const struct planned *p, struct err *err), void *ctx,
                   struct err *err) must_check;

/* True for the kinds of items that Recreate makes, after data and configuration are back. */
bool item_is_workload(const struct item *it);

/* True for namespaces and custom resource definitions: Definitions makes those that are missing,
 * and one that is there is left as it is, because more than the target lives by it. */
bool item_is_definition(const struct item *it);

/* True for what pods need before they can start: accounts and their roles, Secrets, ConfigMaps. */
bool item_is_configuration(const struct item *it);

/* True where Git holds some of the kept fields with another value. */
bool item_has_drifted(const struct item *it);

/* True for batch Jobs, which are made only as a record of what they did. */
bool item_is_job(const struct item *it);

#endif
