#include "reconciler/proof.h"

#include "kube/secret.h"
#include "kube/types.h"
#include "reconciler/inside.h"

#include <ctype.h>

enum { ASKED_MAX = 64 };

struct asked {
    const char *url, *ref, *commit;
    enum reachable reachable;
    const char *why;
};

struct prover {
    struct context *cx;
    struct arena *a;
    struct inside *inside;
    struct asked asked[ASKED_MAX];
    size_t asked_n;
};

struct prover *prover_new(struct context *cx, struct arena *a)
{
    struct prover *p = arena_new_of(a, struct prover);
    *p = (struct prover){.cx = cx, .a = a, .inside = inside_new(cx->kube, a, false)};
    return p;
}

/* ---- names ---- */

const char *proof_host(struct arena *a, const char *url)
{
    str rest = str_of(url);
    const char *scheme = strstr(url, "://");
    if (scheme) {
        rest = str_of(scheme + 3);
        rest = str_cut(&rest, '/');
        if (str_starts(str_of(url), "file:"))
            return "";
    } else {
        const char *colon = strchr(url, ':'), *slash = strchr(url, '/');
        if (!colon || (slash && slash < colon))
            return "";
        rest.n = (size_t)(colon - url);
    }
    const char *at = rest.n ? memrchr(rest.p, '@', rest.n) : NULL;
    if (at)
        rest = (str){at + 1, rest.n - (size_t)(at + 1 - rest.p)};
    if (rest.n && *rest.p == '[') {
        rest = (str){rest.p + 1, rest.n - 1};
        rest = str_cut(&rest, ']');
    } else {
        rest = str_cut(&rest, ':');
    }
    char *host = arena_strndup(a, rest.p ? rest.p : "", rest.n);
    for (char *c = host; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    return host;
}

const char *proof_public_url(struct arena *a, const char *url)
{
    const char *scheme = strstr(url, "://");
    if (!scheme)
        return arena_strdup(a, url);
    const char *host = scheme + 3;
    size_t authority = strcspn(host, "/");
    const char *at = memrchr(host, '@', authority);
    return at ? arena_printf(a, "%.*s%s", (int)(host - url), url, at + 1) : arena_strdup(a, url);
}

/* ---- where it is served ---- */

/* Why this URL proves nothing, or NULL. */
static const char *served_here(struct prover *p, const char *url)
{
    const char *host = proof_host(p->a, url);
    if (!*host)
        return "its URL names no host: it is a path inside the engine's pod";
    bool told;
    return inside_why(p->inside, host, &told);
}

/* ---- asking ---- */

static void ask(struct prover *p, const struct source *s, struct asked *q)
{
    struct err err;
    struct git_question question = {.url = s->url, .ref = s->ref, .commit = s->commit};
    if (*s->secret_name) {
        struct kube_object secret;
        if (kube_get(p->cx->kube, p->a, &KUBE_SECRET, s->secret_ns, s->secret_name, &secret, &err) <
            0) {
            q->why = arena_printf(p->a, "its credentials in Secret %s/%s cannot be read: %s",
                                  s->secret_ns, s->secret_name, err.msg);
            return;
        }
        question.username = kube_secret_text(p->a, &secret, "username");
        question.password = kube_secret_text(p->a, &secret, "password");
    }
    if (git_reachable(p->a, p->cx->program, &question, &q->reachable, &q->why, &err) < 0) {
        q->reachable = REACHABLE_UNKNOWN;
        q->why = arena_strdup(p->a, err.msg);
    }
}

static const struct asked *ask_once(struct prover *p, const struct source *s)
{
    for (size_t i = 0; i < p->asked_n; i++) {
        struct asked *q = &p->asked[i];
        if (streq(q->url, s->url) && streq(q->ref, s->ref) && streq(q->commit, s->commit))
            return q;
    }
    static const struct asked too_many = {.why = "more sources than one plan asks"};
    if (p->asked_n == ASKED_MAX)
        return &too_many;
    struct asked *q = &p->asked[p->asked_n++];
    *q = (struct asked){.url = s->url, .ref = s->ref, .commit = s->commit};
    q->why = served_here(p, s->url);
    if (!q->why)
        ask(p, s, q);
    return q;
}

static void judge_source(struct prover *p, const struct source *s, enum reachable *ret,
                         const char **ret_why)
{
    *ret = REACHABLE_UNKNOWN;
    if (*s->unproven) {
        *ret_why = s->unproven;
    } else if (!*s->commit) {
        *ret_why = "the engine names no applied commit";
    } else {
        const struct asked *q = ask_once(p, s);
        *ret = q->reachable;
        *ret_why = q->why ? q->why : "";
    }
}

static const char *source_text(struct arena *a, const struct source *s)
{
    const char *slash = *s->ns ? "/" : "";
    const char *url = *s->url ? proof_public_url(a, s->url) : "";
    if (!*s->url || streq(s->name, s->url))
        return arena_printf(a, "%s %s%s%s", s->kind, s->ns, slash, proof_public_url(a, s->name));
    return arena_printf(a, "%s %s%s%s at %s", s->kind, s->ns, slash, s->name, url);
}

int proof_make(struct prover *p, const struct application *app, struct declaration *ret,
               struct sources *ret_sources, struct err *err)
{
    struct sources sources = {0};
    struct declaration d = {.engine = app->engine->name, .source = "", .revision = "", .why = ""};
    if (app->engine->sources(p->cx->kube, p->a, app, &sources, err) < 0)
        return err_wrap(err, "reading the sources of %s %s/%s", app->type->kind, app->object.ns,
                        app->object.name);
    d.reachable = sources.n ? REACHABLE_TRUE : REACHABLE_UNKNOWN;
    if (!sources.n)
        d.why = "the engine names no source";
    for (size_t i = 0; i < sources.n; i++) {
        const struct source *s = &sources.at[i];
        enum reachable r;
        const char *why = "", *text = source_text(p->a, s);
        judge_source(p, s, &r, &why);
        if (!strstr(d.source, text)) {
            const char *comma = *d.source ? ", " : "";
            d.source = arena_printf(p->a, "%s%s%s", d.source, comma, text);
            d.revision = arena_printf(p->a, "%s%s%s", d.revision, comma, s->revision);
        }
        /* One source that is lost is worse than one that is silent. */
        bool worse = (r == REACHABLE_FALSE && d.reachable != REACHABLE_FALSE) ||
                     (r == REACHABLE_UNKNOWN && d.reachable == REACHABLE_TRUE);
        if (worse) {
            d.reachable = r;
            d.why = arena_printf(p->a, "%s: %s", text, why);
        }
    }
    *ret = d;
    if (ret_sources)
        *ret_sources = sources;
    return 0;
}
