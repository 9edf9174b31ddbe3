/* The little of jansson that we use: for what we build (request bodies, statuses) and for small
 * documents that are decided on. Cluster objects stay raw bytes: core/jsonscan.h. This is the only
 * place that parses text with jansson. */
#ifndef CORE_JSON_H
#define CORE_JSON_H

#include <jansson.h>

#include "core/err.h"
#include "core/str.h"

static inline void json_decref_p(json_t **j)
{
    json_decref(*j);
}
#define CLEANUP_JSON CLEANUP(json_decref_p)

/* Parses one value; duplicates of a key are refused. A new reference. ERR_INVALID. */
int json_parse(str text, json_t **ret, struct err *err) must_check;

/* Appends the compact text of j. */
void json_print(struct buf *out, const json_t *j);

/* The string, or the value, at a path of object members; NULL if absent or of another type.
 * Borrowed. */
const char *json_text_at(const json_t *j, ...) __attribute__((sentinel));
json_t *json_value_at(const json_t *j, ...) __attribute__((sentinel));

#endif
