/* One reconcile of a Restore: read, decide which step is next from status and cluster, run that one
 * step, persist what came of it. */
#include "reconciler/restore/ending.h"
#include "reconciler/restore/journal.h"

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

/* It was in nobody's way while it waited for a person: now it takes its turn, and says so once. */
static int wait_in_line(struct restore *r, struct err *err)
{
    if (streq(status_reason(&r->st, "Reconciling"), "Waiting"))
        return 1;
    status_condition(&r->st, "Reconciling", "True", "Waiting", "%s; then it goes on", r->why);
    return restore_save(r, err) < 0 ? -1 : 1;
}

/* 1: a request was answered, or waits for its turn; 0: there was none. */
static int answer_request(struct restore *r, struct err *err)
{
    const char *request = kube_annotation(r->a, &r->st.object, REQUEST_ANNOTATION);
    if (!request || !*request || streq(request, status_text(&r->st, "lastHandledRequest")))
        return 0;
    str rest = str_of(request);
    str verb = str_cut(&rest, ':');
    enum restore_phase held = restore_phase_parse(status_text(&r->st, "heldIn"));
    bool ending = json_object_get(r->st.now, "ending") != NULL;
    bool goes_on = str_is(verb, "resume") && held != PHASE_MAX && ending_may_go_on(r);
    bool by_hand = str_is(verb, "resume") && r->phase == PHASE_RESUME && r->manual &&
                   !json_is_true(json_object_get(r->st.now, "resumeRequested"));
    int rc = goes_on || by_hand ? restore_take_leases(r, err) : STEP_NEXT;
    if (rc != STEP_NEXT)
        return rc < 0 ? -1 : wait_in_line(r, err);

    status_set(&r->st, "lastHandledRequest", json_string(request));
    if (goes_on) {
        /* Whoever looked after the cause may have written to volumes that were equal already. */
        if (held == PHASE_OBJECTS)
            held = PHASE_VOLUMES;
        restore_event(r, false, false, "Resumed", "going on with %s, as asked",
                      restore_phases[held].name);
        status_set(&r->st, "goingOn", json_true());
        return journal_enter(r, held, err) < 0 ? -1 : 1;
    }
    if (by_hand) {
        /* It may have waited for days: what the engine would do next is another thing by now. */
        status_set(&r->st, "resumeRequested", json_true());
        return journal_enter(r, PHASE_PREFLIGHT, err) < 0 ? -1 : 1;
    }
    if (str_is(verb, "cancel") && ending_is_free(r->phase) && !ending) {
        return ending_begin(r, PHASE_CANCELLED, "Cancelled",
                            "Cancelled as asked. Nothing was changed", false, err) < 0
                   ? -1
                   : 1;
    }
    if (str_is(verb, "abandon") && r->phase == PHASE_HELD) {
        return ending_begin(
                   r, PHASE_FAILED, "Abandoned",
                   "Abandoned half-way as asked: the engine was given back over data that is "
                   "not all restored",
                   true, err) < 0
                   ? -1
                   : 1;
    }
    restore_event(
        r, true, false, "RequestIgnored",
        "the request \"%s\" has no meaning in phase %s: resume goes on from Held (unless the "
        "safety backup is outdated) or from a manual Resume, cancel works before Clear, "
        "abandon from Held",
        request, r->phase == PHASE_MAX ? "none" : restore_phases[r->phase].name);
    return restore_save(r, err) < 0 ? -1 : 1;
}

/* ---- the reconcile ---- */

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
                        journal_text(r->a, cause->msg));
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
        return ending_finish(r, PHASE_DONE, "Restored",
                             arena_printf(r->a, "%s %s/%s is as backup %s has it",
                                          restore_target(r, "kind"), restore_target(r, "namespace"),
                                          restore_target(r, "name"), r->backup),
                             err);
    if (rc == STEP_NEXT)
        return journal_enter(r, ph->next, err);
    if (rc == STEP_WAIT && time_is_over(r)) {
        err_set(&why, ERR_TIMEOUT, "gave up after %u s: %s", ph->timeout_s, r->why);
        return ending_fail(r, &why, err);
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
    return ending_fail(r, &why, err);
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
    journal_stamp(r, "startedAt");
    return journal_enter(r, PHASE_VALIDATE, err) < 0 ? -1 : STEP_WAIT;
}

/* STEP_WAIT: look again after r->wait_ms. */
static int drive(struct restore *r, struct err *err)
{
    if (r->deleting)
        return ending_delete(r, err);
    if (r->phase == PHASE_MAX)
        return first_look(r, err);
    if (restore_phases[r->phase].flags & PHASE_ENDS)
        return ending_clean_up(r, err) < 0 ? -1 : STEP_NEXT;
    int rc = answer_request(r, err);
    if (rc != 0)
        return rc < 0 ? -1 : STEP_WAIT;
    if (json_object_get(r->st.now, "ending"))
        return ending_go_back(r, err);
    if (r->phase == PHASE_HELD)
        return ending_rest(r, err) < 0 ? -1 : STEP_NEXT;
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
    if (r.phase == PHASE_LOCK && !r.deleting && journal_finalizer(&r, true, err) < 0) {
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
