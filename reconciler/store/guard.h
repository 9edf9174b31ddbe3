/* Which snapshots may be forgotten, and in words why each other stays. Pure: reads no clock, no
 * store and no cluster. Everything that forgets in a cluster asks here: retention, ttl and people.
 *
 * In this order, the first that hits decides:
 *   1. a snapshot file of the repository cannot be read: all stay;
 *   2. one without gleaner's tags stays: nobody but who made it judges it;
 *   3. one that a Restore names stays, until the Restore is deleted, whatever its phase;
 *   4. a safety backup stays while its Restore has not ended and 7 days from then; of a Restore
 * that is gone, 7 days from its own time;
 *   5. one that is younger than the store's minRetention stays;
 *   6. the newest Completed one of a target stays;
 *   7. one that a person asked to forget goes;
 *   8. the last one that has the volume of some claim stays: a claim that was made anew, with
 *      nothing in it, is another one, and must not push out what it had. What is not complete
 *      does not stand for what is, nor part of a volume for the whole. Of each target the newest
 *      ten of these, but none of a claim that was there twice as long as the newer ones' claims;
 *   9. one whose ttl is over goes;
 *  10. of a Schedule with retention, on the target that the Schedule has now: Completed ones go
 *      that the policy does not keep; a PartiallyFailed one goes if it is older than the oldest one
 *      that the policy keeps; safety backups of the target go likewise;
 *  11. all others stay.
 * Times in the future count as now in 4, 5 and 9. A policy neither judges nor counts a snapshot of
 * the future: one that a wrong clock made would be the newest of its day, every day until its time
 * has come, and the day's own would go. It is the newest Completed one only if all are of the
 * future. Completed is what the tag says and no Backup resource denies.
 */
#ifndef RECONCILER_STORE_GUARD_H
#define RECONCILER_STORE_GUARD_H

#include "reconciler/store/recorded.h"
#include "store/retention.h"

enum { GUARD_SAFETY_DAYS = 7, GUARD_LAST_VOLUMES = 10 };

struct guard_restore {
    const char *name; /* "namespace/name" */
    const char *uid;
    const char *backup;   /* "namespace/name" of the Backup that it names, or NULL */
    const char *snapshot; /* hex, or NULL until it is known */
    bool ended;
    int64_t ended_ms; /* 0: not known, counts as now */
};

struct guard_schedule {
    const char *name;                      /* "namespace/name" */
    const char *kind, *target_ns, *target; /* of its template */
    struct retention_policy policy;        /* empty: keeps all */
};

/* A Backup resource. */
struct guard_backup {
    const char *name; /* "namespace/name" */
    const char *uid;
    const char *snapshot; /* status.snapshot, or NULL */
    bool completed;       /* its phase is Completed */
};

struct guard_input {
    const struct snapshot *snapshots; /* of one repository, all that can be read, oldest first */
    size_t snapshots_n;
    size_t unreadable;
    const struct guard_restore *restores;
    size_t restores_n;
    const struct guard_schedule *schedules;
    size_t schedules_n;
    const struct guard_backup *backups;
    size_t backups_n;
    const struct store_id *asked; /* by people */
    size_t asked_n;
    int64_t min_retention_ms;
    int64_t now_ms;
};

struct guard_verdict {
    bool forget;
    bool newest;     /* stays as the newest Completed one of its target */
    const char *why; /* of either; in the arena */
};

/* One verdict for each snapshot. */
void guard_judge(const struct guard_input *in, struct arena *a, struct guard_verdict *ret);

#endif
