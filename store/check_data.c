/* The bytes of packs: their SHA-256 is their name, their header says what the index says, every
 * blob opens and is what its name says. A pack is read once from its beginning, in pieces, so that
 * the memory is that of a piece and of the largest blob, in each thread. */
#include "store/check_impl.h"

#include "store/bytes.h"
#include "store/limits.h"

#include <stdarg.h>
#include <stdio.h>

enum { PIECE = 2 << 20, KEEP = 16 << 20, SUBSET_ALL = 100 };

struct copy {
    struct store_id id;
    enum blob_type type;
    uint32_t offset, length, plain;
};

struct data_check {
    struct check *c;
    uint32_t *entries; /* the index's entries, those of one pack together */
    uint32_t *starts;  /* by pack: where its entries begin; one more for the end of the last */
    uint32_t *packs;   /* the chosen ones */
    size_t packs_n;
    size_t next; /* guarded by the check's mutex, as all below */
    size_t done;
    bool stop;
    struct err err;
};

/* ---- which packs ---- */

static uint32_t random_below(uint32_t n)
{
    uint64_t r;
    random_bytes(&r, sizeof r);
    return (uint32_t)(r % n);
}

static void shuffle(uint32_t *p, size_t n)
{
    for (size_t i = n; i > 1; i--) {
        size_t j = random_below((uint32_t)i);
        uint32_t swap = p[i - 1];
        p[i - 1] = p[j];
        p[j] = swap;
    }
}

static bool is_chosen(const struct check_subset *s, const struct store_id *id)
{
    return s->what != CHECK_PART || id->b[0] % s->t == s->n - 1;
}

static void choose_packs(struct data_check *d)
{
    struct check *c = d->c;
    const struct check_subset *s = &c->options->read;
    uint32_t n = index_packs(c->repo->index);
    d->packs = xmalloc((n + 1) * sizeof *d->packs);
    for (uint32_t i = 0; i < n; i++)
        if (bits_has(&c->whole, i) && is_chosen(s, &index_pack(c->repo->index, i)->id))
            d->packs[d->packs_n++] = i;
    if (s->what == CHECK_PERCENT || s->what == CHECK_BYTES)
        shuffle(d->packs, d->packs_n);
    size_t take = d->packs_n;
    if (s->what == CHECK_PERCENT)
        take = (size_t)((double)d->packs_n * s->percent / SUBSET_ALL);
    if (s->what == CHECK_BYTES) {
        uint64_t bytes = 0;
        for (take = 0; take < d->packs_n && bytes < s->bytes; take++)
            bytes += index_pack(c->repo->index, d->packs[take])->size;
    }
    d->packs_n = MIN(MAX(take, 1), d->packs_n);
}

/* Sorts the numbers of the index's entries by pack, by counting. */
static void sort_entries(struct data_check *d)
{
    struct index *ix = d->c->repo->index;
    uint32_t packs = index_packs(ix), n = (uint32_t)index_blobs(ix);
    enum blob_type type;
    struct store_id id;
    struct index_place place;
    d->starts = xcalloc((size_t)packs + 2, sizeof *d->starts);
    d->entries = xmalloc(((size_t)n + 1) * sizeof *d->entries);
    for (uint32_t i = 0; i < n; i++)
        if (index_entry(ix, i, &type, &id, &place))
            d->starts[place.pack + 2]++;
    for (uint32_t i = 2; i < packs + 2; i++)
        d->starts[i] += d->starts[i - 1];
    for (uint32_t i = 0; i < n; i++) /* moves each start on to its end, the start of the next */
        if (index_entry(ix, i, &type, &id, &place))
            d->entries[d->starts[place.pack + 1]++] = i;
}

/* ---- one pack ---- */

/* What one thread needs. `bytes` are those of the pack from `base` on. */
struct pack_reader {
    struct check *c;
    struct work *work;
    struct buf bytes, piece, plain;
    uint64_t base, size;
    struct backend_file file;
    struct sha256_ctx *hash;
    struct {
        struct copy *p;
        size_t n, room;
    } copies;
    struct {
        uint64_t *p;
        size_t n, room;
    } bad;
    bool damaged;
    char what[1024]; /* the first thing that is wrong */
};

static void found(struct pack_reader *r, const char *fmt, ...) printf_like(2, 3);
static void found(struct pack_reader *r, const char *fmt, ...)
{
    va_list args;
    if (r->damaged)
        return;
    r->damaged = true;
    va_start(args, fmt);
    vsnprintf(r->what, sizeof r->what, fmt, args);
    va_end(args);
}

static int copy_cmp(const void *a, const void *b)
{
    const struct copy *x = a, *y = b;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

static void list_copies(struct data_check *d, struct pack_reader *r, uint32_t pack)
{
    r->copies.n = 0;
    for (uint32_t i = d->starts[pack]; i < d->starts[pack + 1]; i++) {
        struct copy *copy = vec_add(&r->copies);
        struct index_place place;
        (void)index_entry(d->c->repo->index, d->entries[i], &copy->type, &copy->id, &place);
        copy->offset = place.offset;
        copy->length = place.length;
        copy->plain = place.plain;
    }
    if (r->copies.n)
        qsort(r->copies.p, r->copies.n, sizeof *r->copies.p, copy_cmp);
}

/* Room for n bytes and little more: a buffer that grows by itself takes half as much again. */
static void reserve(struct buf *b, size_t n)
{
    if (b->room <= n)
        buf_free(b);
    buf_reset(b);
    (void)bytes_room(b, n);
}

static void reserve_all(struct pack_reader *r)
{
    size_t sealed = 0, packed = 0, plain = 0;
    for (size_t i = 0; i < r->copies.n; i++) {
        const struct copy *copy = &r->copies.p[i];
        sealed = MAX(sealed, (size_t)copy->length);
        packed = MAX(packed, copy->plain ? (size_t)copy->length : 0);
        plain = MAX(plain, MIN(copy->plain ? (size_t)copy->plain : (size_t)copy->length,
                               (size_t)STORE_BLOB_MAX));
    }
    reserve(&r->bytes, sealed + PIECE);
    reserve(&r->work->packed, packed);
    reserve(&r->plain, plain);
}

/* Reads on until `bytes` reaches `end` (or further), and forgets what lies before `from`. */
static int read_on(struct pack_reader *r, uint64_t from, uint64_t end, struct err *err)
{
    if (end <= r->base + r->bytes.n)
        return 0;
    size_t drop = (size_t)(from - r->base);
    if (drop)
        memmove(r->bytes.p, r->bytes.p + drop, r->bytes.n - drop);
    r->bytes.n -= drop;
    r->base = from;
    while (r->base + r->bytes.n < end) {
        uint64_t at = r->base + r->bytes.n;
        size_t n = (size_t)MIN((uint64_t)PIECE, r->size - at);
        if (backend_load_range(r->c->repo->backend, &r->file, at, n, &r->piece, err) < 0)
            return -1;
        sha256_update(r->hash, r->piece.p, n);
        memcpy(bytes_room(&r->bytes, n), r->piece.p, n);
        bytes_grow(&r->bytes, n);
    }
    return 0;
}

static int open_blobs(struct pack_reader *r, uint32_t pack, struct err *err)
{
    for (size_t i = 0; i < r->copies.n; i++) {
        const struct copy *copy = &r->copies.p[i];
        struct err why = {0};
        char hex[STORE_ID_HEX];
        if (read_on(r, copy->offset, copy->offset + (uint64_t)copy->length, err) < 0)
            return -1;
        if (blob_open(&r->c->repo->key, r->work, r->bytes.p + (copy->offset - r->base),
                      copy->length, copy->plain, &copy->id, &r->plain, &why) == 0)
            continue;
        *vec_add(&r->bad) = (uint64_t)pack << 32 | copy->offset;
        store_id_hex(&copy->id, hex);
        found(r, "%s %.10s: %s", copy->type == BLOB_TREE ? "tree" : "blob", hex, why.msg);
    }
    return 0;
}

static void compare_header(struct pack_reader *r, str tail)
{
    struct pack_blobs blobs = {0};
    struct err why = {0};
    if (pack_read_tail(&r->c->repo->key, tail, r->size, &blobs, &why) < 0) {
        found(r, "%s", why.msg);
    } else {
        bool same = blobs.n == r->copies.n;
        for (size_t i = 0; same && i < blobs.n; i++) {
            const struct pack_blob *b = &blobs.p[i];
            const struct copy *copy = &r->copies.p[i];
            same = store_id_equal(&b->id, &copy->id) && b->type == copy->type &&
                   b->length == copy->length && b->plain == copy->plain;
        }
        if (!same)
            found(r, "its header says other things than the index");
    }
    vec_free(&blobs);
}

static int read_pack(struct pack_reader *r, uint32_t pack, struct err *err)
{
    const struct index_pack *p = index_pack(r->c->repo->index, pack);
    struct store_id is;
    r->file = (struct backend_file){BACKEND_DATA, p->id};
    r->size = p->size;
    r->base = 0;
    r->bad.n = 0;
    r->damaged = false;
    reserve_all(r);
    r->hash = sha256_new();
    uint64_t end = 0;
    int done = open_blobs(r, pack, err);
    if (r->copies.n)
        end = r->copies.p[r->copies.n - 1].offset + (uint64_t)r->copies.p[r->copies.n - 1].length;
    if (done == 0)
        done = read_on(r, end, r->size, err);
    if (done == 0)
        compare_header(r, (str){r->bytes.p + (end - r->base), (size_t)(r->size - end)});
    sha256_final(r->hash, is.b);
    if (done == 0 && !store_id_equal(&is, &p->id))
        found(r, "its content has another SHA-256 than its name");
    if (r->bytes.room > KEEP)
        buf_free(&r->bytes);
    if (r->plain.room > KEEP)
        buf_free(&r->plain);
    return done;
}

static void say(struct pack_reader *r, const struct index_pack *p)
{
    struct check *c = r->c;
    char hex[STORE_ID_HEX];
    store_id_hex(&p->id, hex);
    if (r->bad.n > 1)
        check_say(c, CHECK_DAMAGE, "pack %s: %s; %zu blobs of it cannot be read", hex, r->what,
                  r->bad.n);
    else
        check_say(c, CHECK_DAMAGE, "pack %s: %s", hex, r->what);
    pthread_mutex_lock(&c->mutex);
    *vec_add(&c->broken) = p->id;
    for (size_t i = 0; i < r->bad.n; i++)
        *vec_add(&c->bad) = r->bad.p[i];
    pthread_mutex_unlock(&c->mutex);
}

/* A pack that seems damaged is read once more: it may have been the way here. */
static int check_pack(struct data_check *d, struct pack_reader *r, uint32_t pack, struct err *err)
{
    const struct index_pack *p = index_pack(d->c->repo->index, pack);
    struct err why = {0};
    list_copies(d, r, pack);
    int done = read_pack(r, pack, &why);
    if (done == 0 && r->damaged)
        done = read_pack(r, pack, &why);
    if (done < 0 && !check_is_damage(&why)) {
        *err = why;
        return -1;
    }
    if (done < 0) {
        found(r, "%s", why.msg);
        pthread_mutex_lock(&d->c->mutex);
        bits_remove(&d->c->whole, pack);
        pthread_mutex_unlock(&d->c->mutex);
    }
    if (r->damaged)
        say(r, p);
    return 0;
}

/* ---- all ---- */

static bool take_pack(struct data_check *d, uint32_t *ret_pack)
{
    pthread_mutex_lock(&d->c->mutex);
    bool more = !d->stop && d->next < d->packs_n;
    if (more)
        *ret_pack = d->packs[d->next++];
    pthread_mutex_unlock(&d->c->mutex);
    return more;
}

static int count_pack(struct data_check *d, uint32_t pack, struct err *err)
{
    struct check *c = d->c;
    pthread_mutex_lock(&c->mutex);
    uint64_t done = ++d->done;
    c->result.packs_read++;
    c->result.bytes_read += index_pack(c->repo->index, pack)->size;
    pthread_mutex_unlock(&c->mutex);
    return check_progress(c, "packs", done, d->packs_n, err);
}

static void *data_worker(void *ctx)
{
    struct data_check *d = ctx;
    struct pack_reader r = {.c = d->c, .work = work_new()};
    struct err err;
    uint32_t pack;
    while (take_pack(d, &pack)) {
        if (check_pack(d, &r, pack, &err) == 0 && count_pack(d, pack, &err) == 0)
            continue;
        pthread_mutex_lock(&d->c->mutex);
        if (!d->stop)
            d->err = err;
        d->stop = true;
        pthread_mutex_unlock(&d->c->mutex);
    }
    work_free(r.work);
    buf_free(&r.bytes);
    buf_free(&r.piece);
    buf_free(&r.plain);
    vec_free(&r.copies);
    vec_free(&r.bad);
    return NULL;
}

static int number_cmp(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

int check_data(struct check *c, struct err *err)
{
    struct data_check d = {.c = c};
    if (c->options->read.what == CHECK_NONE)
        return 0;
    choose_packs(&d);
    sort_entries(&d);
    check_in_threads(c, data_worker, &d);
    if (c->bad.n)
        qsort(c->bad.p, c->bad.n, sizeof *c->bad.p, number_cmp);
    free(d.packs);
    free(d.entries);
    free(d.starts);
    if (d.stop)
        *err = d.err;
    return d.stop ? -1 : 0;
}
