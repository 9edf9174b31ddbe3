#include "core/log.h"

#include <stdarg.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/jsonscan.h"

static enum log_level least_level = LOG_INFO;
static const char *log_mode = "gleaner";

void log_setup(enum log_level least, const char *mode)
{
    least_level = least;
    log_mode = mode;
}

static void add_pair(struct buf *b, const char *key, const char *value)
{
    buf_putc(b, ',');
    raw_add_string(b, str_of(key));
    buf_putc(b, ':');
    raw_add_string(b, str_of(value));
}

void log_line(enum log_level level, const char *msg, ...)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    if (level < least_level)
        return;
    char now[CLOCK_RFC3339];
    clock_format(clock_wall_ms(), now);
    struct buf b CLEANUP(buf_free) = {.cap = 64 << 10};
    buf_printf(&b, "{\"ts\":\"%s\",\"level\":\"%s\",\"mode\":\"%s\",\"msg\":", now, names[level],
               log_mode);
    raw_add_string(&b, str_of(msg));
    va_list ap;
    va_start(ap, msg);
    for (const char *key; (key = va_arg(ap, const char *));) {
        const char *value = va_arg(ap, const char *);
        if (value)
            add_pair(&b, key, value);
    }
    va_end(ap);
    if (b.overflow)
        return;
    buf_puts(&b, "}\n");
    (void)!write(STDERR_FILENO, b.p, b.n); /* one write: lines of threads do not mix */
}

void log_err(const char *msg, const struct err *err, const char *key, const char *value)
{
    log_line(LOG_ERROR, msg, "kind", err_kind_name(err->kind), "error", err->msg, key, value, NULL);
}
