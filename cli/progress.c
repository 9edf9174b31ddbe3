#include "cli/progress.h"
#include "cli/terminal.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "core/clock.h"

enum { EVERY_MS = 100 };

static bool quiet, shown;
static int64_t last_ms;
static volatile sig_atomic_t interrupted;

static void note_signal(int number)
{
    (void)number;
    interrupted = 1;
}

void progress_end_by_signal(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        struct sigaction action = {.sa_handler = note_signal, .sa_flags = (int)SA_RESETHAND}, is;
        if (sigaction(numbers[i], NULL, &is) == 0 && is.sa_handler != SIG_IGN)
            sigaction(numbers[i], &action, NULL);
    }
}

void progress_quiet(void)
{
    quiet = true;
}

int progress_show(void *ctx, const char *what, uint64_t done, uint64_t total, struct err *err)
{
    (void)ctx;
    if (interrupted)
        return err_set(err, ERR_CANCELLED, "interrupted; what was done so far is whole");
    int64_t now = clock_mono_ms();
    if (quiet || (now - last_ms < EVERY_MS && done != total) || !isatty(STDERR_FILENO))
        return 0;
    last_ms = now;
    shown = true;
    terminal_clear_line();
    if (total)
        fprintf(stderr, "%s: %llu of %llu (%u%%)", what, (unsigned long long)done,
                (unsigned long long)total, (unsigned)(done * 100 / total));
    else
        fprintf(stderr, "%s: %llu", what, (unsigned long long)done);
    return 0;
}

void progress_clear(void)
{
    if (shown)
        terminal_clear_line();
    shown = false;
}
