/* The parent's half: the question, and what the checked answer proves. */
#include "gitops/git.h"

#include "gitops/frame.h"
#include "gitops/git_worker.h"

enum { ANSWER_MAX = 64 << 10, TIMEOUT_MS = 20000 };

const char *reachable_name(enum reachable r)
{
    static const char *const names[] = {"unknown", "true", "false"};
    return names[r];
}

struct answer {
    bool listed, tip, found;
    struct buf why;
};

static bool is_hash(str s)
{
    if (s.n != 40 && s.n != 64)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (!strchr("0123456789abcdef", s.p[i]))
            return false;
    return true;
}

static int read_answer(str rest, const char *commit, struct answer *ret, struct err *err)
{
    char type;
    str payload;
    int r;
    while ((r = frame_next(&rest, &type, &payload, err)) > 0) {
        if (type == GIT_UNKNOWN && !ret->why.n) {
            frame_add_printable(&ret->why, payload, 200);
        } else if (type == GIT_LISTED && !payload.n) {
            ret->listed = true;
        } else if (type == GIT_TIP && is_hash(payload)) {
            ret->tip = true;
            ret->found = ret->found || str_is(payload, commit);
        } else {
            return err_set(err, ERR_CORRUPT, "the worker's answer is out of order");
        }
    }
    return r;
}

static enum reachable judge(struct arena *a, const struct git_question *q, struct answer *got,
                            const char **why)
{
    if (got->why.n || !got->listed) {
        *why = arena_printf(a, "the remote could not be asked: %s",
                            got->why.n ? got->why.p : "no reason given");
        return REACHABLE_UNKNOWN;
    }
    if (got->found) {
        *why = "";
        return REACHABLE_TRUE;
    }
    if (got->tip || !*q->ref) {
        *why = arena_printf(a,
                            "the applied commit %.12s is not the tip of %s; older commits cannot "
                            "be proven yet",
                            q->commit, *q->ref ? q->ref : "any ref");
        return REACHABLE_UNKNOWN;
    }
    *why = arena_printf(a, "the remote has no %s any more", q->ref);
    return REACHABLE_FALSE;
}

int git_reachable(struct arena *a, const char *program, const struct git_question *q,
                  enum reachable *ret, const char **ret_why, struct err *err)
{
    *ret = REACHABLE_UNKNOWN;
    if (!is_hash(str_of(q->commit))) {
        *ret_why = "there is no commit to ask for";
        return 0;
    }
    struct buf question CLEANUP(buf_free) = {0}, bytes CLEANUP(buf_free) = {0};
    frame_add(&question, GIT_URL, str_of(q->url));
    frame_add(&question, GIT_REF, str_of(q->ref));
    frame_add(&question, GIT_COMMIT, str_of(q->commit));
    if (q->username)
        frame_add(&question, GIT_USERNAME, str_of(q->username));
    if (q->password)
        frame_add(&question, GIT_PASSWORD, str_of(q->password));
    frame_add(&question, FRAME_END, (str){0});
    struct worker_call call = {.program = program,
                               .task = "git-refs",
                               .input = buf_view(&question),
                               .answer_cap = ANSWER_MAX,
                               .timeout_ms = q->timeout_ms ? q->timeout_ms : TIMEOUT_MS};
    struct answer got = {0};
    struct err why;
    int failed = worker_call(&call, &bytes, &why);
    if (failed == 0)
        failed = read_answer(buf_view(&bytes), q->commit, &got, &why);
    explicit_bzero(question.p, question.n);
    if (failed < 0)
        *ret_why = arena_printf(a, "the remote could not be asked: %.300s", why.msg);
    else
        *ret = judge(a, q, &got, ret_why);
    buf_free(&got.why);
    (void)err; /* nothing here is an error of ours: an unproven state is an answer */
    return 0;
}
