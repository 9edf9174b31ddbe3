/* Index files as text: read as a stream, because 50 000 blobs are 10 MB of JSON. */
#include "store/index.h"

#include "store/limits.h"

enum { PACK_BLOBS_MAX = STORE_PACK_HEADER_MAX / 37 };

/* What is known so far of one pack of the text. */
struct pack_text {
    struct store_id id;
    bool has_id;
    struct pack_blobs blobs;
    struct {
        uint32_t *p;
        size_t n, room;
    } offsets;
};

static void pack_text_free(struct pack_text *t)
{
    vec_free(&t->blobs);
    vec_free(&t->offsets);
}

static int read_id(struct json_in *in, struct store_id *ret)
{
    str text;
    if (json_in_string(in, &text) < 0)
        return -1;
    return store_id_parse(text, ret) ? 0 : json_in_fail(in, "expected an id");
}

static int read_type(struct json_in *in, enum blob_type *ret)
{
    str text;
    if (json_in_string(in, &text) < 0)
        return -1;
    if (!str_is(text, "data") && !str_is(text, "tree"))
        return json_in_fail(in, "an unknown type of blob");
    *ret = str_is(text, "tree") ? BLOB_TREE : BLOB_DATA;
    return 0;
}

enum { HAS_ID = 1, HAS_TYPE = 2, HAS_OFFSET = 4, HAS_LENGTH = 8, HAS_ALL = 15 };

static int read_member(struct json_in *in, str key, struct pack_blob *b, uint32_t *offset, int *has)
{
    if (str_is(key, "id")) {
        *has |= HAS_ID;
        return read_id(in, &b->id);
    }
    if (str_is(key, "type")) {
        *has |= HAS_TYPE;
        return read_type(in, &b->type);
    }
    if (str_is(key, "offset")) {
        *has |= HAS_OFFSET;
        return json_in_u32(in, offset);
    }
    if (str_is(key, "length")) {
        *has |= HAS_LENGTH;
        return json_in_u32(in, &b->length);
    }
    if (str_is(key, "uncompressed_length")) {
        int null = json_in_null(in);
        return null ? MIN(null, 0) : json_in_u32(in, &b->plain);
    }
    return json_in_skip(in);
}

static int read_blob(struct json_in *in, struct pack_text *t)
{
    struct pack_blob b = {0};
    uint32_t offset = 0;
    bool first = true;
    int has = 0, r;
    str key;
    if (json_in_object(in) < 0)
        return -1;
    while ((r = json_in_key(in, &first, &key)) > 0)
        if (read_member(in, key, &b, &offset, &has) < 0)
            return -1;
    if (r < 0)
        return -1;
    if (has != HAS_ALL || b.length < CRYPTO_OVERHEAD || offset > UINT32_MAX - b.length)
        return json_in_fail(in, "a blob without its place");
    if (t->blobs.n >= PACK_BLOBS_MAX)
        return json_in_fail(in, "a pack of too many blobs");
    *vec_add(&t->blobs) = b;
    *vec_add(&t->offsets) = offset;
    return 0;
}

static int read_blobs(struct json_in *in, struct pack_text *t)
{
    bool first = true;
    int r = json_in_null(in);
    if (r)
        return MIN(r, 0);
    if (json_in_array(in) < 0)
        return -1;
    while ((r = json_in_item(in, &first)) > 0)
        if (read_blob(in, t) < 0)
            return -1;
    return r;
}

static int read_pack(struct json_in *in, struct pack_text *t, index_pack_fn *fn, void *ctx)
{
    bool first = true;
    int r;
    str key;
    t->has_id = false;
    t->blobs.n = t->offsets.n = 0;
    if (json_in_object(in) < 0)
        return -1;
    while ((r = json_in_key(in, &first, &key)) > 0) {
        int done;
        if (str_is(key, "id")) {
            done = read_id(in, &t->id);
            t->has_id = true;
        } else {
            done = str_is(key, "blobs") ? read_blobs(in, t) : json_in_skip(in);
        }
        if (done < 0)
            return -1;
    }
    if (r < 0)
        return -1;
    if (!t->has_id)
        return json_in_fail(in, "a pack without an id");
    return fn(ctx, &t->id, t->blobs.p, t->offsets.p, t->blobs.n, in->err);
}

static int read_packs(struct json_in *in, index_pack_fn *fn, void *ctx)
{
    struct pack_text t CLEANUP(pack_text_free) = {0};
    bool first = true;
    int r = json_in_null(in);
    if (r)
        return MIN(r, 0);
    if (json_in_array(in) < 0)
        return -1;
    while ((r = json_in_item(in, &first)) > 0)
        if (read_pack(in, &t, fn, ctx) < 0)
            return -1;
    return r;
}

int index_text_read_marked(struct json_in *in, index_pack_fn *fn, index_pack_fn *marked, void *ctx)
{
    bool first = true;
    int r;
    str key;
    if (json_in_object(in) < 0)
        return -1;
    while ((r = json_in_key(in, &first, &key)) > 0) {
        index_pack_fn *take = str_is(key, "packs")             ? fn
                              : str_is(key, "packs_to_delete") ? marked
                                                               : NULL;
        if ((take ? read_packs(in, take, ctx) : json_in_skip(in)) < 0)
            return -1;
    }
    return r < 0 ? r : json_in_end(in);
}

int index_text_read(struct json_in *in, index_pack_fn *fn, void *ctx)
{
    return index_text_read_marked(in, fn, NULL, ctx);
}

void index_text_begin(struct buf *out)
{
    buf_puts(out, "{\"packs\":[");
}

void index_text_blobs(struct buf *out, const struct store_id *pack, const struct pack_blob *blobs,
                      const uint32_t *offsets, size_t n)
{
    char id[STORE_ID_HEX];
    uint64_t end = 0;
    store_id_hex(pack, id);
    if (out->p[out->n - 1] != '[')
        buf_putc(out, ',');
    buf_printf(out, "{\"id\":\"%s\",\"blobs\":[", id);
    for (size_t i = 0; i < n; i++) {
        const struct pack_blob *b = &blobs[i];
        uint32_t offset = offsets ? offsets[i] : (uint32_t)end;
        store_id_hex(&b->id, id);
        buf_printf(out, "%s{\"id\":\"%s\",\"type\":\"%s\",\"offset\":%u,\"length\":%u",
                   i ? "," : "", id, b->type == BLOB_TREE ? "tree" : "data", offset, b->length);
        if (b->plain)
            buf_printf(out, ",\"uncompressed_length\":%u", b->plain);
        buf_putc(out, '}');
        end += b->length;
    }
    buf_puts(out, "]}");
}

void index_text_pack(struct buf *out, const struct pack *p)
{
    index_text_blobs(out, &p->id, p->blobs.p, NULL, p->blobs.n);
}

void index_text_end(struct buf *out)
{
    buf_puts(out, "]}\n");
}
