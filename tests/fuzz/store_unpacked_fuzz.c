#include "store/unpacked.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int count(void *ctx, const void *p, size_t n, struct err *err)
{
    (void)p, (void)err;
    *(uint64_t *)ctx += n;
    return 0;
}

/* A frame in pieces, as a big blob is read back; and as a whole sealed file, with a cap. */
static void fuzz_pieces(struct work *w, const uint8_t *p, size_t n)
{
    static const struct crypto_key key = {{1}, {2}, {3}};
    struct decompress_sink *sink = xmalloc(sizeof *sink);
    struct buf sealed = {0}, out = {0};
    struct err err;
    uint64_t given = 0;
    decompress_sink_begin(sink, w);
    sink->fn = count;
    sink->ctx = &given;
    size_t half = n / 2;
    if (decompress_sink_take(sink, p, half, &err) == 0 &&
        decompress_sink_take(sink, p + half, n - half, &err) == 0 && given != sink->given)
        abort();
    free(sink);
    if (unpacked_open(&key, w, p, n, 1000, &out, &err) == 0)
        abort(); /* nobody has sealed it */
    crypto_seal(&key, p, n, &sealed);
    given = 0;
    if (crypto_open_pieces(&key, p, n, count, &given, &err) == 0 ||
        crypto_open_pieces(&key, sealed.p, sealed.n, count, &given, &err) < 0 || given != n)
        abort();
    if (unpacked_open(&key, w, sealed.p, sealed.n, 1000, &out, &err) == 0 && out.n > 1000)
        abort();
    buf_free(&sealed);
    buf_free(&out);
}

/* The opened bytes of an index, snapshot or lock: zstd frames from strangers, within a cap. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct decompress_stream *stream = xmalloc(sizeof *stream);
    struct work *w = work_new();
    struct buf out = {0};
    struct err err;
    str raw, piece;
    uint64_t given = 0;
    if (unpacked_begin((str){(const char *)data, size}, w, 100000, &raw, stream, &err) == 0 &&
        !raw.p)
        while (decompress_next(stream, &piece, &err) > 0)
            given += piece.n;
    if (given > 100000)
        abort();
    fuzz_pieces(w, data, size);
    if (size)
        fuzz_pieces(w, data + 1, size - 1);
    if (size && decompress_exact(w, data + 1, size - 1, data[0], &out, &err) == 0 &&
        out.n != data[0])
        abort();
    buf_free(&out);
    work_free(w);
    free(stream);
    return 0;
}
