/* kube/lines: a stream of a watch gives the same events however it is cut. */
#include <stdlib.h>

#include "kube/lines.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int keep(void *ctx, enum line_event event, const struct kube_object *o, struct err *err)
{
    (void)err;
    buf_printf(ctx, "%d %s/%s %s;", (int)event, o->ns, o->name, o->resource_version);
    return 0;
}

static enum err_kind feed(const char *p, size_t n, size_t step, struct buf *out)
{
    struct lines *l = lines_new(keep, out);
    struct err err = {0};
    int r = 0;
    for (size_t i = 0; r == 0 && i < n; i += step)
        r = lines_feed(l, p + i, MIN(step, n - i), &err);
    if (r < 0 && err.kind == ERR_NONE)
        abort();
    lines_free(l);
    return err.kind;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf a = {0}, b = {0};
    if (size == 0)
        return 0;
    const char *p = (const char *)data + 1;
    if (feed(p, size - 1, (size_t)data[0] + 1, &a) != feed(p, size - 1, size, &b) ||
        !str_eq(buf_view(&a), buf_view(&b)))
        abort();
    buf_free(&a);
    buf_free(&b);
    return 0;
}
