/* FieldsV1 sets: {"f:spec": {"f:suspend": {}}}. Lists are leaves here: what the real server keeps
 * for their items ("k:", "v:") is carried along untouched, and goes as a whole when the list
 * changes. */
#include "fake.h"

#include <stdlib.h>

static bool is_map(const json_t *j)
{
    return json_is_object(j) && json_object_size(j) > 0;
}

json_t *fields_of(const json_t *value)
{
    return fields_changed(NULL, value);
}

json_t *fields_changed(const json_t *before, const json_t *now)
{
    json_t *set = json_object();
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)now, key, value)
    {
        json_t *old = json_object_get(before, key);
        char *name CLEANUP(free_p) = xasprintf("f:%s", key);
        if (old && json_equal(old, value))
            continue;
        json_t *inner = is_map(value) ? fields_changed(old, value) : json_object();
        /* Only removals inside: not a change of what is there. */
        if (is_map(value) && is_map(old) && json_object_size(inner) == 0)
            json_decref(inner);
        else
            json_object_set_new(set, name, inner);
    }
    return set;
}

static json_t *child(const json_t *set, const char *name)
{
    char *key CLEANUP(free_p) = xasprintf("f:%s", name);
    return json_object_get(set, key);
}

bool fields_has(const json_t *set, char *const *path, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        set = child(set, path[i]);
        if (!set)
            return false;
        if (json_object_size(set) == 0)
            return true; /* this, or a whole that holds it */
    }
    return true; /* something within it */
}

void fields_remove(json_t *set, char *const *path, size_t n)
{
    char *key CLEANUP(free_p) = xasprintf("f:%s", path[0]);
    json_t *inner = json_object_get(set, key);
    if (!inner)
        return;
    if (n > 1) {
        if (json_object_size(inner) == 0)
            return;
        fields_remove(inner, path + 1, n - 1);
        bool only_itself = json_object_size(inner) == 1 && json_object_get(inner, ".");
        if (json_object_size(inner) && !only_itself)
            return;
    }
    json_object_del(set, key);
}

struct walk {
    bool (*fn)(void *ctx, char *const *path, size_t n);
    void *ctx;
    char *path[FIELD_DEPTH];
};

static bool walk(struct walk *w, const json_t *set, size_t depth)
{
    const char *key;
    json_t *inner;
    json_object_foreach((json_t *)(uintptr_t)set, key, inner)
    {
        if (strncmp(key, "f:", 2) != 0 || depth == FIELD_DEPTH)
            continue;
        w->path[depth] = (char *)(uintptr_t)key + 2;
        bool go_on =
            json_object_size(inner) ? walk(w, inner, depth + 1) : w->fn(w->ctx, w->path, depth + 1);
        if (!go_on)
            return false;
    }
    return true;
}

bool fields_each(const json_t *set, bool (*fn)(void *ctx, char *const *path, size_t n), void *ctx)
{
    struct walk w = {.fn = fn, .ctx = ctx};
    return walk(&w, set, 0);
}
