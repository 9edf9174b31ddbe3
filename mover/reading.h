/* The bytes of one open file, as a source for stream_save_sparse. Holes are not read: the file
 * system says where they are (lseek, SEEK_DATA and SEEK_HOLE). */
#ifndef MOVER_READING_H
#define MOVER_READING_H

#include "mover/volume.h"

struct reading {
    int fd;
    uint64_t at, end;  /* what is still to be read; end: the size when the file was opened */
    uint64_t area;     /* `at` lies in a hole or in data up to here */
    bool sparse, hole; /* there are holes; `area` is one */
    int error;         /* errno of a failed read: the file's fault, not the store's */
};

/* st: of the same file. Borrows fd, whose position moves. */
void reading_start(struct reading *r, int fd, const struct volume_stat *st);

/* Fit for stream_save_sparse; ctx is the reading. */
int64_t reading_read(void *ctx, void *p, size_t n, struct err *err);
uint64_t reading_skip(void *ctx, uint64_t most);

#endif
