/* What the controller says of a mover: the body of a PUT. */
#ifndef GATEWAY_REGISTRATION_H
#define GATEWAY_REGISTRATION_H

#include "gateway/server.h"
#include "store/backend_s3.h"

/* Where a store on S3 lies. Texts are "" where the registration does not name them. */
struct registration_s3 {
    char *endpoint, *bucket, *prefix, *region; /* prefix: the store's, without the repository */
    enum s3_lookup lookup;
    char *ca_pem;
    char *access_key, *secret_key, *session_token; /* only until the backend has them */
};

struct registration {
    char *store, *repository, *password, *lock; /* never NULL */
    bool on_s3;
    struct registration_s3 s3;
    struct store_id keys[GATEWAY_KEYS_MAX];
    size_t keys_n;
    char *key_text;    /* of keys[0], shown as if it came from the store; "": it does */
    struct buf config; /* shown as if it came from the store; empty: it does */
    bool write;
    uint64_t budget; /* 0: the default */
};

/* Reads the body of a PUT; every member is checked, an unknown one refused. ERR_INVALID names it.
 */
int registration_parse(str body, struct registration *ret, struct err *err) must_check;
void registration_free(struct registration *r); /* wipes; fit for CLEANUP */

/* Wipes the credentials of the bucket. */
void registration_forget_keys(struct registration *r);

/* The same but for the credentials of the bucket and the time. */
bool registration_same(const struct registration *a, const struct registration *b);

/* The same repository in the same store: what one pod's registrations always name. */
bool registration_same_place(const struct registration *a, const struct registration *b);

#endif
