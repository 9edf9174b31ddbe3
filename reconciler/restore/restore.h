/* The Restore machine: one table of phases, one journal.
 *
 * The journal is the Restore's status (phase, source, holds, claims, cursor), the markers on held
 * applications (gitops/engine.h) and the annotation on stopped workloads. A phase is entered by one
 * exclusive status write, then its step runs; steps are idempotent, so a controller that was killed
 * anywhere goes on by running the step of the phase that it finds.
 *
 * Up to SafetyBackup a failure goes back: each phase's undo, last first, then Failed. From Clear on
 * a failure ends Held: an engine given back over missing data would start applications on it. */
#ifndef RECONCILER_RESTORE_RESTORE_H
#define RECONCILER_RESTORE_RESTORE_H

#include "core/vec.h"
#include "gitops/engine.h"
#include "reconciler/context.h"
#include "reconciler/restore/stored.h"
#include "reconciler/status.h"
#include "reconciler/target_lease.h"

#define RESTORE_FINALIZER "gleaner.dev/restore"
#define REQUEST_ANNOTATION "gleaner.dev/request"
#define CREATED_BY_LABEL LEASE_SAFETY_LABEL

/* In the order in which they run; then those beside. */
#define RESTORE_PHASES(X)                                                                          \
    X(VALIDATE, "Validate")                                                                        \
    X(PLAN, "Plan")                                                                                \
    X(LOCK, "Lock")                                                                                \
    X(HOLD, "Hold")                                                                                \
    X(QUIET, "Quiet")                                                                              \
    X(STOP, "Stop")                                                                                \
    X(SAFETY_BACKUP, "SafetyBackup")                                                               \
    X(CLEAR, "Clear")                                                                              \
    X(DEFINITIONS, "Definitions")                                                                  \
    X(VOLUMES, "Volumes")                                                                          \
    X(OBJECTS, "Objects")                                                                          \
    X(RECREATE, "Recreate")                                                                        \
    X(PREFLIGHT, "Preflight")                                                                      \
    X(RESUME, "Resume")                                                                            \
    X(SETTLE, "Settle")                                                                            \
    X(RESIDUE, "Residue")                                                                          \
    X(VERIFY, "Verify")                                                                            \
    X(DONE, "Done")                                                                                \
    X(HELD, "Held")                                                                                \
    X(FAILED, "Failed")                                                                            \
    X(CANCELLED, "Cancelled")

enum restore_phase {
#define X(name, text) PHASE_##name,
    RESTORE_PHASES(X)
#undef X
        PHASE_MAX
};

/* What a step says. < 0 is an error: transient ones are tried again until the phase's time is over,
 * all others end the phase. */
enum step { STEP_NEXT = 0, STEP_WAIT = 1 };

struct restore;
typedef int step_fn(struct restore *r, struct err *err);

enum {
    PHASE_GIVES_BACK = 1, /* its step resumes an engine */
    PHASE_ENDS = 2,       /* nothing follows */
    PHASE_PATIENT = 4,    /* waits for people: its time is never over */
};

struct phase {
    const char *name;   /* status.phase */
    const char *reason; /* of the conditions while it works */
    const char *doing;  /* one sentence for people */
    step_fn *run, *undo;
    enum restore_phase next, on_fail;
    unsigned timeout_s; /* 0 only where there is nothing to wait for */
    unsigned flags;
};

extern const struct phase restore_phases[PHASE_MAX];

/* PHASE_MAX if it is no phase's name. */
enum restore_phase restore_phase_parse(const char *name);

/* One reconcile of one Restore. Everything in the arena. */
struct restore {
    struct context *cx;
    struct arena *a;
    struct status st;
    const char *ns, *name, *uid;
    const char *full;           /* "namespace/name" */
    const char *backup;         /* spec.backupRef.name */
    bool safety_backup, manual; /* spec */
    enum restore_phase phase;
    bool deleting;
    bool outdated;          /* a step failed because the safety backup is not the last state */
    char why[512];          /* what a step that waits waits for */
    unsigned wait_ms;       /* how long at most; 0: RESTORE_WAIT_MS */
    struct stored *archive; /* opened on demand */
    struct kube_discovery *types;   /* the same */
    VEC(struct application) others; /* the same: all that the cluster has */
    bool others_read;
};

enum { RESTORE_WAIT_MS = 1000 };

/* return restore_wait(r, "..."): STEP_WAIT with the reason. */
int restore_wait(struct restore *r, const char *fmt, ...) printf_like(2, 3);

/* The steps, one file per group. */
int restore_validate(struct restore *r, struct err *err);
int restore_plan(struct restore *r, struct err *err);
int restore_lock(struct restore *r, struct err *err);
int restore_hold(struct restore *r, struct err *err);
int restore_hold_undo(struct restore *r, struct err *err);
int restore_quiet(struct restore *r, struct err *err);
int restore_stop(struct restore *r, struct err *err);
int restore_stop_undo(struct restore *r, struct err *err);
int restore_safety_backup(struct restore *r, struct err *err);
int restore_clear(struct restore *r, struct err *err);
int restore_definitions(struct restore *r, struct err *err);
int restore_volumes(struct restore *r, struct err *err);
int restore_volumes_abort(struct restore *r, struct err *err); /* takes the movers away */
int restore_objects(struct restore *r, struct err *err);
int restore_recreate(struct restore *r, struct err *err);
int restore_preflight(struct restore *r, struct err *err);
int restore_resume(struct restore *r, struct err *err);
int restore_settle(struct restore *r, struct err *err);
int restore_residue(struct restore *r, struct err *err);
int restore_verify(struct restore *r, struct err *err);

/* ---- what the steps share ---- */

/* The snapshot that status.source names, opened once a reconcile. */
int restore_archive(struct restore *r, struct stored **ret, struct err *err) must_check;

/* What the API server serves, asked once a reconcile. */
int restore_types(struct restore *r, const struct kube_discovery **ret, struct err *err) must_check;

/* The served type of an item's resource, NULL if there is none. */
const struct kube_type *restore_type_of(const struct kube_discovery *types, const struct item *it);

/* status.target{kind,namespace,name} and status.source.namespace (of the content). */
const char *restore_target(struct restore *r, const char *member);
const char *restore_content_ns(struct restore *r);

/* Fills status.holds: the target, and every application in its books and theirs. REFUSED if one of
 * them cannot be held. */
int restore_plan_holds(struct restore *r, struct err *err) must_check;

/* The rows of status.holds, as applications read now. NOT_FOUND of an application: *ret_gone (may
 * be NULL: an error). */
size_t restore_hold_count(struct restore *r);
int restore_hold_read(struct restore *r, size_t i, struct application *ret, bool *ret_gone,
                      struct err *err) must_check;

/* Those that are there, one after the other: *at begins at 0 and is the row's number plus one. 1:
 * one more; 0: that were all. */
int restore_hold_next(struct restore *r, size_t *at, struct application *ret, struct err *err)
    must_check;
const char *restore_hold_name(struct restore *r, size_t i); /* "HelmRelease shop/shop" */
bool restore_is_held(struct restore *r, const char *kind, const char *ns, const char *name);
void restore_hold_state(struct restore *r, size_t i, const char *state);

/* Going back before Clear: what an earlier Restore left cleared is over missing data, and stays
 * held and stopped. */
bool restore_leaves_cleared(struct restore *r);

/* Between Clear and Resume: REFUSED if a hold does not stand any more. */
int restore_check_holds(struct restore *r, struct err *err) must_check;

/* Going on after Held: holds, proves quiet and marks again what somebody may have freed. STEP_...
 */
int restore_hold_again(struct restore *r, struct err *err) must_check;

/* Rows of status.claims: {name, tree, root, state, uid}; uid: of the claim as Plan saw it. */
json_t *restore_claims(struct restore *r);
bool restore_is_target_claim(struct restore *r, const char *name);

/* Notes which claims are there. REFUSED: one is being deleted, and its bytes with it. */
int restore_note_claims(struct restore *r, struct err *err) must_check;

/* REFUSED, and r->outdated: after Stop somebody may have written to the target, or a claim of it is
 * gone. */
int restore_check_still(struct restore *r, struct err *err) must_check;

/* Writes the status as it stands, without entering another phase. */
int restore_save(struct restore *r, struct err *err) must_check;

/* Seconds since status.phaseStartedAt. */
int64_t restore_phase_age_s(struct restore *r);

/* An Event on the Restore; on the held applications too if `everywhere`. Best effort. */
void restore_event(struct restore *r, bool warning, bool everywhere, const char *reason,
                   const char *fmt, ...) printf_like(5, 6);

struct lease_holder restore_holder(const struct restore *r);

/* The Lease of all Restores and that of the target. STEP_... */
int restore_take_leases(struct restore *r, struct err *err) must_check;

/* REFUSED: a workload that Stop would scale is declared by an engine that is not held, or would
 * lose its claims by being scaled down. */
int restore_check_workloads(struct restore *r, struct err *err) must_check;

/* Writes into the notes of stopped workloads that the target is being changed. */
int restore_mark_workloads(struct restore *r, struct err *err) must_check;

/* Starts what Stop stopped. STEP_... */
int restore_start_workloads(struct restore *r, struct err *err) must_check;

/* Looks at the pods that mount target claims. *ret_waits_for: the one that is to go, NULL if there
 * is none. REFUSED: one that nobody will stop; before Stop (`stopping` false) any workload that can
 * be stopped passes. REFUSED too: a CronJob, Job or DaemonSet that would start one by itself. */
int restore_look_for_pods(struct restore *r, bool stopping, const char **ret_waits_for,
                          struct err *err) must_check;

/* REFUSED: a pod that is no mover mounts a target claim. Once Stop has ended there is none. */
int restore_look_for_writers(struct restore *r, struct err *err) must_check;

/* REFUSED: a workload that Stop has stopped may have run since: it was given back, made anew, or
 * its spec was changed. */
int restore_check_stopped(struct restore *r, struct err *err) must_check;

/* True for stored objects that no restore writes: verdict `never`, applications, pods, volumes of
 * the platform. */
bool restore_skips(const struct item *it);

/* One area of the archive (SNAPSHOT_RESOURCES, SNAPSHOT_RESIDUE), and what the cluster serves. */
struct restore_area {
    struct stored *archive;
    const struct kube_discovery *types;
    struct item *items; /* in the archive's arena */
    size_t n;
};
int restore_open_area(struct restore *r, const char *area, struct restore_area *ret,
                      struct err *err) must_check;

/* Calls each() for every object of the held releases that Recreate makes where it is absent; t
 * NULL: the cluster does not serve its kind. */
typedef int restore_chart_fn(void *ctx, const struct kube_type *t, const struct book_entry *e,
                             const struct application *app, struct err *err);
int restore_chart_objects(struct restore *r, const struct restore_area *resources,
                          restore_chart_fn *each, void *ctx, struct err *err) must_check;

/* REFUSED: an object that this Restore would write, as the cluster is now, may not be written, or
 * its kind is not served. Nothing is asked of what is there as the backup has it. */
int restore_check_rights(struct restore *r, struct err *err) must_check;

/* Takes the note of a stopped workload off the ReplicaSets that it was copied to. */
int restore_forget_copies(struct restore *r, struct err *err) must_check;

/* One pass over the residue: fields that Git does not hold, put back on objects that are there. */
int restore_residue_pass(struct restore *r, bool last, struct err *err) must_check;

#endif
