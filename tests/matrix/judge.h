/* What must be true of a repository, whatever happened to a writer. */
#ifndef TESTS_MATRIX_JUDGE_H
#define TESTS_MATRIX_JUDGE_H

#include "matrix.h"

/* Every snapshot that is listed can be read to the last byte, and those of `must` are among them;
 * how many there are. */
size_t judge_snapshots(struct world *w, const struct store_id *const *must, size_t must_n);

/* restic check --read-data, without a lock, because the dead leave theirs. */
bool judge_has_restic(void);
void judge_by_restic(struct world *w);

#endif
