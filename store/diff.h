/* What differs between two trees, as `restic diff` counts it (its cmd/restic/cmd_diff.go). */
#ifndef STORE_DIFF_H
#define STORE_DIFF_H

#include "store/tree.h"

struct diff_stat {
    uint64_t files, dirs, others;
    uint64_t data_blobs, tree_blobs, bytes; /* that the other side does not have */
};

struct diff_result {
    uint64_t changed_files;
    struct diff_stat added, removed;
};

/* path is "/a/b", or "/a/b/" for a directory; modifier: "+", "-", "T" (another type), "M" (other
 * content), "M?" (other content though all else is equal: bit rot?), "U" (other metadata), "TU". */
typedef void diff_fn(void *ctx, const char *path, const char *modifier);

/* The index is loaded. With `metadata` also changes of metadata alone are told. fn may be NULL. */
int diff_trees(struct repository *repo, const struct store_id *before, const struct store_id *after,
               bool metadata, diff_fn *fn, void *ctx, struct diff_result *ret, struct err *err)
    must_check;

/* All that a tree says of an entry is equal; without its content if `content` is false. */
bool node_equal(const struct node *a, const struct node *b, bool content);

#endif
