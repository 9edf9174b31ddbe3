#include "reconciler/store/synced.h"

#include "core/clock.h"
#include "reconciler/schedule/history.h"
#include "reconciler/snapshot_layout.h"
#include "reconciler/status.h"
#include "reconciler/target_lease.h"
#include "store/stream.h"
#include "store/tree.h"

enum { META_MAX = 32 << 20, ROWS_MAX = 100, TEXTS_MAX = 21, FILL_TRIES = 5 };

/* ---- the resource ---- */

/* What a label may hold. */
static bool is_label(const char *text)
{
    size_t n = strlen(text);
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!alnum && (i == 0 || i + 1 == n || !strchr("-_.", c)))
            return false;
    }
    return n > 0 && n <= 63;
}

/* The name of "namespace/name". */
static const char *base_of(const char *full)
{
    const char *slash = full ? strchr(full, '/') : NULL;
    return slash ? slash + 1 : full;
}

void synced_body(struct buf *out, const char *ns, const char *name, const char *store,
                 const struct recorded *r)
{
    const char *schedule = base_of(r->schedule);
    json_t *labels = json_object(), *notes = json_object(), *spec;
    json_object_set_new(notes, BACKUP_UID_ANNOTATION, json_string(r->uid));
    if (schedule) {
        char label[64];
        snprintf(label, sizeof label, "%.63s", schedule);
        json_object_set_new(notes, BACKUP_SCHEDULE_ANNOTATION, json_string(schedule));
        if (is_label(label))
            json_object_set_new(labels, BACKUP_SCHEDULE_ANNOTATION, json_string(label));
    }
    if (r->safety && is_label(r->safety))
        json_object_set_new(labels, LEASE_SAFETY_LABEL, json_string(r->safety));
    spec = json_pack("{s:{s:s, s:s, s:s}, s:{s:s}, s:s}", "target", "kind", r->kind, "namespace",
                     r->target_ns, "name", r->target, "storeRef", "name", store, "keep",
                     r->safety ? "All" : "Residue");
    if (r->ttl_ms)
        json_object_set_new(spec, "ttl", json_string(r->ttl));
    json_t *body CLEANUP_JSON =
        json_pack("{s:s, s:s, s:{s:s, s:s, s:o, s:o}, s:o}", "apiVersion", "gleaner.dev/v1alpha1",
                  "kind", "Backup", "metadata", "name", name, "namespace", ns, "labels", labels,
                  "annotations", notes, "spec", spec);
    json_print(out, body);
}

static bool is_of(struct arena *a, const struct kube_object *o, const char *store,
                  const struct recorded *r)
{
    const char *uid = kube_annotation(a, o, BACKUP_UID_ANNOTATION);
    const char *at = raw_text(a, o->raw, "spec", "storeRef", "name", NULL);
    return streq(uid, r->uid) && streq(at, store);
}

/* 1: made, or found as an earlier try left it; 0: the name is another's. */
static int make_as(struct context *cx, struct arena *a, const char *name, const char *store,
                   const struct recorded *r, struct err *err)
{
    struct buf body CLEANUP(buf_free) = {0};
    struct kube_object o;
    synced_body(&body, cx->ns, name, store, r);
    if (kube_create(cx->kube, a, &KUBE_BACKUP, cx->ns, buf_view(&body), NULL, NULL, err) == 0)
        return 1;
    if (err->kind != ERR_EXISTS || kube_get(cx->kube, a, &KUBE_BACKUP, cx->ns, name, &o, err) < 0)
        return -1;
    if (streq(o.uid, r->uid))
        return err_set(err, ERR_EXISTS, "Backup %s/%s is that very one", o.ns, o.name);
    return is_of(a, &o, store, r);
}

static int make(struct context *cx, struct arena *a, const char *store, const struct recorded *r,
                const char **ret_name, struct err *err)
{
    const char *other =
        arena_printf(a, "%.*s-%.8s", STR_FMT(schedule_cut_name(r->name, 200)), r->snapshot);
    const char *names[] = {r->name, other};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        int made = make_as(cx, a, names[i], store, r, err);
        if (made < 0)
            return err_wrap(err, "making Backup %s/%s for snapshot %.8s", cx->ns, names[i],
                            r->snapshot);
        *ret_name = names[i];
        if (made)
            return 0;
    }
    return err_set(err, ERR_REFUSED,
                   "snapshot %.8s: the names %s and %s of its Backup are taken by others",
                   r->snapshot, names[0], names[1]);
}

/* ---- what the snapshot knows ---- */

static int gather(void *ctx, const void *p, size_t n, struct err *err)
{
    struct buf *b = ctx;
    buf_add(b, p, n);
    return b->overflow ? err_set(err, ERR_TOO_LARGE, "larger than it may be") : 0;
}

static int load_json(struct arena *a, struct repository *repo, const struct snapshot *s,
                     const char *path, json_t **ret, struct err *err)
{
    struct buf text CLEANUP(buf_free) = {.cap = META_MAX};
    struct node node;
    struct err why;
    if (tree_find(repo, &s->tree, path, a, &node, err) < 0 ||
        stream_load(repo, node.content, node.content_n, gather, &text, err) < 0)
        return err_wrap(err, "/%s", path);
    if (json_parse(buf_view(&text), ret, &why) < 0 || !json_is_object(*ret))
        return err_set(err, ERR_CORRUPT, "/%s is no such text", path);
    return 0;
}

static void copy_text(json_t *to, json_t *from, const char *member)
{
    const char *text = json_text_at(from, member, NULL);
    if (text)
        json_object_set_new(to, member, json_string(text));
}

static void copy_time(json_t *to, json_t *from, const char *member)
{
    int64_t ms;
    char time[CLOCK_RFC3339];
    const char *text = json_text_at(from, member, NULL);
    if (!text || !clock_parse(str_of(text), &ms))
        return;
    clock_format(ms, time);
    json_object_set_new(to, member, json_string(time));
}

/* Rows as the Backup's own status had them. The file was written by whoever can write the store:
 * only members of the right type are taken. */
static json_t *volume_rows(json_t *meta)
{
    json_t *rows = json_array(), *row;
    size_t i;
    json_array_foreach(json_object_get(meta, "volumes"), i, row)
    {
        static const char *const phases[] = {"Pending", "Running", "Completed", "PartiallyFailed",
                                             "Failed"};
        const char *claim = json_text_at(row, "claim", NULL);
        const char *phase = json_text_at(row, "phase", NULL), *known = "Failed";
        const char *consistency = json_text_at(row, "consistency", NULL);
        if (!claim || json_array_size(rows) == ROWS_MAX)
            continue;
        for (size_t p = 0; p < ARRAY_LEN(phases); p++)
            known = streq(phase, phases[p]) ? phases[p] : known;
        json_t *v = json_pack("{s:s, s:s}", "claim", claim, "phase", known);
        copy_time(v, row, "since");
        copy_text(v, row, "tree");
        copy_text(v, row, "root");
        if (streq(consistency, "live") || streq(consistency, "stopped"))
            copy_text(v, row, "consistency");
        if (json_is_integer(json_object_get(row, "problems")))
            json_object_set(v, "problems", json_object_get(row, "problems"));
        json_array_append_new(rows, v);
    }
    return rows;
}

static json_t *declared(json_t *meta)
{
    json_t *from = json_object_get(meta, "declared"), *d = json_object();
    static const char *const members[] = {"engine", "source", "revision", "why"};
    const char *reachable = json_text_at(from, "reachable", NULL);
    for (size_t i = 0; i < ARRAY_LEN(members); i++)
        copy_text(d, from, members[i]);
    if (streq(reachable, "true") || streq(reachable, "false") || streq(reachable, "unknown"))
        copy_text(d, from, "reachable");
    return d;
}

static json_t *counts(json_t *plan)
{
    json_t *summary = json_object_get(plan, "summary"), *c = json_object(), *value;
    static const char *const members[] = {"objects", "keptObjects", "keptFields", "notKept"};
    const char *class;
    for (size_t i = 0; i < ARRAY_LEN(members); i++)
        if (json_is_integer(json_object_get(summary, members[i])))
            json_object_set(c, members[i], json_object_get(summary, members[i]));
    json_t *classes = json_object();
    json_object_foreach(json_object_get(summary, "classes"), class, value)
    {
        if (json_is_integer(value))
            json_object_set(classes, class, value);
    }
    json_object_set_new(c, "classes", classes);
    return c;
}

static json_t *texts(json_t *list)
{
    json_t *out = json_array(), *text;
    size_t i;
    json_array_foreach(list, i, text)
    {
        if (json_is_string(text) && json_array_size(out) < TEXTS_MAX)
            json_array_append(out, text);
    }
    return out;
}

/* ---- its status ---- */

static int fill_once(struct context *cx, struct arena *a, struct opened *o, const char *content_ns,
                     const struct snapshot *s, const struct recorded *r, const char *ns,
                     const char *name, struct err *err)
{
    struct status st CLEANUP(status_free) = {0};
    json_t *meta CLEANUP_JSON = NULL, *plan CLEANUP_JSON = NULL;
    char time[CLOCK_RFC3339], id[STORE_ID_HEX];
    if (status_read(cx->kube, a, &KUBE_BACKUP, ns, name, &st, err) < 0)
        return -1;
    if (*status_text(&st, "phase"))
        return 0;
    if (load_json(a, o->repo, s, SNAPSHOT_META_BACKUP, &meta, err) < 0 ||
        load_json(a, o->repo, s, SNAPSHOT_META_PLAN, &plan, err) < 0)
        return err_wrap(err, "snapshot %.8s in %s", r->snapshot, o->path);
    clock_format(r->time_ms, time);
    store_id_hex(repository_id(o->repo), id);
    status_set(&st, "phase", json_string(r->completed ? "Completed" : "PartiallyFailed"));
    status_set(&st, "startTime", json_string(time));
    status_set(&st, "completionTime", json_string(time));
    status_set(&st, "store", json_string(o->store));
    status_set(&st, "repository", json_string(o->path));
    status_set(&st, "repositoryID", json_string(id));
    status_set(&st, "namespace", json_string(content_ns));
    status_set(&st, "snapshot", json_string(r->snapshot));
    status_set(&st, "declared", declared(meta));
    status_set(&st, "counts", counts(plan));
    status_set(&st, "volumes", volume_rows(meta));
    if (json_array_size(json_object_get(meta, "problems")))
        status_set(&st, "problems", texts(json_object_get(meta, "problems")));
    if (r->completed)
        status_ready(&st, "Completed", "stored by Backup %s/%s, found in store %s", r->ns, r->name,
                     o->store);
    else
        status_stalled(&st, "PartiallyFailed",
                       "stored by Backup %s/%s, but not complete; found in store %s", r->ns,
                       r->name, o->store);
    return status_write(cx->kube, a, &st, true, err);
}

/* Somebody may write to the new resource at the same time: labels, annotations. */
static int fill(struct context *cx, struct arena *a, struct opened *o, const char *content_ns,
                const struct snapshot *s, const struct recorded *r, const char *ns,
                const char *name, struct err *err)
{
    int result = -1;
    for (int i = 0; i < FILL_TRIES; i++) {
        result = fill_once(cx, a, o, content_ns, s, r, ns, name, err);
        if (result == 0 || err->kind != ERR_CONFLICT)
            break;
    }
    return result;
}

int synced_make(struct context *cx, struct arena *a, struct opened *o, const char *content_ns,
                const struct snapshot *s, const struct recorded *r,
                const struct known_backup *there, const char **ret_full, struct err *err)
{
    const char *ns = there ? there->ns : cx->ns, *name = there ? there->name : NULL;
    if (!there && make(cx, a, o->store, r, &name, err) < 0)
        return -1;
    if (fill(cx, a, o, content_ns, s, r, ns, name, err) < 0)
        return err_wrap(err, "Backup %s/%s", ns, name);
    *ret_full = arena_printf(a, "%s/%s", ns, name);
    return 0;
}
