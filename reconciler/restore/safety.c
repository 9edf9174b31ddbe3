/* SafetyBackup: what is there now, all of it, before anything is changed. */
#include "reconciler/restore/restore.h"

static const char *safety_name(struct restore *r)
{
    return arena_printf(r->a, "%.200s-safety-%.8s", r->name, r->uid);
}

/* The store of the backup, or the default one where nothing may be written there. */
static int safety_store(struct restore *r, const char **ret, struct err *err)
{
    struct stored *archive;
    if (restore_archive(r, &archive, err) < 0)
        return -1;
    if (!archive->opened.read_only) {
        *ret = json_text_at(r->st.now, "source", "store", NULL);
        return 0;
    }
    if (store_resolve(r->cx, r->a, NULL, ret, err) < 0)
        return err_wrap(err, "the store of the backup is only read, and the safety backup needs "
                             "another one");
    return 0;
}

static int make_backup(struct restore *r, const char *name, struct err *err)
{
    const char *store;
    if (safety_store(r, &store, err) < 0)
        return -1;
    json_t *body CLEANUP_JSON =
        json_pack("{s:s, s:s, s:{s:s, s:{s:s}}, s:{s:{s:s, s:s, s:s}, s:{s:s}, s:s}}", "apiVersion",
                  "gleaner.dev/v1alpha1", "kind", "Backup", "metadata", "name", name, "labels",
                  LEASE_SAFETY_LABEL, r->uid, "spec", "target", "kind", restore_target(r, "kind"),
                  "namespace", restore_target(r, "namespace"), "name", restore_target(r, "name"),
                  "storeRef", "name", store, "keep", "All");
    struct buf text CLEANUP(buf_free) = {0};
    json_print(&text, body);
    struct err why;
    if (kube_create(r->cx->kube, r->a, &KUBE_BACKUP, r->ns, buf_view(&text), NULL, NULL, &why) <
            0 &&
        why.kind != ERR_EXISTS)
        return err_set(err, why.kind, "making the safety backup %s: %s", name, why.msg);
    return 0;
}

static bool is_copied(const struct kube_object *backup, const char *claim)
{
    struct raw_iter it = raw_iter(raw_at(backup->raw, "status", "volumes", NULL));
    str key, row;
    while (raw_next(&it, &key, &row))
        if (raw_is(raw_get(row, "claim"), claim) && raw_is(raw_get(row, "phase"), "Completed"))
            return true;
    return false;
}

/* Which claims are the target's may have changed since the backup that is restored: what the safety
 * backup took for foreign, Volumes would overwrite all the same. */
static int every_claim_is_copied(struct restore *r, const struct kube_object *backup,
                                 struct err *err)
{
    size_t i;
    json_t *row;
    json_array_foreach(restore_claims(r), i, row)
    {
        const char *claim = json_text_at(row, "name", NULL);
        struct kube_object o;
        struct err why;
        if (kube_get(r->cx->kube, r->a, &KUBE_PVC, restore_content_ns(r), claim, &o, &why) < 0) {
            if (why.kind != ERR_NOT_FOUND)
                return err_set(err, why.kind, "claim %s: %s", claim, why.msg);
            continue;
        }
        if (raw_is(raw_at(o.raw, "status", "phase", NULL), "Bound") && !is_copied(backup, claim))
            return err_set(
                err, ERR_REFUSED,
                "the safety backup %s has no copy of claim %s, which would be overwritten: it "
                "does not count as the target's any more. Copy it by another way, then use "
                "spec.safetyBackup: false",
                backup->name, claim);
    }
    return 0;
}

/* ---- is it the last state? ---- */

/* *ret_there false: there is no such claim. */
static int get_claim(struct restore *r, const char *claim, struct kube_object *ret, bool *ret_there,
                     struct err *err)
{
    struct err why;
    *ret_there =
        kube_get(r->cx->kube, r->a, &KUBE_PVC, restore_content_ns(r), claim, ret, &why) == 0;
    if (!*ret_there && why.kind != ERR_NOT_FOUND)
        return err_set(err, why.kind, "claim %s: %s", claim, why.msg);
    return 0;
}

/* Its bytes go with the last pod that mounts it, which is what Stop takes away. */
static int is_leaving(const struct kube_object *claim, struct err *err)
{
    if (!raw_at(claim->raw, "metadata", "deletionTimestamp", NULL).p)
        return 0;
    return err_set(err, ERR_REFUSED,
                   "claim %s is being deleted, and no safety backup can keep its bytes: copy what "
                   "you need from it, let it go, then restore; spec.safetyBackup: false goes on "
                   "all the same",
                   claim->name);
}

int restore_note_claims(struct restore *r, struct err *err)
{
    size_t i;
    json_t *row;
    json_array_foreach(restore_claims(r), i, row)
    {
        struct kube_object o;
        bool there;
        if (get_claim(r, json_text_at(row, "name", NULL), &o, &there, err) < 0 ||
            (there && r->safety_backup && is_leaving(&o, err) < 0))
            return -1;
        if (there)
            json_object_set_new(row, "uid", json_string(o.uid));
        else
            json_object_del(row, "uid");
    }
    return 0;
}

static int check_claims(struct restore *r, struct err *err)
{
    size_t i;
    json_t *row;
    json_array_foreach(restore_claims(r), i, row)
    {
        struct kube_object o;
        bool there;
        const char *name = json_text_at(row, "name", NULL), *uid = json_text_at(row, "uid", NULL);
        if (get_claim(r, name, &o, &there, err) < 0 || (there && is_leaving(&o, err) < 0))
            return -1;
        if (uid && (!there || !streq(o.uid, uid)))
            return err_set(
                err, ERR_REFUSED,
                "claim %s was there when this Restore was planned, and is gone: find out "
                "who deleted it, and see whether its bytes are still somewhere. A new "
                "Restore goes on without them",
                name);
    }
    return 0;
}

int restore_check_still(struct restore *r, struct err *err)
{
    if (restore_look_for_writers(r, err) == 0 && restore_check_stopped(r, err) == 0 &&
        (!r->safety_backup || check_claims(r, err) == 0))
        return 0;
    r->outdated = err->kind == ERR_REFUSED;
    return -1;
}

/* ---- the step ---- */

int restore_safety_backup(struct restore *r, struct err *err)
{
    /* Looked at in each step: claims that were copied first wait for hours for those copied last.
     */
    if (restore_look_for_writers(r, err) < 0)
        return -1;
    if (!r->safety_backup)
        return STEP_NEXT;
    const char *name = safety_name(r);
    struct kube_object o;
    struct err why;
    if (!streq(status_text(&r->st, "safetyBackup"), name)) {
        status_set(&r->st, "safetyBackup", json_string(name));
        if (restore_save(r, err) < 0)
            return -1;
    }
    if (kube_get(r->cx->kube, r->a, &KUBE_BACKUP, r->ns, name, &o, &why) < 0) {
        if (why.kind != ERR_NOT_FOUND)
            return err_set(err, why.kind, "safety backup %s: %s", name, why.msg);
        if (check_claims(r, err) < 0 || make_backup(r, name, err) < 0)
            return -1;
        return restore_wait(r, "the safety backup %s begins", name);
    }
    if (!streq(kube_label(r->a, &o, LEASE_SAFETY_LABEL), r->uid))
        return err_set(err, ERR_REFUSED,
                       "a Backup %s is there and is not ours: delete or rename it", name);
    const char *phase = raw_text(r->a, o.raw, "status", "phase", NULL);
    if (streq(phase, "Completed"))
        return restore_check_still(r, err) < 0 || every_claim_is_copied(r, &o, err) < 0 ? -1
                                                                                        : STEP_NEXT;
    if (streq(phase, "PartiallyFailed") || streq(phase, "Failed"))
        return err_set(
            err, ERR_REFUSED,
            "the safety backup %s is %s: kubectl describe backup -n %s %s says why. Without "
            "it nothing can be taken back; spec.safetyBackup: false goes on all the same",
            name, phase, r->ns, name);
    return restore_wait(r, "the safety backup %s is %s", name,
                        phase && *phase ? phase : "beginning");
}
