/* From a BackupStore resource to an open restic repository. */
#ifndef RECONCILER_STORE_OPEN_H
#define RECONCILER_STORE_OPEN_H

#include "reconciler/context.h"
#include "reconciler/store/place.h"
#include "store/backend.h"
#include "store/repository.h"

struct opened {
    struct backend *backend;
    struct repository *repo;  /* its index is not loaded: see repository_load_index */
    char store[254];          /* the BackupStore's name */
    struct store_place place; /* where it lies; place.id says whether two are the same place */
    char path[256];           /* "<clusterName>/<namespace>" below the store's root */
    char mover_password[80];  /* what a mover gets: the namespace's own key's */
    char mover_key_id[65];    /* its key file */
    /* The text of that key file, for the gateway to show: where the store is distant, which is
     * asked for it no more, and of a repository that is only read, where it is in no store because
     * nothing is written there for a mover. Else NULL. Where store_open may not create, NULL too.
     */
    char *mover_key_text;

    /* Nothing may be written there, no lock either; `repo` refuses it by itself. */
    bool read_only;
    bool foreign;   /* because another cluster made it */
    char owner[64]; /* the uid of the cluster that made it, from its key files; "": none says so */
};

/* Opens the repository of a namespace ("_cluster" for cluster-scoped things) in a store; makes it
 * (two key files; the namespace's password goes into a Secret in gleaner's namespace first) if it
 * is not there and `create`. store NULL or "": the store with spec.default, or the only one.
 *
 * Below a clusterName that is not this cluster's own uid the repository's key files are asked who
 * made it: they carry the uid of the cluster as their clear host name. Where another uid stands in
 * them and ours does not, the repository is read only, as it is in a store with spec.readOnly; none
 * is made there (NOT_FOUND). No lock is taken for reading, as with `restic --no-lock`.
 *
 * NOT_FOUND: no such store or repository; REFUSED: the BackupStore's spec, a Secret or the password
 * says no, in words; UNAVAILABLE: the store cannot be reached. */
int store_open(struct context *cx, struct arena *a, const char *store, const char *ns, bool create,
               struct opened *ret, struct err *err) must_check;
/* As store_open of a repository that is there, for who decides by snapshots that are listed anew:
 * where this process has opened it before, its config is not read again. Another repository in its
 * place would have other keys, and its snapshots could not be read. */
int store_open_again(struct context *cx, struct arena *a, const char *store, const char *ns,
                     struct opened *ret, struct err *err) must_check;
/* As store_open of a repository that is there, and every file is read from the store each time: for
 * who wants to know whether the store still gives what it gave (check), and for prune. */
int store_open_fresh(struct context *cx, struct arena *a, const char *store, const char *ns,
                     struct opened *ret, struct err *err) must_check;
/* As store_open, and gives up after a few seconds where the other would try for longer. */
int store_open_soon(struct context *cx, struct arena *a, const char *store, const char *ns,
                    bool create, struct opened *ret, struct err *err) must_check;
void store_close(struct opened *o); /* accepts a zeroed one; fit for CLEANUP */

/* REFUSED, with the reason in words, if nothing may be written there: ask before taking a lock. */
int store_may_write(const struct opened *o, struct err *err) must_check;

/* That files can be written, listed and removed: takes a lock and gives it back; nothing stays
 * behind. A repository that somebody else has locked for himself counts as proven. */
int store_prove(struct context *cx, struct opened *o, struct err *err) must_check;

/* Reads the store's credentials again and goes on with them, for whoever keeps a repository open
 * for long. REFUSED: the BackupStore names another place now. */
int store_renew(struct context *cx, struct opened *o, struct err *err) must_check;

/* Where the store lies now and with which credentials; REFUSED as store_renew. */
int store_now(struct context *cx, struct arena *a, const struct opened *o, struct store_place *ret,
              struct err *err) must_check;

/* The name that store_open would use for `store`, in the arena. */
int store_resolve(struct context *cx, struct arena *a, const char *store, const char **ret,
                  struct err *err) must_check;

#endif
