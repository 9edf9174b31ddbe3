#include "reconciler/health.h"

#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>

#include "core/str.h"
#include "gateway/listen.h"
#include "reconciler/metrics.h"

struct health {
    struct MHD_Daemon *daemon;
    const atomic_bool *ready;
};

static enum MHD_Result answer_metrics(struct MHD_Connection *c)
{
    struct buf text = {0};
    metrics_print(&text);
    size_t n = text.n;
    struct MHD_Response *r =
        MHD_create_response_from_buffer(n, buf_take(&text), MHD_RESPMEM_MUST_FREE);
    MHD_add_response_header(r, "Content-Type", "text/plain; version=0.0.4");
    enum MHD_Result result = MHD_queue_response(c, 200, r);
    MHD_destroy_response(r);
    return result;
}

static enum MHD_Result answer(void *cls, struct MHD_Connection *c, const char *url,
                              const char *method, const char *version, const char *data,
                              size_t *data_n, void **state)
{
    (void)version;
    (void)data;
    (void)data_n;
    (void)state;
    const struct health *h = cls;
    if (streq(url, "/metrics") && streq(method, "GET"))
        return answer_metrics(c);
    bool known = streq(url, "/healthz") || streq(url, "/readyz");
    bool ok = streq(url, "/healthz") || atomic_load(h->ready);
    unsigned code = !known ? 404 : !streq(method, "GET") ? 405 : ok ? 200 : 503;
    static char yes[] = "ok\n", no[] = "not ready\n";
    char *text = code == 200 ? yes : no;
    struct MHD_Response *r =
        MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_PERSISTENT);
    enum MHD_Result result = MHD_queue_response(c, code, r);
    MHD_destroy_response(r);
    return result;
}

int health_start(const char *address, const atomic_bool *ready, struct health **ret,
                 struct err *err)
{
    struct listening l;
    if (listening_parse(address, &l, err) < 0)
        return err_wrap(err, "--health");
    if (!listening_port(&l))
        return err_set(err, ERR_INVALID, "--health %s: give a port", address);
    struct health *h = xcalloc(1, sizeof *h);
    h->ready = ready;
    h->daemon = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | l.flags, 0, NULL, NULL, answer,
                                 h, MHD_OPTION_SOCK_ADDR, (const struct sockaddr *)&l.at,
                                 MHD_OPTION_CONNECTION_TIMEOUT, 10u, MHD_OPTION_CONNECTION_LIMIT,
                                 32u, MHD_OPTION_END);
    if (!h->daemon) {
        free(h);
        return err_set(err, ERR_IO, "cannot listen on %s for health checks", address);
    }
    *ret = h;
    return 0;
}

void health_stop(struct health *h)
{
    if (!h)
        return;
    MHD_stop_daemon(h->daemon);
    free(h);
}
