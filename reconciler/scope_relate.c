/* Whose is what: owners, core and reach, and what belongs to other applications alone. Pure. */
#include "reconciler/scope.h"
#include "reconciler/rules.h"

#include "kube/types.h"

#include <ctype.h>

/* ---- owners ---- */

static void relate_owner(struct scope_set *s, struct found *f)
{
    struct kube_owner owner, chosen = {0};
    bool any = false;
    for (struct raw_iter it = kube_owners(&f->object); kube_owner_next(s->a, &it, &owner);) {
        if (!any || owner.controller)
            chosen = owner;
        any = true;
        if (owner.controller)
            break;
    }
    if (!any)
        return;
    f->owner_text = arena_printf(s->a, "%s %s", chosen.kind, chosen.name);
    f->parent = map_get(s->by_uid, str_of(chosen.uid));
    if (!f->parent) {
        /* Everything in the namespace was listed. A cluster-scoped owner was not looked for. */
        const struct kube_type *t =
            kube_discovery_kind(s->discovery, kube_group_of(chosen.api_version), NULL, chosen.kind);
        f->owner = t && !t->namespaced ? OWNER_OTHER : OWNER_GONE;
        return;
    }
    const char *group = arena_str(s->a, kube_group_of(chosen.api_version)).p;
    bool again = catalogue_regenerates(catalogue_builtin(), group, chosen.kind, f->type->group,
                                       f->type->kind);
    f->owner = again ? OWNER_REGENERATES : OWNER_OTHER;
}

/* Endpoints carry no ownerReference: they are made for the Service of their name, if it selects. */
static void relate_endpoints(struct scope_set *s, struct found *f)
{
    if (!kube_object_is(&f->object, "", "Endpoints") || f->owner != OWNER_NONE)
        return;
    struct found *service = map_get(
        s->by_key, str_of(scope_key(s->a, STR(""), "Service", f->object.ns, f->object.name)));
    if (!service || !raw_at(service->object.raw, "spec", "selector", NULL).p)
        return;
    f->parent = service;
    f->owner = OWNER_REGENERATES;
    f->owner_text = arena_printf(s->a, "Service %s", service->object.name);
}

/* ---- claims of StatefulSets ---- */

/* "<template>-<set>-<ordinal>". Source: k8s.io/kubernetes pkg/controller/statefulset
 * getPersistentVolumeClaimName. */
static bool is_claim_of(struct arena *a, const struct found *set, const char *claim)
{
    str template;
    for (struct raw_iter it =
             raw_iter(raw_at(set->object.raw, "spec", "volumeClaimTemplates", NULL));
         raw_next(&it, NULL, &template);) {
        const char *name = raw_text(a, template, "metadata", "name", NULL);
        if (!name)
            continue;
        const char *prefix = arena_printf(a, "%s-%s-", name, set->object.name);
        size_t n = strlen(prefix);
        if (strncmp(claim, prefix, n) != 0 || !claim[n])
            continue;
        size_t digits = 0;
        while (isdigit((unsigned char)claim[n + digits]))
            digits++;
        if (claim[n + digits] == '\0')
            return true;
    }
    return false;
}

/* Claims hang on their StatefulSet as if it owned them, for the question whose they are. */
static void relate_claims(struct scope_set *s)
{
    for (size_t i = 0; i < s->found.n; i++) {
        struct found *set = s->found.p[i];
        if (!kube_object_is(&set->object, "apps", "StatefulSet"))
            continue;
        for (size_t j = 0; j < s->found.n; j++) {
            struct found *claim = s->found.p[j];
            if (!claim->parent && kube_object_is(&claim->object, "", "PersistentVolumeClaim") &&
                streq(claim->object.ns, set->object.ns) &&
                is_claim_of(s->a, set, claim->object.name))
                claim->parent = set;
        }
    }
}

/* ---- tokens of accounts ---- */

/* Made by the token controller of Kubernetes before 1.24: the account lists it, under a name with a
 * random end. Source: k8s.io/kubernetes pkg/controller/serviceaccount ensureReferencedToken,
 * apimachinery util/rand. */
static bool is_issued(struct arena *a, const struct found *account, const char *secret)
{
    const char *prefix = arena_printf(a, "%s-token-", account->object.name);
    str item, end = str_of(secret);
    if (!str_starts(end, prefix))
        return false;
    end = (str){end.p + strlen(prefix), end.n - strlen(prefix)};
    if (end.n != 5 || strspn(end.p, "bcdfghjklmnpqrstvwxz2456789") != 5)
        return false;
    for (struct raw_iter it = raw_iter(raw_get(account->object.raw, "secrets"));
         raw_next(&it, NULL, &item);) {
        if (raw_is(raw_get(item, "name"), secret))
            return true;
    }
    return false;
}

/* A token hangs on its account as if that owned it, for the question whose it is. */
static void relate_token(struct scope_set *s, struct found *f)
{
    const char *name = kube_annotation(s->a, &f->object, "kubernetes.io/service-account.name");
    if (!name || f->parent || !verdict_is_token(&f->object))
        return;
    f->parent =
        map_get(s->by_key, str_of(scope_key(s->a, STR(""), "ServiceAccount", f->object.ns, name)));
    f->issued = f->parent && is_issued(s->a, f->parent, f->object.name);
}

/* ---- whose ---- */

enum { MARK_NONE, MARK_WALKING, MARK_DONE };

static bool held_by(const struct found *f, enum relation r)
{
    return f->booking && f->booking->by->relation == r;
}

/* Helm's record of a release belongs to the release. */
static bool other_release(const struct scope_set *s, const struct found *f)
{
    const char *release = NULL;
    if (kube_object_is(&f->object, "", "Secret") &&
        raw_is(raw_get(f->object.raw, "type"), "helm.sh/release.v1"))
        release = kube_label(s->a, &f->object, "name");
    for (size_t i = 0; release && i < s->members.n; i++) {
        const struct member *m = s->members.p[i];
        if (streq(m->app.release, release) && streq(m->app.storage_ns, f->object.ns))
            return m->relation == MEMBER_OTHER;
    }
    return false;
}

static void relate_walk(struct scope_set *s, struct found *f)
{
    if (f->mark != MARK_NONE)
        return; /* done, or a cycle: what the walk has found so far stands */
    f->mark = MARK_WALKING;
    if (f->parent)
        relate_walk(s, f->parent);
    bool in_ns = streq(f->object.ns, s->ns);
    f->foreign = held_by(f, MEMBER_OTHER) || other_release(s, f) ||
                 (!f->booking && f->parent && f->parent->foreign);
    f->core = held_by(f, MEMBER_CHAIN) || (f->parent && f->parent->core) || (s->alone && in_ns);
    if (f->is_application || f->contested || f->foreign || f->type == NULL)
        f->core = false;
    f->mark = MARK_DONE;
}

/* ---- claims that pods mount ---- */

/* Calls each() with every claim that the pods of a workload, or the pod, mount. Source: corev1
 * PodSpec, which lies in spec, spec.template.spec or spec.jobTemplate.spec.template.spec. */
static void each_mount(struct scope_set *s, const struct found *f,
                       void (*each)(struct found *claim, const struct found *by))
{
    str volume, spec = raw_get(f->object.raw, "spec");
    str volumes[] = {raw_get(spec, "volumes"), raw_at(spec, "template", "spec", "volumes", NULL),
                     raw_at(spec, "jobTemplate", "spec", "template", "spec", "volumes", NULL)};
    bool pod = kube_object_is(&f->object, "", "Pod");
    for (size_t i = pod ? 0 : 1; i < (pod ? 1 : ARRAY_LEN(volumes)); i++) {
        for (struct raw_iter it = raw_iter(volumes[i]); raw_next(&it, NULL, &volume);) {
            const char *name = raw_text(s->a, volume, "persistentVolumeClaim", "claimName", NULL);
            struct found *claim =
                name ? map_get(s->by_key, str_of(scope_key(s->a, STR(""), "PersistentVolumeClaim",
                                                           f->object.ns, name)))
                     : NULL;
            if (claim)
                each(claim, f);
        }
    }
}

static void note_mount(struct found *claim, const struct found *by)
{
    if (by->core && !claim->mounted_by)
        claim->mounted_by = by;
    str phase = raw_at(by->object.raw, "status", "phase", NULL);
    bool ended = kube_object_is(&by->object, "", "Pod") &&
                 (raw_is(phase, "Succeeded") || raw_is(phase, "Failed"));
    if (by->foreign && !ended && !claim->foreign_mount)
        claim->foreign_mount = by;
}

/* A claim belongs to the chain whose pods mount it, whoever declares it, unless another
 * application's pods mount it as well: then nobody can say whose the data are. */
static void relate_mounts(struct scope_set *s)
{
    for (size_t i = 0; i < s->found.n; i++) {
        struct found *f = s->found.p[i];
        if (f->core || f->foreign)
            each_mount(s, f, note_mount);
    }
    for (size_t i = 0; i < s->found.n; i++) {
        struct found *claim = s->found.p[i];
        if (!claim->mounted_by || claim->core || !streq(claim->object.ns, s->ns))
            continue;
        if (!claim->foreign_mount) {
            claim->core = true;
            claim->foreign = false;
        } else {
            scope_warn(&s->problems, s->a,
                       "the volume of claim %s is not in this backup: %s %s mounts it, but so does "
                       "%s %s of another application",
                       claim->object.name, claim->mounted_by->type->kind,
                       claim->mounted_by->object.name, claim->foreign_mount->type->kind,
                       claim->foreign_mount->object.name);
        }
    }
}

/* An application of another chain is not ours, wherever its object lies. */
static void mark_other_applications(struct scope_set *s)
{
    for (size_t i = 0; i < s->members.n; i++) {
        const struct application *app = &s->members.p[i]->app;
        if (s->members.p[i]->relation == MEMBER_CHAIN)
            continue;
        struct found *f =
            map_get(s->by_key, str_of(scope_key(s->a, str_of(app->type->group), app->type->kind,
                                                app->object.ns, app->object.name)));
        if (f) {
            f->is_application = true;
            f->foreign = s->members.p[i]->relation == MEMBER_OTHER;
            f->mark = MARK_DONE;
        }
    }
}

void scope_relate(struct scope_set *s)
{
    for (size_t i = 0; i < s->found.n; i++) {
        relate_owner(s, s->found.p[i]);
        relate_endpoints(s, s->found.p[i]);
        relate_token(s, s->found.p[i]);
    }
    relate_claims(s);
    mark_other_applications(s);
    for (size_t i = 0; i < s->found.n; i++)
        relate_walk(s, s->found.p[i]);
    relate_mounts(s);
}
