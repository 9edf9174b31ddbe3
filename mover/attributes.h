/* Extended attributes of the entries of a volume, POSIX ACLs and file capabilities among them: read
 * for a tree, and made equal to one. Entries are named by a directory's descriptor and a name below
 * it ("." for the directory itself); symlinks are never followed. Needs /proc. */
#ifndef MOVER_ATTRIBUTES_H
#define MOVER_ATTRIBUTES_H

#include "mover/volume.h"
#include "store/tree.h"

/* Those of one entry; reused for many, one after the other. Zero-initialised. */
struct attributes {
    struct buf names, values;
    char *raw;                   /* room for one call */
    VEC(struct node_xattr) list; /* in listxattr's order; slices of names and values */
    bool nfs4;                   /* an NFSv4 ACL stands there, which is not in the list */
    /* What is not in the list though it should be: */
    int error;        /* errno of the listing or of the first value, 0 */
    char failed[256]; /* the attribute's name, "" if the list itself could not be read */
};

/* Reads them all. A file system without attributes has none. Failures are in a->error, and the rest
 * is in the list. EILSEQ: a name that is not UTF-8, which no tree can hold. */
void attributes_read(struct attributes *a, int dir, const char *name);
void attributes_free(struct attributes *a);

/* Names whatever attributes_read could not read. */
void attributes_report(const struct attributes *a, struct problems *problems, const char *path);

/* Sets, changes and removes until the entry has exactly those of the node; what cannot be done is
 * a problem. Changed owners lose capabilities: owners first. True: something was changed, the mode
 * perhaps with it. now: working memory. */
bool attributes_match(struct attributes *now, int dir, const char *name, const struct node *node,
                      struct problems *problems, const char *path);

#endif
