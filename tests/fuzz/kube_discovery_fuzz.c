/* kube/discovery and the decoding of Status: any answer gives types with names, or an error. The
 * first byte picks the HTTP status. */
#include <stdlib.h>

#include "kube/discovery.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    int status;
    str text;
};

static int perform(void *ctx, struct kube_http *x, struct err *err)
{
    const struct input *in = ctx;
    (void)err;
    x->status = in->status;
    buf_str(&x->answer, in->text);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int statuses[] = {200, 200, 404, 409, 422, 500};
    if (size == 0)
        return 0;
    struct input in = {statuses[data[0] % ARRAY_LEN(statuses)], {(const char *)data + 1, size - 1}};
    struct kube *k = kube_new_on((struct kube_transport){.perform = perform, .ctx = &in});
    struct kube_discovery *d;
    struct err err = {0};
    if (kube_discover(k, &d, &err) < 0) {
        if (err.kind == ERR_NONE || !err.msg[0])
            abort();
    } else {
        for (size_t i = 0; i < kube_discovery_count(d); i++) {
            const struct kube_type *t = kube_discovery_at(d, i);
            if (!t->resource[0] || !t->kind[0] || !t->version[0] ||
                !kube_discovery_kind(d, str_of(t->group), NULL, t->kind))
                abort();
        }
        kube_discovery_free(d);
    }
    kube_free(k);
    return 0;
}
