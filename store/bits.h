/* A growing set of small numbers, one bit each. Zero-initialise; bits_free at the end. */
#ifndef STORE_BITS_H
#define STORE_BITS_H

#include "core/base.h"

#include <stdlib.h>
#include <string.h>

struct bits {
    uint8_t *p;
    size_t n; /* bytes */
};

static inline bool bits_has(const struct bits *b, uint32_t i)
{
    return i / 8 < b->n && b->p[i / 8] >> (i % 8) & 1;
}

/* False if it was there already. */
static inline bool bits_add(struct bits *b, uint32_t i)
{
    if (i / 8 >= b->n) {
        size_t n = MAX((size_t)i / 8 + 1, b->n * 2);
        b->p = xrealloc(b->p, n);
        memset(b->p + b->n, 0, n - b->n);
        b->n = n;
    }
    bool had = bits_has(b, i);
    b->p[i / 8] |= (uint8_t)(1 << (i % 8));
    return !had;
}

static inline void bits_remove(struct bits *b, uint32_t i)
{
    if (i / 8 < b->n)
        b->p[i / 8] &= (uint8_t) ~(1 << (i % 8));
}

static inline void bits_free(struct bits *b)
{
    free(b->p);
    *b = (struct bits){0};
}

#endif
