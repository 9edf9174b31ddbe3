/* What the gateway reads and makes, without a server: registrations, reviews, certificates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "gateway/registration.h"
#include "gateway/review.h"
#include "gateway/tls.h"

static void registrations_are_checked(void **state)
{
    (void)state;
#define ID "\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\""
#define S3(text) "{\"repository\":\"a/b\",\"password\":\"p\",\"keys\":[" ID "],\"s3\":{" text "}}"
    static const struct {
        const char *text;
        bool good;
    } cases[] = {
        {"{\"repository\":\"a/b\",\"password\":\"p\",\"keys\":[" ID "]}", true},
        {"{\"store\":\"x/y\",\"repository\":\"a/_cluster\",\"password\":\"p\",\"keys\":[" ID "],"
         "\"write\":true,\"lock\":\"h\",\"budget\":5}",
         true},
        {"", false},
        {"[]", false},
        {"null", false},
        {"{", false},
        {"{\"password\":\"p\",\"keys\":[" ID "]}", false},
        {"{\"repository\":\"a/b\",\"keys\":[" ID "]}", false},
        {"{\"repository\":\"a/b\",\"password\":\"\",\"keys\":[" ID "]}", false},
        {"{\"repository\":\"a/b\",\"password\":7,\"keys\":[" ID "]}", false},
        {"{\"repository\":\"a/b\",\"password\":\"p\",\"keys\":[]}", false},
        {"{\"repository\":\"a/b\",\"password\":\"p\",\"keys\":[\"ab\"]}", false},
        {"{\"repository\":\"a/b/c\",\"password\":\"p\",\"keys\":[" ID "]}", false},
        {"{\"repository\":\"a/..\",\"password\":\"p\",\"keys\":[" ID "]}", false},
        {"{\"store\":\"../x\",\"repository\":\"a/b\",\"password\":\"p\",\"keys\":[" ID "]}", false},
        {"{\"store\":\"/x\",\"repository\":\"a/b\",\"password\":\"p\",\"keys\":[" ID "]}", false},
        {"{\"store\":\"x/\",\"repository\":\"a/b\",\"password\":\"p\",\"keys\":[" ID "]}", false},
        {"{\"store\":\"x/../y\",\"repository\":\"a/b\",\"password\":\"p\",\"keys\":[" ID "]}",
         false},
        {"{\"repository\":\"a/b\",\"password\":\"p\",\"keys\":[" ID "],\"write\":true}", false},
        {"{\"repository\":\"a/b\",\"password\":\"p\",\"keys\":[" ID "],\"write\":1}", false},
        {"{\"repository\":\"a/b\",\"password\":\"p\",\"keys\":[" ID "],\"budget\":-1}", false},
        {"{\"repository\":\"a/b\",\"password\":\"p\",\"keys\":[" ID "],\"admin\":true}", false},
        {S3("\"endpoint\":\"h\",\"bucket\":\"bbb\""), true},
        {S3("\"endpoint\":\"h\",\"bucket\":\"bbb\",\"access_key\":\"a\",\"secret_key\":\"s\","
            "\"session_token\":\"t\",\"region\":\"r\",\"prefix\":\"p\",\"lookup\":\"path\",\"ca\":"
            "\"c\""),
         true},
        {S3("\"endpoint\":\"h\""), false},
        {S3("\"bucket\":\"bbb\""), false},
        {S3("\"endpoint\":\"h\",\"bucket\":7"), false},
        {S3("\"endpoint\":\"h\",\"bucket\":\"bbb\",\"access_key\":\"a\""), false},
        {S3("\"endpoint\":\"h\",\"bucket\":\"bbb\",\"lookup\":\"x\""), false},
        {S3("\"endpoint\":\"h\",\"bucket\":\"bbb\",\"admin\":\"x\""), false},
        {S3("\"endpoint\":\"h\",\"bucket\":\"bbb\"},\"store\":\"x\",\"a\":{\"x\":1"), false},
        {"{\"repository\":\"a/b\",\"password\":\"p\",\"keys\":[" ID "],\"s3\":[]}", false},
        {"{\"repository\":\"a/b\",\"password\":\"p\",\"keys\":[" ID "],\"key_text\":\"x\"}", false},
        {"{\"repository\":\"a/b\",\"password\":\"p\",\"keys\":[" ID "],\"config\":\"eA==\"}", true},
        {"{\"repository\":\"a/b\",\"password\":\"p\",\"keys\":[" ID "],\"config\":\"eA=\"}", false},
        {"{\"repository\":\"a/b\",\"password\":\"p\",\"keys\":[" ID "],\"config\":7}", false},
        {"{\"repository\":\"a/b\\u0000\",\"password\":\"p\",\"keys\":[" ID "]}", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct registration r = {0};
        struct err err = {0};
        int done = registration_parse(str_of(cases[i].text), &r, &err);
        if ((done == 0) != cases[i].good)
            fail_msg("%s: %s", cases[i].text, err.msg);
        registration_free(&r);
    }
}

static void reviews_are_read_with_care(void **state)
{
    (void)state;
#define USER                                                                                       \
    "\"user\":{\"username\":\"u\",\"extra\":{\"authentication.kubernetes.io/pod-uid\":[\"p1\"]}}"
    static const struct {
        const char *text, *uid;
        bool good;
    } cases[] = {
        {"{\"status\":{\"authenticated\":true,\"audiences\":[\"gleaner-gateway\"]," USER "}}", "p1",
         true},
        {"{\"status\":{\"authenticated\":true,\"audiences\":[\"x\",\"gleaner-gateway\"],"
         "\"user\":{\"username\":\"u\"}}}",
         "", true},
        {"{\"status\":{\"authenticated\":true,\"audiences\":[\"api\"]," USER "}}", "", false},
        {"{\"status\":{\"authenticated\":true," USER "}}", "", false}, /* knows no audiences */
        {"{\"status\":{\"authenticated\":false,\"audiences\":[\"gleaner-gateway\"]," USER "}}", "",
         false},
        {"{\"status\":{\"audiences\":[\"gleaner-gateway\"]," USER "}}", "", false},
        {"{\"status\":{\"authenticated\":true,\"audiences\":[\"gleaner-gateway\"]}}", "", false},
        {"{}", "", false},
        {"", "", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena *a = arena_new();
        struct gateway_identity who;
        review_read(a, str_of(cases[i].text), "gleaner-gateway", &who);
        if (who.authenticated != cases[i].good || !streq(who.pod_uid, cases[i].uid))
            fail_msg("%s", cases[i].text);
        arena_free(a);
    }
}

static void certificates_are_of_their_names(void **state)
{
    (void)state;
    struct gateway_certificate c = {0};
    struct err err = {0};
    int64_t left;
    static const char *const good[] = {"a.b.svc", NULL}, *const bad[] = {"a,IP:1.2.3.4", NULL};
    static const char *const no_address[] = {"1.2.3", NULL};
    assert_int_equal(gateway_make_certificate(bad, NULL, 1, &c, &err), -1);
    assert_int_equal(gateway_make_certificate(good, no_address, 1, &c, &err), -1);
    assert_int_equal(gateway_make_certificate(NULL, NULL, 1, &c, &err), -1);
    assert_int_equal(gateway_make_certificate(good, NULL, 90, &c, &err), 0);
    assert_int_equal(gateway_certificate_left(c.cert_pem, &left, &err), 0);
    assert_in_range(left, 90 * 86400 - 60, 90 * 86400 + 60);
    assert_int_equal(gateway_certificate_left("no", &left, &err), -1);
    gateway_certificate_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(registrations_are_checked),
        cmocka_unit_test(reviews_are_read_with_care),
        cmocka_unit_test(certificates_are_of_their_names),
    };
    return cmocka_run_group_tests_name("gateway/text", tests, NULL, NULL);
}
