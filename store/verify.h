/* That a snapshot can be restored: proven before anything is touched, and after it was written. */
#ifndef STORE_VERIFY_H
#define STORE_VERIFY_H

#include "store/snapshot.h"

struct verify_options {
    bool read_data; /* also read, decrypt and hash every blob */
    /* Called for each file and directory; < 0 with *err set ends the verification. May be NULL. */
    int (*progress)(void *ctx, uint64_t trees, uint64_t blobs, struct err *err);
    void *ctx;
};

struct verify_result {
    uint64_t trees, files, blobs, packs; /* distinct */
    uint64_t bytes; /* of files; a directory that occurs twice counts once, its files too */
};

/* Every tree below it decodes, every blob is in the index, every pack that holds one is there with
 * exactly the size that the index implies, and files are as long as their chunks. The error names
 * the first path or file that is not so: ERR_CORRUPT, or the backend's error. The index must be
 * loaded. options and ret_result may be NULL. */
int verify_tree(struct repository *repo, const struct store_id *tree,
                const struct verify_options *options, struct verify_result *ret_result,
                struct err *err) must_check;

/* The snapshot's file, then its tree. */
int verify_snapshot(struct repository *repo, const struct store_id *snapshot,
                    const struct verify_options *options, struct verify_result *ret_result,
                    struct err *err) must_check;

/* The same as another process would see it now: list the snapshots, find it, list the index files,
 * read those that were not read since they were written, verify. Flush first, or the repository is
 * opened anew and all of its index read once more. What "Completed" must have passed. */
int verify_read_back(struct repository *repo, const struct store_id *snapshot,
                     const struct verify_options *options, struct verify_result *ret_result,
                     struct err *err) must_check;

#endif
