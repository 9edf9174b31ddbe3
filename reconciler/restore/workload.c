#include "reconciler/restore/workload.h"

#include "core/jsonedit.h"
#include "reconciler/restore/fields.h"
#include "reconciler/restore/prepare.h"

const struct kube_type *const workload_types[] = {&KUBE_DEPLOYMENT, &KUBE_STATEFULSET, NULL};

const struct kube_type *workload_type(const char *group, const char *kind)
{
    for (const struct kube_type *const *t = workload_types; *t; t++)
        if (streq((*t)->group, group) && streq((*t)->kind, kind))
            return *t;
    return NULL;
}

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
        s.target = raw_text(a, text, "target", NULL);
        raw_int(raw_get(text, "generation"), &s.generation);
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

static int64_t replicas_of(const struct kube_object *o)
{
    int64_t replicas = 1; /* the server's default */
    raw_int(raw_at(o->raw, "spec", "replicas", NULL), &replicas);
    return replicas;
}

/* A new annotation is a new generation of a Deployment, and of nothing else. Source:
 * k8s.io/kubernetes pkg/registry/apps/deployment/strategy.go. */
static bool counts_annotations(const struct kube_object *o)
{
    return streq(o->kind, "Deployment");
}

/* Its metadata.generation once it bears a note and is scaled to 0 from what it is now. */
static long long generation_stopped(const struct kube_object *o)
{
    int64_t now;
    if (!raw_int(raw_at(o->raw, "metadata", "generation", NULL), &now))
        return 0;
    return (long long)(now + (replicas_of(o) || counts_annotations(o)));
}

bool workload_is_still(const struct kube_object *o, const struct stopped *s)
{
    int64_t now = 0;
    raw_int(raw_at(o->raw, "metadata", "generation", NULL), &now);
    return replicas_of(o) == 0 && (!s->generation || s->generation == now);
}

int workload_may_stop(const struct kube_object *o, struct err *err)
{
    if (!raw_is(raw_at(o->raw, "spec", "persistentVolumeClaimRetentionPolicy", "whenScaled", NULL),
                "Delete"))
        return 0;
    return err_set(err, ERR_REFUSED,
                   "%s %s is to be scaled to 0, and Kubernetes would delete its claims with it "
                   "(spec.persistentVolumeClaimRetentionPolicy.whenScaled: Delete): set whenScaled "
                   "to Retain in Git first, and see that it is so on the object",
                   o->kind, o->name);
}

/* Scales to 0, with this note. */
static int send_stopped(struct kube *k, struct arena *a, const struct kube_type *t,
                        const struct kube_object *o, str note, struct err *err)
{
    if (workload_may_stop(o, err) < 0)
        return -1;
    json_t *body CLEANUP_JSON = patch_of(o);
    json_object_set_new(json_object_get(body, "metadata"), "annotations",
                        json_pack("{s:s%}", STOPPED_ANNOTATION, note.p, note.n));
    json_object_set_new(body, "spec", json_pack("{s:i}", "replicas", 0));
    return send(k, a, t, o, body, NULL, err);
}

/* The note that is there already, as this Restore's: how it was before stays in it. */
static int renote(struct arena *a, const struct stopped *s, const struct kube_object *o,
                  const struct stopper *by, str *ret, struct err *err)
{
    struct buf name CLEANUP(buf_free) = {0}, uid CLEANUP(buf_free) = {0},
                    target CLEANUP(buf_free) = {0};
    str note;
    raw_add_string(&name, str_of(by->restore));
    raw_add_string(&uid, str_of(by->uid));
    raw_add_string(&target, str_of(by->target));
    str generation = str_of(arena_printf(a, "%lld", generation_stopped(o)));
    if (raw_set(a, str_of(s->text), JSON_PATH("restore"), buf_view(&name), &note, err) < 0 ||
        raw_set(a, note, JSON_PATH("uid"), buf_view(&uid), &note, err) < 0 ||
        raw_set(a, note, JSON_PATH("target"), buf_view(&target), &note, err) < 0 ||
        raw_set(a, note, JSON_PATH("generation"), generation, &note, err) < 0)
        return -1;
    *ret = note;
    return 0;
}

/* The first note on a workload: how it is now. */
static str note_of(struct arena *a, const struct kube_object *o, const struct stopper *by)
{
    str managed = raw_at(o->raw, "metadata", "managedFields", NULL);
    struct buf note CLEANUP(buf_free) = {0};
    buf_puts(&note, "{\"restore\":");
    raw_add_string(&note, str_of(by->restore));
    buf_puts(&note, ",\"uid\":");
    raw_add_string(&note, str_of(by->uid));
    buf_puts(&note, ",\"target\":");
    raw_add_string(&note, str_of(by->target));
    buf_printf(&note, ",\"replicas\":%lld,\"generation\":%lld,\"managedFields\":",
               (long long)replicas_of(o), generation_stopped(o));
    buf_str(&note, managed.p ? managed : STR("[]"));
    buf_putc(&note, '}');
    return arena_str(a, buf_view(&note));
}

int workload_stop(struct kube *k, struct arena *a, const struct kube_type *t,
                  const struct kube_object *o, const struct stopper *by, struct err *err)
{
    struct stopped s;
    if (stopped_read(a, o, &s, err) < 0)
        return -1;
    if (!s.text)
        return send_stopped(k, a, t, o, note_of(a, o, by), err);
    if (!streq(s.uid, by->uid))
        return err_set(err, ERR_REFUSED, "%s %s/%s was stopped by Restore %s", o->kind, o->ns,
                       o->name, s.restore);
    return workload_is_still(o, &s) ? 0 : workload_adopt(k, a, t, o, by, err);
}

int workload_adopt(struct kube *k, struct arena *a, const struct kube_type *t,
                   const struct kube_object *o, const struct stopper *by, struct err *err)
{
    struct stopped s;
    str note;
    if (stopped_read(a, o, &s, err) < 0)
        return -1;
    if (!s.text)
        return 0;
    if (renote(a, &s, o, by, &note, err) < 0)
        return -1;
    return send_stopped(k, a, t, o, note, err);
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
    const char *next = arena_printf(a, "%lld", (long long)s.generation + 1);
    if (s.generation && counts_annotations(o) &&
        raw_set(a, note, JSON_PATH("generation"), str_of(next), &note, err) < 0)
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
    if (replicas_of(o) != s.replicas) {
        json_t *body CLEANUP_JSON = patch_of(o);
        json_object_set_new(body, "spec", json_pack("{s:I}", "replicas", (json_int_t)s.replicas));
        if (send(k, a, t, o, body, &now, err) < 0)
            return -1;
    }
    return object_give_back(k, a, t, &now, s.managed, NULL, true, err);
}
