#include "reconciler/backup/backup.h"

#include "core/clock.h"
#include "kube/types.h"
#include "reconciler/background.h"
#include "reconciler/mover_pod.h"
#include "reconciler/store/retain.h"

#include <stdio.h>

/* One row for each phase that works. */
static const struct phase {
    const char *name;
    const char *doing; /* one sentence for people */
    backup_step_fn *run;
    enum backup_phase next;
} phases[BACKUP_PHASE_MAX] = {
    [BACKUP_PENDING] = {"Pending", "waiting for its turn", NULL, BACKUP_PLAN},
    [BACKUP_PLAN] = {"Plan", "finding out what Git does not hold", backup_plan, BACKUP_VOLUMES},
    [BACKUP_VOLUMES] = {"Volumes", "copying the volumes", backup_volumes, BACKUP_WRITE},
    [BACKUP_WRITE] = {"Write", "writing the objects and the snapshot", backup_write,
                      BACKUP_READ_BACK},
    [BACKUP_READ_BACK] = {"ReadBack", "reading back what was written", backup_read_back,
                          BACKUP_COMPLETED},
    [BACKUP_COMPLETED] = {"Completed", NULL, NULL, BACKUP_COMPLETED},
    [BACKUP_PARTIALLY_FAILED] = {"PartiallyFailed", NULL, NULL, BACKUP_PARTIALLY_FAILED},
    [BACKUP_FAILED] = {"Failed", NULL, NULL, BACKUP_FAILED},
};

static enum backup_phase phase_of(const struct backup_run *b)
{
    const char *name = status_text(&b->st, "phase");
    for (int i = 0; i < BACKUP_PHASE_MAX; i++) {
        if (streq(name, phases[i].name))
            return (enum backup_phase)i;
    }
    return BACKUP_PENDING;
}

static bool ended(enum backup_phase p)
{
    return p == BACKUP_COMPLETED || p == BACKUP_PARTIALLY_FAILED || p == BACKUP_FAILED;
}

int backup_save(struct backup_run *b, struct err *err)
{
    return status_write(b->cx->kube, b->a, &b->st, true, err);
}

void backup_event(struct backup_run *b, bool warning, const char *reason, const char *note)
{
    if (b->cx->events)
        (void)!kube_event_emit(b->cx->events, &b->st.object, warning, reason, "Backup", note, NULL);
}

bool backup_is_partial(struct backup_run *b)
{
    return backup_rows_failed(b) > 0 || json_array_size(json_object_get(b->st.now, "problems")) > 0;
}

static void set_now(struct backup_run *b, const char *member)
{
    char now[CLOCK_RFC3339];
    clock_format(clock_wall_ms(), now);
    status_set(&b->st, member, json_string(now));
}

static struct lease_holder holder_of(const struct backup_run *b)
{
    return (struct lease_holder){.type = &KUBE_BACKUP,
                                 .ns = b->ns,
                                 .name = b->name,
                                 .uid = b->uid,
                                 .guest_of = b->safety_for};
}

static const char *lease_name(const struct backup_run *b)
{
    return lease_of_target(b->a, b->kind, b->target_ns, b->target);
}

/* ---- the end ---- */

/* Takes away what only a running Backup needs. Movers that cannot be deleted now are swept later.
 */
static void clean(struct backup_run *b)
{
    bool gone;
    struct lease_holder me = holder_of(b);
    const char *ns = status_text(&b->st, "namespace");
    if (*ns)
        (void)!mover_pod_remove(b->cx, b->a, b->uid, ns, NULL, &gone, NULL);
    backup_session_close(b);
    (void)!lease_give(b->cx, b->a, lease_name(b), &me, NULL);
}

static const char *partial_text(struct backup_run *b)
{
    size_t i;
    json_t *row;
    json_array_foreach(backup_rows(b), i, row)
    {
        const char *message = json_text_at(row, "message", NULL);
        if (!streq(json_text_at(row, "phase", NULL), "Completed"))
            return arena_printf(b->a, "the volume of claim %s: %s",
                                json_text_at(row, "claim", NULL), message ? message : "not copied");
    }
    const char *problem =
        json_string_value(json_array_get(json_object_get(b->st.now, "problems"), 0));
    return problem ? problem : "see status.problems";
}

static int finish(struct backup_run *b, struct err *err)
{
    bool partial = backup_is_partial(b);
    const char *note;
    clean(b);
    set_now(b, "completionTime");
    status_set(&b->st, "retrySince", NULL);
    if (partial) {
        note = arena_printf(b->a, "stored and read back, but not complete: %s", partial_text(b));
        status_set(&b->st, "phase", json_string("PartiallyFailed"));
        status_stalled(&b->st, "PartiallyFailed", "%s", note);
    } else {
        json_t *counts = json_object_get(b->st.now, "counts");
        note =
            arena_printf(b->a, "stored and read back: %lld objects, %lld with fields, %zu volumes",
                         (long long)json_integer_value(json_object_get(counts, "keptObjects")),
                         (long long)json_integer_value(json_object_get(counts, "keptFields")),
                         json_array_size(backup_rows(b)));
        status_set(&b->st, "phase", json_string("Completed"));
        status_ready(&b->st, "Completed", "%s", note);
    }
    if (backup_save(b, err) < 0)
        return -1;
    backup_event(b, partial, partial ? "PartiallyFailed" : "Completed", note);
    background_retain(b->cx->background, status_text(&b->st, "store"),
                      status_text(&b->st, "namespace"));
    return 0;
}

/* Condition reasons, as people filter by them. */
static const char *reason_of(enum err_kind kind)
{
    switch (kind) {
    case ERR_NOT_FOUND:
        return "NotFound";
    case ERR_REFUSED:
    case ERR_INVALID:
    case ERR_UNSUPPORTED:
        return "Refused";
    case ERR_FORBIDDEN:
    case ERR_UNAUTHORIZED:
        return "NotAllowed";
    case ERR_CORRUPT:
        return "Corrupt";
    case ERR_BUSY:
        return "Busy";
    case ERR_UNAVAILABLE:
    case ERR_TIMEOUT:
        return "Unavailable";
    case ERR_NONE:
    case ERR_EXISTS:
    case ERR_CONFLICT:
    case ERR_GONE:
    case ERR_CANCELLED:
    case ERR_TOO_LARGE:
    case ERR_IO:
    case ERR_INTERNAL:
    case ERR_KIND_MAX:
        break;
    }
    return "Failed";
}

static int fail(struct backup_run *b, enum backup_phase phase, const struct err *why,
                struct err *err)
{
    clean(b);
    set_now(b, "completionTime");
    status_set(&b->st, "retrySince", NULL);
    status_set(&b->st, "phase", json_string("Failed"));
    const char *doing = phases[phase].doing;
    const char *note = arena_printf(b->a, "%s: %s", doing, why->msg);
    status_stalled(&b->st, reason_of(why->kind), "%s", note);
    if (backup_save(b, err) < 0)
        return -1;
    backup_event(b, true, "Failed", note);
    return 0;
}

/* Trouble that may pass by itself is waited for, with a word to people, but not for ever. */
static int retry(struct backup_run *b, enum backup_phase phase, const struct err *why,
                 struct outcome *ret, struct err *err)
{
    int64_t since;
    bool first = !clock_parse(str_of(status_text(&b->st, "retrySince")), &since);
    if (!first && clock_wall_ms() - since > BACKUP_RETRY_FOR_MS)
        return fail(b, phase, why, err);
    /* A repository that failed to write writes no more: the next try opens it anew. */
    if (phase == BACKUP_WRITE || phase == BACKUP_READ_BACK)
        backup_session_leave(b);
    /* Nothing is open yet: those whose store answers need not wait for this one's. */
    if (phase == BACKUP_PENDING || phase == BACKUP_PLAN)
        backup_place_give(b->uid);
    if (first)
        set_now(b, "retrySince");
    const char *note =
        arena_printf(b->a, "%s, trying again: %.900s", phases[phase].doing, why->msg);
    if (!text_same_but_numbers(note, status_message(&b->st, "Ready")))
        status_progress(&b->st, reason_of(why->kind), "%s", note);
    if (first)
        backup_event(b, true, reason_of(why->kind),
                     arena_printf(b->a, "%s, trying again: %s", phases[phase].doing, why->msg));
    *ret = (struct outcome){OUTCOME_AFTER, BACKUP_RETRY_MS};
    return backup_save(b, err);
}

/* ---- the way ---- */

static int enter(struct backup_run *b, enum backup_phase phase, struct err *err)
{
    status_set(&b->st, "phase", json_string(phases[phase].name));
    status_set(&b->st, "retrySince", NULL);
    status_progress(&b->st, phases[phase].name, "%s", phases[phase].doing);
    return backup_save(b, err);
}

/* Volumes that were copied before a Restore and what is read after it are of two times: whatever
 * was copied is copied again, at no great cost, as it is in the store already. A mover that was
 * stopped has to be gone first, or its answer would be taken for the new one's. */
static int begin_volumes_again(struct backup_run *b, const char *ns, bool *ret_gone,
                               struct err *err)
{
    status_set(&b->st, "phase", json_string(phases[BACKUP_VOLUMES].name));
    backup_rows_again(b);
    return mover_pod_leave(b->cx, b->a, b->uid, ns, ret_gone, err);
}

/* Waits for a Restore of another target that may be rewriting the same volumes. A snapshot that is
 * written already is whole and waits for nobody. */
static int look_for_restore(struct backup_run *b, enum backup_phase phase, bool *ret_mine,
                            const char **ret_other, struct err *err)
{
    struct lease_holder me = holder_of(b);
    const char *ns = status_text(&b->st, "namespace"), *restore, *written = NULL;
    bool waited = streq(status_condition_is(&b->st, "RestoreInProgress"), "True"), gone;
    if (lease_restore_in(b->cx, b->a, ns, &me, &restore, err) < 0)
        return -1;
    if (!restore && !waited)
        return 0;
    /* The lock lives on, or a prune could take what need not be stored twice. */
    if (backup_session(b, err) < 0 ||
        (phase == BACKUP_WRITE && backup_find_written(b, &written, err) < 0))
        return -1;
    if (written)
        return 0;
    if (begin_volumes_again(b, ns, &gone, err) < 0)
        return -1;
    if (restore)
        *ret_other = arena_printf(b->a, "Restore %s", restore);
    else
        *ret_other = "a mover that a Restore has interrupted";
    *ret_mine = !restore && gone && phase == BACKUP_VOLUMES;
    return 0;
}

/* *ret_mine: the target is ours to read; else somebody works on it and the status says who. */
static int take_lease(struct backup_run *b, enum backup_phase phase, bool *ret_mine,
                      struct err *err)
{
    struct lease_holder me = holder_of(b);
    const char *other = "";
    if (lease_take(b->cx, b->a, lease_name(b), &me, ret_mine, &other, err) < 0 ||
        (*ret_mine && (phase == BACKUP_VOLUMES || phase == BACKUP_WRITE) &&
         look_for_restore(b, phase, ret_mine, &other, err) < 0))
        return -1;
    if (*ret_mine)
        return 0;
    bool restore = strncmp(other, "Restore ", 8) == 0;
    const char *reason = restore ? "RestoreInProgress" : "BackupInProgress";
    status_progress(&b->st, reason, "waiting until %s has ended with the same %s", other,
                    restore ? "content" : "target");
    if (restore && !streq(status_condition_is(&b->st, reason), "True"))
        backup_event(b, false, reason, arena_printf(b->a, "waiting until %s has ended", other));
    if (restore)
        status_condition(&b->st, reason, "True", reason, "%s works on the same content", other);
    return 0;
}

/* All of a nightly schedule begin in one moment. Those that have begun go on, wherever they are
 * after a restart, and a Restore waits for its safety backup. */
static bool take_place(const struct backup_run *b, enum backup_phase phase)
{
    bool waits = phase == BACKUP_PENDING && !b->safety_for;
    return backup_place_take(b->uid, waits ? BACKUPS_AT_ONCE : SIZE_MAX);
}

static int advance(struct backup_run *b, enum backup_phase phase, struct outcome *ret,
                   struct err *err)
{
    bool mine;
    if (!take_place(b, phase)) {
        status_progress(&b->st, "BackupsInProgress", "waiting: %d other Backups are at work",
                        BACKUPS_AT_ONCE);
        *ret = (struct outcome){OUTCOME_AFTER, BACKUP_PLACE_MS};
        return backup_save(b, err);
    }
    if (take_lease(b, phase, &mine, err) < 0)
        return -1;
    if (!mine) {
        /* A Restore that is Held can take days: whoever waits for it keeps nobody else waiting. */
        backup_place_give(b->uid);
        *ret = (struct outcome){OUTCOME_AFTER, 2 * BACKUP_LOOK_MS};
        return backup_save(b, err);
    }
    status_condition(&b->st, "RestoreInProgress", NULL, "", "%s", "");
    int r = BACKUP_NEXT;
    if (phase == BACKUP_PENDING)
        set_now(b, "startTime");
    else
        r = phases[phase].run(b, err);
    if (r < 0)
        return -1;
    status_set(&b->st, "retrySince", NULL);
    *ret = (struct outcome){OUTCOME_AFTER, r == BACKUP_WAIT ? BACKUP_LOOK_MS : 0};
    if (r == BACKUP_WAIT)
        return backup_save(b, err);
    if (phases[phase].next == BACKUP_COMPLETED) {
        *ret = (struct outcome){OUTCOME_DONE, 0};
        return finish(b, err);
    }
    return enter(b, phases[phase].next, err);
}

/* False, with the condition set, for what no Backup may be. */
static bool acceptable(struct backup_run *b)
{
    if (!streq(b->ns, b->cx->ns)) {
        status_stalled(&b->st, "WrongNamespace",
                       "Backups are accepted only in namespace %s for now: make it there",
                       b->cx->ns);
        return false;
    }
    if (!b->kind || !b->target_ns || !b->target) {
        status_stalled(&b->st, "InvalidTarget", "spec.target needs kind, namespace and name");
        return false;
    }
    int64_t ttl;
    if (b->ttl && (!clock_parse_duration(str_of(b->ttl), &ttl) || ttl <= 0)) {
        status_stalled(&b->st, "InvalidTTL",
                       "spec.ttl '%.40s' is no time: give one like 72h or 30d", b->ttl);
        return false;
    }
    if (b->schedule && strpbrk(b->schedule, ",/")) {
        status_stalled(&b->st, "InvalidSchedule",
                       "the annotation " BACKUP_SCHEDULE_ANNOTATION " is no name of a Schedule");
        return false;
    }
    return true;
}

static void read_spec(struct backup_run *b)
{
    const struct kube_object *o = &b->st.object;
    b->ns = o->ns;
    b->name = o->name;
    b->uid = o->uid;
    b->full = arena_printf(b->a, "Backup %s/%s", o->ns, o->name);
    b->kind = raw_text(b->a, o->raw, "spec", "target", "kind", NULL);
    b->target_ns = raw_text(b->a, o->raw, "spec", "target", "namespace", NULL);
    b->target = raw_text(b->a, o->raw, "spec", "target", "name", NULL);
    b->store_ref = raw_text(b->a, o->raw, "spec", "storeRef", "name", NULL);
    b->safety_for = kube_label(b->a, o, LEASE_SAFETY_LABEL);
    if (raw_is(raw_at(o->raw, "spec", "keep", NULL), "All"))
        b->keep = b->safety_for ? PLAN_SAFETY : PLAN_ALL;
    b->schedule = kube_annotation(b->a, o, BACKUP_SCHEDULE_ANNOTATION);
    if (!b->schedule)
        b->schedule = kube_label(b->a, o, BACKUP_SCHEDULE_ANNOTATION);
    b->ttl = raw_text(b->a, o->raw, "spec", "ttl", NULL);
}

static int run(struct backup_run *b, struct outcome *ret, struct err *err)
{
    enum backup_phase phase = phase_of(b);
    struct err why;
    if (ended(phase)) {
        backup_session_close(b);
        if (retain_is_asked(kube_annotation(b->a, &b->st.object, "gleaner.dev/request"),
                            status_text(&b->st, "lastHandledRequest")))
            background_retain(b->cx->background, status_text(&b->st, "store"),
                              status_text(&b->st, "namespace"));
        return 0;
    }
    /* Its snapshot is there already, and its status comes from the store (store/sync.h). Nothing is
     * written here, or the one who writes it would have to wait. */
    if (kube_annotation(b->a, &b->st.object, BACKUP_UID_ANNOTATION))
        return 0;
    if (!acceptable(b))
        return status_write(b->cx->kube, b->a, &b->st, false, err);
    if (advance(b, phase, ret, &why) == 0)
        return 0;
    if (why.kind == ERR_CANCELLED || why.kind == ERR_CONFLICT) {
        /* Somebody wrote the status, or we are stopping: read again and decide again. */
        *ret = (struct outcome){OUTCOME_AFTER, BACKUP_LOOK_MS};
        return 0;
    }
    if (err_is_transient(&why))
        return retry(b, phase, &why, ret, err);
    return fail(b, phase, &why, err);
}

/* What a process that was killed may have left; once in the life of this one, and whenever a Backup
 * was deleted. */
static int sweep(struct context *cx, struct arena *a, bool again, struct err *err)
{
    static atomic_bool done;
    if (!again && atomic_exchange(&done, true))
        return 0;
    return backup_sweep(cx, a, err);
}

int backup_reconcile(struct context *cx, struct arena *a, const char *ns, const char *name,
                     struct outcome *ret, struct err *err)
{
    struct status st CLEANUP(status_free) = {0};
    *ret = (struct outcome){OUTCOME_DONE, 0};
    if (status_read(cx->kube, a, &KUBE_BACKUP, ns, name, &st, err) < 0) {
        if (err->kind != ERR_NOT_FOUND)
            return -1;
        return sweep(cx, a, true, err);
    }
    if (sweep(cx, a, false, err) < 0)
        return -1;
    struct backup_run b = {.cx = cx, .a = a, .st = st};
    read_spec(&b);
    int r = run(&b, ret, err);
    backup_session_give(&b);
    st = b.st; /* for its cleanup */
    return r;
}
