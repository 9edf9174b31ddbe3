#include "reconciler/restore/fields.h"

#include "core/clock.h"
#include "kube/client.h"

static bool is_member(const json_t *set)
{
    return json_object_size(set) == 0 || json_object_get(set, ".") != NULL;
}

/* What is in both. A new reference, or NULL if that is nothing. */
static json_t *set_intersect(json_t *a, json_t *b)
{
    json_t *out = json_object();
    const char *key;
    json_t *child;
    json_object_foreach(a, key, child)
    {
        json_t *other = json_object_get(b, key);
        if (!other || streq(key, "."))
            continue;
        json_t *both = set_intersect(child, other);
        if (both)
            json_object_set_new(out, key, both);
    }
    bool member = is_member(a) && is_member(b);
    if (json_object_size(out) == 0 && !member) {
        json_decref(out);
        return NULL;
    }
    if (json_object_size(out) > 0 && member)
        json_object_set_new(out, ".", json_object());
    return out;
}

/* What of a is not in b. A new reference, or NULL if that is nothing. `top` as below. */
static json_t *set_without(json_t *a, json_t *b, bool top)
{
    json_t *out = json_object();
    const char *key;
    json_t *child;
    json_object_foreach(a, key, child)
    {
        if (streq(key, "."))
            continue;
        json_t *other = json_object_get(b, key);
        json_t *rest = other ? set_without(child, other, false) : json_deep_copy(child);
        if (rest)
            json_object_set_new(out, key, rest);
    }
    bool member = !top && is_member(a) && !is_member(b);
    if (json_object_size(out) == 0 && !member) {
        json_decref(out);
        return NULL;
    }
    if (json_object_size(out) > 0 && member)
        json_object_set_new(out, ".", json_object());
    return out;
}

/* Adds b to a. The top of a set is no field: it is never a member. */
static void set_add(json_t *a, json_t *b, bool top)
{
    bool member = !top && (is_member(a) || is_member(b));
    const char *key;
    json_t *child;
    json_object_foreach(b, key, child)
    {
        if (streq(key, "."))
            continue;
        json_t *mine = json_object_get(a, key);
        if (mine)
            set_add(mine, child, false);
        else
            json_object_set_new(a, key, json_deep_copy(child));
    }
    size_t children = json_object_size(a) - (json_object_get(a, ".") ? 1 : 0);
    if (member && children > 0)
        json_object_set_new(a, ".", json_object());
}

static bool entry_is_ours(const json_t *entry)
{
    return streq(json_text_at(entry, "manager", NULL), KUBE_MANAGER);
}

static bool same_owner(const json_t *a, const json_t *b)
{
    static const char *const names[] = {"manager", "operation", "subresource"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const char *x = json_text_at(a, names[i], NULL), *y = json_text_at(b, names[i], NULL);
        if (!streq(x ? x : "", y ? y : ""))
            return false;
    }
    return true;
}

static json_t *find_owner(json_t *list, const json_t *like)
{
    size_t i;
    json_t *entry;
    json_array_foreach(list, i, entry)
    {
        if (same_owner(entry, like))
            return entry;
    }
    return NULL;
}

static json_t *fields_of(const json_t *entry)
{
    json_t *fields = json_object_get(entry, "fieldsV1");
    return json_is_object(fields) ? fields : NULL;
}

static int parse_list(str text, json_t **ret, struct err *err)
{
    if (text.n == 0 || str_is(text, "null")) {
        *ret = json_array();
        return 0;
    }
    json_t *list;
    if (json_parse(text, &list, err) < 0)
        return err_wrap(err, "reading managedFields");
    if (!json_is_array(list)) {
        json_decref(list);
        return err_set(err, ERR_INVALID, "managedFields is not a list");
    }
    *ret = list;
    return 0;
}

/* Appends what one saved owner gets of the fields that were ours. */
static void give_to(json_t *out, json_t *saved, json_t *ours)
{
    json_t *fields = fields_of(saved);
    if (!fields)
        return;
    json_t *part CLEANUP_JSON = set_intersect(fields, ours);
    if (!part || json_object_size(part) == 0)
        return;
    json_t *there = find_owner(out, saved);
    if (there && fields_of(there)) {
        set_add(fields_of(there), part, true);
        return;
    }
    json_t *entry = json_deep_copy(saved);
    json_object_set(entry, "fieldsV1", part);
    json_array_append_new(out, entry);
}

static json_t *without_us(json_t *list)
{
    json_t *out = json_array();
    size_t i;
    json_t *entry;
    json_array_foreach(list, i, entry)
    {
        if (!entry_is_ours(entry))
            json_array_append_new(out, json_deep_copy(entry));
    }
    return out;
}

bool fields_has_manager(str managed, const char *manager)
{
    struct raw_iter it = raw_iter(managed);
    str key, entry;
    while (raw_next(&it, &key, &entry))
        if (raw_is(raw_get(entry, "manager"), manager))
            return true;
    return false;
}

/* The fields of ours that nobody in `list` owns, given to `heir` as an entry of its own. */
static void give_rest(json_t *list, json_t *ours, const json_t *like, const char *heir)
{
    json_t *rest = json_deep_copy(ours);
    size_t i;
    json_t *entry;
    json_array_foreach(list, i, entry)
    {
        if (rest && fields_of(entry)) {
            json_t *less = set_without(rest, fields_of(entry), true);
            json_decref(rest);
            rest = less;
        }
    }
    if (!rest)
        return;
    json_t *left = json_deep_copy(like);
    json_object_set_new(left, "manager", json_string(heir));
    json_object_set_new(left, "operation", json_string("Update"));
    json_object_set_new(left, "fieldsV1", rest);
    /* Two entries of one owner would be one for the server: the last. */
    json_t *there = find_owner(list, left);
    if (there && fields_of(there)) {
        set_add(fields_of(there), rest, true);
        json_decref(left);
    } else {
        json_array_append_new(list, left);
    }
}

/* All that we own on the object, and one of our entries as a pattern: of the object itself before
 * one of a subresource. */
static json_t *ours_of(json_t *now, json_t **ret_like)
{
    json_t *ours = json_object();
    *ret_like = NULL;
    size_t i;
    json_t *entry;
    json_array_foreach(now, i, entry)
    {
        if (!entry_is_ours(entry))
            continue;
        if (fields_of(entry))
            set_add(ours, fields_of(entry), true);
        if (!*ret_like || !json_object_get(entry, "subresource"))
            *ret_like = entry;
    }
    return ours;
}

int fields_give_back(struct arena *a, str live, str saved, const char *heir, str *ret,
                     struct err *err)
{
    if (!fields_has_manager(live, KUBE_MANAGER)) {
        *ret = (str){0};
        return 0;
    }
    json_t *now CLEANUP_JSON = NULL, *before CLEANUP_JSON = NULL, *like;
    if (parse_list(live, &now, err) < 0 || parse_list(saved, &before, err) < 0)
        return -1;
    json_t *ours CLEANUP_JSON = ours_of(now, &like);
    json_t *out CLEANUP_JSON = without_us(now);
    if (json_array_size(out) == 0) {
        json_decref(out);
        out = without_us(before);
    } else {
        size_t i;
        json_t *entry;
        json_array_foreach(before, i, entry)
        {
            if (!entry_is_ours(entry))
                give_to(out, entry, ours);
        }
    }
    if (heir || json_array_size(out) == 0)
        give_rest(out, ours, like, heir ? heir : FIELDS_NOBODY);
    if (json_array_size(out) == 0)
        return err_set(err, ERR_INVALID, "managedFields would be left empty");
    struct buf text CLEANUP(buf_free) = {0};
    json_print(&text, out);
    *ret = arena_str(a, buf_view(&text));
    return 0;
}

static bool set_has(str set, const char *const *path)
{
    for (; *path; path++) {
        char *name CLEANUP(free_p) = xasprintf("f:%s", *path);
        set = raw_get(set, name);
        if (!set.p)
            return false;
    }
    return true;
}

/* We, and whom we gave fields that nobody else had claimed. */
static bool is_nobody(str manager)
{
    return raw_is(manager, KUBE_MANAGER) || raw_is(manager, FIELDS_NOBODY);
}

str fields_written_since(str managed, int64_t since_ms, const char *const *path)
{
    struct raw_iter it = raw_iter(managed);
    for (str entry; raw_next(&it, NULL, &entry);) {
        str manager = raw_get(entry, "manager"), time = raw_get(entry, "time");
        int64_t at;
        if (time.n < 2 || raw_get(entry, "subresource").p || is_nobody(manager))
            continue;
        time = (str){time.p + 1, time.n - 2};
        if (clock_parse(time, &at) && at >= since_ms && set_has(raw_get(entry, "fieldsV1"), path))
            return manager;
    }
    return (str){0};
}

bool fields_owned(str managed, const char *const *managers, const char *const *path)
{
    struct raw_iter it = raw_iter(managed);
    str key, entry;
    while (raw_next(&it, &key, &entry)) {
        if (raw_get(entry, "subresource").p)
            continue;
        for (const char *const *m = managers; *m; m++)
            if (raw_is(raw_get(entry, "manager"), *m) && set_has(raw_get(entry, "fieldsV1"), path))
                return true;
    }
    return false;
}
