/* A hash map from byte strings to pointers. Keys are copied; values are borrowed unless the map was
 * made with a function that frees them. Iteration is in order of insertion. Not thread-safe. */
#ifndef CORE_MAP_H
#define CORE_MAP_H

#include "core/str.h"

struct map;

struct map *map_new(void (*free_value)(void *value) /* may be NULL */);
void map_free(struct map *m);
DEFINE_CLEANUP(struct map *, map_free)

void *map_get(const struct map *m, str key);       /* NULL if absent */
void map_put(struct map *m, str key, void *value); /* replaces (and frees) an earlier value */
bool map_del(struct map *m, str key);              /* frees the value; false if absent */
size_t map_count(const struct map *m);

/* size_t at = 0; while (map_each(m, &at, &key, &value)) ...   (no changes meanwhile) */
bool map_each(const struct map *m, size_t *at, str *ret_key, void **ret_value);

#endif
