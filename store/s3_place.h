/* Where a repository in a bucket lies, and how its requests name it. */
#ifndef STORE_S3_PLACE_H
#define STORE_S3_PLACE_H

#include "store/backend_s3.h"

struct s3_place {
    char *origin; /* "https://host:port" */
    char *host;   /* the Host header: without the scheme's own port */
    char *bucket; /* what stands in paths, encoded: "/bucket", or "" where the host names it */
    char *name;   /* the bucket's name */
    char *prefix; /* "" or "a/b/" */
    char *region;
};

/* ERR_INVALID names what is wrong. */
int s3_place_make(const struct backend_s3_options *options, struct s3_place *ret_place,
                  struct err *err) must_check;
void s3_place_free(struct s3_place *p);

/* Takes an URL apart: malloc'd endpoint, bucket and prefix. ERR_INVALID. */
int s3_place_parse(const char *url, char **ret_endpoint, char **ret_bucket, char **ret_prefix,
                   struct err *err) must_check;

#endif
