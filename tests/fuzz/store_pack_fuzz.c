#include "store/pack.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A header that is read is written back byte for byte; a file of any bytes is no pack of our key.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct crypto_key key = {{1}, {2}, {3}};
    str text = {(const char *)data, size};
    struct pack_blobs blobs = {0};
    struct buf again = {0};
    struct err err;
    if (pack_header_parse(text, &blobs, &err) == 0) {
        pack_header_text(blobs.p, blobs.n, &again);
        if (!str_eq(buf_view(&again), text))
            abort();
    }
    blobs.n = 0;
    if (pack_read_header(&key, text, &blobs, &err) == 0 && pack_file_size(blobs.p, blobs.n) != size)
        abort();
    vec_free(&blobs);
    buf_free(&again);
    return 0;
}
