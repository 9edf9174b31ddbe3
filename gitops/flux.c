/* Flux: hold by server-side apply with a manager of our own; quiet by the request token.
 *
 * Why a token proves quiet: both controllers copy requestedAt, as read at the start of a run, into
 * status.lastHandledReconcileAt when the run ends, suspended or not, and never run one object twice
 * at once. So when our token comes back, every earlier run has ended and this one saw spec.suspend.
 */
#include "gitops/flux.h"

#include <stdio.h>

#include "core/clock.h"
#include "core/codec.h"
#include "core/json.h"
#include "gitops/evidence.h"
#include "gitops/helm.h"
#include "gitops/marker.h"

static const struct kube_type *const types[] = {&KUBE_HELMRELEASE, &KUBE_KUSTOMIZATION, NULL};
static const char *const managers[] = {"kustomize-controller", "helm-controller", "flux-operator",
                                       NULL};

static int flux_read(struct kube *k, struct arena *a, const struct kube_type *t, const char *ns,
                     const char *name, struct application *ret, struct err *err)
{
    struct kube_object o;
    if (kube_get(k, a, t, ns, name, &o, err) < 0)
        return err_wrap(err, "%s %s/%s", t->kind, ns, name);
    return flux_of(a, t, &o, ret, err);
}

/* ---- may we ---- */

static int find_owner(void *ctx, const struct owner *w, struct err *err)
{
    static const char *const names[] = {"kustomize-controller", "helm-controller", "helm",
                                        "flux-operator", "argocd-controller"};
    (void)err;
    const char **found = ctx;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (streq(w->manager, names[i]))
            *found = names[i];
    return 0;
}

static int refuse_declared(struct arena *a, const struct kube_object *o, struct err *err)
{
    const char *owner = NULL;
    if (evidence_owners(a, o, (const char *const[]){"spec", "suspend", NULL}, find_owner, &owner,
                        err) < 0)
        return -1;
    if (!owner)
        return 0;
    return err_set(err, ERR_REFUSED,
                   "%s %s/%s: spec.suspend is declared in Git (applied by %s), which would undo a "
                   "hold: remove the field from Git",
                   o->kind, o->ns, o->name, owner);
}

/* flux-operator takes fields over that it did not write. */
static int refuse_operator(struct arena *a, const struct kube_object *o, struct err *err)
{
    static const struct {
        const char *label, *kind;
    } rows[] = {{"resourceset.fluxcd.controlplane.io/name", "ResourceSet"},
                {"fluxcd.controlplane.io/name", "FluxInstance"}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *name = kube_label(a, o, rows[i].label);
        if (name)
            return err_set(err, ERR_REFUSED,
                           "%s %s/%s belongs to %s %s, which gleaner cannot hold yet", o->kind,
                           o->ns, o->name, rows[i].kind, name);
    }
    return 0;
}

static int flux_may_hold(struct kube *k, struct arena *a, const struct application *app,
                         struct err *err)
{
    struct kube_object o;
    if (application_again(k, a, app, &o, err) < 0 || refuse_deleting(&o, err) < 0 ||
        refuse_operator(a, &o, err) < 0 || refuse_declared(a, &o, err) < 0)
        return -1;
    struct application now;
    if (flux_of(a, app->type, &o, &now, err) < 0)
        return -1;
    if (!flux_is_helm(app))
        return 0;
    struct helm_storage s;
    if (helm_storage_read(k, a, now.storage_ns, now.release, false, &s, err) < 0)
        return -1;
    return helm_storage_settled(&s, now.storage_ns, now.release, err);
}

/* ---- writing ---- */

struct apply {
    const char *marker, *requested_at; /* NULL: none */
    bool suspend;
};

/* What our manager owns on the object from now on: exactly this, whatever it was. */
static int apply(struct kube *k, struct arena *a, const struct application *app,
                 const struct apply *want, struct kube_object *ret, struct err *err)
{
    const struct kube_object *o = &app->object;
    json_t *body CLEANUP_JSON =
        json_pack("{s:s,s:s,s:{s:s,s:s,s:s}}", "apiVersion", kube_api_version(a, app->type), "kind",
                  app->type->kind, "metadata", "name", o->name, "namespace", o->ns, "uid", o->uid);
    json_t *annotations CLEANUP_JSON = json_object();
    if (want->marker)
        json_object_set_new(annotations, MARKER_ANNOTATION, json_string(want->marker));
    if (want->requested_at)
        json_object_set_new(annotations, FLUX_REQUESTED_AT, json_string(want->requested_at));
    if (json_object_size(annotations))
        json_object_set(json_object_get(body, "metadata"), "annotations", annotations);
    if (want->suspend)
        json_object_set_new(body, "spec", json_pack("{s:b}", "suspend", 1));
    struct buf text CLEANUP(buf_free) = {0};
    json_print(&text, body);
    struct kube_write opts = {.force = true};
    struct kube_object after;
    if (kube_apply(k, a, app->type, o->ns, o->name, buf_view(&text), &opts, &after, err) < 0)
        return err_wrap(err, "%s", application_title(a, app));
    *ret = after;
    return 0;
}

static bool is_suspended(const struct kube_object *o)
{
    return raw_true(raw_at(o->raw, "spec", "suspend", NULL));
}

static str before_text(struct arena *a, const struct kube_object *o)
{
    struct buf b CLEANUP(buf_free) = {0};
    str suspend = raw_at(o->raw, "spec", "suspend", NULL);
    const char *requested = kube_annotation(a, o, FLUX_REQUESTED_AT);
    buf_puts(&b, "{\"suspend\":");
    buf_str(&b, suspend.p ? suspend : STR("null"));
    buf_puts(&b, ",\"requestedAt\":");
    if (requested)
        raw_add_string(&b, str_of(requested));
    else
        buf_puts(&b, "null");
    buf_putc(&b, '}');
    return arena_str(a, buf_view(&b));
}

static int flux_hold(struct kube *k, struct arena *a, struct application *app, const char *restore,
                     const char *restore_uid, struct err *err)
{
    struct kube_object o;
    struct hold h;
    bool ours;
    if (application_again(k, a, app, &o, err) < 0 || refuse_deleting(&o, err) < 0 ||
        marker_check(a, &o, restore_uid, &ours, &h, err) < 0)
        return -1;
    /* Somebody else's request in the place of ours: its answer would prove nothing, so ask again.
     */
    bool asked = ours && streq(kube_annotation(a, &o, FLUX_REQUESTED_AT), h.token);
    if (asked && is_suspended(&o)) {
        app->object = o;
        return 0;
    }
    struct hold fresh = marker_fresh(a, restore, restore_uid);
    fresh.added = STR("[\"spec.suspend\"]");
    fresh.before = ours ? h.before : before_text(a, &o);
    fresh.state = ours ? h.state : "held";
    struct apply want = {marker_text(a, &fresh), fresh.token, true};
    if (apply(k, a, app, &want, &o, err) < 0 ||
        marker_kept(a, app, &o, restore_uid, is_suspended(&o), err) < 0)
        return -1;
    app->object = o;
    return 0;
}

/* The object and our marker on it; ERR_REFUSED if the hold is not there any more. */
static int held_object(struct kube *k, struct arena *a, const struct application *app,
                       struct kube_object *ret, struct hold *ret_hold, struct err *err)
{
    if (marker_held(k, a, app, ret, ret_hold, err) < 0)
        return -1;
    if (!is_suspended(ret))
        return err_set(err, ERR_REFUSED, "%s: somebody set spec.suspend back during the hold",
                       application_title(a, app));
    return 0;
}

static int flux_quiet(struct kube *k, struct arena *a, const struct application *app,
                      bool *ret_quiet, char *why, size_t why_n, struct err *err)
{
    struct kube_object o;
    struct hold h;
    struct application now;
    if (held_object(k, a, app, &o, &h, err) < 0 || flux_of(a, app->type, &o, &now, err) < 0)
        return -1;
    const char *asked = kube_annotation(a, &o, FLUX_REQUESTED_AT);
    const char *handled = raw_text(a, o.raw, "status", "lastHandledReconcileAt", NULL);
    if (!streq(asked, h.token))
        return not_yet(ret_quiet, why, why_n,
                       "somebody else asked %s %s/%s to reconcile after the hold, so its answer "
                       "proves nothing",
                       o.kind, o.ns, o.name);
    if (!streq(handled, h.token))
        return not_yet(ret_quiet, why, why_n,
                       "%s %s/%s has not answered yet: a run may still be going on, or its "
                       "controller is not running",
                       o.kind, o.ns, o.name);
    if (flux_is_helm(app)) {
        struct helm_storage s;
        if (helm_storage_read(k, a, now.storage_ns, now.release, false, &s, err) < 0 ||
            helm_storage_settled(&s, now.storage_ns, now.release, err) < 0)
            return -1;
    }
    *ret_quiet = true;
    return 0;
}

static int flux_mark_cleared(struct kube *k, struct arena *a, const struct application *app,
                             struct err *err)
{
    struct kube_object o;
    struct hold h;
    if (held_object(k, a, app, &o, &h, err) < 0)
        return -1;
    if (streq(h.state, "cleared"))
        return 0;
    h.state = "cleared";
    struct apply want = {marker_text(a, &h), h.token, true};
    return apply(k, a, app, &want, &o, err);
}

static int flux_resume(struct kube *k, struct arena *a, const struct application *app,
                       struct err *err)
{
    struct kube_object o;
    struct hold h;
    char now[CLOCK_RFC3339], salt[17];
    if (application_again(k, a, app, &o, err) < 0)
        return -1;
    if (!hold_read(a, &o, &h))
        return 0;
    clock_format(clock_wall_ms(), now);
    random_token(salt, 8);
    struct apply want = {.requested_at = arena_printf(a, "%s-%s", now, salt)};
    if (apply(k, a, app, &want, &o, err) < 0)
        return -1;
    if (hold_read(a, &o, &h))
        return err_set(err, ERR_REFUSED,
                       "%s: somebody else has taken the %s annotation over: remove it by hand",
                       application_title(a, app), MARKER_ANNOTATION);
    return 0;
}

static int flux_settled(struct kube *k, struct arena *a, const struct application *app,
                        bool *ret_settled, char *why, size_t why_n, struct err *err)
{
    struct kube_object o;
    struct application now;
    if (application_again(k, a, app, &o, err) < 0 || flux_of(a, app->type, &o, &now, err) < 0)
        return -1;
    const char *asked = kube_annotation(a, &o, FLUX_REQUESTED_AT);
    const char *handled = raw_text(a, o.raw, "status", "lastHandledReconcileAt", NULL);
    bool traced = our_trace(a, &o);
    struct hold h;
    if (hold_read(a, &o, &h)) /* a newer one: to remove our trace would be to lift it */
        return not_yet(ret_settled, why, why_n, "%s %s/%s is held by Restore %s", o.kind, o.ns,
                       o.name, h.restore);
    if (traced && asked && !streq(asked, handled))
        return not_yet(ret_settled, why, why_n, "%s %s/%s has not answered yet", o.kind, o.ns,
                       o.name);
    if (traced && apply(k, a, app, &(struct apply){0}, &o, err) < 0)
        return -1;
    if (!now.suspended && !now.ready)
        return not_yet(ret_settled, why, why_n, "%s %s/%s is not Ready: %.150s", o.kind, o.ns,
                       o.name, now.ready_text);
    *ret_settled = true;
    return 0;
}

const struct engine engine_flux = {
    .name = "Flux",
    .types = types,
    .managers = managers,
    .of = flux_of,
    .read = flux_read,
    .sources = flux_sources,
    .books = flux_books,
    .may_hold = flux_may_hold,
    .hold = flux_hold,
    .quiet = flux_quiet,
    .mark_cleared = flux_mark_cleared,
    .resume = flux_resume,
    .settled = flux_settled,
};
