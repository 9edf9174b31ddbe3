/* The Backup machine: one table of phases, the resource's status as its journal.
 *
 * A phase is entered by one exclusive status write, then its step runs. Steps are idempotent:
 * movers are found again by name, a snapshot that was written already by its tag, the lock is taken
 * again. A controller that was killed anywhere goes on with the step of the phase that it finds. */
#ifndef RECONCILER_BACKUP_BACKUP_H
#define RECONCILER_BACKUP_BACKUP_H

#include "reconciler/status.h"
#include "reconciler/store/open.h"
#include "reconciler/target_lease.h"
#include "reconciler/verdict.h"
#include "store/lock.h"

#define BACKUP_PHASES(X)                                                                           \
    X(PENDING, "Pending")                                                                          \
    X(PLAN, "Plan")                                                                                \
    X(VOLUMES, "Volumes")                                                                          \
    X(WRITE, "Write")                                                                              \
    X(READ_BACK, "ReadBack")                                                                       \
    X(COMPLETED, "Completed")                                                                      \
    X(PARTIALLY_FAILED, "PartiallyFailed")                                                         \
    X(FAILED, "Failed")

enum backup_phase {
#define X(name, text) BACKUP_##name,
    BACKUP_PHASES(X)
#undef X
        BACKUP_PHASE_MAX
};

/* What a step says. */
enum { BACKUP_NEXT, BACKUP_WAIT };

enum {
    BACKUP_LOOK_MS = 1000, /* between two looks at something that works elsewhere */
    BACKUP_RETRY_MS = 5000,
    BACKUPS_AT_ONCE = 8,                   /* each has an index and a plan in memory, and movers */
    BACKUP_PLACE_MS = 10 * 1000,           /* between two looks whether one of them has ended */
    BACKUP_RETRY_FOR_MS = 10 * 60 * 1000,  /* an unreachable store or API server fails it then */
    BACKUP_MOVER_WAIT_MS = 10 * 60 * 1000, /* for a mover to start */
    BACKUP_TRIES = 2,                      /* of a mover that fails */
    BACKUP_CUTS = 5, /* movers that are made anew because the lock was lost meanwhile */
    BACKUP_CONFIRM_MS = 60 * 1000 /* between two looks at our own lock while nothing is written */
};

/* The snapshot that carries the Backup's uid. */
struct backup_written {
    bool known; /* whether there is one; else it is to be asked of the store */
    bool has;   /* there is, and: */
    struct store_id id;
    bool partial; /* its tag says PartiallyFailed */
};

/* The open repository of a running Backup, its lock in it, its index loaded. It lives in this
 * process; after a restart it is made anew. */
struct session {
    struct session *next;
    char uid[64];
    struct opened opened;
    struct lock *lock;
    int64_t confirmed_ms; /* boot time: when the lock was there for sure */
    /* From the list of snapshots that was made once the lock was there: nobody else writes a
     * snapshot of this Backup meanwhile. */
    bool has_last;
    struct store_id last; /* the root of the newest one of the same target */
    struct backup_written written;
    /* The lock was there before any mover was: nobody can have pruned what they stored. */
    bool since_plan;
    bool stored;    /* something is stored, or may be, that no snapshot names yet */
    bool leave;     /* the lock stays at the session's end */
    unsigned users; /* reconciles that work with it now; under the list's mutex, as is: */
    bool ending;    /* freed by the last of them */
};

struct backup_run {
    struct context *cx;
    struct arena *a;
    struct status st;
    const char *ns, *name, *uid;
    const char *full;                      /* "Backup gleaner-system/nightly" */
    const char *kind, *target_ns, *target; /* spec.target */
    const char *store_ref;                 /* spec.storeRef.name, or NULL */
    const char *safety_for;  /* uid of the Restore that this is the safety backup of, or NULL */
    const char *schedule;    /* the name of the Schedule that made it, or NULL */
    const char *ttl;         /* spec.ttl, or NULL */
    enum plan_keep keep;     /* spec.keep */
    struct session *session; /* see backup_session */
};

typedef int backup_step_fn(struct backup_run *b, struct err *err);

backup_step_fn backup_plan, backup_volumes, backup_write, backup_read_back;

/* b->session, opened and locked unless it is already, the lock refreshed if that is due, and looked
 * at if that was more than BACKUP_CONFIRM_MS ago; what is written looks by itself. It is in this
 * run's hands, and stays open, until backup_session_give or _close. */
int backup_session(struct backup_run *b, struct err *err) must_check;
void backup_session_give(struct backup_run *b);

/* A Backup works in a place: from the beginning of its work, long before its session is open. False
 * if it has none and `most` others have. Its session's end gives it back. */
bool backup_place_take(const char *uid, size_t most) must_check;
void backup_place_give(const char *uid);

/* Closes the repository, releases the lock (see leave), gives back the place; nothing if this
 * process has none for the uid. If another thread works with it, that one does it at its end. */
void backup_session_end(const char *uid);

/* Lists the snapshots into s->last and s->written. */
int backup_look_at_snapshots(struct backup_run *b, struct session *s, struct err *err) must_check;

/* Both: gives back this run's use and ends the session. */
void backup_session_close(struct backup_run *b);

/* So too, but the lock stays for the next session of the Backup if something was stored under it.
 */
void backup_session_leave(struct backup_run *b);

/* For the end of the process: all of them. Locks that something was stored under stay. */
void backup_sessions_end(void);

/* Writes the status as it stands. */
int backup_save(struct backup_run *b, struct err *err) must_check;

/* An Event on the Backup. Best effort. */
void backup_event(struct backup_run *b, bool warning, const char *reason, const char *note);

/* declared, counts, warnings and problems of the status, from a plan. */
void backup_set_plan(struct backup_run *b, const struct plan *p);

/* status.volumes, and the number of rows that are not Completed. */
json_t *backup_rows(struct backup_run *b);
size_t backup_rows_failed(struct backup_run *b);

/* The claim's tree (hex, in the arena) in the newest snapshot of the same target: what has not
 * changed since need not be read. NULL if there is none; nothing depends on it. b->session is open.
 */
const char *backup_last_tree(struct backup_run *b, const char *claim);

/* Every claim is to be copied anew, whatever became of it before. */
void backup_rows_again(struct backup_run *b);

/* *ret: the id (hex, in the arena) of the snapshot that an earlier run of this Backup has written;
 * NULL if there is none. b->session is open. */
int backup_find_written(struct backup_run *b, const char **ret, struct err *err) must_check;

/* True if anything that belongs to the target is not in the backup. */
bool backup_is_partial(struct backup_run *b);

/* The uids of the sessions and places of this process, in the arena; their number. */
size_t backup_session_uids(struct arena *a, const char ***ret);

/* Deletes movers whose Backup or Restore is gone or has ended, and ends such sessions. */
int backup_sweep(struct context *cx, struct arena *a, struct err *err) must_check;

#endif
