#include "reconciler/restore/write.h"

#include "core/jsonedit.h"
#include "reconciler/judge.h"
#include "reconciler/reach.h"
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

/* ---- whose it is today ---- */

/* The names that an object carries of the applications that applied it. */
struct marks {
    const char *names[5];
    size_t n;
};

static void add_mark(struct marks *m, const char *name)
{
    if (name && *name)
        m->names[m->n++] = name;
}

static struct marks marks_of(struct arena *a, const struct kube_object *o)
{
    struct marks m = {0};
    add_mark(&m, kube_label(a, o, "kustomize.toolkit.fluxcd.io/name"));
    add_mark(&m, kube_label(a, o, "helm.toolkit.fluxcd.io/name"));
    add_mark(&m, kube_label(a, o, "app.kubernetes.io/instance"));
    add_mark(&m, kube_annotation(a, o, "meta.helm.sh/release-name"));
    /* "<application>:<object>", "<namespace>_<application>:<object>" */
    const char *id = kube_annotation(a, o, "argocd.argoproj.io/tracking-id");
    if (id) {
        str name = str_of(id);
        name = str_cut(&name, ':');
        const char *tail = memchr(name.p, '_', name.n);
        size_t skip = tail ? (size_t)(tail - name.p) + 1 : 0;
        add_mark(&m, arena_str(a, (str){name.p + skip, name.n - skip}).p);
    }
    return m;
}

static bool is_marked(const struct marks *m, const char *name)
{
    for (size_t i = 0; i < m->n; i++)
        if (streq(m->names[i], name))
            return true;
    return false;
}

struct other {
    struct restore *r;
    const struct kube_object *object;
    struct marks marks;
    const struct application *app; /* whose books are read */
    bool has, above;               /* the object is in them; an application that is held is */
    const char *found;
};

static int on_others_entry(void *ctx, const struct book_entry *e, struct err *err)
{
    (void)err;
    struct other *x = ctx;
    const struct kube_object *o = x->object;
    const char *ns = *e->ns || !*o->ns ? e->ns : x->app->content_ns;
    if (kube_object_is(o, e->group, e->kind) && streq(o->name, e->name) && streq(o->ns, ns))
        x->has = true;
    if (restore_is_held(x->r, e->kind, e->ns, e->name))
        x->above = true;
    return 0;
}

static int note_application(void *ctx, const struct application *app, struct err *err)
{
    (void)err;
    struct restore *r = ctx;
    *vec_add(&r->others) = *app;
    return 0;
}

/* Once a reconcile: a step may ask for a hundred objects. */
static int read_others(struct restore *r, struct err *err)
{
    if (r->others_read)
        return 0;
    r->others.n = 0;
    if (applications_each(r->cx->kube, r->a, note_application, r, err) < 0)
        return -1;
    r->others_read = true;
    return 0;
}

static int look_at_other(struct other *x, const struct application *app, struct err *err)
{
    const struct kube_object *o = &app->object;
    if (x->found || (!is_marked(&x->marks, o->name) && !is_marked(&x->marks, app->release)) ||
        !reach_may_name(x->r->cx, x->r->a, app, x->object) ||
        restore_is_held(x->r, app->type->kind, o->ns, o->name))
        return 0;
    struct err why;
    x->app = app;
    x->has = x->above = false;
    if (app->engine->books(x->r->cx->kube, x->r->a, app, on_others_entry, x, &why) < 0) {
        if (!err_is_transient(&why))
            return 0; /* what cannot be read takes nothing away from anybody */
        return err_set(err, why.kind, "the books of %s %s/%s, which %s %s/%s names as its own: %s",
                       app->type->kind, o->ns, o->name, x->object->kind, x->object->ns,
                       x->object->name, why.msg);
    }
    if (x->has && !x->above)
        x->found = arena_printf(x->r->a, "%s %s/%s", app->type->kind, o->ns, o->name);
    return 0;
}

int write_foreign(struct restore *r, const struct kube_object *live, const char **ret,
                  struct err *err)
{
    struct other x = {.r = r, .object = live, .marks = marks_of(r->a, live)};
    *ret = NULL;
    if (x.marks.n > 0 && read_others(r, err) < 0)
        return -1;
    for (size_t i = 0; x.marks.n > 0 && i < r->others.n; i++)
        if (look_at_other(&x, &r->others.p[i], err) < 0)
            return -1;
    *ret = x.found;
    if (x.found)
        restore_event(
            r, true, false, "NotOurs",
            "%s %s/%s is not as the backup has it, and belongs to %s today: it is left as "
            "it is",
            live->kind, live->ns, live->name, x.found);
    return 0;
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
    if (!there && !kube_job_is_finished(stored))
        return 0; /* it would run again */
    if (!there && (job_prepare(r->a, p, &body, err) < 0 || create(r, t, it, body, &live, err) < 0))
        return -1;
    if (!fields_has_manager(raw_at(live.raw, "metadata", "managedFields", NULL), KUBE_MANAGER))
        return 0;
    if (!kube_job_is_finished(&live)) {
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

/* *ret_where: what of the object that is there is to be made as it was; NULL: nothing. */
static int differs(struct restore *r, const struct prepared *p, const struct kube_object *live,
                   const char **ret_where, struct err *err)
{
    bool same;
    const char *where, *other = NULL;
    if (prepare_compare(r->a, p, live, true, NULL, NULL, &same, &where, err) < 0 ||
        (!same && write_foreign(r, live, &other, err) < 0))
        return -1;
    *ret_where = same || other ? NULL : where;
    return 0;
}

static int replace(struct restore *r, const struct kube_type *t, const struct item *it,
                   const struct prepared *p, struct kube_object *live, struct err *err)
{
    const char *where;
    str body;
    if (differs(r, p, live, &where, err) < 0)
        return -1;
    if (!where)
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
    if (!there && verdict_is_token(&stored) && lacks_account(r, &stored, &wait, err) < 0)
        return -1;
    if (wait)
        return 0;
    if (!there && create(r, t, it, p.body, &live, err) < 0)
        return -1;
    if (there && write_overwrites(it, &stored) && replace(r, t, it, &p, &live, err) < 0)
        return -1;
    return object_give_back(r->cx->kube, r->a, t, &live, p.managed, NULL, false, err);
}

bool write_overwrites(const struct item *it, const struct kube_object *stored)
{
    static const char *const issued[] = {"kubernetes.io/service-account-token",
                                         "bootstrap.kubernetes.io/token", "helm.sh/release.v1"};
    /* A claim's spec cannot be changed, and its bytes are not ours to replace here. */
    if (!it->core || item_is_definition(it) || item_is_job(it) ||
        kube_object_is(stored, "", "PersistentVolumeClaim"))
        return false;
    if (it->restore != RESTORE_AFTER_OWNER)
        return true;
    for (size_t i = 0; i < ARRAY_LEN(issued); i++)
        if (raw_is(raw_get(stored->raw, "type"), issued[i]))
            return false;
    return kube_object_is(stored, "", "Secret");
}

int write_would(struct restore *r, struct stored *archive, const struct item *it,
                const struct kube_type *t, struct write_need *ret, struct err *err)
{
    struct kube_object stored, live;
    struct prepared p;
    bool there;
    const char *where = NULL;
    *ret = (struct write_need){0};
    if (write_prepare(r, archive, it, &stored, &p, err) < 0 ||
        write_get(r, t, it->ns, it->name, &live, &there, err) < 0)
        return -1;
    if (!there || raw_at(live.raw, "metadata", "deletionTimestamp", NULL).p) {
        if (!item_is_job(it) || kube_job_is_finished(&stored))
            *ret = (struct write_need){WRITE_MAKES, "is not there"};
        return 0;
    }
    if (write_overwrites(it, &stored) && differs(r, &p, &live, &where, err) < 0)
        return -1;
    if (where)
        *ret = (struct write_need){WRITE_REPLACES,
                                   arena_printf(r->a, "is not as the backup has it (%s)", where)};
    return 0;
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
    /* While it settles: an engine that enforces its own would never be done. */
    bool enforced = r->phase == PHASE_SETTLE &&
                    fields_owned(raw_at(live.raw, "metadata", "managedFields", NULL),
                                 write_engine_managers(r->a), JSON_PATH("data"));
    if (there && !enforced && write_overwrites(it, &stored) &&
        replace(r, t, it, &p, &live, err) < 0)
        return -1;
    return object_give_back(r->cx->kube, r->a, t, &live, p.managed, NULL, false, err);
}

int write_token(struct restore *r, struct stored *archive, const struct item *it,
                const struct kube_type *t, struct err *err)
{
    struct kube_object stored;
    if (stored_object(archive, r->a, it, &stored, err) < 0)
        return -1;
    return verdict_is_token(&stored) ? write_item(r, archive, it, t, err) : 0;
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

/* The same of all maps, into the body of a merge patch. *ret_any: there are some. */
static int all_missing_fields(struct restore *r, const struct item *it, str stored,
                              const struct kube_object *live, json_t *body, bool *ret_any,
                              struct err *err)
{
    static const char *const maps[][3] = {
        {"data", NULL}, {"binaryData", NULL}, {"metadata", "annotations", NULL}};
    /* Git's value was not the one that ran, though an engine that has made the object anew owns it
     * now. Not while the engine settles: one that enforces its own would never be done. */
    bool insist = item_has_drifted(it) && r->phase != PHASE_SETTLE;
    *ret_any = false;
    for (size_t i = 0; i < ARRAY_LEN(maps); i++) {
        const char *name = maps[i][1] ? maps[i][1] : maps[i][0];
        str map = maps[i][1] ? raw_at(stored, maps[i][0], name, NULL) : raw_get(stored, name);
        json_t *out = json_object();
        json_t *into = maps[i][1] ? json_object_get(body, maps[i][0]) : body;
        json_object_set_new(into, name, out);
        if (missing_fields(r, live, map, maps[i], insist && !maps[i][1], out, err) < 0)
            return err_wrap(err, "%s", it->path);
        if (json_object_size(out) == 0)
            json_object_del(into, name);
        else
            *ret_any = true;
    }
    return 0;
}

/* The merge patch that puts the fields back. *ret_any: there is something to put back. */
static int residue_patch(struct restore *r, const struct item *it, const struct kube_object *stored,
                         const struct kube_object *live, json_t **ret, bool *ret_any,
                         struct err *err)
{
    const char *other = NULL;
    *ret = json_pack("{s:{s:s, s:s}}", "metadata", "uid", live->uid, "resourceVersion",
                     live->resource_version);
    if (all_missing_fields(r, it, stored->raw, live, *ret, ret_any, err) < 0 ||
        (*ret_any && write_foreign(r, live, &other, err) < 0))
        return -1;
    *ret_any = *ret_any && !other;
    return 0;
}

int write_residue_would(struct restore *r, struct stored *archive, const struct item *it,
                        const struct kube_type *t, struct write_need *ret, struct err *err)
{
    struct kube_object stored, live;
    json_t *body CLEANUP_JSON = NULL;
    bool there, any = false;
    *ret = (struct write_need){0};
    if (stored_object(archive, r->a, it, &stored, err) < 0 ||
        write_get(r, t, it->ns, it->name, &live, &there, err) < 0)
        return -1;
    if (there && !verdict_is_token(&live) &&
        residue_patch(r, it, &stored, &live, &body, &any, err) < 0)
        return -1;
    if (!there)
        *ret = (struct write_need){WRITE_PATCHES, "is not there, and will lack fields once the "
                                                  "engine has made it again"};
    else if (any)
        *ret = (struct write_need){WRITE_PATCHES, "lacks fields that the backup has"};
    return 0;
}

int write_residue(struct restore *r, struct stored *archive, const struct item *it,
                  const struct kube_type *t, bool *ret_there, struct err *err)
{
    struct kube_object stored, live;
    json_t *body CLEANUP_JSON = NULL;
    bool there, any;
    if (need_type(it, t, err) < 0 || stored_object(archive, r->a, it, &stored, err) < 0 ||
        write_get(r, t, it->ns, it->name, &live, &there, err) < 0)
        return -1;
    *ret_there = there;
    if (!there || verdict_is_token(&live))
        return 0;
    if (residue_patch(r, it, &stored, &live, &body, &any, err) < 0)
        return -1;
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
