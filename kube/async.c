#include "kube/async.h"

#include <stdlib.h>

#include "kube/transport.h"

struct async {
    uv_loop_t *loop;
    struct kube_config *config;
    void (*done)(void *ctx, int r, const struct err *err);
    void (*closed)(void *ctx);
    void *ctx;
    CURLM *multi;
    CURL *easy;
    struct transport_call call;
    bool active;  /* the easy handle is in the multi */
    bool in_curl; /* libcurl is on the stack: it must not be torn down now */
    bool freed;   /* async_free was called */
    bool torn_down;
    uv_timer_t timer;
    struct poll *polls;
    unsigned handles; /* uv handles that are not closed */
};

struct poll {
    uv_poll_t handle; /* first: uv gives it back as uv_handle_t */
    struct async *a;
    struct poll *next, **at;
    curl_socket_t fd;
};

static void drive(struct async *a, curl_socket_t fd, int events);

static void release(struct async *a)
{
    if (--a->handles || !a->torn_down)
        return;
    a->closed(a->ctx);
    free(a);
}

static void on_poll_closed(uv_handle_t *h)
{
    struct poll *p = (struct poll *)h;
    struct async *a = p->a;
    free(p);
    release(a);
}

static void on_timer_closed(uv_handle_t *h)
{
    release(h->data);
}

static void close_poll(struct poll *p)
{
    *p->at = p->next;
    if (p->next)
        p->next->at = p->at;
    uv_poll_stop(&p->handle);
    uv_close((uv_handle_t *)&p->handle, on_poll_closed);
}

static struct poll *new_poll(struct async *a, curl_socket_t fd)
{
    struct poll *p = xcalloc(1, sizeof *p);
    p->a = a;
    p->fd = fd;
    if (uv_poll_init_socket(a->loop, &p->handle, fd) != 0) {
        free(p);
        return NULL;
    }
    a->handles++;
    p->next = a->polls;
    p->at = &a->polls;
    if (p->next)
        p->next->at = &p->next;
    a->polls = p;
    curl_multi_assign(a->multi, fd, p);
    return p;
}

static void on_poll(uv_poll_t *h, int status, int events)
{
    struct poll *p = (struct poll *)h;
    int flags = status < 0 ? CURL_CSELECT_ERR : 0;
    if (events & UV_READABLE)
        flags |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE)
        flags |= CURL_CSELECT_OUT;
    drive(p->a, p->fd, flags);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *socket_ctx)
{
    struct async *a = ctx;
    struct poll *p = socket_ctx;
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (p) {
            curl_multi_assign(a->multi, fd, NULL);
            close_poll(p);
        }
        return 0;
    }
    if (a->torn_down)
        return 0;
    if (!p)
        p = new_poll(a, fd);
    if (!p)
        return -1;
    int events = 0;
    if (what != CURL_POLL_OUT)
        events |= UV_READABLE;
    if (what != CURL_POLL_IN)
        events |= UV_WRITABLE;
    uv_poll_start(&p->handle, events, on_poll);
    return 0;
}

static void on_timeout(uv_timer_t *t)
{
    drive(t->data, CURL_SOCKET_TIMEOUT, 0);
}

/* libcurl must not be entered again from here: a timeout of 0 comes a millisecond later. */
static int on_timer(CURLM *multi, long ms, void *ctx)
{
    struct async *a = ctx;
    (void)multi;
    if (ms < 0)
        uv_timer_stop(&a->timer);
    else if (!a->torn_down)
        uv_timer_start(&a->timer, on_timeout, (uint64_t)MAX(ms, 1), 0);
    return 0;
}

static void tear_down(struct async *a)
{
    struct err ignored;
    a->torn_down = true;
    if (a->active) {
        curl_multi_remove_handle(a->multi, a->easy);
        (void)!transport_finish(&a->call, CURLE_ABORTED_BY_CALLBACK, &ignored);
    }
    a->active = false;
    curl_easy_cleanup(a->easy);
    curl_multi_cleanup(a->multi);
    while (a->polls)
        close_poll(a->polls);
    uv_timer_stop(&a->timer);
    uv_close((uv_handle_t *)&a->timer, on_timer_closed);
}

static void finish(struct async *a, CURLcode code)
{
    struct err err = {0};
    curl_multi_remove_handle(a->multi, a->easy);
    a->active = false;
    int r = transport_finish(&a->call, code, &err);
    if (!a->freed)
        a->done(a->ctx, r, &err);
}

static void drive(struct async *a, curl_socket_t fd, int events)
{
    int running, left;
    a->in_curl = true;
    curl_multi_socket_action(a->multi, fd, events, &running);
    const CURLMsg *m;
    while ((m = curl_multi_info_read(a->multi, &left)))
        if (m->msg == CURLMSG_DONE)
            finish(a, m->data.result);
    a->in_curl = false;
    if (a->freed)
        tear_down(a);
}

struct async *async_new(uv_loop_t *loop, struct kube_config *config,
                        void (*done)(void *ctx, int r, const struct err *err), void *ctx)
{
    struct async *a = xcalloc(1, sizeof *a);
    a->loop = loop;
    a->config = config;
    a->done = done;
    a->ctx = ctx;
    a->multi = curl_multi_init();
    a->easy = curl_easy_init();
    if (!a->multi || !a->easy)
        abort();
    curl_multi_setopt(a->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(a->multi, CURLMOPT_SOCKETDATA, a);
    curl_multi_setopt(a->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(a->multi, CURLMOPT_TIMERDATA, a);
    curl_multi_setopt(a->multi, CURLMOPT_MAXCONNECTS, 1L);
    uv_timer_init(loop, &a->timer);
    a->timer.data = a;
    a->handles = 1;
    return a;
}

void async_start(struct async *a, struct kube_http *x)
{
    curl_easy_reset(a->easy);
    transport_prepare(&a->call, a->easy, a->config, x);
    a->active = true;
    if (curl_multi_add_handle(a->multi, a->easy) != CURLM_OK)
        abort();
}

void async_free(struct async *a, void (*closed)(void *ctx))
{
    a->closed = closed;
    a->freed = true;
    if (!a->in_curl)
        tear_down(a);
}
