/* One page of ListObjectsV2 with delimiter "/": the folders directly below a prefix (Amazon S3 API
 * Reference). */
#ifndef STORE_S3_FOLDERS_H
#define STORE_S3_FOLDERS_H

#include "store/backend.h"

/* Calls fn for each folder of the page; `prefix` is "" or "a/b/". *next becomes the token of the
 * next page, empty after the last. Names that are no plain path element are passed over.
 * ERR_CORRUPT: not such a page, or a folder that was not asked for; else fn's. */
int s3_folders_page(str text, const char *prefix, backend_folder_fn *fn, void *ctx,
                    struct buf *next, struct err *err) must_check;

#endif
