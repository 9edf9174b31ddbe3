#include "reconciler/snapshot_layout.h"

#include "core/clock.h"

const char *snapshot_object_path(struct arena *a, const char *area, const struct kube_type *t,
                                 const char *ns, const char *name)
{
    const char *dot = *t->group ? "." : "";
    if (ns && *ns)
        return arena_printf(a, "%s/%s%s%s/namespaces/%s/%s.json", area, t->resource, dot, t->group,
                            ns, name);
    return arena_printf(a, "%s/%s%s%s/cluster/%s.json", area, t->resource, dot, t->group, name);
}

/* A path element that an object's part may be: not empty, not "." or "..". */
static bool plain(str s)
{
    return s.n > 0 && !str_is(s, ".") && !str_is(s, "..") && !memchr(s.p, '\0', s.n);
}

bool snapshot_parse_path(struct arena *a, str path, const char **ret_resource,
                         const char **ret_group, const char **ret_ns, const char **ret_name)
{
    str group = str_cut(&path, '/');
    str scope = str_cut(&path, '/');
    str ns = {0};
    if (str_is(scope, "namespaces"))
        ns = str_cut(&path, '/');
    else if (!str_is(scope, "cluster"))
        return false;
    str name = path;
    if (!plain(group) || (ns.p && !plain(ns)) || !name.p || memchr(name.p, '/', name.n) ||
        !str_ends(name, ".json"))
        return false;
    name.n -= strlen(".json");
    if (!plain(name) || (str_is(scope, "namespaces") && !ns.p))
        return false;
    str resource = str_cut(&group, '.');
    if (!plain(resource))
        return false;
    *ret_resource = arena_str(a, resource).p;
    *ret_group = group.p ? arena_str(a, group).p : "";
    *ret_ns = ns.p ? arena_str(a, ns).p : "";
    *ret_name = arena_str(a, name).p;
    return true;
}

enum { CLAIM_NAME_MAX = 253 };

static const char *const claim_tags[] = {"part:", "claim:"};

const char *snapshot_claim_tag(struct arena *a, const char *claim, const char *since, bool whole)
{
    return arena_printf(a, "%s%s@%s", claim_tags[whole], claim, since);
}

bool snapshot_claim_read(const char *tag, struct snapshot_claim *ret)
{
    for (size_t whole = 0; whole < ARRAY_LEN(claim_tags); whole++) {
        size_t n = strlen(claim_tags[whole]);
        if (strncmp(tag, claim_tags[whole], n) != 0)
            continue;
        *ret = (struct snapshot_claim){.id = tag + n, .whole = whole};
        str since = str_of(ret->id), name = str_cut(&since, '@');
        return name.n && name.n <= CLAIM_NAME_MAX && clock_parse(since, &ret->since_ms);
    }
    return false;
}

const char *snapshot_tag_broken(struct arena *a, const char *tag)
{
    struct snapshot_claim claim;
    if (streq(tag, "phase:Completed"))
        return "phase:PartiallyFailed";
    if (snapshot_claim_read(tag, &claim) && claim.whole)
        return arena_printf(a, "%s%s", claim_tags[false], claim.id);
    return tag;
}
