/* Blobs of data that will be wanted soon: threads read, open and verify them while the caller is
 * still busy with those before. They come in the order in which they were asked for.
 *
 * One thread asks and takes. Borrows the repository, whose index is loaded. */
#ifndef STORE_AHEAD_H
#define STORE_AHEAD_H

#include "store/repository.h"

struct ahead;

/* bytes: of plaintext, asked for and not taken, at most (one blob that is larger goes alone). While
 * it is opened a blob takes up to three times itself, so memory is bounded by 3 * bytes and the
 * blob that was taken. 0: STORE_AHEAD_BYTES. Threads start with the second blob that waits. */
struct ahead *ahead_new(struct repository *repo, uint64_t bytes);

/* Drops what was asked for; returns when no thread is left. Accepts NULL. */
void ahead_free(struct ahead *a);
DEFINE_CLEANUP(struct ahead *, ahead_free)

/* False: there is no room before one is taken; nothing was asked. Always true if none waits. */
bool ahead_ask(struct ahead *a, const struct store_id *id) must_check;

/* How many were asked for and not taken, and their bytes. */
size_t ahead_waiting(const struct ahead *a);
uint64_t ahead_bytes(const struct ahead *a);

/* Replaces the content of *out by the first blob that was asked for and not taken; there is one.
 * Errors as of repository_load_blob; then all that was asked for is dropped. */
int ahead_take(struct ahead *a, struct buf *out, struct err *err) must_check;

/* Forgets what was asked for; returns when nothing is being loaded. */
void ahead_drop(struct ahead *a);

#endif
