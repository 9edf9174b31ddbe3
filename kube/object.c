#include "kube/object.h"

#include "kube/private.h"

static const char *text_or_empty(struct arena *a, str value)
{
    str s = raw_string(a, value);
    return s.p ? s.p : "";
}

static bool read_metadata(struct arena *a, str metadata, struct kube_object *o)
{
    struct raw_iter it = raw_iter(metadata);
    str key, value;
    while (raw_next(&it, &key, &value)) {
        if (raw_is(key, "name"))
            o->name = text_or_empty(a, value);
        else if (raw_is(key, "namespace"))
            o->ns = text_or_empty(a, value);
        else if (raw_is(key, "uid"))
            o->uid = text_or_empty(a, value);
        else if (raw_is(key, "resourceVersion"))
            o->resource_version = text_or_empty(a, value);
    }
    return !it.bad;
}

int object_read_unnamed(struct arena *a, str raw, struct kube_object *ret, struct err *err)
{
    struct kube_object o = {
        .raw = raw, .api_version = "", .kind = "", .ns = "", .name = "", .uid = ""};
    o.resource_version = "";
    struct raw_iter it = raw_iter(raw);
    str key, value, metadata = {0};
    if (!it.object)
        return err_set(err, ERR_CORRUPT, "not a cluster object: not a JSON object");
    while (raw_next(&it, &key, &value)) {
        if (raw_is(key, "apiVersion"))
            o.api_version = text_or_empty(a, value);
        else if (raw_is(key, "kind"))
            o.kind = text_or_empty(a, value);
        else if (raw_is(key, "metadata"))
            metadata = value;
    }
    if (it.bad || (metadata.p && !read_metadata(a, metadata, &o)))
        return err_set(err, ERR_CORRUPT, "not a cluster object: broken JSON");
    if (!o.kind[0])
        return err_set(err, ERR_CORRUPT, "not a cluster object: it has no kind");
    *ret = o;
    return 0;
}

int kube_object_read(struct arena *a, str raw, struct kube_object *ret, struct err *err)
{
    struct kube_object o;
    if (object_read_unnamed(a, raw, &o, err) < 0)
        return -1;
    if (!o.name[0])
        return err_set(err, ERR_CORRUPT, "not a cluster object: a %s without metadata.name",
                       o.kind);
    *ret = o;
    return 0;
}

str object_complete(struct arena *a, const struct kube_type *t, str item)
{
    item = str_trim(item);
    bool version = raw_get(item, "apiVersion").p, kind = raw_get(item, "kind").p;
    if ((version && kind) || item.n < 2 || item.p[0] != '{')
        return arena_str(a, item);
    struct buf b CLEANUP(buf_free) = {0};
    buf_putc(&b, '{');
    if (!version) {
        buf_puts(&b, "\"apiVersion\":");
        raw_add_string(&b, str_of(kube_api_version(a, t)));
    }
    if (!kind) {
        buf_puts(&b, version ? "\"kind\":" : ",\"kind\":");
        raw_add_string(&b, str_of(t->kind));
    }
    struct raw_iter it = raw_iter(item);
    if (raw_next(&it, NULL, NULL))
        buf_putc(&b, ',');
    buf_add(&b, item.p + 1, item.n - 1);
    return arena_str(a, buf_view(&b));
}

struct kube_object kube_object_copy(struct arena *a, const struct kube_object *o)
{
    return (struct kube_object){
        .raw = arena_str(a, o->raw),
        .api_version = arena_strdup(a, o->api_version),
        .kind = arena_strdup(a, o->kind),
        .ns = arena_strdup(a, o->ns),
        .name = arena_strdup(a, o->name),
        .uid = arena_strdup(a, o->uid),
        .resource_version = arena_strdup(a, o->resource_version),
    };
}

const char *kube_api_version(struct arena *a, const struct kube_type *t)
{
    return t->group[0] ? arena_printf(a, "%s/%s", t->group, t->version)
                       : arena_strdup(a, t->version);
}

str kube_group_of(const char *api_version)
{
    const char *slash = strchr(api_version, '/');
    return slash ? (str){api_version, (size_t)(slash - api_version)} : (str){api_version, 0};
}

bool kube_object_is(const struct kube_object *o, const char *group, const char *kind)
{
    return streq(o->kind, kind) && str_is(kube_group_of(o->api_version), group);
}

const char *kube_annotation(struct arena *a, const struct kube_object *o, const char *key)
{
    return raw_text(a, o->raw, "metadata", "annotations", key, NULL);
}

const char *kube_label(struct arena *a, const struct kube_object *o, const char *key)
{
    return raw_text(a, o->raw, "metadata", "labels", key, NULL);
}

str kube_condition(str object, const char *type)
{
    struct raw_iter it = raw_iter(raw_at(object, "status", "conditions", NULL));
    for (str c; raw_next(&it, NULL, &c);)
        if (raw_is(raw_get(c, "type"), type))
            return c;
    return (str){0};
}

bool kube_condition_is(str object, const char *type, const char *status)
{
    return raw_is(raw_get(kube_condition(object, type), "status"), status);
}

bool kube_job_is_finished(const struct kube_object *job)
{
    return kube_condition_is(job->raw, "Complete", "True") ||
           kube_condition_is(job->raw, "Failed", "True");
}

struct raw_iter kube_owners(const struct kube_object *o)
{
    return raw_iter(raw_at(o->raw, "metadata", "ownerReferences", NULL));
}

bool kube_owner_next(struct arena *a, struct raw_iter *it, struct kube_owner *ret)
{
    str value;
    if (it->object || !raw_next(it, NULL, &value))
        return false;
    *ret = (struct kube_owner){
        .api_version = text_or_empty(a, raw_get(value, "apiVersion")),
        .kind = text_or_empty(a, raw_get(value, "kind")),
        .name = text_or_empty(a, raw_get(value, "name")),
        .uid = text_or_empty(a, raw_get(value, "uid")),
        .controller = raw_true(raw_get(value, "controller")),
    };
    return true;
}
