#include "core/jsonedit.h"

/* Where a member stands in the text of its object. */
struct member {
    size_t from, to;             /* from the key's first byte to behind the value */
    size_t value_from, value_to; /* the value alone */
    bool found, first, last, empty;
};

static int find_member(str object, const char *name, struct member *ret, struct err *err)
{
    struct raw_iter it = raw_iter(object);
    struct member m = {.empty = true};
    str key, value;
    if (!it.object)
        return err_set(err, ERR_INVALID, "cannot edit member %s: what holds it is not an object",
                       name);
    while (raw_next(&it, &key, &value)) {
        bool hit = raw_is(key, name);
        m.last = hit;
        if (hit) {
            m.found = true;
            m.first = m.empty;
            m.from = (size_t)(key.p - object.p);
            m.value_from = (size_t)(value.p - object.p);
            m.to = m.value_to = m.value_from + value.n;
        }
        m.empty = false;
    }
    if (it.bad)
        return err_set(err, ERR_INVALID, "cannot edit member %s: the text is not JSON", name);
    *ret = m;
    return 0;
}

static str splice(struct arena *a, str text, size_t from, size_t to, str middle)
{
    char *p = arena_alloc(a, text.n - (to - from) + middle.n + 1);
    memcpy(p, text.p, from);
    if (middle.n)
        memcpy(p + from, middle.p, middle.n);
    memcpy(p + from + middle.n, text.p + to, text.n - to);
    return (str){p, text.n - (to - from) + middle.n};
}

static str new_member(struct arena *a, const char *const *path, str value, bool comma)
{
    struct buf b CLEANUP(buf_free) = {0};
    size_t depth = 0;
    if (comma)
        buf_putc(&b, ',');
    for (; path[depth]; depth++) {
        if (depth)
            buf_putc(&b, '{');
        raw_add_string(&b, str_of(path[depth]));
        buf_putc(&b, ':');
    }
    buf_str(&b, value);
    while (--depth > 0)
        buf_putc(&b, '}');
    return arena_str(a, buf_view(&b));
}

int raw_set(struct arena *a, str text, const char *const *path, str value, str *ret,
            struct err *err)
{
    struct member m;
    text = str_trim(text);
    if (find_member(text, path[0], &m, err) < 0)
        return -1;
    if (!m.found) {
        str member = new_member(a, path, value, !m.empty);
        *ret = splice(a, text, text.n - 1, text.n - 1, member);
        return 0;
    }
    str inner = value;
    if (path[1]) {
        str old = {text.p + m.value_from, m.value_to - m.value_from};
        if (raw_set(a, old, path + 1, value, &inner, err) < 0)
            return -1;
    }
    *ret = splice(a, text, m.value_from, m.value_to, inner);
    return 0;
}

/* The comma that goes with a removed member: the one behind it, or before it if it is the last. */
static void widen(str text, struct member *m)
{
    if (!m->last) {
        while (text.p[m->to] != ',')
            m->to++;
        m->to++;
    } else if (!m->first) {
        while (text.p[m->from - 1] != ',')
            m->from--;
        m->from--;
    }
}

int raw_remove(struct arena *a, str text, const char *const *path, str *ret, struct err *err)
{
    struct member m;
    text = str_trim(text);
    if (find_member(text, path[0], &m, err) < 0)
        return -1;
    if (!m.found) {
        *ret = arena_str(a, text);
        return 0;
    }
    if (!path[1]) {
        widen(text, &m);
        *ret = splice(a, text, m.from, m.to, (str){0});
        return raw_get(*ret, path[0]).p ? raw_remove(a, *ret, path, ret, err) : 0;
    }
    str inner, old = {text.p + m.value_from, m.value_to - m.value_from};
    if (raw_remove(a, old, path + 1, &inner, err) < 0)
        return -1;
    *ret = splice(a, text, m.value_from, m.value_to, inner);
    return 0;
}
