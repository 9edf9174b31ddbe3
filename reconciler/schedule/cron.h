/* Five-field schedules in UTC, as robfig/cron and Kubernetes CronJobs read them: minute, hour, day
 * of month, month, day of week; lists, ranges, steps, names of months and days, 0 and 7 for Sunday;
 * when both days are restricted either one is enough. @hourly, @daily (@midnight), @weekly,
 * @monthly,
 * @yearly (@annually). */
#ifndef RECONCILER_SCHEDULE_CRON_H
#define RECONCILER_SCHEDULE_CRON_H

#include "core/err.h"
#include "core/str.h"

struct cron {
    uint64_t minutes, hours, days, months, weekdays; /* a bit for each value */
    bool any_day, any_weekday;
};

/* ERR_INVALID names the field and what it may hold. */
int cron_parse(str text, struct cron *ret, struct err *err) must_check;

/* The first time after `after_ms` (wall ms) that fits; -1 if none does within five years (31 Feb).
 */
int64_t cron_next(const struct cron *c, int64_t after_ms);

#endif
