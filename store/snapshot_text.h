/* The JSON of snapshot files. */
#ifndef STORE_SNAPSHOT_TEXT_H
#define STORE_SNAPSHOT_TEXT_H

#include "store/snapshot.h"

/* Appends the text, in restic's order of fields. */
void snapshot_text(const struct snapshot *s, struct buf *out);

/* Strings lie in the arena; unknown fields are passed over. ERR_CORRUPT. */
int snapshot_parse(str text, struct arena *a, struct snapshot *ret_snapshot, struct err *err)
    must_check;

#endif
