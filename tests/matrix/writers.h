/* What works on a repository in these tests, each as a stranger to the others: a backup,
 * forgetting, a prune. */
#ifndef TESTS_MATRIX_WRITERS_H
#define TESTS_MATRIX_WRITERS_H

#include "store/prune.h"

enum { FILE_SIZE = 1200, PACK_TARGET = 4000 }; /* packs of about three files */

int make_repository(struct backend *b, struct err *err) must_check;

/* What a backup does: open, lock, index, data in several packs, a graft, snapshot, read back. Each
 * other file is the same whatever the tag. */
int write_backup(struct backend *b, const struct lock_options *lock, const char *tag,
                 struct store_id *ret_id, struct err *err) must_check;

int write_forget(struct backend *b, const struct lock_options *lock, const struct store_id *ids,
                 size_t n, struct err *err) must_check;

/* Nothing unused may stay. */
int write_prune(struct backend *b, const struct lock_options *lock, bool dry,
                struct prune_result *ret_result, struct err *err) must_check;

/* Blobs that are stored already once more, and others that nobody uses, by two writers that know
 * nothing of each other. */
int write_twice(struct backend *b, struct err *err) must_check;

#endif
