/* Merge patch (RFC 7386) and JSON patch (RFC 6902). */
#include "fake.h"

#include <stdlib.h>

json_t *merge_patch(const json_t *target, const json_t *patch)
{
    if (!json_is_object(patch))
        return json_deep_copy(patch);
    json_t *out = json_is_object(target) ? json_deep_copy(target) : json_object();
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)patch, key, value)
    {
        if (json_is_null(value))
            json_object_del(out, key);
        else
            json_object_set_new(out, key, merge_patch(json_object_get(out, key), value));
    }
    return out;
}

/* One token of a pointer, unescaped (~1, ~0), malloc'd. */
static char *token(str *rest)
{
    str raw = str_cut(rest, '/');
    char *out = xmalloc(raw.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < raw.n; i++) {
        if (raw.p[i] == '~' && i + 1 < raw.n && (raw.p[i + 1] == '0' || raw.p[i + 1] == '1'))
            out[n++] = raw.p[++i] == '0' ? '~' : '/';
        else
            out[n++] = raw.p[i];
    }
    out[n] = '\0';
    return out;
}

static bool index_of(const json_t *list, const char *name, bool may_append, size_t *ret)
{
    uint64_t i;
    if (may_append && streq(name, "-")) {
        *ret = json_array_size(list);
        return true;
    }
    if (!str_u64(str_of(name), &i) || i + !may_append > json_array_size(list))
        return false;
    *ret = (size_t)i;
    return true;
}

static json_t *member_of(const json_t *j, const char *name)
{
    size_t i;
    if (json_is_array(j))
        return index_of(j, name, false, &i) ? json_array_get(j, i) : NULL;
    return json_object_get(j, name);
}

/* The container of what the pointer names, and the last token (malloc'd). */
static json_t *parent_of(json_t *root, const char *pointer, char **ret_last)
{
    if (pointer[0] != '/')
        return NULL;
    str rest = str_of(pointer + 1);
    json_t *j = root;
    for (;;) {
        char *name = token(&rest);
        if (!rest.p) {
            *ret_last = name;
            return j;
        }
        j = member_of(j, name);
        free(name);
        if (!j)
            return NULL;
    }
}

static json_t *value_at(json_t *root, const char *pointer)
{
    char *last CLEANUP(free_p) = NULL;
    json_t *parent = parent_of(root, pointer, &last);
    return parent ? member_of(parent, last) : NULL;
}

static bool add_at(json_t *root, const char *pointer, json_t *value, bool replace)
{
    char *last CLEANUP(free_p) = NULL;
    json_t *parent = parent_of(root, pointer, &last);
    size_t i;
    if (!parent || (replace && !member_of(parent, last)))
        return false;
    if (json_is_array(parent)) {
        if (!index_of(parent, last, !replace, &i))
            return false;
        return (replace ? json_array_set(parent, i, value) : json_array_insert(parent, i, value)) ==
               0;
    }
    return json_object_set(parent, last, value) == 0;
}

static bool remove_at(json_t *root, const char *pointer)
{
    char *last CLEANUP(free_p) = NULL;
    json_t *parent = parent_of(root, pointer, &last);
    size_t i;
    if (!parent || !member_of(parent, last))
        return false;
    if (json_is_array(parent))
        return index_of(parent, last, false, &i) && json_array_remove(parent, i) == 0;
    return json_object_del(parent, last) == 0;
}

static const char *run(json_t *root, const json_t *op)
{
    const char *name = text_of(op, "op", NULL), *path = text_of(op, "path", NULL);
    json_t *value = json_object_get(op, "value");
    if (streq(name, "test")) {
        json_t *has = value_at(root, path);
        bool equal = has ? json_equal(has, value) : json_is_null(value);
        return equal ? NULL : "a test of the patch does not hold";
    }
    if (streq(name, "add") && value)
        return add_at(root, path, value, false) ? NULL : "add: the path does not exist";
    if (streq(name, "replace") && value)
        return add_at(root, path, value, true) ? NULL : "replace: the path does not exist";
    if (streq(name, "remove"))
        return remove_at(root, path) ? NULL : "remove: the path does not exist";
    return "an operation that is not implemented here";
}

json_t *json_patch(const json_t *target, const json_t *patch, const char **why)
{
    json_t *out = json_deep_copy(target);
    size_t i;
    json_t *op;
    *why = json_is_array(patch) ? NULL : "the patch is not an array";
    json_array_foreach(patch, i, op)
    {
        if (!*why)
            *why = run(out, op);
    }
    if (!*why)
        return out;
    json_decref(out);
    return NULL;
}
