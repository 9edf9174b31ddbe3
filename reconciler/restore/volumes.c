/* Definitions and Volumes: what objects and bytes need to be there first, then the bytes. Each
 * claim is filled in place by a mover, one after the other. */
#include "reconciler/mover_pod.h"
#include "reconciler/restore/prepare.h"
#include "reconciler/restore/restore.h"
#include "reconciler/restore/workload.h"
#include "reconciler/restore/write.h"

/* ---- Definitions ---- */

static int make_namespace(struct restore *r, struct err *err)
{
    struct kube_object o;
    struct err why;
    const char *ns = restore_content_ns(r);
    if (kube_get(r->cx->kube, r->a, &KUBE_NAMESPACE, NULL, ns, &o, &why) == 0) {
        if (raw_at(o.raw, "metadata", "deletionTimestamp", NULL).p)
            return restore_wait(r, "namespace %s is being deleted", ns);
        return object_give_back(r->cx->kube, r->a, &KUBE_NAMESPACE, &o, (str){0}, NULL, false, err);
    }
    if (why.kind != ERR_NOT_FOUND)
        return err_set(err, why.kind, "namespace %s: %s", ns, why.msg);
    json_t *body CLEANUP_JSON = json_pack("{s:s, s:s, s:{s:s}}", "apiVersion", "v1", "kind",
                                          "Namespace", "metadata", "name", ns);
    struct buf text CLEANUP(buf_free) = {0};
    json_print(&text, body);
    if (kube_create(r->cx->kube, r->a, &KUBE_NAMESPACE, NULL, buf_view(&text), NULL, NULL, &why) <
            0 &&
        why.kind != ERR_EXISTS)
        return err_set(err, why.kind, "namespace %s: %s", ns, why.msg);
    return restore_wait(r, "namespace %s begins", ns);
}

int restore_definitions(struct restore *r, struct err *err)
{
    struct stored *archive;
    struct item *items;
    size_t n;
    if (restore_archive(r, &archive, err) < 0 ||
        stored_items(archive, SNAPSHOT_RESOURCES, &items, &n, err) < 0)
        return -1;
    const struct kube_discovery *types;
    if (restore_types(r, &types, err) < 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        const struct item *it = &items[i];
        if (!item_is_definition(it) || it->restore == RESTORE_NEVER)
            continue;
        const struct kube_type *t = restore_type_of(types, it);
        struct kube_object live;
        if (write_absent(r, archive, it, t, &live, err) < 0)
            return -1;
        if (streq(it->resource, "customresourcedefinitions") &&
            !kube_condition_is(live.raw, "Established", "True"))
            return restore_wait(r, "the definition %s is not established yet", it->name);
    }
    return make_namespace(r, err);
}

/* ---- Volumes ---- */

static const char *row_text(json_t *row, const char *member)
{
    const char *text = json_text_at(row, member, NULL);
    return text ? text : "";
}

static const struct item *find_claim(const struct item *items, size_t n, const char *ns,
                                     const char *claim)
{
    for (size_t i = 0; i < n; i++)
        if (streq(items[i].group, "") && streq(items[i].resource, "persistentvolumeclaims") &&
            streq(items[i].ns, ns) && streq(items[i].name, claim))
            return &items[i];
    return NULL;
}

/* The claim is there, or is made from its stored bytes. */
static int need_claim(struct restore *r, const char *claim, struct err *err)
{
    struct kube_object o;
    struct err why;
    const char *ns = restore_content_ns(r);
    bool there = kube_get(r->cx->kube, r->a, &KUBE_PVC, ns, claim, &o, &why) == 0;
    if (there) {
        if (raw_at(o.raw, "metadata", "deletionTimestamp", NULL).p)
            return restore_wait(r, "claim %s is being deleted", claim);
        if (raw_is(raw_at(o.raw, "status", "phase", NULL), "Lost"))
            return err_set(err, ERR_REFUSED,
                           "claim %s has lost its volume: delete the claim, then ask to go on",
                           claim);
    } else if (why.kind != ERR_NOT_FOUND) {
        return err_set(err, why.kind, "claim %s: %s", claim, why.msg);
    }
    struct stored *archive;
    struct item *items;
    size_t n;
    if (restore_archive(r, &archive, err) < 0 ||
        stored_items(archive, SNAPSHOT_RESOURCES, &items, &n, err) < 0)
        return -1;
    const struct item *it = find_claim(items, n, ns, claim);
    if (!it && there)
        return STEP_NEXT;
    if (!it)
        return err_set(
            err, ERR_REFUSED,
            "claim %s is gone and the backup does not hold it: make it, then ask to go on", claim);
    struct kube_object live;
    return write_absent(r, archive, it, &KUBE_PVC, &live, err) < 0 ? -1 : STEP_NEXT;
}

static int fill(struct restore *r, json_t *row, struct err *err)
{
    struct stored *archive;
    const char *claim = row_text(row, "name");
    int rc = need_claim(r, claim, err);
    if (rc != STEP_NEXT)
        return rc;
    if (restore_archive(r, &archive, err) < 0)
        return -1;
    struct mover_pod pod;
    struct mover_pod_spec spec = {.direction = MOVER_RESTORE,
                                  .owner_uid = r->uid,
                                  .owner = arena_printf(r->a, "Restore %s", r->full),
                                  .ns = restore_content_ns(r),
                                  .claim = claim,
                                  .store = &archive->opened,
                                  .tree = row_text(row, "tree"),
                                  .root = row_text(row, "root")};
    if (mover_pod_step(r->cx, r->a, &spec, &pod, err) < 0)
        return err_wrap(err, "the mover of claim %s", claim);
    if (pod.state == MOVER_WAITING || pod.state == MOVER_RUNNING)
        return restore_wait(r, "claim %s: %s", claim,
                            pod.state == MOVER_RUNNING ? "being filled" : pod.why);
    if (pod.state == MOVER_FAILED)
        return err_set(err, ERR_REFUSED, "the mover of claim %s failed: %s", claim, pod.why);
    char tree[STORE_ID_HEX] = "";
    if (pod.has_report && pod.report.has_tree)
        store_id_hex(&pod.report.tree, tree);
    if (!pod.has_report || pod.report.problems || !streq(tree, row_text(row, "tree")))
        return err_set(err, ERR_REFUSED, "claim %s does not equal the backup: %llu problems%s%s%s",
                       claim, pod.has_report ? (unsigned long long)pod.report.problems : 0ull,
                       pod.has_report && pod.report.first_n ? ", the first: " : "",
                       pod.has_report && pod.report.first_n ? pod.report.first[0].path : "",
                       pod.has_report && pod.report.first_n ? pod.report.first[0].what : "");
    json_object_set_new(row, "bytes", json_integer((json_int_t)pod.report.bytes));
    json_object_set_new(row, "written", json_integer((json_int_t)pod.report.moved));
    json_object_set_new(row, "state", json_string("Filled"));
    return restore_save(r, err) < 0 ? -1 : STEP_NEXT;
}

/* A pod that mounts a target claim while it is being filled sees half a volume, and may write to
 * it: the Restore is Held, and going on compares every volume again. */
static int nobody_mounts(struct restore *r, struct err *err)
{
    size_t i;
    json_t *row;
    json_array_foreach(restore_claims(r), i, row)
    {
        const char *pod = NULL, *node = NULL, *claim = row_text(row, "name");
        if (claim_consumer(r->cx, r->a, restore_content_ns(r), claim, &pod, &node, err) < 0)
            return -1;
        if (pod)
            return err_set(
                err, ERR_REFUSED,
                "pod %s mounts the claim %s while it is being restored: find out who started it, "
                "stop it, then ask to go on",
                pod, claim);
    }
    return 0;
}

int restore_volumes(struct restore *r, struct err *err)
{
    if (nobody_mounts(r, err) < 0)
        return -1;
    size_t i;
    json_t *row;
    json_array_foreach(restore_claims(r), i, row)
    {
        if (streq(row_text(row, "state"), "Filled"))
            continue;
        int rc = fill(r, row, err);
        if (rc != STEP_NEXT)
            return rc;
    }
    return restore_volumes_abort(r, err);
}

struct mover_left {
    struct restore *r;
    const char *text; /* the pod and its node, and what to do if it does not go */
};

static int on_mover_left(void *ctx, const struct kube_object *pod, struct err *err)
{
    struct mover_left *left = ctx;
    struct arena *a = left->r->a;
    const char *node = raw_text(a, pod->raw, "spec", "nodeName", NULL);
    (void)err;
    left->text =
        node && *node
            ? arena_printf(
                  a,
                  "waiting for the mover pod %s on node %s to go. If that node is gone for "
                  "good: kubectl delete node %s; never while it may still run the pod",
                  pod->name, node, node)
            : arena_printf(a, "waiting for the mover pod %s to go", pod->name);
    return 0;
}

int restore_volumes_abort(struct restore *r, struct err *err)
{
    bool gone = true;
    const char *ns = restore_content_ns(r);
    if (!*ns)
        return STEP_NEXT;
    if (mover_pod_remove(r->cx, r->a, r->uid, ns, NULL, &gone, err) < 0)
        return -1;
    if (gone)
        return STEP_NEXT;
    struct mover_left left = {r, "waiting for the movers to go"};
    struct kube_list opts = {.ns = ns,
                             .label_selector = arena_printf(r->a, "%s=%s", MOVER_LABEL, r->uid)};
    if (kube_list(r->cx->kube, &KUBE_POD, &opts, on_mover_left, &left, NULL, err) < 0)
        return -1;
    return restore_wait(r, "%s", left.text);
}
