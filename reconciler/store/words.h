/* What is wrong with a store, in words: the reason and the message of its Ready condition. */
#ifndef RECONCILER_STORE_WORDS_H
#define RECONCILER_STORE_WORDS_H

#include "reconciler/store/place.h"

struct store_words {
    const char *reason;  /* CamelCase */
    const char *message; /* what is wrong and what to do, then the cause as it was reported */
    bool passing;        /* may be over at the next look without anybody doing anything */
};

/* why: of store_open or store_check. p: the place, zeroed if it could not be read. The codes are
 * those of "Error responses", Amazon S3 API Reference; MinIO and versitygw use them too. In the
 * arena. */
void store_explain(struct arena *a, const struct err *why, const struct store_place *p,
                   struct store_words *ret);

#endif
