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
    unsigned char before;
};

static void show(struct buf *out, unsigned char c)
{
    buf_printf(out, "\\x%02x", c);
}

/* How many bytes follow one that begins a character (RFC 3629, 4). */
static unsigned follow(unsigned char c)
{
    if (c < 0xc2 || c > 0xf4)
        return 0;
    return c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
}

static bool follows(const struct shown *s, unsigned char c)
{
    unsigned least = s->before == 0xe0 ? 0xa0 : s->before == 0xf0 ? 0x90 : 0x80;
    unsigned most = s->before == 0xf4 ? 0x8f : 0xbf;
    return s->rest > 0 && c >= least && c <= most;
}

static void add_byte(struct shown *s, unsigned char c, struct buf *out)
{
    bool in = follows(s, c), after_c2 = s->before == 0xc2, c1 = c >= 0x80 && c < 0xa0;
    if (after_c2 && in && c1)
        show(out, 0xc2);
    else if (after_c2)
        buf_putc(out, (char)0xc2);
    bool hidden = c1 && (after_c2 || !in);
    s->rest = in ? s->rest - 1 : follow(c);
    s->before = c;
    if (c == 0xc2)
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
