/* HTTP for backends: blocking requests from any thread, with repetition of what may succeed later.
 */
#ifndef STORE_HTTP_H
#define STORE_HTTP_H

#include "store/backend.h"

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_POST, HTTP_DELETE };

struct http_request {
    enum http_method method;
    const char *url;
    const void *body; /* of a POST */
    size_t body_n;
    bool range; /* bytes [from, from + n), or to the end where n is BACKEND_ALL */
    uint64_t from;
    size_t n;
    struct buf *out; /* the body of a success is appended; NULL: it is read over */
    size_t max;      /* bytes appended at most */
};

struct http_answer {
    long status;
    int64_t length; /* Content-Length, or -1 */
};

struct http;

/* Takes from the options all but the URL; copies. ERR_INVALID, ERR_UNAVAILABLE (libcurl). */
int http_new(const struct backend_rest_options *options, struct http **ret_http, struct err *err)
    must_check;
void http_free(struct http *h);

/* Any status that the server gave is success. Repeats after failed connections, 429 and 5xx (not
 * 501 and 507) until the options' retry_seconds have passed: then the last status, or
 * ERR_UNAVAILABLE, ERR_TIMEOUT. ERR_TOO_LARGE: the body passed `max`. ERR_UNAUTHORIZED: the token
 * file cannot be read. */
int http_do(struct http *h, const struct http_request *r, struct http_answer *ret_answer,
            struct err *err) must_check;

#endif
