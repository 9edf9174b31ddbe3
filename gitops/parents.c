#include "gitops/parents.h"

#include <stdio.h>

#include "gitops/evidence.h"
#include "gitops/marker.h"
#include "gitops/marks.h"

enum { CHAIN_MAX = 32 };

struct wanted {
    const struct application *child;
    bool found;
};

static int is_child(void *ctx, const struct book_entry *e, struct err *err)
{
    (void)err;
    struct wanted *w = ctx;
    const struct kube_object *o = &w->child->object;
    if (!e->seed && streq(e->group, w->child->type->group) && streq(e->kind, o->kind) &&
        streq(e->ns, o->ns) && streq(e->name, o->name))
        w->found = true;
    return 0;
}

/* Books that cannot be read hold nothing. */
static bool unreadable(const struct err *err)
{
    return err->kind == ERR_CORRUPT || err->kind == ERR_TOO_LARGE || err->kind == ERR_INVALID;
}

/* Adds the parent if its books hold the child, and it is not there yet. Labels and managedFields
 * alone are no proof: both stay on a child that Git has dropped and that was not pruned. */
static int add_if_holds(struct kube *k, struct arena *a, const struct application *child,
                        const struct application *parent, struct parents *ret, struct err *err)
{
    for (size_t i = 0; i < ret->n; i++)
        if (streq(ret->at[i].object.uid, parent->object.uid))
            return 0;
    struct wanted w = {child, false};
    if (evidence_seed(a, &child->object))
        return 0; /* once put there, and not held since */
    if (parent->engine->books(k, a, parent, is_child, &w, err) < 0) {
        if (!unreadable(err))
            return -1;
        w.found = false;
    }
    if (w.found && ret->n < PARENTS_MAX)
        ret->at[ret->n++] = *parent;
    return 0;
}

static bool not_a_parent(const struct err *err)
{
    return err->kind == ERR_NOT_FOUND || err->kind == ERR_UNSUPPORTED;
}

static int flux_parent(struct kube *k, struct arena *a, const struct application *child,
                       const struct kube_type *t, struct parents *ret, struct err *err)
{
    const char *name = kube_label(a, &child->object, arena_printf(a, "%s/name", t->group));
    const char *ns = kube_label(a, &child->object, arena_printf(a, "%s/namespace", t->group));
    struct application parent;
    if (!name || !ns)
        return 0;
    if (engine_flux.read(k, a, t, ns, name, &parent, err) < 0)
        return not_a_parent(err) ? 0 : -1;
    return add_if_holds(k, a, child, &parent, ret, err);
}

struct gathered {
    struct arena *a;
    const struct engine *engine;
    const struct kube_type *type;
    struct application *at;
    size_t n, room;
};

static int gather(void *ctx, const struct kube_object *o, struct err *err)
{
    struct gathered *g = ctx;
    struct application app;
    if (g->engine->of(g->a, g->type, o, &app, err) < 0)
        return err->kind == ERR_UNSUPPORTED ? 0 : -1;
    if (g->n == g->room) {
        struct application *more = arena_alloc(g->a, (g->room ? g->room * 2 : 16) * sizeof *more);
        if (g->n)
            memcpy(more, g->at, g->n * sizeof *more);
        g->at = more;
        g->room = g->room ? g->room * 2 : 16;
    }
    g->at[g->n++] = app;
    return 0;
}

/* The list is finished before anything is asked about its items: they may need the connection. */
static int list_applications(struct kube *k, struct gathered *g, const char *field_selector,
                             struct err *err)
{
    struct kube_list opts = {.field_selector = field_selector};
    if (kube_list(k, g->type, &opts, gather, g, NULL, err) < 0 && err->kind != ERR_NOT_FOUND)
        return err_wrap(err, "listing %s", g->type->resource);
    return 0;
}

static int argocd_parents(struct kube *k, struct arena *a, const struct application *child,
                          struct parents *ret, struct err *err)
{
    const char *tracker = argocd_tracked_by(a, &child->object);
    if (!tracker)
        tracker = kube_label(a, &child->object, "app.kubernetes.io/instance");
    if (!tracker || !*tracker)
        return 0;
    const char *cut = strchr(tracker, '_'); /* no name has one */
    const char *name = cut ? cut + 1 : tracker;
    const char *selector = arena_printf(a, "metadata.name=%s", name);
    struct gathered g = {.a = a, .engine = &engine_argocd, .type = &KUBE_APPLICATION};
    if (list_applications(k, &g, selector, err) < 0)
        return -1;
    for (size_t i = 0; i < g.n; i++) {
        if (cut && !str_is((str){tracker, (size_t)(cut - tracker)}, g.at[i].object.ns))
            continue;
        struct wanted w = {child, false};
        if (engine_argocd.books(k, a, &g.at[i], is_child, &w, err) < 0) {
            if (!unreadable(err)) /* e.g. one that was never compared */
                return -1;
            w.found = false;
        }
        if (w.found && ret->n < PARENTS_MAX)
            ret->at[ret->n++] = g.at[i];
    }
    return 0;
}

int parents_direct(struct kube *k, struct arena *a, const struct application *child,
                   struct parents *ret, struct err *err)
{
    struct parents p = {.n = 0};
    if (flux_parent(k, a, child, &KUBE_KUSTOMIZATION, &p, err) < 0 ||
        flux_parent(k, a, child, &KUBE_HELMRELEASE, &p, err) < 0 ||
        argocd_parents(k, a, child, &p, err) < 0)
        return err_wrap(err, "the parents of %s", application_title(a, child));
    *ret = p;
    return 0;
}

int application_parents(struct kube *k, struct arena *a, const struct application *child,
                        int (*each)(void *ctx, const struct application *parent, struct err *err),
                        void *ctx, struct err *err)
{
    struct application *chain = arena_alloc(a, CHAIN_MAX * sizeof *chain);
    size_t n = 1;
    chain[0] = *child;
    for (size_t at = 0; at < n; at++) {
        struct parents p;
        if (parents_direct(k, a, &chain[at], &p, err) < 0)
            return -1;
        for (size_t i = 0; i < p.n; i++) {
            bool known = n == CHAIN_MAX; /* an application may declare itself: cut cycles */
            for (size_t j = 0; j < n; j++)
                known = known || streq(chain[j].object.uid, p.at[i].object.uid);
            if (known)
                continue;
            chain[n++] = p.at[i];
            if (each(ctx, &p.at[i], err) < 0)
                return -1;
        }
    }
    return 0;
}

int applications_each(struct kube *k, struct arena *a,
                      int (*each)(void *ctx, const struct application *app, struct err *err),
                      void *ctx, struct err *err)
{
    for (const struct engine *const *e = engines; *e; e++)
        for (const struct kube_type *const *t = (*e)->types; *t; t++) {
            struct gathered g = {.a = a, .engine = *e, .type = *t};
            if (list_applications(k, &g, NULL, err) < 0)
                return -1;
            for (size_t i = 0; i < g.n; i++)
                if (each(ctx, &g.at[i], err) < 0)
                    return -1;
        }
    return 0;
}
