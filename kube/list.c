#include <stdio.h>

#include "kube/private.h"
#include "kube/splitter.h"

enum { DEFAULT_PAGE = 500, PAGE_REPEATS = 3, PAGE_WAIT_MS = 200 };

struct listing {
    struct kube *k;
    const struct kube_type *t;
    const struct kube_list *opts;
    int (*each)(void *ctx, const struct kube_object *o, struct err *err);
    void *ctx;
    struct kube_listed done;
    struct kube_splitter *splitter;
    bool fed;    /* the current page has delivered objects */
    char *token; /* of the next page, malloc'd; NULL at the end */
};

static int deliver(void *ctx, str item, struct err *err)
{
    struct listing *l = ctx;
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct kube_object o;
    if (kube_object_read(a, object_complete(a, l->t, item), &o, err) < 0)
        return err_wrap(err, "listing %s", l->t->resource);
    l->fed = true;
    l->done.count++;
    return l->each(l->ctx, &o, err);
}

static int feed(void *ctx, const char *p, size_t n, struct err *err)
{
    struct listing *l = ctx;
    return kube_splitter_feed(l->splitter, p, n, err);
}

static void page_url(const struct listing *l, struct arena *a, struct buf *url)
{
    char limit[16];
    snprintf(limit, sizeof limit, "%u", l->opts->page ? l->opts->page : DEFAULT_PAGE);
    buf_puts(url, kube_path(a, l->t, l->opts->ns, NULL, NULL));
    query_add(url, "limit", limit);
    query_add(url, "labelSelector", l->opts->label_selector);
    query_add(url, "fieldSelector", l->opts->field_selector);
    query_add(url, "continue", l->token);
}

/* What the head of a page says: its resourceVersion, and whether there is another page. */
static int page_ends(struct listing *l, struct arena *a, struct err *err)
{
    str metadata = kube_splitter_member(l->splitter, "metadata");
    const char *version = raw_text(a, metadata, "resourceVersion", NULL);
    const char *token = raw_text(a, metadata, "continue", NULL);
    if (!version || !version[0] || strlen(version) >= sizeof l->done.resource_version)
        return err_set(err, ERR_CORRUPT, "listing %s: the list has no resourceVersion",
                       l->t->resource);
    if (!l->done.resource_version[0])
        strcpy(l->done.resource_version, version);
    free_p(&l->token);
    l->token = token && token[0] ? xstrdup(token) : NULL;
    return 0;
}

static int fetch_page(struct listing *l, struct arena *a, struct kube_http *x, struct err *err)
{
    struct buf url CLEANUP(buf_free) = {0};
    page_url(l, a, &url);
    *x = (struct kube_http){.method = "GET",
                            .path = url.p,
                            .sink = feed,
                            .sink_ctx = l,
                            .answer = x->answer,
                            .timeout_ms = l->k->timeout_ms * 2};
    l->fed = false;
    l->splitter = kube_splitter_new(deliver, l);
    int r = client_exchange(l->k, x, err);
    if (r == 0)
        r = kube_splitter_end(l->splitter, err);
    if (r == 0)
        r = page_ends(l, a, err);
    kube_splitter_free(l->splitter);
    l->splitter = NULL;
    return r;
}

/* 410 between pages: the server offers a token with which the list goes on at another moment. */
static bool goes_on(struct listing *l, struct arena *a, const struct kube_http *x,
                    const struct err *why)
{
    if (why->kind != ERR_GONE || !l->token || l->fed)
        return false;
    const char *token = status_continue(a, buf_view(&x->answer));
    if (!token)
        return false;
    free_p(&l->token);
    l->token = xstrdup(token);
    l->done.inconsistent = true;
    return true;
}

static int next_page(struct listing *l, struct err *err)
{
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct kube_http x = {0};
    int r;
    for (unsigned tries = 0;; tries++) {
        struct err why = {0};
        r = fetch_page(l, a, &x, &why);
        bool broke = r < 0 && why.kind == ERR_UNAVAILABLE && why.http == 0 && !l->fed;
        if (r < 0 && tries < PAGE_REPEATS &&
            (goes_on(l, a, &x, &why) || (broke && wait_ms(PAGE_WAIT_MS, l->k->cancel, &why) == 0)))
            continue;
        if (r < 0 && err)
            *err = why;
        break;
    }
    buf_free(&x.answer);
    return r;
}

int kube_list(struct kube *k, const struct kube_type *t, const struct kube_list *opts,
              int (*each)(void *ctx, const struct kube_object *o, struct err *err), void *ctx,
              struct kube_listed *ret, struct err *err)
{
    static const struct kube_list defaults;
    struct listing l = {.k = k, .t = t, .opts = opts ? opts : &defaults, .each = each, .ctx = ctx};
    int r;
    do
        r = next_page(&l, err);
    while (r == 0 && l.token);
    free_p(&l.token);
    if (r == 0 && ret)
        *ret = l.done;
    return r;
}
