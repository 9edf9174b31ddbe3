/* Errors. One caller-owned object, no allocation, no thread-local state.
 *
 * The contract, everywhere in gleaner: a fallible function takes `struct err *err` last and returns
 * an int. 0 or more is success, and *err is untouched. < 0 is failure, and *err says what failed,
 * why, and where there is one the next step. Library folders never log; who gives up, logs once. */
#ifndef CORE_ERR_H
#define CORE_ERR_H

#include "core/base.h"

/* Kinds, not causes: a kind is what a caller decides by (retry, skip, give up). */
#define ERR_KINDS(X)                                                                               \
    X(NONE, "none")                                                                                \
    X(INVALID, "invalid") /* the input is wrong; trying again changes nothing */                   \
    X(NOT_FOUND, "not found")                                                                      \
    X(EXISTS, "already exists")                                                                    \
    X(CONFLICT, "conflict") /* somebody else was faster: read again, decide again */               \
    X(FORBIDDEN, "forbidden")                                                                      \
    X(UNAUTHORIZED, "unauthorized")                                                                \
    X(GONE, "gone") /* a resourceVersion or continue token is too old */                           \
    X(BUSY, "busy") /* 429 or a held lock: try again later */                                      \
    X(TIMEOUT, "timeout")                                                                          \
    X(UNAVAILABLE, "unavailable") /* the other side is down or not reachable */                    \
    X(CANCELLED, "cancelled")                                                                      \
    X(CORRUPT, "corrupt") /* bytes that should be ours are not what we wrote */                    \
    X(TOO_LARGE, "too large")                                                                      \
    X(IO, "input/output")                                                                          \
    X(UNSUPPORTED, "unsupported")                                                                  \
    X(REFUSED, "refused") /* we will not do that, and the message says why */                      \
    X(INTERNAL, "internal")

enum err_kind {
#define X(name, text) ERR_##name,
    ERR_KINDS(X)
#undef X
        ERR_KIND_MAX
};

struct err {
    enum err_kind kind;
    int http;          /* the HTTP status behind it, 0 if none */
    unsigned retry_ms; /* the server's Retry-After, 0 if it sent none */
    char msg[1024];    /* one line, cut if longer */
};

/* Fills *err (err may be NULL) and returns -1, so that `return err_set(...)` is one line. */
int err_set(struct err *err, enum err_kind kind, const char *fmt, ...) printf_like(3, 4);

/* As err_set, with ": " and strerror(errnum) added; the kind follows from errnum. */
int err_errno(struct err *err, int errnum, const char *fmt, ...) printf_like(3, 4);

/* Puts "text: " before the message of an err that is set; keeps its kind; returns -1. */
int err_wrap(struct err *err, const char *fmt, ...) printf_like(2, 3);

const char *err_kind_name(enum err_kind kind);

/* True for kinds where the same call may succeed later with nothing changed by us. */
bool err_is_transient(const struct err *err);

#endif
