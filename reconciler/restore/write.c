#include "reconciler/restore/write.h"

#include "core/jsonedit.h"
#include "reconciler/restore/fields.h"
#include "reconciler/restore/workload.h"

int write_get(struct restore *r, const struct kube_type *t, const char *ns, const char *name,
              struct kube_object *ret, bool *ret_there, struct err *err)
{
    struct err why;
    *ret_there = kube_get(r->cx->kube, r->a, t, t->namespaced ? ns : NULL, name, ret, &why) == 0;
    if (!*ret_there && why.kind != ERR_NOT_FOUND)
        return err_set(err, why.kind, "%s %s: %s", t->kind, name, why.msg);
    return 0;
}

/* ---- owners ---- */

struct owner_search {
    struct restore *r;
    const char *ns;
};

/* An owner is the live object of its kind and name: the same one, or the one that was made again.
 */
static int find_owner(void *ctx, const struct kube_owner *o, const char **ret_uid, struct err *err)
{
    struct owner_search *s = ctx;
    const struct kube_discovery *types;
    if (restore_types(s->r, &types, err) < 0)
        return -1;
    const struct kube_type *t =
        kube_discovery_kind(types, kube_group_of(o->api_version), NULL, o->kind);
    struct kube_object live;
    bool there = false;
    *ret_uid = NULL;
    if (!t)
        return 0;
    if (write_get(s->r, t, s->ns, o->name, &live, &there, err) < 0)
        return err_wrap(err, "the owner");
    if (there && !raw_at(live.raw, "metadata", "deletionTimestamp", NULL).p)
        *ret_uid = live.uid;
    return 0;
}

int write_prepare(struct restore *r, struct stored *archive, const struct item *it,
                  struct kube_object *ret_stored, struct prepared *ret, struct err *err)
{
    struct owner_search s = {r, it->ns};
    if (stored_object(archive, r->a, it, ret_stored, err) < 0)
        return -1;
    return prepare_object(r->a, ret_stored, find_owner, &s, ret, err);
}

/* ---- whole objects ---- */

static int need_type(const struct item *it, const struct kube_type *t, struct err *err)
{
    return t ? 0
             : err_set(err, ERR_REFUSED, "%s: the cluster does not serve %s.%s: install it first",
                       it->path, it->resource, it->group);
}

static int create(struct restore *r, const struct kube_type *t, const struct item *it, str body,
                  struct kube_object *ret, struct err *err)
{
    struct err why;
    if (kube_create(r->cx->kube, r->a, t, it->ns, body, NULL, ret, &why) < 0)
        return err_set(err, why.kind == ERR_EXISTS ? ERR_CONFLICT : why.kind, "making %s %s: %s",
                       t->kind, it->name, why.msg);
    return 0;
}

int write_absent(struct restore *r, struct stored *archive, const struct item *it,
                 const struct kube_type *t, struct kube_object *ret_live, struct err *err)
{
    struct kube_object stored, live;
    struct prepared p;
    bool there;
    if (need_type(it, t, err) < 0 || write_prepare(r, archive, it, &stored, &p, err) < 0 ||
        write_get(r, t, it->ns, it->name, &live, &there, err) < 0)
        return -1;
    if (!there && create(r, t, it, p.body, &live, err) < 0)
        return -1;
    *ret_live = live;
    return object_give_back(r->cx->kube, r->a, t, &live, p.managed, NULL, false, err);
}

/* Suspended, finished, unsuspended, given back: whichever is next. */
static int write_job(struct restore *r, const struct kube_type *t, const struct item *it,
                     const struct kube_object *stored, const struct prepared *p, struct err *err)
{
    struct kube *k = r->cx->kube;
    struct kube_object live;
    bool there;
    str body;
    if (write_get(r, t, it->ns, it->name, &live, &there, err) < 0)
        return -1;
    if (!there && !job_is_finished(stored))
        return 0; /* it would run again */
    if (!there && (job_prepare(r->a, p, &body, err) < 0 || create(r, t, it, body, &live, err) < 0))
        return -1;
    if (!fields_has_manager(raw_at(live.raw, "metadata", "managedFields", NULL), KUBE_MANAGER))
        return 0;
    if (!job_is_finished(&live)) {
        struct kube_write status = {.subresource = "status"};
        if (job_status_patch(r->a, stored, live.uid, &body, err) < 0 ||
            kube_patch(k, r->a, t, it->ns, it->name, KUBE_PATCH_MERGE, body, &status, &live, err) <
                0)
            return err_wrap(err, "the status of Job %s", it->name);
    }
    if (job_was_suspended(&live) && !job_was_suspended(stored)) {
        const char *text = arena_printf(
            r->a, "{\"metadata\":{\"uid\":\"%s\"},\"spec\":{\"suspend\":%s}}", live.uid,
            raw_at(stored->raw, "spec", "suspend", NULL).p ? "false" : "null");
        if (kube_patch(k, r->a, t, it->ns, it->name, KUBE_PATCH_MERGE, str_of(text), NULL, &live,
                       err) < 0)
            return err_wrap(err, "Job %s", it->name);
    }
    return object_give_back(k, r->a, t, &live, p->managed, NULL, false, err);
}

static int replace(struct restore *r, const struct kube_type *t, const struct item *it,
                   const struct prepared *p, struct kube_object *live, struct err *err)
{
    bool same;
    const char *where;
    str body;
    if (prepare_compare(r->a, p, live, true, NULL, NULL, &same, &where, err) < 0)
        return -1;
    if (same)
        return 0;
    if (prepare_replace(r->a, p, live, &body, err) < 0)
        return -1;
    struct err why;
    if (kube_replace(r->cx->kube, r->a, t, it->ns, it->name, body, NULL, live, &why) < 0)
        return err_set(err, why.kind == ERR_INVALID ? ERR_REFUSED : why.kind,
                       "%s %s cannot be made as it was (%s differs): %s", t->kind, it->name, where,
                       why.msg);
    return 0;
}

/* The cluster deletes a token whose account is not there (yet). */
static int lacks_account(struct restore *r, const struct kube_object *token, bool *ret,
                         struct err *err)
{
    const char *account = kube_annotation(r->a, token, "kubernetes.io/service-account.name");
    struct kube_object o;
    bool there = false;
    if (account && write_get(r, &KUBE_SERVICEACCOUNT, token->ns, account, &o, &there, err) < 0)
        return -1;
    *ret = !there;
    return 0;
}

int write_item(struct restore *r, struct stored *archive, const struct item *it,
               const struct kube_type *t, struct err *err)
{
    struct kube_object stored, live;
    struct prepared p;
    bool there;
    if (need_type(it, t, err) < 0 || write_prepare(r, archive, it, &stored, &p, err) < 0)
        return -1;
    if (kube_object_is(&stored, "batch", "Job"))
        return write_job(r, t, it, &stored, &p, err);
    if (write_get(r, t, it->ns, it->name, &live, &there, err) < 0)
        return -1;
    if (there && raw_at(live.raw, "metadata", "deletionTimestamp", NULL).p)
        return err_set(err, ERR_BUSY, "%s %s is being deleted", t->kind, it->name);
    bool wait = false;
    if (!there && prepare_is_token(&stored) && lacks_account(r, &stored, &wait, err) < 0)
        return -1;
    if (wait)
        return 0;
    if (!there && create(r, t, it, p.body, &live, err) < 0)
        return -1;
    /* A claim's spec cannot be changed, and its bytes are not ours to replace here. */
    bool fixed = kube_object_is(&stored, "", "PersistentVolumeClaim");
    if (there && it->core && !fixed && replace(r, t, it, &p, &live, err) < 0)
        return -1;
    return object_give_back(r->cx->kube, r->a, t, &live, p.managed, NULL, false, err);
}

bool write_overwrites(const struct item *it, const struct kube_object *stored)
{
    static const char *const issued[] = {"kubernetes.io/service-account-token",
                                         "bootstrap.kubernetes.io/token", "helm.sh/release.v1"};
    for (size_t i = 0; i < ARRAY_LEN(issued); i++)
        if (raw_is(raw_get(stored->raw, "type"), issued[i]))
            return false;
    return it->core && kube_object_is(stored, "", "Secret");
}

int write_owned(struct restore *r, struct stored *archive, const struct item *it,
                const struct kube_type *t, bool last, struct err *err)
{
    struct kube_object stored, live;
    struct prepared p;
    bool there;
    if (item_is_job(it))
        return write_item(r, archive, it, t, err);
    if (need_type(it, t, err) < 0 || write_prepare(r, archive, it, &stored, &p, err) < 0 ||
        write_get(r, t, it->ns, it->name, &live, &there, err) < 0)
        return -1;
    if (!last && p.owners_lost)
        return 0;
    if (there && raw_at(live.raw, "metadata", "deletionTimestamp", NULL).p)
        return last ? err_set(err, ERR_BUSY, "%s %s is being deleted", t->kind, it->name) : 0;
    if (!there && create(r, t, it, p.body, &live, err) < 0)
        return -1;
    if (there && write_overwrites(it, &stored) && replace(r, t, it, &p, &live, err) < 0)
        return -1;
    return object_give_back(r->cx->kube, r->a, t, &live, p.managed, NULL, false, err);
}

int write_token(struct restore *r, struct stored *archive, const struct item *it,
                const struct kube_type *t, struct err *err)
{
    struct kube_object stored;
    if (stored_object(archive, r->a, it, &stored, err) < 0)
        return -1;
    return prepare_is_token(&stored) ? write_item(r, archive, it, t, err) : 0;
}

/* ---- fields ---- */

const char *const *write_engine_managers(struct arena *a)
{
    size_t n = 0;
    for (const struct engine *const *e = engines; *e; e++)
        for (const char *const *m = (*e)->managers; *m; m++)
            n++;
    const char **list = arena_alloc(a, (n + 1) * sizeof *list);
    n = 0;
    for (const struct engine *const *e = engines; *e; e++)
        for (const char *const *m = (*e)->managers; *m; m++)
            list[n++] = *m;
    return list;
}

/* Adds to `out` the fields of one map that are to be written; `insist`: an engine's too. */
static int missing_fields(struct restore *r, const struct kube_object *live, str stored,
                          const char *const *at, bool insist, json_t *out, struct err *err)
{
    const char *const *engines_managers = write_engine_managers(r->a);
    str managed = raw_at(live->raw, "metadata", "managedFields", NULL);
    struct raw_iter it = raw_iter(stored);
    str key, value;
    while (raw_next(&it, &key, &value)) {
        const char *name = raw_string(r->a, key).p;
        str have = at[1] ? raw_at(live->raw, at[0], at[1], name, NULL)
                         : raw_at(live->raw, at[0], name, NULL);
        const char *const path[] = {at[0], at[1] ? at[1] : name, at[1] ? name : NULL, NULL};
        if (str_eq(have, value) || (!insist && fields_owned(managed, engines_managers, path)))
            continue;
        json_t *j;
        if (json_parse(value, &j, err) < 0)
            return -1;
        json_object_set_new(out, name, j);
    }
    return 0;
}

int write_residue(struct restore *r, struct stored *archive, const struct item *it,
                  const struct kube_type *t, bool *ret_there, struct err *err)
{
    struct kube_object stored, live;
    bool there;
    if (need_type(it, t, err) < 0 || stored_object(archive, r->a, it, &stored, err) < 0 ||
        write_get(r, t, it->ns, it->name, &live, &there, err) < 0)
        return -1;
    *ret_there = there;
    if (!there || prepare_is_token(&live))
        return 0;
    static const char *const maps[][3] = {
        {"data", NULL}, {"binaryData", NULL}, {"metadata", "annotations", NULL}};
    json_t *body CLEANUP_JSON = json_pack("{s:{s:s, s:s}}", "metadata", "uid", live.uid,
                                          "resourceVersion", live.resource_version);
    bool any = false;
    /* Git's value was not the one that ran, though an engine that has made the object anew owns it
     * now. Not while the engine settles: one that enforces its own would never be done. */
    bool insist = item_has_drifted(it) && r->phase != PHASE_SETTLE;
    for (size_t i = 0; i < ARRAY_LEN(maps); i++) {
        str map = maps[i][1] ? raw_at(stored.raw, maps[i][0], maps[i][1], NULL)
                             : raw_get(stored.raw, maps[i][0]);
        json_t *out = json_object();
        json_t *into = maps[i][1] ? json_object_get(body, "metadata") : body;
        json_object_set_new(into, maps[i][1] ? maps[i][1] : maps[i][0], out);
        if (missing_fields(r, &live, map, maps[i], insist && !maps[i][1], out, err) < 0)
            return err_wrap(err, "%s", it->path);
        if (json_object_size(out) == 0)
            json_object_del(into, maps[i][1] ? maps[i][1] : maps[i][0]);
        else
            any = true;
    }
    if (any) {
        struct buf text CLEANUP(buf_free) = {0};
        json_print(&text, body);
        if (kube_patch(r->cx->kube, r->a, t, it->ns, it->name, KUBE_PATCH_MERGE, buf_view(&text),
                       NULL, &live, err) < 0)
            return err_wrap(err, "putting fields back on %s %s", t->kind, it->name);
    }
    str managed = raw_at(stored.raw, "metadata", "managedFields", NULL);
    return object_give_back(r->cx->kube, r->a, t, &live, managed, NULL, false, err);
}

/* ---- charts ---- */

/* What Helm adds to each object that it makes, so that it takes it for its own. */
static int add_helm_marks(struct restore *r, const struct application *app, str manifest, str *ret,
                          struct err *err)
{
    static const char managed_by[] = "app.kubernetes.io/managed-by";
    struct buf release CLEANUP(buf_free) = {0}, ns CLEANUP(buf_free) = {0};
    raw_add_string(&release, str_of(app->release));
    raw_add_string(&ns, str_of(app->content_ns));
    if (raw_set(r->a, manifest, JSON_PATH("metadata", "labels", managed_by), STR("\"Helm\""), ret,
                err) < 0 ||
        raw_set(r->a, *ret, JSON_PATH("metadata", "annotations", "meta.helm.sh/release-name"),
                buf_view(&release), ret, err) < 0 ||
        raw_set(r->a, *ret, JSON_PATH("metadata", "annotations", "meta.helm.sh/release-namespace"),
                buf_view(&ns), ret, err) < 0)
        return -1;
    return 0;
}

int write_chart_object(struct restore *r, const struct kube_type *t, const struct book_entry *e,
                       const struct application *app, struct err *err)
{
    struct kube_object live;
    bool there;
    str body;
    const char *ns = *e->ns ? e->ns : app->content_ns;
    if (write_get(r, t, ns, e->name, &live, &there, err) < 0)
        return -1;
    if (!there) {
        struct item it = {.path = e->name, .ns = t->namespaced ? ns : "", .name = e->name};
        if (add_helm_marks(r, app, e->manifest, &body, err) < 0 ||
            create(r, t, &it, body, &live, err) < 0)
            return err_wrap(err, "the chart's %s %s", e->kind, e->name);
    }
    if (kube_annotation(r->a, &live, STOPPED_ANNOTATION))
        return 0; /* not made here: its note says whose its fields are */
    return object_give_back(r->cx->kube, r->a, t, &live, (str){0}, "helm-controller", false, err);
}
