/* What repository*.c share. */
#ifndef STORE_REPOSITORY_IMPL_H
#define STORE_REPOSITORY_IMPL_H

#include "core/map.h"
#include "core/vec.h"
#include "store/compress.h"
#include "store/config.h"
#include "store/crypto.h"
#include "store/index.h"
#include "store/repository.h"

#include <pthread.h>

/* The last range that was read for a small blob: its neighbours in the pack are likely to follow.
 */
struct read_window {
    bool valid;
    uint32_t pack;
    uint64_t offset;
    struct buf bytes;
};

struct repository {
    struct backend *backend; /* borrowed */
    struct crypto_key key;
    struct store_id key_id;
    struct store_config config;
    struct repository_options options;

    pthread_mutex_t index_lock; /* one load of the index at a time; taken before `lock` */
    struct map *index_files;    /* ids of index files that were read or written; under index_lock */

    pthread_mutex_t lock; /* everything below */
    pthread_cond_t idle;  /* busy became 0 */
    struct index *index;
    struct pack *open[2]; /* by blob type, or NULL */
    struct {
        struct pack **p;
        size_t n, room;
    } unindexed; /* uploaded, not yet in an index file; without their bytes */
    size_t unindexed_blobs;
    int64_t indexed_ms; /* monotonic: when the last index file was written, or the first pack */
    unsigned busy;      /* uploads under way without the lock */
    bool failed;
    struct err failure;
    struct work *works; /* free */
    struct read_window windows[2];
    struct repository_stats stats;
};

/* Working memory for one blob; give it back. */
struct work *repository_take_work(struct repository *repo);
void repository_give_work(struct repository *repo, struct work *w);

/* Copies the failure that made the repository unusable. Under the lock. */
int repository_check_usable(struct repository *repo, struct err *err) must_check;

/* Remembers an index file that this process wrote. */
void repository_know_index(struct repository *repo, const struct store_id *id);

/* Reads one index file, and gives each pack of it to fn. ERR_CORRUPT, ERR_NOT_FOUND. */
int repository_read_index(struct repository *repo, const struct store_id *id, index_pack_fn *fn,
                          void *ctx, struct err *err) must_check;

/* Opens a sealed blob into *out and checks its hash. ERR_CORRUPT. */
int blob_open(const struct crypto_key *key, struct work *w, const void *sealed, size_t n,
              uint32_t plain, const struct store_id *id, struct buf *out, struct err *err)
    must_check;

#endif
