/* AWS Signature Version 4, in the form with an Authorization header.
 *
 * Source: "Create a signed AWS API request" and "Authenticating Requests: Using the Authorization
 * Header" (Amazon S3 API Reference); the tests hold AWS's own examples. Paths are encoded once, as
 * S3 has it; other services encode them twice, which is the same for plain ones. */
#ifndef STORE_SIGV4_H
#define STORE_SIGV4_H

#include "core/str.h"

enum { SIGV4_TIME = 17, SIGV4_HEADERS_MAX = 12 };

struct sigv4_pair {
    str name, value;
};

struct sigv4_request {
    const char *method;
    str path;  /* encoded, from the '/' on: sigv4_path */
    str query; /* encoded and in order: sigv4_query; without '?' */
    /* The headers that are signed, any order, names in lower case; at most SIGV4_HEADERS_MAX. */
    const struct sigv4_pair *headers;
    size_t headers_n;
    const char *payload; /* SHA-256 of the body, hex */
};

struct sigv4_key {
    const char *access, *secret, *region, *service;
};

/* "20150830T123600Z" */
void sigv4_time(int64_t wall_ms, char out[SIGV4_TIME]);

/* Appends the value of the Authorization header for a request of that time. */
void sigv4_sign(struct buf *out, const struct sigv4_request *r, const struct sigv4_key *key,
                const char *time);

/* Appends s with all but unreserved characters as %XX; '/' stays in paths. */
void sigv4_encode(struct buf *out, str s, bool keep_slashes);

/* Appends name=value joined by '&', encoded, in the order that the signature asks for. Orders the
 * pairs in place. */
void sigv4_query(struct buf *out, struct sigv4_pair *pairs, size_t n);

#endif
