#include "store/lock_text.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *a = arena_new();
    struct lock_info l, again;
    struct buf text = {0};
    struct err err;
    if (lock_parse((str){(const char *)data, size}, a, &l, &err) == 0) {
        lock_text(&l, &text);
        if (lock_parse(buf_view(&text), a, &again, &err) < 0 || again.exclusive != l.exclusive)
            abort();
    }
    buf_free(&text);
    arena_free(a);
    return 0;
}
