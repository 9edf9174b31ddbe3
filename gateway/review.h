/* TokenReview: the API server's word on a token. */
#ifndef GATEWAY_REVIEW_H
#define GATEWAY_REVIEW_H

#include "gateway/server.h"
#include "kube/client.h"

struct review {
    struct kube *kube;
    const char *audience;
};

/* A gateway_review_fn; ctx is a struct review. */
int review_token(void *review, const char *token, struct gateway_identity *ret, struct err *err)
    must_check;

/* Reads the API server's answer: authenticated only if it says so for this audience. */
void review_read(struct arena *a, str answer, const char *audience, struct gateway_identity *ret);

#endif
