/* core: slices, maps, the JSON scanner and editor, codecs, clocks, child processes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/arena.h"
#include "core/clock.h"
#include "core/codec.h"
#include "core/json.h"
#include "core/jsonedit.h"
#include "core/map.h"
#include "core/proc.h"

#include <string.h>

static void test_str_cut(void **state)
{
    (void)state;
    str s = STR("a_b__c");
    assert_true(str_is(str_cut(&s, '_'), "a"));
    assert_true(str_is(str_cut(&s, '_'), "b"));
    assert_true(str_is(str_cut(&s, '_'), ""));
    assert_true(str_is(str_cut(&s, '_'), "c"));
    assert_null(s.p);
}

static void test_buf_cap(void **state)
{
    (void)state;
    struct buf b = {.cap = 4};
    buf_puts(&b, "abcd");
    assert_false(b.overflow);
    buf_putc(&b, 'e');
    assert_true(b.overflow);
    assert_string_equal(b.p, "abcd");
    buf_free(&b);
}

static void test_map_many(void **state)
{
    (void)state;
    struct map *m = map_new(NULL);
    char key[16];
    for (uintptr_t i = 1; i <= 5000; i++) {
        snprintf(key, sizeof key, "k%u", (unsigned)i);
        map_put(m, str_of(key), (void *)i);
    }
    for (uintptr_t i = 2; i <= 5000; i += 2) {
        snprintf(key, sizeof key, "k%u", (unsigned)i);
        assert_true(map_del(m, str_of(key)));
        assert_false(map_del(m, str_of(key)));
    }
    assert_int_equal(map_count(m), 2500);
    assert_ptr_equal(map_get(m, STR("k4999")), (void *)4999);
    assert_null(map_get(m, STR("k4998")));
    size_t at = 0, n = 0;
    void *v;
    uintptr_t last = 0;
    while (map_each(m, &at, NULL, &v)) {
        assert_true((uintptr_t)v > last);
        last = (uintptr_t)v;
        n++;
    }
    assert_int_equal(n, 2500);
    map_free(m);
}

static void test_scan_accepts_and_refuses(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool ok;
    } rows[] = {
        {"{}", true},
        {" [1, 2.5e-3 , -0] ", true},
        {"{\"a\":{\"b\":[{},[]]}}", true},
        {"\"\\u00e9\\n\"", true},
        {"null", true},
        {"", false},
        {"{", false},
        {"{\"a\"}", false},
        {"{\"a\":1,}", false},
        {"[1,]", false},
        {"01", false},
        {"1.", false},
        {"\"a\nb\"", false},
        {"\"\\x\"", false},
        {"tru", false},
        {"{} {}", false},
        {"[1}", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err;
        bool ok = raw_check(str_of(rows[i].text), &err) == 0;
        if (ok != rows[i].ok)
            fail_msg("%s: %s", rows[i].text, ok ? "accepted" : err.msg);
    }
}

static void test_scan_depth_is_bounded(void **state)
{
    (void)state;
    char deep[2 * JSON_DEPTH + 3];
    memset(deep, '[', JSON_DEPTH);
    memset(deep + JSON_DEPTH, ']', JSON_DEPTH);
    struct err err;
    assert_int_equal(raw_check((str){deep, 2 * JSON_DEPTH}, &err), 0);
    memset(deep, '[', JSON_DEPTH + 1);
    memset(deep + JSON_DEPTH + 1, ']', JSON_DEPTH + 1);
    assert_int_equal(raw_check((str){deep, 2 * JSON_DEPTH + 2}, &err), -1);
}

static void test_raw_paths(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    str t = STR("{\"n\": 1e3, \"m\":{\"\\u0061\":\"x\\ud83d\\ude00\",\"l\":[1,{\"k\":true}]}}");
    assert_true(str_is(raw_get(t, "n"), "1e3"));
    assert_string_equal(raw_text(a, t, "m", "a", NULL), "x\xf0\x9f\x98\x80");
    assert_null(raw_text(a, t, "m", "l", NULL));
    assert_null(raw_at(t, "m", "zz", NULL).p);
    str v;
    struct raw_iter it = raw_iter(raw_at(t, "m", "l", NULL));
    assert_true(raw_next(&it, NULL, &v) && str_is(v, "1"));
    assert_true(raw_next(&it, NULL, &v) && raw_true(raw_get(v, "k")));
    assert_false(raw_next(&it, NULL, &v));
    assert_false(it.bad);
    arena_free(a);
}

static void test_edit_copies_the_rest(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    struct err err;
    str t = STR("{ \"a\" : 0.1 , \"metadata\" : {\"uid\":\"u\", \"n\":1e3} }"), r;
    assert_int_equal(raw_remove(a, t, JSON_PATH("metadata", "uid"), &r, &err), 0);
    assert_string_equal(r.p, "{ \"a\" : 0.1 , \"metadata\" : { \"n\":1e3} }");
    assert_int_equal(raw_set(a, t, JSON_PATH("metadata", "uid"), STR("\"w\""), &r, &err), 0);
    assert_string_equal(r.p, "{ \"a\" : 0.1 , \"metadata\" : {\"uid\":\"w\", \"n\":1e3} }");
    assert_int_equal(raw_set(a, STR("{}"), JSON_PATH("x", "y", "z"), STR("1"), &r, &err), 0);
    assert_string_equal(r.p, "{\"x\":{\"y\":{\"z\":1}}}");
    assert_int_equal(raw_remove(a, STR("{\"a\":1 , \"b\":2}"), JSON_PATH("b"), &r, &err), 0);
    assert_string_equal(r.p, "{\"a\":1 }");
    assert_int_equal(raw_remove(a, STR("{\"b\":2}"), JSON_PATH("b"), &r, &err), 0);
    assert_string_equal(r.p, "{}");
    assert_int_equal(raw_set(a, STR("{\"a\":3}"), JSON_PATH("a", "b"), STR("1"), &r, &err), -1);
    arena_free(a);
}

static void test_add_string(void **state)
{
    (void)state;
    struct buf b = {0};
    raw_add_string(&b, STR("a\"\\\n\x01\xff\xc3\xa9"));
    assert_string_equal(b.p, "\"a\\\"\\\\\\n\\u0001\\ufffd\xc3\xa9\"");
    buf_free(&b);
}

static void test_base64(void **state)
{
    (void)state;
    struct err err;
    static const char *const rows[][2] = {{"", ""},
                                          {"f", "Zg=="},
                                          {"fo", "Zm8="},
                                          {"foo", "Zm9v"},
                                          {"foob", "Zm9vYg=="},
                                          {"fooba", "Zm9vYmE="},
                                          {"foobar", "Zm9vYmFy"}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf b = {0}, back = {0};
        base64_encode(&b, rows[i][0], strlen(rows[i][0]));
        assert_true(str_is(buf_view(&b), rows[i][1]));
        assert_int_equal(base64_decode(&back, buf_view(&b), &err), 0);
        assert_true(str_is(buf_view(&back), rows[i][0]));
        buf_free(&b);
        buf_free(&back);
    }
    static const char *const bad[] = {"Z", "Zg=", "Zg==Zg==", "Z===", "Zm9v!", "=Zg="};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct buf b = {0};
        assert_int_equal(base64_decode(&b, str_of(bad[i]), &err), -1);
        buf_free(&b);
    }
}

static void test_clock(void **state)
{
    (void)state;
    int64_t ms;
    char text[CLOCK_RFC3339];
    assert_true(clock_parse(STR("2026-01-02T04:04:05.250+01:00"), &ms));
    assert_int_equal(ms, 1767323045250);
    clock_format(ms, text);
    assert_string_equal(text, "2026-01-02T03:04:05Z");
    assert_false(clock_parse(STR("2026-01-02"), &ms));
    assert_true(clock_parse_duration(STR("1h30m5s"), &ms));
    assert_int_equal(ms, 5405000);
    assert_false(clock_parse_duration(STR("5"), &ms));
    assert_false(clock_parse_duration(STR("5x"), &ms));
}

static void test_proc(void **state)
{
    (void)state;
    struct err err;
    struct proc_result r;
    const char *const cat[] = {"/bin/cat", NULL};
    char *big = xmalloc(300000);
    memset(big, 'x', 300000);
    struct proc_request req = {.argv = cat, .input = {big, 300000}};
    assert_int_equal(proc_run(&req, &r, &err), 0);
    assert_int_equal(r.exit_code, 0);
    assert_int_equal(r.output.n, 300000);
    proc_result_free(&r);
    req.output_cap = 1000;
    assert_int_equal(proc_run(&req, &r, &err), -1);
    assert_int_equal(err.kind, ERR_TOO_LARGE);
    free(big);

    const char *const hang[] = {"/bin/sh", "-c", "exec 1>&- 2>&-; while :; do :; done", NULL};
    req = (struct proc_request){.argv = hang, .timeout_ms = 100};
    assert_int_equal(proc_run(&req, &r, &err), -1);
    assert_int_equal(err.kind, ERR_TIMEOUT);

    const char *const says[] = {"/bin/sh", "-c", "echo $A; echo no >&2; exit 3", NULL};
    const char *const env[] = {"A=b", NULL};
    req = (struct proc_request){.argv = says, .env = env};
    assert_int_equal(proc_run(&req, &r, &err), 0);
    assert_int_equal(r.exit_code, 3);
    assert_string_equal(r.output.p, "b\n");
    assert_string_equal(r.errors.p, "no\n");
    proc_result_free(&r);
}

static void test_err(void **state)
{
    (void)state;
    struct err err;
    assert_int_equal(err_set(&err, ERR_CONFLICT, "two\nlines"), -1);
    err_wrap(&err, "saving %s", "x");
    assert_string_equal(err.msg, "saving x: two lines");
    assert_true(err_is_transient(&err));
    assert_string_equal(err_kind_name(ERR_TOO_LARGE), "too large");
}

static void test_text_mend(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to;
    } rows[] = {
        {"plain", "plain"},
        {"Gr\xc3\xbc\xc3\x9f", "Gr\xc3\xbc\xc3\x9f"},
        {"Gr\xc3", "Gr"}, /* cut */
        {"\xe2\x82\xac \xe2\x82", "\xe2\x82\xac "},
        {"\xf0\x9f\x98\x80\xf0\x9f\x98", "\xf0\x9f\x98\x80"},
        {"a\xff"
         "b\xc3z",
         "a?b?z"},                      /* never a character */
        {"\xc0\xaf", "??"},             /* overlong */
        {"\xed\xa0\x80.", "???."},      /* a surrogate */
        {"\xf4\x90\x80\x80.", "????."}, /* above U+10FFFF */
        {"", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[32];
        snprintf(text, sizeof text, "%s", rows[i].from);
        text_mend(text);
        assert_string_equal(text, rows[i].to);
    }
    /* A message that is cut is still one that JSON takes. */
    char euros[2 * sizeof((struct err *)0)->msg];
    for (size_t i = 0; i + 1 < sizeof euros; i++)
        euros[i] = "\xe2\x82\xac"[i % 3];
    euros[sizeof euros - 1] = '\0';
    for (int shift = 0; shift < 3; shift++) {
        struct err err;
        err_set(&err, ERR_IO, "%.*s%s", shift, "ab", euros);
        json_t *j CLEANUP_JSON = json_string(err.msg);
        assert_non_null(j);
        err_wrap(&err, "%s", "in \xc3\xbc");
        json_t *k CLEANUP_JSON = json_string(err.msg);
        assert_non_null(k);
    }
}

static void test_text_same_but_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *x, *y;
        bool same;
    } rows[] = {
        {"after 98 ms", "after 1043 ms", true},
        {"after 98 ms", "after  ms", true},
        {"", "", true},
        {"", "7", true},
        {"port 9", "port 9: refused", false},
        {"a1b", "ab", true},
        {"a1b", "a1c", false},
        {"12", "x", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(text_same_but_numbers(rows[i].x, rows[i].y), rows[i].same);
        assert_int_equal(text_same_but_numbers(rows[i].y, rows[i].x), rows[i].same);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_str_cut),
        cmocka_unit_test(test_text_mend),
        cmocka_unit_test(test_text_same_but_numbers),
        cmocka_unit_test(test_buf_cap),
        cmocka_unit_test(test_map_many),
        cmocka_unit_test(test_scan_accepts_and_refuses),
        cmocka_unit_test(test_scan_depth_is_bounded),
        cmocka_unit_test(test_raw_paths),
        cmocka_unit_test(test_edit_copies_the_rest),
        cmocka_unit_test(test_add_string),
        cmocka_unit_test(test_base64),
        cmocka_unit_test(test_clock),
        cmocka_unit_test(test_proc),
        cmocka_unit_test(test_err),
    };
    return cmocka_run_group_tests_name("core", tests, NULL, NULL);
}
