#include "reconciler/schedule/history.h"

#include "core/log.h"
#include "reconciler/store/known.h"

str schedule_cut_name(const char *name, size_t max)
{
    size_t n = MIN(strlen(name), max);
    while (n > 0 && strchr("-.", name[n - 1]))
        n--;
    return (str){name, n};
}

enum backup_ending backup_ending_of(struct arena *a, str backup)
{
    const char *phase = raw_text(a, backup, "status", "phase", NULL);
    if (streq(phase, "Completed"))
        return BACKUP_COMPLETED;
    if (streq(phase, "PartiallyFailed"))
        return BACKUP_PARTIAL;
    bool stalled = kube_condition_is(backup, "Stalled", "True");
    /* One that was refused for its spec has never begun, and has no phase. */
    return streq(phase, "Failed") || (!phase && stalled) ? BACKUP_FAILED : BACKUP_RUNS;
}

struct reading {
    struct arena *a;
    const char *schedule;
    struct history *h;
};

static int note_backup(void *ctx, const struct kube_object *o, struct err *err)
{
    (void)err;
    struct reading *r = ctx;
    struct history *h = r->h;
    const char *whole = kube_annotation(r->a, o, BACKUP_SCHEDULE_ANNOTATION);
    /* What was made for a snapshot runs nowhere, whatever its status lacks. */
    if (kube_annotation(r->a, o, BACKUP_UID_ANNOTATION) || (whole && !streq(whole, r->schedule)))
        return 0;
    enum backup_ending ending = backup_ending_of(r->a, o->raw);
    if (ending == BACKUP_RUNS)
        h->running = arena_strdup(r->a, o->name);
    const char *made = raw_text(r->a, o->raw, "metadata", "creationTimestamp", NULL);
    if (ending == BACKUP_FAILED && made && !raw_at(o->raw, "status", "snapshot", NULL).p)
        *vec_add(&h->failed) =
            (struct failed_backup){arena_strdup(r->a, o->name), arena_strdup(r->a, o->uid), made};
    return 0;
}

int history_read(struct context *cx, struct arena *a, const struct kube_object *schedule,
                 struct history *ret, struct err *err)
{
    struct reading r = {a, schedule->name, ret};
    str label = schedule_cut_name(schedule->name, SCHEDULE_LABEL_MAX);
    struct kube_list only = {
        .ns = schedule->ns,
        .label_selector = arena_printf(a, BACKUP_SCHEDULE_ANNOTATION "=%.*s", STR_FMT(label))};
    *ret = (struct history){0};
    return kube_list(cx->kube, &KUBE_BACKUP, &only, note_backup, &r, NULL, err);
}

void history_free(struct history *h)
{
    vec_free(&h->failed);
}

static int newest_first(const void *x, const void *y)
{
    const struct failed_backup *a = x, *b = y;
    int by_time = strcmp(b->made, a->made);
    return by_time ? by_time : strcmp(b->name, a->name);
}

int history_trim(struct context *cx, const struct kube_object *schedule, struct history *h,
                 struct err *err)
{
    int64_t keep;
    if (!raw_int(raw_at(schedule->raw, "spec", "failedBackupsHistoryLimit", NULL), &keep))
        keep = SCHEDULE_FAILED_KEPT;
    if (h->failed.n > 1)
        qsort(h->failed.p, h->failed.n, sizeof *h->failed.p, newest_first);
    for (size_t i = (size_t)MAX(keep, 0); i < h->failed.n; i++) {
        const struct failed_backup *b = &h->failed.p[i];
        struct kube_delete only = {.uid = b->uid, .grace_seconds = -1};
        if (kube_delete(cx->kube, &KUBE_BACKUP, schedule->ns, b->name, &only, err) < 0 &&
            err->kind != ERR_NOT_FOUND && err->kind != ERR_CONFLICT)
            return err_wrap(err, "taking the failed Backup %s/%s away", schedule->ns, b->name);
        log_line(LOG_INFO, "failed backup taken away", "schedule", schedule->name, "backup",
                 b->name, NULL);
    }
    return 0;
}
