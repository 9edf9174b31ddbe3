/* Whose repository it is: every key file that gleaner makes carries the uid of its cluster
 * (kube-system's) as its clear host name, and a key of restic's own that of a machine. */
#ifndef RECONCILER_STORE_OWNER_H
#define RECONCILER_STORE_OWNER_H

#include "store/backend.h"

/* Writes the uid into ret (terminated, cut to `room`): `own` if any key file carries it (so
 * `restic key add --host UID` hands a repository over), else the first other uid; "" if there is no
 * repository or none of its key files names a cluster. */
int store_owner_read(struct backend *b, const char *own, char *ret, size_t room, struct err *err)
    must_check;

/* The same of a repository whose key files were listed: these. */
int store_owner_of_keys(struct backend *b, const struct store_ids *keys, const char *own, char *ret,
                        size_t room, struct err *err) must_check;

/* The host name in a key file's text; "" if there is none that is a uid. */
void store_owner_of(str text, char *ret, size_t room);

/* 8-4-4-4-12 hexadecimal digits. */
bool store_owner_is_uid(const char *text);

#endif
