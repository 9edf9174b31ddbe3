/* Schedule: makes a Backup when it is time, never two at once for one Schedule. Missed times are
 * made up for once, as CronJobs with Forbid do. */
#include <time.h>

#include "core/clock.h"
#include "core/log.h"
#include "reconciler/protect/protect.h"
#include "reconciler/schedule/cron.h"
#include "reconciler/schedule/history.h"
#include "reconciler/schedule/policy.h"
#include "reconciler/status.h"
#include "reconciler/store/known.h"

enum { LOOK_MS = 10000, END_MS = 60000, LATEST_MS = 3600000, SKEW_MS = 60000 };

/* ---- its Backups ---- */

/* The Backup that was made last, as far as it is still there. */
struct last {
    const char *name; /* NULL: none */
    const char *message;
    enum backup_ending ending;
};

static int read_last(struct context *cx, struct arena *a, struct status *s, struct last *ret,
                     struct err *err)
{
    struct status b CLEANUP(status_free) = {0};
    const char *name = status_text(s, "lastBackup");
    *ret = (struct last){0};
    if (!*name)
        return 0;
    if (status_read(cx->kube, a, &KUBE_BACKUP, s->object.ns, name, &b, err) < 0)
        return err->kind == ERR_NOT_FOUND ? 0 : -1;
    *ret = (struct last){.name = arena_strdup(a, name),
                         .message = arena_strdup(a, status_message(&b, "Ready")),
                         .ending = backup_ending_of(a, b.object.raw)};
    /* Made for a snapshot that cannot be read: nobody knows, and it runs nowhere. */
    if (ret->ending == BACKUP_RUNS && kube_annotation(a, &b.object, BACKUP_UID_ANNOTATION))
        *ret = (struct last){0};
    const char *time = status_text(&b, "completionTime");
    if (ret->ending == BACKUP_COMPLETED && *time)
        status_set(s, "lastSuccessfulTime", json_string(time));
    return 0;
}

static str backup_body(struct arena *a, const struct status *s, const char *name)
{
    struct buf body CLEANUP(buf_free) = {0};
    buf_puts(
        &body,
        "{\"apiVersion\":\"gleaner.dev/v1alpha1\",\"kind\":\"Backup\",\"metadata\":{\"name\":");
    raw_add_string(&body, str_of(name));
    buf_puts(&body, ",\"labels\":{\"" BACKUP_SCHEDULE_ANNOTATION "\":");
    raw_add_string(&body, schedule_cut_name(s->object.name, SCHEDULE_LABEL_MAX));
    /* Labels are short; the annotation names it whole. */
    buf_puts(&body, "},\"annotations\":{\"" BACKUP_SCHEDULE_ANNOTATION "\":");
    raw_add_string(&body, str_of(s->object.name));
    buf_puts(&body, "}},\"spec\":");
    buf_str(&body, raw_at(s->object.raw, "spec", "template", NULL));
    buf_putc(&body, '}');
    return arena_str(a, buf_view(&body));
}

/* *ret_early: a Backup of that name was there already, made before it was due: by a clock that was
 * ahead, so it is not the one that is to be made. */
static int create_as(struct context *cx, struct arena *a, const struct status *s, const char *name,
                     int64_t at_ms, bool *ret_early, struct err *err)
{
    struct kube_object o;
    int64_t made;
    *ret_early = false;
    if (kube_create(cx->kube, a, &KUBE_BACKUP, s->object.ns, backup_body(a, s, name), NULL, NULL,
                    err) == 0)
        return 0;
    if (err->kind != ERR_EXISTS ||
        kube_get(cx->kube, a, &KUBE_BACKUP, s->object.ns, name, &o, err) < 0)
        return err_wrap(err, "making Backup %s/%s", s->object.ns, name);
    *ret_early =
        clock_parse(str_of(raw_text(a, o.raw, "metadata", "creationTimestamp", NULL)), &made) &&
        made < at_ms - SKEW_MS;
    return 0;
}

static int create_backup(struct context *cx, struct arena *a, const struct status *s, int64_t at_ms,
                         const char **ret_name, struct err *err)
{
    struct tm tm;
    time_t t = (time_t)(at_ms / 1000);
    char stamp[32];
    bool early;
    gmtime_r(&t, &tm);
    strftime(stamp, sizeof stamp, "%Y%m%d%H%M", &tm);
    /* The name follows from the time: a controller that died after this call does not make another.
     */
    const char *name =
        arena_printf(a, "%.*s-%s", STR_FMT(schedule_cut_name(s->object.name, 200)), stamp);
    if (create_as(cx, a, s, name, at_ms, &early, err) < 0)
        return -1;
    if (early) {
        name = arena_printf(a, "%s-again", name);
        if (create_as(cx, a, s, name, at_ms, &early, err) < 0)
            return -1;
    }
    *ret_name = name;
    return 0;
}

/* ---- its times ---- */

static void set_time(struct status *s, const char *member, int64_t ms)
{
    char text[CLOCK_RFC3339];
    clock_format(ms, text);
    status_set(s, member, json_string(text));
}

/* The moment from which the next time is counted: the last one, else the Schedule's creation. A
 * clock that was ahead has left a time that is still to come: until then nothing would be made, and
 * counted from now again and again nothing would ever be due. So now is written down, once. */
static int64_t count_from(struct arena *a, struct status *s)
{
    int64_t ms, now = clock_wall_ms();
    if (!clock_parse(str_of(status_text(s, "lastScheduleTime")), &ms) &&
        !clock_parse(str_of(raw_text(a, s->object.raw, "metadata", "creationTimestamp", NULL)),
                     &ms))
        return now;
    if (ms <= now + SKEW_MS)
        return ms;
    set_time(s, "lastScheduleTime", now);
    return now;
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

/* What Ready says between two times. How the last one ended stays until the next one has. */
static void say_scheduled(struct status *s, const struct last *last)
{
    bool bad = last->ending == BACKUP_PARTIAL || last->ending == BACKUP_FAILED;
    bool runs = last->name && last->ending == BACKUP_RUNS;
    if (runs && streq(status_reason(s, "Ready"), "LastBackupFailed")) {
        char *before CLEANUP(free_p) = xstrdup(status_message(s, "Ready"));
        status_ready(s, "LastBackupFailed", "%s", before);
    } else if (bad) {
        status_ready(s, "LastBackupFailed",
                     "the next Backup is made at its time; Backup %s %s: %.500s", last->name,
                     last->ending == BACKUP_FAILED ? "failed" : "is not complete", last->message);
    } else {
        status_ready(s, "Scheduled", "the next Backup is made at its time");
    }
}

/* Makes the Backup that is due. *ret_running: the one that has to end first, or NULL. */
static int make_due(struct context *cx, struct arena *a, struct status *s, int64_t due,
                    struct last *last, const char **ret_running, struct err *err)
{
    struct history h CLEANUP(history_free);
    struct err why;
    if (history_read(cx, a, &s->object, &h, err) < 0)
        return -1;
    *ret_running = h.running;
    if (h.running)
        return 0;
    const char *name;
    if (create_backup(cx, a, s, due, &name, err) < 0)
        return -1;
    if (history_trim(cx, &s->object, &h, &why) < 0)
        log_err("failed Backups were not taken away", &why, "schedule", s->object.name);
    status_set(s, "lastBackup", json_string(name));
    /* Not the missed time itself: behind it lie the other missed ones. */
    set_time(s, "lastScheduleTime", MAX(due, clock_wall_ms()));
    say_scheduled(s, last);
    *last = (struct last){.name = name, .ending = BACKUP_RUNS};
    return 0;
}

static int run(struct context *cx, struct arena *a, struct status *s, const struct cron *c,
               struct outcome *ret, struct err *err)
{
    int64_t due, next;
    const char *running = NULL;
    struct last last;
    times(c, count_from(a, s), &due, &next);
    if (next >= 0)
        set_time(s, "nextScheduleTime", next);
    else
        status_set(s, "nextScheduleTime", NULL);
    if (read_last(cx, a, s, &last, err) < 0 ||
        (due >= 0 && make_due(cx, a, s, due, &last, &running, err) < 0))
        return -1;
    if (running) {
        status_ready(s, "Waiting", "Backup %s is still running; the next one follows it", running);
        *ret = (struct outcome){OUTCOME_AFTER, LOOK_MS};
        return 0;
    }
    if (next < 0) {
        status_stalled(s, "NeverDue", "the schedule never comes true: change spec.schedule");
        return 0;
    }
    say_scheduled(s, &last);
    int64_t latest = last.name && last.ending == BACKUP_RUNS ? END_MS : LATEST_MS;
    *ret = (struct outcome){OUTCOME_AFTER,
                            (unsigned)MIN(MAX(next - clock_wall_ms(), 0) + 100, latest)};
    return 0;
}

/* Says in the status why no Backup is made. What may pass by itself is told only where the server
 * answered, and not again in other words: each write of the status wakes this Schedule. */
static void tell_failure(struct context *cx, struct arena *a, struct status *s,
                         const struct err *why)
{
    char *before CLEANUP(free_p) = xstrdup(status_message(s, "Ready"));
    bool told = streq(status_reason(s, "Ready"), "BackupNotMade");
    if (err_is_transient(why)) {
        if (why->http < 500 || told)
            return;
        status_progress(s, "BackupNotMade", "no Backup is made, trying again: %s", why->msg);
    } else {
        status_stalled(s, "BackupNotMade", "no Backup is made: %s", why->msg);
        if (cx->events && !streq(before, status_message(s, "Ready")))
            (void)!kube_event_emit(cx->events, &s->object, true, "BackupNotMade", "Schedule",
                                   status_message(s, "Ready"), NULL);
    }
    (void)!status_write(cx->kube, a, s, false, NULL);
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
    bool gone = false;
    /* Not to know is no reason to make no Backup. */
    if (streq(ns, cx->ns) && protect_look_at(cx, a, &s.object, &gone, &why) < 0)
        log_err("not known whether a protected application is still there", &why, "schedule", name);
    if (gone)
        return 0;
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
        if (err->kind != ERR_CANCELLED)
            tell_failure(cx, a, &s, err);
        return -1;
    }
    const char *requested = kube_annotation(a, &s.object, "reconcile.fluxcd.io/requestedAt");
    if (requested)
        status_set(&s, "lastHandledReconcileAt", json_string(requested));
    return status_write(cx->kube, a, &s, false, err);
}
