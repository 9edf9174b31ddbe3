/* The live objects of a target. */
#include "reconciler/scope.h"

#include "gitops/marks.h"
#include "kube/types.h"

#include <fnmatch.h>

void scope_set_free(struct scope_set *s)
{
    vec_free(&s->members);
    vec_free(&s->found);
    vec_free(&s->warnings);
    vec_free(&s->problems);
    vec_free(&s->losses);
    map_free(s->books);
    map_free(s->by_key);
    map_free(s->by_uid);
    *s = (struct scope_set){0};
}

/* ---- adding objects ---- */

static void tell_unmarked(struct scope_set *s, const struct booking *b)
{
    const struct book_entry *e = &b->entry;
    if (b->by->relation == MEMBER_CHAIN)
        scope_warn(
            *e->ns ? &s->losses : &s->warnings, s->a,
            "%s %s%s%s is in the books of %s and does not bear its mark, so that it does not "
            "count as its own: if only administrators write in namespace %s, add it to the "
            "controller's --engine-namespaces",
            e->kind, e->ns, *e->ns ? "/" : "", e->name, b->by->text, b->by->app.object.ns);
}

/* An object is one object however many groups serve it: its uid tells. */
static struct found *found_add(struct scope_set *s, const struct kube_type *t,
                               const struct kube_object *o)
{
    str key = str_of(scope_key(s->a, str_of(t->group), t->kind, o->ns, o->name));
    struct found *f = map_get(s->by_key, key);
    if (!f && *o->uid)
        f = map_get(s->by_uid, str_of(o->uid));
    if (f)
        return f;
    f = arena_new_of(s->a, struct found);
    *f = (struct found){.object = *o, .type = t, .owner_text = ""};
    f->booking = map_get(s->books, key);
    if (f->booking && f->booking->contender)
        f->contested = reach_may_name(s->cx, s->a, &f->booking->contender->app, o);
    if (f->booking && !reach_may_name(s->cx, s->a, &f->booking->by->app, o)) {
        tell_unmarked(s, f->booking);
        f->booking = NULL;
    }
    *vec_add(&s->found) = f;
    map_put(s->by_key, key, f);
    if (*o->uid)
        map_put(s->by_uid, str_of(o->uid), f);
    return f;
}

/* Absent is no error. */
static int read_object(struct scope_set *s, const struct kube_type *t, const char *ns,
                       const char *name, struct kube_object *ret, bool *ret_there, struct err *err)
{
    struct err e;
    *ret_there = kube_get(s->cx->kube, s->a, t, ns, name, ret, &e) == 0;
    if (*ret_there || e.kind == ERR_NOT_FOUND)
        return 0;
    if (err)
        *err = e;
    return err_wrap(err, "reading %s %s%s%s", t->kind, ns, *ns ? "/" : "", name);
}

/* Reads one object by name and adds it; *ret is NULL if it is absent. */
static int found_get(struct scope_set *s, const struct kube_type *t, const char *ns,
                     const char *name, struct found **ret, struct err *err)
{
    struct kube_object o;
    bool there;
    if (read_object(s, t, ns, name, &o, &there, err) < 0)
        return -1;
    *ret = there ? found_add(s, t, &o) : NULL;
    return 0;
}

/* ---- the namespace ---- */

struct listing {
    struct scope_set *s;
    const struct kube_type *t;
};

static int listed(void *ctx, const struct kube_object *o, struct err *err)
{
    (void)err;
    struct listing *l = ctx;
    struct kube_object copy = kube_object_copy(l->s->a, o);
    found_add(l->s, l->t, &copy);
    return 0;
}

/* Views and logs are no objects. Source: rule 1 of docs/verdicts.md. */
static bool listable(const struct kube_type *t)
{
    const unsigned need = KUBE_VERB_LIST | KUBE_VERB_CREATE | KUBE_VERB_DELETE;
    return t->namespaced && (t->verbs & need) == need && !streq(t->resource, "events") &&
           fnmatch("*metrics.k8s.io", t->group, 0) != 0;
}

static int list_namespace(struct scope_set *s, struct err *err)
{
    for (size_t i = 0; i < kube_discovery_count(s->discovery); i++) {
        struct listing l = {s, kube_discovery_at(s->discovery, i)};
        struct kube_list opts = {.ns = s->ns};
        struct err e;
        if (!listable(l.t) || kube_list(s->cx->kube, l.t, &opts, listed, &l, NULL, &e) == 0)
            continue;
        if (e.kind == ERR_NOT_FOUND || e.http == 405) /* its definition has just gone */
            continue;
        if (e.kind != ERR_FORBIDDEN) {
            if (err)
                *err = e;
            return err_wrap(err, "listing %s in namespace %s", l.t->resource, s->ns);
        }
        const char *dot = *l.t->group ? "." : "";
        scope_warn(
            &s->problems, s->a,
            "%s%s%s in namespace %s may not be listed, so none of them is in this backup: grant "
            "get and list",
            l.t->resource, dot, l.t->group, s->ns);
    }
    const char *stale = kube_discovery_stale(s->discovery);
    if (*stale)
        scope_warn(
            &s->problems, s->a,
            "the API server does not answer for %s, so their objects are not in this backup: "
            "look at `kubectl get apiservices`",
            stale);
    return 0;
}

/* ---- beyond the namespace ---- */

static int read_booked_elsewhere(struct scope_set *s, struct err *err)
{
    size_t at = 0;
    void *value;
    while (map_each(s->books, &at, NULL, &value)) {
        struct booking *b = value;
        if (b->by->relation != MEMBER_CHAIN || streq(b->entry.ns, s->ns))
            continue;
        const struct kube_type *t =
            kube_discovery_kind(s->discovery, str_of(b->entry.group), NULL, b->entry.kind);
        struct kube_object o;
        bool there;
        if (!t)
            scope_warn(&s->warnings, s->a,
                       "%s %s is in the books of %s, but the cluster serves no %s", b->entry.kind,
                       b->entry.name, b->by->text, b->entry.kind);
        else if (read_object(s, t, b->entry.ns, b->entry.name, &o, &there, err) < 0)
            return -1;
        else if (there && reach_may_name(s->cx, s->a, &b->by->app, &o))
            found_add(s, t, &o);
        else if (there)
            tell_unmarked(s, b);
    }
    return 0;
}

/* The engines' own objects: the target and the applications that it holds. */
static int add_applications(struct scope_set *s, struct err *err)
{
    for (size_t i = 0; i < s->members.n; i++) {
        const struct member *m = s->members.p[i];
        const struct kube_type *t =
            kube_discovery_kind(s->discovery, str_of(m->app.type->group), NULL, m->app.type->kind);
        struct found *f;
        if (m->relation != MEMBER_CHAIN)
            continue;
        if (found_get(s, t ? t : m->app.type, m->app.object.ns, m->app.object.name, &f, err) < 0)
            return -1;
        if (f)
            f->is_application = true;
    }
    return 0;
}

/* A release whose objects are the application's own is its own too. */
static bool owns_release(const struct scope_set *s, const struct member *m)
{
    for (size_t i = 0; i < s->found.n; i++) {
        const struct found *f = s->found.p[i];
        if (f->booking && f->booking->by == m &&
            (streq(m->app.storage_ns, m->app.object.ns) ||
             application_marks(s->a, &m->app, &f->object)))
            return true;
    }
    return false;
}

/* Helm's records of the releases, where they lie in another namespace. */
static int add_helm_storage(struct scope_set *s, struct err *err)
{
    for (size_t i = 0; i < s->members.n; i++) {
        const struct member *m = s->members.p[i];
        if (m->relation != MEMBER_CHAIN || !*m->app.storage_ns || streq(m->app.storage_ns, s->ns) ||
            !owns_release(s, m))
            continue;
        struct kube_list opts = {.ns = m->app.storage_ns};
        opts.label_selector = arena_printf(s->a, "owner=helm,name=%s", m->app.release);
        struct listing l = {s, kube_discovery_kind(s->discovery, STR(""), NULL, "Secret")};
        if (l.t && kube_list(s->cx->kube, l.t, &opts, listed, &l, NULL, err) < 0)
            return err_wrap(err, "listing Helm's records in namespace %s", m->app.storage_ns);
    }
    return 0;
}

/* The namespace itself, and the volumes that claims are bound to. */
static int add_cluster_needs(struct scope_set *s, struct err *err)
{
    struct found *f;
    const struct kube_type *t = kube_discovery_kind(s->discovery, STR(""), NULL, "Namespace");
    if (found_get(s, t ? t : &KUBE_NAMESPACE, "", s->ns, &f, err) < 0)
        return -1;
    s->ns_exists = f != NULL;
    if (f && raw_at(f->object.raw, "metadata", "deletionTimestamp", NULL).p)
        scope_warn(&s->losses, s->a,
                   "namespace %s is being deleted: what is gone from it already is not in this "
                   "backup",
                   s->ns);
    const struct kube_type *pv =
        kube_discovery_kind(s->discovery, STR(""), NULL, "PersistentVolume");
    size_t n = s->found.n;
    for (size_t i = 0; i < n; i++) {
        const struct found *claim = s->found.p[i];
        if (!kube_object_is(&claim->object, "", "PersistentVolumeClaim"))
            continue;
        const char *volume = raw_text(s->a, claim->object.raw, "spec", "volumeName", NULL);
        if (volume && *volume && found_get(s, pv ? pv : &KUBE_PV, "", volume, &f, err) < 0)
            return -1;
    }
    return 0;
}

/* ---- proofs and credentials ---- */

static int prove(struct scope_set *s, struct member *m, struct err *err)
{
    if (m->proven)
        return 0;
    m->proven = true;
    return proof_make(s->prover, &m->app, &m->declared, &m->sources, err);
}

static void mark_credentials(struct scope_set *s, const struct member *m)
{
    for (size_t i = 0; m->proven && i < m->sources.n; i++) {
        const struct source *src = &m->sources.at[i];
        if (!*src->secret_name)
            continue;
        struct found *f =
            map_get(s->by_key,
                    str_of(scope_key(s->a, STR(""), "Secret", src->secret_ns, src->secret_name)));
        if (f)
            f->credential = true;
        else
            scope_warn(&s->warnings, s->a,
                       "the credentials of %s's source, Secret %s/%s, are not in this backup: keep "
                       "them apart",
                       m->text, src->secret_ns, src->secret_name);
    }
}

static void warn_reference(struct scope_set *s, const struct member *m, const char *kind,
                           const char *name, const char *what)
{
    const char *ns = m->app.object.ns;
    str key = str_of(scope_key(s->a, STR(""), kind, ns, name));
    const struct booking *b = map_get(s->books, key);
    bool declared = b && b->by->relation != MEMBER_OTHER && !b->entry.seed;
    if (!declared && !map_get(s->by_key, key))
        scope_warn(&s->warnings, s->a,
                   "%s %s/%s, which %s takes %s from, is not in this backup: keep it apart", kind,
                   ns, name, m->text, what);
}

/* What an engine's object reads beside its source. Only the namespace's own objects go into its
 * repository: a key of the engine's namespace would come within reach of this one's movers. Source:
 * Flux HelmReleaseSpec.valuesFrom, KustomizationSpec.postBuild.substituteFrom and .decryption. */
static void warn_references(struct scope_set *s, const struct member *m)
{
    static const char *const lists[][2] = {{"valuesFrom", "values"},
                                           {"substituteFrom", "variables"}};
    str spec = raw_get(m->app.object.raw, "spec"), item;
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        str from = i == 0 ? spec : raw_get(spec, "postBuild");
        for (struct raw_iter it = raw_iter(raw_get(from, lists[i][0]));
             raw_next(&it, NULL, &item);) {
            const char *kind = raw_text(s->a, item, "kind", NULL);
            const char *name = raw_text(s->a, item, "name", NULL);
            if (kind && name)
                warn_reference(s, m, kind, name, lists[i][1]);
        }
    }
    const char *key = raw_text(s->a, spec, "decryption", "secretRef", "name", NULL);
    if (key)
        warn_reference(s, m, "Secret", key, "its decryption key");
}

static int prove_members(struct scope_set *s, struct err *err)
{
    for (size_t i = 0; i < s->members.n; i++) {
        if (s->members.p[i]->relation == MEMBER_CHAIN && prove(s, s->members.p[i], err) < 0)
            return -1;
    }
    for (size_t i = 0; i < s->found.n; i++) {
        struct found *f = s->found.p[i];
        if (f->booking && f->booking->by->relation == MEMBER_PARENT &&
            prove(s, f->booking->by, err) < 0)
            return -1;
    }
    for (size_t i = 0; i < s->members.n; i++)
        mark_credentials(s, s->members.p[i]);
    for (size_t i = 0; i < s->members.n; i++) {
        if (s->members.p[i]->relation == MEMBER_CHAIN &&
            s->members.p[i]->app.engine == &engine_flux)
            warn_references(s, s->members.p[i]);
    }
    return 0;
}

static void free_discovery(void *d)
{
    kube_discovery_free(d);
}

int scope_collect(struct context *cx, struct arena *a, const char *kind, const char *ns,
                  const char *name, struct scope_set *ret, struct err *err)
{
    struct scope_set CLEANUP(scope_set_free) s = {.cx = cx, .a = a, .prover = prover_new(cx, a)};
    s.books = map_new(NULL);
    s.by_key = map_new(NULL);
    s.by_uid = map_new(NULL);
    if (kube_discover(cx->kube, &s.discovery, err) < 0)
        return err_wrap(err, "asking what the cluster serves");
    arena_defer(a, free_discovery, s.discovery);
    if (scope_read_members(&s, kind, ns, name, err) < 0 || list_namespace(&s, err) < 0 ||
        read_booked_elsewhere(&s, err) < 0 || add_applications(&s, err) < 0 ||
        add_helm_storage(&s, err) < 0 || add_cluster_needs(&s, err) < 0 ||
        prove_members(&s, err) < 0 || scope_find_absent(&s, err) < 0)
        return -1;
    scope_relate(&s);
    *ret = s;
    s = (struct scope_set){0};
    return 0;
}
