#include "gitops/marks.h"

#include "kube/types.h"

static bool flux_marks(struct arena *a, const struct application *app, const struct kube_object *o)
{
    const char *group = app->type->group;
    const char *name = kube_label(a, o, arena_printf(a, "%s/name", group));
    const char *ns = kube_label(a, o, arena_printf(a, "%s/namespace", group));
    return streq(name, app->object.name) && streq(ns, app->object.ns);
}

/* <app>:<group>/<Kind>:<namespace>/<name>; app is <namespace>_<name>. That of Applications in Argo
 * CD's own namespace is the name alone, which one in another namespace may have as well. */
static bool argocd_marks(struct arena *a, const struct application *app,
                         const struct kube_object *o)
{
    const char *id = kube_annotation(a, o, "argocd.argoproj.io/tracking-id");
    str version = raw_get(o->raw, "apiVersion");
    str group = kube_group_of(raw_string(a, version).p);
    const char *self = arena_printf(a, ":%.*s/%s:%s/%s", STR_FMT(group), o->kind, o->ns, o->name);
    return streq(id, arena_printf(a, "%s_%s%s", app->object.ns, app->object.name, self));
}

bool application_marks(struct arena *a, const struct application *app, const struct kube_object *o)
{
    return app->engine == &engine_flux ? flux_marks(a, app, o) : argocd_marks(a, app, o);
}
