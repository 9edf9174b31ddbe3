/* From a BackupStore resource to an open restic repository. */
#ifndef RECONCILER_STORE_OPEN_H
#define RECONCILER_STORE_OPEN_H

#include "reconciler/context.h"
#include "store/backend.h"
#include "store/repository.h"

struct opened {
    struct backend *backend;
    struct repository *repo; /* its index is loaded */
    char store_folder[208];  /* the store's folder below the volume's root: spec.local.path */
    char path[256];          /* "<clusterName>/<namespace>" below the store's root */
    char mover_password[80]; /* the namespace's own key: what a mover gets */
    char mover_key_id[65];   /* its key file */
};

/* Opens the repository of a namespace ("_cluster" for cluster-scoped things) in a store; makes it
 * (two key files; the namespace's password goes into a Secret in gleaner's namespace first) if it
 * is not there and `create`. store NULL or "": the store with spec.default, or the only one.
 * NOT_FOUND: no such store or repository; REFUSED: the BackupStore's spec or password says no, in
 * words; UNAVAILABLE: the store cannot be reached. */
int store_open(struct context *cx, struct arena *a, const char *store, const char *ns, bool create,
               struct opened *ret, struct err *err) must_check;
void store_close(struct opened *o); /* accepts a zeroed one; fit for CLEANUP */

/* The name that store_open would use for `store`, in the arena. */
int store_resolve(struct context *cx, struct arena *a, const char *store, const char **ret,
                  struct err *err) must_check;

#endif
