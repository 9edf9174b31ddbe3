/* Inventory ids: what is accepted has a kind and a name, and no more underscores than it must. */
#include "gitops/inventory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *a = arena_new();
    struct inventory_id id;
    if (inventory_parse(a, (str){(const char *)data, size}, &id) &&
        (!*id.kind || !*id.name || strchr(id.name, '_') || strchr(id.ns, '_') ||
         strchr(id.group, '_') || strchr(id.kind, '_')))
        __builtin_trap();
    arena_free(a);
    return 0;
}
