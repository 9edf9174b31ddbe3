#include "store/chunker.h"

#include "core/codec.h"
#include "store/limits.h"

enum { DEGREE = 53, SHIFT = DEGREE - 8, WINDOW = 64, LANES = 4, BLOCK = 64 << 10 };

enum { AVERAGE = 1 << 20 };

static int degree(uint64_t p)
{
    return p ? 63 - __builtin_clzll(p) : -1;
}

static uint64_t mod(uint64_t x, uint64_t p)
{
    for (int d = degree(p); degree(x) >= d;)
        x ^= p << (degree(x) - d);
    return x;
}

static uint64_t multiply_mod(uint64_t a, uint64_t b, uint64_t p)
{
    uint64_t r = 0;
    for (a = mod(a, p); b; b >>= 1) {
        if (b & 1)
            r ^= a;
        a = mod(a << 1, p);
    }
    return r;
}

static uint64_t gcd(uint64_t a, uint64_t b)
{
    while (b) {
        uint64_t t = mod(a, b);
        a = b;
        b = t;
    }
    return a;
}

/* Ben-Or: p of degree d is irreducible if gcd(p, x^(2^i) - x) is 1 for i up to d / 2. */
bool polynomial_irreducible(uint64_t p)
{
    if (degree(p) < 1 || degree(p) > DEGREE)
        return false;
    uint64_t power = mod(2, p); /* x */
    for (int i = 1; i <= degree(p) / 2; i++) {
        power = multiply_mod(power, power, p);
        if (gcd(p, power ^ mod(2, p)) != 1)
            return false;
    }
    return true;
}

bool polynomial_usable(uint64_t p)
{
    return degree(p) == DEGREE && polynomial_irreducible(p);
}

uint64_t polynomial_random(void)
{
    uint64_t p;
    do {
        random_bytes(&p, sizeof p);
        p &= ((uint64_t)1 << (DEGREE + 1)) - 1;
        p |= (uint64_t)1 << DEGREE | 1;
    } while (!polynomial_irreducible(p));
    return p;
}

void chunker_set_sizes(struct chunker *c, size_t min, size_t average, size_t max)
{
    c->min = min;
    c->max = max;
    c->mask = average - 1;
}

void chunker_init(struct chunker *c, uint64_t polynomial)
{
    chunker_set_sizes(c, STORE_CHUNK_MIN, AVERAGE, STORE_CHUNK_MAX);
    for (unsigned b = 0; b < 256; b++) {
        uint64_t h = mod(b, polynomial);
        for (int i = 0; i < WINDOW - 1; i++)
            h = mod(h << 8, polynomial);
        c->out[b] = h;
        c->mod[b] = mod((uint64_t)b << DEGREE, polynomial) | (uint64_t)b << DEGREE;
    }
}

static inline uint64_t slide_in(const struct chunker *c, uint64_t h, uint8_t in)
{
    return (h << 8 | in) ^ c->mod[h >> SHIFT];
}

static inline uint64_t slide(const struct chunker *c, uint64_t h, uint8_t out, uint8_t in)
{
    return slide_in(c, h ^ c->out[out], in);
}

/* The fingerprint of the WINDOW bytes before p. */
static uint64_t fingerprint(const struct chunker *c, const uint8_t *p)
{
    uint64_t h = 0;
    for (int i = -WINDOW; i < 0; i++)
        h = slide_in(c, h, p[i]);
    return h;
}

/* The first of the positions [from, from + n) where a chunk may end, or from + n. The fingerprint
 * depends on the last 64 bytes alone, so that four segments can be scanned side by side: one lane
 * is bound by the latency of its table lookup. n is a multiple of LANES. */
static size_t scan(const struct chunker *c, const uint8_t *p, size_t from, size_t n)
{
    size_t lane = n / LANES, best = from + n;
    uint64_t h[LANES];
    const uint8_t *q[LANES];
    for (size_t k = 0; k < LANES; k++) {
        q[k] = p + from + k * lane;
        h[k] = fingerprint(c, q[k]);
    }
    for (size_t i = 0; i < lane; i++) {
        bool hit = false;
#pragma GCC unroll 4
        for (size_t k = 0; k < LANES; k++)
            hit |= (h[k] & c->mask) == 0;
        if (__builtin_expect(hit, 0))
            for (size_t k = 0; k < LANES; k++)
                if ((h[k] & c->mask) == 0)
                    best = MIN(best, from + k * lane + i);
#pragma GCC unroll 4
        for (size_t k = 0; k < LANES; k++)
            h[k] = slide(c, h[k], *(q[k] + i - WINDOW), q[k][i]);
    }
    return best;
}

size_t chunker_cut(const struct chunker *c, const uint8_t *p, size_t n, bool whole, size_t *at)
{
    if (n <= c->min && n < c->max)
        return whole ? n : 0;
    size_t limit = MIN(n, c->max), from = MAX(*at, c->min);
    while (from < limit) {
        size_t step = MIN(limit - from, BLOCK);
        step -= step % LANES;
        if (step == 0) {
            if ((fingerprint(c, p + from) & c->mask) == 0)
                return from;
            from++;
            continue;
        }
        size_t found = scan(c, p, from, step);
        if (found < from + step)
            return found;
        from += step;
    }
    *at = from;
    return limit == c->max || whole ? limit : 0;
}
