/* Where a server listens. */
#ifndef GATEWAY_LISTEN_H
#define GATEWAY_LISTEN_H

#include <sys/socket.h>

#include "core/err.h"

struct listening {
    struct sockaddr_storage at; /* for MHD_OPTION_SOCK_ADDR */
    unsigned flags;             /* for MHD_start_daemon */
};

/* "PORT", "ADDRESS:PORT" or "[ADDRESS]:PORT". Without an address, as with [::], it is every address
 * of the machine, of IPv6 and IPv4: a cluster may have either or both. Where the kernel has no IPv6
 * it is every one of IPv4. ERR_INVALID. */
int listening_parse(const char *text, struct listening *ret, struct err *err) must_check;

unsigned listening_port(const struct listening *l); /* 0: any */
void listening_set_port(struct listening *l, unsigned port);

#endif
