#include "cli/progress.h"

#include <stdio.h>
#include <unistd.h>

#include "core/clock.h"

enum { EVERY_MS = 100 };

static bool quiet, shown;
static int64_t last_ms;

void progress_quiet(void)
{
    quiet = true;
}

int progress_show(void *ctx, const char *what, uint64_t done, uint64_t total, struct err *err)
{
    (void)ctx, (void)err;
    int64_t now = clock_mono_ms();
    if (quiet || (now - last_ms < EVERY_MS && done != total) || !isatty(STDERR_FILENO))
        return 0;
    last_ms = now;
    shown = true;
    if (total)
        fprintf(stderr, "\r\033[K%s: %llu of %llu (%u%%)", what, (unsigned long long)done,
                (unsigned long long)total, (unsigned)(done * 100 / total));
    else
        fprintf(stderr, "\r\033[K%s: %llu", what, (unsigned long long)done);
    return 0;
}

void progress_clear(void)
{
    if (shown)
        fprintf(stderr, "\r\033[K");
    shown = false;
}
