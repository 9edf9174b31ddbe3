/* HTTP for backends: blocking requests from any thread, with repetition of what may succeed later.
 */
#ifndef STORE_HTTP_H
#define STORE_HTTP_H

#include "store/backend.h"

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_POST, HTTP_PUT, HTTP_DELETE };

struct http_answer {
    long status;
    int64_t length; /* Content-Length, or -1 */
};

struct http_headers; /* those of one try */

/* Adds "Name: value" to a try's headers; the line is copied. */
void http_add_header(struct http_headers *to, const char *line);

struct http_request {
    enum http_method method;
    const char *url;
    const void *body; /* of a POST or PUT */
    size_t body_n;
    bool range; /* bytes [from, from + n), or to the end where n is BACKEND_ALL */
    uint64_t from;
    size_t n;
    struct buf *out; /* the body of a success is appended; NULL: it is read over */
    size_t max;      /* bytes appended at most */
    struct buf *why; /* replaced by the body of another answer, cut at HTTP_WHY_MAX; NULL: read over
                      */

    /* May be NULL. Called before each try, for headers that depend on the time; < 0 (with *err
     * set) ends the request. */
    int (*headers)(void *ctx, struct http_headers *to, struct err *err);
    /* May be NULL. Asked about each answer that is neither a success nor repeated anyway: true
     * repeats the request, as long as there is time. */
    bool (*again)(void *ctx, const struct http_answer *a);
    void *ctx;
};

enum { HTTP_WHY_MAX = 16 << 10 };

/* Zeroes are the defaults. */
struct http_options {
    const char *ca_pem;          /* as of struct backend_rest_options, */
    const char *user, *password; /* and these */
    const char *token_file;
    unsigned timeout_seconds;  /* 0: 60 */
    unsigned retry_seconds;    /* 0: 60 */
    unsigned first_seconds;    /* instead of retry_seconds until the server has ever answered: a
                                  wrong address is told soon; 0: as retry_seconds */
    uint64_t send_per_second;  /* bytes of all requests together; 0: no limit */
    uint64_t fetch_per_second; /* likewise, of answers */
};

struct http;

/* Copies the options. ERR_INTERNAL (libcurl). */
int http_new(const struct http_options *options, struct http **ret_http, struct err *err)
    must_check;
void http_free(struct http *h);

/* Any status that the server gave is success. Repeats after failed connections, 429 and 5xx (not
 * 501 and 507) until the options' retry_seconds have passed, with growing pauses, at least as long
 * as the server's Retry-After: then the last status, or ERR_UNAVAILABLE, ERR_TIMEOUT.
 * ERR_TOO_LARGE: the body passed `max`. ERR_UNAUTHORIZED: the token file cannot be read. */
int http_do(struct http *h, const struct http_request *r, struct http_answer *ret_answer,
            struct err *err) must_check;

enum { HTTP_TOKEN_MAX = 16 << 10 };

/* The token in a file, trimmed and terminated. Projected tokens are replaced while we run: read it
 * for each request, and wipe it. ERR_UNAUTHORIZED: it cannot be read, or is empty. */
int http_read_token(const char *path, char token[HTTP_TOKEN_MAX], struct err *err) must_check;

/* Sets the error of an answer that is not a success, "the server answered 503"; returns -1. */
int http_refuse(const struct http_answer *a, struct err *err);

/* Fetches bytes of a file as the `load` operation of a backend: fills in r's range, out and max,
 * and checks the length. 1: done; 0: *ret_answer is no success. */
int http_load(struct http *h, struct http_request *r, uint64_t offset, size_t n, size_t max,
              struct buf *out, struct http_answer *ret_answer, struct err *err) must_check;

#endif
