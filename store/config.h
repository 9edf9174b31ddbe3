/* The repository's config: version, id, the chunker's polynomial. */
#ifndef STORE_CONFIG_H
#define STORE_CONFIG_H

#include "store/id.h"

struct store_config {
    unsigned version;
    struct store_id id;
    uint64_t polynomial;
    bool fixed_chunks, append_only; /* rustic's additions, honoured when writing */
};

/* A fresh one. */
void store_config_make(struct store_config *ret_config);
void store_config_text(const struct store_config *config, struct buf *out); /* appends */

/* ERR_CORRUPT; ERR_UNSUPPORTED: a version that we do not know. The polynomial was tested. */
int store_config_parse(str text, struct store_config *ret_config, struct err *err) must_check;

#endif
