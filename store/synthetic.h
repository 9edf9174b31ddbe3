/* Trees of files that lie on no disk: Kubernetes objects, manifests, reports. Their metadata is a
 * pure function of what the caller gives (if nothing else is said: owner 0:0, files 0600,
 * directories 0700, no inode, no device), so that an unchanged cluster is the same tree. */
#ifndef STORE_SYNTHETIC_H
#define STORE_SYNTHETIC_H

#include "store/tree.h"

struct synthetic;

/* Directories carry dir_time (seconds since the epoch): a constant where trees are to be equal.
 * Borrows the repository. One thread at a time. */
struct synthetic *synthetic_new(struct repository *repo, int64_t dir_time);
void synthetic_free(struct synthetic *s);
DEFINE_CLEANUP(struct synthetic *, synthetic_free)

/* Adds a file at "/a/b/c" (directories are made); its bytes are saved at once and not kept. Any
 * order. ERR_INVALID for an empty, "." or ".." element; ERR_EXISTS for a path that is taken. */
int synthetic_add(struct synthetic *s, const char *path, const void *p, size_t n, int64_t mtime,
                  struct err *err) must_check;

/* A directory, which may be there already and may stay empty. like: its mode, owner, times, inode
 * and attributes, copied; NULL: as those that are made. */
int synthetic_add_dir(struct synthetic *s, const char *path, const struct node *like,
                      struct err *err) must_check;

/* A directory at path, like `like` too, whose content is an existing tree of this repository
 * (ERR_NOT_FOUND if the index does not know it). Nothing can be added below it. */
int synthetic_graft(struct synthetic *s, const char *path, const struct store_id *tree,
                    const struct node *like, struct err *err) must_check;

/* Saves all trees, deepest first; the root's id. The object is spent. */
int synthetic_finish(struct synthetic *s, struct store_id *ret_tree, struct err *err) must_check;

#endif
