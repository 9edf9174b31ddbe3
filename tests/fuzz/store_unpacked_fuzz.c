#include "store/unpacked.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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
    if (size && decompress_exact(w, data + 1, size - 1, data[0], &out, &err) == 0 &&
        out.n != data[0])
        abort();
    buf_free(&out);
    work_free(w);
    free(stream);
    return 0;
}
