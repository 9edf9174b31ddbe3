/* Child processes with a deadline: bytes in, bytes out, nothing of ours inherited. */
#ifndef CORE_PROC_H
#define CORE_PROC_H

#include "core/err.h"
#include "core/str.h"

struct proc_request {
    const char *const *argv; /* argv[0] is the path of the program; ended by NULL */
    const char *const *env;  /* the whole environment, ended by NULL; NULL: empty */
    str input;               /* to its stdin, then end of file */
    size_t output_cap;       /* more than this on stdout is an error (0: 16 MiB) */
    unsigned timeout_ms;     /* then SIGKILL to its process group (0: 60 000) */
};

struct proc_result {
    int exit_code;     /* 128 + n if it died of signal n */
    struct buf output; /* stdout; free with buf_free */
    struct buf errors; /* the first 4 KiB of stderr; free with buf_free */
};

/* Runs a program to its end. All descriptors but 0, 1, 2 are closed in it and it dies with us.
 * A program that ran is success, whatever its exit code. ERR_TIMEOUT, ERR_TOO_LARGE, ERR_IO. */
int proc_run(const struct proc_request *req, struct proc_result *ret, struct err *err) must_check;

void proc_result_free(struct proc_result *r);

#endif
