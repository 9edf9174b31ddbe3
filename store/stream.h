/* File contents: cut by content into chunks of 0.5 to 8 MiB, as stock restic cuts them under the
 * same polynomial, and put together again. */
#ifndef STORE_STREAM_H
#define STORE_STREAM_H

#include "store/repository.h"

/* Reads up to n bytes: their count, 0 at the end, < 0 with *err set. */
typedef int64_t stream_read_fn(void *ctx, void *p, size_t n, struct err *err);

/* How many zero bytes come next that need no reading (a hole of a file), at most `most`: they count
 * as read. 0: none, or not known. */
typedef uint64_t stream_skip_fn(void *ctx, uint64_t most);

/* Takes all n bytes; < 0 with *err set ends the load. */
typedef int stream_write_fn(void *ctx, const void *p, size_t n, struct err *err);

/* Holds the buffer (it grows to at most one chunk and some) and the tables of the chunker,
 * for many files one after the other. One thread at a time. Borrows the repository. */
struct stream_saver;

struct stream_saver *stream_saver_new(struct repository *repo);
void stream_saver_free(struct stream_saver *s);
DEFINE_CLEANUP(struct stream_saver *, stream_saver_free)

struct stream_result {
    uint64_t size;      /* bytes read */
    uint64_t new_bytes; /* of them in chunks that were not stored before */
    uint64_t chunks, new_chunks;
};

/* Saves all that read gives; the chunks' ids are appended to *ids. An empty stream has none. */
int stream_save(struct stream_saver *s, stream_read_fn *read, void *ctx, struct store_ids *ids,
                struct stream_result *ret_result /* may be NULL */, struct err *err) must_check;

/* The same of a source with holes, which are neither read nor hashed: zeros are cut as soon
 * as may be, and all such chunks are one. The ids are those of stream_save. */
int stream_save_sparse(struct stream_saver *s, stream_read_fn *read, stream_skip_fn *skip,
                       void *ctx, struct store_ids *ids,
                       struct stream_result *ret_result /* may be NULL */, struct err *err)
    must_check;

/* Saves bytes in memory in the same way. */
int stream_save_bytes(struct stream_saver *s, const void *p, size_t n, struct store_ids *ids,
                      struct err *err) must_check;

/* Gives the bytes of the chunks, each verified, in order, to write: one call for each chunk, in the
 * calling thread. Others load the next ones meanwhile (store/ahead.h). */
int stream_load(struct repository *repo, const struct store_id *ids, size_t ids_n,
                stream_write_fn *write, void *ctx, struct err *err) must_check;

#endif
