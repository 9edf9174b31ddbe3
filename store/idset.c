#include "store/idset.h"

#include <stdlib.h>

/* Nearly all ids lie in one sorted array without a gap: buckets by the first 16 bits, which
 * `starts` tells, then the next 112. What came since lies in a small hash table, and is merged into
 * the array when that is full: a list that grows for each bucket would cost as much again in slack
 * and holes.
 */
enum {
    BUCKETS = 1 << 16,
    KEY = 16,
    REST = KEY - 2,
    YOUNG_LOG2 = 15,
    YOUNG = 1 << YOUNG_LOG2,
    YOUNG_MOST = YOUNG / 4 * 3
};

struct idset {
    uint8_t *old; /* old_n times REST bytes */
    size_t old_n;
    uint32_t *starts;      /* bucket b: from starts[b] to starts[b + 1] */
    uint8_t (*young)[KEY]; /* YOUNG of them, probed in line; all zero: free */
    size_t young_n;
    uint64_t secret; /* ids come from strangers: which of them collide is not theirs to choose */
    size_t most;
};

static const uint8_t nothing[KEY];

struct idset *idset_new(size_t most)
{
    struct idset *k = xcalloc(1, sizeof *k);
    k->starts = xcalloc(BUCKETS + 1, sizeof *k->starts);
    k->young = xcalloc(YOUNG, sizeof *k->young);
    k->most = most;
    random_bytes(&k->secret, sizeof k->secret);
    k->secret |= 1;
    return k;
}

void idset_free(struct idset *k)
{
    if (!k)
        return;
    free(k->old);
    free(k->starts);
    free(k->young);
    free(k);
}

static size_t bucket_of(const uint8_t *key)
{
    return (size_t)key[0] << 8 | key[1];
}

static bool old_has(const struct idset *k, const uint8_t *key)
{
    size_t low = k->starts[bucket_of(key)], high = k->starts[bucket_of(key) + 1];
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = memcmp(k->old + middle * REST, key + 2, REST);
        if (order == 0)
            return true;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

/* Where it is in the table, or the free place where it belongs. */
static uint8_t *young_place(const struct idset *k, const uint8_t *key)
{
    uint64_t a, b;
    memcpy(&a, key, sizeof a);
    memcpy(&b, key + sizeof a, sizeof b);
    uint64_t hash = ((a ^ k->secret) * 0x9e3779b97f4a7c15u + b) * k->secret;
    size_t at = (size_t)(hash >> (64 - YOUNG_LOG2));
    while (memcmp(k->young[at], nothing, KEY) != 0 && memcmp(k->young[at], key, KEY) != 0)
        at = (at + 1) % YOUNG;
    return k->young[at];
}

static int compare(const void *a, const void *b)
{
    return memcmp(a, b, KEY);
}

/* Moves the table's ids to its front, in order. */
static void sort_young(struct idset *k)
{
    size_t n = 0;
    for (size_t i = 0; i < YOUNG; i++)
        if (memcmp(k->young[i], nothing, KEY) != 0)
            memmove(k->young[n++], k->young[i], KEY);
    qsort(k->young, n, KEY, compare);
}

/* From the end, so that what is moved makes way for what is moved after it. */
static void merge(struct idset *k)
{
    size_t young = k->young_n, to = k->old_n + young;
    sort_young(k);
    k->old = xrealloc(k->old, to * REST);
    k->old_n = to;
    for (size_t b = BUCKETS; b-- && young;) {
        size_t low = k->starts[b], high = k->starts[b + 1];
        k->starts[b + 1] = (uint32_t)to;
        while (young && bucket_of(k->young[young - 1]) == b) {
            const uint8_t *rest = k->young[young - 1] + 2;
            size_t from = high;
            while (from > low && memcmp(k->old + (from - 1) * REST, rest, REST) > 0)
                from--;
            to -= high - from;
            memmove(k->old + to * REST, k->old + from * REST, (high - from) * REST);
            high = from;
            memcpy(k->old + --to * REST, rest, REST);
            young--;
        }
        to -= high - low;
        memmove(k->old + to * REST, k->old + low * REST, (high - low) * REST);
    }
    memset(k->young, 0, YOUNG * sizeof *k->young);
    k->young_n = 0;
}

bool idset_has(const struct idset *k, const struct store_id *id)
{
    return memcmp(id->b, nothing, KEY) != 0 &&
           (old_has(k, id->b) || memcmp(young_place(k, id->b), id->b, KEY) == 0);
}

bool idset_add(struct idset *k, const struct store_id *id)
{
    if (memcmp(id->b, nothing, KEY) == 0 || idset_count(k) >= k->most || idset_has(k, id))
        return false;
    memcpy(young_place(k, id->b), id->b, KEY);
    if (++k->young_n == YOUNG_MOST)
        merge(k);
    return true;
}

size_t idset_count(const struct idset *k)
{
    return k->old_n + k->young_n;
}

size_t idset_memory(const struct idset *k)
{
    return k->old_n * REST + (BUCKETS + 1) * sizeof *k->starts + YOUNG * sizeof *k->young;
}
