/* A page of folders of an S3 server: whatever it says, a name is one plain path element. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "store/s3_folders.h"

static int see(void *ctx, const char *name, struct err *err)
{
    (void)ctx;
    (void)err;
    if (!*name || strchr(name, '/'))
        abort();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf next = {0};
    struct err err;
    (void)!s3_folders_page((str){(const char *)data, size}, "a/b/", see, NULL, &next, &err);
    buf_free(&next);
    return 0;
}
