#include "store/bytes.h"
#include "store/pack.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct crypto_key key = {{1}, {2}, {3}};

/* The bytes as the header of a pack of `size` bytes: what somebody seals who knows the key. */
static void fuzz_sealed(str text, size_t size)
{
    struct pack_blobs blobs = {0};
    struct buf file = {0};
    struct err err;
    char *body = xcalloc(1, size + 1);
    buf_add(&file, body, size);
    crypto_seal(&key, text.p, text.n, &file);
    bytes_add_le32(&file, (uint32_t)(text.n + CRYPTO_OVERHEAD));
    if (pack_read_header(&key, buf_view(&file), &blobs, &err) == 0 &&
        pack_file_size(blobs.p, blobs.n) != file.n)
        abort();
    free(body);
    buf_free(&file);
    vec_free(&blobs);
}

/* A header that is read is written back byte for byte; a file of any bytes is no pack of our key.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    str text = {(const char *)data, size};
    struct pack_blobs blobs = {0};
    struct buf again = {0};
    struct err err;
    if (pack_header_parse(text, &blobs, &err) == 0) {
        pack_header_text(blobs.p, blobs.n, &again);
        if (!str_eq(buf_view(&again), text))
            abort();
    }
    size_t body = 0;
    for (size_t i = 0; i < blobs.n && body < 1 << 20; i++)
        body += blobs.p[i].length;
    fuzz_sealed(text, body < 1 << 20 ? body : 0);
    blobs.n = 0;
    if (pack_read_header(&key, text, &blobs, &err) == 0 && pack_file_size(blobs.p, blobs.n) != size)
        abort();
    vec_free(&blobs);
    buf_free(&again);
    return 0;
}
