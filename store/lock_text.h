/* The JSON of lock files. */
#ifndef STORE_LOCK_TEXT_H
#define STORE_LOCK_TEXT_H

#include "store/lock.h"

void lock_text(const struct lock_info *info, struct buf *out); /* appends; id is not part of it */

/* ERR_CORRUPT. */
int lock_parse(str text, struct arena *a, struct lock_info *ret_info, struct err *err) must_check;

#endif
