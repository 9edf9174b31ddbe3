/* BackupStore: says in conditions whether the store can be used, in words why not, and whether it
 * would be lost with the cluster. */
#include "core/codec.h"
#include "core/clock.h"
#include "core/map.h"
#include "reconciler/inside.h"
#include "reconciler/metrics.h"
#include "reconciler/status.h"
#include "reconciler/store/maintenance.h"
#include "reconciler/store/open.h"
#include "reconciler/store/words.h"
#include "store/layout.h"

#include <pthread.h>
#include <stdlib.h>

enum {
    CHECK_MS = 300000,
    NOT_READY_MS = 20000,      /* somebody is most likely putting it right just now */
    PROOF_MS = 60 * 60 * 1000, /* a writing proof leaves a delete marker in versioned buckets */
};

/* ---- when writing was last proven: of this process, by BackupStore ---- */

struct proof {
    char what[65];
    int64_t at_ms;
};

static pthread_mutex_t proofs_lock = PTHREAD_MUTEX_INITIALIZER;
static struct map *proofs;

static void what_is_proven(const struct kube_object *store, const struct store_place *p,
                           char what[65])
{
    struct buf text CLEANUP(buf_free) = {0};
    uint8_t hash[32];
    buf_printf(&text, "%s\n%s\n%s\n%s\n%s", store->uid, p->id, p->region ? p->region : "",
               p->access_key ? p->access_key : "", p->secret_key ? p->secret_key : "");
    sha256(text.p, text.n, hash);
    explicit_bzero(text.p, text.n);
    hex_encode(hash, sizeof hash, what);
}

static bool is_proven(const char *name, const char *what)
{
    pthread_mutex_lock(&proofs_lock);
    const struct proof *p = proofs ? map_get(proofs, str_of(name)) : NULL;
    bool is = p && streq(p->what, what) && clock_mono_ms() - p->at_ms < PROOF_MS;
    pthread_mutex_unlock(&proofs_lock);
    return is;
}

static void note_proof(const char *name, const char *what)
{
    struct proof *p = xcalloc(1, sizeof *p);
    snprintf(p->what, sizeof p->what, "%s", what);
    p->at_ms = clock_mono_ms();
    pthread_mutex_lock(&proofs_lock);
    if (!proofs)
        proofs = map_new(free);
    map_put(proofs, str_of(name), p);
    pthread_mutex_unlock(&proofs_lock);
}

/* ---- conditions ---- */

static void say_not_ready(struct context *cx, struct arena *a, struct status *s,
                          const struct err *why)
{
    struct store_place p CLEANUP(store_place_free) = {0};
    struct store_words w;
    struct err ignored;
    if (store_place_read(cx, a, &s->object, &p, &ignored) < 0)
        p = (struct store_place){0};
    store_explain(a, why, &p, &w);
    const char *text = arena_strdup(a, status_message(s, "Ready"));
    if (!text_same_but_numbers(text, w.message))
        text = w.message;
    if (w.passing)
        status_progress(s, w.reason, "%s", text);
    else
        status_stalled(s, w.reason, "%s", text);
}

static const char *place_note(struct arena *a, const struct store_place *p)
{
    return p->folder ? arena_printf(a, "local %s", p->folder)
                     : arena_printf(a, "s3 %s/%s", p->bucket, p->prefix);
}

static void judge(struct context *cx, struct arena *a, struct status *s)
{
    struct opened o CLEANUP(store_close) = {0};
    struct err why;
    char what[65];
    int r = store_open_soon(cx, a, s->object.name, LAYOUT_CLUSTER, true, &o, &why);
    if (r == 0)
        what_is_proven(&s->object, &o.place, what);
    if (r == 0 && !o.read_only && !is_proven(s->object.name, what)) {
        r = store_prove(cx, &o, &why);
        if (r == 0)
            note_proof(s->object.name, what);
    }
    if (r < 0) {
        say_not_ready(cx, a, s, &why);
    } else if (o.foreign) {
        status_ready(s, "ReadOnly",
                     "the store can be read; below its clusterName everything was made by another "
                     "cluster (uid %s) and is only read",
                     o.owner);
    } else if (o.read_only) {
        status_ready(s, "ReadOnly", "the store can be read; spec.readOnly forbids to write");
    } else {
        status_ready(s, "Opened", "the store can be written and its password opens it");
        status_set(s, "place", json_string(place_note(a, &o.place)));
    }
}

/* What would be lost together with the applications is no backup of them. */
static void judge_inside(struct context *cx, struct arena *a, struct status *s)
{
    struct store_place p CLEANUP(store_place_free) = {0};
    const char *endpoint = raw_text(a, s->object.raw, "spec", "s3", "endpoint", NULL), *why;
    bool told = true;
    if (raw_text(a, s->object.raw, "spec", "local", "path", NULL)) {
        status_condition(s, "InCluster", "True", "LocalVolume",
                         "it lies on gleaner's own volume and is lost with that volume; a copy "
                         "outside this cluster is advised");
        return;
    }
    p.endpoint = endpoint ? xstrdup(endpoint) : NULL;
    why =
        endpoint ? inside_why(inside_new(cx->kube, a, true), store_place_host(a, &p), &told) : NULL;
    if (!told)
        status_condition(s, "InCluster", "Unknown", "NotKnown", "%s", why);
    else if (why)
        status_condition(s, "InCluster", "True", "ServedHere", "%s", why);
    else
        status_condition(s, "InCluster", "False", "Elsewhere",
                         "its endpoint has no address of this cluster");
}

/* ---- the reconcile ---- */

static const char *reason_of(struct arena *a, const struct status *s)
{
    size_t i;
    json_t *c;
    json_array_foreach(json_object_get(s->now, "conditions"), i, c)
    {
        const char *type = json_string_value(json_object_get(c, "type"));
        if (type && streq(type, "Ready"))
            return arena_strdup(a, json_string_value(json_object_get(c, "reason")));
    }
    return "";
}

static void tell(struct context *cx, struct arena *a, struct status *s, bool was_ready,
                 const char *reason)
{
    bool ready = streq(status_condition_is(s, "Ready"), "True");
    struct err ignored;
    if (ready == was_ready && (ready || streq(reason, reason_of(a, s))))
        return;
    (void)!kube_event_emit(cx->events, &s->object, !ready, ready ? "StoreReady" : "StoreNotReady",
                           "Check", status_message(s, "Ready"), &ignored);
}

int backupstore_reconcile(struct context *cx, struct arena *a, const char *ns, const char *name,
                          struct outcome *ret, struct err *err)
{
    struct status s CLEANUP(status_free) = {0};
    if (status_read(cx->kube, a, &KUBE_BACKUPSTORE, ns, name, &s, err) < 0) {
        if (err->kind != ERR_NOT_FOUND)
            return -1;
        metrics_forget(metrics_label(a, "store", name));
        return 0;
    }
    bool was_ready = streq(status_condition_is(&s, "Ready"), "True");
    const char *reason = reason_of(a, &s);
    judge(cx, a, &s);
    /* It reads every pod's address: not each time while somebody puts the store right. */
    if (streq(status_condition_is(&s, "Ready"), "True") || !*status_condition_is(&s, "InCluster"))
        judge_inside(cx, a, &s);
    maintenance_conditions(&s);
    const char *requested = kube_annotation(a, &s.object, "reconcile.fluxcd.io/requestedAt");
    if (requested)
        status_set(&s, "lastHandledReconcileAt", json_string(requested));
    if (status_write(cx->kube, a, &s, false, err) < 0)
        return -1;
    tell(cx, a, &s, was_ready, reason);
    bool ready = streq(status_condition_is(&s, "Ready"), "True");
    *ret = (struct outcome){OUTCOME_AFTER, ready ? CHECK_MS : NOT_READY_MS};
    return 0;
}
