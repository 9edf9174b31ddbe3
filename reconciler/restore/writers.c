/* Who may write to a target claim: pods that mount it, and what makes such pods by itself. */
#include "reconciler/mover_pod.h"
#include "reconciler/restore/prepare.h"
#include "reconciler/restore/restore.h"
#include "reconciler/restore/workload.h"

/* ---- the pods ---- */

/* The name of a target claim that a pod with this spec mounts, or NULL. */
static const char *target_claim_of(struct restore *r, str pod_spec)
{
    struct raw_iter it = raw_iter(raw_get(pod_spec, "volumes"));
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
        const struct kube_type *t = set ? &KUBE_REPLICASET : workload_type("apps", o.kind);
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

static bool has_finished(const struct kube_object *pod)
{
    str phase = raw_at(pod->raw, "status", "phase", NULL);
    return raw_is(phase, "Succeeded") || raw_is(phase, "Failed");
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
    const char *claim = target_claim_of(r, raw_get(pod->raw, "spec"));
    if (!claim || has_finished(pod))
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

/* ---- what makes pods by itself ---- */

static bool cronjob_rests(const struct kube_object *o)
{
    return raw_true(raw_at(o->raw, "spec", "suspend", NULL));
}

static bool job_rests(const struct kube_object *o)
{
    return cronjob_rests(o) || kube_job_is_finished(o);
}

static bool daemonset_rests(const struct kube_object *o)
{
    int64_t wanted;
    return raw_int(raw_at(o->raw, "status", "desiredNumberScheduled", NULL), &wanted) && !wanted;
}

/* What nobody stops and what may have no pod just now: a CronJob until its next time, a Job between
 * two tries. */
static const struct maker {
    const struct kube_type *type;
    bool (*rests)(const struct kube_object *o); /* it makes no pod now */
    const char *what_to_do;
} makers[] = {
    {&KUBE_CRONJOB, cronjob_rests, "suspend it first (spec.suspend: true, in Git if it is there)"},
    {&KUBE_JOB, job_rests, "wait until it is finished, or suspend it"},
    {&KUBE_DAEMONSET, daemonset_rests, "let it have no node first"},
};

struct making {
    struct restore *r;
    const struct maker *maker;
};

static int on_maker(void *ctx, const struct kube_object *o, struct err *err)
{
    struct making *m = ctx;
    bool cron = m->maker->type == &KUBE_CRONJOB;
    str spec = raw_get(o->raw, "spec");
    str template = raw_get(cron ? raw_at(spec, "jobTemplate", "spec", NULL) : spec, "template");
    const char *claim = target_claim_of(m->r, raw_get(template, "spec"));
    if (!claim || m->maker->rests(o))
        return 0;
    return err_set(err, ERR_REFUSED,
                   "%s %s mounts the claim %s and may start at any time; a restore stops only "
                   "Deployments and StatefulSets: %s",
                   m->maker->type->kind, o->name, claim, m->maker->what_to_do);
}

static int look_for_makers(struct restore *r, struct err *err)
{
    struct kube_list opts = {.ns = restore_content_ns(r)};
    for (size_t i = 0; json_array_size(restore_claims(r)) && i < ARRAY_LEN(makers); i++) {
        struct making m = {r, &makers[i]};
        if (kube_list(r->cx->kube, makers[i].type, &opts, on_maker, &m, NULL, err) < 0)
            return -1;
    }
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
    return look_for_makers(r, err);
}

/* ---- after Stop ---- */

static int on_writer(void *ctx, const struct kube_object *pod, struct err *err)
{
    struct restore *r = ctx;
    const char *claim = target_claim_of(r, raw_get(pod->raw, "spec"));
    if (!claim || has_finished(pod) || kube_label(r->a, pod, MOVER_LABEL))
        return 0;
    return err_set(err, ERR_REFUSED,
                   "pod %s mounts the claim %s after everything was stopped: what it writes may "
                   "not be in the safety backup. Find out who started it, and stop it",
                   pod->name, claim);
}

int restore_look_for_writers(struct restore *r, struct err *err)
{
    struct kube_list opts = {.ns = restore_content_ns(r)};
    if (!json_array_size(restore_claims(r)))
        return 0;
    return kube_list(r->cx->kube, &KUBE_POD, &opts, on_writer, r, NULL, err);
}
