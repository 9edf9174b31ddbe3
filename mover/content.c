#include "mover/content.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "store/ahead.h"
#include "store/limits.h"

enum {
    PIECE = 1 << 20, /* read at a time */
    BLOCK = 4096     /* compared and written at a time */
};

struct content {
    struct repository *repo;
    struct ahead *ahead;
    /* A ring: what was asked for, and where it belongs. */
    const struct store_id *wanted[STORE_AHEAD_BLOBS];
    uint64_t places[STORE_AHEAD_BLOBS];
    size_t asked, taken;
    bool past_damage;
    struct err damage; /* the first of the file at hand; its kind is ERR_NONE without one */
    uint64_t end;      /* of the file at hand, as far as it is known */
    char *piece;
    struct buf blob;
    struct store_id zeros; /* the shortest chunk, of zeros: most of a sparse file */
    bool no_holes;         /* the file system cannot make them */
};

struct content *content_new(struct repository *repo, bool past_damage)
{
    struct content *c = xcalloc(1, sizeof *c);
    c->repo = repo;
    c->past_damage = past_damage;
    c->ahead = ahead_new(repo, /* bytes= */ 0);
    c->piece = xcalloc(1, PIECE);
    struct sha256_ctx *hash = sha256_new();
    for (size_t left = repository_chunking(repo)->min, n; left; left -= n)
        sha256_update(hash, c->piece, n = MIN(left, (size_t)PIECE));
    sha256_final(hash, c->zeros.b);
    return c;
}

void content_free(struct content *c)
{
    if (!c)
        return;
    ahead_free(c->ahead);
    free(c->piece);
    buf_free(&c->blob);
    free(c);
}

/* Reads up to n bytes (fewer only at the end of the file). */
static int64_t read_at(int fd, void *p, size_t n, uint64_t at, struct err *err)
{
    size_t got = 0;
    while (got < n) {
        ssize_t r = pread(fd, (char *)p + got, n - got, (off_t)(at + got));
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return err_errno(err, errno, "reading");
        if (r == 0)
            break;
        got += (size_t)r;
    }
    return (int64_t)got;
}

static int write_at(int fd, const char *p, size_t n, uint64_t at, struct err *err)
{
    while (n) {
        ssize_t r = pwrite(fd, p, n, (off_t)at);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return err_errno(err, errno, "writing");
        p += r;
        n -= (size_t)r;
        at += (uint64_t)r;
    }
    return 0;
}

/* 1: the range holds exactly the bytes of that hash. */
static int range_is(struct content *c, int fd, uint64_t at, uint64_t n, const struct store_id *id,
                    struct err *err)
{
    struct store_id have;
    struct sha256_ctx *hash = sha256_new();
    while (n) {
        size_t want = (size_t)MIN(n, (uint64_t)PIECE);
        int64_t got = read_at(fd, c->piece, want, at, err);
        if (got != (int64_t)want) {
            sha256_free(hash);
            return got < 0 ? -1 : 0;
        }
        sha256_update(hash, c->piece, want);
        at += want;
        n -= want;
    }
    sha256_final(hash, have.b);
    return store_id_equal(&have, id);
}

static bool is_zero(const char *p, size_t n)
{
    return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

/* Zeros, as a hole where that can be made: below the old end only, beyond it nothing is needed. */
static int write_zeros(struct content *c, int fd, const char *p, size_t n, uint64_t at,
                       struct err *err)
{
    if (!c->no_holes &&
        fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at, (off_t)n) == 0)
        return 0;
    if (!c->no_holes && errno != EOPNOTSUPP && errno != ENOSYS && errno != EINVAL)
        return err_errno(err, errno, "making a hole");
    c->no_holes = true;
    return write_at(fd, p, n, at, err);
}

enum block { SAME, DATA, ZEROS };

/* have: bytes of the old content in c->piece, from the piece's beginning. */
static enum block judge(const struct content *c, const char *p, size_t i, size_t len, int64_t have)
{
    if ((uint64_t)have >= i + len && memcmp(c->piece + i, p + i, len) == 0)
        return SAME;
    if (!is_zero(p + i, len))
        return DATA;
    return (uint64_t)have <= i ? SAME : ZEROS;
}

/* Writes the blocks of p that the file does not hold; neighbours in one call. */
static int write_piece(struct content *c, int fd, const char *p, size_t n, uint64_t at,
                       uint64_t *written, struct err *err)
{
    int64_t have = read_at(fd, c->piece, n, at, err);
    if (have < 0)
        return -1;
    size_t end;
    for (size_t start = 0; start < n; start = end) {
        enum block kind = judge(c, p, start, MIN((size_t)BLOCK, n - start), have);
        for (end = MIN(start + BLOCK, n); end < n; end = MIN(end + BLOCK, n))
            if (judge(c, p, end, MIN((size_t)BLOCK, n - end), have) != kind)
                break;
        if (kind == DATA)
            c->end = MAX(c->end, at + end);
        int r = kind == DATA    ? write_at(fd, p + start, end - start, at + start, err)
                : kind == ZEROS ? write_zeros(c, fd, p + start, end - start, at + start, err)
                                : 0;
        if (r < 0)
            return -1;
        *written += kind == SAME ? 0 : end - start;
    }
    return 0;
}

/* Leaves out the chunk that could not be taken, and asks again for those after it. */
static int skip_chunk(struct content *c, struct err *err)
{
    if (!c->past_damage || err->kind == ERR_CANCELLED || err_is_transient(err))
        return -1;
    if (c->damage.kind == ERR_NONE)
        c->damage = *err;
    for (size_t i = ++c->taken; i < c->asked; i++)
        if (!ahead_ask(c->ahead, c->wanted[i % STORE_AHEAD_BLOBS]))
            return err_set(err, ERR_INTERNAL, "no room for what had room before");
    return 0;
}

/* Writes the first chunk that was asked for. */
static int write_chunk(struct content *c, int fd, uint64_t *written, struct err *err)
{
    struct err why;
    if (ahead_take(c->ahead, &c->blob, &why) < 0) {
        if (skip_chunk(c, &why) == 0)
            return 0;
        *err = why;
        return -1;
    }
    uint64_t at = c->places[c->taken++ % STORE_AHEAD_BLOBS];
    for (size_t i = 0; i < c->blob.n; i += PIECE)
        if (write_piece(c, fd, c->blob.p + i, MIN((size_t)PIECE, c->blob.n - i), at + i, written,
                        err) < 0)
            return -1;
    return 0;
}

/* The range lies in a hole of the file. */
static bool range_is_hole(int fd, uint64_t at, uint64_t n)
{
    off_t data = lseek(fd, (off_t)at, SEEK_DATA);
    return data < 0 ? errno == ENXIO : (uint64_t)data >= at + n;
}

/* 1: the file holds that chunk there; zeros are not read where none can be. Beyond the end zeros
 * need no writing: the file is given its length in the end. */
static int chunk_is(struct content *c, int fd, uint64_t size, uint64_t at, uint64_t len,
                    const struct store_id *id, struct err *err)
{
    if (store_id_equal(id, &c->zeros) && (at >= size || range_is_hole(fd, at, len)))
        return 1;
    return at + len <= size ? range_is(c, fd, at, len, id, err) : 0;
}

/* Every chunk is known before the first byte is written. */
static int sum_sizes(struct content *c, const struct store_id *ids, size_t ids_n, uint64_t *ret,
                     struct err *err)
{
    uint64_t sum = 0, size;
    for (size_t i = 0; i < ids_n; i++) {
        char hex[STORE_ID_HEX];
        store_id_hex(&ids[i], hex);
        if (!repository_has_blob(c->repo, BLOB_DATA, &ids[i], &size))
            return err_set(err, ERR_NOT_FOUND, "chunk %s is not in the store's index", hex);
        if (__builtin_add_overflow(sum, size, &sum) || sum > INT64_MAX)
            return err_set(err, ERR_CORRUPT, "its chunks are longer than any file");
    }
    *ret = sum;
    return 0;
}

/* Chunks that differ are loaded by others while those before them are written here. Ranges do not
 * overlap: whether one holds its chunk does not depend on what was written to another. */
static int match_chunks(struct content *c, int fd, uint64_t size, const struct store_id *ids,
                        size_t ids_n, uint64_t *written, struct err *err)
{
    uint64_t at = 0, len = 0;
    for (size_t i = 0; i < ids_n; i++, at += len) {
        if (!repository_has_blob(c->repo, BLOB_DATA, &ids[i], &len))
            return err_set(err, ERR_NOT_FOUND, "a chunk left the store's index");
        int same = chunk_is(c, fd, size, at, len, &ids[i], err);
        if (same < 0)
            return -1;
        if (same)
            continue;
        while (!ahead_ask(c->ahead, &ids[i]))
            if (write_chunk(c, fd, written, err) < 0)
                return -1;
        c->wanted[c->asked % STORE_AHEAD_BLOBS] = &ids[i];
        c->places[c->asked++ % STORE_AHEAD_BLOBS] = at;
    }
    while (ahead_waiting(c->ahead))
        if (write_chunk(c, fd, written, err) < 0)
            return -1;
    return 0;
}

int content_match(struct content *c, int fd, uint64_t size, const struct store_id *ids,
                  size_t ids_n, uint64_t *ret_size, uint64_t *ret_written, bool *ret_changed,
                  struct err *err)
{
    uint64_t total = 0, written = 0;
    if (sum_sizes(c, ids, ids_n, &total, err) < 0)
        return -1;
    c->asked = c->taken = 0;
    c->damage.kind = ERR_NONE;
    c->end = size;
    if (match_chunks(c, fd, size, ids, ids_n, &written, err) < 0) {
        ahead_drop(c->ahead);
        return -1;
    }
    if (total != c->end && ftruncate(fd, (off_t)total) < 0)
        return err_errno(err, errno, "setting the length");
    *ret_size = total;
    *ret_written = written;
    *ret_changed = written || total != size;
    return 0;
}

const struct err *content_damage(const struct content *c)
{
    return c->damage.kind == ERR_NONE ? NULL : &c->damage;
}
