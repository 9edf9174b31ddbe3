/* Changing the tags of snapshots: each is written anew under a new id, then its old file goes. */
#ifndef STORE_TAG_H
#define STORE_TAG_H

#include "store/snapshot.h"

/* Lists of single tags. Set replaces all others (set_n with none but "" leaves no tag). */
struct tag_change {
    const char *const *set, *const *add, *const *remove;
    size_t set_n, add_n, remove_n;
};

/* 1: *ret_id is the snapshot's new id; 0: its tags were so already. The new one keeps the id of the
 * first in `original`, as restic does. The index is loaded, and the caller holds an exclusive lock
 * that before_snapshot confirms. Killed in between it leaves the snapshot under both ids. */
int snapshot_change_tags(struct repository *repo, const struct snapshot *snapshot,
                         const struct tag_change *change, struct store_id *ret_id, struct err *err)
    must_check;

#endif
