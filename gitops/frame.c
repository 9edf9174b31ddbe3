#include "gitops/frame.h"

#include <errno.h>
#include <unistd.h>

#include "core/proc.h"

enum { HEAD = 5, SENTENCE_MAX = 400 };

static const char *own_program = "/proc/self/exe";

void worker_set_program(const char *program)
{
    own_program = program;
}

const char *worker_program(void)
{
    return own_program;
}

void frame_add(struct buf *out, char type, str payload)
{
    uint32_t n = (uint32_t)payload.n;
    char head[HEAD] = {type, (char)(n >> 24), (char)(n >> 16), (char)(n >> 8), (char)n};
    buf_add(out, head, sizeof head);
    buf_str(out, payload);
}

int frame_next(str *rest, char *ret_type, str *ret_payload, struct err *err)
{
    if (rest->n < HEAD)
        return err_set(err, ERR_CORRUPT, "the answer is cut");
    const unsigned char *p = (const unsigned char *)rest->p;
    size_t n = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4];
    if (n > rest->n - HEAD)
        return err_set(err, ERR_CORRUPT, "the answer is cut inside a frame of %zu bytes", n);
    if (p[0] == FRAME_END) {
        if (n || rest->n != HEAD)
            return err_set(err, ERR_CORRUPT, "the answer goes on after its end");
        return 0;
    }
    *ret_type = (char)p[0];
    *ret_payload = (str){rest->p + HEAD, n};
    *rest = (str){rest->p + HEAD + n, rest->n - HEAD - n};
    return 1;
}

void frame_add_printable(struct buf *out, str text, size_t cap)
{
    for (size_t i = 0; i < MIN(text.n, cap); i++)
        buf_putc(out, text.p[i] >= ' ' && text.p[i] <= '~' ? text.p[i] : '?');
}

int frame_read_input(struct buf *out, size_t cap, struct err *err)
{
    char chunk[16 << 10];
    for (;;) {
        ssize_t n = read(0, chunk, sizeof chunk);
        if (n == 0)
            return 0;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(err, errno, "reading the question");
        if (out->n + (size_t)n > cap)
            return err_set(err, ERR_TOO_LARGE, "more than %zu bytes were handed over", cap);
        buf_add(out, chunk, (size_t)n);
    }
}

int frame_answer(struct buf *answer, bool failed, const struct err *err)
{
    if (failed) {
        buf_reset(answer);
        frame_add(answer, FRAME_ERROR, str_of(err->msg));
    }
    frame_add(answer, FRAME_END, (str){0});
    if (answer->overflow)
        return 1;
    for (str rest = buf_view(answer); rest.n;) {
        ssize_t n = write(1, rest.p, rest.n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return 1;
        rest = (str){rest.p + n, rest.n - (size_t)n};
    }
    return 0;
}

int worker_check_answer(str answer, struct err *err)
{
    char type;
    str payload;
    int r;
    while ((r = frame_next(&answer, &type, &payload, err)) > 0) {
        if (type != FRAME_ERROR)
            continue;
        struct buf line CLEANUP(buf_free) = {0};
        frame_add_printable(&line, payload, SENTENCE_MAX);
        return err_set(err, ERR_CORRUPT, "%s", line.n ? line.p : "it gave no reason");
    }
    return r;
}

int worker_call(const struct worker_call *call, struct buf *ret_answer, struct err *err)
{
    const char *argv[] = {call->program, "worker", call->task, NULL};
    struct proc_request req = {.argv = argv,
                               .input = call->input,
                               .output_cap = call->answer_cap,
                               .timeout_ms = call->timeout_ms};
    struct proc_result r CLEANUP(proc_result_free) = {0};
    if (proc_run(&req, &r, err) < 0)
        return err_wrap(err, "worker %s", call->task);
    if (r.exit_code > 128)
        return err_set(err, ERR_CORRUPT, "worker %s: it was stopped at its limits (signal %d)",
                       call->task, r.exit_code - 128);
    if (r.exit_code)
        return err_set(err, ERR_CORRUPT, "worker %s: it ended with code %d", call->task,
                       r.exit_code);
    if (worker_check_answer(buf_view(&r.output), err) < 0)
        return err_wrap(err, "worker %s", call->task);
    *ret_answer = r.output;
    r.output = (struct buf){0};
    return 0;
}
