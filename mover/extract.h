/* From the store into a mounted volume: the volume becomes equal to a tree. What is equal is left
 * alone (contents are compared by hash, block by block), what differs is written, what the tree
 * does not hold is removed. In the volume's own directory lost+found, .snapshot and .zfs stay as
 * they are.
 *
 * Nothing reads the volume meanwhile (the caller has stopped its pods), so files are changed in
 * place and made under their own names: there is never a second copy, and a mover that was killed
 * anywhere leaves nothing that the same call made again would not put right.
 *
 * Never leaves the volume: names are resolved one by one below their directory, no symlink is
 * followed, another mount is neither entered nor removed (a problem). */
#ifndef MOVER_EXTRACT_H
#define MOVER_EXTRACT_H

#include <stdatomic.h>

#include "mover/report.h"
#include "store/tree.h"

/* volume: a descriptor of the directory. root: mover_report.root of the backup, or NULL: the
 * volume's own directory keeps its owner, mode and time. The repository's index is loaded. Ends
 * with syncfs.
 *
 * Adds to *report: counts and problems (owners or modes that could not be set, types that are not
 * restored). < 0: the volume is not equal: a chunk that is missing or cannot be read, a full disk;
 * the message names the path. ERR_INVALID: root is not one. */
int extract_volume(struct repository *repo, int volume, const struct store_id *tree,
                   const char *root /* may be NULL */, struct mover_report *report, struct err *err)
    must_check;

enum extract_want {
    EXTRACT_SKIP,
    EXTRACT_ENTER, /* of a directory: not itself, but something in it may be wanted */
    EXTRACT_WANT
};

/* What a person wants of a tree. */
struct extract_choice {
    /* path is "/a/b"; NULL: all is wanted. */
    enum extract_want (*want)(void *ctx, const char *path, const struct node *node);
    void *ctx;
    bool remove_others; /* what the tree does not hold; only where all is wanted */
    /* Each problem; by several threads at once. May be NULL. */
    void (*problem)(void *ctx, const char *path, const char *what);
    /* What the walk has left behind, entries and bytes of files; by one thread. May be NULL. */
    void (*progress)(void *ctx, uint64_t entries, uint64_t bytes);
    /* How many owners this user may not set; NULL, or for root: these are problems. */
    atomic_ullong *unowned;
    atomic_ullong *kept_bytes; /* of the files that are counted as kept; may be NULL */
};

/* The same into a plain folder: what the tree does not hold stays, unless the choice says
 * otherwise (a directory that is not empty also where the tree has something else), and no name is
 * special. A directory that is only entered is made where something in it is wanted, with its
 * metadata. What was written is durable when the kernel has written it, as after a copy.
 *
 * What cannot be restored is a problem as well, and the rest is restored: of a file with damaged
 * chunks all others, of one with chunks that are not known nothing. < 0: the folder or the tree
 * itself cannot be read, or the store is not there any more. */
int extract_folder(struct repository *repo, int folder, const struct store_id *tree,
                   const struct extract_choice *choice, struct mover_report *report,
                   struct err *err) must_check;

#endif
