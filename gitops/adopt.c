/* A hold that outlived its Restore changes hands. */
#include "core/json.h"
#include "gitops/flux.h"
#include "gitops/marker.h"

/* All that our manager owns on it, in one apply: a merge patch would make a second entry of ours.
 */
static int adopt_flux(struct kube *k, struct arena *a, const struct application *app,
                      const struct kube_object *o, const struct hold *h, struct err *err)
{
    struct kube_object after;
    struct kube_write opts = {.force = true};
    json_t *body CLEANUP_JSON =
        json_pack("{s:s,s:s,s:{s:s,s:s,s:s,s:{s:s,s:s}},s:{s:b}}", "apiVersion",
                  kube_api_version(a, app->type), "kind", app->type->kind, "metadata", "name",
                  o->name, "namespace", o->ns, "uid", o->uid, "annotations", MARKER_ANNOTATION,
                  marker_text(a, h), FLUX_REQUESTED_AT, h->token, "spec", "suspend", 1);
    struct buf text CLEANUP(buf_free) = {0};
    json_print(&text, body);
    return kube_apply(k, a, app->type, o->ns, o->name, buf_view(&text), &opts, &after, err);
}

static int adopt_argocd(struct kube *k, struct arena *a, const struct application *app,
                        const struct kube_object *o, const struct hold *h, struct err *err)
{
    struct kube_object after;
    json_t *body CLEANUP_JSON =
        json_pack("{s:{s:s,s:s,s:{s:s,s:s}}}", "metadata", "uid", o->uid, "resourceVersion",
                  o->resource_version, "annotations", MARKER_ANNOTATION, marker_text(a, h),
                  "argocd.argoproj.io/refresh", "normal");
    struct buf text CLEANUP(buf_free) = {0};
    json_print(&text, body);
    return kube_patch(k, a, app->type, o->ns, o->name, KUBE_PATCH_MERGE, buf_view(&text), NULL,
                      &after, err);
}

int hold_adopt(struct kube *k, struct arena *a, const struct application *app, const char *from_uid,
               const char *restore, const char *restore_uid, struct err *err)
{
    struct kube_object o;
    struct hold h;
    if (application_again(k, a, app, &o, err) < 0)
        return -1;
    if (!hold_read(a, &o, &h) || streq(h.uid, restore_uid))
        return 0;
    if (streq(h.state, "broken") || !streq(h.uid, from_uid))
        return err_set(err, ERR_CONFLICT, "%s: its hold changed meanwhile",
                       application_title(a, app));
    struct hold fresh = marker_fresh(a, restore, restore_uid);
    fresh.state = h.state;
    fresh.added = h.added;
    fresh.before = h.before;
    bool flux = app->engine == &engine_flux;
    if ((flux ? adopt_flux : adopt_argocd)(k, a, app, &o, &fresh, err) < 0)
        return err_wrap(err, "taking over the hold of %s", application_title(a, app));
    return 0;
}
