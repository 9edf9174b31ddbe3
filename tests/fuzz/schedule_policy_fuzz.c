/* The annotation gleaner.dev/retention, and spec.retention: what one makes the other reads. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "core/jsonscan.h"
#include "reconciler/schedule/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *a = arena_new();
    struct retention_policy p;
    str text = {(const char *)data, size}, made;
    if (schedule_policy_parse(a, text, &made, NULL) == 0) {
        if (raw_check(made, NULL) < 0 || schedule_policy_read(a, made, &p, NULL) < 0 ||
            retention_policy_is_empty(&p))
            abort();
    }
    (void)!schedule_policy_read(a, text, &p, NULL);
    arena_free(a);
    return 0;
}
