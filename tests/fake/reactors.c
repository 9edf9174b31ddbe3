/* Scripted stand-ins for engines, controllers and kubelets: when an object looks like this, after
 * so many ticks, change that. README.md has the form. */
#include "fake.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/map.h"

enum { ROUNDS = 100 };

static json_t *reactors;
static struct map *waiting; /* "index/uid" -> ticks that the condition has held, as a pointer */

static json_t *look(const json_t *j, const json_t *path)
{
    size_t i;
    json_t *part;
    json_array_foreach(path, i, part)
    {
        j = json_is_array(j) ? json_array_get(j, (size_t)json_integer_value(part))
                             : json_object_get(j, json_string_value(part));
    }
    return (json_t *)(uintptr_t)j;
}

static bool same(const json_t *a, const json_t *b)
{
    return a && b ? json_equal(a, b) : !a == !b;
}

static bool holds(const json_t *o, const json_t *when)
{
    size_t i;
    json_t *c;
    json_array_foreach(when, i, c)
    {
        json_t *v = look(o, json_object_get(c, "path"));
        json_t *exists = json_object_get(c, "exists"), *equals = json_object_get(c, "equals");
        json_t *other = json_object_get(c, "differsFrom"), *not = json_object_get(c, "notEquals");
        if ((exists && json_is_true(exists) != (v != NULL)) || (equals && !same(v, equals)) ||
            (not &&same(v, not )) || (other && same(v, look(o, other))))
            return false;
    }
    return true;
}

/* ---- ${name}, ${namespace}, ${uid}, ${i}, ${spec.nodeName} in the strings of a template ---- */

static const char *variable(const json_t *o, str name, char number[24])
{
    char *dotted CLEANUP(free_p) = str_dup(name);
    if (streq(dotted, "name") || streq(dotted, "namespace") || streq(dotted, "uid"))
        return text_of(o, "metadata", dotted);
    const json_t *v = o;
    for (str rest = name; rest.p;) {
        char *part CLEANUP(free_p) = str_dup(str_cut(&rest, '.'));
        v = json_object_get(v, part);
    }
    if (json_is_integer(v)) {
        snprintf(number, 24, "%lld", (long long)json_integer_value(v));
        return number;
    }
    return json_string_value(v) ? json_string_value(v) : "";
}

static char *expand(const json_t *o, const char *text, size_t i)
{
    struct buf b = {0};
    for (const char *open; (open = strstr(text, "${"));) {
        const char *close = strchr(open, '}');
        char number[24];
        if (!close)
            break;
        str name = {open + 2, (size_t)(close - open - 2)};
        buf_add(&b, text, (size_t)(open - text));
        if (str_is(name, "i"))
            buf_printf(&b, "%zu", i);
        else
            buf_puts(&b, variable(o, name, number));
        text = close + 1;
    }
    buf_puts(&b, text);
    return buf_take(&b);
}

static json_t *fill(const json_t *o, const json_t *template, size_t i)
{
    const char *key;
    json_t *value, *out;
    size_t n;
    if (json_is_string(template)) {
        char *text CLEANUP(free_p) = expand(o, json_string_value(template), i);
        return json_string(text);
    }
    if (json_is_array(template)) {
        out = json_array();
        json_array_foreach(template, n, value)
        {
            json_array_append_new(out, fill(o, value, i));
        }
        return out;
    }
    if (!json_is_object(template))
        return json_deep_copy(template);
    out = json_object();
    json_object_foreach((json_t *)(uintptr_t) template, key, value)
    {
        json_object_set_new(out, key, fill(o, value, i));
    }
    return out;
}

/* ---- actions ---- */

static void put(json_t *o, const json_t *path, json_t *value)
{
    size_t n = json_array_size(path);
    for (size_t i = 0; i + 1 < n; i++)
        o = ensure(o, json_string_value(json_array_get(path, i)));
    const char *last = json_string_value(json_array_get(path, n - 1));
    if (value)
        json_object_set_new(o, last, value);
    else
        json_object_del(o, last);
}

static struct ftype *type_of(const json_t *j)
{
    return types_by_kind(text_of(j, "group", NULL), NULL, text_of(j, "kind", NULL));
}

static void create(const json_t *o, const json_t *action)
{
    json_t *count = look(o, json_object_get(action, "count"));
    size_t n = json_object_get(action, "count") ? (size_t)json_integer_value(count) : 1;
    for (size_t i = 0; i < n; i++) {
        json_t *made CLEANUP_JSON = fill(o, json_object_get(action, "create"), i);
        char *group CLEANUP(free_p) = str_dup(kube_group_of(text_of(made, "apiVersion", NULL)));
        struct ftype *t = types_by_kind(group, NULL, text_of(made, "kind", NULL));
        char *why CLEANUP(free_p) = NULL;
        if (t && !store_get(t, ns_of(made), name_of(made)) && load_object(made, &why) < 0)
            fprintf(stderr, "fake-apiserver: reactor: %s\n", why);
    }
}

static void delete (const json_t *o, const json_t *what)
{
    struct ftype *t = type_of(what);
    json_t *prefix CLEANUP_JSON = fill(o, json_object_get(what, "namePrefix"), 0);
    json_t *list CLEANUP_JSON = t ? store_list(t, ns_of(o)) : json_array();
    size_t i;
    json_t *item;
    json_array_foreach(list, i, item)
    {
        if (!prefix || str_starts(str_of(name_of(item)), json_string_value(prefix)))
            store_remove(t, ns_of(item), name_of(item));
    }
}

static void act(const struct ftype *t, const json_t *reactor, json_t *live)
{
    json_t *wanted = json_deep_copy(live), *action;
    bool to_status = false, gone = false;
    size_t i;
    json_incref(live);
    json_array_foreach(json_object_get(reactor, "do"), i, action)
    {
        json_t *set = json_object_get(action, "set"), *remove = json_object_get(action, "remove");
        json_t *from = json_object_get(action, "from"), *v = look(live, from);
        if (set)
            put(wanted, set,
                from ? (v ? json_deep_copy(v) : NULL)
                     : fill(live, json_object_get(action, "value"), 0));
        else if (remove)
            put(wanted, remove, NULL);
        else if (json_object_get(action, "create"))
            create(live, action);
        else if (json_object_get(action, "delete"))
            delete (live, json_object_get(action, "delete"));
        else if (json_object_get(action, "deleteSelf"))
            gone = true;
        to_status = to_status || streq(json_string_value(json_array_get(set, 0)), "status");
    }
    if (!json_equal(live, wanted))
        write_as(t, live, wanted, text_of(reactor, "name", NULL), to_status);
    else
        json_decref(wanted);
    if (gone)
        store_remove(t, ns_of(live), name_of(live));
    json_decref(live);
}

static void consider(size_t index, const json_t *reactor, const struct ftype *t, json_t *o,
                     bool step)
{
    char *text CLEANUP(free_p) = xasprintf("%zu/%s", index, text_of(o, "metadata", "uid"));
    str key = str_of(text);
    uintptr_t after = (uintptr_t)json_integer_value(json_object_get(reactor, "after"));
    uintptr_t held = (uintptr_t)map_get(waiting, key);
    if (!holds(o, json_object_get(reactor, "when"))) {
        map_del(waiting, key);
        return;
    }
    if (step && after) {
        held++;
        map_put(waiting, key, (void *)held);
    }
    if (held < after)
        return;
    map_del(waiting, key);
    act(t, reactor, o);
}

void reactors_tick(bool step)
{
    int64_t before;
    unsigned rounds = 0;
    do {
        before = store_version();
        size_t i, n;
        json_t *reactor, *o;
        json_array_foreach(reactors, i, reactor)
        {
            struct ftype *t = type_of(reactor);
            json_t *list CLEANUP_JSON = t ? store_list(t, NULL) : json_array();
            json_array_foreach(list, n, o)
            {
                consider(i, reactor, t, o, step && rounds == 0);
            }
        }
    } while (store_version() != before && ++rounds < ROUNDS);
}

int reactors_set(const json_t *list, char **why)
{
    size_t i;
    json_t *r;
    if (!json_is_array(list)) {
        *why = xstrdup("the reactors are an array");
        return -1;
    }
    json_array_foreach(list, i, r)
    {
        if (!type_of(r) || !text_of(r, "name", NULL)[0] ||
            !json_is_array(json_object_get(r, "when")) ||
            !json_is_array(json_object_get(r, "do"))) {
            *why = xasprintf("reactor %zu: it needs name, kind (and group), when and do", i);
            return -1;
        }
    }
    json_decref(reactors);
    reactors = json_deep_copy(list);
    map_free(waiting);
    waiting = map_new(NULL);
    return 0;
}
