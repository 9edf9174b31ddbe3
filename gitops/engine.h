/* GitOps engines behind one interface: what an application is, what the engine's own books say it
 * applied, and how to hold, prove quiet and resume it.
 *
 * A hold is one write on the application object. It adds a marker annotation, MARKER_ANNOTATION,
 * whose JSON value is all that an undo needs, so that a hold can be found and lifted by anybody who
 * can read the object, with no other state:
 *   {"restore":"<namespace>/<name>","uid":"<uid of the Restore>","token":"<random>","state":"held",
 *    "added":[...engine's words...],"before":{...the values that stood there...}}
 * state is "held" (safe to resume at any time) and becomes "cleared" before the first destructive
 * call of the restore: from then on nobody resumes it but a finished restore or a person. */
#ifndef GITOPS_ENGINE_H
#define GITOPS_ENGINE_H

#include "kube/client.h"

#define MARKER_ANNOTATION "gleaner.dev/hold"

struct engine;

/* One application as read. Everything lives in the arena that it was read into. */
struct application {
    const struct engine *engine;
    const struct kube_type *type; /* KUBE_HELMRELEASE, KUBE_KUSTOMIZATION or KUBE_APPLICATION */
    struct kube_object object;
    /* Namespace of its content: release, target or destination one; for a Kustomization without a
     * target the one that its inventory lies in; "" if that is several. */
    const char *content_ns;
    const char *release;    /* Helm release name, "" if it is not Helm's */
    const char *storage_ns; /* of Helm's storage Secrets, "" if it is not Helm's */
    bool suspended;         /* by people, before us: it stays so after a resume */
    bool ready;             /* the engine calls it Ready / Synced and Healthy, now */
    const char *ready_text; /* one sentence for people */
};

/* Where an application's declaration comes from. A HelmRelease has two: the Kustomization's commit
 * that declares it, and its chart's source. */
struct source {
    const char *kind, *ns, *name; /* "GitRepository" ...; for Argo CD "repository" and the URL */
    const char *url, *ref; /* ref: branch, tag or HEAD as the engine follows it; "" unknown */
    const char *revision;  /* the applied one as the engine words it: "main@sha1:..." */
    const char *commit;    /* 40 or 64 hex digits of it; "" if it is not from Git */
    const char *secret_ns, *secret_name; /* credentials for url; "" if none */
    const char *unproven; /* why no proof can be had ("chart from an OCI registry"); "" */
};

enum { SOURCES_MAX = 8 };

struct sources {
    struct source at[SOURCES_MAX];
    size_t n;
};

/* One object of the books. */
struct book_entry {
    const char *group, *version, *kind, *ns, *name; /* version "" if the books do not say */
    /* The engine put it there once and does not hold it: Helm or Argo CD hook, ssa: IfNotPresent,
     * ssa: Ignore, reconcile: disabled. Git is only its seed; live content is not declared. */
    const char *seed; /* the reason, or NULL */
    str manifest;     /* the declared object as JSON (Helm), or absent */
    /* The engine deletes it at its next sync, without being asked: Git does not hold it (any more).
     * Not if the object itself says no: argocd_keeps. */
    bool prunes;
};

typedef int book_fn(void *ctx, const struct book_entry *e, struct err *err);

struct hold {
    const char *restore, *uid; /* namespace/name and uid of the Restore */
    const char *token;         /* fresh and random for each hold */
    const char *state;         /* "held", "cleared" */
    str added, before;         /* raw JSON, the engine's own */
};

enum looked {
    LOOK_GOES_ON,
    LOOK_FAILED, /* it could not, and has to be asked again */
    LOOKED
};

struct engine {
    const char *name;                     /* "Flux", "Argo CD" */
    const struct kube_type *const *types; /* ended by NULL */
    const char *const *managers;          /* field managers that apply what Git declares */

    /* An application from its object as read by somebody (copied into the arena). UNSUPPORTED for
     * one that acts on another cluster. */
    int (*of)(struct arena *a, const struct kube_type *t, const struct kube_object *o,
              struct application *ret, struct err *err);

    /* Reads an application. NOT_FOUND; UNSUPPORTED as above. */
    int (*read)(struct kube *k, struct arena *a, const struct kube_type *t, const char *ns,
                const char *name, struct application *ret, struct err *err);

    /* Its sources, and for a HelmRelease those of the Kustomization that declares it. */
    int (*sources)(struct kube *k, struct arena *a, const struct application *app,
                   struct sources *ret, struct err *err);

    /* The engine's own books: every object that it records as applied for this application. Entries
     * live until the arena ends. ERR_CORRUPT if the books cannot be read: then nothing is declared.
     * Argo CD also records what Git does not hold any more: such an entry has a seed reason. */
    int (*books)(struct kube *k, struct arena *a, const struct application *app, book_fn *each,
                 void *ctx, struct err *err);

    /* ERR_REFUSED with the reason and what to do if a hold would not last or cannot be proven: a
     * parent that would undo it, an ApplicationSet child, a switch that Git declares, a HelmRelease
     * whose newest storage Secret is not `deployed`, an old CRD. */
    int (*may_hold)(struct kube *k, struct arena *a, const struct application *app,
                    struct err *err);

    /* Puts the hold on: one write under the object's uid (and resourceVersion where the engine's
     * form needs it: ERR_CONFLICT then means read again). Idempotent for the same Restore. Reads
     * back that the switch is there. */
    int (*hold)(struct kube *k, struct arena *a, struct application *app, const char *restore,
                const char *restore_uid, struct err *err);

    /* *ret_quiet: the engine has seen this hold and has finished what it was doing. `why` (at least
     * 256 bytes) says what is still missing. ERR_REFUSED if it will never be quiet by itself. */
    int (*quiet)(struct kube *k, struct arena *a, const struct application *app, bool *ret_quiet,
                 char *why, size_t why_n, struct err *err);

    /* Asks the engine, held as it is, to compare the cluster with Git once more; `hard`: with
     * nothing that it remembers of Git. Nothing where it would delete nothing by itself. NULL, and
     * `looked` too, for an engine that does nothing while it is held. */
    int (*look_again)(struct kube *k, struct arena *a, const struct application *app, bool hard,
                      struct err *err);

    /* What came of it. LOOKED: the books, read now, are of now. `why` of the others as in quiet. */
    int (*looked)(struct kube *k, struct arena *a, const struct application *app,
                  enum looked *ret_looked, char *why, size_t why_n, struct err *err);

    /* Rewrites the marker's state to "cleared". */
    int (*mark_cleared)(struct kube *k, struct arena *a, const struct application *app,
                        struct err *err);

    /* Gives the application back exactly as it was, and asks for a reconcile. Idempotent; an
     * application without our marker is left alone. A trace of the request (the annotation, and our
     * manager as its owner) stays until `settled` has seen it answered. ERR_CONFLICT: somebody
     * wrote meanwhile, call again. */
    int (*resume)(struct kube *k, struct arena *a, const struct application *app, struct err *err);

    /* After a resume: true when the engine has reconciled since and is Ready / Healthy; removes the
     * last trace of our manager once the request was answered. `why` as in quiet. */
    int (*settled)(struct kube *k, struct arena *a, const struct application *app,
                   bool *ret_settled, char *why, size_t why_n, struct err *err);
};

extern const struct engine engine_flux, engine_argocd;
extern const struct engine *const engines[]; /* ended by NULL */

/* The engine of a kind ("HelmRelease", ...) and its type; ERR_INVALID names what is known. */
int engine_of_kind(const char *kind, const struct engine **ret, const struct kube_type **ret_type,
                   struct err *err) must_check;

/* The marker on an object; false if it carries none. ERR-less: a broken marker has state "broken".
 */
bool hold_read(struct arena *a, const struct kube_object *o, struct hold *ret);

/* Takes over a hold of the Restore `from_uid`, which is gone or has ended: the marker gets our
 * Restore and a fresh token, and keeps its state, what was added and the values before. Nothing if
 * there is no hold, or it is ours. CONFLICT: it is another hold by now, read again. */
int hold_adopt(struct kube *k, struct arena *a, const struct application *app, const char *from_uid,
               const char *restore, const char *restore_uid, struct err *err) must_check;

/* The applications that hold `child` in their books or labels (its parents): for a HelmRelease the
 * Kustomization, for an Application its app-of-apps. each() gets them nearest first. */
int application_parents(struct kube *k, struct arena *a, const struct application *child,
                        int (*each)(void *ctx, const struct application *parent, struct err *err),
                        void *ctx, struct err *err) must_check;

/* Every application of every engine that is installed (a type that is not served is skipped). */
int applications_each(struct kube *k, struct arena *a,
                      int (*each)(void *ctx, const struct application *app, struct err *err),
                      void *ctx, struct err *err) must_check;

#endif
