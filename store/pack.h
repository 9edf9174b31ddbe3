/* Packs: sealed blobs one after the other, then a sealed header that lists them, then its length.
 */
#ifndef STORE_PACK_H
#define STORE_PACK_H

#include "store/crypto.h"
#include "store/repository.h"

#include "core/vec.h"

/* One blob of a pack. Its offset is the sum of the lengths before it. */
struct pack_blob {
    struct store_id id;
    enum blob_type type;
    uint32_t length; /* sealed */
    uint32_t plain;  /* its plaintext if it is compressed, else 0 */
};

struct pack_blobs {
    struct pack_blob *p;
    size_t n, room;
};

/* A pack in memory. */
struct pack {
    enum blob_type type;
    uint32_t number; /* in the index */
    struct store_id id;
    struct buf bytes;
    struct pack_blobs blobs;
};

/* `room` bytes are reserved: a pack that grows step by step leaves holes of its size in the heap.
 */
struct pack *pack_new(enum blob_type type, uint32_t number, size_t room);
void pack_free(struct pack *p);
DEFINE_CLEANUP(struct pack *, pack_free)

/* True if a blob of this sealed length can still be added. */
bool pack_fits(const struct pack *p, size_t sealed_n);

/* Appends a sealed blob; gives its offset. */
uint32_t pack_add(struct pack *p, const struct store_id *id, const void *sealed, size_t sealed_n,
                  uint32_t plain);

/* Appends the header and its length: bytes are the file then. ERR_INTERNAL if the header does not
 * read back. */
int pack_close(struct pack *p, const struct crypto_key *key, struct err *err) must_check;

/* Appends the header's plaintext. */
void pack_header_text(const struct pack_blob *blobs, size_t n, struct buf *out);

/* Reads a header's plaintext; appends to *blobs. ERR_CORRUPT. */
int pack_header_parse(str text, struct pack_blobs *blobs, struct err *err) must_check;

/* Bytes of the file that holds these blobs. */
uint64_t pack_file_size(const struct pack_blob *blobs, size_t n);

/* The header at the end of a pack file of file_n bytes, of which `tail` are the last, and that its
 * blobs fill the file. Appends to *blobs. ERR_CORRUPT (also if the tail does not hold it all). */
int pack_read_tail(const struct crypto_key *key, str tail, uint64_t file_n,
                   struct pack_blobs *blobs, struct err *err) must_check;

/* The header of a whole pack file in memory, and that its blobs fill the file. ERR_CORRUPT. */
int pack_read_header(const struct crypto_key *key, str file, struct pack_blobs *blobs,
                     struct err *err) must_check;

#endif
