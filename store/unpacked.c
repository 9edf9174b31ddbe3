#include "store/unpacked.h"

#include <stdlib.h>

enum { COMPRESSED = 0x02 };

int unpacked_begin(str opened, struct work *w, uint64_t max, str *ret_raw,
                   struct decompress_stream *stream, struct err *err)
{
    *ret_raw = (str){0};
    if (opened.n == 0)
        return err_set(err, ERR_CORRUPT, "the file is empty");
    if (opened.p[0] == COMPRESSED) {
        decompress_begin(stream, w, opened.p + 1, opened.n - 1, max);
        return 0;
    }
    if (opened.p[0] != '{' && opened.p[0] != '[')
        return err_set(err, ERR_UNSUPPORTED, "unknown encoding 0x%02x", (unsigned char)opened.p[0]);
    if (opened.n > max)
        return err_set(err, ERR_TOO_LARGE, "%zu bytes", opened.n);
    *ret_raw = opened;
    return 0;
}

int unpacked_open(const struct crypto_key *key, struct work *w, const void *p, size_t n, size_t max,
                  struct buf *out, struct err *err)
{
    buf_reset(&w->packed);
    buf_reset(out);
    if (crypto_open(key, p, n, &w->packed, err) < 0)
        return -1;
    str raw;
    struct decompress_stream *stream CLEANUP(free_p) = xmalloc(sizeof *stream);
    if (unpacked_begin(buf_view(&w->packed), w, max, &raw, stream, err) < 0)
        return -1;
    if (raw.p) {
        buf_str(out, raw);
        return 0;
    }
    str piece;
    int r;
    while ((r = decompress_next(stream, &piece, err)) > 0)
        buf_str(out, piece);
    return r;
}

int unpacked_seal(const struct crypto_key *key, unsigned version, struct work *w, str text,
                  struct buf *out, struct err *err)
{
    buf_reset(out);
    if (version < 2) {
        crypto_seal(key, text.p, text.n, out);
    } else {
        struct buf tagged CLEANUP(buf_free) = {0};
        compress_frame(w, 3, text.p, text.n, &w->packed);
        buf_putc(&tagged, COMPRESSED);
        buf_str(&tagged, buf_view(&w->packed));
        crypto_seal(key, tagged.p, tagged.n, out);
    }
    struct buf again CLEANUP(buf_free) = {0};
    if (unpacked_open(key, w, out->p, out->n, text.n, &again, err) < 0 ||
        !str_eq(buf_view(&again), text))
        return err_set(err, ERR_INTERNAL,
                       "a file did not read back as it was encoded: faulty memory?");
    return 0;
}

/* ---- in pieces ---- */

struct unpacked_writer {
    const struct crypto_key *key;
    unsigned version;
    struct work *w;
    struct buf plain; /* what will be sealed */
    struct sha256_ctx *hash, *again;
    bool tag_seen;
    struct decompress_sink sink;
};

struct unpacked_writer *unpacked_begin_sealing(const struct crypto_key *key, unsigned version,
                                               struct work *w)
{
    struct unpacked_writer *u = xmalloc(sizeof *u);
    u->key = key;
    u->version = version;
    u->w = w;
    u->plain = (struct buf){0};
    u->hash = sha256_new();
    u->again = sha256_new();
    u->tag_seen = false;
    if (version >= 2) {
        buf_putc(&u->plain, COMPRESSED);
        compress_begin(w, 3);
    }
    return u;
}

void unpacked_add(struct unpacked_writer *u, const char *p, size_t n)
{
    sha256_update(u->hash, p, n);
    if (u->version >= 2)
        compress_add(u->w, p, n, &u->plain);
    else
        buf_add(&u->plain, p, n);
}

static int take_again(void *ctx, const void *p, size_t n, struct err *err)
{
    struct unpacked_writer *u = ctx;
    (void)err;
    sha256_update(u->again, p, n);
    return 0;
}

/* The opened file: the tag, then a frame. */
static int take_opened(void *ctx, const void *p, size_t n, struct err *err)
{
    struct unpacked_writer *u = ctx;
    if (u->version < 2)
        return take_again(u, p, n, err);
    size_t skip = u->tag_seen ? 0 : 1;
    u->tag_seen = true;
    return n == skip ? 0 : decompress_sink_take(&u->sink, (const char *)p + skip, n - skip, err);
}

int unpacked_end_sealing(struct unpacked_writer *u, struct buf *out, struct err *err)
{
    uint8_t is[32], was[32];
    struct err why = {0};
    if (u->version >= 2)
        compress_end(u->w, &u->plain);
    buf_reset(out);
    crypto_seal(u->key, u->plain.p, u->plain.n, out);
    buf_free(&u->plain);
    u->sink.fn = take_again;
    u->sink.ctx = u;
    decompress_sink_begin(&u->sink, u->w);
    int r = crypto_open_pieces(u->key, out->p, out->n, take_opened, u, &why);
    bool whole = u->version < 2 || u->sink.ended;
    sha256_final(u->hash, was);
    sha256_final(u->again, is);
    free(u);
    if (r < 0 || !whole || memcmp(is, was, sizeof is) != 0)
        return err_set(err, ERR_INTERNAL,
                       "a file did not read back as it was encoded: faulty memory?");
    return 0;
}
