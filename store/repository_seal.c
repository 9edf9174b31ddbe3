/* Blobs into their sealed form, proven to read back before they leave the process. */
#include "store/repository_impl.h"

#include "store/limits.h"

#include <stdlib.h>

enum { WHOLE = 256 << 10 }; /* up to here a blob is read back in one piece */

/* A blob that is read back piece by piece: a second copy of a big one would cost memory. */
struct check {
    struct sha256_ctx *hash;
    uint64_t n;
    struct decompress_sink sink;
};

static int take(void *ctx, const void *p, size_t n, struct err *err)
{
    struct check *c = ctx;
    (void)err;
    sha256_update(c->hash, p, n);
    c->n += n;
    return 0;
}

static int open_pieces(const struct crypto_key *key, struct work *w, uint32_t plain,
                       struct check *c, struct err *err)
{
    if (!plain)
        return crypto_open_pieces(key, w->sealed.p, w->sealed.n, take, c, err);
    c->sink.fn = take;
    c->sink.ctx = c;
    decompress_sink_begin(&c->sink, w);
    if (crypto_open_pieces(key, w->sealed.p, w->sealed.n, decompress_sink_take, &c->sink, err) < 0)
        return -1;
    return c->sink.ended && c->n == plain ? 0 : err_set(err, ERR_CORRUPT, "zstd: a short frame");
}

static int check_big(const struct crypto_key *key, struct work *w, uint32_t plain,
                     const struct store_id *id, struct err *err)
{
    struct store_id is;
    struct check *c CLEANUP(free_p) = xmalloc(sizeof *c);
    c->hash = sha256_new();
    c->n = 0;
    int r = open_pieces(key, w, plain, c, err);
    sha256_final(c->hash, is.b);
    return r == 0 && store_id_equal(&is, id) ? 0 : -1;
}

/* Reads back what will be uploaded, before it is: memory and compressors have failed people here.
 */
static int verify_sealed(struct repository *repo, struct work *w, uint32_t plain, size_t n,
                         const struct store_id *id, struct err *err)
{
    struct err why = {0};
    struct buf *out = plain ? &w->plain : &w->packed;
    int r = n > WHOLE ? check_big(&repo->key, w, plain, id, &why)
                      : blob_open(&repo->key, w, w->sealed.p, w->sealed.n, plain, id, out, &why);
    if (r == 0)
        return 0;
    return err_set(err, ERR_INTERNAL, "a blob did not read back as it was stored: faulty memory?");
}

int repository_seal_blob(struct repository *repo, struct work *w, const void *p, size_t n,
                         const struct store_id *id, uint32_t *ret_plain, struct err *err)
{
    buf_reset(&w->sealed);
    *ret_plain = 0;
    if (repo->config.version >= 2 && n > 0 && compress_helps(w, p, n)) {
        compress_frame(w, repo->options.compression, p, n, &w->packed);
        if (w->packed.n < n)
            *ret_plain = (uint32_t)n;
    }
    if (*ret_plain)
        crypto_seal(&repo->key, w->packed.p, w->packed.n, &w->sealed);
    else
        crypto_seal(&repo->key, p, n, &w->sealed);
    return verify_sealed(repo, w, *ret_plain, n, id, err);
}
