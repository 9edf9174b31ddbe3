/* Stop: nothing may write to a target claim while it is filled. Core Deployments and StatefulSets
 * are scaled to 0; whatever else mounts a target claim is refused by name. */
#include "reconciler/restore/restore.h"
#include "core/log.h"
#include "gitops/marks.h"
#include "reconciler/holds.h"
#include "reconciler/restore/fields.h"
#include "reconciler/restore/prepare.h"
#include "reconciler/restore/workload.h"

/* ---- the workloads ---- */

struct workloads {
    struct restore *r;
    int (*each)(struct restore *r, const struct kube_type *t, const struct kube_object *o,
                struct err *err);
};

static int on_planned(void *ctx, const struct planned *p, struct err *err)
{
    struct workloads *w = ctx;
    const struct kube_type *t = workload_type(p->group, p->kind);
    /* Target claims lie in one namespace, and so do the pods that can mount them. */
    if (!t || !p->core || !streq(p->ns, restore_content_ns(w->r)))
        return 0;
    struct kube_object o;
    struct err why;
    if (kube_get(w->r->cx->kube, w->r->a, t, p->ns, p->name, &o, &why) < 0)
        return why.kind == ERR_NOT_FOUND ? 0 : err_set(err, why.kind, "%s", why.msg);
    return w->each(w->r, t, &o, err);
}

static int each_workload(struct restore *r,
                         int (*each)(struct restore *r, const struct kube_type *t,
                                     const struct kube_object *o, struct err *err),
                         struct err *err)
{
    struct stored *archive;
    struct workloads w = {r, each};
    if (restore_archive(r, &archive, err) < 0)
        return -1;
    return stored_planned(archive, on_planned, &w, err);
}

static const char *const replicas_field[] = {"spec", "replicas", NULL};

static int not_held(const struct kube_object *o, const char *application, struct err *err)
{
    return err_set(err, ERR_REFUSED,
                   "%s %s is declared by %s, which is not held and would start it again: restore "
                   "that application instead",
                   o->kind, o->name, application);
}

/* Argo CD's own namespace is not in its marks. */
static int is_held_by_argocd(struct restore *r, const struct kube_object *o, struct err *err)
{
    const char *tracked = argocd_tracked_by(r->a, o);
    str managed = raw_at(o->raw, "metadata", "managedFields", NULL);
    if (!tracked || !fields_owned(managed, engine_argocd.managers, replicas_field))
        return 0;
    char *app = arena_strdup(r->a, tracked);
    char *cut = strchr(app, '_');
    if (cut)
        *cut = '/';
    str end = str_of(arena_printf(r->a, cut ? " %s" : "/%s", app));
    for (size_t h = 0; h < restore_hold_count(r); h++) {
        str held = str_of(restore_hold_name(r, h));
        if (str_starts(held, "Application ") && str_ends(held, end.p))
            return 0;
    }
    return not_held(o, arena_printf(r->a, "Application %s", app), err);
}

/* An engine that declares the replicas and is not held would undo the stop at its next look. */
static int is_held(struct restore *r, const struct kube_object *o, struct err *err)
{
    static const struct {
        const char *manager, *kind, *name, *ns;
    } rows[] = {
        {"kustomize-controller", "Kustomization", "kustomize.toolkit.fluxcd.io/name",
         "kustomize.toolkit.fluxcd.io/namespace"},
        {"helm-controller", "HelmRelease", "helm.toolkit.fluxcd.io/name",
         "helm.toolkit.fluxcd.io/namespace"},
    };
    str managed = raw_at(o->raw, "metadata", "managedFields", NULL);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *const managers[] = {rows[i].manager, NULL};
        const char *name = kube_label(r->a, o, rows[i].name), *ns = kube_label(r->a, o, rows[i].ns);
        if (!name || !ns || !fields_owned(managed, managers, replicas_field))
            continue;
        if (!restore_is_held(r, rows[i].kind, ns, name))
            return not_held(o, arena_printf(r->a, "%s %s/%s", rows[i].kind, ns, name), err);
    }
    return is_held_by_argocd(r, o, err);
}

static int check_one(struct restore *r, const struct kube_type *t, const struct kube_object *o,
                     struct err *err)
{
    (void)t;
    return workload_may_stop(o, err) < 0 ? -1 : is_held(r, o, err);
}

int restore_check_workloads(struct restore *r, struct err *err)
{
    return each_workload(r, check_one, err);
}

struct of_namespace {
    struct restore *r;
    const struct kube_type *type;
};

static int each_of_namespace(struct restore *r,
                             int (*each)(void *ctx, const struct kube_object *o, struct err *err),
                             struct err *err)
{
    if (!*restore_content_ns(r))
        return 0;
    for (const struct kube_type *const *t = workload_types; *t; t++) {
        struct of_namespace s = {r, *t};
        struct kube_list opts = {.ns = restore_content_ns(r)};
        if (kube_list(r->cx->kube, *t, &opts, each, &s, NULL, err) < 0)
            return -1;
    }
    return 0;
}

static struct stopper stopper_of(struct restore *r)
{
    const char *target = arena_printf(r->a, "%s %s/%s", restore_target(r, "kind"),
                                      restore_target(r, "namespace"), restore_target(r, "name"));
    return (struct stopper){r->full, r->uid, target};
}

static int stop_one(struct restore *r, const struct kube_type *t, const struct kube_object *o,
                    struct err *err)
{
    struct stopped s;
    struct stopper me = stopper_of(r);
    bool orphan = false;
    if (stopped_read(r->a, o, &s, err) < 0)
        return -1;
    if (s.text && !streq(s.uid, r->uid) &&
        hold_is_orphan(r->cx->kube, r->a, s.restore, s.uid, &orphan, err) < 0)
        return -1;
    if (orphan)
        return workload_adopt(r->cx->kube, r->a, t, o, &me, err);
    return workload_stop(r->cx->kube, r->a, t, o, &me, err);
}

/* What an earlier Restore of the same target has stopped and left so, and this backup does not
 * list: nobody else would start it again. */
static int adopt_left(void *ctx, const struct kube_object *o, struct err *err)
{
    struct of_namespace *s = ctx;
    struct restore *r = s->r;
    struct stopped note;
    struct err why;
    bool orphan = false;
    if (stopped_read(r->a, o, &note, &why) < 0) {
        log_err("a workload that was stopped stays so", &why, "restore", r->name);
        return 0;
    }
    if (!note.text || streq(note.uid, r->uid) || !streq(note.target, stopper_of(r).target))
        return 0;
    if (hold_is_orphan(r->cx->kube, r->a, note.restore, note.uid, &orphan, err) < 0)
        return -1;
    return orphan ? stop_one(r, s->type, o, err) : 0;
}

int restore_stop(struct restore *r, struct err *err)
{
    const char *waits_for;
    if (each_workload(r, stop_one, err) < 0 || each_of_namespace(r, adopt_left, err) < 0 ||
        restore_look_for_pods(r, true, &waits_for, err) < 0)
        return -1;
    if (waits_for)
        return restore_wait(r, "waiting for %s", waits_for);
    return STEP_NEXT;
}

/* ---- after Stop ---- */

static int check_planned(struct restore *r, const struct kube_type *t, const struct kube_object *o,
                         struct err *err)
{
    struct stopped s;
    (void)t;
    if (stopped_read(r->a, o, &s, err) < 0)
        return -1;
    if (s.text && streq(s.uid, r->uid))
        return 0;
    return err_set(err, ERR_REFUSED,
                   "%s %s is not stopped by this Restore any more: somebody has given it back, or "
                   "made it anew",
                   o->kind, o->name);
}

static int check_ours(void *ctx, const struct kube_object *o, struct err *err)
{
    struct of_namespace *s = ctx;
    struct stopped note;
    struct err why;
    if (stopped_read(s->r->a, o, &note, &why) < 0 || !note.text || !streq(note.uid, s->r->uid) ||
        workload_is_still(o, &note))
        return 0;
    return err_set(err, ERR_REFUSED,
                   "somebody has changed the spec of %s %s since it was stopped, and may have let "
                   "it run",
                   o->kind, o->name);
}

int restore_check_stopped(struct restore *r, struct err *err)
{
    if (each_workload(r, check_planned, err) < 0)
        return -1;
    return each_of_namespace(r, check_ours, err);
}

/* ---- the way back ---- */

static int start_ours(void *ctx, const struct kube_object *o, struct err *err)
{
    struct of_namespace *s = ctx;
    struct stopped note;
    struct err why;
    if (stopped_read(s->r->a, o, &note, &why) < 0) {
        /* Perhaps another's: the rest has to start all the same. */
        log_err("a workload that was stopped stays so", &why, "restore", s->r->name);
        return 0;
    }
    if (!note.text || !streq(note.uid, s->r->uid) || (note.cleared && restore_leaves_cleared(s->r)))
        return 0;
    if (workload_start(s->r->cx->kube, s->r->a, s->type, o, &why) < 0 && why.kind != ERR_NOT_FOUND)
        return err_set(err, why.kind, "%s", why.msg);
    return 0;
}

/* The Deployment controller copies a Deployment's annotations to its ReplicaSet, our note too, and
 * never takes one back. Until its own look at the Deployment is fresh it may copy again. */
static int forget_copy(void *ctx, const struct kube_object *o, struct err *err)
{
    struct of_namespace *s = ctx;
    struct stopped note;
    struct err why;
    if (stopped_read(s->r->a, o, &note, &why) < 0 || !note.text || !streq(note.uid, s->r->uid))
        return 0;
    const char *body = arena_printf(s->r->a,
                                    "{\"metadata\":{\"uid\":\"%s\",\"annotations\":"
                                    "{\"" STOPPED_ANNOTATION "\":null}}}",
                                    o->uid);
    if (kube_patch(s->r->cx->kube, s->r->a, s->type, o->ns, o->name, KUBE_PATCH_MERGE, str_of(body),
                   NULL, NULL, &why) < 0 &&
        why.kind != ERR_NOT_FOUND && why.kind != ERR_CONFLICT)
        return err_set(err, why.kind, "%s", why.msg);
    return 0;
}

int restore_forget_copies(struct restore *r, struct err *err)
{
    struct of_namespace s = {r, &KUBE_REPLICASET};
    struct kube_list opts = {.ns = restore_content_ns(r)};
    if (!*restore_content_ns(r))
        return 0;
    return kube_list(r->cx->kube, &KUBE_REPLICASET, &opts, forget_copy, &s, NULL, err);
}

static int clear_ours(void *ctx, const struct kube_object *o, struct err *err)
{
    struct of_namespace *s = ctx;
    return workload_mark_cleared(s->r->cx->kube, s->r->a, s->type, o, s->r->uid, err);
}

int restore_mark_workloads(struct restore *r, struct err *err)
{
    return each_of_namespace(r, clear_ours, err);
}

/* Every workload of the namespace that carries our note, whatever the backup says. */
int restore_stop_undo(struct restore *r, struct err *err)
{
    /* Abandoned half-way: no mover may write below a pod that starts. */
    int rc = restore_volumes_abort(r, err);
    if (rc != STEP_NEXT)
        return rc;
    return restore_start_workloads(r, err);
}

int restore_start_workloads(struct restore *r, struct err *err)
{
    if (each_of_namespace(r, start_ours, err) < 0)
        return -1;
    return restore_forget_copies(r, err) < 0 ? -1 : STEP_NEXT;
}
