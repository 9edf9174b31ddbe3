/* Lists in pages, watches, selectors. */
#include "fake.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "core/codec.h"
#include "core/vec.h"

/* ---- selectors: key, !key, key=value, key!=value ---- */

struct requirement {
    char *key, *value;
    bool exists, negative;
};

struct selector {
    VEC(struct requirement) labels;
    char *name, *ns;
};

void selector_free(struct selector *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->labels.n; i++) {
        free(s->labels.p[i].key);
        free(s->labels.p[i].value);
    }
    vec_free(&s->labels);
    free(s->name);
    free(s->ns);
    free(s);
}

static bool parse_label(struct selector *s, str term)
{
    struct requirement q = {0};
    term = str_trim(term);
    if (memchr(term.p, '(', term.n) || memchr(term.p, ' ', term.n))
        return false;
    const char *equals = memchr(term.p, '=', term.n);
    if (!equals) {
        q.exists = true;
        q.negative = term.n && term.p[0] == '!';
        q.key = str_dup((str){term.p + q.negative, term.n - q.negative});
        *vec_add(&s->labels) = q;
        return true;
    }
    str key = {term.p, (size_t)(equals - term.p)};
    str value = {equals + 1, term.n - key.n - 1};
    if (value.n && value.p[0] == '=')
        value = (str){value.p + 1, value.n - 1};
    q.negative = key.n && key.p[key.n - 1] == '!';
    key.n -= q.negative;
    q.key = str_dup(str_trim(key));
    q.value = str_dup(str_trim(value));
    *vec_add(&s->labels) = q;
    return true;
}

static bool parse_field(struct selector *s, str term)
{
    str value = term, key = str_cut(&value, '=');
    if (value.p && str_starts(value, "="))
        value = (str){value.p + 1, value.n - 1};
    char **into = str_is(key, "metadata.name")        ? &s->name
                  : str_is(key, "metadata.namespace") ? &s->ns
                                                      : NULL;
    if (!into || !value.p)
        return false;
    *into = str_dup(value);
    return true;
}

struct selector *selector_parse(const char *labels, const char *fields, const char **why)
{
    struct selector *s = xcalloc(1, sizeof *s);
    *why = NULL;
    for (str rest = str_of(labels); rest.p && !*why;)
        if (!parse_label(s, str_cut(&rest, ',')))
            *why = "fake-apiserver does not implement this label selector";
    for (str rest = str_of(fields); rest.p && !*why;)
        if (!parse_field(s, str_cut(&rest, ',')))
            *why = "field label not supported";
    if (!*why)
        return s;
    selector_free(s);
    return NULL;
}

bool selector_matches(const struct selector *s, const json_t *object)
{
    json_t *labels = at(object, "metadata", "labels");
    if ((s->name && !streq(s->name, name_of(object))) || (s->ns && !streq(s->ns, ns_of(object))))
        return false;
    for (size_t i = 0; i < s->labels.n; i++) {
        const struct requirement *q = &s->labels.p[i];
        json_t *v = json_object_get(labels, q->key);
        bool holds = q->exists ? v != NULL : v && streq(json_string_value(v), q->value);
        if (holds == q->negative)
            return false;
    }
    return true;
}

static struct selector *selector_of(struct request *r, struct answer *a)
{
    const char *why;
    struct selector *s = selector_parse(param(r, "labelSelector"), param(r, "fieldSelector"), &why);
    if (!s)
        refuse(a, 400, "BadRequest", r, "%s", why);
    return s;
}

/* ---- lists ---- */

/* What is left of a list whose first page was given out: its state does not change meanwhile. */
struct snapshot {
    char token[17];
    int64_t version;
    json_t *items;
    size_t given;
};

static VEC(struct snapshot) snapshots;

static json_t *select_items(struct request *r, const struct selector *s)
{
    json_t *all CLEANUP_JSON = store_list(r->type, r->ns);
    json_t *items = json_array(), *o;
    size_t i;
    json_array_foreach(all, i, o)
    {
        if (!selector_matches(s, o))
            continue;
        json_t *item = json_copy(o);
        if (!r->type->custom) {
            json_object_del(item, "apiVersion");
            json_object_del(item, "kind");
        }
        json_array_append_new(items, item);
    }
    return items;
}

static struct snapshot *snapshot_of(const char *token)
{
    for (size_t i = 0; i < snapshots.n; i++)
        if (streq(snapshots.p[i].token, token))
            return &snapshots.p[i];
    return NULL;
}

static struct snapshot *new_snapshot(struct request *r, const struct selector *s)
{
    struct snapshot *n = vec_add(&snapshots);
    random_token(n->token, 8);
    n->version = store_version();
    n->items = select_items(r, s);
    return n;
}

/* As the real server: the token of a compacted moment is 410, and the answer offers another one,
 * with which the list goes on in the present. */
static void expired(struct request *r, const struct snapshot *old, const struct selector *s,
                    struct answer *a)
{
    json_t *next = old ? json_array_get(old->items, old->given) : NULL;
    refuse(
        a, 410, "Expired", r,
        "The provided continue parameter is too old to display a consistent list result. You can "
        "start a new list without the continue parameter, or use the continue token in this "
        "response to retrieve the remainder of the results.");
    if (!next)
        return;
    char *ns CLEANUP(free_p) = xstrdup(ns_of(next)), *name CLEANUP(free_p) = xstrdup(name_of(next));
    struct snapshot *n = new_snapshot(r, s);
    json_t *o;
    while ((o = json_array_get(n->items, n->given)) &&
           (strcmp(ns_of(o), ns) < 0 || (streq(ns_of(o), ns) && strcmp(name_of(o), name) < 0)))
        n->given++;
    json_object_set_new(ensure(a->body, "metadata"), "continue", json_string(n->token));
}

void read_list(struct request *r, struct answer *a)
{
    struct selector *s = selector_of(r, a);
    const char *token = param(r, "continue"), *limit_text = param(r, "limit");
    uint64_t limit = 0;
    if (!s)
        return;
    str_u64(str_of(limit_text), &limit);
    struct snapshot *n = token ? snapshot_of(token) : new_snapshot(r, s);
    if (!n || n->version < store_compacted()) {
        expired(r, n, s, a);
        selector_free(s);
        return;
    }
    json_t *items = json_array();
    size_t total = json_array_size(n->items);
    while (n->given < total && (!limit || json_array_size(items) < limit))
        json_array_append(items, json_array_get(n->items, n->given++));
    char version[24], *kind CLEANUP(free_p) = xasprintf("%sList", r->type->t.kind);
    snprintf(version, sizeof version, "%lld", (long long)n->version);
    json_t *metadata = json_pack("{s:s}", "resourceVersion", version);
    if (n->given < total) {
        json_object_set_new(metadata, "continue", json_string(n->token));
        json_object_set_new(metadata, "remainingItemCount",
                            json_integer((json_int_t)(total - n->given)));
    }
    a->code = 200;
    a->body = json_pack("{s:s, s:s, s:o, s:o}", "kind", kind, "apiVersion",
                        type_api_version(r->type), "metadata", metadata, "items", items);
    selector_free(s);
}

/* ---- watches ---- */

enum { BOOKMARK_MS = 500 };

struct watcher {
    const struct ftype *type;
    char *ns;
    struct selector *selector;
    int64_t position, end_ms, bookmark_ms;
    bool bookmarks, ended;
    unsigned round;
    json_t *initial; /* synthetic ADDED events that are still to come */
    size_t told;
    struct buf line;
    size_t sent; /* of the line */
};

static unsigned round_now; /* counts up when all streams are to end */

static int64_t mono_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void watchers_drop(void)
{
    round_now++;
    pthread_cond_broadcast(&changed);
}

void watcher_free(struct watcher *w)
{
    if (!w)
        return;
    free(w->ns);
    selector_free(w->selector);
    json_decref(w->initial);
    buf_free(&w->line);
    free(w);
}

void read_watch(struct request *r, struct answer *a)
{
    struct selector *s = selector_of(r, a);
    const char *version = param(r, "resourceVersion");
    uint64_t from = 0, seconds = 1800;
    if (!s)
        return;
    str_u64(str_of(version), &from);
    str_u64(str_of(param(r, "timeoutSeconds")), &seconds);
    struct watcher *w = xcalloc(1, sizeof *w);
    w->type = r->type;
    w->ns = r->ns ? xstrdup(r->ns) : NULL;
    w->selector = s;
    w->position = (int64_t)from;
    w->end_ms = mono_ms() + (int64_t)seconds * 1000;
    w->bookmarks = streq(param(r, "allowWatchBookmarks"), "true");
    w->bookmark_ms = mono_ms() + BOOKMARK_MS;
    w->round = round_now;
    if (!from) {
        w->initial = store_list(r->type, r->ns);
        w->position = store_version();
    }
    a->code = 200;
    a->watch = w;
}

static void put_line(struct watcher *w, const char *type, json_t *object)
{
    json_t *event CLEANUP_JSON = json_pack("{s:s, s:O}", "type", type, "object", object);
    buf_reset(&w->line);
    w->sent = 0;
    json_print(&w->line, event);
    buf_putc(&w->line, '\n');
}

static void put_bookmark(struct watcher *w)
{
    char version[24];
    w->position = store_version();
    snprintf(version, sizeof version, "%lld", (long long)w->position);
    json_t *o CLEANUP_JSON = json_pack("{s:s, s:s, s:{s:s, s:n}}", "kind", w->type->t.kind,
                                       "apiVersion", type_api_version(w->type), "metadata",
                                       "resourceVersion", version, "creationTimestamp");
    put_line(w, "BOOKMARK", o);
    w->bookmark_ms = mono_ms() + BOOKMARK_MS;
}

static void put_gone(struct watcher *w)
{
    struct answer a = {0};
    refuse(&a, 410, "Expired", NULL, "too old resource version: %lld (%lld)",
           (long long)w->position, (long long)store_compacted());
    put_line(w, "ERROR", a.body);
    json_decref(a.body);
    w->ended = true;
}

/* What the watch's selector makes of an event. */
static const char *kind_for(const struct watcher *w, const struct event *e)
{
    if (!streq(e->type->t.group, w->type->t.group) ||
        !streq(e->type->t.resource, w->type->t.resource) ||
        (w->ns && !streq(ns_of(e->object), w->ns)))
        return NULL;
    bool now = !streq(e->kind, "DELETED") && selector_matches(w->selector, e->object);
    bool was = e->before && selector_matches(w->selector, e->before);
    return now ? (was ? "MODIFIED" : "ADDED") : was ? "DELETED" : NULL;
}

static bool next_line(struct watcher *w)
{
    while (w->told < json_array_size(w->initial)) {
        json_t *o = json_array_get(w->initial, w->told++);
        if (selector_matches(w->selector, o)) {
            put_line(w, "ADDED", o);
            return true;
        }
    }
    if (w->position < store_compacted()) {
        put_gone(w);
        return true;
    }
    const struct event *e;
    while ((e = store_event_after(w->position))) {
        const char *kind = kind_for(w, e);
        w->position = e->version;
        if (kind) {
            put_line(w, kind, e->object);
            return true;
        }
    }
    if (w->bookmarks && mono_ms() >= w->bookmark_ms) {
        put_bookmark(w);
        return true;
    }
    return false;
}

static void wait_for_change(const struct watcher *w)
{
    struct timespec t;
    int64_t ms = MIN(w->end_ms, w->bookmarks ? w->bookmark_ms : w->end_ms) - mono_ms();
    clock_gettime(CLOCK_REALTIME, &t);
    ms = MAX(MIN(ms, 1000), 1);
    t.tv_sec += ms / 1000;
    t.tv_nsec += ms % 1000 * 1000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    pthread_cond_timedwait(&changed, &big_lock, &t);
}

ssize_t watcher_read(struct watcher *w, char *out, size_t room)
{
    ssize_t n = -1;
    pthread_mutex_lock(&big_lock);
    while (w->sent == w->line.n) {
        if (w->ended || w->round != round_now || mono_ms() >= w->end_ms)
            break;
        if (!next_line(w))
            wait_for_change(w);
    }
    if (w->sent < w->line.n) {
        n = (ssize_t)MIN(room, w->line.n - w->sent);
        memcpy(out, w->line.p + w->sent, (size_t)n);
        w->sent += (size_t)n;
    }
    pthread_mutex_unlock(&big_lock);
    return n;
}
