/* The name of everything in a repository: SHA-256, of a file's stored bytes or of a blob's
 * plaintext. */
#ifndef STORE_ID_H
#define STORE_ID_H

#include "core/codec.h"
#include "core/vec.h"

enum { STORE_ID_SIZE = 32, STORE_ID_HEX = 2 * STORE_ID_SIZE + 1 };

struct store_id {
    uint8_t b[STORE_ID_SIZE];
};

static inline bool store_id_equal(const struct store_id *a, const struct store_id *b)
{
    return memcmp(a->b, b->b, STORE_ID_SIZE) == 0;
}

/* A growing list (core/vec.h): the chunks of a file, the files of a list. vec_free frees it. */
struct store_ids {
    struct store_id *p;
    size_t n, room;
};

/* Lower-case hex, terminated. */
static inline void store_id_hex(const struct store_id *id, char out[STORE_ID_HEX])
{
    hex_encode(id->b, STORE_ID_SIZE, out);
}

/* 64 lower-case hex digits, nothing else; false otherwise (restic ignores such names too). */
bool store_id_parse(str hex, struct store_id *ret_id);

/* SHA-256 of the bytes. */
static inline void store_id_of(const void *p, size_t n, struct store_id *ret_id)
{
    sha256(p, n, ret_id->b);
}

#endif
