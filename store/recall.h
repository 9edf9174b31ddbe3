/* A backend that keeps in memory what it has read of small files whose names are the hashes of
 * their bytes: key files, snapshots, index files, locks. For a process that opens a repository over
 * and over where a request is a round trip.
 *
 * A file is answered from memory only if the last list of its type through this very backend names
 * it with the size that it has: that it is there, the store has said then. Nothing enters memory
 * but what was read from a store and has the hash that is its name; what was saved through it, it
 * has not read. Lists, sizes, configs and packs are always asked of the store. So it is no backend
 * for whoever wants to know whether the store still gives what it gave: check and prune. */
#ifndef STORE_RECALL_H
#define STORE_RECALL_H

#include "store/backend.h"

/* Bytes in memory for all such backends of a process, and of one file. What was not used for
 * longest goes first. */
enum { RECALL_ALL = 24 << 20, RECALL_FILE = 4 << 20 };

/* Takes the backend over. */
struct backend *backend_recall(struct backend *inner);

/* The one behind it; b itself if it is not of this kind. */
struct backend *backend_behind(struct backend *b);

size_t recall_bytes(void); /* in memory now */
void recall_forget(void);  /* empties the memory of the process */

#endif
