#include "gitops/evidence.h"

#include <stdio.h>

/* The trie node of a field, or absent. Names are unescaped by raw_get. */
static str descend(struct arena *a, str trie, const char *const *path)
{
    for (; trie.p && *path; path++)
        trie = raw_get(trie, arena_printf(a, "f:%s", *path));
    return trie;
}

static struct raw_iter entries(const struct kube_object *o)
{
    return raw_iter(raw_at(o->raw, "metadata", "managedFields", NULL));
}

static const char *text_or_empty(struct arena *a, str entry, const char *name)
{
    const char *s = raw_text(a, entry, name, NULL);
    return s ? s : "";
}

int evidence_owners(struct arena *a, const struct kube_object *o, const char *const *path,
                    int (*each)(void *ctx, const struct owner *w, struct err *err), void *ctx,
                    struct err *err)
{
    struct raw_iter it = entries(o);
    for (str entry; raw_next(&it, NULL, &entry);) {
        if (!descend(a, raw_get(entry, "fieldsV1"), path).p)
            continue;
        struct owner w = {text_or_empty(a, entry, "manager"), text_or_empty(a, entry, "operation"),
                          text_or_empty(a, entry, "subresource")};
        if (each(ctx, &w, err) < 0)
            return -1;
    }
    return 0;
}

static bool is_manager(const struct engine *e, const char *manager)
{
    for (const char *const *m = e->managers; *m; m++)
        if (streq(*m, manager))
            return true;
    return false;
}

/* Engines also put finalizers and ownerReferences on their own objects, which is no declaration. */
static bool declares_something(str trie)
{
    struct raw_iter it = raw_iter(trie);
    for (str key, value; raw_next(&it, &key, &value);) {
        if (raw_is(key, "f:status"))
            continue;
        if (!raw_is(key, "f:metadata"))
            return true;
        struct raw_iter meta = raw_iter(value);
        for (str name; raw_next(&meta, &name, NULL);)
            if (raw_is(name, "f:labels") || raw_is(name, "f:annotations"))
                return true;
    }
    return false;
}

/* kubectl's annotation, if it is about this very object; absent otherwise. */
static str last_applied(struct arena *a, const struct kube_object *o)
{
    const char *text = kube_annotation(a, o, "kubectl.kubernetes.io/last-applied-configuration");
    struct err err;
    str raw = str_of(text);
    if (!text || raw_check(raw, &err) < 0)
        return (str){0};
    str ns = raw_at(raw, "metadata", "namespace", NULL);
    bool same_ns = ns.p ? raw_is(ns, o->ns) : true;
    bool self = raw_is(raw_get(raw, "kind"), o->kind) &&
                raw_is(raw_at(raw, "metadata", "name", NULL), o->name) && same_ns;
    return self ? raw : (str){0};
}

/* Argo CD's client-side apply is an Update, as is a change that its users make through its API:
 * kubectl's annotation tells them apart. */
static bool entry_applies(struct arena *a, const struct engine *e, const struct kube_object *o,
                          str entry)
{
    if (!is_manager(e, text_or_empty(a, entry, "manager")) ||
        *text_or_empty(a, entry, "subresource"))
        return false;
    if (e != &engine_argocd || raw_is(raw_get(entry, "operation"), "Apply"))
        return true;
    return last_applied(a, o).p != NULL;
}

bool evidence_applied(struct arena *a, const struct engine *e, const struct kube_object *o)
{
    struct raw_iter it = entries(o);
    for (str entry; raw_next(&it, NULL, &entry);)
        if (entry_applies(a, e, o, entry) && declares_something(raw_get(entry, "fieldsV1")))
            return true;
    return false;
}

static bool in_last_applied(struct arena *a, const struct kube_object *o, const char *const *path)
{
    str v = last_applied(a, o);
    str plain = raw_get(v, "stringData"); /* becomes data in the server */
    if (plain.p && path[0] && path[1] && streq(path[0], "data") && raw_get(plain, path[1]).p)
        return true;
    for (; v.p && *path; path++)
        v = raw_get(v, *path);
    return v.p != NULL;
}

bool evidence_declared(struct arena *a, const struct engine *e, const struct kube_object *o,
                       const char *const *path)
{
    bool client_side = false;
    struct raw_iter it = entries(o);
    for (str entry; raw_next(&it, NULL, &entry);) {
        if (!entry_applies(a, e, o, entry))
            continue;
        if (descend(a, raw_get(entry, "fieldsV1"), path).p)
            return true;
        client_side = client_side || raw_is(raw_get(entry, "operation"), "Update");
    }
    return e == &engine_argocd && client_side && in_last_applied(a, o, path);
}

static bool has(struct arena *a, const struct kube_object *o, const char *key, const char *word)
{
    const char *marks[] = {kube_annotation(a, o, key), kube_label(a, o, key)};
    for (size_t i = 0; i < ARRAY_LEN(marks); i++)
        if (marks[i] && (!word || strcasecmp(marks[i], word) == 0))
            return true;
    return false;
}

const char *evidence_seed(struct arena *a, const struct kube_object *o)
{
    static const struct {
        const char *key, *word, *reason;
    } rows[] = {
        {"kustomize.toolkit.fluxcd.io/ssa", "IfNotPresent", "ssa: IfNotPresent"},
        {"kustomize.toolkit.fluxcd.io/ssa", "Ignore", "ssa: Ignore"},
        {"kustomize.toolkit.fluxcd.io/reconcile", "disabled", "reconcile: disabled"},
        {"argocd.argoproj.io/hook", NULL, "Argo CD hook"},
        {"helm.sh/hook", NULL, "Helm hook"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (has(a, o, rows[i].key, rows[i].word))
            return rows[i].reason;
    return NULL;
}
