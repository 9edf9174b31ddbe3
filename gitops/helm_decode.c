/* The worker's half: everything here reads bytes that a tenant can write. */
#include <stdlib.h>
#include <zlib.h>

#include "core/codec.h"
#include "core/jsonscan.h"
#include "gitops/frame.h"
#include "gitops/helm.h"
#include "gitops/yaml.h"

struct decoding {
    struct buf *out;
    size_t budget;
    char type;
};

/* Appends the unpacked text; what does not start as gzip stands for itself, as in Helm. */
static int unpack(str packed, struct buf *out, struct err *err)
{
    if (packed.n < 3 || memcmp(packed.p, "\x1f\x8b\x08", 3) != 0) {
        buf_str(out, packed);
        return 0;
    }
    z_stream z = {.next_in = (Bytef *)(uintptr_t)packed.p, .avail_in = (uInt)packed.n};
    if (inflateInit2(&z, 16 + MAX_WBITS) != Z_OK)
        return err_set(err, ERR_INTERNAL, "zlib did not start");
    int r = Z_OK;
    while (r == Z_OK && out->n <= HELM_RELEASE_MAX) {
        unsigned char chunk[32 << 10];
        z.next_out = chunk;
        z.avail_out = sizeof chunk;
        r = inflate(&z, Z_NO_FLUSH);
        buf_add(out, chunk, sizeof chunk - z.avail_out);
    }
    inflateEnd(&z);
    if (out->n > HELM_RELEASE_MAX)
        return err_set(err, ERR_TOO_LARGE, "the release unpacks to more than %d bytes",
                       HELM_RELEASE_MAX);
    return r == Z_STREAM_END ? 0 : err_set(err, ERR_INVALID, "the release's gzip is broken");
}

/* One object, or the items of a List: Helm applies those one by one. */
static int add_object(void *ctx, str json, struct err *err)
{
    struct decoding *d = ctx;
    if (!json.n || json.p[0] != '{')
        return err_set(err, ERR_INVALID, "a document that is not an object");
    str items = raw_get(json, "items");
    if (raw_is(raw_get(json, "kind"), "List") && raw_is(raw_get(json, "apiVersion"), "v1")) {
        struct raw_iter it = raw_iter(items);
        for (str item; raw_next(&it, NULL, &item);)
            frame_add(d->out, d->type, item);
        return 0;
    }
    frame_add(d->out, d->type, json);
    return 0;
}

static int add_yaml(struct decoding *d, char type, str yaml, const char *what, struct err *err)
{
    d->type = type;
    if (yaml_each(yaml, &d->budget, add_object, d, err) < 0)
        return err_wrap(err, "the release's %s", what);
    return 0;
}

static int add_hooks(struct arena *a, struct decoding *d, str release, struct err *err)
{
    struct raw_iter it = raw_iter(raw_get(release, "hooks"));
    for (str hook; raw_next(&it, NULL, &hook);) {
        str manifest = raw_string(a, raw_get(hook, "manifest"));
        if (manifest.p && add_yaml(d, HELM_HOOK, manifest, "hooks", err) < 0)
            return -1;
    }
    return 0;
}

static int add_crds(struct arena *a, struct decoding *d, str release, struct err *err)
{
    struct raw_iter it = raw_iter(raw_at(release, "chart", "files", NULL));
    for (str file; raw_next(&it, NULL, &file);) {
        str name = raw_string(a, raw_get(file, "name"));
        if (!name.p || !str_starts(name, "crds/") ||
            !(str_ends(name, ".yaml") || str_ends(name, ".yml") || str_ends(name, ".json")))
            continue;
        struct buf text CLEANUP(buf_free) = {0};
        str data = raw_string(a, raw_get(file, "data"));
        if (base64_decode(&text, data.p ? data : STR(""), err) < 0 ||
            add_yaml(d, HELM_CRD, buf_view(&text), "crds", err) < 0)
            return -1;
    }
    return 0;
}

static void add_info(struct buf *out, str release)
{
    static const char *const names[] = {"name", "namespace", "version"};
    struct buf info CLEANUP(buf_free) = {0};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        str value = raw_get(release, names[i]);
        buf_printf(&info, "%s\"%s\":", i ? "," : "{", names[i]);
        buf_str(&info, value.p ? value : STR("null"));
    }
    buf_putc(&info, '}');
    frame_add(out, HELM_INFO, buf_view(&info));
}

int helm_decode(str release_text, struct buf *out, struct err *err)
{
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct buf inner CLEANUP(buf_free) = {0}, packed CLEANUP(buf_free) = {0};
    struct buf json CLEANUP(buf_free) = {0};
    if (base64_decode(&inner, release_text, err) < 0 ||
        base64_decode(&packed, inner.p ? buf_view(&inner) : STR(""), err) < 0)
        return err_wrap(err, "data.release");
    if (unpack(packed.p ? buf_view(&packed) : STR(""), &json, err) < 0)
        return -1;
    str release = json.p ? buf_view(&json) : STR("");
    if (raw_check(release, err) < 0)
        return err_wrap(err, "the release");
    str manifest = raw_string(a, raw_get(release, "manifest"));
    if (!manifest.p)
        return err_set(err, ERR_INVALID, "the release has no manifest");
    struct decoding d = {.out = out, .budget = HELM_ANSWER_MAX / 2};
    out->cap = HELM_ANSWER_MAX;
    add_info(out, release);
    if (add_yaml(&d, HELM_OBJECT, manifest, "manifest", err) < 0 ||
        add_hooks(a, &d, release, err) < 0 || add_crds(a, &d, release, err) < 0)
        return -1;
    return out->overflow ? err_set(err, ERR_TOO_LARGE, "the release is too large") : 0;
}

int helm_release_main(void)
{
    struct buf in CLEANUP(buf_free) = {0}, out CLEANUP(buf_free) = {0};
    struct err err;
    bool failed = frame_read_input(&in, HELM_TEXT_MAX, &err) < 0 ||
                  helm_decode(in.p ? buf_view(&in) : STR(""), &out, &err) < 0;
    return frame_answer(&out, failed, &err);
}
