/* A link with a round trip and a rate, between a client here and a server here: what both send is
 * given on 1/2 round trip later, and no faster than the rate, of all connections together.
 *
 *     bench_link LISTEN_PORT SERVER_PORT ROUND_TRIP_MS MEGABYTES_PER_SECOND
 */
#include "core/base.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CONNECTIONS = 64, PIECE = 64 << 10, PIECES = 256 };

/* Bytes under way in one direction. */
struct piece {
    int64_t at_us; /* when they arrive */
    size_t n, sent;
    char p[PIECE];
};

struct flow {
    int from, to;
    struct piece *ring; /* PIECES of them */
    size_t head, n;
    bool ended, closed;
};

static struct {
    struct flow flows[2]; /* to the server, back */
    bool used;
} connections[CONNECTIONS];

static int64_t free_us[2]; /* when the link is free, by direction */
static int64_t delay_us;
static double us_per_byte;

static int64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int make_socket(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    if (fd < 0) {
        perror("bench_link: socket");
        exit(1);
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

static struct sockaddr_in address(int port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void add_connection(int client, int server_port)
{
    struct sockaddr_in to = address(server_port);
    int server = make_socket(), on = 1, i = 0;
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    while (i < CONNECTIONS && connections[i].used)
        i++;
    if (i == CONNECTIONS || connect(server, (struct sockaddr *)&to, sizeof to) < 0) {
        close(client);
        close(server);
        return;
    }
    fcntl(client, F_SETFL, O_NONBLOCK);
    fcntl(server, F_SETFL, O_NONBLOCK);
    for (int d = 0; d < 2; d++) {
        struct flow *f = &connections[i].flows[d];
        struct piece *ring = f->ring ? f->ring : xmalloc(PIECES * sizeof *ring);
        *f = (struct flow){.from = d ? server : client, .to = d ? client : server, .ring = ring};
    }
    connections[i].used = true;
}

static void take(struct flow *f, int direction, int64_t now)
{
    struct piece *p = &f->ring[(f->head + f->n) % PIECES];
    ssize_t n = read(f->from, p->p, PIECE);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        f->ended = true;
        return;
    }
    free_us[direction] = MAX(free_us[direction], now) + (int64_t)((double)n * us_per_byte);
    p->at_us = free_us[direction] + delay_us;
    p->n = (size_t)n;
    p->sent = 0;
    f->n++;
}

static void give(struct flow *f, int64_t now)
{
    while (f->n && f->ring[f->head].at_us <= now) {
        struct piece *p = &f->ring[f->head];
        ssize_t n = send(f->to, p->p + p->sent, p->n - p->sent, MSG_NOSIGNAL);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n < 0) {
            f->ended = f->closed = true;
            return;
        }
        p->sent += (size_t)n;
        if (p->sent < p->n)
            return;
        f->head = (f->head + 1) % PIECES;
        f->n--;
    }
    if (f->ended && f->n == 0 && !f->closed) {
        shutdown(f->to, SHUT_WR);
        f->closed = true;
    }
}

/* Adds what a connection waits for; the time until its next piece arrives bounds the wait. */
static int watch(int i, struct pollfd *fds, int64_t now, int64_t *wait_us)
{
    int n = 0;
    for (int d = 0; d < 2; d++) {
        struct flow *f = &connections[i].flows[d];
        bool due = f->n && f->ring[f->head].at_us <= now;
        if (!f->ended && f->n < PIECES)
            fds[n++] = (struct pollfd){.fd = f->from, .events = POLLIN};
        if (due)
            fds[n++] = (struct pollfd){.fd = f->to, .events = POLLOUT};
        else if (f->n)
            *wait_us = MIN(*wait_us, f->ring[f->head].at_us - now);
    }
    return n;
}

static void serve(int listener, int server_port)
{
    struct pollfd fds[1 + 4 * CONNECTIONS];
    for (;;) {
        int64_t now = now_us(), wait_us = 1000000;
        int n = 1;
        fds[0] = (struct pollfd){.fd = listener, .events = POLLIN};
        for (int i = 0; i < CONNECTIONS; i++)
            n += connections[i].used ? watch(i, fds + n, now, &wait_us) : 0;
        struct timespec wait = {wait_us / 1000000, wait_us % 1000000 * 1000};
        ppoll(fds, (nfds_t)n, &wait, NULL);
        if (fds[0].revents & POLLIN) {
            int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
            if (client >= 0)
                add_connection(client, server_port);
        }
        now = now_us();
        for (int i = 0; i < CONNECTIONS; i++) {
            struct flow *f = connections[i].flows;
            if (!connections[i].used)
                continue;
            for (int d = 0; d < 2; d++) {
                if (!f[d].ended && f[d].n < PIECES)
                    take(&f[d], d, now);
                give(&f[d], now);
            }
            if (f[0].closed && f[1].closed) {
                close(f[0].from);
                close(f[0].to);
                connections[i].used = false;
            }
        }
    }
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fputs("usage: bench_link LISTEN_PORT SERVER_PORT ROUND_TRIP_MS MEGABYTES_PER_SECOND\n",
              stderr);
        return 2;
    }
    struct sockaddr_in here = address(atoi(argv[1]));
    int listener = make_socket();
    delay_us = atoi(argv[3]) * 500;
    us_per_byte = 1.0 / atof(argv[4]);
    signal(SIGPIPE, SIG_IGN);
    if (bind(listener, (struct sockaddr *)&here, sizeof here) < 0 || listen(listener, 64) < 0) {
        perror("bench_link");
        return 1;
    }
    serve(listener, atoi(argv[2]));
    return 0;
}
