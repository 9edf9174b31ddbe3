#include "store/snapshot_text.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What we write of any snapshot reads, and comes out the same again. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *a = arena_new();
    struct snapshot s;
    struct buf once = {0}, twice = {0};
    struct err err;
    if (snapshot_parse((str){(const char *)data, size}, a, &s, &err) == 0) {
        snapshot_text(&s, &once);
        if (snapshot_parse(buf_view(&once), a, &s, &err) < 0)
            abort();
        snapshot_text(&s, &twice);
        if (!str_eq(buf_view(&once), buf_view(&twice)))
            abort();
    }
    buf_free(&once);
    buf_free(&twice);
    arena_free(a);
    return 0;
}
