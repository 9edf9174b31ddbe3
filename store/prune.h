/* Deleting from a repository: snapshots that are to be forgotten, then what no snapshot uses.
 *
 * A prune has two phases. The first works under a shared lock, beside backups: it walks every
 * snapshot, chooses packs that hold too little that is used, and stores the used blobs of these
 * once more (copies are legal). The second holds the exclusive lock for seconds: it lists the
 * snapshots again, walks the new ones, spares every pack that one of these uses, then writes the
 * index anew, deletes the old index files, and deletes the packs, in this order. Killed anywhere it
 * leaves a repository that is whole, and the next run goes on from what the last one left. The idea
 * of two phases: restic's issue 1141; what is safe beside restic: its doc/design.rst. */
#ifndef STORE_PRUNE_H
#define STORE_PRUNE_H

#include "store/lock.h"
#include "store/snapshot.h"

/* Removes snapshot files under an exclusive lock that it takes and releases itself. One that is
 * gone already counts as removed. ERR_BUSY: somebody else works on the repository; nothing was
 * removed. A failure in between leaves some removed: *ret_removed (may be NULL) is set always. */
int forget_snapshots(struct repository *repo, const struct lock_options *lock,
                     const struct store_id *ids, size_t n, size_t *ret_removed, struct err *err)
    must_check;

enum prune_phase { PRUNE_WALK, PRUNE_COPY, PRUNE_LOCKED };

struct prune_options {
    struct lock_options lock; /* the identity; `exclusive` is set by the phases themselves */
    /* Unused bytes that may stay in partly used packs, in thousandths of all that is left, used and
     * unused (restic's percentage); 0: 50, as restic; PRUNE_UNUSED_NONE, PRUNE_UNUSED_ANY. */
    int max_unused;
    uint64_t max_repack; /* bytes copied in one run; 0: no bound */
    bool dry_run; /* chooses and counts; writes nothing but a shared lock, and none if read-only */
    /* Snapshots that the caller has heard of elsewhere. One that the store does not list is asked
     * for by its name: lists may lack what is there. One that is gone is passed over. */
    const struct store_id *known;
    size_t known_n;
    /* May be NULL; < 0 with *err set ends the run at a place where all is whole. */
    int (*progress)(void *ctx, enum prune_phase phase, uint64_t done, uint64_t total,
                    struct err *err);
    void *ctx;
};

#define PRUNE_UNUSED_NONE (-1)
#define PRUNE_UNUSED_ANY (-2)

struct prune_count {
    uint64_t blobs, bytes; /* sealed bytes */
};

struct prune_result {
    uint64_t snapshots;
    struct prune_count used, unused, duplicate; /* before */
    struct prune_count repacked;                /* copied: used blobs of packs that go */
    struct prune_count removed; /* of the packs that go or went: without what was copied */
    /* Packs: all; gone after their used blobs were copied; gone because nothing in them was used;
     * gone that were in no index (bytes: of files). */
    uint64_t packs_before, packs_repacked, packs_removed, packs_unindexed, unindexed_bytes;
    /* Of those that went, files that could not be deleted (an object lock, no right to delete): no
     * index names them any more, and the next run tries again. `refusal` says why, of the first. */
    uint64_t packs_refused;
    struct err refusal;
    uint64_t spared;       /* packs that a snapshot of the meantime uses again */
    uint64_t exclusive_ms; /* how long the exclusive lock was held */
};

/* ERR_CORRUPT: a snapshot cannot be read or refers to what is not there, or a needed pack is
 * missing or of another size; nothing was removed, and the message says to run check. ERR_BUSY: a
 * lock; the copies that phase one made stay and serve the next run. ERR_CONFLICT: somebody else
 * pruned between the phases. ERR_REFUSED: rustic, which takes no locks, wrote here within a day or
 * has marked packs for deletion. The repository must have nothing else under way; its index is
 * dropped (load it again). */
int prune_run(struct repository *repo, const struct prune_options *options,
              struct prune_result *ret_result, struct err *err) must_check;

#endif
