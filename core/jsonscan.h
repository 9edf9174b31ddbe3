/* A scanner that cuts values out of JSON text without building a tree. It is how objects keep the
 * bytes that the API server sent: slices of the text are found by path, compared, copied, replaced;
 * numbers and strings are never re-written.
 *
 * Functions are called raw_...: they work on raw text (json_... is jansson, see core/json.h).
 *
 * It accepts RFC 8259 text up to JSON_DEPTH levels. What it returns are slices of the input: a
 * string value with its quotes, an object with its braces. */
#ifndef CORE_JSONSCAN_H
#define CORE_JSONSCAN_H

#include "core/arena.h"
#include "core/err.h"

enum { JSON_DEPTH = 256 };

/* The value that starts at text (after white space): the slice of it, or absent if the text is not
 * JSON there. *ret_rest, if given, is what follows. */
str raw_value(str text, str *ret_rest /* may be NULL */);

/* Checks that text is exactly one JSON value. ERR_INVALID with the offset. */
int raw_check(str text, struct err *err) must_check;

/* Walks the members of an object or the items of an array:
 *     struct raw_iter it = raw_iter(object);
 *     while (raw_next(&it, &key, &value)) ...        (key: raw, with quotes; absent in an array)
 * Stops early, with it.bad set, where the text is broken. Anything but an object or array is empty.
 */
struct raw_iter {
    str rest;
    bool object, bad, started;
};

struct raw_iter raw_iter(str container);
bool raw_next(struct raw_iter *it, str *ret_key, str *ret_value);

/* The member of an object by its (unescaped) name; absent if there is none. The last of duplicates
 * wins, as in the API server. */
str raw_get(str object, const char *name);

/* raw_at(text, "metadata", "labels", NULL): raw_get along a path. */
str raw_at(str object, ...) __attribute__((sentinel));

/* True if the raw value is a string equal to s (escapes are decoded). */
bool raw_is(str value, const char *s);

/* The decoded bytes of a raw string value, in the arena and terminated; absent if value is not a
 * string. \u0000 is decoded to a NUL byte. */
str raw_string(struct arena *a, str value);

/* raw_text(a, object, "metadata", "name", NULL): the string at a path as a C string, or NULL. */
char *raw_text(struct arena *a, str object, ...) __attribute__((sentinel));

/* The integer at value; false if it is not an integer that fits. */
bool raw_int(str value, int64_t *ret);

static inline bool raw_true(str value)
{
    return str_is(value, "true");
}

/* Appends s as a JSON string with quotes. Invalid UTF-8 becomes U+FFFD. */
void raw_add_string(struct buf *b, str s);

#endif
