/* Files that are one JSON text: index, snapshot, lock (compressed and sealed), config (sealed
 * only). */
#ifndef STORE_UNPACKED_H
#define STORE_UNPACKED_H

#include "store/compress.h"
#include "store/crypto.h"

/* Replaces *out by the stored form of a text. Version 2 repositories compress (a byte 0x02, then a
 * zstd frame), version 1 does not. The result was opened again and compared: ERR_INTERNAL if memory
 * or compressor failed us. */
int unpacked_seal(const struct crypto_key *key, unsigned version, struct work *w, str text,
                  struct buf *out, struct err *err) must_check;

/* The same of a text that comes in pieces. */
struct unpacked_writer;
struct unpacked_writer *unpacked_begin_sealing(const struct crypto_key *key, unsigned version,
                                               struct work *w);
void unpacked_add(struct unpacked_writer *writer, const char *p, size_t n);
/* Ends and frees it. */
int unpacked_end_sealing(struct unpacked_writer *writer, struct buf *out, struct err *err)
    must_check;

/* Replaces *out by the text, at most `max` bytes. ERR_UNAUTHORIZED, ERR_CORRUPT, ERR_UNSUPPORTED.
 */
int unpacked_open(const struct crypto_key *key, struct work *w, const void *p, size_t n, size_t max,
                  struct buf *out, struct err *err) must_check;

/* The opened bytes of a file: `raw` if it is a plain text, else the stream gives the text. Decides
 * by the first byte. */
int unpacked_begin(str opened, struct work *w, uint64_t max, str *ret_raw,
                   struct decompress_stream *stream, struct err *err) must_check;

#endif
