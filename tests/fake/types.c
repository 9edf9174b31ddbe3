/* What the server serves: the types that the code names, and what a test or a CRD adds. */
#include "fake.h"

#include <stdio.h>

#include "core/vec.h"

static VEC(struct ftype *) types;

static bool is_one_of(const char *s, const char *const *list)
{
    for (; *list; list++)
        if (streq(s, *list))
            return true;
    return false;
}

size_t types_count(void)
{
    return types.n;
}

struct ftype *types_at(size_t i)
{
    return types.p[i];
}

struct ftype *types_by_path(const char *group, const char *version, const char *resource)
{
    for (size_t i = 0; i < types.n; i++) {
        const struct kube_type *t = &types.p[i]->t;
        if (streq(t->group, group) && streq(t->version, version) && streq(t->resource, resource))
            return types.p[i];
    }
    return NULL;
}

struct ftype *types_by_kind(const char *group, const char *version, const char *kind)
{
    for (size_t i = 0; i < types.n; i++) {
        const struct kube_type *t = &types.p[i]->t;
        if (streq(t->group, group) && streq(t->kind, kind) &&
            (!version || streq(t->version, version)))
            return types.p[i];
    }
    return NULL;
}

bool is_review(const struct ftype *t)
{
    return streq(t->t.resource, "tokenreviews") || streq(t->t.resource, "selfsubjectaccessreviews");
}

struct ftype *types_add(const struct ftype *t)
{
    struct ftype *n = types_by_path(t->t.group, t->t.version, t->t.resource);
    if (!n)
        *vec_add(&types) = n = xcalloc(1, sizeof *n);
    *n = *t;
    n->t.group = xstrdup(t->t.group);
    n->t.version = xstrdup(t->t.version);
    n->t.resource = xstrdup(t->t.resource);
    n->t.kind = xstrdup(t->t.kind);
    return n;
}

const char *type_api_version(const struct ftype *t)
{
    static char text[256];
    snprintf(text, sizeof text, "%s%s%s", t->t.group, t->t.group[0] ? "/" : "", t->t.version);
    return text;
}

void types_init(void)
{
    static const struct kube_type *const known[] = {
#define X(name, group, version, resource, kind, namespaced) &KUBE_##name,
        KUBE_TYPES(X)
#undef X
    };
    static const char *const no_status[] = {"secrets",      "configmaps",   "events",
                                            "leases",       "tokenreviews", "serviceaccounts",
                                            "applications", "appprojects",  NULL};
    static const char *const scaled[] = {"deployments", "statefulsets", "replicasets", NULL};
    static const char *const generations[] = {"apps", "batch", NULL};
    static const char *const built_in[] = {"",
                                           "events.k8s.io",
                                           "apps",
                                           "batch",
                                           "coordination.k8s.io",
                                           "authentication.k8s.io",
                                           "apiextensions.k8s.io",
                                           NULL};
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        const struct kube_type *t = known[i];
        bool custom = !is_one_of(t->group, built_in);
        types_add(&(struct ftype){.t = *t,
                                  .status = !is_one_of(t->resource, no_status),
                                  .scale = is_one_of(t->resource, scaled),
                                  .generation = custom || is_one_of(t->group, generations),
                                  .custom = custom});
    }
    types_add(&(struct ftype){.t = {"authorization.k8s.io", "v1", "selfsubjectaccessreviews",
                                    "SelfSubjectAccessReview", false, 0}});
}

void types_add_crd(const json_t *crd)
{
    const json_t *names = at(crd, "spec", "names");
    json_t *version;
    size_t i;
    json_array_foreach(at(crd, "spec", "versions"), i, version)
    {
        if (json_is_false(json_object_get(version, "served")))
            continue;
        types_add(&(struct ftype){
            .t = {.group = text_of(crd, "spec", "group"),
                  .version = text_of(version, "name", NULL),
                  .resource = text_of(names, "plural", NULL),
                  .kind = text_of(names, "kind", NULL),
                  .namespaced = streq(text_of(crd, "spec", "scope"), "Namespaced")},
            .status = at(version, "subresources", "status") != NULL,
            .scale = at(version, "subresources", "scale") != NULL,
            .generation = true,
            .custom = true,
        });
    }
}

static json_t *resource_of(const struct ftype *t)
{
    bool review = is_review(t);
    json_t *verbs = review ? json_pack("[s]", "create")
                           : json_pack("[s,s,s,s,s,s,s]", "create", "delete", "get", "list",
                                       "patch", "update", "watch");
    json_t *subs = json_array();
    if (t->status)
        json_array_append_new(subs, json_pack("{s:s, s:[s,s,s]}", "subresource", "status", "verbs",
                                              "get", "patch", "update"));
    if (t->scale)
        json_array_append_new(subs, json_pack("{s:s, s:[s,s,s]}", "subresource", "scale", "verbs",
                                              "get", "patch", "update"));
    return json_pack("{s:s, s:{s:s,s:s,s:s}, s:s, s:s, s:o, s:o}", "resource", t->t.resource,
                     "responseKind", "group", t->t.group, "version", t->t.version, "kind",
                     t->t.kind, "scope", t->t.namespaced ? "Namespaced" : "Cluster",
                     "singularResource", "", "verbs", verbs, "subresources", subs);
}

static json_t *named(json_t *list, const char *a, const char *b, const char *name)
{
    size_t i;
    json_t *item;
    json_array_foreach(list, i, item)
    {
        if (streq(text_of(item, a, b), name))
            return item;
    }
    return NULL;
}

json_t *discovery_document(bool core)
{
    json_t *groups = json_array();
    for (size_t i = 0; i < types.n; i++) {
        const struct ftype *t = types.p[i];
        if ((t->t.group[0] == '\0') != core)
            continue;
        json_t *group = named(groups, "metadata", "name", t->t.group);
        if (!group) {
            group = core ? json_pack("{s:{}, s:[]}", "metadata", "versions")
                         : json_pack("{s:{s:s}, s:[]}", "metadata", "name", t->t.group, "versions");
            json_array_append_new(groups, group);
        }
        json_t *versions = json_object_get(group, "versions");
        json_t *version = named(versions, "version", NULL, t->t.version);
        if (!version) {
            version = json_pack("{s:s, s:[], s:s}", "version", t->t.version, "resources",
                                "freshness", t->stale ? "Stale" : "Current");
            json_array_append_new(versions, version);
        }
        json_array_append_new(json_object_get(version, "resources"), resource_of(t));
    }
    return json_pack("{s:s, s:s, s:{}, s:o}", "kind", "APIGroupDiscoveryList", "apiVersion",
                     "apidiscovery.k8s.io/v2", "metadata", "items", groups);
}
