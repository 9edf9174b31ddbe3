/* One object, all that is known of it, and the verdict. Pure: no call to any server, so that the
 * whole corpus of verdicts is a table of objects in a test. */
#ifndef RECONCILER_JUDGE_H
#define RECONCILER_JUDGE_H

#include "reconciler/verdict.h"

/* What became of an object's owners. */
enum owner_state {
    OWNER_NONE,        /* it has none */
    OWNER_REGENERATES, /* each owner on the way up is live and its controller makes such children
                          again */
    OWNER_OTHER,       /* a live owner, of a kind that is not known to regenerate it */
    OWNER_GONE         /* an owner that is not there (or cannot be seen) */
};

/* Facts about one object. Pointers that may be NULL say so. */
struct facts {
    const struct kube_object *object;
    const struct kube_type *type;
    /* Whose books hold it; all four NULL if nobody's do. */
    const struct engine *engine;
    const struct book_entry *book;
    const struct declaration *declared;
    const char *application; /* "HelmRelease shop/shop" */
    bool chart;              /* rendered from a Helm chart */
    bool is_application;     /* an object of an engine: HelmRelease, Application, ... */
    bool credential;         /* an engine opens its source with this Secret */
    bool issued;             /* a token Secret that Kubernetes before 1.24 made for its account */
    enum owner_state owner;
    const char *owner_text; /* "ReplicaSet shop-7d4b", the nearest one; "" */
    bool keep_all, core;    /* a safety backup; see plan_make */
};

/* A Secret that the cluster signs a ServiceAccount's token into. */
bool verdict_is_token(const struct kube_object *secret);

/* Judges. Strings of the verdict lie in the arena or are static. Never fails: what cannot be read
 * is kept, with the reason. */
void verdict_judge(struct arena *a, const struct facts *f, struct verdict *ret);

/* The residue of a declared object: fields that live and that Git does not hold. *ret_drift: among
 * them are some that Git holds with another value. < 0: the object's bytes cannot be read. */
int residue_fields(struct arena *a, const struct facts *f, const char ***ret_fields, size_t *ret_n,
                   bool *ret_drift, struct err *err) must_check;

/* The text of a /residue file: apiVersion, kind, metadata{name, namespace, uid, managedFields,
 * annotations}, and the named fields with the very bytes that the API server sent. */
int residue_text(struct arena *a, const struct kube_object *o, const char *const *fields, size_t n,
                 str *ret, struct err *err) must_check;

#endif
