/* Server-side apply and managedFields, of maps and scalars. What it cannot do as the real server
 * does it is refused, so that no test passes on a wrong imitation. */
#include "fake.h"

#include <stdlib.h>

static bool same_entry(const json_t *e, const char *manager, const char *operation, const char *sub)
{
    return streq(text_of(e, "manager", NULL), manager) &&
           streq(text_of(e, "operation", NULL), operation) &&
           streq(text_of(e, "subresource", NULL), sub ? sub : "");
}

static json_t *entry_of(json_t *managed, const char *manager, const char *operation,
                        const char *sub)
{
    size_t i;
    json_t *e;
    json_array_foreach(managed, i, e)
    {
        if (same_entry(e, manager, operation, sub))
            return e;
    }
    return NULL;
}

static json_t *managed_of(json_t *object)
{
    json_t *metadata = ensure(object, "metadata");
    json_t *managed = json_object_get(metadata, "managedFields");
    if (!json_is_array(managed)) {
        managed = json_array();
        json_object_set_new(metadata, "managedFields", managed);
    }
    return managed;
}

static void prune(json_t *object)
{
    json_t *managed = managed_of(object);
    for (size_t i = json_array_size(managed); i-- > 0;)
        if (json_object_size(at(json_array_get(managed, i), "fieldsV1", NULL)) == 0)
            json_array_remove(managed, i);
    if (json_array_size(managed) == 0)
        json_object_del(ensure(object, "metadata"), "managedFields");
}

/* The time is that of the last write which changed a value, whether or not the fields were its
 * writer's before. */
static void set_entry(json_t *managed, const struct request *r, const char *operation,
                      const char *sub, json_t *set, bool moved)
{
    char now[32];
    now_text(now);
    json_t *e = entry_of(managed, r->manager, operation, sub);
    if (e && !moved && json_equal(json_object_get(e, "fieldsV1"), set))
        return;
    if (!e) {
        e = json_pack("{s:s, s:s}", "manager", r->manager, "operation", operation);
        json_array_append_new(managed, e);
    }
    json_object_set_new(e, "apiVersion", json_string(type_api_version(r->type)));
    json_object_set_new(e, "time", json_string(now));
    json_object_set_new(e, "fieldsType", json_string("FieldsV1"));
    json_object_set(e, "fieldsV1", set);
    if (sub)
        json_object_set_new(e, "subresource", json_string(sub));
}

/* Takes one path away from everybody but `keep`. */
struct taking {
    json_t *managed, *keep;
};

static bool take(void *ctx, char *const *path, size_t n)
{
    struct taking *t = ctx;
    size_t i;
    json_t *e;
    json_array_foreach(t->managed, i, e)
    {
        if (e != t->keep)
            fields_remove(json_object_get(e, "fieldsV1"), path, n);
    }
    return true;
}

/* The content that managers own: without identity and what the server keeps. */
static json_t *content(const json_t *object)
{
    static const char *const system[] = {"name",
                                         "namespace",
                                         "uid",
                                         "generation",
                                         "creationTimestamp",
                                         "resourceVersion",
                                         "managedFields",
                                         "deletionTimestamp",
                                         "selfLink",
                                         "generateName",
                                         "deletionGracePeriodSeconds"};
    json_t *c = object ? json_deep_copy(object) : json_object();
    json_object_del(c, "apiVersion");
    json_object_del(c, "kind");
    json_t *metadata = json_object_get(c, "metadata");
    for (size_t i = 0; i < ARRAY_LEN(system); i++)
        json_object_del(metadata, system[i]);
    if (json_object_size(metadata) == 0)
        json_object_del(c, "metadata");
    return c;
}

void manage_update(const struct request *r, const json_t *before, json_t *now, const char *sub)
{
    json_t *old CLEANUP_JSON = content(before), *new CLEANUP_JSON = content(now);
    json_t *set CLEANUP_JSON = fields_changed(old, new);
    json_t *gone CLEANUP_JSON = fields_changed(new, old);
    json_t *managed = managed_of(now);
    /* As in the real server: who has no managers, gets none by an update. */
    if (before && json_array_size(managed) == 0) {
        prune(now);
        return;
    }
    json_t *mine = entry_of(managed, r->manager, "Update", sub);
    struct taking others = {managed, mine};
    fields_each(set, take, &others);
    /* `gone` has changed ones, too: only what is not there any more is nobody's. */
    json_t *left CLEANUP_JSON = json_deep_copy(gone);
    struct taking absent = {json_pack("[{s:O}]", "fieldsV1", left), NULL};
    fields_each(set, take, &absent);
    json_decref(absent.managed);
    struct taking all = {managed, NULL};
    fields_each(left, take, &all);
    if (json_object_size(set)) {
        json_t *whole CLEANUP_JSON =
            mine ? json_deep_copy(json_object_get(mine, "fieldsV1")) : json_object();
        json_object_update_recursive(whole, set);
        set_entry(managed, r, "Update", sub, whole, true);
    }
    prune(now);
}

void manage_apply(const struct request *r, const json_t *before, json_t *now, json_t *set,
                  const char *sub)
{
    json_t *old CLEANUP_JSON = content(before), *new CLEANUP_JSON = content(now);
    json_t *touched CLEANUP_JSON = fields_changed(old, new);
    json_t *managed = managed_of(now);
    struct taking others = {managed, entry_of(managed, r->manager, "Apply", sub)};
    fields_each(touched, take, &others);
    set_entry(managed, r, "Apply", sub, set, json_object_size(touched) > 0);
    prune(now);
}

/* ---- what may be applied ---- */

static bool may_apply(const struct ftype *t, char *const *path, size_t n)
{
    static const char *const built_in[][2] = {{"metadata", "annotations"},
                                              {"metadata", "labels"},
                                              {"data", NULL},
                                              {"spec", "replicas"},
                                              {"spec", "suspend"}};
    if (streq(path[0], "metadata"))
        return n == 3 && (streq(path[1], "annotations") || streq(path[1], "labels"));
    if (t->custom)
        return true;
    for (size_t i = 0; i < ARRAY_LEN(built_in); i++)
        if (streq(path[0], built_in[i][0]) &&
            (!built_in[i][1] || (n > 1 && streq(path[1], built_in[i][1]))))
            return true;
    return false;
}

struct checking {
    struct request *r;
    struct answer *a;
    const json_t *applied;
    bool refused;
};

static json_t *value_at(const json_t *j, char *const *path, size_t n)
{
    for (size_t i = 0; i < n; i++)
        j = json_object_get(j, path[i]);
    return (json_t *)(uintptr_t)j;
}

static char *join(char *const *path, size_t n)
{
    struct buf b = {0};
    for (size_t i = 0; i < n; i++)
        buf_printf(&b, ".%s", path[i]);
    return buf_take(&b);
}

static bool check_leaf(void *ctx, char *const *path, size_t n)
{
    struct checking *c = ctx;
    const json_t *v = value_at(c->applied, path, n);
    bool own = streq(c->r->type->t.group, "gleaner.dev");
    char *text CLEANUP(free_p) = join(path, n);
    const char *why = NULL;
    if (!may_apply(c->r->type, path, n))
        why = "this field";
    else if (json_is_null(v))
        why = "a null";
    else if (json_is_array(v) && (!own || streq(path[n - 1], "conditions")))
        why = "a list";
    if (!why)
        return true;
    refuse(c->a, 422, "Invalid", c->r, "fake-apiserver does not implement apply of %s at %s", why,
           text);
    c->refused = true;
    return false;
}

static void drop_empty_maps(json_t *j)
{
    const char *key;
    json_t *value;
    void *next;
    json_object_foreach_safe(j, next, key, value)
    {
        drop_empty_maps(value);
        if (json_is_object(value) && json_object_size(value) == 0)
            json_object_del(j, key);
    }
}

/* ---- conflicts ---- */

struct conflicts {
    const json_t *live, *applied;
    json_t *managed, *mine;
    struct buf text;
    size_t n;
    const char *manager;
};

static bool find_conflict(void *ctx, char *const *path, size_t n)
{
    struct conflicts *c = ctx;
    json_t *live = value_at(c->live, path, n), *e;
    size_t i;
    if (!live || json_equal(live, value_at(c->applied, path, n)))
        return true;
    json_array_foreach(c->managed, i, e)
    {
        if (e == c->mine || !fields_has(json_object_get(e, "fieldsV1"), path, n))
            continue;
        char *text CLEANUP(free_p) = join(path, n);
        buf_printf(&c->text, "%sconflict with \"%s\" using %s: %s", c->n ? "; " : "",
                   text_of(e, "manager", NULL), text_of(e, "apiVersion", NULL), text);
        c->n++;
    }
    return true;
}

/* ---- removal of what is not applied any more ---- */

struct leaving {
    json_t *object, *managed, *mine;
    const json_t *set;
};

static void unset(json_t *j, char *const *path, size_t n)
{
    if (n == 1) {
        json_object_del(j, path[0]);
        return;
    }
    json_t *inner = json_object_get(j, path[0]);
    unset(inner, path + 1, n - 1);
    if (json_is_object(inner) && json_object_size(inner) == 0)
        json_object_del(j, path[0]);
}

static bool leave(void *ctx, char *const *path, size_t n)
{
    struct leaving *l = ctx;
    size_t i;
    json_t *e;
    if (fields_has(l->set, path, n))
        return true;
    json_array_foreach(l->managed, i, e)
    {
        if (e != l->mine && fields_has(json_object_get(e, "fieldsV1"), path, n))
            return true;
    }
    unset(l->object, path, n);
    return true;
}

static int check_identity(struct request *r, const json_t *live, const json_t *body,
                          struct answer *a)
{
    const char *uid = text_of(body, "metadata", "uid");
    const char *version = text_of(body, "metadata", "resourceVersion");
    const char *ns = ns_of(body);
    if (!streq(text_of(body, "apiVersion", NULL), type_api_version(r->type)) ||
        !streq(text_of(body, "kind", NULL), r->type->t.kind) || !streq(name_of(body), r->name) ||
        (ns[0] && !streq(ns, r->ns)))
        return refuse(a, 400, "BadRequest", r,
                      "the applied object is not the %s %s of the request's path", r->type->t.kind,
                      r->name);
    if (at(body, "metadata", "managedFields"))
        return refuse(a, 400, "BadRequest", r, "metadata.managedFields must be nil");
    if (uid[0] && !streq(uid, text_of(live, "metadata", "uid")))
        return refuse(a, 409, "Conflict", r,
                      "Operation cannot be fulfilled on %s \"%s\": Precondition failed: UID in "
                      "precondition: %s, UID in object meta: %s",
                      r->type->t.resource, r->name, uid, text_of(live, "metadata", "uid"));
    if (version[0] && !streq(version, text_of(live, "metadata", "resourceVersion")))
        return refuse(a, 409, "Conflict", r,
                      "Operation cannot be fulfilled on %s \"%s\": the object has been modified; "
                      "please apply your changes to the latest version and try again",
                      r->type->t.resource, r->name);
    return 0;
}

/* What of the body is applied: the status alone to /status, everything else otherwise. */
static json_t *applied_content(const struct request *r, const json_t *body)
{
    json_t *c = content(body);
    bool to_status = streq(r->sub, "status");
    const char *key;
    json_t *value;
    void *next;
    json_object_foreach_safe(c, next, key, value)
    {
        if (to_status ? !streq(key, "status") : r->type->status && streq(key, "status"))
            json_object_del(c, key);
    }
    drop_empty_maps(c);
    return c;
}

/* The fields of an object without managers belong to a manager of that name from the first apply
 * on. */
static void claim_before_first_apply(const struct request *r, json_t *object)
{
    json_t *managed = managed_of(object);
    json_t *was CLEANUP_JSON = content(object);
    json_t *set CLEANUP_JSON = fields_of(was);
    struct request other = *r;
    other.manager = "before-first-apply";
    if (json_array_size(managed) == 0)
        set_entry(managed, &other, "Update", NULL, set, true);
    prune(object);
}

int apply_patch(struct request *r, const json_t *live, const json_t *body, bool force,
                json_t **ret_object, json_t **ret_set, struct answer *a)
{
    if (check_identity(r, live, body, a) < 0)
        return -1;
    json_t *applied CLEANUP_JSON = applied_content(r, body);
    json_t *set CLEANUP_JSON = fields_of(applied);
    struct checking check = {.r = r, .a = a, .applied = applied};
    fields_each(set, check_leaf, &check);
    if (check.refused)
        return -1;
    json_t *object CLEANUP_JSON = live ? json_deep_copy(live) : json_deep_copy(body);
    if (live)
        claim_before_first_apply(r, object);
    json_t *managed = at(object, "metadata", "managedFields");
    json_t *mine = entry_of(managed, r->manager, "Apply", r->sub);
    struct conflicts c = {.live = live, .applied = applied, .managed = managed, .mine = mine};
    if (live && !force)
        fields_each(set, find_conflict, &c);
    char *text CLEANUP(free_p) = buf_take(&c.text);
    if (c.n)
        return refuse(a, 409, "Conflict", r, "Apply failed with %zu conflict%s: %s", c.n,
                      c.n == 1 ? "" : "s", text);
    struct leaving l = {object, managed, mine, set};
    json_t *previous CLEANUP_JSON = json_deep_copy(json_object_get(mine, "fieldsV1"));
    fields_each(previous, leave, &l);
    json_object_update_recursive(object, applied);
    *ret_object = TAKE(object);
    *ret_set = TAKE(set);
    return 0;
}
