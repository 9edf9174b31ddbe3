#include "reconciler/manager.h"

#include <getopt.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

#include "core/log.h"
#include "gitops/engine.h"
#include "kube/watch.h"
#include "reconciler/background.h"
#include "reconciler/gateway_setup.h"
#include "reconciler/health.h"
#include "reconciler/holds.h"
#include "reconciler/metrics.h"
#include "reconciler/backup/backup.h"
#include "reconciler/queue.h"
#include "reconciler/store/keyring.h"
#include "store/index.h"

enum { SWEEP_MS = 300000, DISCOVERY_RETRY_MS = 5000 };

/* What is watched, and who reconciles it. protect_reconcile takes the type as well. */
static const struct watched {
    const struct kube_type *type;
    reconcile_fn *reconcile; /* NULL: protect_reconcile */
} watched[] = {
    {&KUBE_BACKUPSTORE, backupstore_reconcile},
    {&KUBE_BACKUP, backup_reconcile},
    {&KUBE_SCHEDULE, schedule_reconcile},
    {&KUBE_RESTORE, restore_reconcile},
    {&KUBE_HELMRELEASE, NULL},
    {&KUBE_KUSTOMIZATION, NULL},
    {&KUBE_APPLICATION, NULL},
};

static const char sweep_key[] = "sweep";

struct manager {
    uv_loop_t loop;
    uv_async_t wake;
    uv_timer_t timer;
    uv_signal_t term, interrupt;
    struct queue *queue;
    struct kube_watch *watches[ARRAY_LEN(watched)];
    bool synced[ARRAY_LEN(watched)];
    unsigned threads, running;
    atomic_bool stopping, ready;
    struct context cx;
};

struct job {
    uv_work_t work;
    struct manager *m;
    char *key;
};

static void pump(struct manager *m);

static void on_wake(uv_async_t *async)
{
    pump(async->data);
}

static void on_timer(uv_timer_t *timer)
{
    pump(timer->data);
}

/* "index/namespace/name" of the table above. */
static char *key_of(size_t index, const char *ns, const char *name)
{
    return xasprintf("%zu/%s/%s", index, ns, name);
}

void manager_enqueue(struct manager *m, const struct kube_type *t, const char *ns, const char *name,
                     unsigned ms)
{
    for (size_t i = 0; i < ARRAY_LEN(watched); i++) {
        if (watched[i].type != t)
            continue;
        char *key CLEANUP(free_p) = key_of(i, ns, name);
        queue_add(m->queue, str_of(key), ms);
        uv_async_send(&m->wake);
    }
}

static void log_failure(const char *kind, const char *ns, const char *name, const struct err *err,
                        unsigned again_ms)
{
    char again[24];
    snprintf(again, sizeof again, "%u", again_ms);
    log_line(err_is_transient(err) ? LOG_WARN : LOG_ERROR, "reconcile failed", "kind", kind,
             "namespace", ns, "name", name, "cause", err_kind_name(err->kind), "error", err->msg,
             "again_ms", again, NULL);
}

static int count_hold(void *ctx, const struct held *h, struct err *err)
{
    (void)err;
    *(double *)ctx += h->application;
    return 0;
}

static int count_holds(struct context *cx, struct arena *a, struct err *err)
{
    double n = 0;
    if (holds_each(cx->kube, a, count_hold, &n, err) < 0)
        return -1;
    metrics_set("gleaner_held_applications", "", n);
    return 0;
}

static int sweep(struct context *cx, struct arena *a, struct err *err)
{
    if (holds_sweep(cx, a, err) < 0 || count_holds(cx, a, err) < 0)
        return -1;
    return gateway_setup(cx, err);
}

static int run_key(struct manager *m, struct arena *a, const char *key, const char **ret_kind,
                   const char **ret_ns, const char **ret_name, struct outcome *out, struct err *err)
{
    if (streq(key, sweep_key)) {
        *ret_kind = "sweep";
        *out = (struct outcome){OUTCOME_AFTER, SWEEP_MS};
        return sweep(&m->cx, a, err);
    }
    str rest = str_of(key);
    uint64_t index = 0;
    str_u64(str_cut(&rest, '/'), &index);
    str ns = arena_str(a, str_cut(&rest, '/'));
    const struct watched *w = &watched[index];
    *ret_kind = w->type->kind;
    *ret_ns = ns.p;
    *ret_name = arena_str(a, rest).p;
    *out = (struct outcome){.what = OUTCOME_DONE};
    if (w->reconcile)
        return w->reconcile(&m->cx, a, ns.p, *ret_name, out, err);
    return protect_reconcile(&m->cx, a, w->type, ns.p, *ret_name, out, err);
}

static void work(uv_work_t *req)
{
    struct job *job = req->data;
    struct manager *m = job->m;
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct err err;
    struct outcome out;
    const char *kind = "", *ns = "", *name = "";
    if (run_key(m, a, job->key, &kind, &ns, &name, &out, &err) < 0) {
        unsigned again = queue_failed(m->queue, job->key, err.retry_ms);
        if (err.kind != ERR_CANCELLED)
            log_failure(kind, ns, name, &err, again);
    } else {
        queue_done(m->queue, job->key, out.what == OUTCOME_AFTER ? (int64_t)out.ms : -1);
    }
}

static void after_work(uv_work_t *req, int status)
{
    (void)status;
    struct job *job = req->data;
    struct manager *m = job->m;
    m->running--;
    free(job->key);
    free(job);
    pump(m);
}

static bool all_synced(const struct manager *m)
{
    for (size_t i = 0; i < ARRAY_LEN(watched); i++)
        if (!m->synced[i])
            return false;
    return true;
}

/* Starts what is due, and sets the timer for what comes next. On the loop's thread. */
static void pump(struct manager *m)
{
    if (atomic_load(&m->stopping) || !all_synced(m))
        return;
    while (m->running < m->threads) {
        int64_t wait;
        char *key = queue_take(m->queue, &wait);
        if (!key) {
            if (wait >= 0)
                uv_timer_start(&m->timer, on_timer, (uint64_t)wait, 0);
            return;
        }
        struct job *job = xcalloc(1, sizeof *job);
        *job = (struct job){.m = m, .key = key};
        job->work.data = job;
        m->running++;
        uv_queue_work(&m->loop, &job->work, work, after_work);
    }
}

struct watch_context {
    struct manager *m;
    size_t index;
};

static struct watch_context watch_contexts[ARRAY_LEN(watched)];

static void look_at_store(struct manager *m, const struct kube_type *t, enum kube_event event,
                          const struct kube_object *o)
{
    if (t == &KUBE_BACKUPSTORE)
        (void)background_store(m->cx.background, o);
    if (t == &KUBE_BACKUP && event == KUBE_DELETED)
        (void)background_deleted(m->cx.background, o);
}

static void on_event(void *ctx, enum kube_event event, const struct kube_object *o)
{
    struct watch_context *w = ctx;
    if (event == KUBE_SYNCED) {
        w->m->synced[w->index] = true;
        if (all_synced(w->m)) {
            atomic_store(&w->m->ready, true);
            log_line(LOG_INFO, "watching", NULL);
        }
    } else {
        char *key CLEANUP(free_p) = key_of(w->index, o->ns, o->name);
        queue_add(w->m->queue, str_of(key), 0);
        look_at_store(w->m, watched[w->index].type, event, o);
    }
    pump(w->m);
}

static void on_watch_failed(void *ctx, const struct kube_type *t, const struct err *err)
{
    (void)ctx;
    if (err->kind != ERR_NOT_FOUND)
        log_err("watch failed, trying again", err, "resource", t->resource);
    else if (streq(t->group, KUBE_BACKUP.group)) /* an engine that is not installed is no news */
        log_line(LOG_ERROR, "the API server does not know this kind: apply manifests/crd", "kind",
                 t->kind, NULL);
}

static void on_signal(uv_signal_t *handle, int signum)
{
    (void)signum;
    struct manager *m = handle->data;
    atomic_store(&m->stopping, true);
    atomic_store(&m->ready, false);
    log_line(LOG_INFO, "stopping", NULL);
    for (size_t i = 0; i < ARRAY_LEN(watched); i++) {
        if (m->watches[i])
            kube_watch_stop(m->watches[i]);
        m->watches[i] = NULL;
    }
    uv_close((uv_handle_t *)&m->wake, NULL);
    uv_close((uv_handle_t *)&m->timer, NULL);
    uv_close((uv_handle_t *)&m->term, NULL);
    uv_close((uv_handle_t *)&m->interrupt, NULL);
}

static void start_handles(struct manager *m)
{
    uv_loop_init(&m->loop);
    uv_async_init(&m->loop, &m->wake, on_wake);
    uv_timer_init(&m->loop, &m->timer);
    uv_signal_init(&m->loop, &m->term);
    uv_signal_init(&m->loop, &m->interrupt);
    m->wake.data = m->timer.data = m->term.data = m->interrupt.data = m;
    uv_signal_start(&m->term, on_signal, SIGTERM);
    uv_signal_start(&m->interrupt, on_signal, SIGINT);
}

static int start_watches(struct manager *m, struct err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(watched); i++) {
        watch_contexts[i] = (struct watch_context){m, i};
        struct kube_watch_options opts = {.failed = on_watch_failed};
        if (kube_watch_start(&m->loop, m->cx.kube, watched[i].type, &opts, on_event,
                             &watch_contexts[i], &m->watches[i], err) < 0)
            return -1;
    }
    queue_add(m->queue, str_of(sweep_key), 0);
    return 0;
}

struct options {
    const char *kubeconfig, *health, *log_level, *engine_namespaces;
    unsigned threads;
};

static int parse_options(int argc, char **argv, struct options *o, struct context *cx)
{
    static const struct option known[] = {
        {"namespace", required_argument, NULL, 'n'},
        {"mover-image", required_argument, NULL, 'm'},
        {"local-root", required_argument, NULL, 'r'},
        {"engine-namespaces", required_argument, NULL, 'e'},
        {"health", required_argument, NULL, 'h'},
        {"threads", required_argument, NULL, 't'},
        {"sync-seconds", required_argument, NULL, 's'},
        {"log-level", required_argument, NULL, 'l'},
        {"kubeconfig", required_argument, NULL, 'k'},
        {0},
    };
    for (int c; (c = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (c) {
        case 'n':
            cx->ns = optarg;
            break;
        case 'm':
            cx->mover_image = optarg;
            break;
        case 'r':
            cx->local_root = optarg;
            break;
        case 'e':
            o->engine_namespaces = optarg;
            break;
        case 'h':
            o->health = optarg;
            break;
        case 't':
            o->threads = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 's':
            cx->sync_ms = (unsigned)MIN(strtoul(optarg, NULL, 10), 86400ul) * 1000;
            break;
        case 'l':
            o->log_level = optarg;
            break;
        case 'k':
            o->kubeconfig = optarg;
            break;
        default:
            return -1;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "gleaner controller: unexpected argument %s\n", argv[optind]);
        return -1;
    }
    return 0;
}

/* "a,b" to an array ended by NULL. */
static const char *const *split_names(const char *text)
{
    size_t n = 1, i = 0;
    for (const char *c = text; *c; c++)
        n += *c == ',';
    const char **names = xcalloc(n + 1, sizeof *names);
    for (str rest = str_of(text); rest.p;) {
        str name = str_cut(&rest, ',');
        if (name.n)
            names[i++] = str_dup(name);
    }
    return names;
}

static int read_cluster_name(struct context *cx, struct err *err)
{
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct kube_object ns;
    if (kube_get(cx->kube, a, &KUBE_NAMESPACE, NULL, "kube-system", &ns, err) < 0)
        return err_wrap(err, "reading the cluster's identity");
    snprintf(cx->cluster, sizeof cx->cluster, "%s", ns.uid);
    return 0;
}

static char *own_path(void)
{
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    return n > 0 ? xstrndup(path, (size_t)n) : xstrdup("/usr/bin/gleaner");
}

/* What must be there before the first reconcile. Tried until it works: at the start of a cluster
 * the API server may be away for minutes. */
static int prepare(struct manager *m, struct err *err)
{
    if (read_cluster_name(&m->cx, err) < 0)
        return -1;
    return gateway_setup(&m->cx, err);
}

static void prepare_until_it_works(struct manager *m)
{
    struct err err;
    while (prepare(m, &err) < 0) {
        log_err("not ready yet, trying again", &err, NULL, NULL);
        struct timespec pause = {DISCOVERY_RETRY_MS / 1000, 0};
        nanosleep(&pause, NULL);
    }
}

static int run(struct manager *m, struct options *o)
{
    struct err err;
    struct kube_config *config;
    if (kube_config_load(o->kubeconfig, NULL, &config, &err) < 0 ||
        kube_new(config, &m->cx.kube, &err) < 0) {
        log_err("cannot reach Kubernetes", &err, NULL, NULL);
        return 1;
    }
    kube_cancel_on(m->cx.kube, &m->stopping);
    m->cx.events = kube_events_new(m->cx.kube, "gleaner", m->cx.instance);
    struct health *health = NULL;
    if (o->health && health_start(o->health, &m->ready, &health, &err) < 0) {
        log_err("cannot serve health", &err, "address", o->health);
        return 1;
    }
    prepare_until_it_works(m);
    start_handles(m);
    m->cx.background = background_start(&m->cx);
    if (start_watches(m, &err) < 0) {
        log_err("cannot watch", &err, NULL, NULL);
        return 1;
    }
    uv_run(&m->loop, UV_RUN_DEFAULT);
    uv_loop_close(&m->loop);
    background_stop(m->cx.background);
    backup_sessions_end();
    keyring_wipe();
    health_stop(health);
    kube_events_free(m->cx.events);
    kube_free(m->cx.kube);
    queue_free(m->queue);
    log_line(LOG_INFO, "stopped", NULL);
    return 0;
}

static enum log_level level_of(const char *text)
{
    return streq(text, "debug")   ? LOG_DEBUG
           : streq(text, "warn")  ? LOG_WARN
           : streq(text, "error") ? LOG_ERROR
                                  : LOG_INFO;
}

/* Of the container, by its cgroup (v2, v1); 0: no bound is known. */
static uint64_t memory_bound(void)
{
    static const char *const files[] = {"/sys/fs/cgroup/memory.max",
                                        "/sys/fs/cgroup/memory/memory.limit_in_bytes"};
    unsigned long long bytes = 0;
    for (size_t i = 0; i < ARRAY_LEN(files) && bytes == 0; i++) {
        FILE *f = fopen(files[i], "re");
        if (f && fscanf(f, "%llu", &bytes) != 1)
            bytes = 0; /* "max" */
        if (f)
            fclose(f);
    }
    return bytes;
}

int controller_main(int argc, char **argv)
{
    static struct manager m;
    const char *ns = getenv("POD_NAMESPACE"), *pod = getenv("POD_NAME"), *uid = getenv("POD_UID");
    struct options o = {.threads = 16, .engine_namespaces = "flux-system,argocd"};
    m.cx = (struct context){.ns = ns ? ns : "gleaner-system",
                            .instance = pod ? pod : "gleaner",
                            .instance_uid = uid ? uid : "",
                            .mover_image = "gleaner:latest",
                            .local_root = "/var/lib/gleaner/store",
                            .stopping = &m.stopping,
                            .manager = &m};
    if (parse_options(argc, argv, &o, &m.cx) < 0)
        return 2;
    log_setup(level_of(o.log_level), "controller");
    m.threads = o.threads ? o.threads : 1;
    char threads[16];
    snprintf(threads, sizeof threads, "%u", m.threads);
    setenv("UV_THREADPOOL_SIZE", threads, 1);
    signal(SIGPIPE, SIG_IGN);
    /* Many threads, but not a heap for each; what is big (32 MiB for scrypt) goes back at once. */
    mallopt(M_ARENA_MAX, 2);
    mallopt(M_MMAP_THRESHOLD, 1 << 20);
    mallopt(M_TRIM_THRESHOLD, 1 << 20);
    /* So that the index or the directories of one repository do not take the memory of all others;
     * the rest is for key derivation, objects and buffers. */
    uint64_t memory = memory_bound();
    index_limit_memory(memory / 2);
    m.cx.tree_memory = memory / 4;
    m.queue = queue_new();
    m.cx.program = own_path();
    m.cx.engine_namespaces = split_names(o.engine_namespaces);
    return run(&m, &o);
}
