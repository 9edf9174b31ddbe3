#include "reconciler/holds.h"

#include "core/log.h"
#include "gitops/engine.h"
#include "reconciler/restore/fields.h"
#include "reconciler/restore/restore.h"
#include "reconciler/restore/workload.h"

/* ---- listing ---- */

struct listing {
    struct kube *k;
    struct arena *a;
    int (*each)(void *ctx, const struct held *h, struct err *err);
    void *ctx;
    const struct kube_type *type;
};

static bool has_ended(const char *phase)
{
    enum restore_phase p = restore_phase_parse(phase);
    return p != PHASE_MAX && (restore_phases[p].flags & PHASE_ENDS);
}

/* Fills in what is known of the Restore that a hold names. */
static int look_at_restore(struct kube *k, struct arena *a, struct held *h, struct err *err)
{
    str rest = str_of(h->restore);
    const char *ns = arena_str(a, str_cut(&rest, '/')).p, *name = arena_str(a, rest).p;
    struct kube_object o;
    struct err why = {0};
    h->orphan = true;
    h->phase = "";
    if (!ns || !name || !*name)
        return 0;
    if (kube_get(k, a, &KUBE_RESTORE, ns, name, &o, &why) < 0) {
        /* No Restore can have a name that the server does not take. */
        if (why.kind == ERR_NOT_FOUND || why.kind == ERR_INVALID)
            return 0;
        return err_set(err, why.kind, "Restore %s: %s", name, why.msg);
    }
    if (!streq(o.uid, h->uid))
        return 0;
    const char *phase = raw_text(a, o.raw, "status", "phase", NULL);
    h->phase = phase ? phase : "";
    h->orphan = has_ended(h->phase);
    return 0;
}

int hold_is_orphan(struct kube *k, struct arena *a, const char *restore, const char *uid, bool *ret,
                   struct err *err)
{
    struct held h = {.restore = restore, .uid = uid};
    if (look_at_restore(k, a, &h, err) < 0)
        return -1;
    *ret = h.orphan;
    return 0;
}

static int on_application(void *ctx, const struct application *app, struct err *err)
{
    struct listing *l = ctx;
    struct hold mark;
    if (!hold_read(l->a, &app->object, &mark))
        return 0;
    struct held h = {.type = app->type,
                     .ns = arena_strdup(l->a, app->object.ns),
                     .name = arena_strdup(l->a, app->object.name),
                     .object_uid = arena_strdup(l->a, app->object.uid),
                     .restore = mark.restore ? mark.restore : "",
                     .uid = mark.uid ? mark.uid : "",
                     .state = mark.state,
                     .application = true};
    if (look_at_restore(l->k, l->a, &h, err) < 0)
        return -1;
    return l->each(l->ctx, &h, err);
}

static int on_workload(void *ctx, const struct kube_object *o, struct err *err)
{
    struct listing *l = ctx;
    struct stopped s;
    struct err why;
    bool broken = stopped_read(l->a, o, &s, &why) < 0;
    if (!broken && !s.text)
        return 0;
    struct held h = {.type = l->type,
                     .ns = arena_strdup(l->a, o->ns),
                     .name = arena_strdup(l->a, o->name),
                     .object_uid = arena_strdup(l->a, o->uid),
                     .restore = broken ? "" : s.restore,
                     .uid = broken ? "" : s.uid,
                     .state = broken      ? "broken"
                              : s.cleared ? "cleared"
                                          : "stopped"};
    if (look_at_restore(l->k, l->a, &h, err) < 0)
        return -1;
    return l->each(l->ctx, &h, err);
}

int holds_each(struct kube *k, struct arena *a,
               int (*each)(void *ctx, const struct held *h, struct err *err), void *ctx,
               struct err *err)
{
    struct listing l = {k, a, each, ctx, NULL};
    if (applications_each(k, a, on_application, &l, err) < 0)
        return err_wrap(err, "looking for held applications");
    for (const struct kube_type *const *t = workload_types; *t; t++) {
        l.type = *t;
        if (kube_list(k, *t, NULL, on_workload, &l, NULL, err) < 0)
            return err_wrap(err, "looking for stopped workloads");
    }
    return 0;
}

/* ---- freeing ---- */

enum { FREE_TRIES = 5 };

static int free_application(struct kube *k, struct arena *a, const struct held *h, struct err *err)
{
    const struct engine *engine;
    const struct kube_type *type;
    struct application app;
    struct hold mark;
    struct err why;
    if (engine_of_kind(h->type->kind, &engine, &type, err) < 0)
        return -1;
    if (engine->read(k, a, type, h->ns, h->name, &app, &why) < 0)
        return why.kind == ERR_NOT_FOUND ? 0 : err_set(err, why.kind, "%s", why.msg);
    if (!hold_read(a, &app.object, &mark) || !streq(mark.uid, h->uid) ||
        !streq(mark.state, h->state))
        return 0; /* free, or another hold than the one that was looked at */
    if (engine->resume(k, a, &app, err) < 0)
        return err_wrap(err, "resuming %s %s/%s", h->type->kind, h->ns, h->name);
    return 0;
}

static int free_workload(struct kube *k, struct arena *a, const struct held *h, struct err *err)
{
    struct kube_object o;
    struct err why;
    if (kube_get(k, a, h->type, h->ns, h->name, &o, &why) < 0)
        return why.kind == ERR_NOT_FOUND ? 0 : err_set(err, why.kind, "%s", why.msg);
    struct stopped s;
    if (stopped_read(a, &o, &s, err) < 0)
        return -1;
    return s.text && streq(s.uid, h->uid) ? workload_start(k, a, h->type, &o, err) : 0;
}

int holds_free(struct kube *k, struct arena *a, const struct held *h, bool force, struct err *err)
{
    if (!h->orphan && !force && !streq(h->phase, restore_phases[PHASE_HELD].name))
        return err_set(
            err, ERR_REFUSED,
            "%s %s/%s is held by Restore %s, which is at work (%s): wait for it, or cancel it: "
            "gleaner restore cancel",
            h->type->kind, h->ns, h->name, h->restore, *h->phase ? h->phase : "beginning");
    struct err why;
    /* Controllers write what they see change: read again, and free that. */
    for (int tries = 0; tries < FREE_TRIES; tries++) {
        if ((h->application ? free_application(k, a, h, &why) : free_workload(k, a, h, &why)) == 0)
            return 0;
        if (why.kind != ERR_CONFLICT)
            break;
    }
    return err_set(err, why.kind, "%s", why.msg);
}

/* ---- the sweep ---- */

struct sweep {
    struct context *cx;
    struct arena *a;
    struct err failed; /* of the last hold that could not be given back */
};

static void tell(struct sweep *s, const struct held *h, bool warning, const char *note)
{
    log_line(warning ? LOG_WARN : LOG_INFO, note, "kind", h->type->kind, "namespace", h->ns, "name",
             h->name, "restore", h->restore, NULL);
    struct kube_object o;
    struct err why;
    if (s->cx->events && kube_get(s->cx->kube, s->a, h->type, h->ns, h->name, &o, &why) == 0 &&
        kube_event_emit(s->cx->events, &o, warning, warning ? "HeldWithoutRestore" : "Resumed",
                        "Restore", note, &why) < 0)
        log_err("event not written", &why, "name", h->name);
}

static int sweep_one(void *ctx, const struct held *h, struct err *err)
{
    struct sweep *s = ctx;
    if (!h->orphan)
        return 0;
    if (streq(h->state, "cleared") || streq(h->state, "broken")) {
        tell(s, h, true,
             "its Restore is gone, and had begun to change the target: it stays as it is. Restore "
             "again, or give everything back as it is: gleaner holds --free");
        return 0;
    }
    if (holds_free(s->cx->kube, s->a, h, false, err) < 0) {
        s->failed = *err; /* it is no reason to keep the others held */
        return 0;
    }
    tell(s, h, false, "its Restore is gone and had changed nothing: given back");
    return 0;
}

/* A hold that was given back without a controller leaves a trace until the engine has answered. */
static int tidy_one(void *ctx, const struct application *app, struct err *err)
{
    struct sweep *s = ctx;
    struct hold mark;
    str managed = raw_at(app->object.raw, "metadata", "managedFields", NULL);
    if (hold_read(s->a, &app->object, &mark) || !fields_has_manager(managed, KUBE_MANAGER))
        return 0;
    bool settled;
    char why[400];
    struct err cause;
    if (app->engine->settled(s->cx->kube, s->a, app, &settled, why, sizeof why, &cause) < 0)
        log_err("trace of a hold not removed yet", &cause, "name", app->object.name);
    (void)err;
    return 0;
}

int holds_sweep(struct context *cx, struct arena *a, struct err *err)
{
    struct sweep s = {.cx = cx, .a = a};
    if (holds_each(cx->kube, a, sweep_one, &s, err) < 0 ||
        applications_each(cx->kube, a, tidy_one, &s, err) < 0)
        return -1;
    return s.failed.kind == ERR_NONE ? 0 : err_set(err, s.failed.kind, "%s", s.failed.msg);
}
