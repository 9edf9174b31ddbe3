#include "reconciler/reach.h"

#include "gitops/marks.h"

bool reach_is_engine_ns(const struct context *cx, const char *ns)
{
    static const char *const usual[] = {"flux-system", "argocd", NULL};
    const char *const *names = cx->engine_namespaces ? cx->engine_namespaces : usual;
    for (size_t i = 0; names[i]; i++) {
        if (streq(ns, names[i]))
            return true;
    }
    return false;
}

bool reach_may_name(const struct context *cx, struct arena *a, const struct application *app,
                    const struct kube_object *o)
{
    return streq(app->object.ns, o->ns) || reach_is_engine_ns(cx, app->object.ns) ||
           kube_object_is(o, "", "Namespace") ||
           kube_object_is(o, "apiextensions.k8s.io", "CustomResourceDefinition") ||
           application_marks(a, app, o);
}
