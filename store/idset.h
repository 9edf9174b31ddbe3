/* A set of ids by their first 128 bits, in 14 bytes each: what a writer needs to know of millions
 * of blobs that are stored. It never has an id that was not added; one that was may be missing,
 * where there is no room for it: then a blob is stored again, which costs room in the store and
 * nothing else. Not thread-safe. */
#ifndef STORE_IDSET_H
#define STORE_IDSET_H

#include "store/id.h"

struct idset;

/* It keeps at most so many ids (below 2^32), and leaves out those that come later. */
struct idset *idset_new(size_t most);
void idset_free(struct idset *k); /* accepts NULL */

/* False if nothing changed: it was there already, or was left out. */
bool idset_add(struct idset *k, const struct store_id *id);
bool idset_has(const struct idset *k, const struct store_id *id);

size_t idset_count(const struct idset *k);  /* ids that are kept */
size_t idset_memory(const struct idset *k); /* bytes, without what malloc adds */

#endif
