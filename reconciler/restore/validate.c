/* Validate, Plan, Lock: all that can be known before anything is touched. */
#include "reconciler/restore/ending.h"
#include "reconciler/restore/prepare.h"
#include "reconciler/restore/restore.h"
#include "store/verify.h"

enum { CLAIMS_MAX = 50 /* rows of a status */ };

/* ---- the backup ---- */

/* status of the Backup says that it may be restored by Replace. */
static int check_backup(const struct kube_object *backup, struct arena *a, struct err *err)
{
    const char *phase = raw_text(a, backup->raw, "status", "phase", NULL);
    const char *snapshot = raw_text(a, backup->raw, "status", "snapshot", NULL);
    if (!streq(phase, "Completed") && !streq(phase, "PartiallyFailed"))
        return err_set(err, ERR_REFUSED, "Backup %s is %s: restore one that is Completed",
                       backup->name, phase ? phase : "not begun");
    if (!snapshot || !*snapshot)
        return err_set(err, ERR_REFUSED, "Backup %s names no snapshot: restore another one",
                       backup->name);
    struct raw_iter it = raw_iter(raw_at(backup->raw, "status", "volumes", NULL));
    str key, row;
    while (raw_next(&it, &key, &row)) {
        const char *state = raw_text(a, row, "phase", NULL);
        const char *claim = raw_text(a, row, "claim", NULL);
        if (!streq(state, "Completed"))
            return err_set(err, ERR_REFUSED,
                           "Backup %s has the volume of claim %s only as %s: a Replace would lose "
                           "data. Restore a backup that is Completed",
                           backup->name, claim ? claim : "?", state ? state : "not stored");
    }
    return 0;
}

static int read_backup(struct restore *r, struct kube_object *ret, struct err *err)
{
    struct err why;
    if (kube_get(r->cx->kube, r->a, &KUBE_BACKUP, r->ns, r->backup, ret, &why) < 0) {
        if (why.kind == ERR_NOT_FOUND)
            return err_set(
                err, ERR_REFUSED,
                "Backup %s does not exist in namespace %s: kubectl get backups -n %s lists "
                "those that do",
                r->backup, r->ns, r->ns);
        return err_set(err, why.kind, "Backup %s: %s", r->backup, why.msg);
    }
    return check_backup(ret, r->a, err);
}

static json_t *text_json(const char *text)
{
    return json_string(text ? text : "");
}

/* What the whole Restore works from; written once. */
static int resolve(struct restore *r, const struct kube_object *backup, struct err *err)
{
    struct arena *a = r->a;
    str raw = backup->raw;
    const char *store = raw_text(a, raw, "spec", "storeRef", "name", NULL);
    const char *resolved = raw_text(a, raw, "status", "store", NULL);
    const char *ns = raw_text(a, raw, "status", "namespace", NULL);
    if (!resolved && store_resolve(r->cx, a, store, &resolved, err) < 0)
        return -1;
    if (!ns || !*ns)
        return err_set(err, ERR_REFUSED, "Backup %s does not say whose namespace it holds",
                       backup->name);
    status_set(&r->st, "source",
               json_pack("{s:s, s:s, s:s, s:s, s:o}", "backup", backup->name, "backupUID",
                         backup->uid, "store", resolved, "namespace", ns, "snapshot",
                         text_json(raw_text(a, raw, "status", "snapshot", NULL))));
    status_set(&r->st, "target",
               json_pack("{s:o, s:o, s:o}", "kind",
                         text_json(raw_text(a, raw, "spec", "target", "kind", NULL)), "namespace",
                         text_json(raw_text(a, raw, "spec", "target", "namespace", NULL)), "name",
                         text_json(raw_text(a, raw, "spec", "target", "name", NULL))));
    return 0;
}

const char *restore_target(struct restore *r, const char *member)
{
    const char *text = json_text_at(r->st.now, "target", member, NULL);
    return text ? text : "";
}

const char *restore_content_ns(struct restore *r)
{
    const char *text = json_text_at(r->st.now, "source", "namespace", NULL);
    return text ? text : "";
}

int restore_archive(struct restore *r, struct stored **ret, struct err *err)
{
    if (!r->archive) {
        const char *store = json_text_at(r->st.now, "source", "store", NULL);
        const char *snapshot = json_text_at(r->st.now, "source", "snapshot", NULL);
        if (!store || !snapshot)
            return err_set(err, ERR_CORRUPT, "Restore %s: status.source is broken", r->name);
        struct stored_question q = {.uid = r->uid,
                                    .store = store,
                                    .content_ns = restore_content_ns(r),
                                    .snapshot = snapshot,
                                    .mover = r->phase == PHASE_VOLUMES};
        if (stored_open(r->cx, r->a, &q, &r->archive, err) < 0)
            return err_wrap(err, "store %s", store);
    }
    *ret = r->archive;
    return 0;
}

int restore_types(struct restore *r, const struct kube_discovery **ret, struct err *err)
{
    if (!r->types && kube_discover(r->cx->kube, &r->types, err) < 0)
        return err_wrap(err, "asking what the API server serves");
    *ret = r->types;
    return 0;
}

static int check_items(struct stored *archive, const char *area, struct err *err)
{
    struct item *items;
    size_t n;
    if (stored_items(archive, area, &items, &n, err) < 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        struct arena *a CLEANUP(arena_free_p) = arena_new();
        struct kube_object o;
        if (stored_object(archive, a, &items[i], &o, err) < 0)
            return -1;
    }
    return 0;
}

int restore_validate(struct restore *r, struct err *err)
{
    struct kube_object backup;
    struct stored *archive;
    if (read_backup(r, &backup, err) < 0 || resolve(r, &backup, err) < 0)
        return -1;
    struct err why;
    struct verify_result proof;
    if (restore_archive(r, &archive, &why) < 0 ||
        verify_snapshot(archive->opened.repo, &archive->snapshot.id, NULL, &proof, &why) < 0 ||
        check_items(archive, SNAPSHOT_RESOURCES, &why) < 0 ||
        check_items(archive, SNAPSHOT_RESIDUE, &why) < 0)
        return err_set(
            err, why.kind == ERR_NOT_FOUND ? ERR_REFUSED : why.kind,
            "Backup %s cannot be restored: %s. Restore another backup, or repair the store "
            "first",
            r->backup, why.msg);
    return STEP_NEXT;
}

/* ---- Plan ---- */

json_t *restore_claims(struct restore *r)
{
    return json_object_get(r->st.now, "claims");
}

bool restore_is_target_claim(struct restore *r, const char *name)
{
    size_t i;
    json_t *row;
    json_array_foreach(restore_claims(r), i, row)
    {
        if (streq(json_text_at(row, "name", NULL), name))
            return true;
    }
    return false;
}

/* The volumes of the backup: what /meta/backup.json lists and the snapshot has. */
static int plan_claims(struct restore *r, struct stored *archive, struct err *err)
{
    status_set(&r->st, "claims", json_array());
    if (json_array_size(json_object_get(archive->backup, "volumes")) > CLAIMS_MAX)
        return err_set(err, ERR_REFUSED, "the backup has more than %d volumes", CLAIMS_MAX);
    size_t i;
    json_t *row;
    json_array_foreach(json_object_get(archive->backup, "volumes"), i, row)
    {
        const char *claim = json_text_at(row, "claim", NULL),
                   *root = json_text_at(row, "root", NULL);
        const char *tree;
        if (!claim)
            return err_set(err, ERR_CORRUPT, "meta/backup.json in the snapshot is broken");
        if (stored_volume(archive, claim, &tree, err) < 0)
            return err->kind == ERR_NOT_FOUND
                       ? err_set(
                             err, ERR_REFUSED,
                             "the backup lacks the volume of claim %s: a Replace would lose data. "
                             "Restore a backup that is Completed",
                             claim)
                       : -1;
        json_array_append_new(restore_claims(r),
                              json_pack("{s:s, s:s, s:s, s:s}", "name", claim, "tree", tree, "root",
                                        root ? root : "", "state", "Pending"));
    }
    return restore_note_claims(r, err);
}

const struct kube_type *restore_type_of(const struct kube_discovery *types, const struct item *it)
{
    for (size_t i = 0; i < kube_discovery_count(types); i++) {
        const struct kube_type *t = kube_discovery_at(types, i);
        if (streq(t->group, it->group) && streq(t->resource, it->resource))
            return t;
    }
    return NULL;
}

int restore_plan(struct restore *r, struct err *err)
{
    struct stored *archive;
    const char *waits_for;
    if (restore_plan_holds(r, err) < 0 || restore_archive(r, &archive, err) < 0 ||
        plan_claims(r, archive, err) < 0 || restore_check_rights(r, err) < 0 ||
        restore_check_workloads(r, err) < 0 || restore_look_for_pods(r, false, &waits_for, err) < 0)
        return -1;
    return STEP_NEXT;
}

/* ---- Lock ---- */

int restore_take_leases(struct restore *r, struct err *err)
{
    struct lease_holder me = restore_holder(r);
    const char *lease = lease_of_target(r->a, restore_target(r, "kind"),
                                        restore_target(r, "namespace"), restore_target(r, "name"));
    const char *const leases[] = {LEASE_RESTORES, lease};
    for (size_t i = 0; i < ARRAY_LEN(leases); i++) {
        bool taken = false;
        const char *other = "";
        if (lease_take(r->cx, r->a, leases[i], &me, &taken, &other, err) < 0)
            return -1;
        if (!taken) {
            /* Whoever waits keeps nobody waiting: the other may need it to end. */
            if (i > 0 && ending_rest(r, err) < 0)
                return -1;
            r->wait_ms = 3000;
            return restore_wait(r, "waiting for %s to end", other);
        }
    }
    return STEP_NEXT;
}

/* One that is Held has given the Lease of all back, and goes on when it is asked to: until then the
 * volumes of its namespace are nobody else's. */
static int wait_for_neighbour(struct restore *r, struct err *err)
{
    struct lease_holder me = restore_holder(r);
    const char *other;
    me.guest_of = r->uid; /* not for itself */
    if (lease_restore_in(r->cx, r->a, restore_content_ns(r), &me, &other, err) < 0)
        return -1;
    if (!other)
        return STEP_NEXT;
    r->wait_ms = 3000;
    return restore_wait(r, "waiting for Restore %s, which is in the same namespace", other);
}

int restore_lock(struct restore *r, struct err *err)
{
    int rc = wait_for_neighbour(r, err);
    if (rc == STEP_NEXT)
        rc = restore_take_leases(r, err);
    if (rc != STEP_NEXT)
        return rc;
    rc = wait_for_neighbour(r, err); /* now that none can become one */
    if (rc != STEP_NEXT)
        return rc < 0 || ending_release(r, err) < 0 ? -1 : rc;
    /* The wait may have been long: who is held, and what mounts the claims, as of now. */
    const char *waits_for;
    if (restore_plan_holds(r, err) < 0 || restore_note_claims(r, err) < 0 ||
        restore_check_workloads(r, err) < 0 || restore_look_for_pods(r, false, &waits_for, err) < 0)
        return -1;
    return STEP_NEXT;
}
