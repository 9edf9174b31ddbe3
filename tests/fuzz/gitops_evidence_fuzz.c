/* managedFields: any object that is an object at all can be asked who owns what. */
#include "core/jsonedit.h"
#include "gitops/evidence.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int count(void *ctx, const struct owner *w, struct err *err)
{
    (void)err;
    *(size_t *)ctx += strlen(w->manager) + strlen(w->operation) + strlen(w->subresource);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *a = arena_new();
    struct kube_object o;
    struct err err;
    str text = arena_str(a, (str){(const char *)data, size});
    if (text.p && kube_object_read(a, text, &o, &err) == 0) {
        size_t n = 0;
        if (evidence_owners(a, &o, JSON_PATH("data", "key"), count, &n, &err) < 0)
            __builtin_trap();
        for (const struct engine *const *e = engines; *e; e++) {
            (void)evidence_applied(a, *e, &o);
            (void)evidence_declared(a, *e, &o, JSON_PATH("data", "key"));
        }
        (void)evidence_seed(a, &o);
    }
    arena_free(a);
    return 0;
}
