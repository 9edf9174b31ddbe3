#include "reconciler/restore/prepare.h"

#include "core/jsonedit.h"
#include "reconciler/judge.h"

/* One edit after the other on the same text; the first failure stays. */
struct edit {
    struct arena *a;
    str text;
    struct err *err;
    bool failed;
};

static void edit_remove(struct edit *e, const char *const *path)
{
    if (!e->failed && raw_remove(e->a, e->text, path, &e->text, e->err) < 0)
        e->failed = true;
}

static void edit_set(struct edit *e, const char *const *path, str value)
{
    if (!e->failed && raw_set(e->a, e->text, path, value, &e->text, e->err) < 0)
        e->failed = true;
}

static void edit_set_json(struct edit *e, const char *const *path, const json_t *value)
{
    struct buf text CLEANUP(buf_free) = {0};
    json_print(&text, value);
    edit_set(e, path, arena_str(e->a, buf_view(&text)));
}

/* Removes a map that became empty: the server would not have sent it. */
static void edit_drop_empty(struct edit *e, const char *member)
{
    str value = raw_at(e->text, "metadata", member, NULL);
    struct raw_iter it = raw_iter(value);
    str key, item;
    if (value.p && !raw_next(&it, &key, &item))
        edit_remove(e, JSON_PATH("metadata", member));
}

static void strip_metadata(struct edit *e)
{
    static const char *const lost[] = {
        "uid",           "resourceVersion", "generation",        "creationTimestamp",
        "selfLink",      "generateName",    "finalizers",        "deletionGracePeriodSeconds",
        "managedFields", "ownerReferences", "deletionTimestamp",
    };
    for (size_t i = 0; i < ARRAY_LEN(lost); i++)
        edit_remove(e, JSON_PATH("metadata", lost[i]));
    edit_remove(e, JSON_PATH("status"));
}

static void strip_claim(struct edit *e)
{
    static const char *const lost[] = {
        "pv.kubernetes.io/bind-completed",          "pv.kubernetes.io/bound-by-controller",
        "volume.kubernetes.io/storage-provisioner", "volume.beta.kubernetes.io/storage-provisioner",
        "volume.kubernetes.io/selected-node",
    };
    for (size_t i = 0; i < ARRAY_LEN(lost); i++)
        edit_remove(e, JSON_PATH("metadata", "annotations", lost[i]));
    edit_remove(e, JSON_PATH("spec", "volumeName"));
}

static bool somebody_owns(str managed, const char *field)
{
    char *name CLEANUP(free_p) = xasprintf("\"f:%s\"", field);
    return managed.p && memmem(managed.p, managed.n, name, strlen(name)) != NULL;
}

static int strip_service(struct edit *e, str managed)
{
    str spec = raw_get(e->text, "spec");
    if (!raw_is(raw_get(spec, "clusterIP"), "None") && !somebody_owns(managed, "clusterIP")) {
        edit_remove(e, JSON_PATH("spec", "clusterIP"));
        edit_remove(e, JSON_PATH("spec", "clusterIPs"));
    }
    edit_remove(e, JSON_PATH("spec", "healthCheckNodePort"));
    str ports = raw_at(e->text, "spec", "ports", NULL);
    if (e->failed || !ports.p || somebody_owns(managed, "nodePort"))
        return 0;
    json_t *list CLEANUP_JSON = NULL;
    if (json_parse(ports, &list, e->err) < 0)
        return err_wrap(e->err, "spec.ports");
    size_t i;
    json_t *port;
    bool changed = false;
    json_array_foreach(list, i, port) changed |= json_object_del(port, "nodePort") == 0;
    if (changed)
        edit_set_json(e, JSON_PATH("spec", "ports"), list);
    return 0;
}

/* Drops "<account>-token-..." and "<account>-dockercfg-...": the platform makes them for each
 * account, and a reference to one that is gone blocks pods. */
static int strip_account(struct edit *e, const char *account)
{
    static const char *const lists[] = {"secrets", "imagePullSecrets"};
    char *token CLEANUP(free_p) = xasprintf("%s-token-", account);
    char *docker CLEANUP(free_p) = xasprintf("%s-dockercfg-", account);
    for (size_t l = 0; l < ARRAY_LEN(lists); l++) {
        str raw = raw_get(e->text, lists[l]);
        if (!raw.p)
            continue;
        json_t *list CLEANUP_JSON = NULL;
        if (json_parse(raw, &list, e->err) < 0)
            return err_wrap(e->err, "%s", lists[l]);
        bool changed = false;
        for (size_t i = json_array_size(list); i-- > 0;) {
            const char *name = json_text_at(json_array_get(list, i), "name", NULL);
            if (name && (str_starts(str_of(name), token) || str_starts(str_of(name), docker))) {
                json_array_remove(list, i);
                changed = true;
            }
        }
        if (changed && json_array_size(list) == 0)
            edit_remove(e, JSON_PATH(lists[l]));
        else if (changed)
            edit_set_json(e, JSON_PATH(lists[l]), list);
    }
    return 0;
}

#define ACCOUNT_UID "kubernetes.io/service-account.uid"

static void strip_token(struct edit *e)
{
    edit_remove(e, JSON_PATH("data"));
    edit_remove(e, JSON_PATH("metadata", "annotations", ACCOUNT_UID));
}

static void strip_job(struct edit *e)
{
    static const char *const labels[] = {"controller-uid", "batch.kubernetes.io/controller-uid"};
    for (size_t i = 0; i < ARRAY_LEN(labels); i++) {
        edit_remove(e, JSON_PATH("metadata", "labels", labels[i]));
        edit_remove(e, JSON_PATH("spec", "template", "metadata", "labels", labels[i]));
    }
    if (!raw_true(raw_at(e->text, "spec", "manualSelector", NULL)))
        edit_remove(e, JSON_PATH("spec", "selector"));
    edit_remove(e, JSON_PATH("spec", "ttlSecondsAfterFinished"));
}

/* A workload that was backed up while a restore had stopped it is stored as it was before that. */
static int undo_stopped(struct edit *e, const struct kube_object *stored, str *managed)
{
    const char *text = kube_annotation(e->a, stored, STOPPED_ANNOTATION);
    if (!text)
        return 0;
    str replicas = raw_get(str_of(text), "replicas"),
        before = raw_get(str_of(text), "managedFields");
    int64_t n;
    if (!raw_int(replicas, &n))
        return err_set(e->err, ERR_CORRUPT, "%s %s: the annotation %s is broken", stored->kind,
                       stored->name, STOPPED_ANNOTATION);
    edit_set(e, JSON_PATH("spec", "replicas"), replicas);
    if (before.p)
        *managed = before;
    edit_remove(e, JSON_PATH("metadata", "annotations", STOPPED_ANNOTATION));
    return 0;
}

static int strip_kind(struct edit *e, const struct kube_object *o, str managed)
{
    if (kube_object_is(o, "", "PersistentVolumeClaim"))
        strip_claim(e);
    else if (kube_object_is(o, "", "Service"))
        return strip_service(e, managed);
    else if (kube_object_is(o, "", "ServiceAccount"))
        return strip_account(e, o->name);
    else if (kube_object_is(o, "batch", "Job"))
        strip_job(e);
    else if (verdict_is_token(o))
        strip_token(e);
    return 0;
}

/* The references whose owner lives, with its uid of today. */
static int remap_owners(struct edit *e, const struct kube_object *stored, prepare_owner_fn *owner,
                        void *ctx, unsigned *ret_lost)
{
    json_t *out CLEANUP_JSON = json_array();
    struct raw_iter it = raw_iter(raw_at(stored->raw, "metadata", "ownerReferences", NULL));
    str key, raw;
    while (raw_next(&it, &key, &raw)) {
        struct kube_owner o = {.api_version = raw_text(e->a, raw, "apiVersion", NULL),
                               .kind = raw_text(e->a, raw, "kind", NULL),
                               .name = raw_text(e->a, raw, "name", NULL),
                               .uid = raw_text(e->a, raw, "uid", NULL),
                               .controller = raw_true(raw_get(raw, "controller"))};
        if (!o.api_version || !o.kind || !o.name || !o.uid)
            return err_set(e->err, ERR_CORRUPT, "%s %s: an ownerReference is broken", stored->kind,
                           stored->name);
        const char *uid = NULL;
        if (owner(ctx, &o, &uid, e->err) < 0)
            return -1;
        json_t *ref = NULL;
        if (!uid) {
            (*ret_lost)++;
        } else if (json_parse(raw, &ref, e->err) < 0) {
            return -1;
        } else {
            json_object_set_new(ref, "uid", json_string(uid));
            json_array_append_new(out, ref);
        }
    }
    if (json_array_size(out) > 0)
        edit_set_json(e, JSON_PATH("metadata", "ownerReferences"), out);
    return 0;
}

int prepare_object(struct arena *a, const struct kube_object *stored, prepare_owner_fn *owner,
                   void *ctx, struct prepared *ret, struct err *err)
{
    struct edit e = {.a = a, .text = stored->raw, .err = err};
    str managed = raw_at(stored->raw, "metadata", "managedFields", NULL);
    unsigned lost = 0;
    if (undo_stopped(&e, stored, &managed) < 0)
        return -1;
    strip_metadata(&e);
    if (strip_kind(&e, stored, managed) < 0)
        return err_wrap(err, "%s %s", stored->kind, stored->name);
    if (owner && remap_owners(&e, stored, owner, ctx, &lost) < 0)
        return -1;
    if (lost) {
        /* An engine that tracks by these would take an object without owners for its own and prune
         * it. */
        edit_remove(&e, JSON_PATH("metadata", "annotations", "argocd.argoproj.io/tracking-id"));
        edit_remove(&e, JSON_PATH("metadata", "annotations", "argocd.argoproj.io/installation-id"));
    }
    edit_drop_empty(&e, "annotations");
    edit_drop_empty(&e, "labels");
    if (e.failed)
        return err_wrap(err, "preparing %s %s", stored->kind, stored->name);
    *ret = (struct prepared){.body = e.text, .managed = managed, .owners_lost = lost};
    return 0;
}

/* The live value of a member, where the prepared object leaves it to the cluster. */
static void keep_live(struct edit *e, const struct kube_object *live, const char *a, const char *b)
{
    str have = raw_at(e->text, a, b, NULL), value = raw_at(live->raw, a, b, NULL);
    if (!have.p && value.p)
        edit_set(e, JSON_PATH(a, b), value);
}

static void keep_token(struct edit *e, const struct kube_object *live)
{
    str data = raw_get(live->raw, "data");
    str uid = raw_at(live->raw, "metadata", "annotations", ACCOUNT_UID, NULL);
    if (data.p)
        edit_set(e, JSON_PATH("data"), data);
    if (uid.p)
        edit_set(e, JSON_PATH("metadata", "annotations", ACCOUNT_UID), uid);
}

int prepare_replace(struct arena *a, const struct prepared *p, const struct kube_object *live,
                    str *ret, struct err *err)
{
    struct edit e = {.a = a, .text = p->body, .err = err};
    static const char *const live_metadata[] = {"uid", "resourceVersion", "finalizers",
                                                "ownerReferences"};
    for (size_t i = 0; i < ARRAY_LEN(live_metadata); i++) {
        str value = raw_at(live->raw, "metadata", live_metadata[i], NULL);
        if (value.p)
            edit_set(&e, JSON_PATH("metadata", live_metadata[i]), value);
    }
    if (kube_object_is(live, "", "Service")) {
        keep_live(&e, live, "spec", "clusterIP");
        keep_live(&e, live, "spec", "clusterIPs");
        keep_live(&e, live, "spec", "healthCheckNodePort");
    }
    if (verdict_is_token(live))
        keep_token(&e, live);
    if (e.failed)
        return err_wrap(err, "preparing %s %s", live->kind, live->name);
    *ret = e.text;
    return 0;
}

/* ---- comparing ---- */

enum { PATH_MAX_DEPTH = 64 };

struct compare {
    struct arena *a;
    bool exact;
    prepare_may_differ_fn *may_differ;
    void *ctx;
    const char *path[PATH_MAX_DEPTH + 1];
    size_t depth;
    const char *where;
};

static bool differs(struct compare *c)
{
    c->path[c->depth] = NULL;
    if (c->may_differ && c->may_differ(c->ctx, c->path))
        return false;
    struct buf text CLEANUP(buf_free) = {0};
    for (size_t i = 0; i < c->depth; i++)
        buf_printf(&text, "%s%s", i ? "." : "", c->path[i]);
    c->where = arena_str(c->a, buf_view(&text)).p;
    return true;
}

/* False where they differ (and c->where says so). */
static bool same(struct compare *c, json_t *want, json_t *have)
{
    if (!json_is_object(want) || !json_is_object(have) || c->depth >= PATH_MAX_DEPTH)
        return json_equal(want, have) || !differs(c);
    const char *key;
    json_t *value;
    json_object_foreach(want, key, value)
    {
        json_t *other = json_object_get(have, key);
        c->path[c->depth++] = key;
        bool ok = other ? same(c, value, other) : !differs(c);
        c->depth--;
        if (!ok)
            return false;
    }
    if (!c->exact)
        return true;
    json_object_foreach(have, key, value)
    {
        if (json_object_get(want, key))
            continue;
        c->path[c->depth++] = key;
        bool ok = !differs(c);
        c->depth--;
        if (!ok)
            return false;
    }
    return true;
}

/* What is compared: no status, and of metadata only labels and annotations. */
static int comparable(str body, json_t **ret, struct err *err)
{
    json_t *j;
    if (json_parse(body, &j, err) < 0)
        return -1;
    json_t *metadata = json_object_get(j, "metadata"), *kept = json_object();
    static const char *const names[] = {"labels", "annotations"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (json_object_size(json_object_get(metadata, names[i])) > 0)
            json_object_set(kept, names[i], json_object_get(metadata, names[i]));
    json_object_set_new(j, "metadata", kept);
    json_object_del(j, "status");
    json_object_del(j, "apiVersion");
    *ret = j;
    return 0;
}

/* Member by member; metadata is left out. */
static bool same_bytes(str want, str have, const char **ret_where)
{
    static const char *const members[] = {"spec", "data", "binaryData", "type"};
    for (size_t i = 0; i < ARRAY_LEN(members); i++)
        if (!str_eq(raw_get(want, members[i]), raw_get(have, members[i]))) {
            *ret_where = members[i];
            return false;
        }
    *ret_where = "";
    return true;
}

int prepare_compare(struct arena *a, const struct prepared *p, const struct kube_object *live,
                    bool exact, prepare_may_differ_fn *may_differ, void *ctx, bool *ret_same,
                    const char **ret_where, struct err *err)
{
    struct prepared now;
    if (prepare_object(a, live, NULL, NULL, &now, err) < 0)
        return -1;
    json_t *want CLEANUP_JSON = NULL, *have CLEANUP_JSON = NULL;
    struct err why;
    if (comparable(p->body, &want, &why) < 0 || comparable(now.body, &have, &why) < 0) {
        /* Numbers that no JSON library holds: the bytes decide. */
        *ret_same = same_bytes(p->body, now.body, ret_where);
        return 0;
    }
    struct compare c = {.a = a, .exact = exact, .may_differ = may_differ, .ctx = ctx, .where = ""};
    *ret_same = same(&c, want, have);
    *ret_where = c.where;
    return 0;
}
