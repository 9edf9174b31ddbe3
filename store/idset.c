#include "store/idset.h"

#include <stdlib.h>

/* The first 16 bits of an id choose a bucket, the next 112 are kept there, in order. */
enum { BUCKETS = 1 << 16, REST = 14, STEP = 4 };

struct bucket {
    uint8_t *p;
    uint32_t n, room;
};

struct idset {
    struct bucket *buckets; /* pages that nobody touched cost nothing */
    size_t count, room;
};

struct idset *idset_new(void)
{
    struct idset *k = xcalloc(1, sizeof *k);
    k->buckets = xcalloc(BUCKETS, sizeof *k->buckets);
    return k;
}

void idset_free(struct idset *k)
{
    if (!k)
        return;
    for (size_t i = 0; i < BUCKETS && k->count; i++)
        free(k->buckets[i].p);
    free(k->buckets);
    free(k);
}

static struct bucket *bucket_of(const struct idset *k, const struct store_id *id)
{
    return &k->buckets[(size_t)id->b[0] << 8 | id->b[1]];
}

/* Where it is, or where it belongs. */
static uint32_t find(const struct bucket *b, const uint8_t *rest, bool *ret_found)
{
    uint32_t low = 0, high = b->n;
    *ret_found = false;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = memcmp(b->p + (size_t)middle * REST, rest, REST);
        if (order == 0) {
            *ret_found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool idset_has(const struct idset *k, const struct store_id *id)
{
    bool found;
    find(bucket_of(k, id), id->b + 2, &found);
    return found;
}

bool idset_add(struct idset *k, const struct store_id *id)
{
    struct bucket *b = bucket_of(k, id);
    bool found;
    uint32_t at = find(b, id->b + 2, &found);
    if (found)
        return false;
    if (b->n == b->room) {
        /* By steps; whoever makes ids that share a bucket pays for it by the eighth. */
        uint32_t more = MAX((uint32_t)STEP, b->n / 8);
        b->p = xrealloc(b->p, (size_t)(b->room + more) * REST);
        b->room += more;
        k->room += more;
    }
    uint8_t *to = b->p + (size_t)at * REST;
    memmove(to + REST, to, (size_t)(b->n - at) * REST);
    memcpy(to, id->b + 2, REST);
    b->n++;
    k->count++;
    return true;
}

size_t idset_count(const struct idset *k)
{
    return k->count;
}

size_t idset_memory(const struct idset *k)
{
    return k->room * REST + BUCKETS * sizeof *k->buckets;
}
