/* Edits of a JSON object by path that copy every other byte as it stands. A restore changes what it
 * must (metadata.uid, ownerReferences, ...) and nothing else: numbers keep their spelling, members
 * their order.
 *
 * Paths are C strings ended by NULL: JSON_PATH("metadata", "ownerReferences"). Members of objects
 * only; an array is replaced as a whole. */
#ifndef CORE_JSONEDIT_H
#define CORE_JSONEDIT_H

#include "core/jsonscan.h"

#define JSON_PATH(...) ((const char *const[]){__VA_ARGS__, NULL})

/* Each gives the edited text in the arena (terminated). ERR_INVALID: the text is not an object, or
 * something on the path is not one. */

/* Sets the member to a raw JSON value: replaced where it stands, else added at the end of its
 * object; missing objects on the path are made. */
int raw_set(struct arena *a, str text, const char *const *path, str value, str *ret,
            struct err *err) must_check;

/* Removes the member; the text is unchanged where it is absent. */
int raw_remove(struct arena *a, str text, const char *const *path, str *ret, struct err *err)
    must_check;

#endif
