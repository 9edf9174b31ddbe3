#include "cli/terminal.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "core/str.h"

/* A stream as UTF-8: how much of a character is still to come. C1 controls are two bytes of it, of
 * which the first is held back until the second is known. */
struct shown {
    int fd;
    unsigned rest;
    bool c2;
};

static void show(struct buf *out, unsigned char c)
{
    buf_printf(out, "\\x%02x", c);
}

static void add_byte(struct shown *s, unsigned char c, struct buf *out)
{
    bool follows = s->rest > 0 && c >= 0x80 && c < 0xc0, c1 = c >= 0x80 && c < 0xa0;
    if (s->c2 && follows && c1)
        show(out, 0xc2);
    else if (s->c2)
        buf_putc(out, (char)0xc2);
    bool hidden = c1 && (s->c2 || !follows);
    s->c2 = c == 0xc2;
    s->rest = follows ? s->rest - 1 : c < 0xc0 ? 0 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
    if (s->c2)
        return;
    if (hidden || (c < 0x20 && c != '\n' && c != '\t') || c == 0x7f)
        show(out, c);
    else
        buf_putc(out, (char)c);
}

static ssize_t write_shown(void *cookie, const char *p, size_t n)
{
    struct shown *s = cookie;
    struct buf out CLEANUP(buf_free) = {0};
    for (size_t i = 0; i < n; i++)
        add_byte(s, (unsigned char)p[i], &out);
    for (size_t at = 0; at < out.n;) {
        ssize_t done = write(s->fd, out.p + at, out.n - at);
        if (done < 0 && errno != EINTR)
            return 0;
        at += done > 0 ? (size_t)done : 0;
    }
    return (ssize_t)n;
}

static void guard(FILE **stream, struct shown *s, int buffering)
{
    static const cookie_io_functions_t functions = {.write = write_shown};
    if (!isatty(s->fd))
        return;
    FILE *guarded = fopencookie(s, "w", functions);
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
    static struct shown out = {.fd = STDOUT_FILENO}, err = {.fd = STDERR_FILENO};
    guard(&stdout, &out, _IOLBF);
    guard(&stderr, &err, _IONBF); /* a question has no newline */
}
