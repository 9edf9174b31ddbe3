#include "store/stream.h"

#include "store/ahead.h"
#include "store/bytes.h"
#include "store/chunker.h"

#include <stdlib.h>

enum { READ_AHEAD = 256 << 10 };

struct stream_saver {
    struct repository *repo;
    struct chunker chunker;
    struct buf bytes;
    bool zeros_saved;
    struct store_id zeros; /* the shortest chunk, of zeros */
};

struct stream_saver *stream_saver_new(struct repository *repo)
{
    struct stream_saver *s = xcalloc(1, sizeof *s);
    s->repo = repo;
    const struct store_chunking *c = repository_chunking(repo);
    chunker_init(&s->chunker, repository_polynomial(repo));
    chunker_set_sizes(&s->chunker, c->min, c->size, c->max);
    return s;
}

void stream_saver_free(struct stream_saver *s)
{
    if (!s)
        return;
    buf_free(&s->bytes);
    free(s);
}

static void count_chunk(size_t n, bool known, struct stream_result *result)
{
    result->size += n;
    result->chunks++;
    result->new_bytes += known ? 0 : n;
    result->new_chunks += !known;
}

static int save_chunk(struct stream_saver *s, const void *p, size_t n, struct store_ids *ids,
                      struct stream_result *result, struct err *err)
{
    struct store_id id;
    bool known;
    if (repository_save_blob(s->repo, BLOB_DATA, p, n, &id, &known, err) < 0)
        return -1;
    *vec_add(ids) = id;
    count_chunk(n, known, result);
    return 0;
}

/* Reads until a chunk can be cut or the file has ended: the length of the chunk, 0 at the end. */
static int64_t next_chunk(struct stream_saver *s, stream_read_fn *read, void *ctx, bool *whole,
                          struct err *err)
{
    size_t at = 0;
    for (;;) {
        size_t n = chunker_cut(&s->chunker, (const uint8_t *)s->bytes.p, s->bytes.n, *whole, &at);
        if (n || *whole)
            return (int64_t)n;
        size_t want = s->bytes.n < s->chunker.min ? s->chunker.min : READ_AHEAD;
        int64_t got = read(ctx, bytes_room(&s->bytes, want), want, err);
        if (got < 0)
            return -1;
        *whole = got == 0;
        bytes_grow(&s->bytes, (size_t)got);
    }
}

static bool all_zero(const char *p, size_t n)
{
    return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

/* Where a chunk begins with zeros and a hole goes on with them: the fingerprint of 64 zeros is 0,
 * so that it ends as soon as it may. 1: it was saved; 0: bytes must be read to tell. */
static int skip_chunk(struct stream_saver *s, stream_skip_fn *skip, void *ctx,
                      struct store_ids *ids, struct stream_result *result, struct err *err)
{
    if (!skip || s->bytes.n >= s->chunker.min || !all_zero(s->bytes.p, s->bytes.n))
        return 0;
    size_t want = s->chunker.min - s->bytes.n, got = (size_t)skip(ctx, want);
    if (got < want || !s->zeros_saved) {
        memset(bytes_room(&s->bytes, got), 0, got);
        bytes_grow(&s->bytes, got);
        if (got < want)
            return 0;
        if (save_chunk(s, s->bytes.p, s->bytes.n, ids, result, err) < 0)
            return -1;
        s->zeros = ids->p[ids->n - 1];
        s->zeros_saved = true;
    } else {
        *vec_add(ids) = s->zeros;
        count_chunk(s->chunker.min, /* known= */ true, result);
    }
    buf_reset(&s->bytes);
    return 1;
}

int stream_save_sparse(struct stream_saver *s, stream_read_fn *read, stream_skip_fn *skip,
                       void *ctx, struct store_ids *ids, struct stream_result *ret_result,
                       struct err *err)
{
    struct stream_result result = {0};
    bool whole = false;
    int64_t n;
    buf_reset(&s->bytes);
    for (;;) {
        int skipped = skip_chunk(s, skip, ctx, ids, &result, err);
        if (skipped < 0)
            return -1;
        if (skipped)
            continue;
        n = next_chunk(s, read, ctx, &whole, err);
        if (n <= 0)
            break;
        if (save_chunk(s, s->bytes.p, (size_t)n, ids, &result, err) < 0)
            return -1;
        s->bytes.n -= (size_t)n;
        memmove(s->bytes.p, s->bytes.p + n, s->bytes.n);
    }
    if (n < 0)
        return -1;
    if (ret_result)
        *ret_result = result;
    return 0;
}

int stream_save(struct stream_saver *s, stream_read_fn *read, void *ctx, struct store_ids *ids,
                struct stream_result *ret_result, struct err *err)
{
    return stream_save_sparse(s, read, /* skip= */ NULL, ctx, ids, ret_result, err);
}

int stream_save_bytes(struct stream_saver *s, const void *p, size_t n, struct store_ids *ids,
                      struct err *err)
{
    struct stream_result result = {0};
    const uint8_t *from = p;
    while (n) {
        size_t at = 0, cut = chunker_cut(&s->chunker, from, n, true, &at);
        if (save_chunk(s, from, cut, ids, &result, err) < 0)
            return -1;
        from += cut, n -= cut;
    }
    return 0;
}

int stream_load(struct repository *repo, const struct store_id *ids, size_t ids_n,
                stream_write_fn *write, void *ctx, struct err *err)
{
    struct ahead *ahead CLEANUP(ahead_free_p) = ahead_new(repo, /* bytes= */ 0);
    struct buf bytes CLEANUP(buf_free) = {0};
    size_t asked = 0;
    for (size_t i = 0; i < ids_n; i++) {
        while (asked < ids_n && ahead_ask(ahead, &ids[asked]))
            asked++;
        if (ahead_take(ahead, &bytes, err) < 0 || write(ctx, bytes.p, bytes.n, err) < 0)
            return -1;
    }
    return 0;
}
