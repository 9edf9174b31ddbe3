/* A termination message: written where a tenant rules. */
#include <stdlib.h>

#include "mover/report.h"
#include "mover/root.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    str text = {(const char *)data, size};
    struct mover_report r, again;
    struct node root;
    struct err err;
    struct buf out CLEANUP(buf_free) = {0};
    if (mover_report_decode(text, &r, &err) < 0)
        return 0;
    struct arena *a = arena_new();
    char line[MOVER_ROOT_MAX], line2[MOVER_ROOT_MAX];
    struct node back;
    if (root_parse(r.root, a, &root) && root_format(&root, line) &&
        (!root_parse(line, a, &back) || !root_format(&back, line2) || !streq(line, line2)))
        abort();
    arena_free(a);
    mover_report_encode(&r, &out);
    if (out.n > MOVER_REPORT_MAX || mover_report_decode(buf_view(&out), &again, &err) < 0 ||
        again.problems != r.problems || again.files != r.files)
        abort();
    return 0;
}
