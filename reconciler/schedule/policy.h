/* spec.retention of a Schedule, and the annotation gleaner.dev/retention that says the same in one
 * line: "last=3,daily=7,withinWeekly=1y". The words are restic's without "keep-", in camel case. */
#ifndef RECONCILER_SCHEDULE_POLICY_H
#define RECONCILER_SCHEDULE_POLICY_H

#include "core/arena.h"
#include "store/retention.h"

/* From the raw object of spec.retention; absent: an empty policy, which keeps all. ERR_INVALID
 * names the word and its value. */
int schedule_policy_read(struct arena *a, str retention, struct retention_policy *ret,
                         struct err *err) must_check;

/* The annotation's text as the raw object of spec.retention, in the arena. ERR_INVALID. */
int schedule_policy_parse(struct arena *a, str text, str *ret_retention, struct err *err)
    must_check;

#endif
