#include "store/ahead.h"

#include "store/limits.h"

#include <pthread.h>
#include <stdlib.h>

struct slot {
    struct store_id id;
    uint64_t n;
    bool done;
    int result;
    struct buf bytes;
    struct err err;
};

/* Blobs have numbers in the order of asking: first <= next <= end. */
struct ahead {
    struct repository *repo;
    uint64_t most;
    /* The asking thread's alone: */
    pthread_t threads[STORE_AHEAD_THREADS];
    unsigned threads_n;
    uint64_t first, end, bytes;
    /* Under the lock: `next` and `done` of those before it; a slot from `next` on is the asking
     * thread's until `last` passes it. */
    pthread_mutex_t lock;
    pthread_cond_t asked, loaded;
    uint64_t next; /* the first that nobody loads */
    uint64_t last; /* `end`, as the threads know it */
    bool ending;
    struct slot slots[STORE_AHEAD_BLOBS];
};

static struct slot *slot_of(struct ahead *a, uint64_t number)
{
    return &a->slots[number % STORE_AHEAD_BLOBS];
}

struct ahead *ahead_new(struct repository *repo, uint64_t bytes)
{
    struct ahead *a = xcalloc(1, sizeof *a);
    a->repo = repo;
    a->most = bytes ? bytes : STORE_AHEAD_BYTES;
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->asked, NULL);
    pthread_cond_init(&a->loaded, NULL);
    return a;
}

/* Loads the blob that `next` names. Under the lock, given up meanwhile. */
static void load_next(struct ahead *a)
{
    struct slot *s = slot_of(a, a->next++);
    pthread_mutex_unlock(&a->lock);
    s->result = repository_load_blob(a->repo, BLOB_DATA, &s->id, &s->bytes, &s->err);
    pthread_mutex_lock(&a->lock);
    s->done = true;
    pthread_cond_signal(&a->loaded);
}

static void *run(void *ctx)
{
    struct ahead *a = ctx;
    pthread_mutex_lock(&a->lock);
    for (;;) {
        while (a->next == a->last && !a->ending)
            pthread_cond_wait(&a->asked, &a->lock);
        if (a->ending)
            break;
        load_next(a);
    }
    pthread_mutex_unlock(&a->lock);
    return NULL;
}

bool ahead_ask(struct ahead *a, const struct store_id *id)
{
    uint64_t n = 0;
    /* One that is not there has no bytes: taking it says so. */
    if (!repository_has_blob(a->repo, BLOB_DATA, id, &n) || n == REPOSITORY_SIZE_UNKNOWN)
        n = 0;
    size_t waiting = ahead_waiting(a);
    if (waiting && (waiting == STORE_AHEAD_BLOBS || n > a->most || a->bytes > a->most - n))
        return false;
    struct slot *s = slot_of(a, a->end++);
    *s = (struct slot){.id = *id, .n = n};
    a->bytes += n;
    pthread_mutex_lock(&a->lock);
    a->last = a->end;
    pthread_cond_signal(&a->asked);
    pthread_mutex_unlock(&a->lock);
    /* The taker loads what no thread has begun, so that fewer of them will do, and none. */
    if (waiting && a->threads_n < STORE_AHEAD_THREADS &&
        pthread_create(&a->threads[a->threads_n], NULL, run, a) == 0)
        a->threads_n++;
    return true;
}

size_t ahead_waiting(const struct ahead *a)
{
    return (size_t)(a->end - a->first);
}

uint64_t ahead_bytes(const struct ahead *a)
{
    return a->bytes;
}

int ahead_take(struct ahead *a, struct buf *out, struct err *err)
{
    struct slot *s = slot_of(a, a->first);
    pthread_mutex_lock(&a->lock);
    if (a->next == a->first)
        load_next(a);
    while (!s->done)
        pthread_cond_wait(&a->loaded, &a->lock);
    pthread_mutex_unlock(&a->lock);
    if (s->result < 0) {
        *err = s->err;
        ahead_drop(a);
        return -1;
    }
    buf_free(out);
    *out = s->bytes;
    s->bytes = (struct buf){0};
    a->bytes -= s->n;
    a->first++;
    return 0;
}

void ahead_drop(struct ahead *a)
{
    pthread_mutex_lock(&a->lock);
    a->last = a->next;
    for (; a->first < a->next; a->first++) {
        struct slot *s = slot_of(a, a->first);
        while (!s->done)
            pthread_cond_wait(&a->loaded, &a->lock);
        buf_free(&s->bytes);
    }
    a->end = a->last;
    a->bytes = 0;
    pthread_mutex_unlock(&a->lock);
}

void ahead_free(struct ahead *a)
{
    if (!a)
        return;
    ahead_drop(a);
    pthread_mutex_lock(&a->lock);
    a->ending = true;
    pthread_cond_broadcast(&a->asked);
    pthread_mutex_unlock(&a->lock);
    for (unsigned i = 0; i < a->threads_n; i++)
        pthread_join(a->threads[i], NULL);
    pthread_mutex_destroy(&a->lock);
    pthread_cond_destroy(&a->asked);
    pthread_cond_destroy(&a->loaded);
    free(a);
}
