/* Which blob lies where: all index files of a repository in memory, 48 bytes for each blob and 4.6
 * to 9.1 for its slot. Not thread-safe: the repository's mutex guards it. */
#ifndef STORE_INDEX_H
#define STORE_INDEX_H

#include "store/jsonin.h"
#include "store/pack.h"

struct index;

enum pack_state {
    PACK_STORED,    /* named by an index file, or about to be: it is durable */
    PACK_IN_MEMORY, /* being filled or uploaded */
    PACK_LOST       /* its upload failed; its blobs do not exist */
};

struct index_pack {
    struct store_id id;
    uint64_t size; /* of the file, as its blobs imply */
    enum pack_state state;
    bool conflict;       /* two index files say different things about it */
    struct pack *memory; /* while PACK_IN_MEMORY */
};

/* Where one copy of a blob lies. */
struct index_place {
    uint32_t pack;
    uint32_t offset, length; /* sealed */
    uint32_t plain;          /* 0: not compressed */
};

struct index *index_new(void);

/* Of blobs of data only that they are there is kept, by 128 bits of their ids, of at most so
 * many (later ones are forgotten): index_has knows them, index_find and index_ordinal do not. Call
 * it before anything is added. */
void index_make_lean(struct index *ix, size_t most);

/* A copy is named (or, of a lean index, was). False may also mean that a lean index forgot it: who
 * then stores the blob again loses room in the store, and nothing else. */
bool index_has(const struct index *ix, enum blob_type type, const struct store_id *id);

void index_free(struct index *ix);

/* A pack that is being filled; its id and size follow with the upload. */
uint32_t index_new_pack(struct index *ix, struct pack *memory);

/* Numbers are those of index_place.pack and count from 0; the pointer lives until the next
 * addition. */
struct index_pack *index_pack(struct index *ix, uint32_t number);
uint32_t index_packs(const struct index *ix);

/* The pack's number by its id; false if it is not known (or was never stored). */
bool index_find_pack(const struct index *ix, const struct store_id *id, uint32_t *ret_number);

/* The pack was stored under its id with this size. */
void index_pack_stored(struct index *ix, uint32_t number, const struct store_id *id, uint64_t size);

void index_add(struct index *ix, enum blob_type type, const struct store_id *id,
               const struct index_place *place);

/* Adds what an index file says of one pack. A pack that is known already adds only what is new.
 * TOO_LARGE: more than numbers reach. CORRUPT: thousands of places for one blob. REFUSED: more
 * memory than index_limit_memory allows; BUSY: together with the other indexes of this process. */
int index_add_pack(struct index *ix, const struct store_id *pack, const struct pack_blob *blobs,
                   const uint32_t *offsets, size_t n, struct err *err) must_check;

/* Finds the copies of a blob one after the other: cursor starts at 0. Copies in lost packs are
 * passed over. */
bool index_find(const struct index *ix, enum blob_type type, const struct store_id *id,
                uint64_t *cursor, struct index_place *ret_place);

/* Copy number n (below index_blobs), as they were added; false if its pack was lost. */
bool index_entry(const struct index *ix, uint32_t n, enum blob_type *ret_type,
                 struct store_id *ret_id, struct index_place *ret_place);

/* How much memory each index of this process may take, in bytes; 0, as at the start: no bound. It
 * is looked at when a pack is added. */
void index_limit_memory(size_t bytes);

/* Entries, copies included; bytes of memory. */
size_t index_blobs(const struct index *ix);
size_t index_memory(const struct index *ix);

/* The ordinal (below index_blobs) of the first copy of a blob: what a set of blobs is indexed by.
 */
bool index_ordinal(const struct index *ix, enum blob_type type, const struct store_id *id,
                   uint32_t *ret_ordinal);

/* ---- the text of index files ---- */

/* Called for each pack of an index text. offsets[i] belongs to blobs[i]. */
typedef int index_pack_fn(void *ctx, const struct store_id *pack, const struct pack_blob *blobs,
                          const uint32_t *offsets, size_t n, struct err *err);

/* Reads an index text as it comes. Packs marked for deletion by rustic are not given. ERR_CORRUPT.
 */
int index_text_read(struct json_in *in, index_pack_fn *fn, void *ctx) must_check;

/* The same, and gives the packs that rustic has marked for deletion to `marked` (NULL: passed
 * over).
 */
int index_text_read_marked(struct json_in *in, index_pack_fn *fn, index_pack_fn *marked, void *ctx)
    must_check;

/* Writes one: begin, packs, end. */
void index_text_begin(struct buf *out);
void index_text_pack(struct buf *out, const struct pack *p);
void index_text_end(struct buf *out);

/* As index_text_pack. offsets may be NULL: the blobs lie one after the other. */
void index_text_blobs(struct buf *out, const struct store_id *pack, const struct pack_blob *blobs,
                      const uint32_t *offsets, size_t n);

#endif
