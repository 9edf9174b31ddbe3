/* Create, update, patch, delete: identity, conflicts, generation, finalizers, subresources. */
#include "fake.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/codec.h"

int refuse(struct answer *a, int code, const char *reason, const struct request *r, const char *fmt,
           ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    json_decref(a->body);
    json_t *details = json_object();
    if (r && r->name)
        json_object_set_new(details, "name", json_string(r->name));
    if (r && r->type) {
        json_object_set_new(details, "kind", json_string(r->type->t.resource));
        if (r->type->t.group[0])
            json_object_set_new(details, "group", json_string(r->type->t.group));
    }
    a->code = code;
    a->body = json_pack("{s:s, s:s, s:{}, s:s, s:s, s:s, s:o, s:i}", "kind", "Status", "apiVersion",
                        "v1", "metadata", "status", "Failure", "message", text, "reason", reason,
                        "details", details, "code", code);
    return -1;
}

static int not_found(const struct request *r, struct answer *a)
{
    return refuse(a, 404, "NotFound", r, "%s%s%s \"%s\" not found", r->type->t.resource,
                  r->type->t.group[0] ? "." : "", r->type->t.group, r->name);
}

static void set_text(json_t *j, const char *name, const char *value)
{
    json_object_set_new(j, name, json_string(value));
}

static void new_uid(char out[37])
{
    char hex[33];
    random_token(hex, 16);
    snprintf(out, 37, "%.8s-%.4s-4%.3s-a%.3s-%.12s", hex, hex + 8, hex + 13, hex + 17, hex + 20);
}

static void keep(json_t *now, const json_t *live, const char *name)
{
    json_t *v = at(live, "metadata", name), *metadata = ensure(now, "metadata");
    if (v)
        json_object_set(metadata, name, v);
    else
        json_object_del(metadata, name);
}

/* Empty maps and lists of metadata are not kept: Go's omitempty. */
static void drop_empty(json_t *object)
{
    static const char *const names[] = {"annotations", "labels", "finalizers", "ownerReferences"};
    json_t *metadata = ensure(object, "metadata");
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        json_t *v = json_object_get(metadata, names[i]);
        if (v && json_object_size(v) == 0 && json_array_size(v) == 0)
            json_object_del(metadata, names[i]);
    }
}

json_t *scale_of(const struct ftype *t, const json_t *o)
{
    (void)t;
    json_t *replicas = at(o, "spec", "replicas"), *now = at(o, "status", "replicas");
    return json_pack("{s:s, s:s, s:{s:s, s:s, s:s, s:s}, s:{s:O}, s:{s:O}}", "apiVersion",
                     "autoscaling/v1", "kind", "Scale", "metadata", "name", name_of(o), "namespace",
                     ns_of(o), "uid", text_of(o, "metadata", "uid"), "resourceVersion",
                     text_of(o, "metadata", "resourceVersion"), "spec", "replicas",
                     replicas ? replicas : json_integer(1), "status", "replicas",
                     now ? now : json_integer(0));
}

static int answer_object(struct request *r, int code, json_t *object, struct answer *a)
{
    a->code = code;
    a->body = streq(r->sub, "scale") ? scale_of(r->type, object) : json_deep_copy(object);
    return 0;
}

/* ---- create ---- */

static bool namespace_exists(const char *ns)
{
    return store_get(types_by_kind("", NULL, "Namespace"), NULL, ns) != NULL;
}

static void set_phase(json_t *object, const char *phase)
{
    json_object_set_new(object, "status", json_pack("{s:s}", "phase", phase));
}

static void first_state(const struct ftype *t, json_t *o)
{
    if (t->t.group[0])
        return;
    if (streq(t->t.kind, "Pod") || streq(t->t.kind, "PersistentVolumeClaim"))
        set_phase(o, "Pending");
    else if (streq(t->t.kind, "Namespace"))
        set_phase(o, "Active");
}

/* Name, namespace, type of a new object. */
static int check_new(struct request *r, json_t *o, struct answer *a)
{
    json_t *metadata = ensure(o, "metadata");
    const char *ns = ns_of(o);
    if (!streq(text_of(o, "apiVersion", NULL), type_api_version(r->type)) ||
        !streq(text_of(o, "kind", NULL), r->type->t.kind))
        return refuse(a, 400, "BadRequest", r, "the object is not a %s of %s", r->type->t.kind,
                      type_api_version(r->type));
    if (r->type->t.namespaced && ns[0] && !streq(ns, r->ns))
        return refuse(a, 400, "BadRequest", r,
                      "the namespace of the provided object does not match the namespace sent on "
                      "the request");
    if (r->type->t.namespaced)
        set_text(metadata, "namespace", r->ns);
    else
        json_object_del(metadata, "namespace");
    if (!name_of(o)[0] && text_of(o, "metadata", "generateName")[0]) {
        char tail[7];
        random_token(tail, 3);
        char *name CLEANUP(free_p) =
            xasprintf("%s%s", text_of(o, "metadata", "generateName"), tail);
        set_text(metadata, "name", name);
    }
    if (!name_of(o)[0])
        return refuse(a, 422, "Invalid", r,
                      "%s \"\" is invalid: metadata.name: Required value: name or generateName is "
                      "required",
                      r->type->t.kind);
    if (text_of(o, "metadata", "resourceVersion")[0])
        return refuse(a, 400, "BadRequest", r,
                      "resourceVersion should not be set on objects to be created");
    if (r->type->t.namespaced && !namespace_exists(r->ns))
        return refuse(a, 404, "NotFound", r, "namespaces \"%s\" not found", r->ns);
    if (store_get(r->type, r->ns, name_of(o)))
        return refuse(a, 409, "AlreadyExists", r, "%s \"%s\" already exists", r->type->t.resource,
                      name_of(o));
    return 0;
}

static int create(struct request *r, json_t *body, json_t *apply_set, struct answer *a)
{
    json_t *o CLEANUP_JSON = json_deep_copy(body);
    char uid[37], now[32];
    if (check_new(r, o, a) < 0)
        return -1;
    json_t *metadata = ensure(o, "metadata");
    drop_empty(o);
    new_uid(uid);
    now_text(now);
    set_text(metadata, "uid", uid);
    set_text(metadata, "creationTimestamp", now);
    json_object_del(metadata, "deletionTimestamp");
    if (r->type->generation)
        json_object_set_new(metadata, "generation", json_integer(1));
    if (r->type->status)
        json_object_del(o, "status");
    if (apply_set)
        manage_apply(r, NULL, o, apply_set, NULL);
    else
        manage_update(r, NULL, o, NULL);
    first_state(r->type, o);
    if (r->dry_run)
        return answer_object(r, 201, o, a);
    return answer_object(r, 201, store_put(r->type, TAKE(o)), a);
}

int write_create(struct request *r, json_t *body, struct answer *a)
{
    return create(r, body, NULL, a);
}

/* ---- update ---- */

static int check_same(struct request *r, const json_t *live, const json_t *wanted, struct answer *a)
{
    const char *uid = text_of(wanted, "metadata", "uid");
    const char *version = text_of(wanted, "metadata", "resourceVersion");
    if (uid[0] && !streq(uid, text_of(live, "metadata", "uid")))
        return refuse(a, 409, "Conflict", r,
                      "Operation cannot be fulfilled on %s \"%s\": Precondition failed: UID in "
                      "precondition: %s, UID in object meta: %s",
                      r->type->t.resource, name_of(live), uid, text_of(live, "metadata", "uid"));
    if (version[0] && !streq(version, text_of(live, "metadata", "resourceVersion")))
        return refuse(a, 409, "Conflict", r,
                      "Operation cannot be fulfilled on %s \"%s\": the object has been modified; "
                      "please apply your changes to the latest version and try again",
                      r->type->t.resource, name_of(live));
    return 0;
}

/* Each subresource changes its own part. */
static json_t *restrict_to(const struct request *r, const json_t *live, json_t *wanted)
{
    json_t *part = json_object_get(streq(r->sub, "status") ? wanted : live, "status");
    if (streq(r->sub, "status")) {
        json_t *o = json_deep_copy(live);
        json_t *managed = at(wanted, "metadata", "managedFields");
        if (part)
            json_object_set(o, "status", part);
        else
            json_object_del(o, "status");
        if (managed)
            json_object_set(ensure(o, "metadata"), "managedFields", managed);
        json_decref(wanted);
        return o;
    }
    if (r->type->status && part)
        json_object_set(wanted, "status", part);
    else if (r->type->status)
        json_object_del(wanted, "status");
    return wanted;
}

static bool spec_changed(const json_t *live, const json_t *now)
{
    json_t *a CLEANUP_JSON = json_copy((json_t *)(uintptr_t)live);
    json_t *b CLEANUP_JSON = json_copy((json_t *)(uintptr_t)now);
    static const char *const others[] = {"metadata", "status", "apiVersion", "kind"};
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        json_object_del(a, others[i]);
        json_object_del(b, others[i]);
    }
    return !json_equal(a, b);
}

/* Of a Deployment alone a new annotation is a new generation. Source: k8s.io/kubernetes
 * pkg/registry/apps/deployment/strategy.go. */
static bool makes_generation(const struct ftype *t, const json_t *live, const json_t *now)
{
    json_t *a = at(live, "metadata", "annotations");
    json_t *b = at(now, "metadata", "annotations");
    bool same = json_object_size(a) + json_object_size(b) == 0 || json_equal(a, b);
    return spec_changed(live, now) || (!same && streq(t->t.kind, "Deployment"));
}

static void keep_identity(const struct ftype *t, const json_t *live, json_t *now)
{
    static const char *const kept[] = {
        "name",         "namespace",         "uid",
        "generation",   "creationTimestamp", "resourceVersion",
        "generateName", "deletionTimestamp", "deletionGracePeriodSeconds"};
    for (size_t i = 0; i < ARRAY_LEN(kept); i++)
        keep(now, live, kept[i]);
    drop_empty(now);
    set_text(now, "apiVersion", type_api_version(t));
    set_text(now, "kind", t->t.kind);
    if (!at(now, "metadata", "managedFields"))
        keep(now, live, "managedFields");
    if (t->generation && makes_generation(t, live, now))
        json_object_set_new(
            ensure(now, "metadata"), "generation",
            json_integer(json_integer_value(at(live, "metadata", "generation")) + 1));
}

/* managedFields: [] or [{}] takes all of it away. */
static bool resets_managers(const json_t *live, const json_t *wanted)
{
    json_t *managed = at(wanted, "metadata", "managedFields");
    return json_is_array(managed) && !json_equal(managed, at(live, "metadata", "managedFields")) &&
           (json_array_size(managed) == 0 || json_object_size(json_array_get(managed, 0)) == 0);
}

static json_t *store_change(const struct ftype *t, json_t *live, json_t *now)
{
    if (json_equal(live, now)) {
        json_decref(now);
        return live;
    }
    bool deleting = at(now, "metadata", "deletionTimestamp") != NULL;
    json_t *o = store_put(t, now);
    if (deleting && json_array_size(at(o, "metadata", "finalizers")) == 0)
        return store_remove(t, ns_of(o), name_of(o));
    return o;
}

int write_update(struct request *r, json_t *live, json_t *wanted, json_t *apply_set,
                 struct answer *a)
{
    json_t *set CLEANUP_JSON = apply_set;
    if (check_same(r, live, wanted, a) < 0) {
        json_decref(wanted);
        return -1;
    }
    json_t *now CLEANUP_JSON = restrict_to(r, live, wanted);
    bool reset = resets_managers(live, now);
    keep_identity(r->type, live, now);
    if (reset)
        json_object_del(ensure(now, "metadata"), "managedFields");
    else if (set)
        manage_apply(r, live, now, set, r->sub);
    else
        manage_update(r, live, now, r->sub);
    if (r->dry_run)
        return answer_object(r, 200, now, a);
    return answer_object(r, 200, store_change(r->type, live, TAKE(now)), a);
}

void write_as(const struct ftype *t, json_t *live, json_t *wanted, const char *manager,
              bool to_status)
{
    struct request r = {.type = (struct ftype *)(uintptr_t)t, .manager = manager};
    keep_identity(t, live, wanted);
    manage_update(&r, live, wanted, to_status ? "status" : NULL);
    store_change(t, live, wanted);
}

static int parse_body(struct request *r, json_t **ret, struct answer *a)
{
    struct err err;
    if (json_parse(r->body, ret, &err) < 0)
        return refuse(a, 400, "BadRequest", r, "the body is not JSON: %s", err.msg);
    return 0;
}

/* A Scale and what it does to its object. */
static json_t *with_replicas(const json_t *live, const json_t *scale)
{
    json_t *o = json_deep_copy(live), *replicas = at(scale, "spec", "replicas");
    json_object_del(ensure(o, "metadata"), "managedFields");
    if (replicas)
        json_object_set(ensure(o, "spec"), "replicas", replicas);
    const char *version = text_of(scale, "metadata", "resourceVersion");
    if (version[0])
        set_text(ensure(o, "metadata"), "resourceVersion", version);
    return o;
}

int write_replace(struct request *r, struct answer *a)
{
    json_t *body CLEANUP_JSON = NULL;
    json_t *live = store_get(r->type, r->ns, r->name);
    if (!live)
        return not_found(r, a);
    if (parse_body(r, &body, a) < 0)
        return -1;
    if (!streq(name_of(body), r->name))
        return refuse(a, 400, "BadRequest", r,
                      "the name of the object (%s) does not match the name on the URL (%s)",
                      name_of(body), r->name);
    if (!text_of(body, "metadata", "resourceVersion")[0])
        return refuse(a, 422, "Invalid", r,
                      "%s \"%s\" is invalid: metadata.resourceVersion: Invalid value: 0x0: must be "
                      "specified for an update",
                      r->type->t.kind, r->name);
    if (streq(r->sub, "scale"))
        return write_update(r, live, with_replicas(live, body), NULL, a);
    return write_update(r, live, json_incref(body), NULL, a);
}

static int patch_apply(struct request *r, json_t *live, json_t *body, struct answer *a)
{
    json_t *object = NULL, *set = NULL;
    bool force = streq(param(r, "force"), "true");
    if (!param(r, "fieldManager"))
        return refuse(a, 422, "Invalid", r,
                      "PatchOptions.meta.k8s.io \"\" is invalid: "
                      "fieldManager: Required value: is required for apply "
                      "patch");
    if (streq(r->sub, "scale"))
        return refuse(a, 422, "Invalid", r,
                      "fake-apiserver does not implement apply of a Scale: use a merge patch");
    if (!live && r->sub)
        return not_found(r, a);
    if (apply_patch(r, live, body, force, &object, &set, a) < 0)
        return -1;
    if (live)
        return write_update(r, live, object, set, a);
    int result = create(r, object, set, a);
    json_decref(object);
    json_decref(set);
    return result;
}

int write_patch(struct request *r, struct answer *a)
{
    json_t *body CLEANUP_JSON = NULL;
    const char *why = NULL, *type = r->content_type ? r->content_type : "";
    json_t *live = store_get(r->type, r->ns, r->name), *wanted = NULL;
    bool scale = streq(r->sub, "scale");
    if (parse_body(r, &body, a) < 0)
        return -1;
    if (streq(type, "application/apply-patch+yaml"))
        return patch_apply(r, live, body, a);
    if (!live)
        return not_found(r, a);
    json_t *target CLEANUP_JSON = scale ? scale_of(r->type, live) : json_incref(live);
    if (streq(type, "application/merge-patch+json"))
        wanted = merge_patch(target, body);
    else if (streq(type, "application/json-patch+json"))
        wanted = json_patch(target, body, &why);
    else
        return refuse(a, 415, "UnsupportedMediaType", r,
                      "fake-apiserver does not implement patches of type %s", type);
    if (!wanted)
        return refuse(a, 422, "Invalid", r,
                      "the server rejected our request due to an error in our request: %s", why);
    if (scale) {
        json_t *o = with_replicas(live, wanted);
        json_decref(wanted);
        wanted = o;
    }
    return write_update(r, live, wanted, NULL, a);
}

/* ---- delete ---- */

static int check_preconditions(struct request *r, const json_t *live, const json_t *options,
                               struct answer *a)
{
    const char *uid = text_of(at(options, "preconditions", NULL), "uid", NULL);
    const char *version = text_of(at(options, "preconditions", NULL), "resourceVersion", NULL);
    if (uid[0] && !streq(uid, text_of(live, "metadata", "uid")))
        return refuse(
            a, 409, "Conflict", r,
            "Operation cannot be fulfilled on %s \"%s\": the UID in the precondition (%s) "
            "does not match the UID in record (%s). The object might have been deleted "
            "and then recreated",
            r->type->t.kind, r->name, uid, text_of(live, "metadata", "uid"));
    if (version[0] && !streq(version, text_of(live, "metadata", "resourceVersion")))
        return refuse(a, 409, "Conflict", r,
                      "Operation cannot be fulfilled on %s \"%s\": the ResourceVersion in the "
                      "precondition (%s) does not match the ResourceVersion in record (%s). The "
                      "object might have been modified",
                      r->type->t.kind, r->name, version,
                      text_of(live, "metadata", "resourceVersion"));
    return 0;
}

static void remove_contents(const char *ns)
{
    for (size_t i = 0; i < types_count(); i++) {
        struct ftype *t = types_at(i);
        json_t *list CLEANUP_JSON = t->t.namespaced ? store_list(t, ns) : json_array();
        size_t n;
        json_t *o;
        json_array_foreach(list, n, o)
        {
            store_remove(t, ns, name_of(o));
        }
    }
}

int write_delete(struct request *r, struct answer *a)
{
    json_t *options CLEANUP_JSON = NULL;
    json_t *live = store_get(r->type, r->ns, r->name);
    if (!live)
        return not_found(r, a);
    if (r->body.n && parse_body(r, &options, a) < 0)
        return -1;
    if (check_preconditions(r, live, options, a) < 0)
        return -1;
    bool dry = r->dry_run || json_array_size(at(options, "dryRun", NULL)) > 0;
    if (json_array_size(at(live, "metadata", "finalizers")) > 0) {
        if (at(live, "metadata", "deletionTimestamp") || dry)
            return answer_object(r, 200, live, a);
        json_t *o = json_deep_copy(live);
        char now[32];
        now_text(now);
        set_text(ensure(o, "metadata"), "deletionTimestamp", now);
        json_object_set_new(ensure(o, "metadata"), "deletionGracePeriodSeconds", json_integer(0));
        return answer_object(r, 200, store_put(r->type, o), a);
    }
    a->code = 200;
    a->body = json_pack("{s:s, s:s, s:{}, s:s, s:{s:s, s:s, s:s}}", "kind", "Status", "apiVersion",
                        "v1", "metadata", "status", "Success", "details", "name", r->name, "kind",
                        r->type->t.resource, "uid", text_of(live, "metadata", "uid"));
    if (dry)
        return 0;
    store_remove(r->type, r->ns, r->name);
    if (streq(r->type->t.kind, "Namespace"))
        remove_contents(r->name);
    return 0;
}

/* ---- loading ---- */

int load_object(const json_t *object, char **why)
{
    const char *version = text_of(object, "apiVersion", NULL);
    char *group CLEANUP(free_p) = str_dup(kube_group_of(version));
    const char *slash = strchr(version, '/');
    struct ftype *t =
        types_by_kind(group, slash ? slash + 1 : version, text_of(object, "kind", NULL));
    if (!t || !name_of(object)[0]) {
        *why = xasprintf("%s %s \"%s\": no such type, or no name", version,
                         text_of(object, "kind", NULL), name_of(object));
        return -1;
    }
    json_t *o = json_deep_copy(object), *metadata = ensure(o, "metadata");
    const char *ns = ns_of(o);
    if (t->t.namespaced && !ns[0]) {
        set_text(metadata, "namespace", "default");
        ns = "default";
    }
    struct ftype *spaces = types_by_kind("", NULL, "Namespace");
    if (t->t.namespaced && !store_get(spaces, NULL, ns)) {
        json_t *space CLEANUP_JSON =
            json_pack("{s:s, s:s, s:{s:s}, s:{s:s}}", "apiVersion", "v1", "kind", "Namespace",
                      "metadata", "name", ns, "status", "phase", "Active");
        if (load_object(space, why) < 0)
            return -1;
    }
    char uid[37], now[32];
    new_uid(uid);
    now_text(now);
    if (!text_of(o, "metadata", "uid")[0])
        set_text(metadata, "uid", uid);
    if (!text_of(o, "metadata", "creationTimestamp")[0])
        set_text(metadata, "creationTimestamp", now);
    if (t->generation && !json_object_get(metadata, "generation"))
        json_object_set_new(metadata, "generation", json_integer(1));
    store_put(t, o);
    return 0;
}
