/* The volume's own directory, which no tree holds, in one line: mover_report.root.
 *
 *     0755:0:0:1700000000.000000000 <base64 of a name>,<base64 of its value> ...
 *     mode, uid, gid, mtime; then its extended attributes. */
#ifndef MOVER_ROOT_H
#define MOVER_ROOT_H

#include "mover/report.h"
#include "store/tree.h"

/* Of mode, owner, mtime and xattrs of the node. False: the attributes are too long, *out is "". */
bool root_format(const struct node *dir, char out[MOVER_ROOT_MAX]);

/* Back, with attributes in the arena. False: it is no such line. */
bool root_parse(const char *text, struct arena *a, struct node *ret_dir);

#endif
