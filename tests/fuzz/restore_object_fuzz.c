/* A stored object on its way back: any text from a store, prepared, compared with itself, its
 * owners given back. What comes out is JSON and carries nothing of ours. */
#include <stdlib.h>

#include "kube/client.h"
#include "reconciler/restore/fields.h"
#include "reconciler/restore/prepare.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct kube_object o;
    struct prepared p;
    struct err err;
    str body, text = arena_str(a, (str){(const char *)data, n});
    if (raw_check(text, &err) < 0 || kube_object_read(a, text, &o, &err) < 0 ||
        prepare_object(a, &o, NULL, NULL, &p, &err) < 0)
        return 0;
    if (raw_check(p.body, &err) < 0)
        abort();
    bool same = false;
    const char *where;
    if (prepare_compare(a, &p, &o, true, NULL, NULL, &same, &where, &err) == 0 && !same)
        abort();
    if (prepare_replace(a, &p, &o, &body, &err) == 0 && raw_check(body, &err) < 0)
        abort();
    if (kube_job_is_finished(&o) && job_status_patch(a, &o, "u", &body, &err) == 0 &&
        raw_check(body, &err) < 0)
        abort();
    str managed = raw_at(o.raw, "metadata", "managedFields", NULL), back;
    if (fields_give_back(a, managed, managed, NULL, &back, &err) == 0 && back.p &&
        fields_has_manager(back, KUBE_MANAGER))
        abort();
    return 0;
}
