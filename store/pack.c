#include "store/pack.h"

#include "store/bytes.h"
#include "store/limits.h"

#include <stdlib.h>

/* Types of header entries: a blob type, or one more than COMPRESSED. */
enum { COMPRESSED = 2, ENTRY = 1 + 4 + STORE_ID_SIZE, ENTRY_COMPRESSED = ENTRY + 4 };

struct pack *pack_new(enum blob_type type, uint32_t number, size_t room)
{
    struct pack *p = xcalloc(1, sizeof *p);
    p->type = type;
    p->number = number;
    bytes_room(&p->bytes, room);
    return p;
}

void pack_free(struct pack *p)
{
    if (!p)
        return;
    buf_free(&p->bytes);
    vec_free(&p->blobs);
    free(p);
}

bool pack_fits(const struct pack *p, size_t sealed_n)
{
    return (p->blobs.n + 1) * ENTRY_COMPRESSED + CRYPTO_OVERHEAD <= STORE_PACK_HEADER_MAX &&
           p->bytes.n + sealed_n < (size_t)1 << 30;
}

uint32_t pack_add(struct pack *p, const struct store_id *id, const void *sealed, size_t sealed_n,
                  uint32_t plain)
{
    uint32_t offset = (uint32_t)p->bytes.n;
    memcpy(bytes_room(&p->bytes, sealed_n), sealed, sealed_n);
    bytes_grow(&p->bytes, sealed_n);
    *vec_add(&p->blobs) = (struct pack_blob){
        .id = *id, .type = p->type, .length = (uint32_t)sealed_n, .plain = plain};
    return offset;
}

void pack_header_text(const struct pack_blob *blobs, size_t n, struct buf *out)
{
    for (size_t i = 0; i < n; i++) {
        buf_putc(out, (char)((int)blobs[i].type + (blobs[i].plain ? COMPRESSED : 0)));
        bytes_add_le32(out, blobs[i].length);
        if (blobs[i].plain)
            bytes_add_le32(out, blobs[i].plain);
        buf_add(out, blobs[i].id.b, STORE_ID_SIZE);
    }
}

int pack_header_parse(str text, struct pack_blobs *blobs, struct err *err)
{
    while (text.n) {
        struct pack_blob b = {0};
        unsigned type = (unsigned char)text.p[0];
        size_t size = type & COMPRESSED ? ENTRY_COMPRESSED : ENTRY;
        if (type > 3)
            return err_set(err, ERR_CORRUPT, "pack header: unknown blob type %u", type);
        if (text.n < size)
            return err_set(err, ERR_CORRUPT, "pack header: an entry is cut short");
        b.type = type & 1 ? BLOB_TREE : BLOB_DATA;
        b.length = bytes_le32(text.p + 1);
        if (type & COMPRESSED)
            b.plain = bytes_le32(text.p + 5);
        memcpy(b.id.b, text.p + size - STORE_ID_SIZE, STORE_ID_SIZE);
        if (b.length < CRYPTO_OVERHEAD || (type & COMPRESSED && b.plain == 0))
            return err_set(err, ERR_CORRUPT, "pack header: a blob of an impossible length");
        *vec_add(blobs) = b;
        text.p += size, text.n -= size;
    }
    return 0;
}

uint64_t pack_file_size(const struct pack_blob *blobs, size_t n)
{
    uint64_t size = CRYPTO_OVERHEAD + 4;
    for (size_t i = 0; i < n; i++)
        size += blobs[i].length + (uint64_t)(blobs[i].plain ? ENTRY_COMPRESSED : ENTRY);
    return size;
}

int pack_read_tail(const struct crypto_key *key, str tail, uint64_t file_n,
                   struct pack_blobs *blobs, struct err *err)
{
    if (tail.n < 4)
        return err_set(err, ERR_CORRUPT, "pack: %zu bytes are too few", tail.n);
    size_t sealed = bytes_le32(tail.p + tail.n - 4);
    if (sealed < CRYPTO_OVERHEAD || sealed > STORE_PACK_HEADER_MAX || sealed > tail.n - 4)
        return err_set(err, ERR_CORRUPT, "pack: a header of %zu bytes is impossible", sealed);
    struct buf text CLEANUP(buf_free) = {0};
    if (crypto_open(key, tail.p + tail.n - 4 - sealed, sealed, &text, err) < 0)
        return err_wrap(err, "pack header");
    size_t before = blobs->n;
    if (pack_header_parse(buf_view(&text), blobs, err) < 0)
        return -1;
    if (pack_file_size(blobs->p + before, blobs->n - before) != file_n)
        return err_set(err, ERR_CORRUPT, "pack: its blobs do not fill the file");
    return 0;
}

int pack_read_header(const struct crypto_key *key, str file, struct pack_blobs *blobs,
                     struct err *err)
{
    return pack_read_tail(key, file, file.n, blobs, err);
}

int pack_close(struct pack *p, const struct crypto_key *key, struct err *err)
{
    struct buf text CLEANUP(buf_free) = {0};
    size_t before = p->bytes.n;
    pack_header_text(p->blobs.p, p->blobs.n, &text);
    bytes_room(&p->bytes, text.n + CRYPTO_OVERHEAD + 4);
    crypto_seal(key, text.p, text.n, &p->bytes);
    bytes_add_le32(&p->bytes, (uint32_t)(p->bytes.n - before));
    struct pack_blobs again = {0};
    int r = pack_read_header(key, buf_view(&p->bytes), &again, err);
    struct buf text_again CLEANUP(buf_free) = {0};
    if (r == 0)
        pack_header_text(again.p, again.n, &text_again);
    vec_free(&again);
    if (r < 0 || !str_eq(buf_view(&text), buf_view(&text_again)))
        return err_set(err, ERR_INTERNAL,
                       "a pack did not read back as it was made: faulty memory?");
    return 0;
}
