/* What a request's path asks for, and whether a mover may. No I/O. */
#ifndef GATEWAY_ROUTE_H
#define GATEWAY_ROUTE_H

#include "store/backend.h"

enum route_kind {
    ROUTE_OTHER,    /* nothing that anybody may ask for */
    ROUTE_PASSWORD, /* /gleaner/v1/key */
    ROUTE_MOVER,    /* /gleaner/v1/movers/<pod uid> */
    ROUTE_LIST,     /* /<clusterName>/<namespace>/<type>/ */
    ROUTE_FILE      /* /<clusterName>/<namespace>/config or .../<type>/<id> */
};

/* Slices of the path. */
struct route {
    enum route_kind kind;
    str pod_uid;
    str repository; /* "<clusterName>/<namespace>" */
    struct backend_file file;
};

/* path: as it was sent, not percent-decoded (no path that we serve needs it), without query. */
void route_parse(str path, struct route *ret);

enum route_method { METHOD_OTHER, METHOD_GET, METHOD_HEAD, METHOD_POST, METHOD_PUT, METHOD_DELETE };
enum route_method route_method(const char *name);

/* Letters, digits and '-', 1 to 63 of them. */
bool route_is_uid(str s);

/* "bytes=A-B" or "bytes=A-": the range of a file of `size` bytes. False: another form, or outside.
 */
bool route_range(str header, uint64_t size, uint64_t *ret_from, uint64_t *ret_n);

#endif
