#include "reconciler/background.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "core/clock.h"
#include "core/log.h"
#include "core/map.h"
#include "reconciler/queue.h"
#include "reconciler/status.h"
#include "reconciler/metrics.h"
#include "reconciler/store/maintenance.h"
#include "reconciler/store/retain.h"
#include "reconciler/store/sync.h"

enum {
    LOOK_MS = 1000,
    SOON_MS = 2000,
    AGAIN_MS = 60000, /* until a store that could not be read whole is looked at again */
    BUSY_MS = 10000,  /* at least, until one that others work on is tried again */
    BACK_OFF = -2,    /* for a turn's answer: after BUSY_MS, later and later to a minute */
    RETAIN_MS = 60 * 60 * 1000, /* retention goes by the clock too: "within" ends by itself */
    FRESH_MS = 10 * 60 * 1000,  /* for so long a ttl that is over is judged at each look */
    FORGOTTEN_MAX = 10000,
};

struct worker {
    struct background *b;
    struct queue *queue;
    pthread_t thread;
};

struct background {
    struct context *cx;
    pthread_mutex_t lock; /* of what follows; the condition is for both workers */
    pthread_cond_t more;
    struct map *looks;     /* of stores: struct look */
    struct map *retained;  /* of repositories, "store/namespace": struct retained */
    struct map *forgotten; /* uids of Backups that retention takes away, until their event came */
    struct worker quick, slow;
};

/* When a store is looked at next. Its BackupStore is known by uid, generation and requestedAt. */
struct look {
    char heard[160]; /* of the last event */
    char what[160];  /* at the last look */
    int64_t next_ms;
    bool wanted;
};

struct retained {
    int64_t at_ms;
};

static void wake_all(struct background *b)
{
    pthread_mutex_lock(&b->lock);
    pthread_cond_broadcast(&b->more);
    pthread_mutex_unlock(&b->lock);
}

static void add(struct background *b, struct worker *w, unsigned ms, const char *key)
{
    queue_add(w->queue, str_of(key), ms);
    wake_all(b);
}

/* ---- sync ---- */

static int retain_by_clock(struct background *b, struct arena *a, const char *store,
                           struct err *err);

static struct look *look_of(struct background *b, const char *store)
{
    struct look *l = map_get(b->looks, str_of(store));
    if (!l)
        map_put(b->looks, str_of(store), l = xcalloc(1, sizeof *l));
    return l;
}

static const char *what_is(struct arena *a, const struct kube_object *store)
{
    const char *requested = kube_annotation(a, store, "reconcile.fluxcd.io/requestedAt");
    str generation = raw_at(store->raw, "metadata", "generation", NULL);
    return arena_printf(a, "%s %.*s %.64s", store->uid, STR_FMT(generation),
                        requested ? requested : "");
}

/* How long it is until then; 0: now, and the store counts as looked at. */
static int64_t until_look(struct background *b, const char *store, const char *what)
{
    int64_t now = clock_mono_ms(), wait;
    pthread_mutex_lock(&b->lock);
    struct look *l = look_of(b, store);
    wait = l->wanted || !streq(l->what, what) ? 0 : MAX(l->next_ms - now, 0);
    if (wait == 0) {
        snprintf(l->what, sizeof l->what, "%s", what);
        l->wanted = false;
        l->next_ms = now + b->cx->sync_ms;
    }
    pthread_mutex_unlock(&b->lock);
    return wait;
}

static void look_again(struct background *b, const char *store, int64_t ms)
{
    pthread_mutex_lock(&b->lock);
    look_of(b, store)->next_ms = clock_mono_ms() + ms;
    pthread_mutex_unlock(&b->lock);
}

static int say(struct context *cx, struct arena *a, const char *store, const struct sync_result *r,
               struct err *err)
{
    char now[CLOCK_RFC3339];
    clock_format(clock_wall_ms(), now);
    json_t *body CLEANUP_JSON = json_pack(
        "{s:{s:{s:s, s:I, s:I, s:I, s:s*}}}", "status", "sync", "time", now, "repositories",
        (json_int_t)r->repositories, "snapshots", (json_int_t)r->snapshots, "unreadable",
        (json_int_t)r->failures, "message", r->failures ? r->failure : NULL);
    if (!r->failures)
        json_object_set_new(json_object_get(json_object_get(body, "status"), "sync"), "message",
                            json_null());
    struct buf text CLEANUP(buf_free) = {0};
    struct kube_write opts = {.subresource = "status"};
    json_print(&text, body);
    return kube_patch(cx->kube, a, &KUBE_BACKUPSTORE, NULL, store, KUBE_PATCH_MERGE,
                      buf_view(&text), &opts, NULL, err);
}

static int sync_turn(struct background *b, struct arena *a, const char *store, int64_t *ret_again,
                     struct err *err)
{
    struct sync_options options = {.apart_ms = b->cx->sync_ms * 4 / 5};
    struct sync_result r = {0};
    struct kube_object o;
    if (kube_get(b->cx->kube, a, &KUBE_BACKUPSTORE, NULL, store, &o, err) < 0) {
        if (err->kind != ERR_NOT_FOUND)
            return -1;
        metrics_forget(metrics_label(a, "store", store)); /* a turn may have gone on without it */
        return 0;
    }
    *ret_again = until_look(b, store, what_is(a, &o));
    if (*ret_again)
        return 0;
    struct err why;
    if (sync_store(b->cx, a, store, &options, &r, &why) < 0) {
        if (why.kind == ERR_CANCELLED)
            return err_set(err, why.kind, "%s", why.msg);
        r.failures++;
        r.unreachable = true;
        snprintf(r.failure, sizeof r.failure, "%.500s", why.msg);
    }
    if (!r.unreachable)
        metrics_set("gleaner_store_snapshots", metrics_label(a, "store", store),
                    (double)r.snapshots);
    metrics_set("gleaner_store_ready", metrics_label(a, "store", store),
                kube_condition_is(o.raw, "Ready", "True"));
    *ret_again = r.failures ? MIN(b->cx->sync_ms, AGAIN_MS) : b->cx->sync_ms;
    look_again(b, store, *ret_again);
    if (r.made || r.removed) {
        char made[24], removed[24];
        snprintf(made, sizeof made, "%zu", r.made);
        snprintf(removed, sizeof removed, "%zu", r.removed);
        log_line(LOG_INFO, "Backups follow the store", "store", store, "made", made, "removed",
                 removed, NULL);
    }
    if (say(b->cx, a, store, &r, err) < 0)
        return -1;
    return retain_by_clock(b, a, r.unreachable ? NULL : store, err);
}

/* ---- metrics ---- */

static void add_target(struct arena *a, const struct known_backup *b)
{
    str rest = str_of(b->target);
    const char *kind = arena_str(a, str_cut(&rest, ' ')).p;
    const char *ns = arena_str(a, str_cut(&rest, '/')).p;
    metrics_max(
        "gleaner_backup_last_success_timestamp_seconds",
        metrics_labels(a, "kind", kind, "namespace", ns, "name", arena_str(a, rest).p, NULL),
        (double)(b->completed_ms / 1000));
}

void background_measure(struct arena *a, const struct known *k)
{
    metrics_hold();
    metrics_clear("gleaner_backups");
    metrics_clear("gleaner_backup_last_success_timestamp_seconds");
    for (size_t i = 0; i < k->backups.n; i++) {
        const struct known_backup *b = &k->backups.p[i];
        metrics_add(
            "gleaner_backups",
            metrics_labels(a, "store", b->store, "phase", *b->phase ? b->phase : "Pending", NULL),
            1);
        if (streq(b->phase, "Completed") && !b->safety)
            add_target(a, b);
    }
    metrics_release();
}

/* ---- retention ---- */

static int64_t judged_ago(struct background *b, const char *repository)
{
    pthread_mutex_lock(&b->lock);
    const struct retained *r = map_get(b->retained, str_of(repository));
    int64_t ago = r ? clock_mono_ms() - r->at_ms : INT64_MAX;
    pthread_mutex_unlock(&b->lock);
    return ago;
}

bool background_is_due(const struct known_backup *b, int64_t now_ms, int64_t judged_ago_ms)
{
    int64_t over = now_ms - b->completed_ms - b->ttl_ms;
    if (b->ttl_ms && b->completed_ms && over >= 0)
        return over < FRESH_MS || judged_ago_ms >= MIN(over, RETAIN_MS);
    return b->schedule && judged_ago_ms >= RETAIN_MS;
}

/* at_ms: when it began; what came to be over meanwhile is not judged yet. */
static void note_retained(struct background *b, const char *repository, int64_t at_ms)
{
    struct retained *r = xcalloc(1, sizeof *r);
    r->at_ms = at_ms;
    pthread_mutex_lock(&b->lock);
    map_put(b->retained, str_of(repository), r);
    pthread_mutex_unlock(&b->lock);
}

/* Those repositories of which something may be over by the clock. Without a store, the metrics. */
static int retain_by_clock(struct background *b, struct arena *a, const char *store,
                           struct err *err)
{
    struct known k CLEANUP(known_free) = {0};
    int64_t now = clock_wall_ms();
    if (known_read(b->cx, a, &k, err) < 0)
        return -1;
    background_measure(a, &k);
    for (size_t i = 0; i < k.backups.n; i++) {
        const struct known_backup *x = &k.backups.p[i];
        if (!x->ended || !*x->snapshot || !*x->content || !store || !streq(x->store, store))
            continue;
        int64_t ago = judged_ago(b, arena_printf(a, "%s/%s", store, x->content));
        if (background_is_due(x, now, ago) || retain_is_asked(x->request, x->handled))
            background_retain(b, store, x->content);
    }
    return 0;
}

/* Each repository of a store that does not answer would take half a minute of this thread's, over
 * and over, while other stores wait: one look finds out when it is back, and asks for them all. */
static void wait_for_store(struct background *b, struct arena *a, const char *store,
                           const char *repository)
{
    pthread_mutex_lock(&b->lock);
    map_del(b->retained, str_of(repository));
    pthread_mutex_unlock(&b->lock);
    look_again(b, store, AGAIN_MS);
    add(b, &b->quick, AGAIN_MS, arena_printf(a, "sync/%s", store));
}

static int retain_turn(struct background *b, struct arena *a, str repository, int64_t *ret_again,
                       struct err *err)
{
    struct retain_result r;
    const char *whole = arena_str(a, repository).p;
    const char *store = arena_str(a, str_cut(&repository, '/')).p;
    struct err why;
    int64_t began_ms = clock_mono_ms();
    if (store_retain(b->cx, a, store, arena_str(a, repository).p, &r, &why) == 0) {
        note_retained(b, whole, began_ms);
        metrics_add("gleaner_snapshots_forgotten_total", metrics_label(a, "store", store),
                    (double)r.forgotten);
        return 0;
    }
    if (sync_is_unreachable(&why)) {
        wait_for_store(b, a, store, whole);
        log_err("a store does not answer, retention waits for it", &why, "repository", whole);
        return 0;
    }
    if (why.kind != ERR_BUSY)
        return err_set(err, why.kind, "%s", why.msg);
    *ret_again = BACK_OFF;
    return 0;
}

/* ---- threads ---- */

static int run_key(struct background *b, struct arena *a, const char *key, int64_t *ret_again,
                   struct err *err)
{
    str rest = str_of(key);
    str verb = str_cut(&rest, '/');
    *ret_again = -1;
    if (str_is(verb, "sync"))
        return sync_turn(b, a, arena_str(a, rest).p, ret_again, err);
    if (str_is(verb, "retain"))
        return retain_turn(b, a, rest, ret_again, err);
    if (str_is(verb, "maintain"))
        return maintenance_turn(b->cx, a, arena_str(a, rest).p, ret_again, err);
    return 0;
}

static void turn(struct worker *w, const char *key)
{
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct err err;
    int64_t again;
    if (run_key(w->b, a, key, &again, &err) == 0) {
        if (again == BACK_OFF)
            (void)queue_failed(w->queue, key, BUSY_MS);
        else
            queue_done(w->queue, key, again);
        return;
    }
    unsigned ms = queue_failed(w->queue, key, err.retry_ms ? err.retry_ms : LOOK_MS);
    char text[24];
    snprintf(text, sizeof text, "%u", ms);
    if (err.kind != ERR_CANCELLED)
        log_line(err_is_transient(&err) ? LOG_WARN : LOG_ERROR, "work on a store failed", "what",
                 key, "error", err.msg, "again_ms", text, NULL);
}

static void wait_ms(struct background *b, int64_t ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += ms % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&b->lock);
    if (!atomic_load(b->cx->stopping))
        (void)pthread_cond_timedwait(&b->more, &b->lock, &until);
    pthread_mutex_unlock(&b->lock);
}

static void *work(void *arg)
{
    struct worker *w = arg;
    while (!atomic_load(w->b->cx->stopping)) {
        int64_t wait;
        char *key CLEANUP(free_p) = queue_take(w->queue, &wait);
        if (key)
            turn(w, key);
        else
            wait_ms(w->b, wait < 0 ? LOOK_MS : MIN(wait, LOOK_MS));
    }
    return NULL;
}

static void worker_start(struct background *b, struct worker *w)
{
    w->b = b;
    w->queue = queue_new();
    if (pthread_create(&w->thread, NULL, work, w) != 0)
        abort(); /* no memory: as with every other allocation */
}

static void worker_stop(struct worker *w)
{
    pthread_join(w->thread, NULL);
    queue_free(w->queue);
}

/* By the clock that nobody sets: one that is set back by an hour would stop all work for an hour.
 */
static void condition_init(pthread_cond_t *c)
{
    pthread_condattr_t how;
    pthread_condattr_init(&how);
    pthread_condattr_setclock(&how, CLOCK_MONOTONIC);
    pthread_cond_init(c, &how);
    pthread_condattr_destroy(&how);
}

struct background *background_start(struct context *cx)
{
    struct background *b = xcalloc(1, sizeof *b);
    b->cx = cx;
    b->looks = map_new(free);
    b->retained = map_new(free);
    b->forgotten = map_new(NULL);
    pthread_mutex_init(&b->lock, NULL);
    condition_init(&b->more);
    if (!cx->sync_ms)
        cx->sync_ms = SYNC_PERIOD_MS;
    worker_start(b, &b->quick);
    worker_start(b, &b->slow);
    return b;
}

void background_stop(struct background *b)
{
    if (!b)
        return;
    wake_all(b);
    worker_stop(&b->quick);
    worker_stop(&b->slow);
    map_free(b->looks);
    map_free(b->retained);
    map_free(b->forgotten);
    pthread_cond_destroy(&b->more);
    pthread_mutex_destroy(&b->lock);
    free(b);
}

/* ---- what happens elsewhere ---- */

/* Work on a store writes what it did into the status. If that write's own event made the work due,
 * no pause would ever last. */
bool background_store(struct background *b, const struct kube_object *store)
{
    if (!b)
        return false;
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    const char *what = what_is(a, store);
    pthread_mutex_lock(&b->lock);
    struct look *l = look_of(b, store->name);
    bool news = !streq(l->heard, what);
    snprintf(l->heard, sizeof l->heard, "%s", what);
    pthread_mutex_unlock(&b->lock);
    if (!news)
        return false;
    add(b, &b->quick, 0, arena_printf(a, "sync/%s", store->name));
    add(b, &b->slow, 0, arena_printf(a, "maintain/%s", store->name));
    return true;
}

void background_forgot(struct background *b, const char *uid)
{
    if (!b)
        return;
    pthread_mutex_lock(&b->lock);
    if (map_count(b->forgotten) >= FORGOTTEN_MAX) { /* their events were lost: a look more each */
        map_free(b->forgotten);
        b->forgotten = map_new(NULL);
    }
    map_put(b->forgotten, str_of(uid), b);
    pthread_mutex_unlock(&b->lock);
}

bool background_deleted(struct background *b, const struct kube_object *backup)
{
    if (!b)
        return false;
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    const char *store = raw_text(a, backup->raw, "status", "store", NULL);
    bool failed = raw_is(raw_at(backup->raw, "status", "phase", NULL), "Failed") &&
                  !raw_at(backup->raw, "status", "snapshot", NULL).p;
    pthread_mutex_lock(&b->lock);
    bool wanted = !map_del(b->forgotten, str_of(backup->uid)) && !failed && store && *store;
    if (wanted)
        look_of(b, store)->wanted = true;
    pthread_mutex_unlock(&b->lock);
    if (wanted)
        add(b, &b->quick, SOON_MS, arena_printf(a, "sync/%s", store));
    return wanted;
}

void background_retain(struct background *b, const char *store, const char *content_ns)
{
    if (!b || !store || !*store || !content_ns || !*content_ns)
        return;
    char *key CLEANUP(free_p) = xasprintf("retain/%s/%s", store, content_ns);
    add(b, &b->quick, 0, key);
}
