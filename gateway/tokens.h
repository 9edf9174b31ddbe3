/* Whose token that is: asked once, believed for GATEWAY_REVIEW_SECONDS. Thread-safe. */
#ifndef GATEWAY_TOKENS_H
#define GATEWAY_TOKENS_H

#include "gateway/server.h"

struct tokens;

struct tokens *tokens_new(gateway_review_fn *review, void *ctx);
void tokens_free(struct tokens *t);

/* The token of an Authorization header: after "Bearer ", or the password of "Basic ". Appends it to
 * *ret (which the caller wipes). False: there is none, or it is longer than GATEWAY_TOKEN_MAX. */
bool tokens_from_header(const char *header /* may be NULL */, struct buf *ret);

/* ret->authenticated says the answer. < 0: nobody can tell now (UNAVAILABLE, BUSY). */
int tokens_identify(struct tokens *t, const char *token, struct gateway_identity *ret,
                    struct err *err) must_check;

#endif
