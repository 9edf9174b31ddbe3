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
enum { DATA_WINDOWS = 2, READ_WINDOWS = 4 }; /* the rest are for trees */

struct read_window {
    bool valid;
    bool coming;   /* one thread reads it, into `bytes`: others wait for it, not each for its own */
    size_t n;      /* how long it is, or will be */
    uint64_t used; /* the greater, the later */
    uint32_t pack;
    uint64_t offset;
    struct buf bytes;
};

/* A blob that waits to be sealed, or is being sealed by a thread. */
struct job {
    struct job *next;
    enum blob_type type;
    struct store_id id;
    char *p; /* owned; NULL once it is sealed */
    size_t n;
    uint64_t ticket; /* blobs enter packs in the order in which they came */
};

/* The threads of a writer; see repository_queue.c. Under the repository's lock. */
struct queue {
    pthread_t *threads;
    unsigned threads_n;
    bool ending;
    pthread_cond_t work;      /* `waiting` was set, or `ending` */
    pthread_cond_t moved;     /* a job left, `turn` went on, an upload or a window's read ended */
    struct job *first, *last; /* all jobs, by ticket */
    struct job *waiting;      /* the first that no thread has taken */
    size_t jobs, bytes;
    uint64_t tickets, turn; /* given so far; whose blob enters a pack next */
    unsigned uploads;       /* under way or about to be */
};

struct repository {
    struct backend *backend; /* borrowed */
    struct crypto_key key;
    struct store_id key_id;
    struct store_config config;
    struct buf sealed_config; /* as it is stored */
    struct store_ids keys;    /* that were listed when it was opened */
    struct repository_options options;

    pthread_mutex_t index_lock; /* one load of the index at a time; taken before `lock` */
    bool index_loaded;          /* once; another call is about what came since */
    struct map *index_files;    /* ids of index files that were read or written; under index_lock */
    struct store_ids written;   /* those of them that we wrote and did not read back; likewise */

    pthread_mutex_t lock; /* everything below */
    pthread_cond_t idle;  /* busy became 0 */
    struct index *index;
    struct pack *open[2]; /* by blob type, or NULL */
    struct buf spare[2];  /* memory of a pack that was uploaded, for the next; until a flush */
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
    struct queue queue;
    struct read_window windows[READ_WINDOWS];
    struct repository_stats stats;
    uint64_t reads; /* of windows */
};

/* Working memory for one blob; give it back. */
struct work *repository_take_work(struct repository *repo);
void repository_give_work(struct repository *repo, struct work *w);

/* ERR_REFUSED, ERR_UNSUPPORTED: nothing may be written (locks may). */
int repository_check_writable(const struct repository *repo, struct err *err) must_check;

/* Copies the failure that made the repository unusable. Under the lock. */
int repository_check_usable(struct repository *repo, struct err *err) must_check;

/* Saves an unpacked file that is sealed already: runs its hook first. */
int repository_save_sealed(struct repository *repo, enum backend_type type,
                           const struct buf *sealed, struct store_id *ret_id, struct err *err)
    must_check;

/* Remembers the first failure: what it left out is not stored, so nothing may be built on it. Under
 * the lock. */
void repository_fail(struct repository *repo, const struct err *why);

/* Leaves the sealed form of a blob in w->sealed, proven to read back; *ret_plain is its plaintext's
 * length if it is compressed, else 0. */
int repository_seal_blob(struct repository *repo, struct work *w, const void *p, size_t n,
                         const struct store_id *id, uint32_t *ret_plain, struct err *err)
    must_check;

/* Adds a sealed blob of n plain bytes to the open pack, unless it is known meanwhile. Packs that
 * have become full are taken off and given back in full[] (NULL: none), for repository_send_pack.
 * Under the lock; gives it up only while it waits for an upload to end. */
int repository_add_sealed(struct repository *repo, enum blob_type type, const struct store_id *id,
                          size_t n, const struct buf *sealed, uint32_t plain, bool *ret_known,
                          struct pack *full[2], struct err *err) must_check;

/* Uploads packs that were taken off (and frees them), then the index if it is due. Under the lock,
 * given up meanwhile. */
int repository_send_packs(struct repository *repo, struct pack *full[2], struct err *err)
    must_check;

/* Lists the index files. 1: they are those that were read or written here, and what was written
 * here reads back as it is remembered: the index in memory is what another process would read. 0:
 * it is not, open the repository anew. ERR_CORRUPT. */
int repository_prove_index(struct repository *repo, struct err *err) must_check;

/* The index of a lean writer takes room that others had: 0, not yet; 1, packs are smaller and the
 * queue half; 2, a quarter, and one upload at a time. Under the lock. */
unsigned repository_crowding(const struct repository *repo);

/* ---- the queue, all under the lock ---- */

void repository_queue_init(struct repository *repo);
void repository_queue_end(struct repository *repo); /* without the lock: drops what waits */

/* The job that will store this blob, or NULL. */
const struct job *repository_queue_find(const struct repository *repo, enum blob_type type,
                                        const struct store_id *id);

/* Waits for room, then copies the bytes; *ret_known (and nothing queued) if the blob is known by
 * then. */
int repository_queue_put(struct repository *repo, enum blob_type type, const struct store_id *id,
                         const void *p, size_t n, bool *ret_known, struct err *err) must_check;

/* Waits until no job is left and no upload under way. */
void repository_queue_drain(struct repository *repo);

/* Remembers an index file that this process wrote. */
void repository_know_index(struct repository *repo, const struct store_id *id);

/* Reads one index file, and gives each pack of it to fn. ERR_CORRUPT, ERR_NOT_FOUND. */
int repository_read_index(struct repository *repo, const struct store_id *id, index_pack_fn *fn,
                          void *ctx, struct err *err) must_check;

/* The same, and gives packs that rustic has marked for deletion to `marked`. */
int repository_read_index_marked(struct repository *repo, const struct store_id *id,
                                 index_pack_fn *fn, index_pack_fn *marked, void *ctx,
                                 struct err *err) must_check;

/* Forgets what is known of the index; after repository_flush only. repository_load_index reads it
 * anew. */
void repository_drop_index(struct repository *repo);

/* Opens a sealed blob into *out and checks its hash. ERR_CORRUPT. */
int blob_open(const struct crypto_key *key, struct work *w, const void *sealed, size_t n,
              uint32_t plain, const struct store_id *id, struct buf *out, struct err *err)
    must_check;

#endif
