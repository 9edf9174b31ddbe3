/* How the worker locks itself in. */
#ifndef WORKER_SANDBOX_H
#define WORKER_SANDBOX_H

#include "core/err.h"

struct sandbox {
    bool network;  /* sockets, and reading what TLS and name resolution need */
    size_t memory; /* bytes of address space */
    unsigned cpu_seconds;
};

/* Everything that needs no library: environment, privileges, limits. */
int sandbox_limit(const struct sandbox *s, struct err *err) must_check;

/* The file system and the system calls, for good. Under a sanitizer nothing: it needs both. */
int sandbox_lock(const struct sandbox *s, struct err *err) must_check;

/* False in builds with a sanitizer. */
bool sandbox_is_whole(void);

#endif
