/* Remembers files that could not be read however often it was tried, so that a damaged or
 * unreachable one does not cost every reader the whole time of the repetitions. As restic: for an
 * hour. */
#ifndef STORE_BREAKER_H
#define STORE_BREAKER_H

#include "store/backend.h"

enum { BREAKER_MS = 60 * 60 * 1000, BREAKER_FILES_MAX = 10000 };

struct breaker;

struct breaker *breaker_new(void);
void breaker_free(struct breaker *b);

/* Fails (ERR_UNAVAILABLE) for a file that was noted less than an hour ago. */
int breaker_check(struct breaker *b, const struct backend_file *f, struct err *err) must_check;

/* Notes a file. Beyond BREAKER_FILES_MAX nothing is noted. */
void breaker_note(struct breaker *b, const struct backend_file *f);

#endif
