/* zstd, and the working memory that one save or load of a blob needs. */
#ifndef STORE_COMPRESS_H
#define STORE_COMPRESS_H

#include "core/codec.h"

/* Contexts and buffers for one blob at a time; reused for the next one. */
struct work {
    struct work *next; /* free list of the owner */
    void *compressor, *decompressor;
    struct buf packed, sealed, plain;
};

struct work *work_new(void);
void work_free(struct work *w);
DEFINE_CLEANUP(struct work *, work_free)

/* Replaces *out by a zstd frame of the bytes. */
void compress_frame(struct work *w, int level, const void *p, size_t n, struct buf *out);

/* False if two samples of the bytes do not become smaller: most likely, all of them will not. */
bool compress_helps(struct work *w, const void *p, size_t n);

/* One frame of many pieces, appended to *out. */
void compress_begin(struct work *w, int level);
void compress_add(struct work *w, const void *p, size_t n, struct buf *out);
void compress_end(struct work *w, struct buf *out);

/* Replaces *out by the content of one frame, which must have exactly `size` bytes. ERR_CORRUPT. */
int decompress_exact(struct work *w, const void *p, size_t n, size_t size, struct buf *out,
                     struct err *err) must_check;

/* Takes a frame piece by piece and gives its content on, piece by piece. */
struct decompress_sink {
    struct work *w;
    int (*fn)(void *ctx, const void *p, size_t n, struct err *err);
    void *ctx;
    uint64_t given;
    bool ended;
    uint8_t piece[64 << 10];
};

void decompress_sink_begin(struct decompress_sink *s, struct work *w);

/* ERR_CORRUPT. The form is crypto_piece_fn's (ctx: the sink); `ended` tells a whole frame. */
int decompress_sink_take(void *ctx, const void *p, size_t n, struct err *err) must_check;

/* Gives the content of a frame piece by piece. */
struct decompress_stream {
    struct work *w;
    const uint8_t *p;
    size_t n, at;
    uint64_t given, max;
    bool ended;
    uint8_t piece[64 << 10];
};

/* Borrows w and the bytes until the stream is no longer used; at most `max` bytes are given. */
void decompress_begin(struct decompress_stream *s, struct work *w, const void *p, size_t n,
                      uint64_t max);

/* 1 and a piece (valid until the next call); 0 at the end; < 0: ERR_CORRUPT, ERR_TOO_LARGE. The
 * form is json_in_pieces' (ctx: the stream). */
int decompress_next(void *ctx, str *ret_piece, struct err *err) must_check;

#endif
