/* From a target's live objects to a plan. */
#include "reconciler/context.h"
#include "reconciler/scope.h"

#include "kube/types.h"

#include <stdlib.h>

static void judge(struct scope_set *s, const struct found *f, bool keep_all, struct subject *ret)
{
    struct facts facts = {
        .object = &f->object,
        .type = f->type,
        .is_application = f->is_application,
        .credential = f->credential,
        .owner = f->owner,
        .owner_text = f->owner_text,
        .keep_all = keep_all,
        .core = f->core,
    };
    const struct booking *b = f->booking;
    if (b && b->by->proven) {
        facts.engine = b->by->app.engine;
        facts.book = &b->entry;
        facts.declared = &b->by->declared;
        facts.application = b->by->text;
        facts.chart = b->by->chart;
    }
    *ret = (struct subject){.object = f->object,
                            .type = f->type,
                            .core = f->core,
                            .booked = facts.book != NULL,
                            .seed = facts.book ? facts.book->seed : NULL};
    if (facts.book && !ret->seed)
        ret->seed = evidence_seed(s->a, &f->object);
    verdict_judge(s->a, &facts, &ret->verdict);
}

static int by_place(const void *x, const void *y)
{
    const struct subject *a = x, *b = y;
    int c = strcmp(a->type->group, b->type->group);
    if (c == 0)
        c = strcmp(a->type->kind, b->type->kind);
    if (c == 0)
        c = strcmp(a->object.ns, b->object.ns);
    return c ? c : strcmp(a->object.name, b->object.name);
}

/* ---- claims ---- */

static void add_claim(struct scope_set *s, struct plan *p, const struct subject *claim)
{
    const struct kube_object *o = &claim->object;
    const char *phase = raw_text(s->a, o->raw, "status", "phase", NULL);
    if (!streq(o->ns, p->ns)) {
        scope_warn(&s->problems, s->a,
                   "the volume of claim %s/%s is not in this backup, which holds the volumes of "
                   "namespace %s: back up the application that uses it by itself",
                   o->ns, o->name, p->ns);
    } else if (!claim->core) {
        scope_warn(
            &s->warnings, s->a,
            "the volume of claim %s is not in this backup: it lies in a namespace that several "
            "applications use, and nothing says that it is this one's alone",
            o->name);
    } else if (raw_is(raw_at(o->raw, "spec", "volumeMode", NULL), "Block")) {
        scope_warn(
            &s->problems, s->a,
            "the volume of claim %s is a block device without files, which cannot be copied yet",
            o->name);
    } else if (streq(phase, "Bound")) {
        p->claims[p->claim_count++] = o->name;
    } else if (streq(phase, "Lost")) {
        scope_warn(&s->problems, s->a, "claim %s has lost its volume: there is nothing to copy",
                   o->name);
    } else {
        scope_warn(&s->warnings, s->a, "claim %s has no volume yet: there is nothing to copy",
                   o->name);
    }
}

static void collect_claims(struct scope_set *s, struct plan *p)
{
    p->claims = arena_alloc(s->a, (p->subject_count + 1) * sizeof *p->claims);
    for (size_t i = 0; i < p->subject_count; i++) {
        const struct subject *claim = &p->subjects[i];
        if (kube_object_is(&claim->object, "", "PersistentVolumeClaim") &&
            claim->verdict.class == VERDICT_DATA)
            add_claim(s, p, claim);
    }
}

/* ---- content elsewhere ---- */

/* In other namespaces only what the books name was looked at. */
static void warn_elsewhere(struct scope_set *s, const struct plan *p)
{
    struct map CLEANUP(map_free_p) *said = map_new(NULL);
    for (size_t i = 0; i < p->subject_count; i++) {
        const struct subject *x = &p->subjects[i];
        bool engine_object = engine_of_kind(x->object.kind, &(const struct engine *){0},
                                            &(const struct kube_type *){0}, NULL) == 0;
        if (!x->booked || !x->core || engine_object || !*x->object.ns ||
            streq(x->object.ns, p->ns) || map_get(said, str_of(x->object.ns)))
            continue;
        map_put(said, str_of(x->object.ns), s);
        scope_warn(
            &s->problems, s->a,
            "%s also has content in namespace %s; of that only the objects that its books name "
            "were looked at, so what was added there by hand is not in this backup",
            s->members.p[0]->text, x->object.ns);
    }
}

static const char **texts(struct arena *a, const struct text_list *list)
{
    const char **p = arena_alloc(a, (list->n + 1) * sizeof *p);
    for (size_t i = 0; i < list->n; i++)
        p[i] = list->p[i];
    return p;
}

static int refuse_nothing(const struct scope_set *s, const struct plan *p, struct err *err)
{
    for (size_t i = 0; i < p->subject_count; i++) {
        const struct subject *x = &p->subjects[i];
        if (x->booked || (x->core && x->verdict.keep != KEEP_NONE))
            return 0;
    }
    return err_set(
        err, ERR_REFUSED,
        "%s has nothing to back up: its books are empty and namespace %s %s. Is it applied "
        "already?",
        s->members.p[0]->text, s->ns,
        s->ns_exists ? "holds nothing that Git lacks" : "does not exist");
}

static void collect_apps(struct scope_set *s, struct plan *p)
{
    p->apps = arena_alloc(s->a, s->members.n * sizeof *p->apps);
    for (size_t i = 0; i < s->members.n; i++) {
        if (s->members.p[i]->relation == MEMBER_CHAIN)
            p->apps[p->app_count++] = s->members.p[i]->app;
    }
}

int plan_make(struct context *cx, struct arena *a, const char *kind, const char *ns,
              const char *name, bool keep_all, struct plan *ret, struct err *err)
{
    struct scope_set CLEANUP(scope_set_free) s = {0};
    if (scope_collect(cx, a, kind, ns, name, &s, err) < 0)
        return -1;
    struct plan p = {.app = s.members.p[0]->app,
                     .declared = s.members.p[0]->declared,
                     .ns = s.ns,
                     .alone = s.alone};
    collect_apps(&s, &p);
    p.subjects = arena_alloc(a, (s.found.n + 1) * sizeof *p.subjects);
    for (size_t i = 0; i < s.found.n; i++) {
        if (!s.found.p[i]->foreign)
            judge(&s, s.found.p[i], keep_all, &p.subjects[p.subject_count++]);
    }
    qsort(p.subjects, p.subject_count, sizeof *p.subjects, by_place);
    if (refuse_nothing(&s, &p, err) < 0)
        return -1;
    collect_claims(&s, &p);
    warn_elsewhere(&s, &p);
    p.warnings = texts(a, &s.warnings);
    p.warning_count = s.warnings.n;
    p.problems = texts(a, &s.problems);
    p.problem_count = s.problems.n;
    *ret = p;
    return 0;
}
