/* The chain. Order: docs/verdicts.md. */
#include "reconciler/judge.h"
#include "reconciler/rules.h"

#include "kube/types.h"

static const char *const class_names[VERDICT_CLASS_MAX] = {
#define X(name, text) [VERDICT_##name] = text,
    VERDICT_CLASSES(X)
#undef X
};

const char *verdict_class_name(enum verdict_class c)
{
    return c < VERDICT_CLASS_MAX ? class_names[c] : "?";
}

bool verdict_class_parse(const char *text, enum verdict_class *ret)
{
    for (int c = 0; c < VERDICT_CLASS_MAX; c++) {
        if (streq(text, class_names[c])) {
            *ret = (enum verdict_class)c;
            return true;
        }
    }
    return false;
}

const char *verdict_keep_name(enum verdict_keep k)
{
    static const char *const names[] = {"none", "fields", "object"};
    return names[k];
}

const char *verdict_restore_name(enum verdict_restore r)
{
    static const char *const names[] = {"normal", "first", "after-owner", "never"};
    return names[r];
}

/* ---- small facts ---- */

static bool is(const struct facts *f, const struct kube_type *t)
{
    return streq(f->type->group, t->group) && streq(f->type->kind, t->kind);
}

bool verdict_is_token(const struct kube_object *secret)
{
    return kube_object_is(secret, "", "Secret") &&
           raw_is(raw_get(secret->raw, "type"), "kubernetes.io/service-account-token");
}

static bool has_members(str container)
{
    struct raw_iter it = raw_iter(container);
    return raw_next(&it, NULL, &(str){0});
}

static enum verdict_restore after_owner(const struct facts *f)
{
    return f->owner == OWNER_NONE ? RESTORE_NORMAL : RESTORE_AFTER_OWNER;
}

static void set(struct verdict *v, enum verdict_class class, const char *rule,
                enum verdict_keep keep, enum verdict_restore restore, const char *reason)
{
    *v = (struct verdict){
        .class = class, .rule = rule, .reason = reason, .keep = keep, .restore = restore};
}

/* ---- the rules: true if it hits, and then *v is the verdict ---- */

typedef bool rule_fn(struct arena *a, const struct facts *f, struct verdict *v);

static bool rule_broken(struct arena *a, const struct facts *f, struct verdict *v)
{
    (void)a;
    if (raw_check(f->object->raw, NULL) == 0)
        return false;
    set(v, VERDICT_UNDECLARED, "unreadable", KEEP_OBJECT, RESTORE_NORMAL,
        "its bytes cannot be judged, so all of them are kept");
    return true;
}

static bool from_catalogue(struct arena *a, const struct facts *f, enum verdict_class class,
                           struct verdict *v)
{
    const struct rule *r = catalogue_find(catalogue_builtin(), a, class, f->type, f->object);
    if (!r)
        return false;
    set(v, r->class, r->id, r->keep, r->restore, r->reason);
    return true;
}

static bool rule_unstorable(struct arena *a, const struct facts *f, struct verdict *v)
{
    const unsigned need = KUBE_VERB_LIST | KUBE_VERB_CREATE | KUBE_VERB_DELETE;
    if (from_catalogue(a, f, VERDICT_UNSTORABLE, v))
        return true;
    if (f->type->verbs == 0 || (f->type->verbs & need) == need)
        return false;
    set(v, VERDICT_UNSTORABLE, "no-object", KEEP_NONE, RESTORE_NEVER,
        "a view that cannot be created or deleted");
    return true;
}

static bool rule_ephemeral(struct arena *a, const struct facts *f, struct verdict *v)
{
    return from_catalogue(a, f, VERDICT_EPHEMERAL, v);
}

static bool rule_bootstrap(struct arena *a, const struct facts *f, struct verdict *v)
{
    if (f->credential) {
        set(v, VERDICT_BOOTSTRAP, "source-credential", KEEP_OBJECT, RESTORE_FIRST,
            "the engine opens its source with it");
        return true;
    }
    return from_catalogue(a, f, VERDICT_BOOTSTRAP, v);
}

static bool rule_data(struct arena *a, const struct facts *f, struct verdict *v)
{
    return from_catalogue(a, f, VERDICT_DATA, v);
}

static bool rule_platform(struct arena *a, const struct facts *f, struct verdict *v)
{
    if (f->issued) {
        set(v, VERDICT_PLATFORM_ISSUED, "account-token", KEEP_NONE, RESTORE_NEVER,
            "a token that an older Kubernetes issued for its ServiceAccount by itself");
        return true;
    }
    return from_catalogue(a, f, VERDICT_PLATFORM_ISSUED, v);
}

/* Git may hold a Job; that it has run is nowhere but here, and without it the engine runs it again.
 */
static bool rule_finished_job(struct arena *a, const struct facts *f, struct verdict *v)
{
    (void)a;
    if (!is(f, &KUBE_JOB) || !kube_job_is_finished(f->object))
        return false;
    set(v, VERDICT_HISTORY, "finished-job", KEEP_OBJECT, after_owner(f),
        f->book ? "Git declares it, but only this record says that it has already run"
                : "a record of work that is done; it comes back without running again");
    return true;
}

static bool rule_seed(struct arena *a, const struct facts *f, struct verdict *v)
{
    const char *seed = f->book ? f->book->seed : NULL;
    if (f->book && !seed)
        seed = evidence_seed(a, f->object);
    if (!seed)
        return false;
    set(v, VERDICT_UNDECLARED, "seed", KEEP_OBJECT, after_owner(f),
        arena_printf(a, "%s put it there once and does not hold it since (%s)", f->application,
                     seed));
    return true;
}

static bool rule_unproven(struct arena *a, const struct facts *f, struct verdict *v)
{
    if (!f->book || f->declared->reachable == REACHABLE_TRUE)
        return false;
    const char *why = f->declared->why && *f->declared->why ? f->declared->why : "no answer";
    set(v, VERDICT_DECLARED_UNPROVEN,
        f->declared->reachable == REACHABLE_FALSE ? "git-lacks-it" : "git-not-proven", KEEP_OBJECT,
        after_owner(f),
        arena_printf(a,
                     f->declared->reachable == REACHABLE_FALSE
                         ? "%s declares it, but its source no longer holds what was applied: %s"
                         : "%s declares it, but nobody proves that its source still does: %s",
                     f->application, why));
    return true;
}

/* In the books, but nothing on the object itself says that the engine applied it. */
static bool rule_not_applied(struct arena *a, const struct facts *f, struct verdict *v)
{
    if (!f->book || f->book->manifest.p || evidence_applied(a, f->engine, f->object))
        return false;
    set(v, VERDICT_DECLARED_UNPROVEN, "not-applied", KEEP_OBJECT, after_owner(f),
        arena_printf(a, "%s lists it, but no field of the live object was applied by %s",
                     f->application, f->engine->name));
    return true;
}

static bool rule_chart_secret(struct arena *a, const struct facts *f, struct verdict *v)
{
    if (!f->book || !f->chart || !is(f, &KUBE_SECRET) || verdict_is_token(f->object))
        return false;
    set(v, VERDICT_SECRET, "chart-secret", KEEP_OBJECT, after_owner(f),
        arena_printf(a, "%s renders it from a chart, which may make new values each time",
                     f->application));
    return true;
}

static bool rule_declared(struct arena *a, const struct facts *f, struct verdict *v)
{
    if (!f->book)
        return false;
    const char **fields;
    size_t n;
    bool drift;
    struct err err;
    if (residue_fields(a, f, &fields, &n, &drift, &err) < 0) {
        set(v, VERDICT_DECLARED_UNPROVEN, "unreadable-owners", KEEP_OBJECT, after_owner(f),
            arena_printf(a, "who owns its fields cannot be read (%s), so all of it is kept",
                         err.msg));
        return true;
    }
    if (n > VERDICT_FIELDS_MAX) {
        set(v, VERDICT_DRIFTED, "many-fields", KEEP_OBJECT, after_owner(f),
            arena_printf(a, "%s declares it, and %zu fields of it are not in Git", f->application,
                         n));
        return true;
    }
    if (n == 0) {
        set(v, VERDICT_DECLARED, "declared", KEEP_NONE, RESTORE_NORMAL,
            arena_printf(a, "%s declares it and its source holds it", f->application));
        return true;
    }
    set(v, drift ? VERDICT_DRIFTED : VERDICT_DECLARED, drift ? "changed-fields" : "added-fields",
        KEEP_FIELDS, RESTORE_NORMAL,
        arena_printf(a,
                     drift ? "%s declares it; live fields differ from what Git holds"
                           : "%s declares it; fields were added that Git does not hold",
                     f->application));
    v->fields = fields;
    v->field_count = n;
    return true;
}

/* Owned is not the same as regenerable: generated passwords and private CAs are owned Secrets. */
static bool rule_owned_secret(struct arena *a, const struct facts *f, struct verdict *v)
{
    if (!is(f, &KUBE_SECRET) || f->owner == OWNER_NONE)
        return false;
    set(v, VERDICT_SECRET, "owned-secret", KEEP_OBJECT, RESTORE_AFTER_OWNER,
        arena_printf(a, "a Secret of %s, whose value another run would make anew", f->owner_text));
    return true;
}

/* Each namespace gets one; it is worth keeping only where somebody added to it. */
static bool rule_default_account(struct arena *a, const struct facts *f, struct verdict *v)
{
    (void)a;
    if (!is(f, &KUBE_SERVICEACCOUNT) || !streq(f->object->name, "default"))
        return false;
    bool changed = has_members(raw_at(f->object->raw, "metadata", "annotations", NULL)) ||
                   has_members(raw_at(f->object->raw, "metadata", "labels", NULL)) ||
                   has_members(raw_get(f->object->raw, "imagePullSecrets"));
    if (changed)
        set(v, VERDICT_UNDECLARED, "default-account-changed", KEEP_OBJECT, RESTORE_NORMAL,
            "the namespace's default account, with additions that nothing makes again");
    else
        set(v, VERDICT_DERIVED, "default-account", KEEP_NONE, RESTORE_NEVER,
            "every namespace gets this account by itself");
    return true;
}

static bool rule_derived(struct arena *a, const struct facts *f, struct verdict *v)
{
    if (f->owner == OWNER_REGENERATES) {
        set(v, VERDICT_DERIVED, "regenerated", KEEP_NONE, RESTORE_NEVER,
            arena_printf(a, "%s makes it again", f->owner_text));
        return true;
    }
    return from_catalogue(a, f, VERDICT_DERIVED, v);
}

static bool rule_derived_unproven(struct arena *a, const struct facts *f, struct verdict *v)
{
    if (f->owner == OWNER_NONE || f->is_application)
        return false;
    set(v, VERDICT_DERIVED_UNPROVEN, f->owner == OWNER_GONE ? "owner-gone" : "owner-unknown",
        KEEP_OBJECT, RESTORE_AFTER_OWNER,
        arena_printf(a,
                     f->owner == OWNER_GONE
                         ? "its owner %s is not there to make it again"
                         : "it belongs to %s, which is not known to make it again",
                     f->owner_text));
    return true;
}

static bool rule_secret(struct arena *a, const struct facts *f, struct verdict *v)
{
    (void)a;
    if (!is(f, &KUBE_SECRET))
        return false;
    if (verdict_is_token(f->object)) {
        set(v, VERDICT_SECRET, "token-by-hand", KEEP_OBJECT, RESTORE_NORMAL,
            "a token Secret that somebody made for a ServiceAccount: the cluster signs a new token "
            "into it, but only where it is there");
        return true;
    }
    set(v, VERDICT_SECRET, "secret", KEEP_OBJECT, RESTORE_NORMAL,
        "a Secret that no engine declares: made by hand or by a program");
    return true;
}

static bool rule_undeclared(struct arena *a, const struct facts *f, struct verdict *v)
{
    (void)a;
    set(v, VERDICT_UNDECLARED, f->is_application ? "application" : "undeclared", KEEP_OBJECT,
        RESTORE_NORMAL,
        f->is_application ? "the application itself, which nothing in Git declares"
                          : "no engine declares it and nothing makes it again");
    return true;
}

static rule_fn *const chain[] = {
    rule_broken,       rule_unstorable,      rule_ephemeral,    rule_bootstrap,
    rule_data,         rule_platform,        rule_finished_job, rule_seed,
    rule_unproven,     rule_not_applied,     rule_chart_secret, rule_declared,
    rule_owned_secret, rule_default_account, rule_derived,      rule_derived_unproven,
    rule_secret,       rule_undeclared,
};

void verdict_judge(struct arena *a, const struct facts *f, struct verdict *ret)
{
    size_t i = 0;
    while (!chain[i](a, f, ret))
        i++;
    /* A safety backup keeps what is about to be overwritten, whatever else could bring it back. */
    if (f->keep_all && f->core && ret->keep != KEEP_OBJECT && ret->class != VERDICT_UNSTORABLE &&
        !streq(ret->rule, "mover")) {
        ret->keep = KEEP_OBJECT;
        ret->fields = NULL;
        ret->field_count = 0;
    }
}
