/* A repository in a bucket of S3 or of a server that speaks its protocol.
 *
 * Every file is one object below the prefix, in restic's layout. A PUT makes it visible whole, so
 * nothing is ever written in parts. The name of a file is the SHA-256 that signature and
 * x-amz-checksum-sha256 need, so nothing is hashed again, and buckets with object lock take it. */
#ifndef STORE_BACKEND_S3_H
#define STORE_BACKEND_S3_H

#include "store/backend.h"

/* Where the bucket's name stands in requests. */
enum s3_lookup {
    S3_LOOKUP_AUTO, /* in the host for amazonaws.com, if the name has no dot; else in the path */
    S3_LOOKUP_PATH, /* https://host/bucket/key */
    S3_LOOKUP_HOST, /* https://bucket.host/key */
};

/* Zeroes are the defaults; all is copied. Without access_key the credentials are looked for as
 * AWS's own tools do: AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN; then
 * AWS_ROLE_ARN with AWS_WEB_IDENTITY_TOKEN_FILE (the token is read again for each new session; at
 * AWS_ENDPOINT_URL_STS, else AWS's own STS in that region); then the file of
 * AWS_SHARED_CREDENTIALS_FILE, else ~/.aws/credentials, in the profile of AWS_PROFILE. A machine's
 * metadata service is never asked. */
struct backend_s3_options {
    const char *endpoint; /* [http(s)://]host[:port]; https if it does not say */
    const char *bucket;
    const char *prefix; /* "a/b", or NULL */
    const char *region; /* NULL: AWS_REGION, AWS_DEFAULT_REGION, of the host's name, us-east-1 */
    enum s3_lookup lookup;
    const char *access_key, *secret_key, *session_token;
    const char *ca_pem;        /* the only certificates trusted, PEM text; NULL: the system's */
    unsigned timeout_seconds;  /* for a request without progress; 0: 60 */
    unsigned retry_seconds;    /* 0: 900, as restic; 30 until the server has ever answered */
    uint64_t send_per_second;  /* bytes of all requests together; 0: no limit */
    uint64_t fetch_per_second; /* likewise, of answers */
    bool bucket_must_exist;    /* backend_create does not make it: ERR_NOT_FOUND */
    bool fresh_lists;          /* backend_foresee does nothing: for a backend of many users */
};

/* Requests that fail by connection, timeout, 429 or 5xx are repeated as store/http.h says, also
 * those that the server calls too slow or in conflict; a wrong region or clock is corrected by what
 * the server says. A file that could not be read for as long as that is not tried again for an
 * hour. No message holds a credential. ERR_INVALID, ERR_UNAUTHORIZED (no credentials). */
int backend_open_s3(const struct backend_s3_options *options, struct backend **ret_backend,
                    struct err *err) must_check;

/* Goes on with other keys (session_token may be NULL): requests that begin from now on are signed
 * with them. For a backend of backend_open_s3; of another one nothing is changed. */
void backend_s3_set_keys(struct backend *b, const char *access_key, const char *secret_key,
                         const char *session_token);

/* What follows "s3:" in restic's URLs: http(s)://host/bucket/prefix, host/bucket/prefix and
 * //host/bucket/prefix. `options` (may be NULL) gives the rest. */
int backend_open_s3_url(const char *place, const struct backend_s3_options *options,
                        struct backend **ret_backend, struct err *err) must_check;

#endif
