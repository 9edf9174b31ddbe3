#include "gitops/marks.h"

static bool flux_marks(struct arena *a, const struct application *app, const struct kube_object *o)
{
    const char *group = app->type->group;
    const char *name = kube_label(a, o, arena_printf(a, "%s/name", group));
    const char *ns = kube_label(a, o, arena_printf(a, "%s/namespace", group));
    return streq(name, app->object.name) && streq(ns, app->object.ns);
}

const char *argocd_tracked_by(struct arena *a, const struct kube_object *o)
{
    const char *id = kube_annotation(a, o, "argocd.argoproj.io/tracking-id");
    const char *self = arena_printf(a, ":%.*s/%s:%s/%s", STR_FMT(kube_group_of(o->api_version)),
                                    o->kind, o->ns, o->name);
    return id && str_ends(str_of(id), self) ? arena_strndup(a, id, strlen(id) - strlen(self))
                                            : NULL;
}

bool argocd_keeps(struct arena *a, const struct kube_object *o)
{
    const char *options = kube_annotation(a, o, "argocd.argoproj.io/sync-options");
    for (str rest = str_of(options ? options : ""); rest.n > 0;) {
        str option = str_trim(str_cut(&rest, ','));
        if (str_is(option, "Prune=false") || str_is(option, "Prune=confirm"))
            return true;
    }
    return false;
}

/* That of Applications in Argo CD's own namespace is the name alone, which one in another namespace
 * may have as well. */
static bool argocd_marks(struct arena *a, const struct application *app,
                         const struct kube_object *o)
{
    return streq(argocd_tracked_by(a, o),
                 arena_printf(a, "%s_%s", app->object.ns, app->object.name));
}

bool application_marks(struct arena *a, const struct application *app, const struct kube_object *o)
{
    return app->engine == &engine_flux ? flux_marks(a, app, o) : argocd_marks(a, app, o);
}
