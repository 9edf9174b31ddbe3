#include "store/breaker.h"

#include "core/clock.h"
#include "core/map.h"

#include <pthread.h>
#include <stdlib.h>

struct breaker {
    pthread_mutex_t lock;
    struct map *failed; /* by type and id: when, int64_t of the monotonic clock */
};

/* "3" and the id's bytes */
static str key_of(const struct backend_file *f, char key[1 + STORE_ID_SIZE])
{
    key[0] = (char)('0' + f->type);
    memset(key + 1, 0, STORE_ID_SIZE);
    if (f->type != BACKEND_CONFIG)
        memcpy(key + 1, f->id.b, STORE_ID_SIZE);
    return (str){key, 1 + STORE_ID_SIZE};
}

struct breaker *breaker_new(void)
{
    struct breaker *b = xcalloc(1, sizeof *b);
    pthread_mutex_init(&b->lock, NULL);
    b->failed = map_new(free);
    return b;
}

void breaker_free(struct breaker *b)
{
    pthread_mutex_destroy(&b->lock);
    map_free(b->failed);
    free(b);
}

int breaker_check(struct breaker *b, const struct backend_file *f, struct err *err)
{
    char key[1 + STORE_ID_SIZE];
    str k = key_of(f, key);
    bool open = false;
    pthread_mutex_lock(&b->lock);
    const int64_t *since = map_get(b->failed, k);
    if (since && clock_mono_ms() - *since < BREAKER_MS)
        open = true;
    else if (since)
        map_del(b->failed, k);
    pthread_mutex_unlock(&b->lock);
    return open ? err_set(err, ERR_UNAVAILABLE,
                          "it could not be read however often that was tried, and is not tried "
                          "again for an hour")
                : 0;
}

void breaker_note(struct breaker *b, const struct backend_file *f)
{
    char key[1 + STORE_ID_SIZE];
    int64_t *now = xmalloc(sizeof *now);
    *now = clock_mono_ms();
    pthread_mutex_lock(&b->lock);
    if (map_count(b->failed) < BREAKER_FILES_MAX)
        map_put(b->failed, key_of(f, key), TAKE(now));
    pthread_mutex_unlock(&b->lock);
    free(now);
}
