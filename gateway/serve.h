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

/* Sends a response (NULL: none could be made) and lets go of it. */
enum MHD_Result serve_answer(struct MHD_Connection *c, unsigned status, struct MHD_Response *r);

/* A line of text; MHD takes it over. */
enum MHD_Result serve_text(struct MHD_Connection *c, unsigned status, const char *text);

/* The status and message of an error. */
enum MHD_Result serve_error(struct MHD_Connection *c, const struct err *err);

enum MHD_Result serve_password(struct request *r, struct MHD_Connection *c);
enum MHD_Result serve_list(struct request *r, struct MHD_Connection *c);

/* gateway/sending.c. What is read from a distant store is read ahead, SENDING_AHEAD bytes for one
 * answer and SENDING_AHEAD_ALL for all together; beyond that, and from a volume, SENDING_PIECE. So
 * sending takes at most SENDING_AHEAD_ALL + GATEWAY_CONNECTIONS_MAX * SENDING_PIECE bytes of
 * memory, whatever the size of the files. */
#define SENDING_PIECE ((size_t)256 << 10)
#define SENDING_AHEAD ((size_t)4 << 20)
#define SENDING_AHEAD_ALL ((size_t)64 << 20)
enum MHD_Result serve_file(struct request *r, struct MHD_Connection *c);

/* An upload is spooled in a nameless file and sent from there, mapped: its size (at most
 * GATEWAY_UPLOAD_MAX) is disk, not memory, however many there are.
 * Before the body: opens the spool. After it: stores what lies there. */
int serve_upload_begin(struct request *r, const char *spool, struct err *err) must_check;
void serve_upload_piece(struct request *r, const char *p, size_t n);
enum MHD_Result serve_upload_end(struct request *r, struct MHD_Connection *c);

#endif
