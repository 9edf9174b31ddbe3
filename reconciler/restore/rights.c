/* Plan: whether all that this Restore would write may be written. It asks once for each kind; only
 * where one is refused are its objects looked at, because what is there as the backup has it is not
 * written. So an application with a Role can be restored by who may not write Roles. */
#include "reconciler/restore/write.h"

static const struct {
    const char *name;
    enum { MAY_CREATE = 1, MAY_UPDATE = 2, MAY_PATCH = 4 } bit;
} verbs[] = {{"create", MAY_CREATE}, {"update", MAY_UPDATE}, {"patch", MAY_PATCH}};

/* What each write takes. What we have made is patched too: its fields are given back. */
static const unsigned takes[] = {[WRITE_NOTHING] = 0,
                                 [WRITE_MAKES] = MAY_CREATE | MAY_PATCH,
                                 [WRITE_REPLACES] = MAY_UPDATE | MAY_PATCH,
                                 [WRITE_PATCHES] = MAY_PATCH};

/* In one kind, in one namespace. */
struct rights {
    unsigned asked, denied; /* verbs */
    bool rehearsed;
    bool doubtful; /* that one object may be made says nothing of the next */
};

struct check {
    struct restore *r;
    struct restore_area area;
    const struct item *definitions; /* those of the backup are among these */
    size_t definitions_n;
    struct map *rights;
};

/* ---- asking ---- */

static const struct kube_type access_review = {
    "authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", false, 0};

/* A server that does not answer such questions is believed to agree. */
static int may(struct restore *r, const struct item *it, const char *verb, bool *ret,
               struct err *err)
{
    json_t *body CLEANUP_JSON =
        json_pack("{s:s, s:s, s:{s:{s:s, s:s, s:s, s:s}}}", "apiVersion", "authorization.k8s.io/v1",
                  "kind", "SelfSubjectAccessReview", "spec", "resourceAttributes", "namespace",
                  it->ns, "verb", verb, "group", it->group, "resource", it->resource);
    struct buf text CLEANUP(buf_free) = {0};
    struct kube_object answer;
    struct err why;
    json_print(&text, body);
    *ret = true;
    if (kube_create(r->cx->kube, r->a, &access_review, NULL, buf_view(&text), NULL, &answer, &why) <
        0)
        return err_is_transient(&why) ? err_set(err, why.kind, "%s", why.msg) : 0;
    *ret = raw_true(raw_at(answer.raw, "status", "allowed", NULL));
    return 0;
}

static int ask(struct check *c, const struct item *it, unsigned wanted, struct rights **ret,
               struct err *err)
{
    const char *key = arena_printf(c->r->a, "%s/%s/%s", it->group, it->resource, it->ns);
    struct rights *have = map_get(c->rights, str_of(key));
    if (!have) {
        have = arena_alloc(c->r->a, sizeof *have);
        /* The API server looks at what a Role grants. */
        *have = (struct rights){.doubtful = streq(it->group, "rbac.authorization.k8s.io")};
        map_put(c->rights, str_of(key), have);
    }
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        bool yes;
        if (!(wanted & ~have->asked & verbs[i].bit))
            continue;
        if (may(c->r, it, verbs[i].name, &yes, err) < 0)
            return -1;
        have->asked |= verbs[i].bit;
        have->denied |= yes ? 0 : verbs[i].bit;
    }
    *ret = have;
    return 0;
}

static const char *verb_list(struct arena *a, unsigned set)
{
    const char *text = "";
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        if (set & verbs[i].bit)
            text = arena_printf(a, "%s%s%s", text, *text ? " and " : "", verbs[i].name);
    return text;
}

static int refuse(struct restore *r, const struct item *it, const char *kind, const char *why,
                  unsigned needed, const char *said, struct err *err)
{
    return err_set(
        err, ERR_REFUSED,
        "%s %s%s%s %s, and gleaner may not put it right. Make it by hand as it was, or allow the "
        "account gleaner-controller to %s %s%s%s (a ClusterRole with the label "
        "gleaner.dev/aggregate-to-restore: \"true\")%s%s",
        kind, it->ns, *it->ns ? "/" : "", it->name, why, verb_list(r->a, needed), it->resource,
        *it->group ? "." : "", it->group, *said ? ". The API server says: " : "", said);
}

/* A create as a dry run: quotas, and what else says no. *ret_why: in the words of the API server;
 * NULL: it may be made, or what it says is not about rights. */
static int rehearse(struct check *c, const struct kube_type *t, const struct item *it,
                    const char **ret_why, struct err *err)
{
    struct restore *r = c->r;
    struct kube_object o;
    struct prepared p;
    struct err why;
    struct kube_write dry = {.dry_run = true};
    *ret_why = NULL;
    if (stored_object(c->area.archive, r->a, it, &o, err) < 0 ||
        prepare_object(r->a, &o, NULL, NULL, &p, err) < 0)
        return -1;
    if (kube_create(r->cx->kube, r->a, t, it->ns, p.body, &dry, NULL, &why) < 0 &&
        why.kind == ERR_FORBIDDEN)
        *ret_why = arena_strdup(r->a, why.msg);
    return 0;
}

/* ---- objects ---- */

/* The definition of a kind that is not served is in the backup, and Definitions makes it. resource
 * NULL: any of the group. */
static bool is_defined(const struct check *c, const char *group, const char *resource)
{
    const char *name = arena_printf(c->r->a, "%s.%s", resource ? resource : "", group);
    for (size_t i = 0; i < c->definitions_n; i++) {
        const struct item *it = &c->definitions[i];
        if (streq(it->resource, "customresourcedefinitions") && !restore_skips(it) &&
            (resource ? streq(it->name, name) : str_ends(str_of(it->name), name)))
            return true;
    }
    return false;
}

static int not_served(const char *what, const char *resource, const char *group, struct err *err)
{
    return err_set(err, ERR_REFUSED,
                   "%s: the cluster does not serve %s%s%s, and the backup has no definition of it: "
                   "install it first",
                   what, resource, *group ? "." : "", group);
}

static int check_made(struct check *c, const struct kube_type *t, const struct item *it,
                      struct rights *have, struct err *err)
{
    const char *said;
    if (!have->doubtful)
        return 0;
    if (rehearse(c, t, it, &said, err) < 0)
        return -1;
    return said ? refuse(c->r, it, t->kind, "is not there", takes[WRITE_MAKES], said, err) : 0;
}

/* Of a kind that is not refused nothing is read. */
static int check_object(struct check *c, const struct kube_type *t, const struct item *it,
                        bool residue, struct rights *have, struct err *err)
{
    struct write_need need;
    if (!have->denied && !have->doubtful)
        return 0;
    if ((residue ? write_residue_would : write_would)(c->r, c->area.archive, it, t, &need, err) < 0)
        return -1;
    if (takes[need.what] & have->denied)
        return refuse(c->r, it, t->kind, need.why, takes[need.what], "", err);
    return need.what == WRITE_MAKES ? check_made(c, t, it, have, err) : 0;
}

/* What an engine or an owner brings back before it is written need not be served now. */
static int check_unserved(struct check *c, const struct item *it, bool residue, struct err *err)
{
    struct rights *have;
    unsigned needed = takes[residue ? WRITE_PATCHES : WRITE_MAKES];
    if (!is_defined(c, it->group, it->resource))
        return !residue && it->restore == RESTORE_AFTER_OWNER
                   ? 0
                   : not_served(it->path, it->resource, it->group, err);
    if (ask(c, it, needed, &have, err) < 0)
        return -1;
    return have->denied & needed ? refuse(c->r, it, it->resource, "is not there", needed, "", err)
                                 : 0;
}

static int check_item(struct check *c, const struct item *it, bool residue, struct err *err)
{
    const struct kube_type *t = restore_type_of(c->area.types, it);
    unsigned wanted = takes[WRITE_MAKES] | takes[WRITE_REPLACES];
    struct rights *have;
    const char *said;
    if (!t)
        return check_unserved(c, it, residue, err);
    if (residue)
        wanted = takes[WRITE_PATCHES];
    else if (item_is_definition(it))
        wanted = takes[WRITE_MAKES];
    if (ask(c, it, wanted, &have, err) < 0)
        return -1;
    if (!residue && !have->rehearsed && !(have->denied & MAY_CREATE)) {
        have->rehearsed = true;
        if (rehearse(c, t, it, &said, err) < 0)
            return -1;
        have->doubtful = have->doubtful || said;
    }
    return check_object(c, t, it, residue, have, err);
}

static int check_area(struct check *c, const char *area, bool residue, struct err *err)
{
    if (restore_open_area(c->r, area, &c->area, err) < 0)
        return -1;
    if (!residue) {
        c->definitions = c->area.items;
        c->definitions_n = c->area.n;
    }
    for (size_t i = 0; i < c->area.n; i++)
        if (!restore_skips(&c->area.items[i]) && check_item(c, &c->area.items[i], residue, err) < 0)
            return -1;
    return 0;
}

/* ---- charts ---- */

static int check_chart_object(void *ctx, const struct kube_type *t, const struct book_entry *e,
                              const struct application *app, struct err *err)
{
    struct check *c = ctx;
    struct rights *have;
    struct kube_object live;
    bool there;
    const char *what = arena_printf(c->r->a, "the chart's %s %s", e->kind, e->name);
    if (!t)
        return is_defined(c, e->group, NULL) ? 0 : not_served(what, e->kind, e->group, err);
    struct item it = {.group = t->group,
                      .resource = t->resource,
                      .ns = !t->namespaced ? ""
                            : *e->ns       ? e->ns
                                           : app->content_ns,
                      .name = e->name};
    if (ask(c, &it, takes[WRITE_MAKES], &have, err) < 0)
        return -1;
    if (!(have->denied & takes[WRITE_MAKES]))
        return 0;
    if (write_get(c->r, t, it.ns, it.name, &live, &there, err) < 0)
        return -1;
    return there ? 0 : refuse(c->r, &it, t->kind, "is not there", takes[WRITE_MAKES], "", err);
}

int restore_check_rights(struct restore *r, struct err *err)
{
    struct map *rights CLEANUP(map_free_p) = map_new(NULL);
    struct check c = {.r = r, .rights = rights};
    if (check_area(&c, SNAPSHOT_RESOURCES, false, err) < 0 ||
        check_area(&c, SNAPSHOT_RESIDUE, true, err) < 0)
        return -1;
    return restore_chart_objects(r, &c.area, check_chart_object, &c, err);
}
