/* One HTTP exchange at a time on a libuv loop: libcurl's multi interface driven by uv's polls and
 * timer. Everything is called on the loop's thread. */
#ifndef KUBE_ASYNC_H
#define KUBE_ASYNC_H

#include <uv.h>

#include "kube/client.h"

struct async;

/* done: the exchange has ended, r and err as of kube_transport.perform. It may start the next one,
 * or free. The sink of an exchange may free, too. */
struct async *async_new(uv_loop_t *loop, struct kube_config *config,
                        void (*done)(void *ctx, int r, const struct err *err), void *ctx);

/* x must live until done. */
void async_start(struct async *a, struct kube_http *x);

/* Ends what is going on without calling done; closed(ctx) comes when the loop has let go. */
void async_free(struct async *a, void (*closed)(void *ctx));

#endif
