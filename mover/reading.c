#include "mover/reading.h"

#include <errno.h>
#include <unistd.h>

enum { STAT_BLOCK = 512 };

void reading_start(struct reading *r, int fd, const struct volume_stat *st)
{
    *r = (struct reading){.fd = fd, .end = st->size, .area = st->size};
    if (st->blocks < st->size / STAT_BLOCK) {
        r->sparse = true;
        r->area = 0;
    }
}

/* How far the hole at `at` goes that no data follows: a file may have become shorter meanwhile. */
static uint64_t last_hole(const struct reading *r)
{
    struct volume_stat now;
    return volume_stat(r->fd, "", &now) == 0 ? MAX(MIN(r->end, now.size), r->at) : r->at;
}

/* Looks what stands at `at`. A file system that does not know its holes has none. */
static void look(struct reading *r)
{
    off_t data = lseek(r->fd, (off_t)r->at, SEEK_DATA);
    r->hole = data < 0 ? errno == ENXIO : (uint64_t)data > r->at;
    if (r->hole) {
        r->area = data < 0 ? last_hole(r) : MIN((uint64_t)data, r->end);
        r->hole = r->area > r->at;
        if (r->hole)
            return;
    }
    off_t hole = lseek(r->fd, (off_t)r->at, SEEK_HOLE);
    r->area = hole > (off_t)r->at ? MIN((uint64_t)hole, r->end) : r->end;
}

static bool in_hole(struct reading *r)
{
    if (r->sparse && r->at >= r->area && r->at < r->end)
        look(r);
    return r->hole && r->at < r->area;
}

uint64_t reading_skip(void *ctx, uint64_t most)
{
    struct reading *r = ctx;
    if (!in_hole(r))
        return 0;
    uint64_t n = MIN(most, r->area - r->at);
    r->at += n;
    return n;
}

int64_t reading_read(void *ctx, void *p, size_t n, struct err *err)
{
    struct reading *r = ctx;
    if (r->at >= r->end)
        return 0;
    if (in_hole(r)) {
        n = (size_t)reading_skip(r, n);
        memset(p, 0, n);
        return (int64_t)n;
    }
    ssize_t got;
    do
        got = pread(r->fd, p, MIN(n, r->area - r->at), (off_t)r->at);
    while (got < 0 && errno == EINTR);
    if (got < 0) {
        r->error = errno;
        return err_errno(err, errno, "reading");
    }
    r->at += (uint64_t)got;
    return got;
}
