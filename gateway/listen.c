#include "gateway/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>

#include "core/str.h"

/* True unless the kernel says that it has none: any other failure is told when it is served. */
static bool has_ipv6(void)
{
    const struct sockaddr_in6 any = {.sin6_family = AF_INET6};
    int fd CLEANUP(close_p) = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && bind(fd, (const struct sockaddr *)&any, sizeof any) == 0)
        return true;
    return errno != EAFNOSUPPORT && errno != EADDRNOTAVAIL;
}

static void set_everywhere(struct listening *l)
{
    l->at.ss_family = has_ipv6() ? AF_INET6 : AF_INET;
    l->flags = l->at.ss_family == AF_INET6 ? MHD_USE_DUAL_STACK : 0;
}

static bool set_address(struct listening *l, str text)
{
    struct sockaddr_in *four = (struct sockaddr_in *)&l->at;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)&l->at;
    char address[64];
    if (text.n == 0 || str_is(text, "[::]")) {
        set_everywhere(l);
        return true;
    }
    if (text.n >= sizeof address)
        return false;
    bool brackets = text.n > 2 && text.p[0] == '[' && text.p[text.n - 1] == ']';
    snprintf(address, sizeof address, "%.*s", (int)text.n - 2 * brackets, text.p + brackets);
    l->at.ss_family = brackets ? AF_INET6 : AF_INET;
    l->flags = brackets ? MHD_USE_IPv6 : 0;
    return brackets ? inet_pton(AF_INET6, address, &six->sin6_addr) == 1
                    : inet_pton(AF_INET, address, &four->sin_addr) == 1;
}

int listening_parse(const char *text, struct listening *ret, struct err *err)
{
    uint64_t port;
    const char *colon = strrchr(text, ':');
    str address = {text, colon ? (size_t)(colon - text) : 0};
    struct listening l = {0};
    if (!str_u64(str_of(colon ? colon + 1 : text), &port) || port > 65535 ||
        !set_address(&l, address))
        return err_set(err, ERR_INVALID,
                       "cannot listen on '%s': give PORT, ADDRESS:PORT or [ADDRESS]:PORT", text);
    listening_set_port(&l, (unsigned)port);
    *ret = l;
    return 0;
}

static in_port_t *port_of(struct listening *l)
{
    return l->at.ss_family == AF_INET6 ? &((struct sockaddr_in6 *)&l->at)->sin6_port
                                       : &((struct sockaddr_in *)&l->at)->sin_port;
}

unsigned listening_port(const struct listening *l)
{
    struct listening copy = *l;
    return ntohs(*port_of(&copy));
}

void listening_set_port(struct listening *l, unsigned port)
{
    *port_of(l) = htons((uint16_t)port);
}
