/* Verdicts: for each live object of a target, what it is, why, what a backup keeps of it and when a
 * restore brings it back. An ordered chain of small pure rules; the first that hits decides; in
 * doubt, keep. Source of the order: design of the verdict engine in docs/verdicts.md. */
#ifndef RECONCILER_VERDICT_H
#define RECONCILER_VERDICT_H

#include "gitops/engine.h"
#include "gitops/evidence.h"
#include "core/json.h"
#include "gitops/git.h"

#define VERDICT_CLASSES(X)                                                                         \
    X(UNSTORABLE, "unstorable")                                                                    \
    X(EPHEMERAL, "ephemeral")                                                                      \
    X(BOOTSTRAP, "bootstrap")                                                                      \
    X(DATA, "data")                                                                                \
    X(PLATFORM_ISSUED, "platform-issued")                                                          \
    X(DECLARED, "declared")                                                                        \
    X(DECLARED_UNPROVEN, "declared-unproven")                                                      \
    X(DRIFTED, "drifted")                                                                          \
    X(HISTORY, "history")                                                                          \
    X(SECRET, "secret")                                                                            \
    X(DERIVED, "derived")                                                                          \
    X(DERIVED_UNPROVEN, "derived-unproven")                                                        \
    X(UNDECLARED, "undeclared")

enum verdict_class {
#define X(name, text) VERDICT_##name,
    VERDICT_CLASSES(X)
#undef X
        VERDICT_CLASS_MAX
};
const char *verdict_class_name(enum verdict_class c);
bool verdict_class_parse(const char *text, enum verdict_class *ret);

enum verdict_keep { KEEP_NONE, KEEP_FIELDS, KEEP_OBJECT }; /* "none", "fields", "object" */
enum verdict_restore { RESTORE_NORMAL, RESTORE_FIRST, RESTORE_AFTER_OWNER, RESTORE_NEVER };
const char *verdict_keep_name(enum verdict_keep k);
const char *
verdict_restore_name(enum verdict_restore r); /* "normal", "first", "after-owner", "never" */

enum { VERDICT_FIELDS_MAX = 256 };

struct verdict {
    enum verdict_class class;
    const char *rule;   /* id, lower-case-with-dashes: stable, documented */
    const char *reason; /* one sentence that a person can read */
    enum verdict_keep keep;
    enum verdict_restore restore;
    const char **fields; /* KEEP_FIELDS: "data/<key>", "metadata/annotations/<key>"; never values */
    size_t field_count;
};

/* An object of the target with its place and verdict. */
struct subject {
    struct kube_object object;
    const struct kube_type *type;
    bool core;        /* else reach: created where absent, never stopped or overwritten */
    bool booked;      /* in an engine's books for this chain */
    const char *seed; /* see book_entry.seed; NULL */
    struct verdict verdict;
};

/* What git proves about the chain, in one place. */
struct declaration {
    const char *engine, *source, *revision;
    enum reachable reachable;
    const char *why; /* for false and unknown */
};

/* A claim whose volume a backup holds, and its creationTimestamp: one of the same name that was
 * made anew is another. */
struct plan_claim {
    const char *name, *since;
};

/* A whole plan for one target. Everything in the arena. */
struct plan {
    struct application app;   /* the target */
    struct application *apps; /* the target, then every application that its books hold */
    size_t app_count;
    struct declaration declared;
    const char *ns;           /* its content's namespace: the repository that it goes to */
    struct subject *subjects; /* sorted by group, kind, namespace, name */
    size_t subject_count;
    struct plan_claim *claims; /* those in ns that are data, core only */
    size_t claim_count;
    const char **warnings; /* things that people should know; e.g. content in other namespaces */
    size_t warning_count;
    const char **problems; /* things that this backup cannot hold: it ends PartiallyFailed */
    size_t problem_count;
    bool alone; /* no other application uses the namespace */
};

struct context;

enum plan_keep {
    PLAN_RESIDUE,
    PLAN_ALL,   /* every storable core object whole */
    PLAN_SAFETY /* so too; and what is missing is no problem but a warning: a Restore is about to
                   bring it back */
};

/* Reads the cluster and judges. Writes nothing. NOT_FOUND: no such target; REFUSED: a Backup of
 * nothing, or (but for PLAN_SAFETY) of content whose namespace is gone, with what to do. */
int plan_make(struct context *cx, struct arena *a, const char *kind, const char *ns,
              const char *name, enum plan_keep keep, struct plan *ret, struct err *err) must_check;

/* {target, declared{engine,source,revision,reachable},
 * objects[{group,version,kind,namespace,name,uid, class,rule,reason,keep,fields}], summary}: no
 * value of any object is in it. A new reference. */
json_t *plan_json(const struct plan *p);

/* The table that people read (kinds folded, summary last). */
void plan_print(struct buf *out, const struct plan *p);

#endif
