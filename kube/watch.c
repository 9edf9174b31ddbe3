/* States: LISTING (pages through the splitter) -> WATCHING (lines) -> either again after a pause.
 * What has been delivered is remembered by name, uid and version, so that a new list can tell what
 * is new, changed and gone. */
#include "kube/watch.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/codec.h"
#include "core/map.h"
#include "core/vec.h"
#include "kube/async.h"
#include "kube/lines.h"
#include "kube/private.h"
#include "kube/splitter.h"

enum {
    PAGE = 500,
    BACKOFF_MIN_MS = 800,
    BACKOFF_MAX_MS = 30000,
    NOT_SERVED_MS = 30000,
    HEALTHY_MS = 5000, /* a stream that lived that long was no failure */
    RELIST_AFTER = 3,  /* failures in a row: the position itself may be the trouble */
    WATCH_MIN_S = 300,
    WATCH_SPAN_S = 300,
    SILENCE_S = 5
};

struct known {
    char *uid, *version;
    unsigned round;
};

struct kube_watch {
    struct kube *k;
    const struct kube_type *t;
    char *ns, *label_selector;
    void (*failed)(void *ctx, const struct kube_type *t, const struct err *err);
    kube_watch_fn *fn;
    void *ctx;
    struct async *net;
    uv_timer_t timer;
    unsigned open; /* what must close before the memory goes: the network, the timer */
    bool stopped, synced, relist, token_dropped;
    bool position_lost; /* the stream said 410 */
    struct kube_http x;
    struct buf url;
    struct kube_splitter *splitter; /* while listing */
    struct lines *lines;            /* while watching */
    char *token;                    /* of the next page */
    char version[64];
    struct map *known;
    unsigned round, backoff_ms, failures;
    int64_t started_ms;
};

static void start_list(struct kube_watch *w);
static void start_watch(struct kube_watch *w);

static void known_free(void *p)
{
    struct known *n = p;
    free(n->uid);
    free(n->version);
    free(n);
}

/* ---- delivery ---- */

static void tell(struct kube_watch *w, enum kube_event event, const struct kube_object *o)
{
    if (!w->stopped)
        w->fn(w->ctx, event, o);
}

static void tell_vanished(struct kube_watch *w, str key, const char *uid)
{
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    str name = key, ns = str_cut(&name, '/');
    struct kube_object o = {.api_version = kube_api_version(a, w->t),
                            .kind = w->t->kind,
                            .ns = arena_strndup(a, ns.p, ns.n),
                            .name = arena_strndup(a, name.p, name.n),
                            .uid = arena_strdup(a, uid),
                            .resource_version = ""};
    tell(w, KUBE_DELETED, &o);
}

static void remember(struct kube_watch *w, str key, const struct kube_object *o)
{
    struct known *n = xcalloc(1, sizeof *n);
    *n = (struct known){xstrdup(o->uid), xstrdup(o->resource_version), w->round};
    map_put(w->known, key, n);
}

static void see(struct kube_watch *w, const struct kube_object *o)
{
    char *text CLEANUP(free_p) = xasprintf("%s/%s", o->ns, o->name);
    str key = str_of(text);
    struct known *n = map_get(w->known, key);
    if (n && streq(n->uid, o->uid) && streq(n->version, o->resource_version)) {
        n->round = w->round;
        return;
    }
    bool another = n && !streq(n->uid, o->uid);
    if (another)
        tell_vanished(w, key, n->uid);
    enum kube_event event = n && !another ? KUBE_MODIFIED : KUBE_ADDED;
    remember(w, key, o);
    tell(w, event, o);
}

static void see_deleted(struct kube_watch *w, const struct kube_object *o)
{
    char *text CLEANUP(free_p) = xasprintf("%s/%s", o->ns, o->name);
    if (map_del(w->known, str_of(text)))
        tell(w, KUBE_DELETED, o);
}

/* What the list that has just ended did not show is gone. */
static void drop_unseen(struct kube_watch *w)
{
    VEC(char *) gone = {0};
    size_t at = 0;
    str key;
    void *value;
    while (map_each(w->known, &at, &key, &value))
        if (((struct known *)value)->round != w->round)
            *vec_add(&gone) = str_dup(key);
    for (size_t i = 0; i < gone.n; i++) {
        struct known *n = map_get(w->known, str_of(gone.p[i]));
        char *uid CLEANUP(free_p) = xstrdup(n->uid);
        map_del(w->known, str_of(gone.p[i]));
        tell_vanished(w, str_of(gone.p[i]), uid);
        free(gone.p[i]);
    }
    vec_free(&gone);
    if (!w->synced) {
        w->synced = true;
        tell(w, KUBE_SYNCED, NULL);
    }
}

/* ---- pauses ---- */

static void on_again(uv_timer_t *timer)
{
    struct kube_watch *w = timer->data;
    if (w->relist)
        start_list(w);
    else
        start_watch(w);
}

static void again_in(struct kube_watch *w, unsigned ms)
{
    if (!w->stopped)
        uv_timer_start(&w->timer, on_again, ms, 0);
}

static unsigned random_below(unsigned n)
{
    uint32_t r;
    random_bytes(&r, sizeof r);
    return n ? r % n : 0;
}

static void back_off(struct kube_watch *w, unsigned at_least_ms)
{
    w->backoff_ms = w->backoff_ms ? MIN(w->backoff_ms * 2, BACKOFF_MAX_MS) : BACKOFF_MIN_MS;
    unsigned ms = w->backoff_ms + random_below(w->backoff_ms);
    again_in(w, MAX(ms, at_least_ms));
}

static void set_relist(struct kube_watch *w)
{
    w->relist = true;
    free_p(&w->token);
}

static void fail(struct kube_watch *w, const struct err *err)
{
    if (w->stopped)
        return;
    if (err->kind == ERR_UNAUTHORIZED && !w->token_dropped) {
        w->token_dropped = true;
        kube_config_drop_token(w->k->config);
        again_in(w, 1);
        return;
    }
    if (++w->failures >= RELIST_AFTER)
        set_relist(w);
    if (w->failed)
        w->failed(w->ctx, w->t, err);
    if (w->stopped)
        return;
    if (err->kind == ERR_NOT_FOUND) {
        set_relist(w);
        w->round++;
        drop_unseen(w);
        again_in(w, NOT_SERVED_MS);
        return;
    }
    back_off(w, err->retry_ms);
}

/* ---- listing ---- */

static int on_item(void *ctx, str item, struct err *err)
{
    struct kube_watch *w = ctx;
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct kube_object o;
    if (kube_object_read(a, object_complete(a, w->t, item), &o, err) < 0)
        return -1;
    see(w, &o);
    return w->stopped ? err_set(err, ERR_CANCELLED, "stopped") : 0;
}

static int on_page_bytes(void *ctx, const char *p, size_t n, struct err *err)
{
    return kube_splitter_feed(((struct kube_watch *)ctx)->splitter, p, n, err);
}

/* The request's URL without what is particular to a list or a watch. */
static void begin_url(struct kube_watch *w)
{
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    buf_reset(&w->url);
    buf_puts(&w->url, kube_path(a, w->t, w->ns, NULL, NULL));
    query_add(&w->url, "labelSelector", w->label_selector);
}

static void request(struct kube_watch *w, int (*sink)(void *, const char *, size_t, struct err *),
                    unsigned timeout_ms)
{
    buf_reset(&w->x.answer);
    w->x = (struct kube_http){.method = "GET",
                              .path = w->url.p,
                              .sink = sink,
                              .sink_ctx = w,
                              .cancel = w->k->cancel,
                              .answer = w->x.answer,
                              .timeout_ms = timeout_ms};
    w->started_ms = real_ms();
    async_start(w->net, &w->x);
}

static void start_list(struct kube_watch *w)
{
    char limit[16];
    if (!w->token)
        w->round++;
    snprintf(limit, sizeof limit, "%d", PAGE);
    begin_url(w);
    query_add(&w->url, "limit", limit);
    query_add(&w->url, "continue", w->token);
    kube_splitter_free(w->splitter);
    w->splitter = kube_splitter_new(on_item, w);
    request(w, on_page_bytes, w->k->timeout_ms * 2);
}

static int page_ends(struct kube_watch *w, struct err *err)
{
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    if (kube_splitter_end(w->splitter, err) < 0)
        return -1;
    str metadata = kube_splitter_member(w->splitter, "metadata");
    const char *version = raw_text(a, metadata, "resourceVersion", NULL);
    const char *token = raw_text(a, metadata, "continue", NULL);
    if (!version || !version[0] || strlen(version) >= sizeof w->version)
        return err_set(err, ERR_CORRUPT, "the list of %s has no resourceVersion", w->t->resource);
    strcpy(w->version, version);
    free_p(&w->token);
    w->token = token && token[0] ? xstrdup(token) : NULL;
    return 0;
}

static void list_answered(struct kube_watch *w, int r, struct err *err)
{
    if (r == 0 && (w->x.status < 200 || w->x.status >= 300))
        r = status_error(&w->x, err);
    if (r == 0)
        r = page_ends(w, err);
    if (r < 0) {
        set_relist(w); /* from the first page: what was seen already is not told again */
        fail(w, err);
        return;
    }
    w->token_dropped = false;
    if (w->token) {
        start_list(w);
        return;
    }
    w->relist = false;
    w->failures = 0;
    drop_unseen(w);
    if (!w->stopped)
        start_watch(w);
}

/* ---- watching ---- */

static int on_event(void *ctx, enum line_event event, const struct kube_object *o, struct err *err)
{
    struct kube_watch *w = ctx;
    if (strlen(o->resource_version) < sizeof w->version && o->resource_version[0])
        strcpy(w->version, o->resource_version);
    if (event == LINE_DELETED)
        see_deleted(w, o);
    else if (event == LINE_OBJECT)
        see(w, o);
    w->failures = 0;
    return w->stopped ? err_set(err, ERR_CANCELLED, "stopped") : 0;
}

static int on_stream_bytes(void *ctx, const char *p, size_t n, struct err *err)
{
    return lines_feed(((struct kube_watch *)ctx)->lines, p, n, err);
}

static void start_watch(struct kube_watch *w)
{
    char seconds[16];
    unsigned s = WATCH_MIN_S + random_below(WATCH_SPAN_S);
    snprintf(seconds, sizeof seconds, "%u", s);
    begin_url(w);
    query_add(&w->url, "watch", "true");
    query_add(&w->url, "allowWatchBookmarks", "true");
    query_add(&w->url, "resourceVersion", w->version);
    query_add(&w->url, "timeoutSeconds", seconds);
    lines_free(w->lines);
    w->lines = lines_new(on_event, w);
    request(w, on_stream_bytes, (s + SILENCE_S) * 1000);
}

static void stream_ended(struct kube_watch *w, int r, struct err *err)
{
    bool lived = real_ms() - w->started_ms >= HEALTHY_MS;
    if (r == 0 && (w->x.status < 200 || w->x.status >= 300))
        r = status_error(&w->x, err);
    else if (lived)
        w->backoff_ms = 0;
    if (r < 0 && err->kind == ERR_GONE) {
        set_relist(w);
        /* At once the first time: it is ordinary. */
        if (w->failures++ == 0)
            again_in(w, 1);
        else
            back_off(w, 0);
        return;
    }
    if (r < 0 && err->kind != ERR_TIMEOUT) {
        fail(w, err);
        return;
    }
    w->token_dropped = false;
    if (lived)
        again_in(w, 1);
    else
        back_off(w, 0);
}

/* ---- life ---- */

static void on_done(void *ctx, int r, const struct err *err)
{
    struct kube_watch *w = ctx;
    struct err why = *err;
    if (w->relist)
        list_answered(w, r, &why);
    else
        stream_ended(w, r, &why);
}

static char *dup_or_null(const char *s)
{
    return s && s[0] ? xstrdup(s) : NULL;
}

int kube_watch_start(uv_loop_t *loop, struct kube *k, const struct kube_type *t,
                     const struct kube_watch_options *opts, kube_watch_fn *fn, void *ctx,
                     struct kube_watch **ret, struct err *err)
{
    static const struct kube_watch_options defaults;
    if (!k->config)
        return err_set(err, ERR_UNSUPPORTED, "watching %s: this transport cannot watch",
                       t->resource);
    if (!opts)
        opts = &defaults;
    struct kube_watch *w = xcalloc(1, sizeof *w);
    w->k = k;
    w->t = t;
    w->ns = dup_or_null(opts->ns);
    w->label_selector = dup_or_null(opts->label_selector);
    w->failed = opts->failed;
    w->fn = fn;
    w->ctx = ctx;
    w->known = map_new(known_free);
    w->net = async_new(loop, k->config, on_done, w);
    uv_timer_init(loop, &w->timer);
    w->timer.data = w;
    w->open = 2;
    w->relist = true;
    start_list(w);
    *ret = w;
    return 0;
}

static void release(struct kube_watch *w)
{
    if (--w->open)
        return;
    kube_splitter_free(w->splitter);
    lines_free(w->lines);
    map_free(w->known);
    buf_free(&w->url);
    buf_free(&w->x.answer);
    free(w->token);
    free(w->ns);
    free(w->label_selector);
    free(w);
}

static void on_net_closed(void *ctx)
{
    release(ctx);
}

static void on_timer_closed(uv_handle_t *h)
{
    release(h->data);
}

void kube_watch_stop(struct kube_watch *w)
{
    if (!w || w->stopped)
        return;
    w->stopped = true;
    uv_timer_stop(&w->timer);
    uv_close((uv_handle_t *)&w->timer, on_timer_closed);
    async_free(w->net, on_net_closed);
}
