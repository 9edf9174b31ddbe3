/* What a worker is asked and what it answers: frames. A frame is one byte of type, four bytes of
 * length (big-endian) and that many bytes; the last one is FRAME_END, empty, with nothing behind
 * it, so that an answer that was cut is never taken for a short one. */
#ifndef GITOPS_FRAME_H
#define GITOPS_FRAME_H

#include "core/err.h"
#include "core/str.h"

enum { FRAME_END = 'E', FRAME_ERROR = 'X' /* one sentence for people instead of an answer */ };

void frame_add(struct buf *out, char type, str payload);

/* Takes the next frame off *rest: 1 and the frame, or 0 at a proper end. ERR_CORRUPT. */
int frame_next(str *rest, char *ret_type, str *ret_payload, struct err *err) must_check;

/* ---- the worker's side ---- */

/* All of stdin; ERR_TOO_LARGE past cap. */
int frame_read_input(struct buf *out, size_t cap, struct err *err) must_check;

/* Ends the answer and writes it to stdout; instead, if failed, an answer that is only the error's
 * message. The exit code: 0, or 1 if even that did not work. */
int frame_answer(struct buf *answer, bool failed, const struct err *err);

/* ---- the parent's side ---- */

struct worker_call {
    const char *program, *task; /* runs `program worker task` */
    str input;
    size_t answer_cap;
    unsigned timeout_ms;
};

/* Runs the worker and gives its checked answer: whole, and not an error. ERR_CORRUPT with the
 * worker's own sentence if it could not do it or broke its limits; ERR_TIMEOUT; ERR_TOO_LARGE. */
int worker_call(const struct worker_call *call, struct buf *ret_answer, struct err *err) must_check;

/* The checks of worker_call alone: the text of an answer is whole, and no error. */
int worker_check_answer(str answer, struct err *err) must_check;

/* The program that the engines' books are decoded by: "/proc/self/exe", this very executable,
 * unless somebody (a test) says otherwise before the first call. The string is borrowed. */
void worker_set_program(const char *program);
const char *worker_program(void);

/* Appends a stranger's text as one printable ASCII line of at most `cap` bytes. */
void frame_add_printable(struct buf *out, str text, size_t cap);

#endif
