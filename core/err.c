#include "core/err.h"
#include "core/str.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void printf_like(3, 0) fill(struct err *err, enum err_kind kind, const char *fmt, va_list ap)
{
    err->kind = kind;
    err->http = 0;
    err->retry_ms = 0;
    vsnprintf(err->msg, sizeof err->msg, fmt, ap);
    for (char *c = err->msg; *c; c++)
        if (*c == '\n' || *c == '\r')
            *c = ' ';
    text_mend(err->msg);
}

int err_set(struct err *err, enum err_kind kind, const char *fmt, ...)
{
    if (!err)
        return -1;
    va_list ap;
    va_start(ap, fmt);
    fill(err, kind, fmt, ap);
    va_end(ap);
    return -1;
}

static enum err_kind kind_of_errno(int errnum)
{
    switch (errnum) {
    case ENOENT:
        return ERR_NOT_FOUND;
    case EEXIST:
        return ERR_EXISTS;
    case EACCES:
    case EPERM:
    case EROFS:
        return ERR_FORBIDDEN;
    case ETIMEDOUT:
        return ERR_TIMEOUT;
    case ECONNREFUSED:
    case EHOSTUNREACH:
    case ENETUNREACH:
        return ERR_UNAVAILABLE;
    case EINVAL:
        return ERR_INVALID;
    default:
        return ERR_IO;
    }
}

int err_errno(struct err *err, int errnum, const char *fmt, ...)
{
    if (!err)
        return -1;
    va_list ap;
    va_start(ap, fmt);
    fill(err, kind_of_errno(errnum), fmt, ap);
    va_end(ap);
    size_t n = strlen(err->msg);
    char text[128];
    snprintf(err->msg + n, sizeof err->msg - n, ": %s", strerror_r(errnum, text, sizeof text));
    text_mend(err->msg);
    return -1;
}

int err_wrap(struct err *err, const char *fmt, ...)
{
    if (!err)
        return -1;
    char inner[sizeof err->msg];
    memcpy(inner, err->msg, sizeof inner);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(err->msg, sizeof err->msg, fmt, ap);
    va_end(ap);
    size_t n = strlen(err->msg);
    snprintf(err->msg + n, sizeof err->msg - n, ": %s", inner);
    text_mend(err->msg);
    return -1;
}

const char *err_kind_name(enum err_kind kind)
{
    static const char *const names[] = {
#define X(name, text) [ERR_##name] = text,
        ERR_KINDS(X)
#undef X
    };
    return (unsigned)kind < ERR_KIND_MAX ? names[kind] : "unknown";
}

bool err_is_transient(const struct err *err)
{
    return err->kind == ERR_CONFLICT || err->kind == ERR_GONE || err->kind == ERR_BUSY ||
           err->kind == ERR_TIMEOUT || err->kind == ERR_UNAVAILABLE;
}
