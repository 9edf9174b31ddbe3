/* One reconcile of a Restore: read, decide which step is next from status and cluster, run that one
 * step, persist what came of it. */
#include <stdarg.h>
#include <stdio.h>

#include "core/clock.h"
#include "core/log.h"
#include "reconciler/restore/restore.h"

enum { GO_BACK_AGAIN_MS = 10000 };

/* The reason of a Held from which there is no going on. */
#define OUTDATED "SafetyBackupOutdated"

/* ---- reading ---- */

static void restore_free(struct restore *r)
{
    status_free(&r->st);
    stored_keep(r->archive);
    if (r->archive && r->phase >= PHASE_DONE) /* nothing more is read, for now or for ever */
        stored_drop();
    if (r->types)
        kube_discovery_free(r->types);
    vec_free(&r->others);
}

static int restore_read(struct context *cx, struct arena *a, const char *ns, const char *name,
                        struct restore *ret, struct err *err)
{
    struct restore r = {.cx = cx, .a = a};
    if (status_read(cx->kube, a, &KUBE_RESTORE, ns, name, &r.st, err) < 0)
        return -1;
    str raw = r.st.object.raw;
    r.ns = r.st.object.ns;
    r.name = r.st.object.name;
    r.uid = r.st.object.uid;
    r.full = arena_printf(a, "%s/%s", r.ns, r.name);
    r.backup = raw_text(a, raw, "spec", "backupRef", "name", NULL);
    r.safety_backup = !str_is(raw_at(raw, "spec", "safetyBackup", NULL), "false");
    r.manual = raw_is(raw_at(raw, "spec", "resume", NULL), "Manual");
    r.deleting = raw_at(raw, "metadata", "deletionTimestamp", NULL).p != NULL;
    const char *phase = status_text(&r.st, "phase");
    r.phase = *phase ? restore_phase_parse(phase) : PHASE_MAX;
    if (*phase && r.phase == PHASE_MAX) {
        status_free(&r.st);
        return err_set(err, ERR_CORRUPT, "Restore %s: status.phase %s is no phase", name, phase);
    }
    *ret = r;
    return 0;
}

struct lease_holder restore_holder(const struct restore *r)
{
    return (struct lease_holder){
        .type = &KUBE_RESTORE, .ns = r->ns, .name = r->name, .uid = r->uid};
}

/* ---- writing ---- */

int restore_save(struct restore *r, struct err *err)
{
    return status_write(r->cx->kube, r->a, &r->st, false, err);
}

void restore_event(struct restore *r, bool warning, bool everywhere, const char *reason,
                   const char *fmt, ...)
{
    char note[1000];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(note, sizeof note, fmt, ap);
    va_end(ap);
    text_mend(note);
    log_line(warning ? LOG_WARN : LOG_INFO, note, "restore", r->name, "reason", reason, NULL);
    if (!r->cx->events)
        return;
    struct err why;
    if (kube_event_emit(r->cx->events, &r->st.object, warning, reason, "Restore", note, &why) < 0)
        log_err("event not written", &why, "restore", r->name);
    for (size_t i = 0; everywhere && i < restore_hold_count(r); i++) {
        struct application app;
        bool gone = false;
        if (restore_hold_read(r, i, &app, &gone, &why) < 0 || gone)
            continue;
        if (kube_event_emit(r->cx->events, &app.object, warning, reason, "Restore", note, &why) < 0)
            log_err("event not written", &why, "restore", r->name);
    }
}

int restore_wait(struct restore *r, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(r->why, sizeof r->why, fmt, ap);
    va_end(ap);
    text_mend(r->why);
    return STEP_WAIT;
}

static void stamp(struct restore *r, const char *member)
{
    char now[CLOCK_RFC3339];
    clock_format(clock_wall_ms(), now);
    status_set(&r->st, member, json_string(now));
}

/* The finalizer stands from Lock to the end. The list is written whole, under resourceVersion. */
static int set_finalizer(struct restore *r, bool wanted, struct err *err)
{
    json_t *list CLEANUP_JSON = NULL;
    str raw = raw_at(r->st.object.raw, "metadata", "finalizers", NULL);
    if (!raw.p)
        list = json_array();
    else if (json_parse(raw, &list, err) < 0)
        return -1;
    size_t at = json_array_size(list), i;
    json_t *v;
    json_array_foreach(list, i, v) if (streq(json_string_value(v), RESTORE_FINALIZER)) at = i;
    if ((at < json_array_size(list)) == wanted)
        return 0;
    if (wanted)
        json_array_append_new(list, json_string(RESTORE_FINALIZER));
    else
        json_array_remove(list, at);
    json_t *body CLEANUP_JSON =
        json_pack("{s:{s:s, s:s, s:O}}", "metadata", "uid", r->uid, "resourceVersion",
                  r->st.object.resource_version, "finalizers", list);
    struct buf text CLEANUP(buf_free) = {0};
    json_print(&text, body);
    struct err why;
    struct kube_object now;
    if (kube_patch(r->cx->kube, r->a, &KUBE_RESTORE, r->ns, r->name, KUBE_PATCH_MERGE,
                   buf_view(&text), NULL, &now, &why) < 0) {
        if (why.kind == ERR_NOT_FOUND && !wanted)
            return 0;
        return err_set(err, why.kind, "finalizer of Restore %s: %s", r->name, why.msg);
    }
    r->st.object = now;
    return 0;
}

/* The one way into a phase: persisted first, by one controller only, then its step may run. */
static int set_phase(struct restore *r, enum restore_phase p, struct err *err)
{
    const struct phase *ph = &restore_phases[p];
    status_set(&r->st, "phase", json_string(ph->name));
    status_set(&r->st, "cursor", NULL);
    status_set(&r->st, "message", NULL);
    stamp(r, "phaseStartedAt");
    if (!(ph->flags & PHASE_ENDS) && p != PHASE_HELD) {
        const char *ending = json_text_at(r->st.now, "ending", "message", NULL);
        if (ending)
            status_progress(&r->st, "GoingBack", "%s; undoing %s", ending, ph->name);
        else
            status_progress(&r->st, ph->reason, "%s: %s", ph->name, ph->doing);
        status_condition(&r->st, "Held", NULL, "", "%s", "");
        status_set(&r->st, "heldIn", NULL);
    }
    if (status_write(r->cx->kube, r->a, &r->st, true, err) < 0)
        return -1;
    log_line(LOG_INFO, "restore enters a phase", "restore", r->name, "phase", ph->name, NULL);
    r->phase = p;
    return 0;
}

/* ---- ends ---- */

static int release_leases(struct restore *r, struct err *err)
{
    struct lease_holder me = restore_holder(r);
    const char *kind = restore_target(r, "kind");
    if (*kind) {
        const char *lease =
            lease_of_target(r->a, kind, restore_target(r, "namespace"), restore_target(r, "name"));
        if (lease_give(r->cx, r->a, lease, &me, err) < 0)
            return -1;
    }
    return lease_give(r->cx, r->a, LEASE_RESTORES, &me, err);
}

/* Idempotent: what is left to do once a Restore has ended. The finalizer says whether there is. */
static int clean_up(struct restore *r, struct err *err)
{
    str list = raw_at(r->st.object.raw, "metadata", "finalizers", NULL);
    if (!list.p || !memmem(list.p, list.n, RESTORE_FINALIZER, strlen(RESTORE_FINALIZER)))
        return 0;
    if (release_leases(r, err) < 0)
        return -1;
    return set_finalizer(r, false, err);
}

static int finish(struct restore *r, enum restore_phase p, const char *reason, const char *message,
                  struct err *err)
{
    stamp(r, "completedAt");
    status_set(&r->st, "ending", NULL);
    status_condition(&r->st, "Held", NULL, "", "%s", "");
    status_set(&r->st, "heldIn", NULL);
    if (p == PHASE_DONE)
        status_ready(&r->st, reason, "%s", message);
    else
        status_stalled(&r->st, reason, "%s", message);
    if (set_phase(r, p, err) < 0)
        return -1;
    restore_event(r, p != PHASE_DONE, p == PHASE_DONE, reason, "%s", message);
    return clean_up(r, err);
}

/* Texts of others may be cut within a character or hold none: JSON would refuse them. */
static const char *printable(struct arena *a, const char *text)
{
    struct buf raw CLEANUP(buf_free) = {0};
    raw_add_string(&raw, str_of(text));
    return raw_string(a, buf_view(&raw)).p;
}

/* From now on the undos run, last phase first; then the Restore ends in `end`. */
static int begin_ending(struct restore *r, enum restore_phase end, const char *reason,
                        const char *message, bool abandon, struct err *err)
{
    message = printable(r->a, message);
    status_set(&r->st, "ending",
               json_pack("{s:s, s:s, s:s, s:b}", "phase", restore_phases[end].name, "reason",
                         reason, "message", message, "abandon", abandon));
    status_progress(&r->st, "GoingBack", "%s; undoing what was done", message);
    stamp(r, "phaseStartedAt");
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
    const char *in = restore_phases[r->phase].name, *text = printable(r->a, cause->msg);
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

static int go_back(struct restore *r, struct err *err)
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
        return set_phase(r, back, err) < 0 ? -1 : STEP_NEXT;
    json_t *e = json_object_get(r->st.now, "ending");
    enum restore_phase end = restore_phase_parse(json_text_at(e, "phase", NULL));
    const char *reason = arena_strdup(r->a, json_text_at(e, "reason", NULL));
    const char *message = arena_strdup(r->a, json_text_at(e, "message", NULL));
    if (end == PHASE_MAX || !reason || !message)
        return err_set(err, ERR_CORRUPT, "Restore %s: status.ending is broken", r->name);
    return finish(r, end, reason, message, err) < 0 ? -1 : STEP_NEXT;
}

static size_t still_held(struct restore *r, struct err *err)
{
    size_t n = 0;
    for (size_t i = 0; i < restore_hold_count(r); i++) {
        struct application app;
        struct hold h;
        bool gone = false;
        if (restore_hold_read(r, i, &app, &gone, err) < 0)
            return SIZE_MAX;
        n += !gone && hold_read(r->a, &app.object, &h) && streq(h.uid, r->uid);
    }
    return n;
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
    const char *text = printable(r->a, arena_printf(r->a, "%s: %s. %s", in, message, what_next(r)));
    struct err why;
    if (r->phase == PHASE_VOLUMES && restore_volumes_abort(r, &why) < 0)
        log_err("a mover was not removed yet", &why, "restore", r->name);
    status_stalled(&r->st, reason, "%s", text);
    status_condition(&r->st, "Held", "True", reason, "%s", text);
    status_set(&r->st, "heldIn", json_string(in));
    if (set_phase(r, PHASE_HELD, err) < 0)
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

static int fail(struct restore *r, const struct err *cause, struct err *err)
{
    const struct phase *ph = &restore_phases[r->phase];
    log_err("restore step failed", cause, "phase", ph->name);
    const char *message = arena_printf(r->a, "%s", cause->msg);
    if (ph->on_fail == PHASE_HELD)
        return hold_there(r, r->outdated ? OUTDATED : reason_of(cause->kind), message, err);
    message = arena_printf(r->a, "%s: %s. Nothing was changed", ph->name, message);
    return begin_ending(r, PHASE_FAILED, reason_of(cause->kind), message, false, err);
}

/* ---- going on after Held ---- */

/* What the application wrote while it was Held is in no backup, and Volumes would overwrite it. */
static int nothing_ran(struct restore *r, struct err *err)
{
    if (r->phase > PHASE_VOLUMES || restore_check_stopped(r, err) == 0)
        return STEP_NEXT;
    r->outdated = err->kind == ERR_REFUSED;
    return -1;
}

/* Whatever was freed or written while it was Held: the holds stand again and are proven; in Volumes
 * and before, nothing that was stopped may have run, and every volume is looked at again. */
static int make_ready_again(struct restore *r, struct err *err)
{
    int rc = restore_volumes_abort(r, err);
    if (rc == STEP_NEXT)
        rc = nothing_ran(r, err);
    if (rc == STEP_NEXT && r->phase < PHASE_RESUME)
        rc = restore_hold_again(r, err);
    if (rc == STEP_NEXT && r->phase <= PHASE_VOLUMES)
        rc = restore_stop(r, err);
    if (rc == STEP_NEXT) /* what was stopped only now */
        rc = restore_mark_workloads(r, err);
    if (rc != STEP_NEXT)
        return rc;
    size_t i;
    json_t *row;
    json_array_foreach(restore_claims(r), i, row)
    {
        if (r->phase <= PHASE_VOLUMES)
            json_object_set_new(row, "state", json_string("Pending"));
    }
    status_set(&r->st, "goingOn", NULL);
    return restore_save(r, err) < 0 ? -1 : STEP_NEXT;
}

static int run_step(struct restore *r, struct err *err)
{
    if (json_is_true(json_object_get(r->st.now, "goingOn"))) {
        int rc = make_ready_again(r, err);
        if (rc != STEP_NEXT)
            return rc;
    }
    if (r->phase > PHASE_CLEAR && r->phase < PHASE_RESUME && restore_check_holds(r, err) < 0)
        return -1;
    return restore_phases[r->phase].run(r, err);
}

/* ---- people's answers ---- */

static bool before_clear(enum restore_phase p)
{
    return p < PHASE_CLEAR;
}

static bool may_go_on(struct restore *r)
{
    return r->phase == PHASE_HELD && !streq(status_reason(&r->st, "Held"), OUTDATED);
}

/* 1: a request was answered and the status written; 0: there was none. */
static int answer_request(struct restore *r, struct err *err)
{
    const char *request = kube_annotation(r->a, &r->st.object, REQUEST_ANNOTATION);
    if (!request || !*request || streq(request, status_text(&r->st, "lastHandledRequest")))
        return 0;
    str rest = str_of(request);
    str verb = str_cut(&rest, ':');
    status_set(&r->st, "lastHandledRequest", json_string(request));
    enum restore_phase held = restore_phase_parse(status_text(&r->st, "heldIn"));
    bool ending = json_object_get(r->st.now, "ending") != NULL;

    if (str_is(verb, "resume") && held != PHASE_MAX && may_go_on(r)) {
        /* Whoever looked after the cause may have written to volumes that were equal already. */
        if (held == PHASE_OBJECTS)
            held = PHASE_VOLUMES;
        restore_event(r, false, false, "Resumed", "going on with %s, as asked",
                      restore_phases[held].name);
        status_set(&r->st, "goingOn", json_true());
        return set_phase(r, held, err) < 0 ? -1 : 1;
    }
    if (str_is(verb, "resume") && r->phase == PHASE_RESUME && r->manual) {
        status_set(&r->st, "resumeRequested", json_true());
    } else if (str_is(verb, "cancel") && before_clear(r->phase) && !ending) {
        return begin_ending(r, PHASE_CANCELLED, "Cancelled",
                            "Cancelled as asked. Nothing was changed", false, err) < 0
                   ? -1
                   : 1;
    } else if (str_is(verb, "abandon") && r->phase == PHASE_HELD) {
        return begin_ending(
                   r, PHASE_FAILED, "Abandoned",
                   "Abandoned half-way as asked: the engine was given back over data that is "
                   "not all restored",
                   true, err) < 0
                   ? -1
                   : 1;
    } else {
        restore_event(
            r, true, false, "RequestIgnored",
            "the request \"%s\" has no meaning in phase %s: resume goes on from Held (unless the "
            "safety backup is outdated) or from a manual Resume, cancel works before Clear, "
            "abandon from Held",
            request, r->phase == PHASE_MAX ? "none" : restore_phases[r->phase].name);
    }
    return restore_save(r, err) < 0 ? -1 : 1;
}

/* ---- deletion ---- */

/* Before Clear a deletion is a cancel. After it the engine stays held: whoever deletes the Restore
 * may not know that data is missing. The markers tell the rest to `gleaner holds`. */
static int delete (struct restore *r, struct err *err)
{
    bool ended = r->phase != PHASE_MAX && (restore_phases[r->phase].flags & PHASE_ENDS);
    if (r->phase == PHASE_MAX || ended)
        return clean_up(r, err) < 0 ? -1 : STEP_NEXT;
    if (json_object_get(r->st.now, "ending"))
        return go_back(r, err);
    if (before_clear(r->phase))
        return begin_ending(r, PHASE_CANCELLED, "Deleted", "Deleted before anything was changed",
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
    return clean_up(r, err) < 0 ? -1 : STEP_NEXT;
}

/* ---- the reconcile ---- */

int64_t restore_phase_age_s(struct restore *r)
{
    int64_t since;
    if (!clock_parse(str_of(status_text(&r->st, "phaseStartedAt")), &since))
        return 0;
    return (clock_wall_ms() - since) / 1000;
}

static bool time_is_over(struct restore *r)
{
    const struct phase *ph = &restore_phases[r->phase];
    return !(ph->flags & PHASE_PATIENT) && ph->timeout_s &&
           restore_phase_age_s(r) > (int64_t)ph->timeout_s;
}

/* People see what is in the way; the queue tries again with a growing delay. */
static int try_again(struct restore *r, const struct err *cause, struct err *err)
{
    const struct phase *ph = &restore_phases[r->phase];
    if (err_is_transient(cause) && cause->kind != ERR_CANCELLED) {
        status_progress(&r->st, "Retrying", "%s: %s. Trying again", ph->name,
                        printable(r->a, cause->msg));
        struct err why;
        if (restore_save(r, &why) == 0)
            restore_event(r, true, false, "Retrying", "%s: %s", ph->name, cause->msg);
    }
    *err = *cause;
    return err_wrap(err, "%s", ph->name);
}

static int run_phase(struct restore *r, struct err *err)
{
    const struct phase *ph = &restore_phases[r->phase];
    struct err why = {0};
    int rc = run_step(r, &why);
    if (rc == STEP_NEXT && ph->next == PHASE_DONE)
        return finish(r, PHASE_DONE, "Restored",
                      arena_printf(r->a, "%s %s/%s is as backup %s has it",
                                   restore_target(r, "kind"), restore_target(r, "namespace"),
                                   restore_target(r, "name"), r->backup),
                      err);
    if (rc == STEP_NEXT)
        return set_phase(r, ph->next, err);
    if (rc == STEP_WAIT && time_is_over(r)) {
        err_set(&why, ERR_TIMEOUT, "gave up after %u s: %s", ph->timeout_s, r->why);
        return fail(r, &why, err);
    }
    if (rc == STEP_WAIT) {
        status_progress(&r->st, ph->reason, "%s: %s", ph->name, r->why);
        return restore_save(r, err) < 0 ? -1 : STEP_WAIT;
    }
    bool again = err_is_transient(&why) || why.kind == ERR_CONFLICT || why.kind == ERR_CANCELLED;
    if (again && !time_is_over(r))
        return try_again(r, &why, err);
    if (why.kind == ERR_CANCELLED)
        return err_set(err, why.kind, "%s", why.msg);
    return fail(r, &why, err);
}

static int first_look(struct restore *r, struct err *err)
{
    if (!streq(r->ns, r->cx->ns)) {
        status_stalled(&r->st, "NotAccepted", "Restores are accepted only in namespace %s",
                       r->cx->ns);
        return restore_save(r, err);
    }
    if (!r->backup) {
        status_stalled(&r->st, "Invalid", "spec.backupRef.name is missing");
        return restore_save(r, err);
    }
    stamp(r, "startedAt");
    return set_phase(r, PHASE_VALIDATE, err) < 0 ? -1 : STEP_WAIT;
}

/* STEP_WAIT: look again after r->wait_ms. */
static int drive(struct restore *r, struct err *err)
{
    if (r->deleting)
        return delete (r, err);
    if (r->phase == PHASE_MAX)
        return first_look(r, err);
    if (restore_phases[r->phase].flags & PHASE_ENDS)
        return clean_up(r, err) < 0 ? -1 : STEP_NEXT;
    int rc = answer_request(r, err);
    if (rc != 0)
        return rc < 0 ? -1 : STEP_WAIT;
    if (json_object_get(r->st.now, "ending"))
        return go_back(r, err);
    if (r->phase == PHASE_HELD)
        return STEP_NEXT;
    return run_phase(r, err);
}

int restore_reconcile(struct context *cx, struct arena *a, const char *ns, const char *name,
                      struct outcome *ret, struct err *err)
{
    struct restore r;
    struct err why = {0};
    if (restore_read(cx, a, ns, name, &r, &why) < 0) {
        *ret = (struct outcome){.what = OUTCOME_DONE};
        return why.kind == ERR_NOT_FOUND ? 0 : err_set(err, why.kind, "%s", why.msg);
    }
    enum restore_phase before = r.phase;
    if (r.phase == PHASE_LOCK && !r.deleting && set_finalizer(&r, true, err) < 0) {
        restore_free(&r);
        return -1;
    }
    int rc = drive(&r, err);
    bool ended = r.phase == PHASE_MAX || r.phase == PHASE_HELD ||
                 (restore_phases[r.phase].flags & PHASE_ENDS);
    if (rc >= 0) {
        unsigned ms = r.phase != before || rc == STEP_NEXT ? 0
                      : r.wait_ms                          ? r.wait_ms
                                                           : RESTORE_WAIT_MS;
        *ret = ended && r.phase == before && rc == STEP_NEXT
                   ? (struct outcome){.what = OUTCOME_DONE}
                   : (struct outcome){OUTCOME_AFTER, ms};
    }
    restore_free(&r);
    return rc < 0 ? -1 : 0;
}
