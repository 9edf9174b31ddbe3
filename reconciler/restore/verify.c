/* Verify: every stored object and field is there, equal but for the published strip list, and none
 * of them carries our name. */
#include "reconciler/restore/fields.h"
#include "reconciler/restore/write.h"

struct tolerance {
    str managed;
    const char *const *engines;
};

/* What an engine declares now is Git's business, and Git may have moved on. */
static bool engine_declares(void *ctx, const char *const *path)
{
    struct tolerance *t = ctx;
    return fields_owned(t->managed, t->engines, path);
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
    return !it->core || item_is_job(it) || item_is_definition(it) ||
           kube_object_is(o, "", "PersistentVolumeClaim") || item_is_workload(it) ||
           it->restore == RESTORE_AFTER_OWNER;
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
    if (item_is_job(it) && !job_is_finished(&stored))
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
    struct tolerance tol = {raw_at(live.raw, "metadata", "managedFields", NULL),
                            write_engine_managers(r->a)};
    if (prepare_object(r->a, &stored, NULL, NULL, &p, err) < 0 ||
        prepare_compare(r->a, &p, &live, false, engine_declares, &tol, &same, &where, err) < 0)
        return -1;
    return same ? 0
                : err_set(err, ERR_REFUSED, "%s %s/%s is not as the backup has it: %s differs",
                          stored.kind, it->ns, it->name, where);
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
    struct prepared p = {.body = stored.raw};
    struct tolerance tol = {raw_at(live.raw, "metadata", "managedFields", NULL),
                            write_engine_managers(r->a)};
    if (prepare_compare(r->a, &p, &live, false, engine_declares, &tol, &same, &where, err) < 0)
        return -1;
    if (!same)
        return err_set(err, ERR_REFUSED, "%s %s/%s lacks a field of the backup: %s", stored.kind,
                       it->ns, it->name, where);
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
