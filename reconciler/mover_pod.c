#include "reconciler/mover_pod.h"

#include "core/clock.h"
#include "core/codec.h"
#include "core/json.h"
#include "core/vec.h"
#include "gateway/client.h"
#include "kube/types.h"
#include "mover/mover.h"
#include "reconciler/gateway_setup.h"

#define CONTAINER "mover"
#define ISTIO_INJECT "sidecar.istio.io/inject" /* a label; older versions read the annotation */

enum { TOKEN_SECONDS = 600, WHY_MAX = 400 };

const char *mover_pod_name(struct arena *a, enum mover_direction direction, const char *owner_uid,
                           const char *claim)
{
    uint8_t digest[32];
    char hex[9];
    const char *text = arena_printf(a, "%d|%s|%s", (int)direction, owner_uid, claim);
    sha256(text, strlen(text), digest);
    hex_encode(digest, 4, hex);
    return arena_printf(a, "gleaner-mover-%s", hex);
}

/* ---- who uses the claim ---- */

struct search {
    struct arena *a;
    const char *claim;
    const char *pod, *node;
};

static bool mounts(const struct kube_object *pod, const char *claim)
{
    str volume;
    for (struct raw_iter it = raw_iter(raw_at(pod->raw, "spec", "volumes", NULL));
         raw_next(&it, NULL, &volume);) {
        if (raw_is(raw_at(volume, "persistentVolumeClaim", "claimName", NULL), claim))
            return true;
    }
    return false;
}

static int consumer_seen(void *ctx, const struct kube_object *o, struct err *err)
{
    (void)err;
    struct search *s = ctx;
    str phase = raw_at(o->raw, "status", "phase", NULL);
    if (raw_is(phase, "Succeeded") || raw_is(phase, "Failed") || kube_label(s->a, o, MOVER_LABEL) ||
        !mounts(o, s->claim))
        return 0;
    const char *node = raw_text(s->a, o->raw, "spec", "nodeName", NULL);
    if (!node || s->pod)
        return 0;
    s->pod = arena_strdup(s->a, o->name);
    s->node = node;
    return 0;
}

int claim_consumer(struct context *cx, struct arena *a, const char *ns, const char *claim,
                   const char **ret_pod, const char **ret_node, struct err *err)
{
    struct search s = {.a = a, .claim = claim};
    struct kube_list opts = {.ns = ns};
    if (kube_list(cx->kube, &KUBE_POD, &opts, consumer_seen, &s, NULL, err) < 0)
        return err_wrap(err, "looking for pods that mount claim %s/%s", ns, claim);
    *ret_pod = s.pod;
    *ret_node = s.node;
    return 0;
}

/* ---- the pod ---- */

static void add_env(json_t *env, const char *name, const char *value)
{
    if (value && *value)
        json_array_append_new(env, json_pack("{s:s, s:s}", "name", name, "value", value));
}

static json_t *container(struct context *cx, const struct mover_pod_spec *spec, const char *gateway,
                         str ca)
{
    bool backup = spec->direction == MOVER_BACKUP;
    json_t *env = json_array();
    add_env(env, MOVER_ENV_GATEWAY, gateway);
    add_env(env, MOVER_ENV_CA, ca.p);
    add_env(env, MOVER_ENV_REPOSITORY, spec->store->path);
    add_env(env, MOVER_ENV_TREE, spec->tree);
    add_env(env, MOVER_ENV_ROOT, backup ? NULL : spec->root);
    /* What is not needed is not asked for: only a restore sets owners, set-group-id bits of foreign
     * groups, devices and file capabilities. All are within Pod Security's level "baseline". */
    json_t *add = backup ? json_pack("[s, s]", "DAC_OVERRIDE", "FOWNER")
                         : json_pack("[s, s, s, s, s, s]", "CHOWN", "DAC_OVERRIDE", "FOWNER",
                                     "FSETID", "MKNOD", "SETFCAP");
    json_t *security =
        json_pack("{s:i, s:b, s:b, s:b, s:{s:[s], s:o}, s:{s:s}}", "runAsUser", 0, "runAsNonRoot",
                  0, "allowPrivilegeEscalation", 0, "readOnlyRootFilesystem", 1, "capabilities",
                  "drop", "ALL", "add", add, "seccompProfile", "type", "RuntimeDefault");
    json_t *mounts_json =
        json_pack("[{s:s, s:s, s:b}, {s:s, s:s, s:b}]", "name", "volume", "mountPath",
                  MOVER_DEFAULT_VOLUME, "readOnly", backup ? 1 : 0, "name", "token", "mountPath",
                  "/var/run/gleaner", "readOnly", 1);
    return json_pack("{s:s, s:s, s:s, s:[s, s], s:o, s:o, s:o, s:{s:{s:s, s:s}, s:{s:s}}}", "name",
                     CONTAINER, "image", cx->mover_image, "imagePullPolicy", "IfNotPresent", "args",
                     "mover", backup ? "backup" : "restore", "env", env, "securityContext",
                     security, "volumeMounts", mounts_json, "resources", "requests", "cpu", "20m",
                     "memory", "64Mi", "limits", "memory", "512Mi");
}

/* Beside the consumer: a volume that only one node may mount is mounted there already. */
static void set_place(json_t *pod_spec, const char *node)
{
    json_object_set_new(pod_spec, "affinity",
                        json_pack("{s:{s:{s:[{s:[{s:s, s:s, s:[s]}]}]}}}", "nodeAffinity",
                                  "requiredDuringSchedulingIgnoredDuringExecution",
                                  "nodeSelectorTerms", "matchFields", "key", "metadata.name",
                                  "operator", "In", "values", node));
    json_object_set_new(pod_spec, "tolerations", json_pack("[{s:s}]", "operator", "Exists"));
}

static json_t *pod_json(struct context *cx, struct arena *a, const struct mover_pod_spec *spec,
                        const char *node, const char *gateway, str ca)
{
    json_t *token = json_pack("{s:s, s:i, s:s}", "audience", GATEWAY_AUDIENCE, "expirationSeconds",
                              TOKEN_SECONDS, "path", "token");
    json_t *volumes = json_pack("[{s:s, s:{s:s}}, {s:s, s:{s:[{s:o}]}}]", "name", "volume",
                                "persistentVolumeClaim", "claimName", spec->claim, "name", "token",
                                "projected", "sources", "serviceAccountToken", token);
    json_t *pod_spec = json_pack(
        "{s:s, s:s, s:b, s:b, s:i, s:i, s:[o], s:o}", "restartPolicy", "Never",
        "serviceAccountName", "default", "automountServiceAccountToken", 0, "enableServiceLinks", 0,
        "terminationGracePeriodSeconds", 5, "activeDeadlineSeconds", (int)MOVER_DEADLINE_S,
        "containers", container(cx, spec, gateway, ca), "volumes", volumes);
    if (node && *node)
        set_place(pod_spec, node);
    const char *name = mover_pod_name(a, spec->direction, spec->owner_uid, spec->claim);
    /* A mesh's proxy does not end with the mover, and the pod would never end. */
    return json_pack("{s:s, s:s, s:{s:s, s:s, s:{s:s, s:s}, s:{s:s, s:s*, s:s, s:s}}, s:o}",
                     "apiVersion", "v1", "kind", "Pod", "metadata", "name", name, "namespace",
                     spec->ns, "labels", MOVER_LABEL, spec->owner_uid, ISTIO_INJECT, "false",
                     "annotations", MOVER_CLAIM_ANNOTATION, spec->claim, MOVER_LOCK_ANNOTATION,
                     spec->lock, ISTIO_INJECT, "false", "linkerd.io/inject", "disabled", "spec",
                     pod_spec);
}

/* An admission that says no will say it again: the reason is for people. */
static int refused(const struct mover_pod_spec *spec, struct err *err)
{
    if (strstr(err->msg, "PodSecurity")) {
        struct err why = *err;
        return err_set(
            err, ERR_REFUSED,
            "%s: Pod Security of namespace %s forbids the mover of claim %s, which runs as "
            "root to keep owners and modes. Allow it with `kubectl label namespace %s "
            "pod-security.kubernetes.io/enforce=baseline --overwrite`. The server said: %s",
            spec->owner, spec->ns, spec->claim, spec->ns, why.msg);
    }
    if (strstr(err->msg, "exceeded quota")) {
        err->kind = ERR_REFUSED;
        return err_wrap(err,
                        "%s: a quota of namespace %s leaves no room for the mover of claim %s: "
                        "raise it for one pod of 20m CPU and 64Mi memory",
                        spec->owner, spec->ns, spec->claim);
    }
    if (err->kind == ERR_FORBIDDEN || err->kind == ERR_INVALID)
        err->kind = ERR_REFUSED;
    return err_wrap(err, "%s: making the mover of claim %s/%s", spec->owner, spec->ns, spec->claim);
}

static int make(struct context *cx, struct arena *a, const struct mover_pod_spec *spec,
                const char *gateway, str ca, struct kube_object *ret, struct err *err)
{
    const char *pod, *node = spec->node;
    struct kube_object claim;
    if (kube_get(cx->kube, a, &KUBE_PVC, spec->ns, spec->claim, &claim, err) < 0)
        return err_wrap(err, "claim %s/%s", spec->ns, spec->claim);
    if (!node && claim_consumer(cx, a, spec->ns, spec->claim, &pod, &node, err) < 0)
        return -1;
    json_t *body CLEANUP_JSON = pod_json(cx, a, spec, node, gateway, ca);
    struct buf text CLEANUP(buf_free) = {0};
    json_print(&text, body);
    if (kube_create(cx->kube, a, &KUBE_POD, spec->ns, buf_view(&text), NULL, ret, err) == 0)
        return 0;
    if (err->kind == ERR_EXISTS)
        return kube_get(cx->kube, a, &KUBE_POD, spec->ns,
                        mover_pod_name(a, spec->direction, spec->owner_uid, spec->claim), ret, err);
    return refused(spec, err);
}

/* ---- what it says ---- */

/* An admission may have put other containers beside ours. */
static str container_state(const struct kube_object *pod, const char *which)
{
    str status;
    struct raw_iter it = raw_iter(raw_at(pod->raw, "status", "containerStatuses", NULL));
    while (raw_next(&it, NULL, &status))
        if (raw_is(raw_get(status, "name"), CONTAINER))
            return raw_at(status, "state", which, NULL);
    return (str){0};
}

/* Why a pod does not run yet: the scheduler's word, or the container's. */
static const char *waiting_for(struct arena *a, const struct kube_object *pod)
{
    str waiting = container_state(pod, "waiting");
    const char *reason = raw_text(a, waiting, "reason", NULL);
    const char *message = raw_text(a, waiting, "message", NULL);
    if (reason && message)
        return arena_printf(a, "%s: %.*s", reason, WHY_MAX, message);
    const char *text = raw_text(a, kube_condition(pod->raw, "PodScheduled"), "message", NULL);
    if (text && kube_condition_is(pod->raw, "PodScheduled", "False"))
        return arena_printf(a, "it is not scheduled: %.*s", WHY_MAX, text);
    return reason ? reason : "it is being started";
}

/* The report is the pod's own words, and the pod runs where a tenant rules: it is checked by
 * mover_report_decode, and a message that is no report is not repeated to anybody. */
static void read_end(struct arena *a, const struct kube_object *pod, struct mover_pod *m)
{
    str end = container_state(pod, "terminated");
    int64_t code = -1;
    bool has_code = raw_int(raw_get(end, "exitCode"), &code);
    str text = raw_string(a, raw_get(end, "message"));
    m->has_report = text.p && mover_report_decode(text, &m->report, NULL) == 0;
    m->state = MOVER_FAILED;
    if (has_code && (code == MOVER_EXIT_DONE || code == MOVER_EXIT_PROBLEMS) && m->has_report &&
        m->report.has_tree) {
        m->state = MOVER_DONE;
        return;
    }
    const char *reason = raw_text(a, pod->raw, "status", "reason", NULL);
    const char *message = raw_text(a, pod->raw, "status", "message", NULL);
    if (m->has_report && m->report.error[0])
        m->why = arena_strdup(a, m->report.error);
    else if (reason)
        m->why = arena_printf(a, "%s: %.*s", reason, WHY_MAX, message ? message : "");
    else if (has_code)
        m->why = arena_printf(a, "it ended with code %lld and no report", (long long)code);
    else
        m->why = "it ended without a word";
}

/* Milliseconds since a time; -1 if there is none. */
static int64_t since(const char *time)
{
    int64_t ms;
    return time && clock_parse(str_of(time), &ms) ? clock_wall_ms() - ms : -1;
}

static int64_t leaving_since(struct arena *a, const struct kube_object *pod)
{
    const char *time = raw_text(a, pod->raw, "metadata", "deletionTimestamp", NULL);
    return time ? MAX(since(time), 0) : -1;
}

/* A mover has no probes: it is not ready only if the node controller says so, of a node that does
 * not answer. Its kubelet keeps no deadline then, and the mover tolerates the taint. Source:
 * k8s.io/kubernetes pkg/controller/util/node MarkPodsNotReady. */
static bool is_lost(struct arena *a, const struct kube_object *pod, int64_t age_ms)
{
    if (age_ms > MOVER_DEADLINE_S * INT64_C(1000) + MOVER_LOST_MS)
        return true;
    const char *changed =
        raw_text(a, kube_condition(pod->raw, "Ready"), "lastTransitionTime", NULL);
    return kube_condition_is(pod->raw, "Ready", "False") && since(changed) > MOVER_LOST_MS &&
           container_state(pod, "running").p;
}

static void observe(struct arena *a, const struct kube_object *pod, struct mover_pod *m)
{
    const char *node = raw_text(a, pod->raw, "spec", "nodeName", NULL);
    const char *created = raw_text(a, pod->raw, "metadata", "creationTimestamp", NULL);
    *m =
        (struct mover_pod){.name = pod->name, .uid = pod->uid, .node = node ? node : "", .why = ""};
    m->age_ms = MAX(since(created), 0);
    m->leaving_ms = leaving_since(a, pod);
    str phase = raw_at(pod->raw, "status", "phase", NULL);
    /* A pod goes on for as long as containers beside ours do. */
    bool ended = raw_is(phase, "Succeeded") || raw_is(phase, "Failed") ||
                 container_state(pod, "terminated").p;
    if (ended) {
        read_end(a, pod, m);
    } else if (m->leaving_ms >= 0) {
        m->state = MOVER_FAILED;
        m->why = "it was deleted while it worked";
    } else if (raw_is(phase, "Running") && is_lost(a, pod, m->age_ms)) {
        m->state = MOVER_FAILED;
        m->why = arena_printf(a, "its node %s does not answer", m->node);
    } else if (raw_is(phase, "Running")) {
        m->state = MOVER_RUNNING;
    } else {
        m->state = MOVER_WAITING;
        m->why = waiting_for(a, pod);
    }
}

void mover_pod_registration(const struct mover_pod_spec *spec, const char *uid,
                            const struct store_place *place, struct mover_pod_registration *ret)
{
    const struct opened *o = spec->store;
    *ret = (struct mover_pod_registration){.keys = {o->mover_key_id}};
    store_place_s3(place, place->prefix, &ret->s3);
    ret->mover = (struct gateway_mover){.pod_uid = uid,
                                        .store = place->folder,
                                        .s3 = place->folder ? NULL : &ret->s3,
                                        .repository = o->path,
                                        .password = o->mover_password,
                                        .keys = ret->keys,
                                        .key_text = o->mover_key_text,
                                        .write = spec->direction == MOVER_BACKUP,
                                        .lock = spec->lock};
    if (!place->folder)
        ret->mover.config = repository_sealed_config(o->repo);
}

/* Where the store lies is read anew each time: so renewed credentials reach the gateway. */
static int enlist(struct context *cx, struct arena *a, const struct mover_pod_spec *spec,
                  const char *uid, const char *gateway, str ca, struct err *err)
{
    struct gateway_client CLEANUP(gateway_client_free_p) *client = NULL;
    struct store_place place CLEANUP(store_place_free) = {0};
    struct mover_pod_registration r;
    if (store_now(cx, a, spec->store, &place, err) < 0)
        return -1;
    mover_pod_registration(spec, uid, &place, &r);
    if (gateway_client_new(gateway, ca.p, GATEWAY_TOKEN_FILE, &client, err) < 0 ||
        gateway_register(client, &r.mover, err) < 0)
        return err_wrap(err, "registering a mover at the gateway");
    return 0;
}

int mover_pod_step(struct context *cx, struct arena *a, const struct mover_pod_spec *spec,
                   struct mover_pod *ret, struct err *err)
{
    const char *gateway;
    str ca;
    struct kube_object pod;
    const char *name = mover_pod_name(a, spec->direction, spec->owner_uid, spec->claim);
    if (gateway_address(cx, a, &gateway, &ca, err) < 0)
        return -1;
    if (kube_get(cx->kube, a, &KUBE_POD, spec->ns, name, &pod, err) < 0) {
        if (err->kind != ERR_NOT_FOUND)
            return -1;
        if (make(cx, a, spec, gateway, ca, &pod, err) < 0)
            return -1;
    }
    if (!streq(kube_label(a, &pod, MOVER_LABEL), spec->owner_uid))
        return err_set(err, ERR_REFUSED,
                       "pod %s/%s is in the way of the mover of claim %s: delete it", spec->ns,
                       name, spec->claim);
    struct mover_pod m;
    observe(a, &pod, &m);
    if (!streq(kube_annotation(a, &pod, MOVER_LOCK_ANNOTATION), spec->lock)) {
        m.state = MOVER_FAILED;
        m.cut = true;
        m.why = "the repository was not locked for a time while its mover worked";
    }
    if ((m.state == MOVER_WAITING || m.state == MOVER_RUNNING) &&
        enlist(cx, a, spec, pod.uid, gateway, ca, err) < 0)
        return -1;
    *ret = m;
    return 0;
}

/* ---- removal ---- */

struct removal {
    struct context *cx;
    struct arena *a;
    const char *claim;
    struct gateway_client *client; /* NULL: the gateway cannot be reached, and forgets by itself */
    VEC(struct kube_object) pods;
};

static int removal_seen(void *ctx, const struct kube_object *o, struct err *err)
{
    (void)err;
    struct removal *r = ctx;
    if (!r->claim || streq(kube_annotation(r->a, o, MOVER_CLAIM_ANNOTATION), r->claim))
        *vec_add(&r->pods) = kube_object_copy(r->a, o);
    return 0;
}

static int remove_one(struct removal *r, const struct kube_object *pod, struct err *err)
{
    struct kube_delete opts = {.uid = pod->uid, .grace_seconds = -1};
    str phase = raw_at(pod->raw, "status", "phase", NULL);
    if (raw_is(phase, "Succeeded") || raw_is(phase, "Failed"))
        opts.grace_seconds = 0;
    if (r->client)
        (void)!gateway_unregister(r->client, pod->uid, NULL);
    if (kube_delete(r->cx->kube, &KUBE_POD, pod->ns, pod->name, &opts, err) == 0 ||
        err->kind == ERR_NOT_FOUND || err->kind == ERR_CONFLICT)
        return 0;
    return err_wrap(err, "deleting mover %s/%s", pod->ns, pod->name);
}

/* *ret_left: pods that are there; *ret_lost: those of them whose nodes do not answer. */
static int remove_all(struct context *cx, struct arena *a, const char *owner_uid, const char *ns,
                      const char *claim, size_t *ret_left, size_t *ret_lost, struct err *err)
{
    struct gateway_client CLEANUP(gateway_client_free_p) *client = NULL;
    struct removal r = {.cx = cx, .a = a, .claim = claim};
    struct kube_list opts = {.ns = ns,
                             .label_selector = arena_printf(a, MOVER_LABEL "=%s", owner_uid)};
    if (kube_list(cx->kube, &KUBE_POD, &opts, removal_seen, &r, NULL, err) < 0) {
        vec_free(&r.pods);
        return err_wrap(err, "looking for movers in namespace %s", ns);
    }
    const char *gateway;
    str ca;
    if (r.pods.n && gateway_address(cx, a, &gateway, &ca, NULL) == 0 &&
        gateway_client_new(gateway, ca.p, GATEWAY_TOKEN_FILE, &client, NULL) == 0)
        r.client = client;
    int result = 0;
    for (size_t i = 0; result == 0 && i < r.pods.n; i++)
        result = remove_one(&r, &r.pods.p[i], err);
    *ret_left = r.pods.n;
    *ret_lost = 0;
    for (size_t i = 0; i < r.pods.n; i++)
        *ret_lost += leaving_since(a, &r.pods.p[i]) > MOVER_LOST_MS;
    vec_free(&r.pods);
    return result;
}

int mover_pod_remove(struct context *cx, struct arena *a, const char *owner_uid, const char *ns,
                     const char *claim, bool *ret_gone, struct err *err)
{
    size_t left, lost;
    if (remove_all(cx, a, owner_uid, ns, claim, &left, &lost, err) < 0)
        return -1;
    *ret_gone = left == 0;
    return 0;
}

int mover_pod_leave(struct context *cx, struct arena *a, const char *owner_uid, const char *ns,
                    bool *ret_gone, struct err *err)
{
    size_t left, lost;
    if (remove_all(cx, a, owner_uid, ns, NULL, &left, &lost, err) < 0)
        return -1;
    *ret_gone = left == lost;
    return 0;
}
