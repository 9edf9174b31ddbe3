/* The work queue: keys that are due. A key is queued once however often it is added (the earliest
 * time wins), is never run by two threads at once (added while it runs, it runs again after), and
 * waits longer after each failure. Source of the semantics: client-go util/workqueue. Thread-safe.
 */
#ifndef RECONCILER_QUEUE_H
#define RECONCILER_QUEUE_H

#include "core/str.h"

struct queue;

struct queue *queue_new(void);
void queue_free(struct queue *q);

/* Due after `ms` at the latest. */
void queue_add(struct queue *q, str key, unsigned ms);

/* Takes a due key that is not running; its malloc'd text, or NULL if none is due. *ret_wait_ms (may
 * be NULL) is then the time until the next one is, -1 if nothing waits. */
char *queue_take(struct queue *q, int64_t *ret_wait_ms);

/* The end of a run: forget failures. With a delay >= 0 it runs again then. */
void queue_done(struct queue *q, const char *key, int64_t again_ms);

/* The end of a failed run: it runs again after 5 ms x2^failures to 60 s (1 s if it was added while
 * it ran), or at_least if longer. Added afterwards, it is due as usual. Gives that delay. */
unsigned queue_failed(struct queue *q, const char *key, unsigned at_least_ms);

#endif
