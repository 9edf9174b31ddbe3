#include "reconciler/restore/ending.h"

#include "core/log.h"
#include "reconciler/restore/journal.h"

enum { GO_BACK_AGAIN_MS = 10000 };

/* The reason of a Held from which there is no going on. */
#define OUTDATED "SafetyBackupOutdated"

bool ending_is_free(enum restore_phase p)
{
    return p < PHASE_CLEAR;
}

bool ending_may_go_on(const struct restore *r)
{
    return r->phase == PHASE_HELD && !streq(status_reason(&r->st, "Held"), OUTDATED);
}

int ending_release(struct restore *r, struct err *err)
{
    struct lease_holder me = restore_holder(r);
    const char *kind = restore_target(r, "kind");
    if (*kind) {
        const char *lease =
            lease_of_target(r->a, kind, restore_target(r, "namespace"), restore_target(r, "name"));
        if (lease_give(r->cx, r->a, lease, &me, err) < 0)
            return -1;
    }
    return ending_rest(r, err);
}

int ending_rest(struct restore *r, struct err *err)
{
    struct lease_holder me = restore_holder(r);
    return lease_give(r->cx, r->a, LEASE_RESTORES, &me, err);
}

int ending_clean_up(struct restore *r, struct err *err)
{
    str list = raw_at(r->st.object.raw, "metadata", "finalizers", NULL);
    if (!list.p || !memmem(list.p, list.n, RESTORE_FINALIZER, strlen(RESTORE_FINALIZER)))
        return 0;
    if (ending_release(r, err) < 0)
        return -1;
    return journal_finalizer(r, false, err);
}

int ending_finish(struct restore *r, enum restore_phase p, const char *reason, const char *message,
                  struct err *err)
{
    journal_stamp(r, "completedAt");
    status_set(&r->st, "ending", NULL);
    status_condition(&r->st, "Held", NULL, "", "%s", "");
    status_set(&r->st, "heldIn", NULL);
    if (p == PHASE_DONE)
        status_ready(&r->st, reason, "%s", message);
    else
        status_stalled(&r->st, reason, "%s", message);
    if (journal_enter(r, p, err) < 0)
        return -1;
    restore_event(r, p != PHASE_DONE, p == PHASE_DONE, reason, "%s", message);
    return ending_clean_up(r, err);
}

int ending_begin(struct restore *r, enum restore_phase end, const char *reason, const char *message,
                 bool abandon, struct err *err)
{
    message = journal_text(r->a, message);
    status_set(&r->st, "ending",
               json_pack("{s:s, s:s, s:s, s:b}", "phase", restore_phases[end].name, "reason",
                         reason, "message", message, "abandon", abandon));
    status_progress(&r->st, "GoingBack", "%s; undoing what was done", message);
    journal_stamp(r, "phaseStartedAt");
    if (abandon) {
        status_set(&r->st, "phase", json_string(restore_phases[PHASE_STOP].name));
        status_condition(&r->st, "Held", NULL, "", "%s", "");
        r->phase = PHASE_STOP;
    }
    if (status_write(r->cx->kube, r->a, &r->st, true, err) < 0)
        return -1;
    restore_event(r, true, false, reason, "%s", message);
    return 0;
}

static enum restore_phase previous_undo(enum restore_phase p)
{
    for (int i = (int)p - 1; i >= 0; i--)
        if (restore_phases[i].undo)
            return (enum restore_phase)i;
    return PHASE_MAX;
}

/* Never given up: something of ours is still on somebody's objects. */
static int cannot_go_back(struct restore *r, const struct err *cause, struct err *err)
{
    const char *in = restore_phases[r->phase].name, *text = journal_text(r->a, cause->msg);
    if (cause->kind == ERR_CANCELLED || cause->kind == ERR_CONFLICT)
        return err_set(err, cause->kind, "undoing %s: %s", in, cause->msg);
    status_progress(&r->st, "GoingBackFailed", "undoing %s: %s. Trying again", in, text);
    if (restore_save(r, err) < 0)
        return -1;
    restore_event(r, true, true, "GoingBackFailed", "undoing %s: %s. Trying again", in, text);
    r->wait_ms = GO_BACK_AGAIN_MS;
    return STEP_WAIT;
}

static const char *ending_text(struct restore *r)
{
    const char *text = json_text_at(r->st.now, "ending", "message", NULL);
    return text ? text : "Going back";
}

/* People have to see what it waits for: it may be for them. */
static int going_back_waits(struct restore *r, const char *message, struct err *err)
{
    status_progress(&r->st, "GoingBack", "%s: %s", message, r->why);
    return restore_save(r, err) < 0 ? -1 : STEP_WAIT;
}

int ending_go_back(struct restore *r, struct err *err)
{
    const struct phase *ph = &restore_phases[r->phase];
    if (ph->undo) {
        struct err why;
        int rc = ph->undo(r, &why);
        if (rc < 0)
            return cannot_go_back(r, &why, err);
        if (rc != STEP_NEXT)
            return going_back_waits(
                r, arena_printf(r->a, "%s; undoing %s", ending_text(r), ph->name), err);
    }
    enum restore_phase back = previous_undo(r->phase);
    if (back != PHASE_MAX)
        return journal_enter(r, back, err) < 0 ? -1 : STEP_NEXT;
    json_t *e = json_object_get(r->st.now, "ending");
    enum restore_phase end = restore_phase_parse(json_text_at(e, "phase", NULL));
    const char *reason = arena_strdup(r->a, json_text_at(e, "reason", NULL));
    const char *message = arena_strdup(r->a, json_text_at(e, "message", NULL));
    if (end == PHASE_MAX || !reason || !message)
        return err_set(err, ERR_CORRUPT, "Restore %s: status.ending is broken", r->name);
    return ending_finish(r, end, reason, message, err) < 0 ? -1 : STEP_NEXT;
}

static size_t still_held(struct restore *r, struct err *err)
{
    struct application app;
    struct hold h;
    size_t n = 0;
    int more;
    for (size_t at = 0; (more = restore_hold_next(r, &at, &app, err)) > 0;)
        n += hold_read(r->a, &app.object, &h) && streq(h.uid, r->uid);
    return more < 0 ? SIZE_MAX : n;
}

/* The engine, and what to do: two sentences and a command. */
static const char *what_next(struct restore *r)
{
    struct err why;
    const char *engine = r->phase > PHASE_RESUME    ? "The engine was given back already"
                         : still_held(r, &why) == 0 ? "The engine is not held any more"
                                                    : "The engine stays held";
    if (r->outdated)
        return arena_printf(r->a,
                            "%s. This Restore does not go on over what no backup has: delete it "
                            "and make a new one, which takes over what is held and stopped and "
                            "begins with a safety backup",
                            engine);
    return arena_printf(r->a,
                        "%s. When the cause is gone: kubectl annotate restore -n %s %s --overwrite "
                        "gleaner.dev/request=resume:$RANDOM",
                        engine, r->ns, r->name);
}

static int hold_there(struct restore *r, const char *reason, const char *message, struct err *err)
{
    const char *in = restore_phases[r->phase].name;
    const char *text =
        journal_text(r->a, arena_printf(r->a, "%s: %s. %s", in, message, what_next(r)));
    struct err why;
    if (r->phase == PHASE_VOLUMES && restore_volumes_abort(r, &why) < 0)
        log_err("a mover was not removed yet", &why, "restore", r->name);
    status_stalled(&r->st, reason, "%s", text);
    status_condition(&r->st, "Held", "True", reason, "%s", text);
    status_set(&r->st, "heldIn", json_string(in));
    if (journal_enter(r, PHASE_HELD, err) < 0)
        return -1;
    restore_event(r, true, true, "Held", "%s", text);
    return 0;
}

static const char *reason_of(enum err_kind kind)
{
    static const char *const names[ERR_KIND_MAX] = {
        [ERR_INVALID] = "Invalid",
        [ERR_NOT_FOUND] = "NotFound",
        [ERR_FORBIDDEN] = "Forbidden",
        [ERR_TIMEOUT] = "TimedOut",
        [ERR_UNAVAILABLE] = "Unavailable",
        [ERR_CORRUPT] = "BackupBroken",
        [ERR_REFUSED] = "Refused",
        [ERR_UNSUPPORTED] = "Unsupported",
        [ERR_BUSY] = "Busy",
        [ERR_TOO_LARGE] = "TooLarge",
    };
    return names[kind] ? names[kind] : "StepFailed";
}

int ending_fail(struct restore *r, const struct err *cause, struct err *err)
{
    const struct phase *ph = &restore_phases[r->phase];
    log_err("restore step failed", cause, "phase", ph->name);
    const char *message = arena_printf(r->a, "%s", cause->msg);
    if (ph->on_fail == PHASE_HELD)
        return hold_there(r, r->outdated ? OUTDATED : reason_of(cause->kind), message, err);
    message = arena_printf(r->a, "%s: %s. Nothing was changed", ph->name, message);
    return ending_begin(r, PHASE_FAILED, reason_of(cause->kind), message, false, err);
}

int ending_delete(struct restore *r, struct err *err)
{
    bool ended = r->phase != PHASE_MAX && (restore_phases[r->phase].flags & PHASE_ENDS);
    if (r->phase == PHASE_MAX || ended)
        return ending_clean_up(r, err) < 0 ? -1 : STEP_NEXT;
    if (json_object_get(r->st.now, "ending"))
        return ending_go_back(r, err);
    if (ending_is_free(r->phase))
        return ending_begin(r, PHASE_CANCELLED, "Deleted", "Deleted before anything was changed",
                            false, err);
    int rc = restore_volumes_abort(r, err);
    if (rc == STEP_WAIT)
        return going_back_waits(
            r, arena_printf(r->a, "Deleted in phase %s", restore_phases[r->phase].name), err);
    if (rc < 0)
        return -1;
    size_t held = still_held(r, err);
    if (held == SIZE_MAX)
        return -1;
    if (held)
        restore_event(
            r, true, true, "HeldWithoutRestore",
            "the Restore %s was deleted in phase %s, after it had begun to change the target: "
            "the engine stays held and workloads stay stopped. Restore again, or give "
            "everything back as it is: gleaner holds --free",
            r->full, restore_phases[r->phase].name);
    return ending_clean_up(r, err) < 0 ? -1 : STEP_NEXT;
}
