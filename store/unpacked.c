#include "store/unpacked.h"

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
