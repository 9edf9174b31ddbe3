/* What every reconcile of every kind is given, and how it answers.
 *
 * A reconcile is a blocking, straight-line job on a pool thread that does one step and returns. It
 * waits for nothing: it returns AFTER, or a watch calls it again. It decides from what it reads in
 * the cluster and in the resource's status, never from memory, so that it may be killed anywhere.
 */
#ifndef RECONCILER_CONTEXT_H
#define RECONCILER_CONTEXT_H

#include <stdatomic.h>

#include "kube/discovery.h"
#include "kube/event.h"
#include "store/repository.h"

struct manager;
struct background;

struct context {
    struct kube *kube;
    struct kube_events *events; /* NULL in the CLI */
    const char *ns;             /* gleaner's own namespace */
    const char *instance;       /* pod name, or host name in the CLI */
    const char *instance_uid;   /* pod uid, "" in the CLI */
    const char *program;        /* this executable, for workers */
    const char *mover_image;
    const char *local_root;               /* where gleaner's own volume is mounted */
    const char *const *engine_namespaces; /* --engine-namespaces, ended by NULL */
    char cluster[64];                     /* kube-system's uid */
    const atomic_bool *stopping;
    struct manager *manager;       /* to wake another resource; NULL in the CLI */
    struct background *background; /* long work on stores; NULL in the CLI */
    unsigned sync_ms;              /* between two looks at what a store holds */
    unsigned lock_settle_ms;       /* of locks in repositories; 0: LOCK_SETTLE_MS */
    size_t tree_memory;            /* of each repository: repository_options */
};

struct outcome {
    enum { OUTCOME_DONE, OUTCOME_AFTER } what;
    unsigned ms; /* OUTCOME_AFTER: reconcile again then, at the latest */
};

/* One kind's reconciler. < 0: tried again with growing delay (5 ms x2 to 60 s; err->retry_ms if
 * the server named a time), *err is logged once. NOT_FOUND of the resource itself is not an error:
 * the reconciler returns DONE. */
typedef int reconcile_fn(struct context *cx, struct arena *a, const char *ns, const char *name,
                         struct outcome *ret, struct err *err);

int backupstore_reconcile(struct context *cx, struct arena *a, const char *ns, const char *name,
                          struct outcome *ret, struct err *err);
int backup_reconcile(struct context *cx, struct arena *a, const char *ns, const char *name,
                     struct outcome *ret, struct err *err);
int schedule_reconcile(struct context *cx, struct arena *a, const char *ns, const char *name,
                       struct outcome *ret, struct err *err);
int restore_reconcile(struct context *cx, struct arena *a, const char *ns, const char *name,
                      struct outcome *ret, struct err *err);
/* HelmRelease, Kustomization, Application: annotations to Schedules. */
int protect_reconcile(struct context *cx, struct arena *a, const struct kube_type *t,
                      const char *ns, const char *name, struct outcome *ret, struct err *err);
/* Finds every hold in the cluster and lifts those that are safe to lift and have no Restore. Runs
 * at start and every five minutes. */
int holds_sweep(struct context *cx, struct arena *a, struct err *err);

#endif
