/* Flux: what an application is, and its books. */
#include "gitops/flux.h"
#include "gitops/helm.h"
#include "gitops/inventory.h"
#include "gitops/marker.h"

static const char *text_or_empty(char *s)
{
    return s ? s : "";
}

/* kstatus "Current": github.com/kubernetes-sigs/cli-utils pkg/kstatus. */
static void read_ready(struct arena *a, str raw, struct application *app)
{
    int64_t generation = 0, observed = -1;
    raw_int(raw_at(raw, "metadata", "generation", NULL), &generation);
    raw_int(raw_at(raw, "status", "observedGeneration", NULL), &observed);
    bool ready = false, busy = false;
    app->ready_text = "has no Ready condition yet";
    struct raw_iter it = raw_iter(raw_at(raw, "status", "conditions", NULL));
    for (str c; raw_next(&it, NULL, &c);) {
        bool truth = raw_is(raw_get(c, "status"), "True");
        if (raw_is(raw_get(c, "type"), "Ready")) {
            ready = truth;
            app->ready_text = text_or_empty(raw_text(a, c, "message", NULL));
        } else if (truth && (raw_is(raw_get(c, "type"), "Reconciling") ||
                             raw_is(raw_get(c, "type"), "Stalled"))) {
            busy = true;
        }
    }
    if (ready && observed != generation)
        app->ready_text = "has not seen its newest generation yet";
    app->ready = ready && !busy && observed == generation;
}

/* True if somebody besides us wants it suspended. */
static bool suspended_by_people(struct arena *a, const struct kube_object *o)
{
    struct hold h;
    if (!raw_true(raw_at(o->raw, "spec", "suspend", NULL)))
        return false;
    if (!hold_read(a, o, &h))
        return true;
    struct raw_iter it = raw_iter(raw_at(o->raw, "metadata", "managedFields", NULL));
    for (str entry; raw_next(&it, NULL, &entry);)
        if (raw_at(entry, "fieldsV1", "f:spec", "f:suspend", NULL).p &&
            !raw_is(raw_get(entry, "manager"), KUBE_MANAGER))
            return true;
    return false;
}

static const char *inventory_namespace(struct arena *a, str raw)
{
    const char *only = "";
    struct raw_iter it = raw_iter(raw_at(raw, "status", "inventory", "entries", NULL));
    for (str entry; raw_next(&it, NULL, &entry);) {
        struct inventory_id id;
        str text = raw_string(a, raw_get(entry, "id"));
        if (!text.p || !inventory_parse(a, text, &id) || !*id.ns)
            continue;
        if (*only && !streq(only, id.ns))
            return "";
        only = id.ns;
    }
    return only;
}

/* The release as it was installed; as it would be, where nothing is yet. */
static void read_release(struct arena *a, const struct kube_object *o, struct application *app)
{
    str first = {0};
    struct raw_iter it = raw_iter(raw_at(o->raw, "status", "history", NULL));
    raw_next(&it, NULL, &first);
    const char *target = raw_text(a, o->raw, "spec", "targetNamespace", NULL);
    const char *storage = raw_text(a, o->raw, "status", "storageNamespace", NULL);
    const char *release = first.p ? raw_text(a, first, "name", NULL) : NULL;
    const char *ns = first.p ? raw_text(a, first, "namespace", NULL) : NULL;
    if (!storage)
        storage = raw_text(a, o->raw, "spec", "storageNamespace", NULL);
    if (!ns)
        ns = target;
    if (!release)
        release =
            helm_release_name(a, raw_text(a, o->raw, "spec", "releaseName", NULL), target, o->name);
    app->release = release;
    app->content_ns = ns && *ns ? ns : o->ns;
    app->storage_ns = storage && *storage ? storage : o->ns;
}

int flux_of(struct arena *a, const struct kube_type *t, const struct kube_object *o,
            struct application *ret, struct err *err)
{
    if (raw_at(o->raw, "spec", "kubeConfig", NULL).p)
        return err_set(err, ERR_UNSUPPORTED,
                       "%s %s/%s acts on another cluster (spec.kubeConfig): install gleaner there",
                       t->kind, o->ns, o->name);
    struct application app = {.engine = &engine_flux,
                              .type = t,
                              .object = kube_object_copy(a, o),
                              .release = "",
                              .storage_ns = ""};
    o = &app.object;
    read_ready(a, o->raw, &app);
    app.suspended = suspended_by_people(a, o);
    const char *target = raw_text(a, o->raw, "spec", "targetNamespace", NULL);
    if (flux_is_helm(&app))
        read_release(a, o, &app);
    else
        app.content_ns = target && *target ? target : inventory_namespace(a, o->raw);
    *ret = app;
    return 0;
}

/* ---- books ---- */

static int inventory_books(struct arena *a, const struct application *app, book_fn *each, void *ctx,
                           struct err *err)
{
    struct raw_iter it = raw_iter(raw_at(app->object.raw, "status", "inventory", "entries", NULL));
    for (str entry; raw_next(&it, NULL, &entry);) {
        struct inventory_id id;
        str text = raw_string(a, raw_get(entry, "id"));
        if (!text.p || !inventory_parse(a, text, &id))
            return err_set(err, ERR_CORRUPT, "%s: its inventory has an entry that is not an id",
                           application_title(a, app));
        struct book_entry e = {.group = id.group,
                               .kind = id.kind,
                               .ns = id.ns,
                               .name = id.name,
                               .version = text_or_empty(raw_text(a, entry, "v", NULL))};
        if (each(ctx, &e, err) < 0)
            return -1;
    }
    return 0;
}

int flux_books(struct kube *k, struct arena *a, const struct application *app, book_fn *each,
               void *ctx, struct err *err)
{
    if (!flux_is_helm(app)) {
        if (!raw_at(app->object.raw, "status", "inventory", NULL).p)
            return err_set(err, ERR_CORRUPT, "%s has no inventory: it has applied nothing yet",
                           application_title(a, app));
        return inventory_books(a, app, each, ctx, err);
    }
    if (helm_books(k, a, app->storage_ns, app->release, app->content_ns, each, ctx, err) < 0)
        return -1;
    return inventory_books(a, app, each, ctx, err); /* since Flux 2.8: chart crds/ too */
}
