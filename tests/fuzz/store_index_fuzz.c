#include "store/index.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct pieces {
    str rest;
};

static int next_piece(void *ctx, str *ret_piece, struct err *err)
{
    struct pieces *p = ctx;
    size_t n = MIN(p->rest.n, 5);
    (void)err;
    *ret_piece = (str){p->rest.p, n};
    p->rest = (str){p->rest.p + n, p->rest.n - n};
    return n > 0;
}

static int add(void *ctx, const struct store_id *pack, const struct pack_blob *blobs,
               const uint32_t *offsets, size_t n, struct err *err)
{
    return index_add_pack(ctx, pack, blobs, offsets, n, err);
}

/* In pieces of five bytes, so that every token is cut somewhere. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct index *ix = index_new();
    struct pieces p = {{(const char *)data, size}};
    struct json_in in;
    struct err err;
    json_in_pieces(&in, next_piece, &p, &err);
    (void)!index_text_read(&in, add, ix);
    json_in_free(&in);
    index_free(ix);
    return 0;
}
