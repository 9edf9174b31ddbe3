#include "reconciler/restore/workload.h"

#include "core/jsonedit.h"
#include "reconciler/restore/fields.h"
#include "reconciler/restore/prepare.h"

int stopped_read(struct arena *a, const struct kube_object *workload, struct stopped *ret,
                 struct err *err)
{
    struct stopped s = {.text = kube_annotation(a, workload, STOPPED_ANNOTATION)};
    if (s.text) {
        str text = str_of(s.text);
        s.restore = raw_text(a, text, "restore", NULL);
        s.uid = raw_text(a, text, "uid", NULL);
        s.managed = raw_get(text, "managedFields");
        s.cleared = raw_is(raw_get(text, "state"), "cleared");
        if (!s.restore || !s.uid || !raw_int(raw_get(text, "replicas"), &s.replicas))
            return err_set(err, ERR_CORRUPT,
                           "%s %s/%s: the annotation %s is broken; set its replicas and remove the "
                           "annotation by hand",
                           workload->kind, workload->ns, workload->name, STOPPED_ANNOTATION);
    }
    *ret = s;
    return 0;
}

/* {"metadata":{"uid","resourceVersion"}}: a patch that hits this very object in this very state. */
static json_t *patch_of(const struct kube_object *o)
{
    return json_pack("{s:{s:s, s:s}}", "metadata", "uid", o->uid, "resourceVersion",
                     o->resource_version);
}

static int send(struct kube *k, struct arena *a, const struct kube_type *t,
                const struct kube_object *o, const json_t *body, struct kube_object *ret,
                struct err *err)
{
    struct buf text CLEANUP(buf_free) = {0};
    json_print(&text, body);
    if (kube_patch(k, a, t, o->ns, o->name, KUBE_PATCH_MERGE, buf_view(&text), NULL, ret, err) < 0)
        return err_wrap(err, "%s %s/%s", o->kind, o->ns, o->name);
    return 0;
}

int workload_stop(struct kube *k, struct arena *a, const struct kube_type *t,
                  const struct kube_object *o, const char *restore, const char *restore_uid,
                  struct err *err)
{
    struct stopped s;
    if (stopped_read(a, o, &s, err) < 0)
        return -1;
    if (s.text && streq(s.uid, restore_uid))
        return 0;
    if (s.text)
        return err_set(err, ERR_REFUSED, "%s %s/%s was stopped by Restore %s", o->kind, o->ns,
                       o->name, s.restore);
    int64_t replicas = 1; /* the server's default */
    raw_int(raw_at(o->raw, "spec", "replicas", NULL), &replicas);
    str managed = raw_at(o->raw, "metadata", "managedFields", NULL);
    struct buf note CLEANUP(buf_free) = {0};
    buf_puts(&note, "{\"restore\":");
    raw_add_string(&note, str_of(restore));
    buf_puts(&note, ",\"uid\":");
    raw_add_string(&note, str_of(restore_uid));
    buf_printf(&note, ",\"replicas\":%lld,\"managedFields\":", (long long)replicas);
    buf_str(&note, managed.p ? managed : STR("[]"));
    buf_putc(&note, '}');

    json_t *body CLEANUP_JSON = patch_of(o);
    json_object_set_new(json_object_get(body, "metadata"), "annotations",
                        json_pack("{s:s}", STOPPED_ANNOTATION, note.p));
    json_object_set_new(body, "spec", json_pack("{s:i}", "replicas", 0));
    return send(k, a, t, o, body, NULL, err);
}

int workload_adopt(struct kube *k, struct arena *a, const struct kube_type *t,
                   const struct kube_object *o, const char *restore, const char *restore_uid,
                   struct err *err)
{
    struct stopped s;
    struct buf name CLEANUP(buf_free) = {0}, uid CLEANUP(buf_free) = {0};
    str note;
    raw_add_string(&name, str_of(restore));
    raw_add_string(&uid, str_of(restore_uid));
    if (stopped_read(a, o, &s, err) < 0)
        return -1;
    if (!s.text)
        return 0;
    if (raw_set(a, str_of(s.text), JSON_PATH("restore"), buf_view(&name), &note, err) < 0 ||
        raw_set(a, note, JSON_PATH("uid"), buf_view(&uid), &note, err) < 0)
        return -1;
    json_t *body CLEANUP_JSON = patch_of(o);
    json_object_set_new(json_object_get(body, "metadata"), "annotations",
                        json_pack("{s:s%}", STOPPED_ANNOTATION, note.p, note.n));
    json_object_set_new(body, "spec", json_pack("{s:i}", "replicas", 0));
    return send(k, a, t, o, body, NULL, err);
}

int workload_mark_cleared(struct kube *k, struct arena *a, const struct kube_type *t,
                          const struct kube_object *o, const char *restore_uid, struct err *err)
{
    struct stopped s;
    str note;
    if (stopped_read(a, o, &s, err) < 0)
        return -1;
    if (!s.text || !streq(s.uid, restore_uid) || s.cleared)
        return 0;
    if (raw_set(a, str_of(s.text), JSON_PATH("state"), STR("\"cleared\""), &note, err) < 0)
        return -1;
    json_t *body CLEANUP_JSON = patch_of(o);
    json_object_set_new(json_object_get(body, "metadata"), "annotations",
                        json_pack("{s:s%}", STOPPED_ANNOTATION, note.p, note.n));
    return send(k, a, t, o, body, NULL, err);
}

int object_give_back(struct kube *k, struct arena *a, const struct kube_type *t,
                     const struct kube_object *live, str saved, const char *heir, bool drop_note,
                     struct err *err)
{
    str fields;
    if (fields_give_back(a, raw_at(live->raw, "metadata", "managedFields", NULL), saved, heir,
                         &fields, err) < 0)
        return err_wrap(err, "%s %s/%s", live->kind, live->ns, live->name);
    if (!fields.p && !drop_note)
        return 0;
    json_t *body CLEANUP_JSON = patch_of(live);
    json_t *metadata = json_object_get(body, "metadata");
    if (fields.p) {
        json_t *list;
        if (json_parse(fields, &list, err) < 0)
            return -1;
        json_object_set_new(metadata, "managedFields", list);
    }
    if (drop_note)
        json_object_set_new(metadata, "annotations", json_pack("{s:n}", STOPPED_ANNOTATION));
    return send(k, a, t, live, body, NULL, err);
}

int workload_start(struct kube *k, struct arena *a, const struct kube_type *t,
                   const struct kube_object *o, struct err *err)
{
    struct stopped s;
    struct kube_object now = *o;
    if (stopped_read(a, o, &s, err) < 0)
        return -1;
    if (!s.text)
        return 0;
    int64_t replicas = 1;
    raw_int(raw_at(o->raw, "spec", "replicas", NULL), &replicas);
    if (replicas != s.replicas) {
        json_t *body CLEANUP_JSON = patch_of(o);
        json_object_set_new(body, "spec", json_pack("{s:I}", "replicas", (json_int_t)s.replicas));
        if (send(k, a, t, o, body, &now, err) < 0)
            return -1;
    }
    return object_give_back(k, a, t, &now, s.managed, NULL, true, err);
}
