#include "kube/event.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/clock.h"
#include "core/codec.h"
#include "core/json.h"
#include "core/map.h"

enum { CLOCK_MICRO = CLOCK_RFC3339 + 16 };
enum { SERIES_MS = 600000, BURST = 25, REFILL_MS = 300000, NOTE_CAP = 1000, KEPT = 1000 };

/* One series: what was said about one object. */
struct series {
    char *ns, *name; /* of the Event */
    int64_t last_ms;
    int count;
};

/* The allowance of one object. */
struct allowance {
    double tokens;
    int64_t at_ms;
};

struct kube_events {
    struct kube *k;
    char *component, *instance;
    pthread_mutex_t lock;
    struct map *series, *allowances;
};

static void free_series(void *p)
{
    struct series *s = p;
    free(s->ns);
    free(s->name);
    free(s);
}

struct kube_events *kube_events_new(struct kube *k, const char *component, const char *instance)
{
    struct kube_events *e = xcalloc(1, sizeof *e);
    e->k = k;
    e->component = xstrdup(component);
    e->instance = xstrdup(instance && instance[0] ? instance : component);
    pthread_mutex_init(&e->lock, NULL);
    e->series = map_new(free_series);
    e->allowances = map_new(free);
    return e;
}

void kube_events_free(struct kube_events *e)
{
    if (!e)
        return;
    map_free(e->series);
    map_free(e->allowances);
    pthread_mutex_destroy(&e->lock);
    free(e->component);
    free(e->instance);
    free(e);
}

/* The maps are forgotten as a whole when they grow: at worst a series begins anew. */
static void bound(struct kube_events *e)
{
    if (map_count(e->series) >= KEPT) {
        map_free(e->series);
        e->series = map_new(free_series);
    }
    if (map_count(e->allowances) >= KEPT) {
        map_free(e->allowances);
        e->allowances = map_new(free);
    }
}

static bool allowed(struct kube_events *e, const char *key, int64_t now)
{
    struct allowance *w = map_get(e->allowances, str_of(key));
    if (!w) {
        w = xcalloc(1, sizeof *w);
        *w = (struct allowance){BURST, now};
        map_put(e->allowances, str_of(key), w);
    }
    w->tokens = MIN((double)BURST, w->tokens + (double)(now - w->at_ms) / REFILL_MS);
    w->at_ms = now;
    if (w->tokens < 1)
        return false;
    w->tokens -= 1;
    return true;
}

static void micro_time(char out[CLOCK_MICRO])
{
    int64_t now = clock_wall_ms();
    char whole[CLOCK_RFC3339];
    clock_format(now, whole);
    whole[strlen(whole) - 1] = '\0'; /* the Z */
    snprintf(out, CLOCK_MICRO, "%s.%03d000Z", whole, (int)(now % 1000));
}

/* The first `cap` bytes without cutting a character. */
static str cut_note(const char *note)
{
    str s = str_of(note);
    if (s.n > NOTE_CAP) {
        s.n = NOTE_CAP;
        while (s.n && ((unsigned char)s.p[s.n] & 0xc0) == 0x80)
            s.n--;
    }
    return s;
}

static void add_pair(struct buf *b, const char *before, str value)
{
    buf_puts(b, before);
    raw_add_string(b, value);
}

static void event_text(struct buf *b, const struct kube_events *e, const struct kube_object *about,
                       const struct series *s, bool warning, const char *reason, const char *action,
                       str note)
{
    char now[CLOCK_MICRO];
    micro_time(now);
    add_pair(b, "{\"apiVersion\":\"events.k8s.io/v1\",\"kind\":\"Event\",\"metadata\":{\"name\":",
             str_of(s->name));
    add_pair(b, ",\"namespace\":", str_of(s->ns));
    add_pair(b, "},\"eventTime\":", str_of(now));
    add_pair(b, ",\"reportingController\":", str_of(e->component));
    add_pair(b, ",\"reportingInstance\":", str_of(e->instance));
    add_pair(b, ",\"action\":", str_of(action));
    add_pair(b, ",\"reason\":", str_of(reason));
    add_pair(b, ",\"type\":", warning ? STR("Warning") : STR("Normal"));
    add_pair(b, ",\"note\":", note);
    add_pair(b, ",\"regarding\":{\"apiVersion\":", str_of(about->api_version));
    add_pair(b, ",\"kind\":", str_of(about->kind));
    add_pair(b, ",\"name\":", str_of(about->name));
    if (about->ns[0])
        add_pair(b, ",\"namespace\":", str_of(about->ns));
    if (about->uid[0])
        add_pair(b, ",\"uid\":", str_of(about->uid));
    if (about->resource_version[0])
        add_pair(b, ",\"resourceVersion\":", str_of(about->resource_version));
    buf_puts(b, "}}");
}

static struct series *new_series(const struct kube_object *about)
{
    struct series *s = xcalloc(1, sizeof *s);
    char tail[17];
    random_token(tail, 8);
    s->ns = xstrdup(about->ns[0] ? about->ns : "default");
    s->name = xasprintf("%.200s.%s", about->name, tail);
    return s;
}

/* What is to be written, decided under the lock; the write itself happens outside of it. */
struct intent {
    bool drop, again;
    int count;
    struct series copy;
};

static struct intent decide(struct kube_events *e, const struct kube_object *about, const char *key)
{
    struct intent in = {0};
    int64_t now = clock_mono_ms();
    char *object CLEANUP(free_p) =
        xasprintf("%s/%s/%s/%s", about->kind, about->ns, about->name, about->uid);
    pthread_mutex_lock(&e->lock);
    bound(e);
    struct series *s = map_get(e->series, str_of(key));
    in.drop = !allowed(e, object, now);
    if (!in.drop) {
        if (!s || now - s->last_ms > SERIES_MS) {
            s = new_series(about);
            map_put(e->series, str_of(key), s);
        }
        s->last_ms = now;
        in.count = ++s->count;
        in.copy = (struct series){.ns = xstrdup(s->ns), .name = xstrdup(s->name)};
    }
    pthread_mutex_unlock(&e->lock);
    return in;
}

static int write_event(struct kube_events *e, const struct kube_object *about,
                       const struct intent *in, bool warning, const char *reason,
                       const char *action, str note, struct err *err)
{
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct buf b CLEANUP(buf_free) = {0};
    if (in->count > 1) {
        char now[CLOCK_MICRO];
        struct err why;
        micro_time(now);
        buf_printf(&b, "{\"series\":{\"count\":%d,\"lastObservedTime\":\"%s\"}}", in->count, now);
        if (kube_patch(e->k, a, &KUBE_EVENT, in->copy.ns, in->copy.name, KUBE_PATCH_MERGE,
                       buf_view(&b), NULL, NULL, &why) == 0)
            return 0;
        if (why.kind != ERR_NOT_FOUND) {
            if (err)
                *err = why;
            return -1;
        }
        buf_reset(&b); /* it has expired: the same name again */
    }
    event_text(&b, e, about, &in->copy, warning, reason, action, note);
    return kube_create(e->k, a, &KUBE_EVENT, in->copy.ns, buf_view(&b), NULL, NULL, err);
}

int kube_event_emit(struct kube_events *e, const struct kube_object *about, bool warning,
                    const char *reason, const char *action, const char *note, struct err *err)
{
    str text = cut_note(note);
    char *key CLEANUP(free_p) = xasprintf("%s/%s/%s/%s %s %.*s", about->kind, about->ns,
                                          about->name, about->uid, reason, STR_FMT(text));
    struct intent in = decide(e, about, key);
    if (in.drop)
        return 0;
    int r = write_event(e, about, &in, warning, reason, action, text, err);
    free(in.copy.ns);
    free(in.copy.name);
    return r < 0
               ? err_wrap(err, "writing the Event %s about %s %s", reason, about->kind, about->name)
               : 0;
}
