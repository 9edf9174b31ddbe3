/* Schedule: makes a Backup when it is time, never two at once for one Schedule. Missed times are
 * made up for once, as CronJobs with Forbid do. */
#include <time.h>

#include "core/clock.h"
#include "reconciler/manager.h"
#include "reconciler/schedule/cron.h"
#include "reconciler/schedule/policy.h"
#include "reconciler/status.h"

#define SCHEDULE_LABEL "gleaner.dev/schedule"

enum { RETRY_MS = 60000 };

struct running {
    const char *name; /* of an unfinished Backup of this Schedule, or NULL */
    struct arena *a;
};

static int find_running(void *ctx, const struct kube_object *o, struct err *err)
{
    (void)err;
    struct running *r = ctx;
    const char *phase = raw_text(r->a, o->raw, "status", "phase", NULL);
    if (!streq(phase, "Completed") && !streq(phase, "PartiallyFailed") && !streq(phase, "Failed"))
        r->name = arena_strdup(r->a, o->name);
    return 0;
}

/* The moment from which the next time is counted: the last one, else the Schedule's creation. */
static int64_t count_from(struct arena *a, const struct status *s)
{
    int64_t ms;
    if (clock_parse(str_of(status_text(s, "lastScheduleTime")), &ms) ||
        clock_parse(str_of(raw_text(a, s->object.raw, "metadata", "creationTimestamp", NULL)), &ms))
        return ms;
    return clock_wall_ms();
}

static int create_backup(struct context *cx, struct arena *a, const struct status *s, int64_t at_ms,
                         const char **ret_name, struct err *err)
{
    struct tm tm;
    time_t t = (time_t)(at_ms / 1000);
    char stamp[32];
    gmtime_r(&t, &tm);
    strftime(stamp, sizeof stamp, "%Y%m%d%H%M", &tm);
    /* The name follows from the time: a controller that died after this call does not make another.
     */
    const char *name = arena_printf(a, "%.200s-%s", s->object.name, stamp);
    struct buf body CLEANUP(buf_free) = {0};
    buf_puts(
        &body,
        "{\"apiVersion\":\"gleaner.dev/v1alpha1\",\"kind\":\"Backup\",\"metadata\":{\"name\":");
    raw_add_string(&body, str_of(name));
    buf_puts(&body, ",\"labels\":{\"" SCHEDULE_LABEL "\":");
    raw_add_string(&body, (str){s->object.name, MIN(strlen(s->object.name), (size_t)63)});
    /* Labels are short; the annotation names it whole. */
    buf_puts(&body, "},\"annotations\":{\"" SCHEDULE_LABEL "\":");
    raw_add_string(&body, str_of(s->object.name));
    buf_puts(&body, "}},\"spec\":");
    buf_str(&body, raw_at(s->object.raw, "spec", "template", NULL));
    buf_putc(&body, '}');
    if (kube_create(cx->kube, a, &KUBE_BACKUP, s->object.ns, buf_view(&body), NULL, NULL, err) <
            0 &&
        err->kind != ERR_EXISTS)
        return err_wrap(err, "making Backup %s/%s", s->object.ns, name);
    *ret_name = name;
    return 0;
}

static void set_time(struct status *s, const char *member, int64_t ms)
{
    char text[CLOCK_RFC3339];
    clock_format(ms, text);
    status_set(s, member, json_string(text));
}

/* The last time that is due, and the one after it. */
static void times(const struct cron *c, int64_t from, int64_t *ret_due, int64_t *ret_next)
{
    int64_t now = clock_wall_ms(), due = -1, next = cron_next(c, from);
    while (next >= 0 && next <= now) {
        due = next;
        next = cron_next(c, now - 60000 > next ? now - 60000 : next);
    }
    *ret_due = due;
    *ret_next = next;
}

static int run(struct context *cx, struct arena *a, struct status *s, const struct cron *c,
               struct outcome *ret, struct err *err)
{
    int64_t due, next;
    times(c, count_from(a, s), &due, &next);
    if (due >= 0) {
        struct running r = {.a = a};
        struct kube_list only = {.ns = s->object.ns,
                                 .label_selector =
                                     arena_printf(a, SCHEDULE_LABEL "=%.63s", s->object.name)};
        if (kube_list(cx->kube, &KUBE_BACKUP, &only, find_running, &r, NULL, err) < 0)
            return -1;
        if (r.name) {
            status_ready(s, "Waiting", "Backup %s is still running; the next one follows it",
                         r.name);
            *ret = (struct outcome){OUTCOME_AFTER, 10000};
            return 0;
        }
        const char *name;
        if (create_backup(cx, a, s, due, &name, err) < 0)
            return -1;
        status_set(s, "lastBackup", json_string(name));
        /* Not the missed time itself: behind it lie the other missed ones. */
        set_time(s, "lastScheduleTime", MAX(due, clock_wall_ms()));
    }
    if (next < 0) {
        status_stalled(s, "NeverDue", "the schedule never comes true: change spec.schedule");
        return 0;
    }
    set_time(s, "nextScheduleTime", next);
    status_ready(s, "Scheduled", "the next Backup is made at its time");
    *ret = (struct outcome){OUTCOME_AFTER,
                            (unsigned)MIN(MAX(next - clock_wall_ms(), 0) + 100, 3600000)};
    return 0;
}

int schedule_reconcile(struct context *cx, struct arena *a, const char *ns, const char *name,
                       struct outcome *ret, struct err *err)
{
    struct status s CLEANUP(status_free) = {0};
    struct cron cron;
    struct retention_policy policy;
    struct err why;
    if (status_read(cx->kube, a, &KUBE_SCHEDULE, ns, name, &s, err) < 0)
        return err->kind == ERR_NOT_FOUND ? 0 : -1;
    str text = raw_string(a, raw_at(s.object.raw, "spec", "schedule", NULL));
    if (!streq(ns, cx->ns)) {
        status_stalled(&s, "WrongNamespace", "Schedules are accepted only in namespace %s for now",
                       cx->ns);
    } else if (cron_parse(text, &cron, &why) < 0) {
        status_stalled(&s, "InvalidSchedule", "%s", why.msg);
    } else if (schedule_policy_read(a, raw_at(s.object.raw, "spec", "retention", NULL), &policy,
                                    &why) < 0) {
        status_stalled(&s, "InvalidRetention", "%s", why.msg);
    } else if (raw_true(raw_at(s.object.raw, "spec", "suspend", NULL))) {
        status_set(&s, "nextScheduleTime", NULL);
        status_ready(&s, "Suspended", "spec.suspend is true: no Backups are made");
    } else if (run(cx, a, &s, &cron, ret, err) < 0) {
        return -1;
    }
    const char *requested = kube_annotation(a, &s.object, "reconcile.fluxcd.io/requestedAt");
    if (requested)
        status_set(&s, "lastHandledReconcileAt", json_string(requested));
    return status_write(cx->kube, a, &s, false, err);
}
