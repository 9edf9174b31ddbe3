#include "cli/terminal.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include "core/str.h"

/* How many bytes of a control character stand at the front of `s`: 0 if none does. C1 ones are two
 * bytes in UTF-8. */
static size_t control_length(str s)
{
    unsigned char c = (unsigned char)s.p[0], next = s.n > 1 ? (unsigned char)s.p[1] : 0;
    if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f)
        return 1;
    return c == 0xc2 && next >= 0x80 && next < 0xa0 ? 2 : 0;
}

static ssize_t write_shown(void *fd, const char *p, size_t n)
{
    struct buf out CLEANUP(buf_free) = {0};
    for (size_t i = 0; i < n;) {
        size_t control = control_length((str){p + i, n - i});
        if (control == 0)
            buf_putc(&out, p[i++]);
        for (; control > 0; control--)
            buf_printf(&out, "\\x%02x", (unsigned char)p[i++]);
    }
    for (size_t at = 0; at < out.n;) {
        ssize_t done = write((int)(intptr_t)fd, out.p + at, out.n - at);
        if (done < 0 && errno != EINTR)
            return 0;
        at += done > 0 ? (size_t)done : 0;
    }
    return (ssize_t)n;
}

static void guard(FILE **stream, int fd, int buffering)
{
    static const cookie_io_functions_t functions = {.write = write_shown};
    if (!isatty(fd))
        return;
    FILE *guarded = fopencookie((void *)(intptr_t)fd, "w", functions);
    if (!guarded)
        return;
    setvbuf(guarded, NULL, buffering, BUFSIZ);
    *stream = guarded;
}

void terminal_clear_line(void)
{
    static const char codes[] = "\r\033[K";
    ssize_t ignored = write(STDERR_FILENO, codes, sizeof codes - 1);
    (void)ignored; /* a line that stays is no harm */
}

void terminal_guard(void)
{
    guard(&stdout, STDOUT_FILENO, _IOLBF);
    guard(&stderr, STDERR_FILENO, _IONBF); /* a question has no newline */
}
