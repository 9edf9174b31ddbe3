#include "core/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/clock.h"

enum { ERRORS_CAP = 4 << 10 };

struct pipes {
    int in[2], out[2], err[2];
};

static void close_pipes(struct pipes *p)
{
    int *all[] = {p->in, p->out, p->err};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        close_p(&all[i][0]);
        close_p(&all[i][1]);
    }
}

static void drop(int *fd)
{
    close(*fd);
    *fd = -1;
}

static int open_pipes(struct pipes *p, struct err *err)
{
    *p = (struct pipes){{-1, -1}, {-1, -1}, {-1, -1}};
    if (pipe2(p->in, O_CLOEXEC) < 0 || pipe2(p->out, O_CLOEXEC) < 0 ||
        pipe2(p->err, O_CLOEXEC) < 0) {
        int why = errno;
        close_pipes(p);
        return err_errno(err, why, "making a pipe");
    }
    return 0;
}

/* In the child: only async-signal-safe calls, as other threads may hold locks. */
static void run_child(const struct proc_request *req, struct pipes *p, pid_t parent)
{
    static char *const no_env[] = {NULL};
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(127);
    dup2(p->in[0], 0);
    dup2(p->out[1], 1);
    dup2(p->err[1], 2);
    syscall(SYS_close_range, 3u, ~0u, 0u);
    execve(req->argv[0], (char *const *)(uintptr_t)req->argv,
           req->env ? (char *const *)(uintptr_t)req->env : no_env);
    _exit(127);
}

struct exchange {
    struct pipes *p;
    struct proc_result *r;
    str input;
    size_t output_cap;
};

/* One read of stdout or stderr; false at end of file. */
static bool drain(int fd, struct buf *into, size_t cap, bool *overflow)
{
    char chunk[16 << 10];
    ssize_t n = read(fd, chunk, sizeof chunk);
    if (n < 0)
        return errno == EINTR || errno == EAGAIN;
    size_t take = MIN((size_t)n, cap - MIN(cap, into->n));
    buf_add(into, chunk, take);
    if (take < (size_t)n)
        *overflow = true;
    return n > 0;
}

static void feed(struct exchange *x)
{
    ssize_t n = write(x->p->in[1], x->input.p, x->input.n);
    if (n > 0) {
        x->input.p += n;
        x->input.n -= (size_t)n;
    } else if (n < 0 && errno != EINTR && errno != EAGAIN) {
        x->input.n = 0; /* it does not want more: its exit code tells the rest */
    }
    if (x->input.n == 0)
        drop(&x->p->in[1]);
}

static int exchange_bytes(struct exchange *x, int64_t deadline, struct err *err)
{
    bool too_much = false, ignored = false;
    if (x->input.n == 0)
        drop(&x->p->in[1]);
    while (x->p->out[0] >= 0 || x->p->err[0] >= 0) {
        struct pollfd fds[3] = {{.fd = x->p->out[0], .events = POLLIN},
                                {.fd = x->p->err[0], .events = POLLIN},
                                {.fd = x->p->in[1], .events = POLLOUT}};
        int64_t left = deadline - clock_mono_ms();
        if (left <= 0)
            return err_set(err, ERR_TIMEOUT, "it did not end in time");
        if (poll(fds, ARRAY_LEN(fds), (int)MIN(left, 1000)) < 0 && errno != EINTR)
            return err_errno(err, errno, "poll");
        if (fds[0].revents && !drain(x->p->out[0], &x->r->output, x->output_cap, &too_much))
            drop(&x->p->out[0]);
        if (fds[1].revents && !drain(x->p->err[0], &x->r->errors, ERRORS_CAP, &ignored))
            drop(&x->p->err[0]);
        if (fds[2].revents)
            feed(x);
        if (too_much)
            return err_set(err, ERR_TOO_LARGE, "it wrote more than %zu bytes", x->output_cap);
    }
    return 0;
}

/* Reaps the child, killing it at the deadline. */
static int reap(pid_t pid, int64_t deadline, bool kill_now, int *ret_code, struct err *err)
{
    int status = 0, r = 0;
    bool killed = false;
    for (;;) {
        if (!killed && (kill_now || clock_mono_ms() >= deadline)) {
            kill(-pid, SIGKILL);
            kill(pid, SIGKILL);
            killed = true;
            if (!kill_now)
                r = err_set(err, ERR_TIMEOUT, "it did not end in time");
        }
        pid_t got = waitpid(pid, &status, killed ? 0 : WNOHANG);
        if (got == pid)
            break;
        if (got < 0 && errno != EINTR)
            return err_errno(err, errno, "waitpid");
        poll(NULL, 0, 2);
    }
    *ret_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    return r;
}

int proc_run(const struct proc_request *req, struct proc_result *ret, struct err *err)
{
    struct pipes p CLEANUP(close_pipes);
    if (open_pipes(&p, err) < 0)
        return -1;
    int64_t deadline = clock_mono_ms() + (req->timeout_ms ? req->timeout_ms : 60000);
    pid_t parent = getpid(), pid = fork();
    if (pid < 0)
        return err_errno(err, errno, "starting %s", req->argv[0]);
    if (pid == 0)
        run_child(req, &p, parent);
    drop(&p.in[0]);
    drop(&p.out[1]);
    drop(&p.err[1]);
    fcntl(p.in[1], F_SETFL, O_NONBLOCK);

    struct proc_result r = {0};
    struct exchange x = {&p, &r, req->input, req->output_cap ? req->output_cap : 16 << 20};
    int failed = exchange_bytes(&x, deadline, err);
    if (reap(pid, deadline, failed < 0, &r.exit_code, failed < 0 ? NULL : err) < 0)
        failed = -1;
    if (failed < 0) {
        proc_result_free(&r);
        return err_wrap(err, "running %s", req->argv[0]);
    }
    *ret = r;
    return 0;
}

void proc_result_free(struct proc_result *r)
{
    buf_free(&r->output);
    buf_free(&r->errors);
}
