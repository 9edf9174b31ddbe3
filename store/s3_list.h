/* One page of ListObjectsV2 (Amazon S3 API Reference). */
#ifndef STORE_S3_LIST_H
#define STORE_S3_LIST_H

#include "store/backend.h"

struct s3_entry {
    struct store_id id;
    uint64_t size;
};

struct s3_entries {
    struct s3_entry *p;
    size_t n, room;
};

/* Adds the page's files of a type, objects of other names are passed over. *next becomes the token
 * of the next page, empty after the last. `prefix` is the repository's ("" or "a/b/").
 * ERR_CORRUPT: not such a page, or an object that was not asked for; ERR_TOO_LARGE: more than max.
 */
int s3_list_page(str text, const char *prefix, enum backend_type type, size_t max,
                 struct s3_entries *entries, struct buf *next, struct err *err) must_check;

/* The same of a page that holds all types: entries[type]; objects that are no file of a repository
 * are passed over. */
int s3_list_page_all(str text, const char *prefix, size_t max,
                     struct s3_entries entries[BACKEND_TYPES], struct buf *next, struct err *err)
    must_check;

/* Orders by id, leaves one of each. */
void s3_list_sort(struct s3_entries *entries);

#endif
