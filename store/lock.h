/* restic's locks. Stock `restic prune` obeys nothing else: a writer without one loses data.
 *
 * The host name of our locks is an identity "cluster/namespace/pod/uid", so that the dead can be
 * told from the slow. Only locks of our own cluster are ever judged, by the caller's knowledge. The
 * time that a lock names is for people: clocks may be wrong by any amount. How long a lock is
 * unchanged is counted from when this process saw it first, by its own clock that nobody sets; who
 * lives writes a new lock file every LOCK_REFRESH_MS. */
#ifndef STORE_LOCK_H
#define STORE_LOCK_H

#include "store/repository.h"

#include "core/arena.h"

/* Times in milliseconds. */
enum {
    LOCK_REFRESH_MS = 5 * 60 * 1000,       /* refresh at least this often */
    LOCK_STOP_MS = 22 * 60 * 1000 + 30000, /* without a refresh for so long a writer must stop */
    LOCK_STALE_MS = 30 * 60 * 1000, /* locks of vanished holders, unchanged for so long, are dead */
    LOCK_SETTLE_MS = 200            /* between writing a lock and looking again */
};

struct lock_info {
    struct store_id id;
    int64_t time_ms; /* wall clock of its holder */
    int64_t seen_ms; /* for how long this process has seen it there */
    bool exclusive;
    const char *hostname, *username; /* never NULL; hostname is the identity if the lock is ours */
    int64_t pid;
};

/* Appends "cluster/namespace/pod/uid". */
void lock_identity(struct buf *out, const char *cluster, const char *namespace, const char *pod,
                   const char *uid);

/* What is known of the pod behind a lock of our cluster. */
enum lock_holder {
    LOCK_HOLDER_UNKNOWN, /* counts as alive */
    LOCK_HOLDER_ALIVE,
    LOCK_HOLDER_TERMINATED, /* the API reports that this very uid has ended: proof */
    LOCK_HOLDER_VANISHED    /* no such pod: proof once it was seen for LOCK_STALE_MS */
};

/* Asked for locks whose cluster is ours and whose identity is not our own. */
typedef enum lock_holder lock_judge_fn(void *ctx, str namespace, str pod, str uid);

struct lock_options {
    bool exclusive;
    const char *hostname; /* our identity, or any host name */
    const char *username; /* may be NULL */
    const char *line;     /* instead of username, see below; may be NULL, has no '+' */
    const char *cluster;  /* our cluster's name; NULL: judge nobody */
    lock_judge_fn *judge; /* may be NULL */
    void *judge_ctx;
    unsigned settle_ms; /* 0: LOCK_SETTLE_MS */
    bool sweep;         /* lock_acquire does as lock_sweep first, with the same list */
};

/* Lines. Who works under the lock of a process and may outlive it (a mover: the controller's) must
 * know that the repository was locked all the while, or what it relies on may have been pruned. So
 * such a lock has a name, "LINE+MARK", as its user name. Where a lock of the line and of our
 * cluster is there before ours is written, and is there still afterwards, ours takes over its name
 * and removes it: nobody can have locked exclusively meanwhile. Else the mark is a new one. While
 * there is a lock of the name that a work began under, the repository was never without one.
 *
 * Locks of lines are nobody's left-overs before they were seen for LOCK_STALE_MS. */
struct lock;

/* Lists the locks, writes ours, waits settle_ms, lists again. ERR_BUSY names the holder of a
 * conflicting lock (either of the two is exclusive) and leaves nothing behind. Conflicting locks
 * of dead holders are removed first: should one be alive all the same, it sees that its lock is
 * gone before it writes an index or a snapshot. The lock borrows the repository. Thread-safe. */
int lock_acquire(struct repository *repo, const struct lock_options *options,
                 struct lock **ret_lock, struct err *err) must_check;

/* Writes a new lock file and removes the old one; call it every LOCK_REFRESH_MS. ERR_GONE, now and
 * from then on, if somebody removed the old one, or after LOCK_STOP_MS without success. */
int lock_refresh(struct lock *lock, struct err *err) must_check;

/* That we may go on writing: the last refresh is younger than LOCK_STOP_MS and our lock file is
 * there. ERR_GONE otherwise. Fit for repository_options.before_index and before_snapshot (ctx: the
 * lock). */
int lock_confirm(void *lock, struct err *err) must_check;

/* Removes our lock file and frees the lock, also on failure. NULL is success. */
int lock_release(struct lock *lock, struct err *err);

/* Frees the lock and leaves its file for the next of its line. NULL is nothing. */
void lock_leave(struct lock *lock);

const struct store_id *lock_id(const struct lock *lock);
const char *lock_name(const struct lock *lock); /* its user name; lives as long as the lock */
bool lock_refresh_due(struct lock *lock);       /* LOCK_REFRESH_MS after the last success */

/* All locks that can be read, in the arena. */
struct lock_list {
    struct lock_info *p;
    size_t n;
};
int lock_list_all(struct repository *repo, struct arena *a, struct lock_list *ret_list,
                  struct err *err) must_check;

/* For a writer that works under another process's lock: that a shared lock of this name (lock_name)
 * is there and has not been seen unchanged for LOCK_STOP_MS. ERR_GONE. */
int lock_confirm_name(struct repository *repo, const char *name, struct err *err) must_check;

/* Removes lock files of our own cluster whose holder is proven dead, and those of our own identity
 * that this process does not hold, which an earlier process of this pod left; how many. Never
 * another's, nor one of options->line. options->hostname must be a lock_identity: on a host name
 * others may live. */
int lock_sweep(struct repository *repo, const struct lock_options *options, struct err *err)
    must_check;

#endif
