/* Room in a core buffer for code that writes by pointer (decryption, decompression, reads). */
#ifndef STORE_BYTES_H
#define STORE_BYTES_H

#include "core/str.h"

/* Makes room for n more bytes behind b->n and gives its start. The caller writes at most n bytes
 * and tells how many by bytes_grow. Grows no further than asked the first time: packs and blobs are
 * big. */
static inline void *bytes_room(struct buf *b, size_t n)
{
    size_t need = b->n + n + 1;
    if (need > b->room) {
        size_t room = b->room + b->room / 2;
        b->room = MAX(need, room);
        b->p = xrealloc(b->p, b->room);
    }
    return b->p + b->n;
}

static inline void bytes_grow(struct buf *b, size_t n)
{
    b->n += n;
    b->p[b->n] = '\0';
}

static inline uint32_t bytes_le32(const void *p)
{
    const uint8_t *b = p;
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static inline void bytes_add_le32(struct buf *b, uint32_t v)
{
    uint8_t le[4] = {(uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16), (uint8_t)(v >> 24)};
    buf_add(b, le, sizeof le);
}

#endif
