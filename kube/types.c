#include "kube/types.h"

#define X(name, group_, version_, resource_, kind_, namespaced_)                                   \
    const struct kube_type KUBE_##name = {.group = group_,                                         \
                                          .version = version_,                                     \
                                          .resource = resource_,                                   \
                                          .kind = kind_,                                           \
                                          .namespaced = namespaced_};
KUBE_TYPES(X)
#undef X

const struct kube_type *kube_type_by_kind(const char *kind)
{
    static const struct kube_type *const all[] = {
#define X(name, group_, version_, resource_, kind_, namespaced_) &KUBE_##name,
        KUBE_TYPES(X)
#undef X
    };
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (streq(all[i]->kind, kind))
            return all[i];
    return NULL;
}
