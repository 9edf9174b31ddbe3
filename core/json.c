#include "core/json.h"

#include <stdarg.h>

int json_parse(str text, json_t **ret, struct err *err)
{
    json_error_t why;
    json_t *j = json_loadb(text.p ? text.p : "", text.n,
                           JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);
    if (!j)
        return err_set(err, ERR_INVALID, "not JSON at line %d: %s", why.line, why.text);
    *ret = j;
    return 0;
}

static int append(const char *p, size_t n, void *out)
{
    buf_add(out, p, n);
    return 0;
}

void json_print(struct buf *out, const json_t *j)
{
    json_dump_callback(j, append, out, JSON_COMPACT | JSON_ENCODE_ANY);
}

static json_t *walk(const json_t *j, va_list ap)
{
    for (const char *name; j && (name = va_arg(ap, const char *));)
        j = json_object_get(j, name);
    return (json_t *)(uintptr_t)j;
}

const char *json_text_at(const json_t *j, ...)
{
    va_list ap;
    va_start(ap, j);
    const char *s = json_string_value(walk(j, ap));
    va_end(ap);
    return s;
}

json_t *json_value_at(const json_t *j, ...)
{
    va_list ap;
    va_start(ap, j);
    json_t *v = walk(j, ap);
    va_end(ap);
    return v;
}
