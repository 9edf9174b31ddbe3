/* Content-defined chunks: restic's Rabin fingerprint over the last 64 bytes, bit for bit. A chunk
 * ends after a byte where it has at least `min` bytes and the low bits of the fingerprint are zero,
 * at `max`, or at the end of the file. By default 0.5 MiB, 20 bits, 8 MiB. */
#ifndef STORE_CHUNKER_H
#define STORE_CHUNKER_H

#include "core/base.h"

/* Polynomials over GF(2); bit i is the coefficient of x^i. */
uint64_t polynomial_random(void); /* irreducible, degree 53 */
bool polynomial_irreducible(uint64_t p);
bool polynomial_usable(uint64_t p); /* irreducible and of degree 53 */

struct chunker {
    uint64_t out[256]; /* what a byte adds that leaves the window */
    uint64_t mod[256]; /* reduces the eight bits above degree 53, and clears them */
    uint64_t mask;     /* of the bits that are zero where a chunk ends */
    size_t min, max;   /* bytes; equal: all chunks are of that size */
};

void chunker_init(struct chunker *c, uint64_t polynomial);

/* Other sizes than the default: min at least 64 bytes, average a power of two. */
void chunker_set_sizes(struct chunker *c, size_t min, size_t average, size_t max);

/* The length of the chunk that starts at p, of which n bytes are there; `whole`: the file ends
 * after them. 0: more bytes are needed to tell (never with c->max bytes, or `whole` and n
 * > 0). *at (0 for a new chunk) keeps how far earlier calls have looked at the same chunk. */
size_t chunker_cut(const struct chunker *c, const uint8_t *p, size_t n, bool whole, size_t *at);

#endif
