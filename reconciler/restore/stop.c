/* Stop: nothing may write to a target claim while it is filled. Core Deployments and StatefulSets
 * are scaled to 0; whatever else mounts a target claim is refused by name. */
#include "reconciler/restore/restore.h"
#include "core/log.h"
#include "reconciler/holds.h"
#include "reconciler/restore/fields.h"
#include "reconciler/mover_pod.h"
#include "reconciler/restore/prepare.h"
#include "reconciler/restore/workload.h"

static const struct kube_type *stoppable(const char *group, const char *kind)
{
    static const struct kube_type *const types[] = {&KUBE_DEPLOYMENT, &KUBE_STATEFULSET};
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (streq(types[i]->group, group) && streq(types[i]->kind, kind))
            return types[i];
    return NULL;
}

/* ---- the workloads ---- */

struct workloads {
    struct restore *r;
    int (*each)(struct restore *r, const struct kube_type *t, const struct kube_object *o,
                struct err *err);
};

static int on_planned(void *ctx, const struct planned *p, struct err *err)
{
    struct workloads *w = ctx;
    const struct kube_type *t = stoppable(p->group, p->kind);
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
    static const char *const replicas[] = {"spec", "replicas", NULL};
    str managed = raw_at(o->raw, "metadata", "managedFields", NULL);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *const managers[] = {rows[i].manager, NULL};
        const char *name = kube_label(r->a, o, rows[i].name), *ns = kube_label(r->a, o, rows[i].ns);
        if (!name || !ns || !fields_owned(managed, managers, replicas))
            continue;
        const char *wanted = arena_printf(r->a, "%s %s/%s", rows[i].kind, ns, name);
        bool held = false;
        for (size_t h = 0; h < restore_hold_count(r); h++)
            held = held || streq(restore_hold_name(r, h), wanted);
        if (!held)
            return err_set(
                err, ERR_REFUSED,
                "%s %s is declared by %s, which is not held and would start it again: restore "
                "that application instead",
                o->kind, o->name, wanted);
    }
    return 0;
}

static int check_one(struct restore *r, const struct kube_type *t, const struct kube_object *o,
                     struct err *err)
{
    (void)t;
    return is_held(r, o, err);
}

int restore_check_workloads(struct restore *r, struct err *err)
{
    return each_workload(r, check_one, err);
}

static int stop_one(struct restore *r, const struct kube_type *t, const struct kube_object *o,
                    struct err *err)
{
    struct stopped s;
    bool orphan = false;
    if (stopped_read(r->a, o, &s, err) < 0)
        return -1;
    if (s.text && !streq(s.uid, r->uid) &&
        hold_is_orphan(r->cx->kube, r->a, s.restore, s.uid, &orphan, err) < 0)
        return -1;
    if (orphan)
        return workload_adopt(r->cx->kube, r->a, t, o, r->full, r->uid, err);
    return workload_stop(r->cx->kube, r->a, t, o, r->full, r->uid, err);
}

/* ---- the pods ---- */

/* The name of a target claim that the pod mounts, or NULL. */
static const char *target_claim_of(struct restore *r, const struct kube_object *pod)
{
    struct raw_iter it = raw_iter(raw_at(pod->raw, "spec", "volumes", NULL));
    str key, volume;
    while (raw_next(&it, &key, &volume)) {
        const char *claim = raw_text(r->a, volume, "persistentVolumeClaim", "claimName", NULL);
        if (claim && restore_is_target_claim(r, claim))
            return claim;
    }
    return NULL;
}

/* Who made the pod: the controller at the top, as far as we follow it. *ret_text NULL: it is gone,
 * and the pod will follow it. */
static int top_owner(struct restore *r, const struct kube_object *pod,
                     const struct kube_type **ret_type, struct kube_object *ret,
                     const char **ret_text, struct err *err)
{
    *ret_type = NULL;
    *ret_text = arena_printf(r->a, "Pod %s", pod->name);
    struct raw_iter it = kube_owners(pod);
    struct kube_owner o;
    while (kube_owner_next(r->a, &it, &o)) {
        if (!o.controller)
            continue;
        *ret_text = arena_printf(r->a, "%s %s", o.kind, o.name);
        bool set = streq(o.kind, "ReplicaSet");
        const struct kube_type *t = set ? &KUBE_REPLICASET : stoppable("apps", o.kind);
        struct err why;
        if (!t)
            return 0;
        if (kube_get(r->cx->kube, r->a, t, pod->ns, o.name, ret, &why) < 0) {
            if (why.kind != ERR_NOT_FOUND)
                return err_set(err, why.kind, "%s", why.msg);
            *ret_text = NULL;
            return 0;
        }
        if (set) {
            struct kube_object replica_set = *ret;
            return top_owner(r, &replica_set, ret_type, ret, ret_text, err);
        }
        *ret_type = t;
        return 0;
    }
    return 0;
}

struct pods {
    struct restore *r;
    bool stopping; /* workloads are stopped: those whose pods we wait for */
    const char *waits_for;
};

static int on_pod(void *ctx, const struct kube_object *pod, struct err *err)
{
    struct pods *p = ctx;
    struct restore *r = p->r;
    const char *phase = raw_text(r->a, pod->raw, "status", "phase", NULL);
    const char *claim = target_claim_of(r, pod);
    if (!claim || streq(phase, "Succeeded") || streq(phase, "Failed"))
        return 0;
    const char *mover = kube_label(r->a, pod, MOVER_LABEL);
    if (mover) {
        p->waits_for = arena_printf(r->a, "the mover pod %s to end", pod->name);
        return 0;
    }
    const struct kube_type *t;
    struct kube_object owner;
    const char *text;
    if (top_owner(r, pod, &t, &owner, &text, err) < 0)
        return -1;
    struct stopped s = {0};
    if (t && stopped_read(r->a, &owner, &s, err) < 0)
        return -1;
    bool ours = s.text && streq(s.uid, r->uid);
    bool planned = t && !p->stopping;
    bool going = !text || raw_at(pod->raw, "metadata", "deletionTimestamp", NULL).p;
    if (!ours && !planned && !going)
        return err_set(err, ERR_REFUSED,
                       "%s mounts the claim %s and is not among the target's Deployments and "
                       "StatefulSets: stop it first",
                       text, claim);
    p->waits_for = arena_printf(r->a, "pod %s to let go of claim %s", pod->name, claim);
    return 0;
}

int restore_look_for_pods(struct restore *r, bool stopping, const char **ret_waits_for,
                          struct err *err)
{
    struct pods p = {.r = r, .stopping = stopping};
    struct kube_list opts = {.ns = restore_content_ns(r)};
    if (kube_list(r->cx->kube, &KUBE_POD, &opts, on_pod, &p, NULL, err) < 0)
        return -1;
    *ret_waits_for = p.waits_for;
    return 0;
}

int restore_stop(struct restore *r, struct err *err)
{
    const char *waits_for;
    if (each_workload(r, stop_one, err) < 0 || restore_look_for_pods(r, true, &waits_for, err) < 0)
        return -1;
    if (waits_for)
        return restore_wait(r, "waiting for %s", waits_for);
    return STEP_NEXT;
}

/* ---- the way back ---- */

struct starting {
    struct restore *r;
    const struct kube_type *type;
};

static int each_of_namespace(struct restore *r,
                             int (*each)(void *ctx, const struct kube_object *o, struct err *err),
                             struct err *err)
{
    static const struct kube_type *const types[] = {&KUBE_DEPLOYMENT, &KUBE_STATEFULSET};
    if (!*restore_content_ns(r))
        return 0;
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        struct starting s = {r, types[i]};
        struct kube_list opts = {.ns = restore_content_ns(r)};
        if (kube_list(r->cx->kube, types[i], &opts, each, &s, NULL, err) < 0)
            return -1;
    }
    return 0;
}

static int start_ours(void *ctx, const struct kube_object *o, struct err *err)
{
    struct starting *s = ctx;
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
    struct starting *s = ctx;
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
    struct starting s = {r, &KUBE_REPLICASET};
    struct kube_list opts = {.ns = restore_content_ns(r)};
    if (!*restore_content_ns(r))
        return 0;
    return kube_list(r->cx->kube, &KUBE_REPLICASET, &opts, forget_copy, &s, NULL, err);
}

static int clear_ours(void *ctx, const struct kube_object *o, struct err *err)
{
    struct starting *s = ctx;
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
