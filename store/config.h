/* The repository's config: version, id, the chunker's polynomial. */
#ifndef STORE_CONFIG_H
#define STORE_CONFIG_H

#include "store/id.h"

/* Where file contents are cut. rustic can be told other values than restic's, and other ways. */
struct store_chunking {
    enum { CHUNKS_RABIN, CHUNKS_FIXED, CHUNKS_UNKNOWN } kind; /* unknown: read, never written */
    uint32_t size;     /* the average, a power of two; of CHUNKS_FIXED every one */
    uint32_t min, max; /* CHUNKS_FIXED: both as size */
};

struct store_config {
    unsigned version;
    struct store_id id;
    uint64_t polynomial;
    struct store_chunking chunking;
    bool append_only; /* rustic's: nothing but locks may be removed */
};

/* A fresh one. */
void store_config_make(struct store_config *ret_config);
void store_config_text(const struct store_config *config, struct buf *out); /* appends */

/* ERR_CORRUPT; ERR_UNSUPPORTED: a version that we do not know, or the hot half of a pair that
 * rustic makes. The polynomial was tested. */
int store_config_parse(str text, struct store_config *ret_config, struct err *err) must_check;

#endif
