#include "store/compress.h"

#include "store/bytes.h"

#include <stdlib.h>
#include <zstd.h>

/* The largest window that a frame may ask us to keep: zstd's own limit for level 22 (128 MiB). */
enum { WINDOW_LOG_MAX = 27 };

struct work *work_new(void)
{
    return xcalloc(1, sizeof(struct work));
}

void work_free(struct work *w)
{
    if (!w)
        return;
    ZSTD_freeCCtx(w->compressor);
    ZSTD_freeDCtx(w->decompressor);
    buf_free(&w->packed);
    buf_free(&w->sealed);
    buf_free(&w->plain);
    free(w);
}

static void *need(void *context)
{
    if (!context)
        abort(); /* out of memory */
    return context;
}

static ZSTD_DCtx *decompressor(struct work *w)
{
    if (!w->decompressor) {
        w->decompressor = need(ZSTD_createDCtx());
        (void)ZSTD_DCtx_setParameter(w->decompressor, ZSTD_d_windowLogMax, WINDOW_LOG_MAX);
    }
    ZSTD_DCtx_reset(w->decompressor, ZSTD_reset_session_only);
    return w->decompressor;
}

static ZSTD_CCtx *compressor(struct work *w)
{
    if (!w->compressor)
        w->compressor = need(ZSTD_createCCtx());
    return w->compressor;
}

bool compress_helps(struct work *w, const void *p, size_t n)
{
    enum { SAMPLE = 32 << 10, LEAST = 8 * SAMPLE };
    uint8_t out[SAMPLE]; /* what does not fit is no gain */
    if (n < LEAST)
        return true;
    for (int i = 0; i < 2; i++) {
        const char *from = (const char *)p + (i ? n / 2 : 0);
        size_t done = ZSTD_compressCCtx(compressor(w), out, SAMPLE - SAMPLE / 64, from, SAMPLE, 1);
        if (!ZSTD_isError(done))
            return true;
    }
    return false;
}

void compress_frame(struct work *w, int level, const void *p, size_t n, struct buf *out)
{
    buf_reset(out);
    size_t bound = ZSTD_compressBound(n);
    size_t done = ZSTD_compressCCtx(compressor(w), bytes_room(out, bound), bound, p, n, level);
    if (ZSTD_isError(done))
        abort(); /* cannot fail within the bound, but for memory */
    bytes_grow(out, done);
}

void compress_begin(struct work *w, int level)
{
    enum { WINDOW_LOG = 19 }; /* what is compressed so is mostly ids */
    ZSTD_CCtx *c = compressor(w);
    ZSTD_CCtx_reset(c, ZSTD_reset_session_and_parameters);
    if (ZSTD_isError(ZSTD_CCtx_setParameter(c, ZSTD_c_compressionLevel, level)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(c, ZSTD_c_windowLog, WINDOW_LOG)))
        abort();
}

static void compress_on(struct work *w, ZSTD_inBuffer *in, ZSTD_EndDirective how, struct buf *out)
{
    size_t left;
    do {
        size_t room = ZSTD_CStreamOutSize();
        ZSTD_outBuffer to = {bytes_room(out, room), room, 0};
        left = ZSTD_compressStream2(w->compressor, &to, in, how);
        if (ZSTD_isError(left))
            abort(); /* cannot fail, but for memory */
        bytes_grow(out, to.pos);
    } while (how == ZSTD_e_end ? left > 0 : in->pos < in->size);
}

void compress_add(struct work *w, const void *p, size_t n, struct buf *out)
{
    ZSTD_inBuffer in = {p, n, 0};
    compress_on(w, &in, ZSTD_e_continue, out);
}

void compress_end(struct work *w, struct buf *out)
{
    ZSTD_inBuffer in = {NULL, 0, 0};
    compress_on(w, &in, ZSTD_e_end, out);
}

int decompress_exact(struct work *w, const void *p, size_t n, size_t size, struct buf *out,
                     struct err *err)
{
    buf_reset(out);
    size_t done = ZSTD_decompressDCtx(decompressor(w), bytes_room(out, size), size, p, n);
    if (ZSTD_isError(done))
        return err_set(err, ERR_CORRUPT, "zstd: %s", ZSTD_getErrorName(done));
    if (done != size)
        return err_set(err, ERR_CORRUPT, "zstd: %zu bytes instead of %zu", done, size);
    bytes_grow(out, done);
    return 0;
}

void decompress_sink_begin(struct decompress_sink *s, struct work *w)
{
    decompressor(w);
    s->w = w;
    s->given = 0;
    s->ended = false;
}

int decompress_sink_take(void *ctx, const void *p, size_t n, struct err *err)
{
    struct decompress_sink *s = ctx;
    ZSTD_inBuffer in = {p, n, 0};
    size_t given;
    do {
        if (s->ended)
            return err_set(err, ERR_CORRUPT, "zstd: something follows the frame");
        ZSTD_outBuffer out = {s->piece, sizeof s->piece, 0};
        size_t r = ZSTD_decompressStream(s->w->decompressor, &out, &in);
        if (ZSTD_isError(r))
            return err_set(err, ERR_CORRUPT, "zstd: %s", ZSTD_getErrorName(r));
        s->ended = r == 0;
        given = out.pos;
        s->given += given;
        if (given && s->fn(s->ctx, s->piece, given, err) < 0)
            return -1;
    } while (in.pos < in.size || (given == sizeof s->piece && !s->ended));
    return 0;
}

void decompress_begin(struct decompress_stream *s, struct work *w, const void *p, size_t n,
                      uint64_t max)
{
    decompressor(w);
    s->w = w;
    s->p = p;
    s->n = n;
    s->at = 0;
    s->given = 0;
    s->max = max;
    s->ended = false;
}

int decompress_next(void *ctx, str *ret_piece, struct err *err)
{
    struct decompress_stream *s = ctx;
    if (s->ended)
        return 0;
    ZSTD_inBuffer in = {s->p, s->n, s->at};
    ZSTD_outBuffer out = {s->piece, sizeof s->piece, 0};
    size_t r = ZSTD_decompressStream(s->w->decompressor, &out, &in);
    if (ZSTD_isError(r))
        return err_set(err, ERR_CORRUPT, "zstd: %s", ZSTD_getErrorName(r));
    bool stuck = in.pos == s->at && out.pos == 0;
    s->at = in.pos;
    s->given += out.pos;
    s->ended = r == 0;
    if (s->given > s->max)
        return err_set(err, ERR_TOO_LARGE, "zstd: more than %llu bytes",
                       (unsigned long long)s->max);
    if (s->ended && s->at != s->n)
        return err_set(err, ERR_CORRUPT, "zstd: something follows the frame");
    if (!s->ended && stuck)
        return err_set(err, ERR_CORRUPT, "zstd: the frame is cut short");
    *ret_piece = (str){(const char *)s->piece, out.pos};
    return 1;
}
