#include "gateway/tokens.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <time.h>

#include "core/clock.h"
#include "core/codec.h"
#include "core/map.h"

enum { CACHE_MAX = 4096, REFUSED_SECONDS = 10, WAIT_SECONDS = 10 };

struct answer {
    struct gateway_identity identity;
    int64_t until_ms;
};

struct tokens {
    gateway_review_fn *review;
    void *ctx;
    sem_t reviews;
    pthread_mutex_t lock;
    struct map *answers; /* SHA-256 of the token -> struct answer */
};

struct tokens *tokens_new(gateway_review_fn *review, void *ctx)
{
    struct tokens *t = xcalloc(1, sizeof *t);
    t->review = review;
    t->ctx = ctx;
    t->answers = map_new(free);
    sem_init(&t->reviews, 0, GATEWAY_REVIEWS_MAX);
    pthread_mutex_init(&t->lock, NULL);
    return t;
}

void tokens_free(struct tokens *t)
{
    if (!t)
        return;
    map_free(t->answers);
    sem_destroy(&t->reviews);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

static bool is_token(const char *p, size_t n)
{
    if (n == 0 || n > GATEWAY_TOKEN_MAX)
        return false;
    for (size_t i = 0; i < n; i++)
        if (p[i] <= ' ' || p[i] >= 0x7f)
            return false;
    return true;
}

bool tokens_from_header(const char *header, struct buf *ret)
{
    str rest = str_of(header);
    if (!header || rest.n > 2 * GATEWAY_TOKEN_MAX)
        return false;
    str scheme = str_cut(&rest, ' ');
    rest = str_trim(rest);
    size_t before = ret->n;
    if (scheme.n == 6 && strncasecmp(scheme.p, "Bearer", 6) == 0) {
        buf_str(ret, rest);
    } else if (scheme.n == 5 && strncasecmp(scheme.p, "Basic", 5) == 0) {
        if (base64_decode(ret, rest, NULL) < 0)
            return false;
        char *colon = ret->n > before ? memchr(ret->p + before, ':', ret->n - before) : NULL;
        if (!colon)
            return false;
        size_t n = (size_t)(ret->p + ret->n - (colon + 1));
        memmove(ret->p + before, colon + 1, n + 1);
        ret->n = before + n;
    } else {
        return false;
    }
    return !ret->overflow && is_token(ret->p + before, ret->n - before);
}

static bool find(struct tokens *t, str key, struct gateway_identity *ret)
{
    pthread_mutex_lock(&t->lock);
    const struct answer *a = map_get(t->answers, key);
    bool known = a && a->until_ms > clock_mono_ms();
    if (known)
        *ret = a->identity;
    else if (a)
        map_del(t->answers, key);
    pthread_mutex_unlock(&t->lock);
    return known;
}

static void remember(struct tokens *t, str key, const struct gateway_identity *identity)
{
    struct answer *a = xcalloc(1, sizeof *a);
    int64_t seconds = identity->authenticated ? GATEWAY_REVIEW_SECONDS : REFUSED_SECONDS;
    *a = (struct answer){*identity, clock_mono_ms() + seconds * 1000};
    pthread_mutex_lock(&t->lock);
    if (map_count(t->answers) >= CACHE_MAX) {
        map_free(t->answers);
        t->answers = map_new(free);
    }
    map_put(t->answers, key, a);
    pthread_mutex_unlock(&t->lock);
}

int tokens_identify(struct tokens *t, const char *token, struct gateway_identity *ret,
                    struct err *err)
{
    uint8_t hash[32];
    struct gateway_identity identity = {0};
    str key = {(const char *)hash, sizeof hash};
    struct timespec until;
    sha256(token, strlen(token), hash);
    if (find(t, key, ret))
        return 0;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_SECONDS;
    if (sem_timedwait(&t->reviews, &until) < 0)
        return err_set(err, ERR_BUSY, "too many tokens wait to be reviewed");
    int r = t->review(t->ctx, token, &identity, err);
    sem_post(&t->reviews);
    if (r < 0)
        return -1;
    remember(t, key, &identity);
    *ret = identity;
    return 0;
}
