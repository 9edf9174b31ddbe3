/* Verify: every stored object and field is there, equal but for the published strip list and what
 * others have written since it was written, and none of them carries our name. */
#include "core/clock.h"
#include "reconciler/judge.h"
#include "reconciler/restore/fields.h"
#include "reconciler/restore/write.h"

struct tolerance {
    struct arena *a;
    str managed;
    const char *const *engines;
    int64_t since;     /* when objects began to be written, by the clock of the API server */
    bool values;       /* a Secret's: who has another one than the volumes cannot open them */
    const char *by;    /* who has written since, or NULL */
    const char *where; /* what */
};

static struct tolerance tolerance_of(struct restore *r, const struct kube_object *live)
{
    struct tolerance t = {.a = r->a,
                          .managed = raw_at(live->raw, "metadata", "managedFields", NULL),
                          .engines = write_engine_managers(r->a),
                          .values = kube_object_is(live, "", "Secret")};
    if (!clock_parse(str_of(status_text(&r->st, "objectsAt")), &t.since))
        t.since = INT64_MAX;
    return t;
}

/* What an engine declares now is Git's business, and Git may have moved on. */
static bool engine_declares(void *ctx, const char *const *path)
{
    struct tolerance *t = ctx;
    return fields_owned(t->managed, t->engines, path);
}

/* The application runs by now, and so do the controllers that look after it. What we wrote carries
 * the times of the backup (fields_give_back). */
static bool may_differ(void *ctx, const char *const *path)
{
    struct tolerance *t = ctx;
    if (engine_declares(ctx, path))
        return true;
    if (t->values && (streq(path[0], "data") || streq(path[0], "type")))
        return false;
    str by = fields_written_since(t->managed, t->since, path);
    if (by.p && !t->by) {
        t->by = raw_string(t->a, by).p;
        t->where =
            arena_printf(t->a, "%s%s%s", path[0], path[1] ? "." : "", path[1] ? path[1] : "");
    }
    return by.p != NULL;
}

static void tell_of_writers(struct restore *r, const struct tolerance *t,
                            const struct kube_object *live)
{
    if (t->by)
        restore_event(r, false, false, "WrittenSince",
                      "%s %s/%s was put back, and %s has written %s since: it stays as it is",
                      live->kind, live->ns, live->name, t->by, t->where);
}

static int clean(const struct kube_object *live, struct err *err)
{
    if (fields_has_manager(raw_at(live->raw, "metadata", "managedFields", NULL), KUBE_MANAGER))
        return err_set(err, ERR_REFUSED,
                       "%s %s/%s still has gleaner among the owners of its fields", live->kind,
                       live->ns, live->name);
    return 0;
}

/* Kinds of which only the presence is compared: what they hold is the platform's, or runs on. */
static bool presence_only(const struct kube_object *o, const struct item *it)
{
    return item_is_workload(it) || !write_overwrites(it, o);
}

/* Its marks are its owner's; what counts is the value. */
static bool beside_the_data(void *ctx, const char *const *path)
{
    return !streq(path[0], "data") || engine_declares(ctx, path);
}

/* Owners that hold no value themselves: what they write is issued, or lies sealed in Git or in a
 * vault, and may have moved on. */
static bool is_issued(struct arena *a, const struct kube_object *secret)
{
    static const char *const groups[] = {"bitnami.com", "external-secrets.io", "cert-manager.io",
                                         "secrets.hashicorp.com"};
    struct kube_owner o;
    for (struct raw_iter it = kube_owners(secret); kube_owner_next(a, &it, &o);)
        for (size_t i = 0; i < ARRAY_LEN(groups); i++)
            if (str_is(kube_group_of(o.api_version), groups[i]))
                return true;
    return raw_is(raw_get(secret->raw, "type"), "kubernetes.io/tls");
}

/* It was written over; what differs now was written by its owner since. */
static int verify_owned_secret(struct restore *r, const struct kube_object *stored,
                               const struct kube_object *live, struct err *err)
{
    struct prepared p;
    bool same;
    const char *where;
    struct tolerance tol = tolerance_of(r, live);
    if (prepare_object(r->a, stored, NULL, NULL, &p, err) < 0 ||
        prepare_compare(r->a, &p, live, false, beside_the_data, &tol, &same, &where, err) < 0)
        return -1;
    const char *other = NULL;
    if (!same && write_foreign(r, live, &other, err) < 0)
        return -1;
    if (same || other)
        return 0;
    if (!is_issued(r->a, stored))
        return err_set(err, ERR_REFUSED,
                       "Secret %s/%s is not as the backup has it: its owner has written %s anew. "
                       "If the restored data want the old value, make its owner keep it",
                       live->ns, live->name, where);
    restore_event(r, true, false, "IssuedAnew",
                  "Secret %s/%s was put back, and its owner has written %s anew since", live->ns,
                  live->name, where);
    return 0;
}

static int verify_item(struct restore *r, struct stored *archive, const struct item *it,
                       const struct kube_type *t, struct err *err)
{
    struct kube_object stored, live;
    struct prepared p;
    bool there, same;
    const char *where;
    if (stored_object(archive, r->a, it, &stored, err) < 0)
        return -1;
    if (item_is_job(it) && !kube_job_is_finished(&stored))
        return 0;
    if (!t || write_get(r, t, it->ns, it->name, &live, &there, err) < 0)
        return -1;
    if (!there && item_is_job(it) && it->restore == RESTORE_AFTER_OWNER)
        return 0; /* a CronJob keeps so many and takes the older ones away */
    if (!there)
        return err_set(err, ERR_REFUSED, "%s %s/%s is not there", stored.kind, it->ns, it->name);
    if (it->core && clean(&live, err) < 0)
        return -1;
    if (presence_only(&stored, it))
        return 0;
    if (it->restore == RESTORE_AFTER_OWNER)
        return verify_owned_secret(r, &stored, &live, err);
    struct tolerance tol = tolerance_of(r, &live);
    if (is_issued(r->a, &stored))
        tol.values = false;
    if (prepare_object(r->a, &stored, NULL, NULL, &p, err) < 0 ||
        prepare_compare(r->a, &p, &live, false, may_differ, &tol, &same, &where, err) < 0)
        return -1;
    const char *other = NULL;
    if (!same && write_foreign(r, &live, &other, err) < 0)
        return -1;
    if (same)
        tell_of_writers(r, &tol, &live);
    return same || other
               ? 0
               : err_set(err, ERR_REFUSED, "%s %s/%s is not as the backup has it: %s differs",
                         stored.kind, it->ns, it->name, where);
}

/* What an engine has put back over a value that the backup kept is named, so that it is no
 * surprise. */
static int tell_of_drift(struct restore *r, const struct prepared *p,
                         const struct kube_object *live, struct err *err)
{
    bool same;
    const char *where;
    if (prepare_compare(r->a, p, live, false, NULL, NULL, &same, &where, err) < 0)
        return -1;
    if (!same)
        restore_event(r, true, false, "DriftNotKept",
                      "%s %s/%s: the engine has put its own %s back over the value of the backup, "
                      "which Git does not hold",
                      live->kind, live->ns, live->name, where);
    return 0;
}

static int verify_fields(struct restore *r, struct stored *archive, const struct item *it,
                         const struct kube_type *t, struct err *err)
{
    struct kube_object stored, live;
    bool there, same;
    const char *where;
    if (stored_object(archive, r->a, it, &stored, err) < 0)
        return -1;
    if (!t || write_get(r, t, it->ns, it->name, &live, &there, err) < 0)
        return -1;
    if (!there)
        return err_set(err, ERR_REFUSED, "%s %s/%s is not there", stored.kind, it->ns, it->name);
    if (verdict_is_token(&live))
        return 0;
    struct prepared p = {.body = stored.raw};
    struct tolerance tol = tolerance_of(r, &live);
    if (is_issued(r->a, &live))
        tol.values = false;
    if (prepare_compare(r->a, &p, &live, false, may_differ, &tol, &same, &where, err) < 0)
        return -1;
    const char *other = NULL;
    if (!same && write_foreign(r, &live, &other, err) < 0)
        return -1;
    if (!same && !other)
        return err_set(err, ERR_REFUSED, "%s %s/%s lacks a field of the backup: %s", stored.kind,
                       it->ns, it->name, where);
    if (same)
        tell_of_writers(r, &tol, &live);
    if (item_has_drifted(it) && tell_of_drift(r, &p, &live, err) < 0)
        return -1;
    return clean(&live, err);
}

static int verify_area(struct restore *r, const char *area,
                       int (*check)(struct restore *r, struct stored *archive,
                                    const struct item *it, const struct kube_type *t,
                                    struct err *err),
                       struct err *err)
{
    struct restore_area p;
    if (restore_open_area(r, area, &p, err) < 0)
        return -1;
    for (size_t i = 0; i < p.n; i++) {
        const struct item *it = &p.items[i];
        const struct kube_type *t = restore_type_of(p.types, it);
        if (restore_skips(it))
            continue;
        if (!t)
            return err_set(err, ERR_REFUSED, "%s: the cluster does not serve %s", it->path,
                           it->resource);
        if (check(r, p.archive, it, t, err) < 0)
            return -1;
    }
    return 0;
}

int restore_verify(struct restore *r, struct err *err)
{
    size_t i;
    json_t *row;
    json_array_foreach(restore_claims(r), i, row)
    {
        if (!streq(json_text_at(row, "state", NULL), "Filled"))
            return err_set(err, ERR_REFUSED, "the volume of claim %s was not restored",
                           json_text_at(row, "name", NULL));
    }
    if (verify_area(r, SNAPSHOT_RESOURCES, verify_item, err) < 0 ||
        verify_area(r, SNAPSHOT_RESIDUE, verify_fields, err) < 0)
        return -1;
    return STEP_NEXT;
}
