/* Directories: restic's tree blobs. A tree's text is byte for byte what stock restic writes for the
 * same nodes, so that equal directories are stored once whoever wrote them first. */
#ifndef STORE_TREE_H
#define STORE_TREE_H

#include "store/repository.h"

#include "core/arena.h"

#include <time.h>

enum node_type {
    NODE_FILE,
    NODE_DIR,
    NODE_SYMLINK,
    NODE_DEV, /* a block device */
    NODE_CHARDEV,
    NODE_FIFO,
    NODE_SOCKET,
    NODE_OTHER, /* only read, never written: a type that we do not know */
    NODE_TYPES
};

struct node_xattr {
    str name, value;
};

/* One entry of a directory. All slices are borrowed; zero-initialised fields are left out or
 * written as restic writes their zero. */
struct node {
    str name; /* raw bytes, 1 to 255, without '/' and NUL, not "." or ".." */
    enum node_type type;
    uint32_t mode; /* Go's FileMode: node_mode_from_posix */
    struct timespec mtime, atime, ctime;
    uint32_t uid, gid;
    str user, group;
    uint64_t inode;
    uint64_t device_id; /* st_dev; leave it 0 unless links > 1: it changes with every mount */
    uint64_t size;      /* files: the bytes that content holds */
    uint64_t links;
    str link_target;                 /* symlinks: raw bytes */
    const struct node_xattr *xattrs; /* in the order of listxattr */
    size_t xattrs_n;
    uint64_t device;                /* st_rdev of devices */
    const struct store_id *content; /* files: the chunks in order */
    size_t content_n;
    bool has_subtree;
    struct store_id subtree; /* directories: any tree of the same repository */
};

/* st_mode (with S_IFMT) to Go's FileMode and back. */
uint32_t node_mode_from_posix(uint32_t st_mode);
uint32_t node_mode_to_posix(uint32_t mode);

const char *node_type_name(enum node_type type); /* "file", "dir", ... */

/* ---- writing ---- */

struct tree_writer;

struct tree_writer *tree_writer_new(void);
void tree_writer_free(struct tree_writer *w);
DEFINE_CLEANUP(struct tree_writer *, tree_writer_free)

/* Adds a node; copies what it needs. ERR_INVALID unless the names come in strictly increasing order
 * of their raw bytes, and for a name, type or subtree that no tree may hold. */
int tree_writer_add(struct tree_writer *w, const struct node *node, struct err *err) must_check;

/* The tree's text so far, closed; valid until the next call. For tests and previews. */
str tree_writer_text(struct tree_writer *w);

/* Saves the tree and empties the writer for the next one. */
int tree_writer_finish(struct tree_writer *w, struct repository *repo, struct store_id *ret_id,
                       bool *ret_known /* may be NULL */, struct err *err) must_check;

/* ---- reading ---- */

struct tree_reader;

/* Loads a tree; its text is in memory until the reader is freed. */
int tree_reader_open(struct repository *repo, const struct store_id *id,
                     struct tree_reader **ret_reader, struct err *err) must_check;

/* Reads a text in memory (borrowed). */
struct tree_reader *tree_reader_of(str text);

/* 1: *ret_node is the next node, valid until the next call; 0: the end was reached and the tree was
 * whole; < 0: ERR_CORRUPT. Names come in strictly increasing order and are safe to use as file
 * names (no '/', no NUL, not "." or ".."). */
int tree_reader_next(struct tree_reader *r, const struct node **ret_node, struct err *err)
    must_check;

/* Bytes of its text. */
size_t tree_reader_bytes(const struct tree_reader *r);

void tree_reader_free(struct tree_reader *r);
DEFINE_CLEANUP(struct tree_reader *, tree_reader_free)

/* A copy of the node in the arena. */
void node_copy(struct arena *a, const struct node *from, struct node *to);

enum tree_walk_result { TREE_WALK_ON = 0, TREE_WALK_SKIP = 1 /* do not enter this directory */ };

/* path is "/a/b", valid during the call. */
struct tree_visitor {
    /* For each node, a directory before what is in it: enum tree_walk_result, or < 0 to end. */
    int (*node)(void *ctx, const char *path, const struct node *node, struct err *err);
    /* For each directory that was entered, after what is in it; may be NULL. */
    int (*leave)(void *ctx, const char *path, const struct node *node, struct err *err);
    void *ctx;
};

/* Walks all below the tree (the root itself is not visited), in order. */
int tree_walk(struct repository *repo, const struct store_id *root,
              const struct tree_visitor *visitor, struct err *err) must_check;

/* The node at "/a/b" or "a/b" below root, copied into the arena. ERR_NOT_FOUND names the missing
 * part; ERR_INVALID for the root itself. */
int tree_find(struct repository *repo, const struct store_id *root, const char *path,
              struct arena *a, struct node *ret_node, struct err *err) must_check;

/* The tree of the directory at path; "/" or "" is the root. */
int tree_find_dir(struct repository *repo, const struct store_id *root, const char *path,
                  struct store_id *ret_tree, struct err *err) must_check;

#endif
