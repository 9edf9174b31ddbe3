#include "kube/discovery.h"

#include <stdlib.h>

#include "core/vec.h"
#include "kube/private.h"

#define DISCOVERY_ACCEPT(v)                                                                        \
    "application/json;g=apidiscovery.k8s.io;v=" v ";as=APIGroupDiscoveryList"

struct entry {
    struct kube_type type;
    bool preferred;
};

struct kube_discovery {
    struct arena *arena;
    VEC(struct entry) all;                /* every fresh group, version and resource */
    VEC(const struct kube_type *) chosen; /* one version of each */
    struct buf stale;
};

void kube_discovery_free(struct kube_discovery *d)
{
    if (!d)
        return;
    arena_free(d->arena);
    vec_free(&d->all);
    vec_free(&d->chosen);
    buf_free(&d->stale);
    free(d);
}

static unsigned read_verbs(str verbs)
{
    static const struct {
        const char *name;
        unsigned bit;
    } known[] = {{"get", KUBE_VERB_GET},     {"list", KUBE_VERB_LIST},
                 {"watch", KUBE_VERB_WATCH}, {"create", KUBE_VERB_CREATE},
                 {"patch", KUBE_VERB_PATCH}, {"delete", KUBE_VERB_DELETE}};
    struct raw_iter it = raw_iter(verbs);
    unsigned bits = 0;
    str verb;
    while (raw_next(&it, NULL, &verb))
        for (size_t i = 0; i < ARRAY_LEN(known); i++)
            if (raw_is(verb, known[i].name))
                bits |= known[i].bit;
    return bits;
}

static bool known(const struct kube_discovery *d, const char *group, const char *resource)
{
    for (size_t i = 0; i < d->all.n; i++)
        if (streq(d->all.p[i].type.group, group) && streq(d->all.p[i].type.resource, resource))
            return true;
    return false;
}

static void add_resource(struct kube_discovery *d, const char *group, const char *version,
                         str resource)
{
    struct arena *a = d->arena;
    const char *name = raw_text(a, resource, "resource", NULL);
    const char *kind = raw_text(a, resource, "responseKind", "kind", NULL);
    if (!name || !name[0] || !kind || !kind[0])
        return;
    bool preferred = !known(d, group, name);
    *vec_add(&d->all) = (struct entry){
        .type = {.group = group,
                 .version = version,
                 .resource = name,
                 .kind = kind,
                 .namespaced = raw_is(raw_get(resource, "scope"), "Namespaced"),
                 .verbs = read_verbs(raw_get(resource, "verbs"))},
        .preferred = preferred,
    };
}

static void add_version(struct kube_discovery *d, const char *group, str item)
{
    const char *version = raw_text(d->arena, item, "version", NULL);
    if (!version || !version[0])
        return;
    if (raw_is(raw_get(item, "freshness"), "Stale")) {
        buf_printf(&d->stale, "%s%s%s%s", d->stale.n ? "," : "", group, group[0] ? "/" : "",
                   version);
        return;
    }
    struct raw_iter it = raw_iter(raw_get(item, "resources"));
    str resource;
    while (!it.object && raw_next(&it, NULL, &resource))
        add_resource(d, group, version, resource);
}

/* One answer: APIGroupDiscoveryList of apidiscovery.k8s.io, v2 and v2beta1 alike. */
static int read_groups(struct kube_discovery *d, str text, const char *path, struct err *err)
{
    if (raw_check(text, err) < 0)
        return err_wrap(err, "%s", path);
    if (!raw_is(raw_get(text, "kind"), "APIGroupDiscoveryList"))
        return err_set(err, ERR_UNSUPPORTED,
                       "%s: the API server has no aggregated discovery: Kubernetes 1.27 or newer "
                       "is needed",
                       path);
    struct raw_iter groups = raw_iter(raw_get(text, "items"));
    str group, version;
    while (!groups.object && raw_next(&groups, NULL, &group)) {
        const char *name = raw_text(d->arena, group, "metadata", "name", NULL);
        struct raw_iter versions = raw_iter(raw_get(group, "versions"));
        while (!versions.object && raw_next(&versions, NULL, &version))
            add_version(d, name ? name : "", version);
    }
    return 0;
}

static int ask(struct kube *k, struct kube_discovery *d, const char *path, struct err *err)
{
    struct kube_http x = {.method = "GET",
                          .path = path,
                          .accept = DISCOVERY_ACCEPT("v2") "," DISCOVERY_ACCEPT("v2beta1")};
    int r = client_exchange(k, &x, err);
    if (r == 0)
        r = read_groups(d, buf_view(&x.answer), path, err);
    buf_free(&x.answer);
    return r;
}

int kube_discover(struct kube *k, struct kube_discovery **ret, struct err *err)
{
    struct kube_discovery *d CLEANUP(kube_discovery_free_p) = xcalloc(1, sizeof *d);
    d->arena = arena_new();
    if (ask(k, d, "/api", err) < 0 || ask(k, d, "/apis", err) < 0)
        return err_wrap(err, "discovery");
    for (size_t i = 0; i < d->all.n; i++)
        if (d->all.p[i].preferred)
            *vec_add(&d->chosen) = &d->all.p[i].type;
    *ret = TAKE(d);
    return 0;
}

size_t kube_discovery_count(const struct kube_discovery *d)
{
    return d->chosen.n;
}

const struct kube_type *kube_discovery_at(const struct kube_discovery *d, size_t i)
{
    return d->chosen.p[i];
}

const struct kube_type *kube_discovery_kind(const struct kube_discovery *d, str group,
                                            const char *version, const char *kind)
{
    for (size_t i = 0; i < d->all.n; i++) {
        const struct kube_type *t = &d->all.p[i].type;
        if (str_is(group, t->group) && streq(t->kind, kind) &&
            (version ? streq(t->version, version) : d->all.p[i].preferred))
            return t;
    }
    return NULL;
}

const char *kube_discovery_stale(const struct kube_discovery *d)
{
    return d->stale.n ? d->stale.p : "";
}
