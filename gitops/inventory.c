#include "gitops/inventory.h"

static bool cut_last(str *s, str *ret_tail)
{
    const char *at = s->n ? memrchr(s->p, '_', s->n) : NULL;
    if (!at)
        return false;
    *ret_tail = (str){at + 1, s->n - (size_t)(at + 1 - s->p)};
    s->n = (size_t)(at - s->p);
    return true;
}

bool inventory_parse(struct arena *a, str id, struct inventory_id *ret)
{
    if (memchr(id.p ? id.p : "", '\0', id.n) || !memchr(id.p ? id.p : "", '_', id.n))
        return false;
    str ns = str_cut(&id, '_'), kind, group;
    if (!cut_last(&id, &kind) || !cut_last(&id, &group) || !id.n || !kind.n)
        return false;
    struct buf name CLEANUP(buf_free) = {0};
    for (size_t i = 0; i < id.n; i++) {
        bool colon = id.p[i] == '_';
        if (colon && (i + 1 == id.n || id.p[++i] != '_'))
            return false;
        buf_putc(&name, colon ? ':' : id.p[i]);
    }
    *ret =
        (struct inventory_id){arena_strndup(a, ns.p, ns.n), arena_strndup(a, name.p, name.n),
                              arena_strndup(a, group.p, group.n), arena_strndup(a, kind.p, kind.n)};
    return true;
}
