/* Stands in for reconciler/mover_pod.c: the pod is made and watched as always, but there is neither
 * a gateway nor a mover behind it; the kubelet's reactor lets it succeed. */
#include "reconciler/mover_pod.h"

#include <stdlib.h>

#include "core/codec.h"
#include "core/json.h"

const char *mover_pod_name(struct arena *a, enum mover_direction direction, const char *owner_uid,
                           const char *claim)
{
    return arena_printf(a, "gleaner-mover-%d-%.8s-%s", (int)direction, owner_uid, claim);
}

static int make(struct context *cx, struct arena *a, const struct mover_pod_spec *spec,
                const char *name, struct err *err)
{
    json_t *body CLEANUP_JSON = json_pack("{s:s, s:s, s:{s:s, s:{s:s}}, s:{s:[]}}", "apiVersion",
                                          "v1", "kind", "Pod", "metadata", "name", name, "labels",
                                          MOVER_LABEL, spec->owner_uid, "spec", "containers");
    struct buf text CLEANUP(buf_free) = {0};
    json_print(&text, body);
    return kube_create(cx->kube, a, &KUBE_POD, spec->ns, buf_view(&text), NULL, NULL, err);
}

int mover_pod_step(struct context *cx, struct arena *a, const struct mover_pod_spec *spec,
                   struct mover_pod *ret, struct err *err)
{
    struct kube_object o;
    struct err why;
    struct mover_pod pod = {.name =
                                mover_pod_name(a, spec->direction, spec->owner_uid, spec->claim),
                            .state = MOVER_WAITING,
                            .why = "it begins"};
    if (kube_get(cx->kube, a, &KUBE_POD, spec->ns, pod.name, &o, &why) < 0) {
        if (why.kind != ERR_NOT_FOUND)
            return err_set(err, why.kind, "%s", why.msg);
        if (make(cx, a, spec, pod.name, err) < 0)
            return -1;
    } else if (raw_is(raw_at(o.raw, "status", "phase", NULL), "Succeeded")) {
        pod.state = MOVER_DONE;
        pod.has_report = pod.report.has_tree = true;
        if (!store_id_parse(str_of(spec->tree), &pod.report.tree))
            return err_set(err, ERR_INVALID, "not a tree: %s", spec->tree);
    }
    *ret = pod;
    return 0;
}

struct removal {
    struct context *cx;
    struct arena *a;
    size_t n;
};

static int remove_one(void *ctx, const struct kube_object *o, struct err *err)
{
    struct removal *r = ctx;
    struct kube_delete how = {.uid = o->uid, .grace_seconds = 0};
    r->n++;
    return kube_delete(r->cx->kube, &KUBE_POD, o->ns, o->name, &how, err);
}

int mover_pod_remove(struct context *cx, struct arena *a, const char *owner_uid, const char *ns,
                     const char *claim, bool *ret_gone, struct err *err)
{
    (void)claim;
    struct removal r = {cx, a, 0};
    struct kube_list opts = {.ns = ns,
                             .label_selector = arena_printf(a, "%s=%s", MOVER_LABEL, owner_uid)};
    if (kube_list(cx->kube, &KUBE_POD, &opts, remove_one, &r, NULL, err) < 0)
        return -1;
    *ret_gone = r.n == 0;
    return 0;
}

int mover_pod_leave(struct context *cx, struct arena *a, const char *owner_uid, const char *ns,
                    bool *ret_gone, struct err *err)
{
    return mover_pod_remove(cx, a, owner_uid, ns, NULL, ret_gone, err);
}

struct search {
    struct arena *a;
    const char *claim, *pod;
};

static int look(void *ctx, const struct kube_object *o, struct err *err)
{
    struct search *s = ctx;
    struct raw_iter it = raw_iter(raw_at(o->raw, "spec", "volumes", NULL));
    (void)err;
    for (str volume; raw_next(&it, NULL, &volume);)
        if (raw_is(raw_at(volume, "persistentVolumeClaim", "claimName", NULL), s->claim))
            s->pod = arena_strdup(s->a, o->name);
    return 0;
}

int claim_consumer(struct context *cx, struct arena *a, const char *ns, const char *claim,
                   const char **ret_pod, const char **ret_node, struct err *err)
{
    struct search s = {a, claim, NULL};
    struct kube_list opts = {.ns = ns};
    if (kube_list(cx->kube, &KUBE_POD, &opts, look, &s, NULL, err) < 0)
        return -1;
    *ret_pod = s.pod;
    *ret_node = NULL;
    return 0;
}
