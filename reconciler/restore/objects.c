/* Objects, Recreate, Residue: what Git does not hold, then what the engine would not
 * bring back by itself. */
#include "core/map.h"
#include "reconciler/reach.h"
#include "reconciler/restore/workload.h"
#include "reconciler/restore/write.h"

enum { STEP_OBJECTS = 100 /* in one step; then the cursor is persisted */ };

/* Applications are the engine's and people's: a restore never makes or changes one. */
static bool is_application(const struct item *it)
{
    static const char *const resources[] = {"helmreleases", "kustomizations", "applications",
                                            "applicationsets", "appprojects"};
    if (!str_ends(str_of(it->group), "toolkit.fluxcd.io") && !streq(it->group, "argoproj.io"))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(resources); i++)
        if (streq(it->resource, resources[i]))
            return true;
    return false;
}

static bool is_pod(const struct item *it)
{
    return streq(it->group, "") && streq(it->resource, "pods");
}

/* Claims with a stored volume belong to Volumes; the others are objects like all else. */
static bool belongs_to_volumes(struct restore *r, const struct item *it)
{
    return streq(it->group, "") && streq(it->resource, "persistentvolumeclaims") &&
           restore_is_target_claim(r, it->name);
}

bool restore_skips(const struct item *it)
{
    return it->restore == RESTORE_NEVER || is_application(it) || is_pod(it) ||
           (streq(it->group, "") && streq(it->resource, "persistentvolumes"));
}

int restore_open_area(struct restore *r, const char *area, struct restore_area *ret,
                      struct err *err)
{
    if (restore_archive(r, &ret->archive, err) < 0 || restore_types(r, &ret->types, err) < 0)
        return -1;
    return stored_items(ret->archive, area, &ret->items, &ret->n, err);
}

/* ---- Objects ---- */

static bool is_for_objects(struct restore *r, const struct item *it)
{
    return !restore_skips(it) && it->restore != RESTORE_AFTER_OWNER && !item_is_workload(it) &&
           !item_is_definition(it) && !belongs_to_volumes(r, it);
}

int restore_objects(struct restore *r, struct err *err)
{
    struct restore_area p;
    if (restore_open_area(r, SNAPSHOT_RESOURCES, &p, err) < 0)
        return -1;
    size_t cursor = (size_t)json_integer_value(json_object_get(r->st.now, "cursor")), done = 0;
    if (cursor == 0)
        status_set(&r->st, "objectsAt", json_string(status_written_at(r->a, &r->st)));
    for (size_t i = cursor; i < p.n; i++) {
        if (!is_for_objects(r, &p.items[i]))
            continue;
        if (write_item(r, p.archive, &p.items[i], restore_type_of(p.types, &p.items[i]), err) < 0)
            return -1;
        if (++done == STEP_OBJECTS) {
            status_set(&r->st, "cursor", json_integer((json_int_t)i + 1));
            r->wait_ms = 1;
            return restore_wait(r, "%zu of %zu objects", i + 1, p.n);
        }
    }
    /* Fields on objects that are there: who starts next should find them. */
    return restore_residue_pass(r, false, err) < 0 ? -1 : STEP_NEXT;
}

/* ---- Recreate ---- */

struct chart {
    struct restore *r;
    const struct application *app;
    const struct kube_discovery *types;
    struct map *known; /* names of the objects in the backup's plan */
    restore_chart_fn *each;
    void *ctx;
};

static const char *known_name(struct arena *a, const char *group, const char *kind, const char *ns,
                              const char *name)
{
    return arena_printf(a, "%s|%s|%s|%s", group, kind, ns, name);
}

/* A release's record is what somebody wrote into a Secret. Of what lies beyond the application's
 * namespace only that is made again which was there, as its own, when the backup was made. */
static bool may_make(struct chart *c, const struct kube_type *t, const struct book_entry *e)
{
    const char *ns = !t->namespaced ? "" : *e->ns ? e->ns : c->app->content_ns;
    const char *own = c->app->object.ns;
    return streq(ns, own) || reach_is_engine_ns(c->r->cx, own) ||
           map_get(c->known, str_of(known_name(c->r->a, e->group, e->kind, ns, e->name)));
}

/* A Job would run again, a hook is the engine's business, and the rest that the chart has is
 * needed. */
static int on_chart_entry(void *ctx, const struct book_entry *e, struct err *err)
{
    struct chart *c = ctx;
    if (e->seed || !e->manifest.p || streq(e->kind, "Job") || streq(e->kind, "Pod"))
        return 0;
    const struct kube_type *t = kube_discovery_kind(c->types, str_of(e->group), NULL, e->kind);
    return !t || may_make(c, t, e) ? c->each(c->ctx, t, e, c->app, err) : 0;
}

static int note_known(void *ctx, const struct planned *p, struct err *err)
{
    (void)err;
    struct chart *c = ctx;
    const char *name = known_name(c->r->a, p->group, p->kind, p->ns, p->name);
    map_put(c->known, str_of(name), c);
    return 0;
}

/* A HelmRelease without drift detection does not bring deleted objects back. */
static bool engine_recreates(const struct application *app)
{
    return app->type != &KUBE_HELMRELEASE;
}

int restore_chart_objects(struct restore *r, const struct restore_area *resources,
                          restore_chart_fn *each, void *ctx, struct err *err)
{
    struct map CLEANUP(map_free_p) *known = map_new(NULL);
    struct chart c = {.r = r, .types = resources->types, .known = known, .each = each, .ctx = ctx};
    if (stored_planned(resources->archive, note_known, &c, err) < 0)
        return -1;
    struct application app;
    int more;
    c.app = &app;
    for (size_t at = 0; (more = restore_hold_next(r, &at, &app, err)) > 0;)
        if (!engine_recreates(&app) &&
            app.engine->books(r->cx->kube, r->a, &app, on_chart_entry, &c, err) < 0)
            return err_wrap(err, "the books of %s", restore_hold_name(r, at - 1));
    return more;
}

static int recreate_chart_object(void *ctx, const struct kube_type *t, const struct book_entry *e,
                                 const struct application *app, struct err *err)
{
    if (!t)
        return err_set(err, ERR_REFUSED, "the chart's %s %s: the cluster does not serve %s",
                       e->kind, e->name, e->kind);
    return write_chart_object(ctx, t, e, app, err);
}

int restore_recreate(struct restore *r, struct err *err)
{
    struct restore_area p;
    if (restore_open_area(r, SNAPSHOT_RESOURCES, &p, err) < 0)
        return -1;
    for (size_t i = 0; i < p.n; i++)
        if (item_is_workload(&p.items[i]) && !restore_skips(&p.items[i]) &&
            p.items[i].restore != RESTORE_AFTER_OWNER &&
            write_item(r, p.archive, &p.items[i], restore_type_of(p.types, &p.items[i]), err) < 0)
            return -1;
    if (restore_chart_objects(r, &p, recreate_chart_object, r, err) < 0)
        return -1;
    /* What was made only now has its fields before anybody starts with it. */
    if (restore_residue_pass(r, false, err) < 0)
        return -1;
    return restore_start_workloads(r, err);
}

/* ---- Residue ---- */

/* What comes after its owner. Not `last`: as soon as the owner is there, what pods cannot start
 * without, or would start wrongly with. */
static int owned_pass(struct restore *r, bool last, struct err *err)
{
    struct restore_area p;
    if (restore_open_area(r, SNAPSHOT_RESOURCES, &p, err) < 0)
        return -1;
    for (size_t i = 0; i < p.n; i++) {
        const struct item *it = &p.items[i];
        const struct kube_type *t = restore_type_of(p.types, it);
        bool owned = it->restore == RESTORE_AFTER_OWNER;
        if (restore_skips(it) || (!last && !item_is_configuration(it)))
            continue;
        if (owned && write_owned(r, p.archive, it, t, last, err) < 0)
            return -1;
        if (!owned && streq(it->resource, "secrets") && streq(it->group, "") &&
            write_token(r, p.archive, it, t, err) < 0)
            return -1;
    }
    return 0;
}

int restore_residue_pass(struct restore *r, bool last, struct err *err)
{
    struct restore_area p;
    if (owned_pass(r, false, err) < 0)
        return -1;
    if (restore_open_area(r, SNAPSHOT_RESIDUE, &p, err) < 0)
        return -1;
    for (size_t i = 0; i < p.n; i++) {
        bool there = false;
        if (restore_skips(&p.items[i]))
            continue;
        if (write_residue(r, p.archive, &p.items[i], restore_type_of(p.types, &p.items[i]), &there,
                          err) < 0)
            return -1;
        if (!there && last)
            return restore_wait(r, "waiting for the engine to make %s %s again",
                                p.items[i].resource, p.items[i].name);
    }
    return STEP_NEXT;
}

int restore_residue(struct restore *r, struct err *err)
{
    int rc = restore_residue_pass(r, true, err);
    if (rc != STEP_NEXT)
        return rc;
    if (restore_forget_copies(r, err) < 0)
        return -1;
    return owned_pass(r, true, err) < 0 ? -1 : STEP_NEXT;
}
