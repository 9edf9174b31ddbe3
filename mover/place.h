/* Single steps on the entries of a volume that is made equal to a tree. */
#ifndef MOVER_PLACE_H
#define MOVER_PLACE_H

#include "core/map.h"
#include "mover/attributes.h"
#include "mover/content.h"
#include "mover/extract.h"
#include "mover/volume.h"
#include "store/tree.h"

/* What one thread works with. */
struct extract {
    struct repository *repo;
    struct crew *crew; /* of the thread that walks */
    struct content *content;
    struct problems problems;
    struct volume_path path;
    int volume;
    struct volume_stat root;
    char *link;                          /* the target of the symlink that was found */
    struct attributes attributes;        /* of the entry at hand */
    struct map *groups;                  /* (device_id, inode) of a node -> struct link_group */
    struct map *claimed;                 /* inode of a local file that already serves a group */
    bool removing;                       /* first pass: make room, write nothing */
    const struct extract_choice *choice; /* of a plain folder; NULL: a volume, made equal */
    uint64_t entries, bytes;             /* that the walk has left behind; for its progress */
};

/* Where the first name of a hard-linked node was placed. */
struct link_group {
    char *path;
    uint64_t inode, device;
    uint64_t left; /* names still to come */
};
void link_group_free(void *group);

/* With a choice, *why is named (not while room is made: it comes again) and 0 returned: the rest
 * may well be restored. < 0 without one, or if the store is not there. */
int place_failed(struct extract *x, const struct err *why, struct err *err) must_check;

/* Removes an entry with all below it, or, by a choice that keeps what is not in the tree, if
 * nothing is below it. 0; 1: a mount stands in it, which is left and named. */
int place_remove(struct extract *x, int dir, const char *name, struct err *err) must_check;

/* Anything but a directory: its content, links, attributes, owner, mode and time. */
int place_leaf(struct extract *x, int dir, const char *name, const struct node *node,
               struct err *err) must_check;

/* Makes sure that name is a directory; *ret_fd is open, or -1 where a mount stands there (named).
 */
int place_dir(struct extract *x, int dir, const char *name, int *ret_fd, struct err *err)
    must_check;

/* Sets what differs of owner, attributes, times and mode, of an entry that stands there. What
 * cannot be set is a problem. */
void place_metadata(struct extract *x, int dir, const char *name, const struct node *node);

#endif
