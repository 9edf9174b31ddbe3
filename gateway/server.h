/* The gateway's server.
 *
 * Every request carries a service-account token, as bearer or as the password of HTTP Basic. A
 * TokenReview (audience bound) tells who that is: its answer is cached for at most 60 s by the
 * SHA-256 of the token, the token itself never.
 *
 * For the controller (username equals options.controller):
 *   PUT /gleaner/v1/movers/<pod uid>     {"store":"...","repository":"<clusterName>/<namespace>",
 *       "password":"...","keys":["<id>",...],"write":true,"lock":"...","budget":0} -> 204
 *       in memory only; forgotten after an hour unless sent again. For a store on S3 instead of
 *       "store": "s3":{"endpoint":"...","bucket":"...","prefix":"...","region":"...",
 *       "lookup":"path"|"host"|"","ca":"<PEM>","access_key":"...","secret_key":"...",
 *       "session_token":"..."}; keys left out: those of the gateway's environment. Sending it again
 *       with other keys renews them. "key_text": the content of keys[0], which need not be in
 *       a store, and "config": that of the config, in base64: the store is not asked for them
 *   DELETE /gleaner/v1/movers/<pod uid>                                           -> 204
 *
 * For a mover (the pod uid that TokenReview reports is registered):
 *   GET /gleaner/v1/key                  -> {"password":"..."}
 *   restic's REST protocol, version 2, below /<clusterName>/<namespace>/ for its own repository:
 *       GET, HEAD  config
 *       GET        keys/ index/ data/    lists; of keys only the registered ones
 *       GET, HEAD  keys/ID (a registered one) index/ID data/ID; Range as restic sends it
 *       POST       data/ID index/ID      if registered with write; the bytes' SHA-256 is ID; an
 *                                        index only while the lock is there
 * Everything else is 403 and its body is
 * not read. 401: the token is not valid; 403: it is, but not for this; 413, 429: above a limit;
 * 503: nobody can tell (API server or store). */
#ifndef GATEWAY_SERVER_H
#define GATEWAY_SERVER_H

#include "core/err.h"
#include "core/str.h"

/* The bounds of the gateway. */
#define GATEWAY_UPLOAD_MAX (64ull << 20)      /* one pack or index */
#define GATEWAY_REGISTRATION_MAX (256u << 10) /* the body of a PUT; a CA is the most of it */
#define GATEWAY_TOKEN_MAX (16u << 10)
#define GATEWAY_LIST_MAX (64u << 20) /* the text of one list */
#define GATEWAY_MOVERS_MAX 10000     /* registrations */
#define GATEWAY_KEYS_MAX 8           /* key files of one registration */
#define GATEWAY_CONNECTIONS_MAX 128  /* of all clients */
#define GATEWAY_REQUESTS_PER_MOVER 8 /* at one time */
#define GATEWAY_REVIEWS_MAX 4        /* TokenReviews at one time */
#define GATEWAY_REVIEW_SECONDS 60    /* an answer is believed for so long */
#define GATEWAY_BUDGET_DEFAULT (1ull << 40)

/* Who a token belongs to. */
struct gateway_identity {
    bool authenticated;
    char username[320];
    char pod_uid[64]; /* "" if the token is not bound to a pod */
};

/* Asks who the token is. < 0: nobody can tell now. Called from many threads. */
typedef int gateway_review_fn(void *ctx, const char *token, struct gateway_identity *ret,
                              struct err *err);

struct gateway_options {
    const char *listen; /* as listening_parse takes it; port 0: any */
    const char *cert_pem, *key_pem;
    const char *local_root, *spool; /* spool NULL: local_root */
    const char *controller;
    uint64_t budget; /* 0: GATEWAY_BUDGET_DEFAULT */
    gateway_review_fn *review;
    void *review_ctx;
};

struct gateway;

/* Starts to serve on threads of its own. Strings are copied. */
int gateway_start(const struct gateway_options *options, struct gateway **ret_gateway,
                  struct err *err) must_check;
void gateway_stop(struct gateway *g); /* ends running requests; frees; accepts NULL */
DEFINE_CLEANUP(struct gateway *, gateway_stop)

/* Goes on with another certificate: running requests end (movers repeat them), the address is
 * served anew, registrations stay. On failure nothing is served any more. */
int gateway_renew(struct gateway *g, const char *cert_pem, const char *key_pem, struct err *err)
    must_check;

unsigned gateway_port(const struct gateway *g);

/* Bytes of request bodies that were read from clients so far. */
uint64_t gateway_bytes_received(struct gateway *g);

#endif
