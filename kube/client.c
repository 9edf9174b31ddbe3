#include "kube/client.h"

#include <stdlib.h>
#include <time.h>

#include "kube/private.h"
#include "kube/transport.h"

enum { REPEATS = 10, BROKEN_REPEATS = 3, BROKEN_WAIT_MS = 100, WAIT_SLICE_MS = 50 };

struct kube *kube_new_on(struct kube_transport transport)
{
    struct kube *k = xcalloc(1, sizeof *k);
    k->transport = transport;
    k->timeout_ms = KUBE_TIMEOUT_MS;
    return k;
}

int kube_new(struct kube_config *config, struct kube **ret, struct err *err)
{
    (void)err;
    struct kube *k = kube_new_on(transport_network(config));
    k->config = config;
    *ret = k;
    return 0;
}

void kube_free(struct kube *k)
{
    if (!k)
        return;
    if (k->transport.close)
        k->transport.close(k->transport.ctx);
    kube_config_free(k->config);
    free(k);
}

void kube_cancel_on(struct kube *k, const atomic_bool *flag)
{
    k->cancel = flag;
}

void kube_set_timeout(struct kube *k, unsigned timeout_ms)
{
    k->timeout_ms = timeout_ms;
}

struct kube_config *kube_config_of(struct kube *k)
{
    return k->config;
}

/* ---- exchanges ---- */

int64_t real_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int wait_ms(unsigned ms, const atomic_bool *cancel, struct err *err)
{
    for (int64_t end = real_ms() + ms, left; (left = end - real_ms()) > 0;) {
        if (cancel && atomic_load(cancel))
            return err_set(err, ERR_CANCELLED, "cancelled");
        left = MIN(left, WAIT_SLICE_MS);
        struct timespec t = {.tv_nsec = (long)left * 1000000};
        nanosleep(&t, NULL);
    }
    return 0;
}

/* True if the exchange may be repeated after *ret_wait_ms. `why` is its failure, x->status 0 if
 * there was no answer at all. */
static bool may_repeat(struct kube *k, const struct kube_http *x, const struct err *why,
                       unsigned tries, bool *token_dropped, unsigned *ret_wait_ms)
{
    *ret_wait_ms = 0;
    if (why->http == 0) {
        *ret_wait_ms = BROKEN_WAIT_MS << tries;
        return why->kind == ERR_UNAVAILABLE && streq(x->method, "GET") && !x->sink &&
               tries < BROKEN_REPEATS;
    }
    if (x->status == 401 && k->config && !*token_dropped) {
        *token_dropped = true;
        kube_config_drop_token(k->config);
        return true;
    }
    *ret_wait_ms = x->retry_after_ms;
    return (x->status == 429 || x->status == 503) && x->retry_after_ms && tries < REPEATS;
}

int client_exchange(struct kube *k, struct kube_http *x, struct err *err)
{
    int64_t deadline = real_ms() + (x->timeout_ms ? x->timeout_ms : k->timeout_ms);
    bool token_dropped = false;
    x->cancel = k->cancel;
    for (unsigned tries = 0;; tries++) {
        struct err why = {0};
        unsigned wait;
        int64_t left = deadline - real_ms();
        buf_reset(&x->answer);
        x->status = 0;
        x->retry_after_ms = 0;
        x->timeout_ms = (unsigned)MAX(left, 1);
        if (k->cancel && atomic_load(k->cancel))
            return err_set(err, ERR_CANCELLED, "%s %s: cancelled", x->method, x->path);
        if (k->transport.perform(k->transport.ctx, x, &why) == 0) {
            if (x->status >= 200 && x->status < 300)
                return 0;
            (void)!status_error(x, &why);
        }
        if (!may_repeat(k, x, &why, tries, &token_dropped, &wait) || real_ms() + wait >= deadline) {
            if (err)
                *err = why;
            return -1;
        }
        if (wait_ms(wait, k->cancel, err) < 0)
            return -1;
    }
}

/* ---- paths ---- */

static void add_encoded(struct buf *b, const char *s)
{
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
            c == '-' || c == '.' || c == '_' || c == '~')
            buf_putc(b, (char)c);
        else
            buf_printf(b, "%%%02X", c);
    }
}

static void add_segment(struct buf *b, const char *s)
{
    buf_putc(b, '/');
    add_encoded(b, s);
}

static void add_path(struct buf *b, const struct kube_type *t, const char *ns, const char *name,
                     const char *sub)
{
    buf_puts(b, t->group[0] ? "/apis" : "/api");
    if (t->group[0])
        add_segment(b, t->group);
    add_segment(b, t->version);
    if (t->namespaced && ns && ns[0]) {
        buf_puts(b, "/namespaces");
        add_segment(b, ns);
    }
    add_segment(b, t->resource);
    if (name)
        add_segment(b, name);
    if (sub)
        add_segment(b, sub);
}

const char *kube_path(struct arena *a, const struct kube_type *t, const char *ns, const char *name,
                      const char *sub)
{
    struct buf b CLEANUP(buf_free) = {0};
    add_path(&b, t, ns, name, sub);
    return arena_strndup(a, b.p, b.n);
}

void query_add(struct buf *url, const char *key, const char *value)
{
    if (!value || !value[0])
        return;
    buf_putc(url, memchr(url->p, '?', url->n) ? '&' : '?');
    buf_puts(url, key);
    buf_putc(url, '=');
    add_encoded(url, value);
}

/* An empty name would turn the request into one about the whole collection. */
static int check_target(const struct kube_type *t, const char *ns, const char *name,
                        struct err *err)
{
    if (name && (!name[0] || streq(name, ".") || streq(name, "..")))
        return err_set(err, ERR_INVALID, "%s: \"%s\" is not a name", t->kind, name);
    if (t->namespaced && (!ns || !ns[0]))
        return err_set(err, ERR_INVALID, "%s %s: the namespace is missing", t->kind,
                       name ? name : "");
    return 0;
}

/* ---- reading ---- */

static int read_answer(struct arena *a, const struct kube_http *x, bool named,
                       struct kube_object *ret, struct err *err)
{
    if (!ret)
        return 0;
    str raw = arena_str(a, str_trim(buf_view(&x->answer)));
    int r = named ? kube_object_read(a, raw, ret, err) : object_read_unnamed(a, raw, ret, err);
    return r < 0 ? err_wrap(err, "%s %s", x->method, x->path) : 0;
}

static void http_free(struct kube_http *x)
{
    if (x->answer.p)
        explicit_bzero(x->answer.p, x->answer.n);
    buf_free(&x->answer);
}

int kube_get(struct kube *k, struct arena *a, const struct kube_type *t, const char *ns,
             const char *name, struct kube_object *ret, struct err *err)
{
    if (check_target(t, ns, name ? name : "", err) < 0)
        return -1;
    struct kube_http x CLEANUP(http_free) = {.method = "GET",
                                             .path = kube_path(a, t, ns, name, NULL)};
    if (client_exchange(k, &x, err) < 0)
        return -1;
    return read_answer(a, &x, true, ret, err);
}

int kube_get_path(struct kube *k, struct arena *a, const char *path, str *ret, struct err *err)
{
    struct kube_http x CLEANUP(http_free) = {.method = "GET", .path = path};
    if (client_exchange(k, &x, err) < 0)
        return -1;
    str body = buf_view(&x.answer);
    *ret = arena_str(a, body.p ? body : STR(""));
    return 0;
}

/* ---- writing ---- */

struct body {
    const char *method, *content_type;
    str text;
};

static int write_object(struct kube *k, struct arena *a, const struct kube_type *t, const char *ns,
                        const char *name, const struct body *body, const struct kube_write *opts,
                        struct kube_object *ret, struct err *err)
{
    static const struct kube_write defaults;
    struct buf url CLEANUP(buf_free) = {0};
    if (!opts)
        opts = &defaults;
    if (check_target(t, ns, name, err) < 0)
        return -1;
    add_path(&url, t, ns, name, opts->subresource);
    query_add(&url, "fieldManager", opts->manager ? opts->manager : KUBE_MANAGER);
    query_add(&url, "dryRun", opts->dry_run ? "All" : NULL);
    query_add(&url, "force", opts->force ? "true" : NULL);
    struct kube_http x CLEANUP(http_free) = {.method = body->method,
                                             .path = url.p,
                                             .content_type = body->content_type,
                                             .body = body->text};
    if (client_exchange(k, &x, err) < 0)
        return -1;
    return read_answer(a, &x, name != NULL, ret, err);
}

int kube_apply(struct kube *k, struct arena *a, const struct kube_type *t, const char *ns,
               const char *name, str body, const struct kube_write *opts, struct kube_object *ret,
               struct err *err)
{
    struct body b = {"PATCH", "application/apply-patch+yaml", body};
    return write_object(k, a, t, ns, name ? name : "", &b, opts, ret, err);
}

int kube_patch(struct kube *k, struct arena *a, const struct kube_type *t, const char *ns,
               const char *name, enum kube_patch_kind kind, str body, const struct kube_write *opts,
               struct kube_object *ret, struct err *err)
{
    struct body b = {"PATCH",
                     kind == KUBE_PATCH_MERGE ? "application/merge-patch+json"
                                              : "application/json-patch+json",
                     body};
    return write_object(k, a, t, ns, name ? name : "", &b, opts, ret, err);
}

int kube_create(struct kube *k, struct arena *a, const struct kube_type *t, const char *ns,
                str body, const struct kube_write *opts, struct kube_object *ret, struct err *err)
{
    struct body b = {"POST", "application/json", body};
    return write_object(k, a, t, ns, NULL, &b, opts, ret, err);
}

int kube_replace(struct kube *k, struct arena *a, const struct kube_type *t, const char *ns,
                 const char *name, str body, const struct kube_write *opts, struct kube_object *ret,
                 struct err *err)
{
    struct body b = {"PUT", "application/json", body};
    return write_object(k, a, t, ns, name ? name : "", &b, opts, ret, err);
}

static void add_text(struct buf *b, const char *before, const char *value)
{
    buf_puts(b, before);
    raw_add_string(b, str_of(value));
}

static void delete_options(struct buf *b, const struct kube_delete *o)
{
    buf_puts(b, "{\"apiVersion\":\"v1\",\"kind\":\"DeleteOptions\"");
    if (o->uid || o->resource_version) {
        buf_puts(b, ",\"preconditions\":{");
        if (o->uid)
            add_text(b, "\"uid\":", o->uid);
        if (o->resource_version)
            add_text(
                b, o->uid ? ",\"resourceVersion\":" : "\"resourceVersion\":", o->resource_version);
        buf_putc(b, '}');
    }
    if (o->propagation)
        add_text(b, ",\"propagationPolicy\":", o->propagation);
    if (o->grace_seconds >= 0)
        buf_printf(b, ",\"gracePeriodSeconds\":%d", o->grace_seconds);
    if (o->dry_run)
        buf_puts(b, ",\"dryRun\":[\"All\"]");
    buf_putc(b, '}');
}

int kube_delete(struct kube *k, const struct kube_type *t, const char *ns, const char *name,
                const struct kube_delete *opts, struct err *err)
{
    static const struct kube_delete defaults = {.grace_seconds = -1};
    struct buf url CLEANUP(buf_free) = {0}, body CLEANUP(buf_free) = {0};
    if (check_target(t, ns, name ? name : "", err) < 0)
        return -1;
    add_path(&url, t, ns, name, NULL);
    delete_options(&body, opts ? opts : &defaults);
    struct kube_http x CLEANUP(http_free) = {.method = "DELETE",
                                             .path = url.p,
                                             .content_type = "application/json",
                                             .body = buf_view(&body)};
    return client_exchange(k, &x, err);
}
