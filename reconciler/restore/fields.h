/* Who owns which field: giving back what we took.
 *
 * Whatever we write makes the field manager `gleaner` the owner of the fields that the write
 * changed, and takes them from whoever had them. Before a restore is done each field goes back to
 * the owner that the backup saw, so that the engine's next apply decides as if we had never been
 * there.
 *
 * Source: Kubernetes structured-merge-diff v4: fieldsV1 is a trie of "f:name", "k:{...}", "v:...",
 * "i:n"; an empty object is a field that is owned itself, "." marks one that is owned together with
 * some of its children. A write of metadata.managedFields by merge patch is taken as it stands. */
#ifndef RECONCILER_RESTORE_FIELDS_H
#define RECONCILER_RESTORE_FIELDS_H

#include "core/json.h"
#include "core/jsonscan.h"

/* The owner of last resort: an empty list of owners is never written, because Flux takes an object
 * without owners as its own and deletes what Git does not declare. It is the name that the API
 * server itself gives to a client that does not say who it is. */
#define FIELDS_NOBODY "unknown"

/* True if an entry of the list is of this manager. `managed` is the raw list; absent is empty. */
bool fields_has_manager(str managed, const char *manager);

/* The list that an object has to get after we wrote it. `live` is its list now, `saved` the list
 * that it had when it was backed up (or before we wrote). Our entries are dropped; each field in
 * them goes to the owners that `saved` names for it; everybody else keeps what they have. Where
 * nobody but us is in `live`, the object is our creation and gets `saved` as it is. The result is
 * never empty: fields that nobody claims then go to `heir` (NULL: FIELDS_NOBODY), written as an
 * Update. *ret: the raw list in the arena, absent if there is nothing to give back. ERR_INVALID. */
int fields_give_back(struct arena *a, str live, str saved, const char *heir, str *ret,
                     struct err *err) must_check;

/* True if some entry of one of these managers (ended by NULL; not of a subresource) owns the field
 * at `path` (names as in the object; ended by NULL) or anything below it. */
bool fields_owned(str managed, const char *const *managers, const char *const *path);

/* Who has written the field at `path`, or anything below it, at or after the second of `since_ms`
 * (by the clock of the API server): the name of another manager than us, as raw JSON; absent if
 * nobody has. A field that was taken away is nobody's, and so is what lies within an atomic one. */
str fields_written_since(str managed, int64_t since_ms, const char *const *path);

#endif
