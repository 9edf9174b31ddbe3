#include "gateway/server.h"

#include <microhttpd.h>
#include <openssl/crypto.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/log.h"
#include "gateway/listen.h"
#include "gateway/serve.h"
#include "gateway/tokens.h"

enum {
    IDLE_SECONDS = 60,
    CONNECTIONS_PER_ADDRESS = 32,
    CONNECTION_MEMORY = 128 << 10, /* of headers and of one piece of a body */
    THREAD_STACK = 1 << 20
};

struct gateway {
    struct MHD_Daemon *daemon;
    struct tokens *tokens;
    struct registry *registry;
    char *controller, *spool;
    struct listening listen;
    atomic_ullong received;
};

/* ---- who, and whether ---- */

/* What a mover may do; the one place that says so. NULL: it may; else why not. */
static const char *refuse_mover(const struct request *r)
{
    const struct registration *own = &r->mover->r;
    bool get = r->method == METHOD_GET, read = get || r->method == METHOD_HEAD;
    enum backend_type type = r->route.file.type;
    if (r->route.kind == ROUTE_PASSWORD)
        return get ? NULL : "not for a mover\n";
    if (r->route.kind != ROUTE_LIST && r->route.kind != ROUTE_FILE)
        return "not for a mover\n";
    if (!str_is(r->route.repository, own->repository))
        return "another repository than the mover's\n";
    if (r->route.kind == ROUTE_LIST)
        return get && (type == BACKEND_KEY || type == BACKEND_INDEX || type == BACKEND_DATA)
                   ? NULL
                   : "not for a mover\n";
    switch (type) {
    case BACKEND_CONFIG:
        return read ? NULL : "not for a mover\n";
    case BACKEND_KEY:
        for (size_t i = 0; read && i < own->keys_n; i++)
            if (store_id_equal(&own->keys[i], &r->route.file.id))
                return NULL;
        return "not the mover's own key\n";
    case BACKEND_INDEX:
    case BACKEND_DATA:
        if (read)
            return NULL;
        return r->method == METHOD_POST && own->write ? NULL : "not for this mover\n";
    case BACKEND_LOCK:
    case BACKEND_SNAPSHOT:
    case BACKEND_TYPES:
        break;
    }
    return "not for a mover\n";
}

static void wipe(struct buf *b)
{
    if (b->p)
        OPENSSL_cleanse(b->p, b->room);
    buf_free(b);
}

/* 0 and the identity, or the status to answer with. */
static unsigned identify(struct gateway *g, struct MHD_Connection *c, struct gateway_identity *ret)
{
    struct err err = {0};
    const char *header = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Authorization");
    struct buf token CLEANUP(wipe) = {.room = 2 * GATEWAY_TOKEN_MAX,
                                      .cap = 2 * GATEWAY_TOKEN_MAX - 1};
    token.p = xcalloc(1, token.room);
    if (!tokens_from_header(header, &token))
        return 401;
    if (tokens_identify(g->tokens, token.p, ret, &err) < 0) {
        log_err("a token cannot be reviewed", &err, NULL, NULL);
        return 503;
    }
    return ret->authenticated ? 0 : 401;
}

static enum MHD_Result refuse(struct request *r, struct MHD_Connection *c, const char *who,
                              const char *why)
{
    char path[200];
    snprintf(path, sizeof path, "%s", r->path);
    log_line(LOG_WARN, "refused", "why", why, "who", who, "path", path, NULL);
    return serve_text(c, 403, why);
}

/* ---- bodies ---- */

static bool announced_length(struct MHD_Connection *c, uint64_t *ret)
{
    return str_u64(str_of(MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Content-Length")), ret);
}

/* What is wrong with the body that was announced, before a byte of it is read. 0: nothing. */
static unsigned refuse_body(struct request *r, struct MHD_Connection *c, uint64_t max)
{
    if (!announced_length(c, &r->length))
        return 411;
    return r->length > max ? 413 : 0;
}

static enum MHD_Result begin_upload(struct request *r, struct MHD_Connection *c)
{
    struct err err = {0};
    unsigned status = refuse_body(r, c, GATEWAY_UPLOAD_MAX);
    if (status)
        return serve_text(c, status, "an upload has a length, and not this one\n");
    if (!mover_spend(r->mover, r->length))
        return serve_text(c, 403, "the mover's budget of bytes is spent\n");
    if (serve_upload_begin(r, r->gateway->spool, &err) < 0)
        return serve_error(c, &err);
    return MHD_YES; /* go on with the body */
}

static enum MHD_Result begin_registration(struct request *r, struct MHD_Connection *c)
{
    unsigned status = refuse_body(r, c, GATEWAY_REGISTRATION_MAX);
    if (status)
        return serve_text(c, status, "a registration has a length, and not this one\n");
    /* All its room at once: the password in it leaves no copies behind. */
    r->body.room = r->length + 1;
    r->body.cap = MAX(r->length, (uint64_t)1);
    r->body.p = xcalloc(1, r->body.room + 1);
    return MHD_YES;
}

static enum MHD_Result end_registration(struct request *r, struct MHD_Connection *c)
{
    struct registration registration CLEANUP(registration_free) = {0};
    struct err err = {0};
    if (registration_parse(buf_view(&r->body), &registration, &err) < 0 ||
        registry_put(r->gateway->registry, r->route.pod_uid, &registration, &err) < 0) {
        log_err("a registration was refused", &err, NULL, NULL);
        return serve_error(c, &err);
    }
    return serve_text(c, 204, "");
}

/* ---- requests ---- */

static enum MHD_Result begin_controller(struct request *r, struct MHD_Connection *c)
{
    if (r->route.kind == ROUTE_MOVER && r->method == METHOD_PUT)
        return begin_registration(r, c);
    if (r->route.kind == ROUTE_MOVER && r->method == METHOD_DELETE) {
        registry_remove(r->gateway->registry, r->route.pod_uid);
        return serve_text(c, 204, "");
    }
    return refuse(r, c, r->gateway->controller, "not for the controller\n");
}

static enum MHD_Result begin_mover(struct request *r, struct MHD_Connection *c, const char *pod_uid)
{
    r->mover = registry_find(r->gateway->registry, pod_uid);
    if (!r->mover)
        return refuse(r, c, *pod_uid ? pod_uid : "no pod", "not a registered mover\n");
    const char *why = refuse_mover(r);
    if (why)
        return refuse(r, c, pod_uid, why);
    r->counted = true;
    if (atomic_fetch_add(&r->mover->requests, 1) >= GATEWAY_REQUESTS_PER_MOVER)
        return serve_text(c, 429, "too many requests of this mover at one time\n");
    if (r->method == METHOD_POST)
        return begin_upload(r, c);
    switch (r->route.kind) {
    case ROUTE_PASSWORD:
        return serve_password(r, c);
    case ROUTE_LIST:
        return serve_list(r, c);
    case ROUTE_FILE:
        return serve_file(r, c);
    case ROUTE_OTHER:
    case ROUTE_MOVER:
        break;
    }
    return MHD_NO;
}

/* Headers are there, the body is not: whoever is refused here has sent it for nothing. */
static enum MHD_Result begin(struct request *r, struct MHD_Connection *c)
{
    struct gateway_identity identity = {0};
    unsigned status = identify(r->gateway, c, &identity);
    if (status == 401)
        return serve_text(c, 401, "no valid token\n");
    if (status)
        return serve_text(c, status, "nobody can tell now whose token this is\n");
    if (streq(identity.username, r->gateway->controller))
        return begin_controller(r, c);
    return begin_mover(r, c, identity.pod_uid);
}

static enum MHD_Result take_piece(struct request *r, const char *p, size_t n)
{
    atomic_fetch_add(&r->gateway->received, n);
    r->received += n;
    if (r->received > r->length)
        return MHD_NO; /* ends the connection */
    if (r->spool >= 0)
        serve_upload_piece(r, p, n);
    else
        buf_add(&r->body, p, n);
    return MHD_YES;
}

static struct request *request_new(struct gateway *g, const char *path, const char *method)
{
    struct request *r = xcalloc(1, sizeof *r);
    r->gateway = g;
    r->spool = -1;
    r->path = xstrdup(path);
    r->method = route_method(method);
    route_parse(str_of(r->path), &r->route);
    return r;
}

/* Called first with the headers alone, then for each piece of the body, then at its end. */
static enum MHD_Result handle(void *ctx, struct MHD_Connection *c, const char *path,
                              const char *method, const char *version, const char *data,
                              size_t *data_n, void **state)
{
    (void)version;
    struct request *r = *state;
    if (!r) {
        *state = r = request_new(ctx, path, method);
        return begin(r, c);
    }
    if (*data_n) {
        size_t n = *data_n;
        *data_n = 0;
        return take_piece(r, data, n);
    }
    if (r->spool >= 0)
        return serve_upload_end(r, c);
    return end_registration(r, c);
}

static void complete(void *ctx, struct MHD_Connection *c, void **state,
                     enum MHD_RequestTerminationCode why)
{
    (void)ctx, (void)c, (void)why;
    struct request *r = *state;
    if (!r)
        return;
    if (r->counted)
        atomic_fetch_sub(&r->mover->requests, 1);
    if (r->mover)
        mover_release(r->mover);
    if (r->spool >= 0)
        close(r->spool);
    wipe(&r->body);
    free(r->path);
    free(r);
    *state = NULL;
}

/* Paths are compared as they were sent. */
static size_t leave_encoded(void *ctx, struct MHD_Connection *c, char *s)
{
    (void)ctx, (void)c;
    return strlen(s);
}

/* ---- start and stop ---- */

static struct MHD_Daemon *start_daemon(struct gateway *g, const char *cert_pem, const char *key_pem)
{
    unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION |
                     MHD_USE_POLL | MHD_USE_TLS | g->listen.flags;
    return MHD_start_daemon(
        flags, 0, NULL, NULL, handle, g, MHD_OPTION_SOCK_ADDR,
        (const struct sockaddr *)&g->listen.at, MHD_OPTION_HTTPS_MEM_CERT, cert_pem,
        MHD_OPTION_HTTPS_MEM_KEY, key_pem, MHD_OPTION_HTTPS_PRIORITIES,
        "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2", MHD_OPTION_NOTIFY_COMPLETED, complete, g,
        MHD_OPTION_UNESCAPE_CALLBACK, leave_encoded, NULL, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)GATEWAY_CONNECTIONS_MAX, MHD_OPTION_LISTENING_ADDRESS_REUSE, 1u,
        MHD_OPTION_PER_IP_CONNECTION_LIMIT, (unsigned)CONNECTIONS_PER_ADDRESS,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)CONNECTION_MEMORY, MHD_OPTION_THREAD_STACK_SIZE, (size_t)THREAD_STACK,
        MHD_OPTION_END);
}

static int start_serving(struct gateway *g, const char *cert_pem, const char *key_pem,
                         struct err *err)
{
    g->daemon = start_daemon(g, cert_pem, key_pem);
    if (!g->daemon)
        return err_set(
            err, ERR_IO,
            "cannot serve on port %u: the address is taken, or certificate and key do not fit",
            listening_port(&g->listen));
    listening_set_port(&g->listen, gateway_port(g)); /* 0 meant any: a renewal keeps it */
    return 0;
}

int gateway_start(const struct gateway_options *o, struct gateway **ret_gateway, struct err *err)
{
    struct gateway *g = xcalloc(1, sizeof *g);
    g->controller = xstrdup(o->controller);
    g->spool = xstrdup(o->spool ? o->spool : o->local_root);
    g->tokens = tokens_new(o->review, o->review_ctx);
    g->registry = registry_new(o->local_root, o->budget ? o->budget : GATEWAY_BUDGET_DEFAULT);
    if (listening_parse(o->listen, &g->listen, err) < 0 ||
        start_serving(g, o->cert_pem, o->key_pem, err) < 0) {
        gateway_stop(g);
        return -1;
    }
    *ret_gateway = g;
    return 0;
}

int gateway_renew(struct gateway *g, const char *cert_pem, const char *key_pem, struct err *err)
{
    MHD_stop_daemon(g->daemon);
    g->daemon = NULL;
    return start_serving(g, cert_pem, key_pem, err);
}

void gateway_stop(struct gateway *g)
{
    if (!g)
        return;
    if (g->daemon)
        MHD_stop_daemon(g->daemon);
    tokens_free(g->tokens);
    registry_free(g->registry);
    free(g->controller);
    free(g->spool);
    free(g);
}

unsigned gateway_port(const struct gateway *g)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(g->daemon, MHD_DAEMON_INFO_BIND_PORT);
    return info ? info->port : 0;
}

uint64_t gateway_bytes_received(struct gateway *g)
{
    return atomic_load(&g->received);
}
