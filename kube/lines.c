#include "kube/lines.h"

#include <stdlib.h>

#include "kube/private.h"

struct lines {
    int (*each)(void *ctx, enum line_event event, const struct kube_object *o, struct err *err);
    void *ctx;
    struct buf line;
};

struct lines *lines_new(int (*each)(void *ctx, enum line_event event, const struct kube_object *o,
                                    struct err *err),
                        void *ctx)
{
    struct lines *l = xcalloc(1, sizeof *l);
    l->each = each;
    l->ctx = ctx;
    l->line.cap = KUBE_MAX_OBJECT + 1024;
    return l;
}

void lines_free(struct lines *l)
{
    if (!l)
        return;
    buf_free(&l->line);
    free(l);
}

/* The Status of an ERROR event has the code that an answer would have had. */
static int error_event(str status, struct err *err)
{
    int64_t code = 0;
    struct kube_http x = {.method = "WATCH", .path = "stream"};
    if (!raw_int(raw_get(status, "code"), &code) || code < 400 || code > 599)
        code = 500;
    x.status = (int)code;
    buf_str(&x.answer, status);
    int r = status_error(&x, err);
    buf_free(&x.answer);
    return r;
}

static int take(struct lines *l, str line, struct err *err)
{
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct kube_object o;
    str type = raw_get(line, "type"), object = raw_get(line, "object");
    if (raw_is(type, "ERROR"))
        return error_event(object, err);
    bool bookmark = raw_is(type, "BOOKMARK"), deleted = raw_is(type, "DELETED");
    if (!bookmark && !deleted && !raw_is(type, "ADDED") && !raw_is(type, "MODIFIED"))
        return err_set(err, ERR_CORRUPT, "a watch event of an unknown type");
    str raw = arena_str(a, object);
    int r = bookmark ? object_read_unnamed(a, raw, &o, err) : kube_object_read(a, raw, &o, err);
    if (r < 0)
        return err_wrap(err, "a watch event");
    return l->each(l->ctx,
                   bookmark  ? LINE_BOOKMARK
                   : deleted ? LINE_DELETED
                             : LINE_OBJECT,
                   &o, err);
}

int lines_feed(struct lines *l, const char *p, size_t n, struct err *err)
{
    while (n) {
        const char *end = memchr(p, '\n', n);
        size_t piece = end ? (size_t)(end - p) : n;
        buf_add(&l->line, p, piece);
        if (l->line.overflow)
            return err_set(err, ERR_TOO_LARGE, "a watch event is larger than %zu bytes",
                           l->line.cap);
        if (!end)
            return 0;
        str line = str_trim(buf_view(&l->line));
        if (line.n && take(l, line, err) < 0)
            return -1;
        buf_reset(&l->line);
        p += piece + 1;
        n -= piece + 1;
    }
    return 0;
}
