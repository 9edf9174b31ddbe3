/* The marker annotation: whatever stands in it, a marker is read that is held, cleared or broken,
 * and a good one written again reads the same. */
#include "gitops/marker.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct kube_object carrying(struct arena *a, str marker)
{
    struct buf b = {0};
    struct kube_object o = {0};
    struct err err;
    buf_puts(&b,
             "{\"kind\":\"X\",\"metadata\":{\"name\":\"n\",\"annotations\":{\"" MARKER_ANNOTATION
             "\":");
    raw_add_string(&b, marker);
    buf_puts(&b, "}}}");
    if (kube_object_read(a, arena_str(a, buf_view(&b)), &o, &err) < 0)
        __builtin_trap();
    buf_free(&b);
    return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *a = arena_new();
    struct kube_object o = carrying(a, (str){(const char *)data, size});
    struct hold first, again;
    if (!hold_read(a, &o, &first))
        __builtin_trap();
    if (!streq(first.state, "broken")) {
        o = carrying(a, str_of(marker_text(a, &first)));
        if (!hold_read(a, &o, &again) || !streq(again.state, first.state) ||
            !streq(again.uid, first.uid) || !streq(again.token, first.token))
            __builtin_trap();
    }
    arena_free(a);
    return 0;
}
