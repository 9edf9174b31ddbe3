/* Objects, their order in time, and the log that watches read. */
#include "fake.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "core/clock.h"
#include "core/map.h"
#include "core/vec.h"

pthread_mutex_t big_lock = PTHREAD_MUTEX_INITIALIZER;
pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

struct stored {
    const struct ftype *type;
    json_t *object;
};

static struct map *objects; /* "group/resource/namespace/name" */
static VEC(struct event) events;
static int64_t version = 1000, compacted;
static int64_t virtual_ms = -1;

json_t *at(const json_t *j, const char *a, const char *b)
{
    json_t *v = json_object_get(j, a);
    return b ? json_object_get(v, b) : v;
}

const char *text_of(const json_t *j, const char *a, const char *b)
{
    const char *s = json_string_value(at(j, a, b));
    return s ? s : "";
}

json_t *ensure(json_t *j, const char *name)
{
    json_t *v = json_object_get(j, name);
    if (!json_is_object(v)) {
        v = json_object();
        json_object_set_new(j, name, v);
    }
    return v;
}

int64_t fake_now_ms(void)
{
    if (virtual_ms >= 0)
        return virtual_ms;
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void fake_set_clock(int64_t ms)
{
    virtual_ms = ms;
}

void now_text(char out[32])
{
    clock_format(fake_now_ms(), out);
}

static void stored_free(void *p)
{
    struct stored *s = p;
    json_decref(s->object);
    free(s);
}

void store_init(void)
{
    objects = map_new(stored_free);
}

static char *key_of(const struct ftype *t, const char *ns, const char *name)
{
    return xasprintf("%s/%s/%s/%s", t->t.group, t->t.resource, t->t.namespaced && ns ? ns : "",
                     name);
}

json_t *store_get(const struct ftype *t, const char *ns, const char *name)
{
    char *key CLEANUP(free_p) = key_of(t, ns, name);
    struct stored *s = map_get(objects, str_of(key));
    return s ? s->object : NULL;
}

static void stamp(json_t *object)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)++version);
    json_object_set_new(ensure(object, "metadata"), "resourceVersion", json_string(text));
}

static void announce(const char *kind, const struct ftype *t, json_t *object, json_t *before)
{
    *vec_add(&events) = (struct event){.kind = kind,
                                       .version = version,
                                       .type = t,
                                       .object = json_incref(object),
                                       .before = before ? json_incref(before) : NULL};
    pthread_cond_broadcast(&changed);
}

json_t *store_put(const struct ftype *t, json_t *object)
{
    char *key CLEANUP(free_p) = key_of(t, ns_of(object), name_of(object));
    struct stored *old = map_get(objects, str_of(key));
    json_t *before = old ? json_incref(old->object) : NULL;
    stamp(object);
    struct stored *s = xcalloc(1, sizeof *s);
    *s = (struct stored){t, object};
    map_put(objects, str_of(key), s);
    announce(before ? "MODIFIED" : "ADDED", t, object, before);
    json_decref(before);
    if (streq(t->t.resource, "customresourcedefinitions"))
        types_add_crd(object);
    return object;
}

json_t *store_remove(const struct ftype *t, const char *ns, const char *name)
{
    static json_t *last;
    char *key CLEANUP(free_p) = key_of(t, ns, name);
    struct stored *s = map_get(objects, str_of(key));
    if (!s)
        return NULL;
    json_t *before = json_incref(s->object);
    json_decref(last);
    last = json_deep_copy(before);
    stamp(last);
    map_del(objects, str_of(key));
    announce("DELETED", t, last, before);
    json_decref(before);
    return last;
}

int64_t store_version(void)
{
    return version;
}

static int by_name(const void *a, const void *b)
{
    const json_t *x = *(json_t *const *)a, *y = *(json_t *const *)b;
    int r = strcmp(ns_of(x), ns_of(y));
    return r ? r : strcmp(name_of(x), name_of(y));
}

static json_t *collect(const struct ftype *t, const char *ns)
{
    VEC(json_t *) found = {0};
    size_t pos = 0;
    str key;
    void *value;
    while (map_each(objects, &pos, &key, &value)) {
        struct stored *s = value;
        if ((!t ||
             (streq(s->type->t.group, t->t.group) && streq(s->type->t.resource, t->t.resource))) &&
            (!ns || streq(ns_of(s->object), ns)))
            *vec_add(&found) = s->object;
    }
    if (found.n)
        qsort(found.p, found.n, sizeof *found.p, by_name);
    json_t *list = json_array();
    for (size_t i = 0; i < found.n; i++)
        json_array_append(list, found.p[i]);
    vec_free(&found);
    return list;
}

json_t *store_list(const struct ftype *t, const char *ns)
{
    return collect(t, ns);
}

json_t *store_everything(void)
{
    return collect(NULL, NULL);
}

const struct event *store_event_after(int64_t after)
{
    size_t low = 0, high = events.n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (events.p[middle].version <= after)
            low = middle + 1;
        else
            high = middle;
    }
    return low < events.n ? &events.p[low] : NULL;
}

int64_t store_compacted(void)
{
    return compacted;
}

void store_compact(void)
{
    compacted = ++version;
}
