/* Hex, base64, SHA-256, random bytes. */
#ifndef CORE_CODEC_H
#define CORE_CODEC_H

#include "core/err.h"
#include "core/str.h"

/* Lower-case hex; `out` has room for 2 * n + 1 bytes and is terminated. */
void hex_encode(const void *p, size_t n, char *out);

/* Exactly 2 * n hex digits (either case) into n bytes; false otherwise. */
bool hex_decode(str hex, void *out, size_t n);

/* RFC 4648 base64, standard alphabet, padded. Appends. */
void base64_encode(struct buf *out, const void *p, size_t n);

/* Decodes standard, padded base64 (newlines inside are skipped). Appends. ERR_INVALID. */
int base64_decode(struct buf *out, str text, struct err *err) must_check;

void sha256(const void *p, size_t n, uint8_t out[32]);

/* Streaming SHA-256. Ended by sha256_final, which also frees; or by sha256_free alone. */
struct sha256_ctx *sha256_new(void);
void sha256_update(struct sha256_ctx *c, const void *p, size_t n);
void sha256_final(struct sha256_ctx *c, uint8_t out[32]);
void sha256_free(struct sha256_ctx *c);

/* Cryptographically strong; a failing random source ends the process. */
void random_bytes(void *p, size_t n);

/* A random token of 2 * bytes hex digits in `out` (room for them and the terminator). */
void random_token(char *out, size_t bytes);

#endif
