/* Where a BackupStore keeps its repositories, and with what that place is opened. */
#ifndef RECONCILER_STORE_PLACE_H
#define RECONCILER_STORE_PLACE_H

#include "reconciler/context.h"
#include "store/backend_s3.h"

/* The keys of the Secret that spec.credentialsSecretRef names, as AWS's tools call them. */
#define STORE_ACCESS_KEY "AWS_ACCESS_KEY_ID"
#define STORE_SECRET_KEY "AWS_SECRET_ACCESS_KEY"
#define STORE_SESSION_TOKEN "AWS_SESSION_TOKEN"

enum { STORE_CA_MAX = 128 << 10 }; /* bytes of PEM text */

/* All is malloc'd; store_place_free wipes it. */
struct store_place {
    char id[65];  /* of kind, endpoint's host, bucket and prefix, or folder: the same place */
    char *folder; /* local: below the volume's root; NULL: on S3, and all of the following */
    char *endpoint, *bucket, *prefix;
    char *region; /* NULL: as the server says */
    enum s3_lookup lookup;
    /* NULL: the environment of the process, as store/backend_s3.h says; token: may be NULL. */
    char *access_key, *secret_key, *session_token;
    char *ca_pem; /* NULL: the system's */
};

/* Reads spec.local or spec.s3 with their Secrets, which lie in gleaner's namespace. REFUSED: spec
 * or Secret say no, in words; UNAVAILABLE and the like: the API server cannot be asked. */
int store_place_read(struct context *cx, struct arena *a, const struct kube_object *store,
                     struct store_place *ret, struct err *err) must_check;
void store_place_free(struct store_place *p); /* accepts a zeroed one; fit for CLEANUP */

/* The options of a backend at `prefix` (borrowed; so is the place). */
void store_place_s3(const struct store_place *p, const char *prefix,
                    struct backend_s3_options *ret);

/* The prefix in the bucket of a repository: the store's and "<clusterName>/<namespace>". */
char *store_place_prefix(const struct store_place *p, const char *path);

/* "bucket b at s3.example.org", "folder backups of gleaner's own volume": for people. */
const char *store_place_text(struct arena *a, const struct store_place *p);

/* The endpoint's host, lower case; "" for a local one. */
const char *store_place_host(struct arena *a, const struct store_place *p);

/* Opens the repository's backend. No request is made. retry_seconds: how long a request that may
 * succeed later is repeated. */
int store_place_open(struct context *cx, const struct store_place *p, const char *path,
                     unsigned retry_seconds, struct backend **ret, struct err *err) must_check;

#endif
