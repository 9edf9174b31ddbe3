#include "gateway/route.h"

#include "store/layout.h"

bool route_is_uid(str s)
{
    if (s.n == 0 || s.n > 63)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '-'))
            return false;
    }
    return true;
}

static bool skip(str *s, const char *prefix)
{
    if (!str_starts(*s, prefix))
        return false;
    s->p += strlen(prefix);
    s->n -= strlen(prefix);
    return true;
}

/* What follows the repository: "config", "<type>/" or "<type>/<id>". */
static enum route_kind parse_file(str rest, struct backend_file *file)
{
    str id = rest, word = str_cut(&id, '/');
    int type = layout_type(word);
    if (type < 0)
        return ROUTE_OTHER;
    file->type = (enum backend_type)type;
    if (type == BACKEND_CONFIG)
        return id.p ? ROUTE_OTHER : ROUTE_FILE;
    if (id.p && id.n == 0)
        return ROUTE_LIST;
    return id.p && store_id_parse(id, &file->id) ? ROUTE_FILE : ROUTE_OTHER;
}

void route_parse(str path, struct route *ret)
{
    struct route r = {.kind = ROUTE_OTHER};
    str rest = path;
    *ret = r;
    if (str_is(path, "/gleaner/v1/key")) {
        ret->kind = ROUTE_PASSWORD;
        return;
    }
    if (skip(&rest, "/gleaner/v1/movers/")) {
        r.kind = route_is_uid(rest) ? ROUTE_MOVER : ROUTE_OTHER;
        r.pod_uid = rest;
        *ret = r;
        return;
    }
    if (!skip(&rest, "/"))
        return;
    str start = rest, cluster = str_cut(&rest, '/'), namespace = str_cut(&rest, '/');
    if (!rest.p)
        return;
    r.repository = (str){start.p, cluster.n + 1 + namespace.n};
    if (!layout_parse_repository(r.repository, &cluster, &namespace))
        return;
    r.kind = parse_file(rest, &r.file);
    *ret = r;
}

enum route_method route_method(const char *name)
{
    static const char *const names[] = {[METHOD_GET] = "GET",
                                        [METHOD_HEAD] = "HEAD",
                                        [METHOD_POST] = "POST",
                                        [METHOD_PUT] = "PUT",
                                        [METHOD_DELETE] = "DELETE"};
    for (size_t i = METHOD_GET; i < ARRAY_LEN(names); i++)
        if (streq(name, names[i]))
            return (enum route_method)i;
    return METHOD_OTHER;
}

bool route_range(str header, uint64_t size, uint64_t *ret_from, uint64_t *ret_n)
{
    uint64_t from, last = size - 1;
    if (!skip(&header, "bytes="))
        return false;
    str first = str_cut(&header, '-');
    if (!header.p || !str_u64(first, &from) || from >= size)
        return false;
    if (header.n && (!str_u64(header, &last) || last < from))
        return false;
    *ret_from = from;
    *ret_n = MIN(last, size - 1) - from + 1;
    return true;
}
