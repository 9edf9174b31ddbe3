/* Whose name requests to S3 are signed in, and where that is found: see store/backend_s3.h. */
#ifndef STORE_S3_CREDENTIALS_H
#define STORE_S3_CREDENTIALS_H

#include "store/backend_s3.h"

struct s3_secret {
    char *access, *secret, *token; /* token: NULL if there is none */
};
void s3_secret_wipe(struct s3_secret *s); /* for CLEANUP: wipes, frees */

struct s3_credentials;

/* ERR_UNAUTHORIZED: none are found. */
int s3_credentials_new(const struct backend_s3_options *options, const char *region,
                       struct s3_credentials **ret, struct err *err) must_check;
void s3_credentials_free(struct s3_credentials *c); /* accepts NULL */

/* A copy; a web identity's session is renewed five minutes before its end (one request). */
int s3_credentials_get(struct s3_credentials *c, struct s3_secret *ret_secret, struct err *err)
    must_check;

/* The server calls the session expired: the next get begins a new one. False where there is none
 * to be had. */
bool s3_credentials_renew(struct s3_credentials *c);

/* Other keys from now on; a web identity is given up. session_token may be NULL. */
void s3_credentials_set(struct s3_credentials *c, const char *access_key, const char *secret_key,
                        const char *session_token);

/* True if the text holds one of the secrets (or the access key): it must not be shown. */
bool s3_credentials_in(struct s3_credentials *c, str text);

/* Reads one profile of a shared credentials file. False: it has no such profile with both keys. */
bool s3_credentials_parse(str text, str profile, struct s3_secret *ret_secret);

#endif
