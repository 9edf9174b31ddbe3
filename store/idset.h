/* A set of ids by their first 128 bits, in little more than 14 bytes each: what a writer needs to
 * know of millions of blobs that are stored. Not thread-safe. */
#ifndef STORE_IDSET_H
#define STORE_IDSET_H

#include "store/id.h"

struct idset;

struct idset *idset_new(void);
void idset_free(struct idset *k); /* accepts NULL */

/* False if it was there already. */
bool idset_add(struct idset *k, const struct store_id *id);
bool idset_has(const struct idset *k, const struct store_id *id);

size_t idset_count(const struct idset *k);
size_t idset_memory(const struct idset *k); /* bytes, without what malloc adds */

#endif
