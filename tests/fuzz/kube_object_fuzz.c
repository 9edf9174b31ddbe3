/* kube/object: what is read as an object has kind and name; completing an item keeps it an object.
 */
#include <stdlib.h>

#include "kube/private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *a = arena_new();
    struct kube_object o, again;
    struct err err = {0};
    str text = {(const char *)data, size};
    if (kube_object_read(a, text, &o, &err) == 0) {
        struct kube_owner w;
        struct raw_iter it = kube_owners(&o);
        if (!o.kind[0] || !o.name[0])
            abort();
        while (kube_owner_next(a, &it, &w))
            (void)kube_group_of(w.api_version);
        (void)kube_label(a, &o, "a");
        struct kube_object copy = kube_object_copy(a, &o);
        if (!str_eq(copy.raw, o.raw))
            abort();
    }
    if (raw_check(text, &err) == 0) {
        str whole = object_complete(a, &KUBE_DEPLOYMENT, text);
        if (raw_check(whole, &err) < 0)
            abort();
        str metadata = raw_get(whole, "metadata");
        if (str_trim(text).p[0] == '{' && raw_is(raw_get(whole, "kind"), "Deployment") &&
            (!metadata.p || metadata.p[0] == '{') &&
            object_read_unnamed(a, whole, &again, &err) < 0)
            abort();
    }
    arena_free(a);
    return 0;
}
