/* From a mounted volume into the store: files, directories, symlinks, hard links, modes, owners and
 * times. Whatever else there is (sockets, devices, extended attributes, other mounts, unreadable
 * files) becomes a problem in the report, never nothing.
 *
 * Never leaves the volume: names are resolved one by one below their directory and no symlink is
 * followed. Memory: the names and the tree of each directory on the way down, one chunk, the packs
 * that are open, the repository's index. */
#ifndef MOVER_ARCHIVE_H
#define MOVER_ARCHIVE_H

#include "mover/report.h"
#include "store/repository.h"

/* A file that changes while it is read is read so often before it is stored as it was last read and
 * named. */
#define ARCHIVE_READS 4

/* Is told how far the work has come; either may be NULL. */
struct archive_probe {
    void (*before_read)(void *ctx, const char *path); /* before each read of a file's content */
    void (*after_entry)(void *ctx, const struct mover_report *report); /* as it is so far */
    void *ctx;
};

/* Archives the directory behind the descriptor `volume`. The repository's index is loaded.
 *
 * parent: the tree of an earlier backup of this volume, or NULL. A file with its size, mtime, ctime
 * and inode whose chunks are all stored is not read again. A parent that is not there costs time
 * only.
 *
 * Adds to *report: tree, root, counts, problems, list. Durable on return. < 0: no tree; *report
 * holds the problems so far. probe may be NULL. */
int archive_volume(struct repository *repo, int volume, const struct store_id *parent,
                   const struct archive_probe *probe, struct mover_report *report, struct err *err)
    must_check;

/* The same, durable only after repository_flush: for what is to be part of a greater tree. */
int archive_folder(struct repository *repo, int folder, const struct store_id *parent,
                   const struct archive_probe *probe, struct mover_report *report, struct err *err)
    must_check;

#endif
