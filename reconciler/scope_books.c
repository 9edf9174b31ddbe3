/* The applications of a target, and what their books hold. */
#include "reconciler/scope.h"

#include "kube/types.h"

#include <stdarg.h>
#include <stdio.h>

enum { MEMBERS_MAX = 256 };

const char *scope_key(struct arena *a, str group, const char *kind, const char *ns,
                      const char *name)
{
    return arena_printf(a, "%.*s|%s|%s|%s", STR_FMT(group), kind, ns, name);
}

struct booking *scope_booking(struct scope_set *s, str group, const char *kind, const char *ns,
                              const char *name)
{
    return map_get(s->books, str_of(scope_key(s->a, group, kind, ns, name)));
}

void scope_warn(struct text_list *list, struct arena *a, const char *fmt, ...)
{
    va_list ap;
    char text[1024];
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    *vec_add(list) = arena_strdup(a, text);
}

/* ---- members ---- */

static bool same(const struct application *x, const struct application *y)
{
    return x->type == y->type && streq(x->object.ns, y->object.ns) &&
           streq(x->object.name, y->object.name);
}

static struct member *member_of(struct scope_set *s, const struct application *app)
{
    for (size_t i = 0; i < s->members.n; i++) {
        if (same(&s->members.p[i]->app, app))
            return s->members.p[i];
    }
    return NULL;
}

/* Argo CD says in its status what it took a source for. Source: argo-cd
 * ApplicationStatus.sourceType. */
static bool is_chart(const struct application *app)
{
    if (app->type == &KUBE_HELMRELEASE)
        return true;
    str status = raw_get(app->object.raw, "status"), item;
    if (raw_is(raw_get(status, "sourceType"), "Helm"))
        return true;
    for (struct raw_iter it = raw_iter(raw_get(status, "sourceTypes"));
         raw_next(&it, NULL, &item);) {
        if (raw_is(item, "Helm"))
            return true;
    }
    return false;
}

static struct member *member_add(struct scope_set *s, const struct application *app,
                                 enum relation relation)
{
    struct member *m = arena_new_of(s->a, struct member);
    *m = (struct member){.relation = relation, .app = *app, .chart = is_chart(app)};
    m->text = arena_printf(s->a, "%s %s/%s", app->type->kind, app->object.ns, app->object.name);
    *vec_add(&s->members) = m;
    return m;
}

/* ---- books ---- */

struct reading {
    struct scope_set *s;
    struct member *m;
};

static int book_entry_seen(void *ctx, const struct book_entry *e, struct err *err)
{
    (void)err;
    struct reading *r = ctx;
    struct scope_set *s = r->s;
    struct book_entry entry = *e;
    const struct kube_type *t = kube_discovery_kind(s->discovery, str_of(e->group), NULL, e->kind);
    if (t && t->namespaced && !*e->ns)
        entry.ns = r->m->app.content_ns;
    else if (t && !t->namespaced)
        entry.ns = "";
    str key = str_of(scope_key(s->a, str_of(entry.group), entry.kind, entry.ns, entry.name));
    struct booking *old = map_get(s->books, key);
    if (old) {
        if (r->m->relation == MEMBER_OTHER && old->by->relation != MEMBER_OTHER &&
            (!old->contender || !streq(old->contender->app.object.ns, entry.ns)))
            old->contender = r->m;
        return 0;
    }
    struct booking *b = arena_new_of(s->a, struct booking);
    *b = (struct booking){.entry = entry, .by = r->m};
    map_put(s->books, key, b);
    return 0;
}

/* What was read of broken books is content of the application, but declared by nobody. */
static void books_are_broken(struct scope_set *s, const struct member *m)
{
    size_t at = 0;
    void *value;
    while (map_each(s->books, &at, NULL, &value)) {
        struct booking *b = value;
        if (b->by == m)
            b->entry.seed = "the books that name it cannot be read to their end";
    }
}

/* Books that cannot be read declare nothing: then all is kept. */
static int read_books(struct scope_set *s, struct member *m, struct err *err)
{
    struct reading r = {s, m};
    struct err e;
    if (m->app.engine->books(s->cx->kube, s->a, &m->app, book_entry_seen, &r, &e) == 0)
        return 0;
    if (e.kind != ERR_CORRUPT && e.kind != ERR_NOT_FOUND && e.kind != ERR_TOO_LARGE &&
        e.kind != ERR_INVALID) {
        if (err)
            *err = e;
        return err_wrap(err, "reading the books of %s", m->text);
    }
    if (m->relation == MEMBER_CHAIN)
        scope_warn(&s->losses, s->a,
                   "the books of %s cannot be read, so what belongs to it is not known and may be "
                   "missing here: %s",
                   m->text, e.msg);
    else
        scope_warn(&s->warnings, s->a,
                   "the books of %s cannot be read, so nothing counts as declared by it: %s",
                   m->text, e.msg);
    books_are_broken(s, m);
    return 0;
}

/* ---- the chain downwards ---- */

static int chain_add(struct scope_set *s, const struct booking *b, struct err *err)
{
    const struct book_entry *e = &b->entry;
    const struct engine *engine;
    const struct kube_type *t;
    if (engine_of_kind(e->kind, &engine, &t, NULL) < 0 || !streq(t->group, e->group))
        return 0;
    if (s->members.n >= MEMBERS_MAX)
        return err_set(err, ERR_TOO_LARGE,
                       "%s holds more than %d applications: back them up one by one",
                       s->members.p[0]->text, MEMBERS_MAX);
    struct application app;
    struct err e2;
    if (engine->read(s->cx->kube, s->a, t, e->ns, e->name, &app, &e2) < 0) {
        if (e2.kind != ERR_NOT_FOUND && e2.kind != ERR_UNSUPPORTED) {
            if (err)
                *err = e2;
            return -1;
        }
        bool lost = e2.kind == ERR_NOT_FOUND && !e->seed;
        scope_warn(lost ? &s->losses : &s->warnings, s->a, "%s %s/%s is in the books, but: %s",
                   e->kind, e->ns, e->name, e2.msg);
        return 0;
    }
    if (reach_may_name(s->cx, s->a, &b->by->app, &app.object) && !member_of(s, &app))
        member_add(s, &app, MEMBER_CHAIN);
    return 0;
}

/* Reads the books of each member in turn; what they hold may add members behind. */
static int read_chain(struct scope_set *s, struct err *err)
{
    size_t at = 0;
    for (size_t i = 0; i < s->members.n; i++) {
        if (read_books(s, s->members.p[i], err) < 0)
            return -1;
        void *value;
        /* Keys are in order of insertion: go on behind those that were looked at already. */
        while (map_each(s->books, &at, NULL, &value)) {
            if (chain_add(s, value, err) < 0)
                return -1;
        }
    }
    return 0;
}

static int parent_seen(void *ctx, const struct application *parent, struct err *err)
{
    struct scope_set *s = ctx;
    if (member_of(s, parent))
        return 0;
    return read_books(s, member_add(s, parent, MEMBER_PARENT), err);
}

/* ---- the namespace ---- */

bool scope_is_content(const struct booking *b)
{
    const struct engine *engine;
    const struct kube_type *t;
    return b->by->relation == MEMBER_CHAIN && *b->entry.ns &&
           !(engine_of_kind(b->entry.kind, &engine, &t, NULL) == 0 &&
             streq(t->group, b->entry.group));
}

/* The namespace that most of the chain's objects lie in, for targets that name none of their own.
 */
static const char *busiest_ns(struct scope_set *s)
{
    struct map CLEANUP(map_free_p) *counts = map_new(NULL);
    size_t at = 0;
    void *value;
    str key, best = {0};
    while (map_each(s->books, &at, NULL, &value)) {
        const struct booking *b = value;
        if (!scope_is_content(b))
            continue;
        uintptr_t n = (uintptr_t)map_get(counts, str_of(b->entry.ns));
        map_put(counts, str_of(b->entry.ns), (void *)(n + 1));
    }
    uintptr_t most = 0;
    for (at = 0; map_each(counts, &at, &key, &value);) {
        if ((uintptr_t)value > most || ((uintptr_t)value == most && str_cmp(key, best) < 0)) {
            most = (uintptr_t)value;
            best = arena_str(s->a, key);
        }
    }
    return best.p;
}

static const char *content_ns(struct scope_set *s)
{
    const struct application *app = &s->members.p[0]->app;
    if (app->type == &KUBE_HELMRELEASE)
        return app->content_ns;
    const char *busiest = busiest_ns(s);
    bool own = false;
    size_t at = 0;
    void *value;
    while (map_each(s->books, &at, NULL, &value)) {
        const struct booking *b = value;
        own |= scope_is_content(b) && streq(b->entry.ns, app->content_ns);
    }
    if (own && *app->content_ns)
        return app->content_ns;
    return busiest ? busiest : app->content_ns;
}

struct in_ns {
    const char *ns, *default_ns;
    bool hit;
};

static int entry_in_ns(void *ctx, const struct book_entry *e, struct err *err)
{
    (void)err;
    struct in_ns *look = ctx;
    look->hit |= streq(e->ns, look->ns);
    return 0;
}

/* Another application shares the namespace if its content lies there, or its books name something
 * in it. Helm's books are those of its own namespace, so they need no reading to tell. */
static int other_seen(void *ctx, const struct application *app, struct err *err)
{
    struct scope_set *s = ctx;
    if (member_of(s, app))
        return 0;
    struct in_ns look = {.ns = s->ns, .hit = streq(app->content_ns, s->ns)};
    if (app->type != &KUBE_HELMRELEASE)
        look.hit = false;
    struct err e;
    if (!look.hit && app->type != &KUBE_HELMRELEASE &&
        app->engine->books(s->cx->kube, s->a, app, entry_in_ns, &look, &e) < 0)
        look.hit = streq(app->content_ns, s->ns);
    if (!look.hit)
        return 0;
    s->alone = false;
    return read_books(s, member_add(s, app, MEMBER_OTHER), err);
}

/* Namespaces whose residents are the cluster's, however few applications use them. */
static bool is_common_ns(const struct scope_set *s)
{
    static const char *const common[] = {"default",         "kube-system", "kube-public",
                                         "kube-node-lease", "flux-system", "argocd"};
    for (size_t i = 0; i < ARRAY_LEN(common); i++) {
        if (streq(s->ns, common[i]))
            return true;
    }
    return reach_is_engine_ns(s->cx, s->ns) || streq(s->ns, s->cx->ns);
}

static bool has_content(const struct scope_set *s)
{
    size_t at = 0;
    void *value;
    while (map_each(s->books, &at, NULL, &value)) {
        if (((const struct booking *)value)->by->relation == MEMBER_CHAIN)
            return true;
    }
    return s->losses.n > 0; /* books that cannot be read are not empty books */
}

int scope_read_members(struct scope_set *s, const char *kind, const char *ns, const char *name,
                       struct err *err)
{
    const struct engine *engine;
    const struct kube_type *t;
    struct application app;
    if (engine_of_kind(kind, &engine, &t, err) < 0)
        return -1;
    if (engine->read(s->cx->kube, s->a, t, ns, name, &app, err) < 0)
        return -1;
    member_add(s, &app, MEMBER_CHAIN);
    if (read_chain(s, err) < 0)
        return -1;
    if (application_parents(s->cx->kube, s->a, &app, parent_seen, s, err) < 0)
        return err_wrap(err, "looking for what declares %s", s->members.p[0]->text);
    s->ns = content_ns(s);
    if (!s->ns || !*s->ns || !has_content(s))
        return err_set(
            err, ERR_REFUSED,
            "%s has applied nothing: its books are empty, so there is nothing to back up. Look "
            "at its status",
            s->members.p[0]->text);
    s->alone = !is_common_ns(s);
    if (applications_each(s->cx->kube, s->a, other_seen, s, err) < 0)
        return err_wrap(err, "looking for other applications in namespace %s", s->ns);
    return 0;
}
