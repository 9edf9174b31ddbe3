#include "reconciler/queue.h"

#include <pthread.h>
#include <stdlib.h>

#include "core/clock.h"
#include "core/map.h"

struct item {
    int64_t due; /* monotonic ms; -1: not queued */
    unsigned failures;
    bool running;
};

/* A scan over all keys finds the next one: there are as many as applications and resources of ours,
 * and a scan of ten thousand costs less than one API call. */
struct queue {
    pthread_mutex_t mutex;
    struct map *items;
};

struct queue *queue_new(void)
{
    struct queue *q = xcalloc(1, sizeof *q);
    pthread_mutex_init(&q->mutex, NULL);
    q->items = map_new(free);
    return q;
}

void queue_free(struct queue *q)
{
    if (!q)
        return;
    map_free(q->items);
    pthread_mutex_destroy(&q->mutex);
    free(q);
}

static struct item *item_of(struct queue *q, str key)
{
    struct item *i = map_get(q->items, key);
    if (!i) {
        i = xcalloc(1, sizeof *i);
        i->due = -1;
        map_put(q->items, key, i);
    }
    return i;
}

static void add_locked(struct queue *q, str key, int64_t ms)
{
    struct item *i = item_of(q, key);
    int64_t due = clock_mono_ms() + ms;
    if (i->due < 0 || due < i->due)
        i->due = due;
}

void queue_add(struct queue *q, str key, unsigned ms)
{
    pthread_mutex_lock(&q->mutex);
    add_locked(q, key, ms);
    pthread_mutex_unlock(&q->mutex);
}

char *queue_take(struct queue *q, int64_t *ret_wait_ms)
{
    pthread_mutex_lock(&q->mutex);
    struct item *best = NULL;
    str best_key = {0}, key;
    size_t at = 0;
    void *value;
    while (map_each(q->items, &at, &key, &value)) {
        struct item *i = value;
        if (i->due >= 0 && !i->running && (!best || i->due < best->due)) {
            best = i;
            best_key = key;
        }
    }
    int64_t wait = best ? best->due - clock_mono_ms() : -1;
    char *taken = NULL;
    if (best && wait <= 0) {
        best->due = -1;
        best->running = true;
        taken = str_dup(best_key);
    }
    if (ret_wait_ms)
        *ret_wait_ms = best ? MAX(wait, 0) : -1;
    pthread_mutex_unlock(&q->mutex);
    return taken;
}

void queue_done(struct queue *q, const char *key, int64_t again_ms)
{
    pthread_mutex_lock(&q->mutex);
    struct item *i = item_of(q, str_of(key));
    i->running = false;
    i->failures = 0;
    if (again_ms >= 0)
        add_locked(q, str_of(key), again_ms);
    else if (i->due < 0)
        map_del(q->items, str_of(key));
    pthread_mutex_unlock(&q->mutex);
}

unsigned queue_failed(struct queue *q, const char *key, unsigned at_least_ms)
{
    enum { FIRST_MS = 5, LAST_MS = 60000, EVENT_MS = 1000 };
    pthread_mutex_lock(&q->mutex);
    struct item *i = item_of(q, str_of(key));
    uint64_t delay = (uint64_t)FIRST_MS << MIN(i->failures, 18u);
    delay = MAX(MIN(delay, LAST_MS), at_least_ms);
    i->failures++;
    i->running = false;
    /* An event that came while it ran may be of a person's change, or of our own write: soon, but
     * not at once, and never before the time that the server named. */
    if (i->due >= 0)
        delay = MAX(MIN(delay, EVENT_MS), at_least_ms);
    i->due = clock_mono_ms() + (int64_t)delay;
    pthread_mutex_unlock(&q->mutex);
    return (unsigned)delay;
}
