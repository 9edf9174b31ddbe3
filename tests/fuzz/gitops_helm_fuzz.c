/* Helm storage Secrets. The input is data.release as it stands, or (first byte 'Y') the manifest
 * alone, or (first byte 'J') the release's JSON. Every frame of an accepted release holds JSON. */
#include "core/codec.h"
#include "core/jsonscan.h"
#include "gitops/frame.h"
#include "gitops/helm.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void wrap(struct buf *out, str json)
{
    struct buf inner = {0};
    base64_encode(&inner, json.p, json.n);
    base64_encode(out, inner.p, inner.n);
    buf_free(&inner);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err;
    struct buf text = {0}, out = {0}, json = {0};
    str in = {(const char *)data, size};
    bool wrapped = size && (*data == 'Y' || *data == 'J');
    if (wrapped && *data == 'Y') {
        buf_puts(&json, "{\"manifest\":");
        raw_add_string(&json, (str){in.p + 1, in.n - 1});
        buf_puts(&json, "}");
        wrap(&text, buf_view(&json));
    } else if (wrapped) {
        wrap(&text, (str){in.p + 1, in.n - 1});
    }
    if (text.p)
        in = buf_view(&text);
    if (helm_decode(in, &out, &err) == 0) {
        frame_add(&out, FRAME_END, (str){0});
        str rest = buf_view(&out), payload;
        char type;
        int r;
        while ((r = frame_next(&rest, &type, &payload, &err)) > 0)
            if (raw_check(payload, &err) < 0)
                __builtin_trap();
        if (r < 0)
            __builtin_trap();
    }
    buf_free(&json);
    buf_free(&text);
    buf_free(&out);
    return 0;
}
