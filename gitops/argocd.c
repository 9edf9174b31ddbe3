/* Argo CD: hold by adding automated.enabled: false together with a refresh request.
 *
 * Why the refresh proves quiet: the controller removes the annotation only when it stores the
 * result of a comparison that started from an object that carried it, and so saw enabled: false
 * too; comparisons of one application never overlap. A sync that an earlier comparison launched
 * stands in .operation by then. The field is one more, not another value of a declared one, so that
 * a parent sees no drift. */
#include "gitops/argocd.h"

#include <stdio.h>

#include "core/json.h"
#include "core/jsonedit.h"
#include "gitops/evidence.h"
#include "gitops/marker.h"
#include "gitops/parents.h"

#define REFRESH "argocd.argoproj.io/refresh"
#define SKIP_RECONCILE "argocd.argoproj.io/skip-reconcile"
#define ENABLED "spec", "syncPolicy", "automated", "enabled"
#define ENABLED_POINTER "/spec/syncPolicy/automated/enabled"
#define MARKER_POINTER "/metadata/annotations/gleaner.dev~1hold"
#define REFRESH_POINTER "/metadata/annotations/argocd.argoproj.io~1refresh"

enum { GIVE_BACK_TRIES = 5 };

static const struct kube_type *const types[] = {&KUBE_APPLICATION, NULL};
static const char *const managers[] = {"argocd-controller", NULL};

static int argocd_read(struct kube *k, struct arena *a, const struct kube_type *t, const char *ns,
                       const char *name, struct application *ret, struct err *err)
{
    struct kube_object o;
    if (kube_get(k, a, t, ns, name, &o, err) < 0)
        return err_wrap(err, "%s %s/%s", t->kind, ns, name);
    return argocd_of(a, t, &o, ret, err);
}

/* ---- may we ---- */

static int refuse_set(struct kube_object *o, struct err *err)
{
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct raw_iter it = kube_owners(o);
    for (struct kube_owner w; kube_owner_next(a, &it, &w);)
        if (streq(w.kind, "ApplicationSet"))
            return err_set(
                err, ERR_REFUSED,
                "Application %s/%s is made by ApplicationSet %s, which would undo a hold "
                "at once; gleaner cannot hold ApplicationSets yet",
                o->ns, o->name, w.name);
    return 0;
}

static int refuse_declared(struct arena *a, struct kube_object *o, struct err *err)
{
    for (const struct engine *const *e = engines; *e; e++)
        if (evidence_declared(a, *e, o, JSON_PATH(ENABLED)))
            return err_set(
                err, ERR_REFUSED,
                "Application %s/%s: spec.syncPolicy.automated.enabled is declared in Git "
                "(applied by %s), which would undo a hold: remove the field from Git",
                o->ns, o->name, (*e)->name);
    return 0;
}

static bool asks_replace(struct arena *a, const struct kube_object *child,
                         const struct application *parent)
{
    const char *own = kube_annotation(a, child, "argocd.argoproj.io/sync-options");
    if (own && strstr(own, "Replace=true"))
        return true;
    str options = raw_at(parent->object.raw, "spec", "syncPolicy", "syncOptions", NULL);
    struct raw_iter it = raw_iter(options);
    for (str option; raw_next(&it, NULL, &option);)
        if (raw_is(option, "Replace=true"))
            return true;
    return false;
}

static int refuse_replaced(struct kube *k, struct arena *a, const struct application *app,
                           const struct kube_object *o, struct err *err)
{
    struct parents p;
    if (parents_direct(k, a, app, &p, err) < 0)
        return -1;
    for (size_t i = 0; i < p.n; i++)
        if (p.at[i].engine == &engine_argocd && asks_replace(a, o, &p.at[i]))
            return err_set(err, ERR_REFUSED,
                           "Application %s/%s: its parent %s applies it with Replace=true, which "
                           "would undo a hold: remove that option",
                           o->ns, o->name, application_title(a, &p.at[i]));
    return 0;
}

static bool adds_enabled(const struct kube_object *o)
{
    return argocd_is_automated(o->raw);
}

static int patch(struct kube *k, struct arena *a, const struct application *app,
                 enum kube_patch_kind kind, json_t *body, bool dry_run, struct kube_object *ret,
                 struct err *err)
{
    struct buf text CLEANUP(buf_free) = {0};
    struct kube_write opts = {.dry_run = dry_run};
    json_print(&text, body);
    if (kube_patch(k, a, app->type, app->object.ns, app->object.name, kind, buf_view(&text), &opts,
                   ret, err) < 0)
        return err_wrap(err, "%s", application_title(a, app));
    return 0;
}

/* The hold as a merge patch; the marker may be NULL (a probe). */
static json_t *hold_body(const struct kube_object *o, const char *marker)
{
    json_t *body = json_pack("{s:{s:s,s:s}}", "metadata", "uid", o->uid, "resourceVersion",
                             o->resource_version);
    if (marker)
        json_object_set_new(json_object_get(body, "metadata"), "annotations",
                            json_pack("{s:s,s:s}", MARKER_ANNOTATION, marker, REFRESH, "normal"));
    if (adds_enabled(o))
        json_object_set_new(body, "spec",
                            json_pack("{s:{s:{s:b}}}", "syncPolicy", "automated", "enabled", 0));
    return body;
}

static bool has_enabled_false(const struct kube_object *o)
{
    return str_is(raw_at(o->raw, ENABLED, NULL), "false");
}

/* A CRD before Argo CD 3.1 has no such field, and the API server drops it without a word. */
static int refuse_old_crd(struct kube *k, struct arena *a, const struct application *app,
                          const struct kube_object *o, struct err *err)
{
    if (!adds_enabled(o))
        return 0;
    struct kube_object after;
    json_t *probe CLEANUP_JSON = hold_body(o, NULL);
    if (patch(k, a, app, KUBE_PATCH_MERGE, probe, true, &after, err) < 0)
        return -1;
    if (has_enabled_false(&after))
        return 0;
    return err_set(
        err, ERR_REFUSED,
        "Application %s/%s: this Argo CD has no spec.syncPolicy.automated.enabled, so it "
        "cannot be held: update it to 3.1 or newer",
        o->ns, o->name);
}

static int argocd_may_hold(struct kube *k, struct arena *a, const struct application *app,
                           struct err *err)
{
    struct kube_object o;
    struct application now;
    struct hold h;
    if (application_again(k, a, app, &o, err) < 0 || argocd_of(a, app->type, &o, &now, err) < 0 ||
        refuse_deleting(&o, err) < 0 || refuse_set(&o, err) < 0)
        return -1;
    if (kube_annotation(a, &o, SKIP_RECONCILE))
        return err_set(err, ERR_REFUSED,
                       "Application %s/%s carries " SKIP_RECONCILE ": Argo CD does not look at it, "
                       "so nothing can be proven: remove the annotation",
                       o.ns, o.name);
    if (hold_read(a, &o, &h))
        return 0; /* whose it is, hold() tells */
    if (adds_enabled(&o) && refuse_declared(a, &o, err) < 0)
        return -1;
    if (refuse_replaced(k, a, &now, &o, err) < 0)
        return -1;
    return refuse_old_crd(k, a, app, &o, err);
}

/* ---- hold ---- */

/* {"enabled":<raw or null>,"owners":[<managedFields entries of it, their other fields left out>]}:
 * a value that a person set changes hands when we change it, and goes back to its owner afterwards.
 */
static str before_text(struct arena *a, const struct kube_object *o)
{
    struct buf b CLEANUP(buf_free) = {0};
    str enabled = raw_at(o->raw, ENABLED, NULL);
    buf_puts(&b, "{\"enabled\":");
    buf_str(&b, enabled.p ? enabled : STR("null"));
    buf_puts(&b, ",\"owners\":[");
    struct raw_iter it = raw_iter(raw_at(o->raw, "metadata", "managedFields", NULL));
    size_t n = 0;
    for (str entry; raw_next(&it, NULL, &entry);) {
        struct err err;
        str bare;
        if (!raw_at(entry, "fieldsV1", "f:spec", "f:syncPolicy", "f:automated", "f:enabled", NULL)
                 .p)
            continue;
        if (raw_set(a, entry, JSON_PATH("fieldsV1"), STR("{}"), &bare, &err) < 0)
            continue;
        buf_puts(&b, n++ ? "," : "");
        buf_str(&b, bare);
    }
    buf_puts(&b, "]}");
    return arena_str(a, buf_view(&b));
}

static int argocd_hold(struct kube *k, struct arena *a, struct application *app,
                       const char *restore, const char *restore_uid, struct err *err)
{
    struct kube_object o;
    struct hold h;
    bool ours;
    if (application_again(k, a, app, &o, err) < 0 || refuse_deleting(&o, err) < 0 ||
        marker_check(a, &o, restore_uid, &ours, &h, err) < 0)
        return -1;
    if (ours && !argocd_is_automated(o.raw)) {
        app->object = o;
        return 0;
    }
    struct hold fresh = marker_fresh(a, restore, restore_uid);
    fresh.added = adds_enabled(&o) ? STR("[\"" ENABLED_POINTER "\"]") : STR("[]");
    /* Also on a hold that a person took off: what stands there now is theirs, and goes back. */
    fresh.before = before_text(a, &o);
    fresh.state = ours ? h.state : "held";
    json_t *body CLEANUP_JSON = hold_body(&o, marker_text(a, &fresh));
    if (patch(k, a, app, KUBE_PATCH_MERGE, body, false, &o, err) < 0 ||
        marker_kept(a, app, &o, restore_uid, !argocd_is_automated(o.raw), err) < 0)
        return -1;
    app->object = o;
    return 0;
}

static int held_object(struct kube *k, struct arena *a, const struct application *app,
                       struct kube_object *ret, struct hold *ret_hold, struct err *err)
{
    if (marker_held(k, a, app, ret, ret_hold, err) < 0)
        return -1;
    if (argocd_is_automated(ret->raw))
        return err_set(err, ERR_REFUSED, "%s: somebody enabled automated sync during the hold",
                       application_title(a, app));
    return 0;
}

/* True while an operation runs, is asked for, or waits for its retry. */
static bool is_operating(str raw)
{
    str phase = raw_at(raw, "status", "operationState", "phase", NULL);
    return raw_get(raw, "operation").p || raw_is(phase, "Running") || raw_is(phase, "Terminating");
}

/* Of an application as just read, and held. */
static int judge_quiet(struct arena *a, const struct application *app, const struct kube_object *o,
                       bool *ret_quiet, char *why, size_t why_n, struct err *err)
{
    if (kube_annotation(a, o, SKIP_RECONCILE))
        return err_set(err, ERR_REFUSED, "%s: somebody set " SKIP_RECONCILE " during the hold",
                       application_title(a, app));
    if (kube_annotation(a, o, REFRESH))
        return not_yet(ret_quiet, why, why_n,
                       "Argo CD has not compared Application %s/%s since the hold, or its "
                       "controller is not running",
                       o->ns, o->name);
    if (is_operating(o->raw)) {
        const char *phase = raw_text(a, o->raw, "status", "operationState", "message", NULL);
        return not_yet(ret_quiet, why, why_n,
                       "a sync of Application %s/%s is still going on: %.120s", o->ns, o->name,
                       phase ? phase : "not started yet");
    }
    *ret_quiet = true;
    return 0;
}

static int argocd_quiet(struct kube *k, struct arena *a, const struct application *app,
                        bool *ret_quiet, char *why, size_t why_n, struct err *err)
{
    struct kube_object o;
    struct hold h;
    if (held_object(k, a, app, &o, &h, err) < 0)
        return -1;
    return judge_quiet(a, app, &o, ret_quiet, why, why_n, err);
}

/* One that prunes nothing by itself deletes nothing, whatever Git says. An error of the repo-server
 * is remembered for an hour after the third, but for who asks for a hard refresh. */
static int argocd_look_again(struct kube *k, struct arena *a, const struct application *app,
                             bool hard, struct err *err)
{
    struct kube_object o;
    struct hold h;
    if (!argocd_prunes(app))
        return 0;
    if (held_object(k, a, app, &o, &h, err) < 0)
        return -1;
    json_t *body CLEANUP_JSON =
        json_pack("{s:{s:s,s:s,s:{s:s}}}", "metadata", "uid", o.uid, "resourceVersion",
                  o.resource_version, "annotations", REFRESH, hard ? "hard" : "normal");
    return patch(k, a, app, KUBE_PATCH_MERGE, body, false, &o, err);
}

static const char *comparison_error(struct arena *a, str raw)
{
    struct raw_iter it = raw_iter(raw_at(raw, "status", "conditions", NULL));
    for (str c; raw_next(&it, NULL, &c);)
        if (str_ends(raw_string(a, raw_get(c, "type")), "Error"))
            return raw_text(a, c, "message", NULL);
    return NULL;
}

/* Where Argo CD could not read Git it lists everything as if Git held nothing. */
static int argocd_looked(struct kube *k, struct arena *a, const struct application *app,
                         enum looked *ret_looked, char *why, size_t why_n, struct err *err)
{
    struct kube_object o;
    struct hold h;
    bool quiet = false;
    *ret_looked = LOOKED;
    if (!argocd_prunes(app))
        return 0;
    if (held_object(k, a, app, &o, &h, err) < 0 ||
        judge_quiet(a, app, &o, &quiet, why, why_n, err) < 0)
        return -1;
    if (!quiet) {
        *ret_looked = LOOK_GOES_ON;
        return 0;
    }
    str sync = raw_at(o.raw, "status", "sync", "status", NULL);
    if (raw_is(sync, "Synced") || raw_is(sync, "OutOfSync"))
        return 0;
    const char *message = comparison_error(a, o.raw);
    *ret_looked = LOOK_FAILED;
    return not_yet(&quiet, why, why_n, "Argo CD cannot compare Application %s/%s with Git: %.200s",
                   o.ns, o.name, message ? message : "it does not say why");
}

static int argocd_mark_cleared(struct kube *k, struct arena *a, const struct application *app,
                               struct err *err)
{
    struct kube_object o;
    struct hold h;
    if (held_object(k, a, app, &o, &h, err) < 0)
        return -1;
    if (streq(h.state, "cleared"))
        return 0;
    if (is_operating(o.raw))
        return err_set(err, ERR_REFUSED, "%s: somebody started a sync during the hold",
                       application_title(a, app));
    const char *old = kube_annotation(a, &o, MARKER_ANNOTATION);
    h.state = "cleared";
    json_t *body CLEANUP_JSON =
        json_pack("[{s:s,s:s,s:s},{s:s,s:s,s:s}]", "op", "test", "path", MARKER_POINTER, "value",
                  old, "op", "replace", "path", MARKER_POINTER, "value", marker_text(a, &h));
    return patch(k, a, app, KUBE_PATCH_JSON, body, false, &o, err);
}

/* ---- resume ---- */

/* A JSON patch whose tests find a foreign edit. A value that is not ours any more stays. */
static int resume_body(struct arena *a, const struct kube_object *o, const struct hold *h,
                       json_t **ret, struct err *err)
{
    json_t *body CLEANUP_JSON =
        json_pack("[{s:s,s:s,s:s},{s:s,s:s,s:s},{s:s,s:s},{s:s,s:s,s:s}]", "op", "test", "path",
                  "/metadata/uid", "value", o->uid, "op", "test", "path", MARKER_POINTER, "value",
                  kube_annotation(a, o, MARKER_ANNOTATION), "op", "remove", "path", MARKER_POINTER,
                  "op", "add", "path", REFRESH_POINTER, "value", "normal");
    if (!str_is(h->added, "[]") && has_enabled_false(o)) {
        str before = raw_get(h->before, "enabled");
        json_array_append_new(
            body, json_pack("{s:s,s:s,s:b}", "op", "test", "path", ENABLED_POINTER, "value", 0));
        if (!before.p || str_is(before, "null")) {
            json_array_append_new(body,
                                  json_pack("{s:s,s:s}", "op", "remove", "path", ENABLED_POINTER));
        } else {
            json_t *value;
            if (json_parse(before, &value, err) < 0)
                return err_wrap(err, "the hold's marker");
            json_array_append_new(body, json_pack("{s:s,s:s,s:o}", "op", "replace", "path",
                                                  ENABLED_POINTER, "value", value));
        }
    }
    *ret = TAKE(body);
    return 0;
}

static bool same_entry(str x, str y)
{
    return str_eq(raw_get(x, "manager"), raw_get(y, "manager")) &&
           str_eq(raw_get(x, "operation"), raw_get(y, "operation")) &&
           str_eq(raw_get(x, "subresource"), raw_get(y, "subresource"));
}

/* The managedFields without ours, and with a person's ownership of `enabled` given back: to the
 * entry that is still there, or as the entry that lost its only field. */
static int give_back_owners(struct arena *a, const struct kube_object *o, str owners, str *ret,
                            struct err *err)
{
    struct buf b CLEANUP(buf_free) = {0};
    str list = raw_at(o->raw, "metadata", "managedFields", NULL), owner, entry;
    const char *const *path =
        JSON_PATH("fieldsV1", "f:spec", "f:syncPolicy", "f:automated", "f:enabled");
    for (struct raw_iter it = raw_iter(list); raw_next(&it, NULL, &entry);) {
        if (raw_is(raw_get(entry, "manager"), KUBE_MANAGER))
            continue;
        for (struct raw_iter was = raw_iter(owners); raw_next(&was, NULL, &owner);)
            if (same_entry(owner, entry) && raw_set(a, entry, path, STR("{}"), &entry, err) < 0)
                return -1;
        buf_puts(&b, b.n ? "," : "");
        buf_str(&b, entry);
    }
    for (struct raw_iter was = raw_iter(owners); raw_next(&was, NULL, &owner);) {
        bool found = false;
        for (struct raw_iter it = raw_iter(list); raw_next(&it, NULL, &entry);)
            found = found || same_entry(owner, entry);
        if (found)
            continue;
        if (raw_set(a, owner, path, STR("{}"), &owner, err) < 0)
            return -1;
        buf_puts(&b, b.n ? "," : "");
        buf_str(&b, owner);
    }
    *ret = str_of(arena_printf(a, "[%.*s]", (int)b.n, b.p ? b.p : ""));
    return 0;
}

/* Removes the last trace of our manager. Never with an empty list, which an API server would take
 * as an order to start over. */
static int drop_trace(struct kube *k, struct arena *a, const struct application *app,
                      const struct kube_object *o, str owners, struct err *err)
{
    str list;
    struct kube_object after;
    if (give_back_owners(a, o, owners, &list, err) < 0)
        return -1;
    if (str_is(list, "[]"))
        return 0;
    const char *body = arena_printf(
        a, "{\"metadata\":{\"uid\":\"%s\",\"resourceVersion\":\"%s\",\"managedFields\":%.*s}}",
        o->uid, o->resource_version, STR_FMT(list));
    if (kube_patch(k, a, app->type, o->ns, o->name, KUBE_PATCH_MERGE, str_of(body), NULL, &after,
                   err) < 0)
        return err_wrap(err, "%s", application_title(a, app));
    return 0;
}

static int argocd_resume(struct kube *k, struct arena *a, const struct application *app,
                         struct err *err)
{
    struct kube_object o;
    struct hold h;
    json_t *body CLEANUP_JSON = NULL;
    if (application_again(k, a, app, &o, err) < 0)
        return -1;
    if (!hold_read(a, &o, &h))
        return 0;
    if (streq(h.state, "broken"))
        return err_set(
            err, ERR_REFUSED,
            "%s carries a %s annotation that cannot be read: look at it, and remove it by "
            "hand",
            application_title(a, app), MARKER_ANNOTATION);
    if (resume_body(a, &o, &h, &body, err) < 0)
        return -1;
    if (patch(k, a, app, KUBE_PATCH_JSON, body, false, &o, err) < 0) {
        if (err->kind == ERR_INVALID)
            err->kind = ERR_CONFLICT; /* a test failed: somebody wrote between */
        return -1;
    }
    str owners = raw_get(h.before, "owners");
    bool given = !owners.p || str_is(owners, "[]");
    /* The marker is gone: what is not put right now, nobody knows later. */
    for (int tries = 0; !given && tries < GIVE_BACK_TRIES; tries++) {
        given = drop_trace(k, a, app, &o, owners, err) == 0;
        if (!given && (err->kind != ERR_CONFLICT || application_again(k, a, app, &o, err) < 0))
            return -1;
    }
    return 0;
}

/* Without selfHeal a revision that was synced once is not synced again. */
static bool puts_back(str raw)
{
    return argocd_is_automated(raw) &&
           raw_true(raw_at(raw, "spec", "syncPolicy", "automated", "selfHeal", NULL));
}

static int argocd_settled(struct kube *k, struct arena *a, const struct application *app,
                          bool *ret_settled, char *why, size_t why_n, struct err *err)
{
    struct kube_object o;
    struct application now;
    if (application_again(k, a, app, &o, err) < 0 || argocd_of(a, app->type, &o, &now, err) < 0)
        return -1;
    if (kube_annotation(a, &o, REFRESH))
        return not_yet(ret_settled, why, why_n, "Argo CD has not compared Application %s/%s yet",
                       o.ns, o.name);
    if (our_trace(a, &o) && drop_trace(k, a, app, &o, (str){0}, err) < 0)
        return -1;
    if (is_operating(o.raw))
        return not_yet(ret_settled, why, why_n, "a sync of Application %s/%s is going on", o.ns,
                       o.name);
    str health = raw_at(o.raw, "status", "health", "status", NULL);
    bool settled = argocd_is_automated(o.raw) ? now.ready : raw_is(health, "Healthy");
    if (!settled && !puts_back(o.raw) &&
        raw_is(raw_at(o.raw, "status", "sync", "status", NULL), "OutOfSync"))
        return not_yet(ret_settled, why, why_n,
                       "Application %s/%s is %s, and Argo CD does not put back by itself what is "
                       "missing: argocd app sync %s/%s",
                       o.ns, o.name, now.ready_text, o.ns, o.name);
    if (!settled)
        return not_yet(ret_settled, why, why_n, "Application %s/%s is %s", o.ns, o.name,
                       now.ready_text);
    *ret_settled = true;
    return 0;
}

const struct engine engine_argocd = {
    .name = "Argo CD",
    .types = types,
    .managers = managers,
    .of = argocd_of,
    .read = argocd_read,
    .sources = argocd_sources,
    .books = argocd_books,
    .may_hold = argocd_may_hold,
    .hold = argocd_hold,
    .quiet = argocd_quiet,
    .look_again = argocd_look_again,
    .looked = argocd_looked,
    .mark_cleared = argocd_mark_cleared,
    .resume = argocd_resume,
    .settled = argocd_settled,
};
