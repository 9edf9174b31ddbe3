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
        .issued = f->issued,
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
        p->claims[p->claim_count++] = (struct plan_claim){
            .name = o->name,
            .since = raw_text(s->a, o->raw, "metadata", "creationTimestamp", NULL)};
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

/* The texts of both lists; more may be NULL. */
static const char **texts(struct arena *a, const struct text_list *list,
                          const struct text_list *more, size_t *ret_n)
{
    size_t n = list->n + (more ? more->n : 0);
    const char **p = arena_alloc(a, (n + 1) * sizeof *p);
    for (size_t i = 0; i < n; i++)
        p[i] = i < list->n ? list->p[i] : more->p[i - list->n];
    *ret_n = n;
    return p;
}

/* The engine's own objects may live on while all that they made is gone with its namespace: a
 * backup of that would count as the newest complete one. */
static int refuse_nothing(const struct scope_set *s, const struct plan *p, struct err *err)
{
    const char *target = s->members.p[0]->text;
    if (!s->ns_exists)
        return err_set(
            err, ERR_REFUSED,
            "namespace %s, where the content of %s belongs, does not exist: nothing of it is left "
            "to back up. If it was deleted by mistake, restore an earlier backup; if the "
            "application is gone for good, take it out of Git and delete its Schedule; if it is "
            "yet to come, wait until the engine has made it",
            s->ns, target);
    for (size_t i = 0; i < p->subject_count; i++) {
        const struct subject *x = &p->subjects[i];
        if (x->booked || (x->core && x->verdict.keep != KEEP_NONE))
            return 0;
    }
    return err_set(err, ERR_REFUSED,
                   "%s has nothing to back up: its books are empty and namespace %s holds nothing "
                   "that Git lacks. Is it applied already?",
                   target, s->ns);
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
              const char *name, enum plan_keep keep, struct plan *ret, struct err *err)
{
    bool safety = keep == PLAN_SAFETY;
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
            judge(&s, s.found.p[i], keep != PLAN_RESIDUE, &p.subjects[p.subject_count++]);
    }
    qsort(p.subjects, p.subject_count, sizeof *p.subjects, by_place);
    if (!safety && refuse_nothing(&s, &p, err) < 0)
        return -1;
    collect_claims(&s, &p);
    warn_elsewhere(&s, &p);
    p.warnings = texts(a, &s.warnings, safety ? &s.losses : NULL, &p.warning_count);
    p.problems = texts(a, &s.problems, safety ? NULL : &s.losses, &p.problem_count);
    *ret = p;
    return 0;
}
