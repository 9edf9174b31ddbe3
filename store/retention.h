/* Which snapshots a policy keeps: restic's words and restic's rules (restic's
 * internal/data/snapshot_policy.go), so that the same policy keeps the same snapshots in both.
 * Pure: reads no clock and no store. What gleaner never forgets, whatever a policy says, stands
 * above this, in reconciler/store/guard.h. */
#ifndef STORE_RETENTION_H
#define STORE_RETENTION_H

#include "store/snapshot.h"

/* "2y5m7d3h": calendar years, calendar months, days, hours. */
struct retention_span {
    int years, months, days, hours;
};

#define RETENTION_ALL (-1) /* "unlimited" */

/* All zero: empty. Counts are of the newest snapshot in each hour, day, ISO week, month, year. */
struct retention_policy {
    int last, hourly, daily, weekly, monthly, yearly;
    struct retention_span within, within_hourly, within_daily, within_weekly, within_monthly,
        within_yearly;
    const char *const *tags; /* each "a,b": keeps snapshots that have all of these */
    size_t tags_n;
};

bool retention_policy_is_empty(const struct retention_policy *p);

/* "3" or "unlimited"; ERR_INVALID. */
int retention_parse_count(str text, int *ret, struct err *err) must_check;

/* "1y2m3d4h", each unit once (the last counts) and at most seven digits. ERR_INVALID, also for an
 * empty text, which restic takes for none. */
int retention_parse_span(str text, struct retention_span *ret, struct err *err) must_check;

struct retention_verdict {
    bool keep;
    const char *reason; /* "last snapshot, daily snapshot"; "" if it goes; in the arena */
};

/* One verdict for each snapshot of one group, which come oldest first (as snapshot_list_all gives
 * them). Spans count back from the newest of them that is older than `now`: all others are within,
 * if none is. An empty policy keeps all. Hours and days are those of the zone that a snapshot's
 * time was written in (snapshot.zone). */
void retention_apply(const struct retention_policy *policy, const struct snapshot *snapshots,
                     size_t n, struct timespec now, struct arena *a,
                     struct retention_verdict *ret_verdicts);

#endif
