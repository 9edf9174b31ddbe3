/* store: Signature Version 4 against the examples that AWS publishes, and the XML scanner. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/codec.h"
#include "store/sigv4.h"
#include "store/xml.h"

#include <stdlib.h>

/* The test suite of AWS ("aws-sig-v4-test-suite"): service "service" in us-east-1, at
 * 20150830T123600Z, host example.amazonaws.com. */
struct vector {
    const char *name, *method, *path, *query[4], *header[8], *body, *signature;
};

static const struct vector suite[] = {
    {"get-vanilla",
     "GET",
     "/",
     {0},
     {0},
     "",
     "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
    {"get-vanilla-empty-query-key",
     "GET",
     "/",
     {"Param1", "value1"},
     {0},
     "",
     "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb"},
    {"get-vanilla-query-order-key-case",
     "GET",
     "/",
     {"Param2", "value2", "Param1", "value1"},
     {0},
     "",
     "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
    {"get-vanilla-query-order-value",
     "GET",
     "/",
     {"Param1", "value2", "Param1", "value1"},
     {0},
     "",
     "5772eed61e12b33fae39ee5e7012498b51d56abc0abb7c60486157bd471c4694"},
    {"get-vanilla-query-unreserved",
     "GET",
     "/",
     {"-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
      "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"},
     {0},
     "",
     "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197"},
    {"get-vanilla-utf8-query",
     "GET",
     "/",
     {"\xe1\x88\xb4", "bar"},
     {0},
     "",
     "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04"},
    {"get-unreserved",
     "GET",
     "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
     {0},
     {0},
     "",
     "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"},
    {"get-utf8",
     "GET",
     "/\xe1\x88\xb4",
     {0},
     {0},
     "",
     "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"},
    {"get-header-key-duplicate",
     "GET",
     "/",
     {0},
     {"my-header1", "value2", "my-header1", "value2", "my-header1", "value1"},
     "",
     "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea"},
    {"get-header-value-order",
     "GET",
     "/",
     {0},
     {"my-header1", "value4", "my-header1", "value1", "my-header1", "value3", "my-header1",
      "value2"},
     "",
     "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01"},
    {"get-header-value-trim",
     "GET",
     "/",
     {0},
     {"my-header1", " value1", "my-header2", " \"a   b   c\""},
     "",
     "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"},
    {"post-vanilla",
     "POST",
     "/",
     {0},
     {0},
     "",
     "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
    {"post-header-key-sort",
     "POST",
     "/",
     {0},
     {"my-header1", "value1"},
     "",
     "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c"},
    {"post-header-value-case",
     "POST",
     "/",
     {0},
     {"my-header1", "VALUE1"},
     "",
     "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d"},
    {"post-vanilla-query",
     "POST",
     "/",
     {"Param1", "value1"},
     {0},
     "",
     "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11"},
    {"post-x-www-form-urlencoded",
     "POST",
     "/",
     {0},
     {"content-type", "application/x-www-form-urlencoded"},
     "Param1=value1",
     "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"},
};

static void hash(const char *body, char hex[65])
{
    uint8_t digest[32];
    sha256(body, strlen(body), digest);
    hex_encode(digest, sizeof digest, hex);
}

static void test_suite(void **state)
{
    (void)state;
    static const struct sigv4_key key = {"AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
                                         "us-east-1", "service"};
    for (size_t i = 0; i < ARRAY_LEN(suite); i++) {
        const struct vector *v = &suite[i];
        struct sigv4_pair headers[6] = {{STR("host"), STR("example.amazonaws.com")},
                                        {STR("x-amz-date"), STR("20150830T123600Z")}};
        struct sigv4_pair query[2];
        size_t headers_n = 2, query_n = 0;
        char payload[65];
        struct buf path = {0}, text = {0}, out = {0};
        for (size_t k = 0; k < ARRAY_LEN(v->header) && v->header[k]; k += 2)
            headers[headers_n++] =
                (struct sigv4_pair){str_of(v->header[k]), str_of(v->header[k + 1])};
        for (size_t k = 0; k < ARRAY_LEN(v->query) && v->query[k]; k += 2)
            query[query_n++] = (struct sigv4_pair){str_of(v->query[k]), str_of(v->query[k + 1])};
        hash(v->body, payload);
        sigv4_encode(&path, str_of(v->path), true);
        sigv4_query(&text, query, query_n);
        struct sigv4_request r = {v->method, buf_view(&path), buf_view(&text),
                                  headers,   headers_n,       payload};
        sigv4_sign(&out, &r, &key, "20150830T123600Z");
        if (!str_ends(buf_view(&out), v->signature))
            fail_msg("%s: %s instead of %s", v->name, out.p, v->signature);
        assert_true(str_starts(buf_view(&out),
                               "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/"
                               "service/aws4_request, SignedHeaders="));
        buf_free(&path);
        buf_free(&text);
        buf_free(&out);
    }
}

/* The examples of the S3 API Reference, "Authenticating Requests: Using the Authorization Header".
 */
static const struct vector s3_examples[] = {
    {"GET object",
     "GET",
     "/test.txt",
     {0},
     {"range", "bytes=0-9"},
     "",
     "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"},
    {"PUT object",
     "PUT",
     "/test$file.text",
     {0},
     {"date", "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class", "REDUCED_REDUNDANCY"},
     "Welcome to Amazon S3.",
     "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"},
    {"GET lifecycle",
     "GET",
     "/",
     {"lifecycle", ""},
     {0},
     "",
     "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"},
    {"list",
     "GET",
     "/",
     {"max-keys", "2", "prefix", "J"},
     {0},
     "",
     "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"},
};

static void test_s3_examples(void **state)
{
    (void)state;
    static const struct sigv4_key key = {
        "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "us-east-1", "s3"};
    for (size_t i = 0; i < ARRAY_LEN(s3_examples); i++) {
        const struct vector *v = &s3_examples[i];
        char payload[65];
        hash(v->body, payload);
        struct sigv4_pair headers[3 + ARRAY_LEN(v->header) / 2] = {
            {STR("host"), STR("examplebucket.s3.amazonaws.com")},
            {STR("x-amz-content-sha256"), str_of(payload)},
            {STR("x-amz-date"), STR("20130524T000000Z")}};
        struct sigv4_pair query[2];
        size_t headers_n = 3, query_n = 0;
        struct buf path = {0}, text = {0}, out = {0};
        for (size_t k = 0; k < ARRAY_LEN(v->header) && v->header[k]; k += 2)
            headers[headers_n++] =
                (struct sigv4_pair){str_of(v->header[k]), str_of(v->header[k + 1])};
        for (size_t k = 0; k < ARRAY_LEN(v->query) && v->query[k]; k += 2)
            query[query_n++] = (struct sigv4_pair){str_of(v->query[k]), str_of(v->query[k + 1])};
        sigv4_encode(&path, str_of(v->path), true);
        sigv4_query(&text, query, query_n);
        struct sigv4_request r = {v->method, buf_view(&path), buf_view(&text),
                                  headers,   headers_n,       payload};
        sigv4_sign(&out, &r, &key, "20130524T000000Z");
        if (!str_ends(buf_view(&out), v->signature))
            fail_msg("%s: %s instead of %s", v->name, out.p, v->signature);
        buf_free(&path);
        buf_free(&text);
        buf_free(&out);
    }
}

static void test_time(void **state)
{
    (void)state;
    char text[SIGV4_TIME];
    sigv4_time(1440938160999, text);
    assert_string_equal(text, "20150830T123600Z");
}

/* ---- XML ---- */

static void test_xml(void **state)
{
    (void)state;
    struct xml_in in;
    struct err err;
    xml_in_text(
        &in, STR("\xef\xbb\xbf<?xml version='1.0'?>\n<!-- c --><a x='>' xmlns:s=\"u\"><s:b>1 &amp; "
                 "&#x263a;<![CDATA[<2>]]></s:b><c/></a>\n"));
    assert_int_equal(xml_next(&in, &err), XML_OPEN);
    assert_int_equal(xml_next(&in, &err), XML_OPEN);
    assert_true(xml_is(&in, "a/b"));
    assert_false(xml_is(&in, "a"));
    assert_false(xml_is(&in, "a/b/c"));
    assert_int_equal(xml_next(&in, &err), XML_CLOSE);
    assert_true(xml_is(&in, "a/b"));
    assert_string_equal(in.text.p, "1 & \xe2\x98\xba<2>");
    assert_int_equal(xml_next(&in, &err), XML_OPEN);
    assert_int_equal(xml_next(&in, &err), XML_CLOSE);
    assert_true(xml_is(&in, "a/c"));
    assert_int_equal(in.text.n, 0);
    assert_int_equal(xml_next(&in, &err), XML_CLOSE);
    assert_true(xml_is(&in, "a"));
    assert_int_equal(xml_next(&in, &err), XML_END);
    xml_in_free(&in);
}

static void test_bad_xml(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        " ",
        "text",
        "<a>",
        "<a></b>",
        "</a>",
        "<a/><b/>",
        "<a>&nbsp;</a>",
        "<a>&#x110000;</a>",
        "<a>&#;</a>",
        "<a>&#x;</a>",
        "<a>& </a>",
        "<a",
        "<a x='>",
        "<>",
        "<a><!-- </a>",
        "<a/>text",
        "<!DOCTYPE a [<!ENTITY b \"c\">]><a/>",
        "<a><![CDATA[</a>",
        "<a><b</a>",
        "<a:/>",
        "<a><a><a><a><a><a><a><a><a><a><a><a><a/></a></a></a></a></a></a></a></a></a></a></a></a>",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct err err;
        if (xml_find(str_of(bad[i]), NULL, 0, &err) == 0)
            fail_msg("taken as XML: %s", bad[i]);
        assert_int_equal(err.kind, ERR_CORRUPT);
    }
    /* A text beyond the bound. */
    struct buf text = {0};
    struct err err;
    buf_puts(&text, "<a>");
    for (size_t i = 0; i <= XML_TEXT_MAX; i++)
        buf_putc(&text, 'x');
    buf_puts(&text, "</a>");
    assert_int_equal(xml_find(buf_view(&text), NULL, 0, &err), -1);
    buf_free(&text);
}

static void test_find(void **state)
{
    (void)state;
    struct buf code = {0}, region = {0};
    struct xml_wanted wanted[] = {{"Code", &code}, {"Region", &region}};
    struct err err;
    assert_int_equal(xml_find(STR("<Error><Code> X </Code><Code>Y</Code><Region></Region></Error>"),
                              wanted, 2, &err),
                     0);
    assert_string_equal(code.p, "X");
    assert_int_equal(region.n, 0);
    buf_reset(&code);
    xml_escape(&code, STR("a<b>&'\""));
    assert_string_equal(code.p, "a&lt;b&gt;&amp;&apos;&quot;");
    buf_free(&code);
    buf_free(&region);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_suite),   cmocka_unit_test(test_s3_examples),
        cmocka_unit_test(test_time),    cmocka_unit_test(test_xml),
        cmocka_unit_test(test_bad_xml), cmocka_unit_test(test_find),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
