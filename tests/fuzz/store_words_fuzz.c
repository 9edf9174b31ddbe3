/* What people and servers write in one line: URLs of buckets, paths of repositories, times, and
 * restic's words for policies and subsets. */
#include "store/check.h"
#include "store/gojson.h"
#include "store/layout.h"
#include "store/retention.h"
#include "store/s3_place.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_place(str text)
{
    char *url CLEANUP(free_p) = str_dup(text);
    char *endpoint CLEANUP(free_p) = NULL, *bucket CLEANUP(free_p) = NULL;
    char *prefix CLEANUP(free_p) = NULL;
    struct err err;
    if (url && s3_place_parse(url, &endpoint, &bucket, &prefix, &err) == 0 &&
        !(endpoint && bucket && *bucket))
        abort();
}

/* A path that is accepted is exactly the one that is made of its two parts. */
static void fuzz_repository(str text)
{
    str cluster, namespace;
    struct buf again CLEANUP(buf_free) = {0};
    struct err err;
    if (!layout_parse_repository(text, &cluster, &namespace))
        return;
    char *c CLEANUP(free_p) = str_dup(cluster), *n CLEANUP(free_p) = str_dup(namespace);
    if (layout_repository(&again, c, n, &err) < 0 || !str_eq(buf_view(&again), text))
        abort();
}

/* A time that is accepted is written and accepted again as the same, within the years that can be
 * written. */
static void fuzz_time(str text)
{
    enum { YEAR_1 = 86400 * 366 };
    struct timespec t, again;
    struct buf out CLEANUP(buf_free) = {0};
    if (!gojson_parse_time(text, &t) || t.tv_sec < -62167219200 + YEAR_1 ||
        t.tv_sec > 253402300799 - YEAR_1)
        return;
    gojson_time(&out, t);
    str quoted = {out.p + 1, out.n - 2};
    if (!gojson_parse_time(quoted, &again) || again.tv_sec != t.tv_sec ||
        again.tv_nsec != t.tv_nsec)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    str text = {(const char *)data, size};
    struct check_subset subset;
    struct retention_span span;
    struct err err;
    int count;
    if (check_parse_subset(text, &subset, &err) == 0 && subset.what == CHECK_PART &&
        (subset.n < 1 || subset.n > subset.t))
        abort();
    if (retention_parse_count(text, &count, &err) == 0 && count < RETENTION_ALL)
        abort();
    if (retention_parse_span(text, &span, &err) == 0 &&
        (span.years < 0 || span.months < 0 || span.days < 0 || span.hours < 0))
        abort();
    fuzz_place(text);
    fuzz_repository(text);
    fuzz_time(text);
    return 0;
}
