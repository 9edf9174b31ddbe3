/* The answers to requests that were admitted: files, lists, uploads, registrations. */
#ifndef GATEWAY_SERVE_H
#define GATEWAY_SERVE_H

#include <microhttpd.h>

#include "gateway/registry.h"
#include "gateway/route.h"

struct request {
    struct gateway *gateway;
    enum route_method method;
    char *path;
    struct route route;  /* slices of path */
    struct mover *mover; /* held; NULL for the controller */
    bool counted;        /* among the mover's requests */
    uint64_t length;     /* of the body that was announced */
    uint64_t received;
    struct buf body; /* of a registration */
    int spool;       /* of an upload; -1: none */
    int failed;      /* errno of a failed write to it */
};

/* A line of text; MHD takes it over. */
enum MHD_Result serve_text(struct MHD_Connection *c, unsigned status, const char *text);

/* The status and message of an error. */
enum MHD_Result serve_error(struct MHD_Connection *c, const struct err *err);

enum MHD_Result serve_password(struct request *r, struct MHD_Connection *c);
enum MHD_Result serve_list(struct request *r, struct MHD_Connection *c);
enum MHD_Result serve_file(struct request *r, struct MHD_Connection *c);

/* Before the body: opens the spool. After it: stores what lies there. */
int serve_upload_begin(struct request *r, const char *spool, struct err *err) must_check;
void serve_upload_piece(struct request *r, const char *p, size_t n);
enum MHD_Result serve_upload_end(struct request *r, struct MHD_Connection *c);

#endif
