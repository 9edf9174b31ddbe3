/* Hold, Quiet, Clear, Resume, Settle: everything that has to do with the engine. The rows of
 * status.holds name who is held, in the order in which it is done; giving back goes the other way.
 * The truth about each is the marker on the application itself. */
#include "reconciler/holds.h"
#include "reconciler/reach.h"
#include "reconciler/restore/ending.h"
#include "reconciler/restore/restore.h"

enum { SETTLE_AFTER_UNDO_S = 60, HOLDS_MAX = 50 };

static json_t *rows(struct restore *r)
{
    return json_object_get(r->st.now, "holds");
}

size_t restore_hold_count(struct restore *r)
{
    return json_array_size(rows(r));
}

static const char *row_text(struct restore *r, size_t i, const char *member)
{
    const char *text = json_text_at(json_array_get(rows(r), i), member, NULL);
    return text ? text : "";
}

const char *restore_hold_name(struct restore *r, size_t i)
{
    return arena_printf(r->a, "%s %s/%s", row_text(r, i, "kind"), row_text(r, i, "namespace"),
                        row_text(r, i, "name"));
}

void restore_hold_state(struct restore *r, size_t i, const char *state)
{
    json_object_set_new(json_array_get(rows(r), i), "state", json_string(state));
}

int restore_hold_read(struct restore *r, size_t i, struct application *ret, bool *ret_gone,
                      struct err *err)
{
    const struct engine *engine;
    const struct kube_type *type;
    if (engine_of_kind(row_text(r, i, "kind"), &engine, &type, err) < 0)
        return -1;
    struct application app;
    struct err why = {0};
    int rc = engine->read(r->cx->kube, r->a, type, row_text(r, i, "namespace"),
                          row_text(r, i, "name"), &app, &why);
    bool gone = rc < 0 ? why.kind == ERR_NOT_FOUND : !streq(app.object.uid, row_text(r, i, "uid"));
    if (gone && !ret_gone)
        return err_set(err, ERR_REFUSED, "%s was deleted or made anew meanwhile",
                       restore_hold_name(r, i));
    if (rc < 0 && !gone)
        return err_set(err, why.kind, "%s: %s", restore_hold_name(r, i), why.msg);
    if (ret_gone)
        *ret_gone = gone;
    if (!gone)
        *ret = app;
    return 0;
}

int restore_hold_next(struct restore *r, size_t *at, struct application *ret, struct err *err)
{
    for (bool gone = false; *at < restore_hold_count(r); gone = false) {
        if (restore_hold_read(r, (*at)++, ret, &gone, err) < 0)
            return -1;
        if (!gone)
            return 1;
    }
    return 0;
}

bool restore_is_held(struct restore *r, const char *kind, const char *ns, const char *name)
{
    for (size_t i = 0; i < restore_hold_count(r); i++)
        if (streq(row_text(r, i, "kind"), kind) && streq(row_text(r, i, "namespace"), ns) &&
            streq(row_text(r, i, "name"), name))
            return true;
    return false;
}

/* ---- Plan ---- */

static const struct kube_type *application_type(const char *group, const char *kind)
{
    for (const struct engine *const *e = engines; *e; e++)
        for (const struct kube_type *const *t = (*e)->types; *t; t++)
            if (streq((*t)->group, group) && streq((*t)->kind, kind))
                return *t;
    return NULL;
}

static int add_row(struct restore *r, const char *kind, const char *ns, const char *name,
                   struct err *err)
{
    if (restore_is_held(r, kind, ns, name))
        return 0;
    if (restore_hold_count(r) == HOLDS_MAX)
        return err_set(err, ERR_REFUSED,
                       "more than %d applications would have to be held: restore them one by one",
                       HOLDS_MAX);
    json_array_append_new(rows(r), json_pack("{s:s, s:s, s:s, s:s, s:s}", "kind", kind, "namespace",
                                             ns, "name", name, "uid", "", "state", "planned"));
    return 0;
}

struct planning {
    struct restore *r;
    const struct application *app;           /* whose books are read */
    const struct application *by[HOLDS_MAX]; /* of each row: in whose books it is */
};

static int on_book_entry(void *ctx, const struct book_entry *e, struct err *err)
{
    struct planning *p = ctx;
    if (!application_type(e->group, e->kind))
        return 0;
    size_t before = restore_hold_count(p->r);
    if (add_row(p->r, e->kind, e->ns, e->name, err) < 0)
        return -1;
    if (restore_hold_count(p->r) > before)
        p->by[before] = p->app;
    return 0;
}

static void drop_row(struct planning *p, size_t i)
{
    json_array_remove(rows(p->r), i);
    memmove(p->by + i, p->by + i + 1, (HOLDS_MAX - i - 1) * sizeof *p->by);
}

int restore_plan_holds(struct restore *r, struct err *err)
{
    struct kube *k = r->cx->kube;
    struct planning p = {.r = r};
    status_set(&r->st, "holds", json_array());
    if (add_row(r, restore_target(r, "kind"), restore_target(r, "namespace"),
                restore_target(r, "name"), err) < 0)
        return -1;
    for (size_t i = 0; i < restore_hold_count(r); i++) {
        const struct engine *engine;
        const struct kube_type *type;
        struct application *app = arena_new_of(r->a, struct application);
        struct hold h;
        if (engine_of_kind(row_text(r, i, "kind"), &engine, &type, err) < 0)
            return -1;
        struct err why;
        if (engine->read(k, r->a, type, row_text(r, i, "namespace"), row_text(r, i, "name"), app,
                         &why) < 0) {
            if (i > 0 && why.kind == ERR_NOT_FOUND) {
                drop_row(&p, i--);
                continue;
            }
            return err_set(err, why.kind == ERR_NOT_FOUND ? ERR_REFUSED : why.kind,
                           "%s: %s. A restore needs the application: apply it first",
                           restore_hold_name(r, i), why.msg);
        }
        if (i > 0 && !reach_may_name(r->cx, r->a, p.by[i], &app->object)) {
            drop_row(&p, i--); /* another's: docs/verdicts.md */
            continue;
        }
        json_object_set_new(json_array_get(rows(r), i), "uid", json_string(app->object.uid));
        bool marked = hold_read(r->a, &app->object, &h), orphan = true;
        bool foreign = marked && !streq(h.uid, r->uid);
        if (foreign && hold_is_orphan(k, r->a, h.restore, h.uid, &orphan, err) < 0)
            return -1;
        if (foreign && (!orphan || streq(h.state, "broken")))
            return err_set(err, ERR_REFUSED,
                           "%s is held by Restore %s: finish or abandon that one, or free it with "
                           "`gleaner holds --free`",
                           restore_hold_name(r, i), h.restore);
        if ((!marked || foreign) && engine->may_hold(k, r->a, app, err) < 0)
            return err_wrap(err, "%s cannot be held", restore_hold_name(r, i));
        p.app = app;
        if (engine->books(k, r->a, app, on_book_entry, &p, err) < 0)
            return err_wrap(err, "the books of %s", restore_hold_name(r, i));
    }
    return 0;
}

/* ---- Hold, Quiet, Clear ---- */

/* What a Restore that is gone has left held: the engine must not be given back in between. */
static int take_over(struct restore *r, const struct application *app, struct err *err)
{
    struct hold h;
    bool orphan = false;
    if (!hold_read(r->a, &app->object, &h) || streq(h.uid, r->uid))
        return 0;
    if (hold_is_orphan(r->cx->kube, r->a, h.restore, h.uid, &orphan, err) < 0)
        return -1;
    return orphan ? hold_adopt(r->cx->kube, r->a, app, h.uid, r->full, r->uid, err) : 0;
}

int restore_hold(struct restore *r, struct err *err)
{
    for (size_t i = 0; i < restore_hold_count(r); i++) {
        struct application app;
        if (restore_hold_read(r, i, &app, NULL, err) < 0 || take_over(r, &app, err) < 0)
            return -1;
        if (app.engine->hold(r->cx->kube, r->a, &app, r->full, r->uid, err) < 0)
            return err_wrap(err, "holding %s", restore_hold_name(r, i));
        restore_hold_state(r, i, "held");
    }
    restore_event(r, false, true, "Held", "held by Restore %s", r->full);
    return STEP_NEXT;
}

int restore_quiet(struct restore *r, struct err *err)
{
    for (size_t i = 0; i < restore_hold_count(r); i++) {
        struct application app;
        bool quiet = false;
        char why[400] = "";
        if (restore_hold_read(r, i, &app, NULL, err) < 0)
            return -1;
        /* A hold that somebody took off meanwhile is put on again. */
        if (app.engine->hold(r->cx->kube, r->a, &app, r->full, r->uid, err) < 0)
            return err_wrap(err, "holding %s", restore_hold_name(r, i));
        if (app.engine->quiet(r->cx->kube, r->a, &app, &quiet, why, sizeof why, err) < 0)
            return err_wrap(err, "%s", restore_hold_name(r, i));
        if (!quiet) {
            r->wait_ms = 300;
            return restore_wait(r, "%s: %s", restore_hold_name(r, i), why);
        }
    }
    return STEP_NEXT;
}

static int mark_all(struct restore *r, struct err *err)
{
    for (size_t i = 0; i < restore_hold_count(r); i++) {
        struct application app;
        struct hold h;
        if (restore_hold_read(r, i, &app, NULL, err) < 0)
            return -1;
        if (!hold_read(r->a, &app.object, &h) || !streq(h.uid, r->uid))
            return err_set(
                err, ERR_REFUSED,
                "%s is not held any more: somebody took the hold off. Nothing was changed",
                restore_hold_name(r, i));
        if (!streq(h.state, "cleared") &&
            app.engine->mark_cleared(r->cx->kube, r->a, &app, err) < 0)
            return err_wrap(err, "marking %s", restore_hold_name(r, i));
        restore_hold_state(r, i, "cleared");
    }
    return restore_mark_workloads(r, err) < 0 ? -1 : STEP_NEXT;
}

int restore_clear(struct restore *r, struct err *err)
{
    return restore_check_still(r, err) < 0 ? -1 : mark_all(r, err);
}

/* ---- while it is held ---- */

int restore_check_holds(struct restore *r, struct err *err)
{
    /* One that was deleted while a manual resume was waited for is not to be given back. */
    bool resumes =
        r->phase == PHASE_PREFLIGHT && json_is_true(json_object_get(r->st.now, "resumeRequested"));
    for (size_t i = 0; i < restore_hold_count(r); i++) {
        struct application app;
        struct hold h;
        bool quiet, gone = false;
        char why[400];
        if (restore_hold_read(r, i, &app, resumes ? &gone : NULL, err) < 0)
            return -1;
        if (gone)
            continue;
        if (!hold_read(r->a, &app.object, &h) || !streq(h.uid, r->uid))
            return err_set(err, ERR_REFUSED, "somebody took the hold off %s",
                           restore_hold_name(r, i));
        /* Whether it is quiet was proven before; here only that nobody gave the engine back. */
        if (app.engine->quiet(r->cx->kube, r->a, &app, &quiet, why, sizeof why, err) < 0)
            return err_wrap(err, "the hold of %s does not stand", restore_hold_name(r, i));
    }
    return 0;
}

/* An application that was made anew meanwhile is held as it is now. */
static int adopt_new_uid(struct restore *r, size_t i, struct err *err)
{
    const struct engine *engine;
    const struct kube_type *type;
    struct application app;
    if (engine_of_kind(row_text(r, i, "kind"), &engine, &type, err) < 0)
        return -1;
    if (engine->read(r->cx->kube, r->a, type, row_text(r, i, "namespace"), row_text(r, i, "name"),
                     &app, err) < 0)
        return err_wrap(err, "%s", restore_hold_name(r, i));
    if (streq(app.object.uid, row_text(r, i, "uid")))
        return 0;
    json_object_set_new(json_array_get(rows(r), i), "uid", json_string(app.object.uid));
    return restore_save(r, err);
}

int restore_hold_again(struct restore *r, struct err *err)
{
    for (size_t i = 0; i < restore_hold_count(r); i++)
        if (adopt_new_uid(r, i, err) < 0)
            return -1;
    int rc = restore_quiet(r, err);
    return rc == STEP_NEXT ? mark_all(r, err) : rc;
}

/* ---- giving back ---- */

bool restore_leaves_cleared(struct restore *r)
{
    json_t *ending = json_object_get(r->st.now, "ending");
    return ending && !json_is_true(json_object_get(ending, "abandon"));
}

static int resume_all(struct restore *r, struct err *err)
{
    bool leave = restore_leaves_cleared(r);
    for (size_t i = restore_hold_count(r); i-- > 0;) {
        struct application app;
        struct hold h;
        bool gone = false;
        if (streq(row_text(r, i, "state"), "planned") && row_text(r, i, "uid")[0] == '\0')
            continue;
        if (restore_hold_read(r, i, &app, &gone, err) < 0)
            return -1;
        bool ours = !gone && hold_read(r->a, &app.object, &h) && streq(h.uid, r->uid);
        if (ours && leave && streq(h.state, "cleared")) {
            restore_event(r, true, true, "HeldWithoutRestore",
                          "%s stays held, as the Restore before this one left it. Restore again, "
                          "or give everything back as it is: gleaner holds --free",
                          restore_hold_name(r, i));
            restore_hold_state(r, i, "cleared");
            continue;
        }
        if (ours && app.engine->resume(r->cx->kube, r->a, &app, err) < 0)
            return err_wrap(err, "resuming %s", restore_hold_name(r, i));
        if (!ours && !gone && streq(row_text(r, i, "state"), "cleared"))
            restore_event(
                r, true, false, "HoldWasTakenOff",
                "%s was not held any more when it was to be given back: see whether it is as "
                "you want it",
                restore_hold_name(r, i));
        restore_hold_state(r, i, "resumed");
    }
    return 0;
}

/* STEP_WAIT while one of them is not ready; r->why says which. */
static int settle_all(struct restore *r, struct err *err)
{
    for (size_t i = restore_hold_count(r); i-- > 0;) {
        struct application app;
        bool gone = false, settled = false;
        char why[400] = "";
        if (restore_hold_read(r, i, &app, &gone, err) < 0)
            return -1;
        struct hold h;
        if (gone || hold_read(r->a, &app.object, &h)) /* what is left held never settles */
            continue;
        if (app.engine->settled(r->cx->kube, r->a, &app, &settled, why, sizeof why, err) < 0)
            return err_wrap(err, "%s", restore_hold_name(r, i));
        if (!settled)
            return restore_wait(r, "%s: %s", restore_hold_name(r, i), why);
    }
    return STEP_NEXT;
}

/* An application that was not ready before the restore may never be: the last trace of our manager
 * is waited for, not health. */
int restore_hold_undo(struct restore *r, struct err *err)
{
    if (resume_all(r, err) < 0)
        return -1;
    struct err why;
    int rc = settle_all(r, &why);
    if (rc == STEP_WAIT && restore_phase_age_s(r) > SETTLE_AFTER_UNDO_S)
        return STEP_NEXT;
    return rc < 0 ? err_set(err, why.kind, "%s", why.msg) : rc;
}

int restore_resume(struct restore *r, struct err *err)
{
    bool waits = r->manual && !json_is_true(json_object_get(r->st.now, "resumeRequested"));
    if (waits && ending_rest(r, err) < 0)
        return -1;
    if (waits)
        return restore_wait(r,
                            "the target is restored; the engine is given back when asked: kubectl "
                            "annotate restore -n %s %s --overwrite gleaner.dev/request=resume",
                            r->ns, r->name);
    if (resume_all(r, err) < 0)
        return -1;
    restore_event(r, false, true, "Resumed", "given back by Restore %s", r->full);
    return STEP_NEXT;
}

int restore_settle(struct restore *r, struct err *err)
{
    int rc = settle_all(r, err);
    if (rc != STEP_WAIT)
        return rc;
    /* What the application waits for may be a field that only we can put back. */
    char waits_for[sizeof r->why];
    memcpy(waits_for, r->why, sizeof waits_for);
    if (restore_residue_pass(r, false, err) < 0)
        return -1;
    return restore_wait(r, "%s", waits_for);
}
