/* reconciler/gateway_setup: when the gateway's certificate is made anew, and when it is left alone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "core/clock.h"
#include "core/json.h"
#include "fake_child.h"
#include "gateway/tls.h"
#include "kube/secret.h"
#include "reconciler/gateway_setup.h"

#define DAY_MS ((int64_t)86400000)

static int64_t fake_time;

static int64_t fake_now(void)
{
    return fake_time;
}

struct world {
    struct fake_child *fake;
    struct context cx;
    struct arena *a;
};

static int set_up(void **state)
{
    struct world *w = xcalloc(1, sizeof *w);
    w->fake = fake_start(NULL);
    w->cx = (struct context){.kube = fake_client(w->fake), .ns = "gleaner-system"};
    w->a = arena_new();
    assert_true(clock_parse(STR("2030-01-01T00:00:00Z"), &fake_time));
    clock_override(fake_now);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    clock_override(NULL);
    kube_free(w->cx.kube);
    arena_free(w->a);
    fake_stop(w->fake);
    free(w);
    return 0;
}

static void put_service(struct world *w, const char *address)
{
    fake_post(
        w->fake, "objects",
        arena_printf(w->a,
                     "[{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"%s\","
                     "\"namespace\":\"gleaner-system\"},\"spec\":{\"clusterIP\":\"%s\"}}]",
                     GATEWAY_SERVICE, address));
}

static struct kube_object secret(struct world *w)
{
    struct kube_object o;
    struct err err;
    if (kube_get(w->cx.kube, w->a, &KUBE_SECRET, w->cx.ns, GATEWAY_SECRET, &o, &err) < 0)
        fail_msg("%s", err.msg);
    return o;
}

/* True if the look wrote. */
static bool look(struct world *w)
{
    struct err err;
    json_t *before CLEANUP_JSON = fake_get(w->fake, "state");
    if (gateway_setup(&w->cx, &err) < 0)
        fail_msg("%s", err.msg);
    json_t *after CLEANUP_JSON = fake_get(w->fake, "state");
    return !json_equal(json_value_at(before, "mutating", NULL),
                       json_value_at(after, "mutating", NULL));
}

/* The certificate is of that address, signed by the CA that movers are given, and lives long. */
static void expect_good(struct world *w, const char *address, const char *url)
{
    const char *at;
    str ca;
    int64_t left;
    struct err err;
    assert_int_equal(gateway_address(&w->cx, w->a, &at, &ca, &err), 0);
    assert_string_equal(at, url);
    struct kube_object o = secret(w);
    const char *cert = kube_secret_text(w->a, &o, "tls.crt");
    assert_int_equal(gateway_certificate_left(cert, &left, &err), 0);
    assert_int_equal(left, 3650 * (DAY_MS / 1000));
    assert_int_equal(gateway_certificate_check(cert, kube_secret_text(w->a, &o, "tls.key"), &err),
                     0);
    BIO *one = BIO_new_mem_buf(cert, -1), *two = BIO_new_mem_buf(ca.p, (int)ca.n);
    X509 *served = PEM_read_bio_X509(one, NULL, NULL, NULL),
         *issuer = PEM_read_bio_X509(two, NULL, NULL, NULL);
    assert_int_equal(X509_check_ip_asc(served, address, 0), 1);
    assert_int_equal(X509_verify(served, X509_get0_pubkey(issuer)), 1);
    X509_free(served);
    X509_free(issuer);
    BIO_free(one);
    BIO_free(two);
}

static void test_it_is_made_anew_in_time(void **state)
{
    struct world *w = *state;
    struct err err;
    assert_int_equal(gateway_setup(&w->cx, &err), -1);
    assert_int_equal(err.kind, ERR_NOT_FOUND);
    put_service(w, "10.0.0.1");
    assert_true(look(w));
    expect_good(w, "10.0.0.1", "https://10.0.0.1:8443");
    assert_false(look(w));
    fake_time += 3620 * DAY_MS - 1000;
    assert_false(look(w));
    fake_time += 1000; /* 30 days before its end */
    assert_true(look(w));
    expect_good(w, "10.0.0.1", "https://10.0.0.1:8443");
    assert_false(look(w));
}

static void test_it_is_of_the_present_address(void **state)
{
    struct world *w = *state;
    put_service(w, "10.0.0.1");
    assert_true(look(w));
    put_service(w, "fd00::7");
    assert_true(look(w));
    expect_good(w, "fd00::7", "https://[fd00::7]:8443");
    assert_false(look(w));
}

/* What somebody took out of the Secret or put into it. */
static void test_a_broken_secret_is_made_whole(void **state)
{
    struct world *w = *state;
    static const char *const data[] = {"{\"ca.crt\":null}", "{\"tls.key\":null}",
                                       "{\"tls.crt\":\"YQ==\"}", "{\"tls.key\":\"YQ==\"}"};
    struct err err;
    put_service(w, "10.0.0.1");
    assert_true(look(w));
    for (size_t i = 0; i < ARRAY_LEN(data); i++) {
        str body = str_of(arena_printf(w->a, "{\"data\":%s}", data[i]));
        assert_int_equal(kube_patch(w->cx.kube, w->a, &KUBE_SECRET, w->cx.ns, GATEWAY_SECRET,
                                    KUBE_PATCH_MERGE, body, NULL, NULL, &err),
                         0);
        assert_true(look(w));
        expect_good(w, "10.0.0.1", "https://10.0.0.1:8443");
    }
    assert_int_equal(kube_delete(w->cx.kube, &KUBE_SECRET, w->cx.ns, GATEWAY_SECRET, NULL, &err),
                     0);
    assert_true(look(w));
    expect_good(w, "10.0.0.1", "https://10.0.0.1:8443");
}

int main(void)
{
#define WITH_FAKE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_FAKE(test_it_is_made_anew_in_time),
        WITH_FAKE(test_it_is_of_the_present_address),
        WITH_FAKE(test_a_broken_secret_is_made_whole),
    };
    return cmocka_run_group_tests_name("gateway/setup", tests, NULL, NULL);
}
