/* kube/splitter: a list gives the same items however it is cut, and each one that is JSON is found
 * by a scanner that has the whole text, too. The first byte is the size of the pieces. */
#include <stdlib.h>

#include "core/jsonscan.h"
#include "kube/splitter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int keep(void *ctx, str item, struct err *err)
{
    (void)err;
    buf_str(ctx, item);
    buf_putc(ctx, '\0');
    return 0;
}

static bool split(str text, size_t step, struct buf *out)
{
    struct kube_splitter *s = kube_splitter_new(keep, out);
    struct err err;
    bool good = true;
    for (size_t i = 0; good && i < text.n; i += step)
        good = kube_splitter_feed(s, text.p + i, MIN(step, text.n - i), &err) == 0;
    good = good && kube_splitter_end(s, &err) == 0;
    if (good)
        (void)kube_splitter_member(s, "metadata");
    kube_splitter_free(s);
    return good;
}

/* Where the whole text is a list without surprises, its items as the scanner sees them. */
static bool scan(str text, struct buf *out)
{
    struct err err;
    str items, item, key, value;
    int seen = 0;
    if (raw_check(text, &err) < 0)
        return false;
    struct raw_iter members = raw_iter(text);
    while (raw_next(&members, &key, &value))
        seen += raw_is(key, "items");
    items = raw_get(text, "items");
    if (seen != 1 || !items.n || items.p[0] != '[')
        return false;
    struct raw_iter it = raw_iter(items);
    while (raw_next(&it, NULL, &item))
        (void)keep(out, item, NULL);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    str text = {(const char *)data + 1, size - 1};
    struct buf cut = {0}, whole = {0}, scanned = {0};
    bool a = split(text, (size_t)data[0] + 1, &cut), b = split(text, MAX(size, 1), &whole);
    if (a != b || !str_eq(buf_view(&cut), buf_view(&whole)))
        abort();
    if (a && scan(text, &scanned) && !memchr(text.p, '\\', text.n) &&
        !str_eq(buf_view(&scanned), buf_view(&whole)))
        abort();
    buf_free(&cut);
    buf_free(&whole);
    buf_free(&scanned);
    return 0;
}
