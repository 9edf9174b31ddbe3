/* The worker's half: lists a remote's refs, with nothing on disk. libgit2 keeps the whole list in
 * memory; the worker's limits end it if that is too much. */
#include <git2.h>

#include "core/base.h"
#include "gitops/frame.h"
#include "gitops/git.h"
#include "gitops/git_worker.h"

enum { QUESTION_MAX = 64 << 10 };

struct question {
    char *url, *ref, *commit, *username, *password;
    bool offered; /* the credentials: once, or a refusal asks for ever */
    bool over_http;
};

static void question_free(struct question *q)
{
    free_p(&q->url);
    free_p(&q->ref);
    free_p(&q->commit);
    free_p(&q->username);
    free_p(&q->password);
}

static int read_question(str rest, struct question *q, struct err *err)
{
    char type;
    str payload;
    int r;
    while ((r = frame_next(&rest, &type, &payload, err)) > 0) {
        char **to = type == GIT_URL        ? &q->url
                    : type == GIT_REF      ? &q->ref
                    : type == GIT_COMMIT   ? &q->commit
                    : type == GIT_USERNAME ? &q->username
                    : type == GIT_PASSWORD ? &q->password
                                           : NULL;
        if (!to || *to || memchr(payload.p, '\0', payload.n))
            return err_set(err, ERR_INVALID, "the question is broken");
        *to = xstrndup(payload.p, payload.n);
    }
    if (r < 0)
        return -1;
    if (!q->url || !q->ref || !q->commit)
        return err_set(err, ERR_INVALID, "the question is not complete");
    q->over_http = str_starts(str_of(q->url), "http://") || str_starts(str_of(q->url), "https://");
    return 0;
}

static int give_credentials(git_credential **out, const char *url, const char *from_url,
                            unsigned allowed, void *payload)
{
    (void)url;
    (void)from_url;
    struct question *q = payload;
    if (q->offered || !(allowed & GIT_CREDENTIAL_USERPASS_PLAINTEXT) ||
        (!q->username && !q->password))
        return GIT_EAUTH;
    q->offered = true;
    return git_credential_userpass_plaintext_new(out, q->username ? q->username : "git",
                                                 q->password ? q->password : "");
}

static void add_unknown(struct buf *out, const char *text)
{
    frame_add(out, GIT_UNKNOWN, str_of(text));
}

/* The names that a ref may stand for: itself, or a branch, or a tag; and a tag's commit. */
static bool stands_for(const char *name, const char *ref)
{
    static const char *const prefixes[] = {"", "refs/heads/", "refs/tags/"};
    size_t n = strlen(ref);
    for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
        size_t at = strlen(prefixes[i]);
        if (strncmp(name, prefixes[i], at) == 0 && strncmp(name + at, ref, n) == 0 &&
            (!name[at + n] || streq(name + at + n, "^{}")))
            return true;
    }
    return false;
}

static void add_tips(struct buf *out, const struct question *q, const git_remote_head **heads,
                     size_t n)
{
    enum { TIPS_MAX = 16 };
    size_t tips = 0;
    frame_add(out, GIT_LISTED, (str){0});
    for (size_t i = 0; i < n && tips < TIPS_MAX; i++) {
        char hex[GIT_OID_HEXSZ + 1];
        git_oid_tostr(hex, sizeof hex, &heads[i]->oid);
        if (*q->ref ? stands_for(heads[i]->name, q->ref) : streq(hex, q->commit)) {
            frame_add(out, GIT_TIP, str_of(hex));
            tips++;
        }
    }
}

static void add_git_error(struct buf *out)
{
    const git_error *e = git_error_last();
    add_unknown(out, e && e->message ? e->message : "no reason given");
}

static void list_refs(struct question *q, struct buf *out)
{
    git_remote *remote = NULL;
    const git_remote_head **heads;
    size_t n;
    if (!q->over_http) {
        add_unknown(out, "only remotes over http and https can be asked yet");
        return;
    }
    git_remote_connect_options opts;
    git_remote_connect_options_init(&opts, GIT_REMOTE_CONNECT_OPTIONS_VERSION);
    opts.callbacks.credentials = give_credentials;
    opts.callbacks.payload = q;
    /* Where credentials were given, they go to no other host. */
    opts.follow_redirects =
        q->username || q->password ? GIT_REMOTE_REDIRECT_NONE : GIT_REMOTE_REDIRECT_INITIAL;
    if (git_remote_create_detached(&remote, q->url) < 0 ||
        git_remote_connect_ext(remote, GIT_DIRECTION_FETCH, &opts) < 0 ||
        git_remote_ls(&heads, &n, remote) < 0)
        add_git_error(out);
    else
        add_tips(out, q, heads, n);
    git_remote_free(remote);
}

int git_refs_prepare(void)
{
    /* No configuration of the machine or of a user: it could name proxies and rewrite URLs. */
    return git_libgit2_init() > 0 &&
                   git_libgit2_opts(GIT_OPT_SET_SEARCH_PATH, GIT_CONFIG_LEVEL_SYSTEM, "") == 0 &&
                   git_libgit2_opts(GIT_OPT_SET_SEARCH_PATH, GIT_CONFIG_LEVEL_GLOBAL, "") == 0 &&
                   git_libgit2_opts(GIT_OPT_SET_SEARCH_PATH, GIT_CONFIG_LEVEL_XDG, "") == 0 &&
                   git_libgit2_opts(GIT_OPT_SET_SEARCH_PATH, GIT_CONFIG_LEVEL_PROGRAMDATA, "") == 0
               ? 0
               : -1;
}

int git_refs_main(void)
{
    struct buf in CLEANUP(buf_free) = {0}, out CLEANUP(buf_free) = {0};
    struct question q CLEANUP(question_free) = {0};
    struct err err;
    bool failed = frame_read_input(&in, QUESTION_MAX, &err) < 0 ||
                  read_question(in.p ? buf_view(&in) : STR(""), &q, &err) < 0;
    if (!failed)
        list_refs(&q, &out);
    return frame_answer(&out, failed, &err);
}
