#include "reconciler/gateway_setup.h"

#include "core/log.h"
#include "gateway/client.h"
#include "gateway/tls.h"
#include "kube/secret.h"

enum { GATEWAY_PORT = 8443, VALID_DAYS = 3650, RENEW_SECONDS = 30 * 86400 };

static int service_address(struct context *cx, struct arena *a, const char **ret, struct err *err)
{
    struct kube_object service;
    if (kube_get(cx->kube, a, &KUBE_SERVICE, cx->ns, GATEWAY_SERVICE, &service, err) < 0)
        return err_wrap(err, "the gateway's Service");
    const char *ip = raw_text(a, service.raw, "spec", "clusterIP", NULL);
    if (!ip || streq(ip, "None"))
        return err_set(err, ERR_INVALID, "Service %s/%s has no cluster address", cx->ns,
                       GATEWAY_SERVICE);
    *ret = ip;
    return 0;
}

static int secret_text(struct arena *a, const struct kube_object *secret, const char *key, str *ret,
                       struct err *err)
{
    str text;
    if (kube_secret_value(a, secret, key, &text, err) < 0)
        return -1;
    if (text.n == 0)
        return err_set(err, ERR_NOT_FOUND, "Secret %s/%s has no %s", secret->ns, secret->name, key);
    *ret = text;
    return 0;
}

/* True if the Secret is whole, and its certificate lives long enough and was made for the Service's
 * present address. */
static bool is_good(struct arena *a, const struct kube_object *secret, const char *address)
{
    str ca, cert, key;
    int64_t left;
    return streq(kube_annotation(a, secret, "gleaner.dev/gateway-address"), address) &&
           secret_text(a, secret, "ca.crt", &ca, NULL) == 0 &&
           secret_text(a, secret, "tls.crt", &cert, NULL) == 0 &&
           secret_text(a, secret, "tls.key", &key, NULL) == 0 &&
           gateway_certificate_check(cert.p, key.p, NULL) == 0 &&
           gateway_certificate_left(cert.p, &left, NULL) == 0 && left > RENEW_SECONDS;
}

static void add_member(struct buf *body, const char *name, const char *text)
{
    buf_printf(body, "\"%s\":\"", name);
    base64_encode(body, text, strlen(text));
    buf_putc(body, '"');
}

static int write_secret(struct context *cx, struct arena *a, const char *address, bool replace,
                        struct err *err)
{
    struct gateway_certificate cert CLEANUP(gateway_certificate_free) = {0};
    const char *const names[] = {
        GATEWAY_SERVICE, arena_printf(a, GATEWAY_SERVICE ".%s.svc", cx->ns),
        arena_printf(a, GATEWAY_SERVICE ".%s.svc.cluster.local", cx->ns), NULL};
    const char *const addresses[] = {address, NULL};
    if (gateway_make_certificate(names, addresses, VALID_DAYS, &cert, err) < 0)
        return err_wrap(err, "making the gateway's certificate");
    struct buf body CLEANUP(buf_free) = {0};
    buf_printf(&body,
               "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"type\":\"kubernetes.io/tls\","
               "\"metadata\":{\"name\":\"" GATEWAY_SECRET "\",\"annotations\":"
               "{\"gleaner.dev/gateway-address\":\"%s\"}},\"data\":{",
               address);
    add_member(&body, "ca.crt", cert.ca_pem);
    buf_putc(&body, ',');
    add_member(&body, "tls.crt", cert.cert_pem);
    buf_putc(&body, ',');
    add_member(&body, "tls.key", cert.key_pem);
    buf_puts(&body, "}}");
    int r = replace
                ? kube_patch(cx->kube, a, &KUBE_SECRET, cx->ns, GATEWAY_SECRET, KUBE_PATCH_MERGE,
                             buf_view(&body), NULL, NULL, err)
                : kube_create(cx->kube, a, &KUBE_SECRET, cx->ns, buf_view(&body), NULL, NULL, err);
    explicit_bzero(body.p, body.n);
    if (r < 0)
        return err_wrap(err, "writing Secret %s/" GATEWAY_SECRET, cx->ns);
    log_line(LOG_INFO, "made a certificate for the gateway", "address", address, NULL);
    return 0;
}

int gateway_setup(struct context *cx, struct err *err)
{
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    const char *address;
    struct kube_object secret;
    if (service_address(cx, a, &address, err) < 0)
        return -1;
    int r = kube_get(cx->kube, a, &KUBE_SECRET, cx->ns, GATEWAY_SECRET, &secret, err);
    if (r < 0 && err->kind != ERR_NOT_FOUND)
        return -1;
    if (r == 0 && is_good(a, &secret, address))
        return 0;
    return write_secret(cx, a, address, r == 0, err);
}

int gateway_address(struct context *cx, struct arena *a, const char **ret_url, str *ret_ca,
                    struct err *err)
{
    struct kube_object secret;
    const char *address;
    if (service_address(cx, a, &address, err) < 0 ||
        kube_get(cx->kube, a, &KUBE_SECRET, cx->ns, GATEWAY_SECRET, &secret, err) < 0 ||
        secret_text(a, &secret, "ca.crt", ret_ca, err) < 0)
        return err_wrap(err, "looking for the gateway");
    *ret_url = arena_printf(a, strchr(address, ':') ? "https://[%s]:%d" : "https://%s:%d", address,
                            GATEWAY_PORT);
    return 0;
}
