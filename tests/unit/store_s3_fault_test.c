/* store: S3 when the server fails, lies, is late or knows us no more; where URLs lead; credentials.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "store_s3_server.h"

#include "store/s3_credentials.h"
#include "store/s3_place.h"

#include "core/clock.h"

static const struct backend_file config = {.type = BACKEND_CONFIG};

static void check(int r, const struct err *err)
{
    if (r < 0)
        fail_msg("%s", err->msg);
}

static int setup(void **state)
{
    static const char *const names[] = {"AWS_ACCESS_KEY_ID",
                                        "AWS_SECRET_ACCESS_KEY",
                                        "AWS_SESSION_TOKEN",
                                        "AWS_REGION",
                                        "AWS_DEFAULT_REGION",
                                        "AWS_ROLE_ARN",
                                        "AWS_WEB_IDENTITY_TOKEN_FILE",
                                        "AWS_SHARED_CREDENTIALS_FILE",
                                        "AWS_PROFILE"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        unsetenv(names[i]);
    setenv("HOME", "/nonexistent", 1);
    s3_server_start();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    clock_override(NULL);
    s3_server_stop();
    return 0;
}

static struct backend *open_with(struct backend_s3_options o)
{
    struct backend *b;
    struct err err;
    char *endpoint CLEANUP(free_p) = xasprintf("http://127.0.0.1:%u", s3_server.port);
    o.endpoint = endpoint;
    o.bucket = "bucket";
    o.prefix = "p";
    check(backend_open_s3(&o, &b, &err), &err);
    return b;
}

static struct backend *open_s3(unsigned retry_seconds)
{
    return open_with((struct backend_s3_options){
        .access_key = "AKIDTEST", .secret_key = "secret", .retry_seconds = retry_seconds});
}

static struct backend *open_made(unsigned retry_seconds)
{
    struct backend *b = open_s3(retry_seconds);
    struct err err;
    check(backend_create(b, &err), &err);
    check(backend_save_as(b, &config, "config", 6, &err), &err);
    return b;
}

/* The server's fields are read by its threads. */
#define SET(field, value)                                                                          \
    do {                                                                                           \
        pthread_mutex_lock(&s3_server.lock);                                                       \
        s3_server.field = (value);                                                                 \
        pthread_mutex_unlock(&s3_server.lock);                                                     \
    } while (0)

static int requests(void)
{
    pthread_mutex_lock(&s3_server.lock);
    int n = s3_server.requests;
    pthread_mutex_unlock(&s3_server.lock);
    return n;
}

static void fail_next(int times, int status, const char *code)
{
    SET(fail_status, status);
    SET(fail_code, code);
    SET(fail, times);
}

/* ---- faults ---- */

static void test_repeated(void **state)
{
    static const struct {
        int status;
        const char *code;
    } passing[] = {{503, "SlowDown"},
                   {500, "InternalError"},
                   {429, "TooManyRequests"},
                   {400, "RequestTimeout"},
                   {409, "OperationAborted"}};
    struct backend *b = open_made(20);
    struct backend_file f = {.type = BACKEND_DATA};
    struct buf out = {0};
    struct err err;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(passing); i++) {
        fail_next(2, passing[i].status, passing[i].code);
        check(backend_save(b, f.type, &i, sizeof i, &f.id, &err), &err);
        fail_next(2, passing[i].status, passing[i].code);
        check(backend_load_all(b, &f, 100, &out, &err), &err);
        assert_int_equal(out.n, sizeof i);
        fail_next(1, passing[i].status, passing[i].code);
        check(backend_remove(b, &f, &err), &err);
    }
    int before = requests();
    fail_next(1, 403, "AccessDenied");
    assert_int_equal(backend_load_all(b, &f, 100, &out, &err), -1);
    assert_int_equal(err.kind, ERR_FORBIDDEN);
    assert_int_equal(err.http, 403);
    assert_non_null(strstr(err.msg, "AccessDenied: words"));
    assert_int_equal(requests(), before + 1);
    buf_free(&out);
    backend_close(b);
}

static void test_retry_after(void **state)
{
    struct backend *b = open_made(20);
    struct err err;
    (void)state;
    SET(retry_after, 1);
    fail_next(1, 503, "SlowDown");
    int64_t start = clock_mono_ms();
    check(backend_save(b, BACKEND_DATA, "x", 1, NULL, &err), &err);
    assert_true(clock_mono_ms() - start >= 1000);
    backend_close(b);
}

static void test_dropped(void **state)
{
    struct backend *b = open_made(20);
    struct backend_file f = {.type = BACKEND_DATA};
    struct buf out = {0};
    struct err err;
    (void)state;
    SET(drop, 2);
    check(backend_save(b, f.type, "text", 4, &f.id, &err), &err);
    SET(lose, 1);
    check(backend_save(b, f.type, "text", 4, &f.id, &err), &err);
    SET(drop, 2);
    check(backend_load_range(b, &f, 1, 2, &out, &err), &err);
    assert_string_equal(out.p, "ex");
    SET(drop, 2);
    check(backend_remove(b, &f, &err), &err);
    buf_free(&out);
    backend_close(b);
}

static int64_t hour_later(void)
{
    return INT64_C(1) << 40;
}

static void test_truncated_and_breaker(void **state)
{
    struct backend *b = open_made(1);
    struct backend_file f = {.type = BACKEND_DATA}, other = f;
    struct buf out = {0};
    struct err err;
    (void)state;
    check(backend_save(b, f.type, "0123456789", 10, &f.id, &err), &err);
    check(backend_save(b, f.type, "x", 1, &other.id, &err), &err);
    SET(cut, 1);
    check(backend_load_all(b, &f, 10, &out, &err), &err);
    assert_string_equal(out.p, "0123456789");
    SET(cut, 1000);
    assert_int_equal(backend_load_all(b, &f, 10, &out, &err), -1);
    assert_int_equal(err.kind, ERR_UNAVAILABLE);
    assert_int_equal(out.n, 0);
    SET(cut, 0);
    /* Once in vain: that file is not asked for again for an hour, others are. */
    int before = requests();
    assert_int_equal(backend_load_all(b, &f, 10, &out, &err), -1);
    assert_int_equal(err.kind, ERR_UNAVAILABLE);
    assert_non_null(strstr(err.msg, "for an hour"));
    assert_int_equal(requests(), before);
    check(backend_load_all(b, &other, 10, &out, &err), &err);
    clock_override(hour_later);
    check(backend_load_all(b, &f, 10, &out, &err), &err);
    buf_free(&out);
    backend_close(b);
}

static void test_late(void **state)
{
    struct backend *b = open_with((struct backend_s3_options){.access_key = "AKIDTEST",
                                                              .secret_key = "secret",
                                                              .timeout_seconds = 1,
                                                              .retry_seconds = 20});
    struct err err;
    (void)state;
    SET(delay_ms, 2500);
    SET(delays, 1);
    int before = requests();
    check(backend_create(b, &err), &err);
    assert_true(requests() >= before + 2); /* more, where a busy machine makes another late */
    backend_close(b);
}

static void test_unreachable(void **state)
{
    struct backend *b = open_s3(1);
    struct err err;
    uint64_t size;
    (void)state;
    MHD_stop_daemon(s3_server.daemon);
    s3_server.daemon = NULL;
    assert_int_equal(backend_stat(b, &config, &size, &err), -1);
    assert_int_equal(err.kind, ERR_UNAVAILABLE);
    backend_close(b);
}

/* ---- lies ---- */

static void test_ranges(void **state)
{
    struct backend *b = open_made(1);
    struct backend_file f = {.type = BACKEND_DATA};
    struct buf out = {0};
    struct err err;
    (void)state;
    check(backend_save(b, f.type, "0123456789", 10, &f.id, &err), &err);
    SET(short_ranges, true);
    assert_int_equal(backend_load_range(b, &f, 3, 4, &out, &err), -1);
    assert_int_equal(err.kind, ERR_CORRUPT);
    SET(short_ranges, false);
    SET(ignore_ranges, true);
    assert_int_equal(backend_load_range(b, &f, 3, 4, &out, &err), -1);
    buf_free(&out);
    backend_close(b);
}

static int count(void *ctx, const struct store_id *id, uint64_t size, struct err *err)
{
    (void)id, (void)size, (void)err;
    ++*(size_t *)ctx;
    return 0;
}

static void lists(struct backend *b, size_t expected)
{
    struct err err;
    size_t n = 0;
    check(backend_list(b, BACKEND_DATA, count, &n, &err), &err);
    assert_int_equal(n, expected);
}

static void lists_not(struct backend *b, enum err_kind kind)
{
    struct err err;
    size_t n = 0;
    assert_int_equal(backend_list(b, BACKEND_DATA, count, &n, &err), -1);
    assert_int_equal(err.kind, kind);
    assert_int_equal(n, 0); /* nothing was told of a list that is not whole */
}

static void test_lists(void **state)
{
    struct backend *b = open_made(1), *fresh = open_s3(1);
    struct err err;
    (void)state;
    for (uint32_t i = 0; i < 10; i++)
        check(backend_save(b, BACKEND_DATA, &i, sizeof i, NULL, &err), &err);
    lists(b, 10);
    SET(list_twice, true);
    lists(b, 10);
    SET(list_backwards, true);
    lists(b, 10);
    SET(list_foreign, true);
    lists_not(b, ERR_CORRUPT);
    SET(list_foreign, false);
    SET(list_forever, true);
    lists_not(b, ERR_CORRUPT);
    SET(list_forever, false);
    SET(list_words, true);
    lists_not(b, ERR_CORRUPT);
    SET(list_words, false);
    /* Nothing listed: believed only where the config is. */
    SET(list_nothing, true);
    lists(fresh, 0);
    check(backend_remove(b, &config, &err), &err);
    backend_close(fresh);
    fresh = open_s3(1);
    lists_not(fresh, ERR_NOT_FOUND);
    SET(bucket, false);
    lists_not(b, ERR_NOT_FOUND);
    backend_close(fresh);
    backend_close(b);
}

static void test_strange_objects(void **state)
{
    static const char *const keys[] = {
        "p/data/x", "p/data/00/zz", "p/data/", "p/data/ab/<&>",
        "p/data/00/0100000000000000000000000000000000000000000000000000000000000000"};
    struct backend *b = open_made(1);
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        vec_add(&s3_server.objects)->key = xstrdup(keys[i]);
    lists(b, 0);
    backend_close(b);
}

/* ---- what is put right ---- */

static void test_region_and_clock(void **state)
{
    struct backend *b = open_s3(5);
    struct err err;
    uint64_t size;
    (void)state;
    SET(region, "eu-central-9");
    /* The first request is a HEAD, which cannot say the region. */
    assert_int_equal(backend_stat(b, &config, &size, &err), -1);
    assert_int_equal(err.kind, ERR_NOT_FOUND);
    int before = requests();
    check(backend_create(b, &err), &err);
    assert_int_equal(requests(), before + 1);
    fail_next(1, 403, "RequestTimeTooSkewed");
    check(backend_create(b, &err), &err);
    assert_true(str_starts(str_of(s3_server.date), "20310102T0304"));
    /* A region that is no word is not taken, and there is an end of corrections. */
    SET(region, "no region");
    assert_int_equal(backend_create(b, &err), -1);
    assert_int_equal(err.kind, ERR_INVALID);
    backend_close(b);
}

static void test_bucket_is_made(void **state)
{
    struct backend *b = open_s3(1);
    struct err err;
    (void)state;
    SET(bucket, false);
    check(backend_create(b, &err), &err);
    assert_true(s3_server.bucket);
    backend_close(b);
}

static void test_config_once(void **state)
{
    struct backend *b = open_s3(5);
    struct err err;
    (void)state;
    check(backend_create(b, &err), &err);
    SET(lose, 1); /* saved, but the answer is lost: the next try meets its own file */
    check(backend_save_as(b, &config, "config", 6, &err), &err);
    assert_int_equal(backend_save_as(b, &config, "others", 6, &err), -1);
    assert_int_equal(err.kind, ERR_EXISTS);
    check(backend_remove(b, &config, &err), &err);
    SET(no_conditions, true);
    check(backend_save_as(b, &config, "config", 6, &err), &err);
    assert_int_equal(backend_save_as(b, &config, "others", 6, &err), -1);
    assert_int_equal(err.kind, ERR_EXISTS);
    backend_close(b);
}

static void test_bandwidth(void **state)
{
    enum { SIZE = 512 << 10 };
    struct backend *b = open_with((struct backend_s3_options){.access_key = "AKIDTEST",
                                                              .secret_key = "secret",
                                                              .send_per_second = 2 * SIZE,
                                                              .fetch_per_second = 2 * SIZE});
    struct backend_file f = {.type = BACKEND_DATA};
    struct buf out = {0};
    struct err err;
    char *p = xcalloc(1, SIZE);
    (void)state;
    int64_t start = clock_mono_ms();
    check(backend_save(b, f.type, p, SIZE, &f.id, &err), &err);
    assert_true(clock_mono_ms() - start >= 300);
    start = clock_mono_ms();
    check(backend_load_all(b, &f, SIZE, &out, &err), &err);
    assert_true(clock_mono_ms() - start >= 300);
    free(p);
    buf_free(&out);
    backend_close(b);
}

/* ---- credentials ---- */

static void test_no_secret_is_shown(void **state)
{
    struct backend *b = open_made(1);
    struct err err;
    (void)state;
    SET(echo, true);
    fail_next(1, 403, "AccessDenied");
    assert_int_equal(backend_create(b, &err), -1);
    assert_non_null(strstr(err.msg, "AccessDenied"));
    assert_null(strstr(err.msg, "AKIDTEST"));
    SET(access, "another");
    assert_int_equal(backend_create(b, &err), -1);
    assert_int_equal(err.kind, ERR_UNAUTHORIZED);
    assert_null(strstr(err.msg, "AKIDTEST"));
    backend_close(b);
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void test_environment(void **state)
{
    struct backend *b;
    struct err err;
    char *folder = make_folder();
    char *file = xasprintf("%s/credentials", folder);
    char *url = xasprintf("s3:http://127.0.0.1:%u/bucket/p", s3_server.port);
    struct backend_rest_options o = {.retry_seconds = 1};
    (void)state;
    assert_int_equal(backend_open_url(url, &o, &b, &err), -1);
    assert_int_equal(err.kind, ERR_UNAUTHORIZED);
    write_file(file,
               "# a comment\n[default]\naws_access_key_id = no\n[x]\n"
               "aws_access_key_id = AKIDTEST\naws_secret_access_key=s\naws_session_token=t\n");
    setenv("AWS_SHARED_CREDENTIALS_FILE", file, 1);
    assert_int_equal(backend_open_url(url, &o, &b, &err), -1);
    assert_int_equal(err.kind, ERR_UNAUTHORIZED);
    setenv("AWS_PROFILE", "x", 1);
    SET(token, "t");
    check(backend_open_url(url, &o, &b, &err), &err);
    check(backend_create(b, &err), &err);
    backend_close(b);
    setenv("AWS_ACCESS_KEY_ID", "AKIDTEST", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "s", 1);
    setenv("AWS_SESSION_TOKEN", "other", 1);
    check(backend_open_url(url, &o, &b, &err), &err);
    assert_int_equal(backend_create(b, &err), -1);
    assert_int_equal(err.kind, ERR_UNAUTHORIZED);
    backend_close(b);
    free(url);
    free(file);
    remove_folder(folder);
}

static void test_web_identity(void **state)
{
    struct err err;
    char *folder = make_folder();
    char *file = xasprintf("%s/token", folder),
         *sts = xasprintf("http://127.0.0.1:%u", s3_server.port);
    (void)state;
    setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/r", 1);
    setenv("AWS_WEB_IDENTITY_TOKEN_FILE", file, 1);
    setenv("AWS_ENDPOINT_URL_STS", sts, 1);
    struct backend *b = open_with((struct backend_s3_options){.retry_seconds = 2});
    assert_int_equal(backend_create(b, &err), -1);
    assert_int_equal(err.kind, ERR_UNAUTHORIZED);
    write_file(file, "forged-token");
    assert_int_equal(backend_create(b, &err), -1);
    assert_int_equal(err.kind, ERR_UNAUTHORIZED);
    assert_null(strstr(err.msg, "forged"));
    write_file(file, "jwt\n");
    check(backend_create(b, &err), &err);
    check(backend_create(b, &err), &err);
    assert_int_equal(s3_server.sessions, 1);
    SET(token, "another"); /* the session has ended before its time */
    check(backend_create(b, &err), &err);
    assert_int_equal(s3_server.sessions, 2);
    backend_close(b);
    unsetenv("AWS_ENDPOINT_URL_STS");
    free(sts);
    free(file);
    remove_folder(folder);
}

/* ---- places ---- */

static void test_places(void **state)
{
    static const struct {
        const char *url, *origin, *host, *bucket, *prefix, *region;
    } good[] = {
        {"https://h:9000/bucket/a/b", "https://h:9000", "h:9000", "/bucket", "a/b/", "us-east-1"},
        {"http://h/bucket", "http://h", "h", "/bucket", "", "us-east-1"},
        {"http://h:80/bucket//a//./b/", "http://h:80", "h", "/bucket", "a/b/", "us-east-1"},
        {"https://h:443/bucket/a%20b%", "https://h:443", "h", "/bucket", "a b%/", "us-east-1"},
        {"h/bucket/a%20b", "https://h", "h", "/bucket", "a%20b/", "us-east-1"},
        {"//h/bucket/a", "https://h", "h", "/bucket", "a/", "us-east-1"},
        {"[::1]:9000/bucket", "https://[::1]:9000", "[::1]:9000", "/bucket", "", "us-east-1"},
        {"s3.amazonaws.com/bucket/a", "https://bucket.s3.amazonaws.com", "bucket.s3.amazonaws.com",
         "", "a/", "us-east-1"},
        {"s3.eu-west-3.amazonaws.com/bucket", "https://bucket.s3.eu-west-3.amazonaws.com",
         "bucket.s3.eu-west-3.amazonaws.com", "", "", "eu-west-3"},
        {"s3.dualstack.eu-west-3.amazonaws.com/dotted.bucket",
         "https://s3.dualstack.eu-west-3.amazonaws.com", "s3.dualstack.eu-west-3.amazonaws.com",
         "/dotted.bucket", "", "eu-west-3"},
    };
    static const char *const bad[] = {"",
                                      "/",
                                      "h",
                                      "h/",
                                      "https://",
                                      "https:///bucket",
                                      "h/b",
                                      "h/buck?et",
                                      "https://user:pass@h/bucket",
                                      "h x/bucket",
                                      "h/bucket/../x",
                                      "https://h?/bucket"};
    struct backend_s3_options o = {0};
    struct s3_place p;
    struct err err;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good) + ARRAY_LEN(bad); i++) {
        const char *url = i < ARRAY_LEN(good) ? good[i].url : bad[i - ARRAY_LEN(good)];
        char *endpoint CLEANUP(free_p) = NULL, *bucket CLEANUP(free_p) = NULL,
                       *prefix CLEANUP(free_p) = NULL;
        int r = s3_place_parse(url, &endpoint, &bucket, &prefix, &err);
        o.endpoint = endpoint;
        o.bucket = bucket;
        o.prefix = prefix;
        if (r == 0)
            r = s3_place_make(&o, &p, &err);
        if (i >= ARRAY_LEN(good)) {
            if (r == 0)
                fail_msg("taken as a place: %s", url);
            assert_int_equal(err.kind, ERR_INVALID);
            assert_null(strstr(err.msg, "pass@"));
            continue;
        }
        check(r, &err);
        assert_string_equal(p.origin, good[i].origin);
        assert_string_equal(p.host, good[i].host);
        assert_string_equal(p.bucket, good[i].bucket);
        assert_string_equal(p.prefix, good[i].prefix);
        assert_string_equal(p.region, good[i].region);
        s3_place_free(&p);
    }
    setenv("AWS_DEFAULT_REGION", "eu-west-3", 1);
    o = (struct backend_s3_options){
        .endpoint = "s3.amazonaws.com", .bucket = "bucket", .lookup = S3_LOOKUP_PATH};
    check(s3_place_make(&o, &p, &err), &err);
    assert_string_equal(p.origin, "https://s3.eu-west-3.amazonaws.com");
    assert_string_equal(p.bucket, "/bucket");
    s3_place_free(&p);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_repeated),
        TEST(test_retry_after),
        TEST(test_dropped),
        TEST(test_truncated_and_breaker),
        TEST(test_late),
        TEST(test_unreachable),
        TEST(test_ranges),
        TEST(test_lists),
        TEST(test_strange_objects),
        TEST(test_region_and_clock),
        TEST(test_bucket_is_made),
        TEST(test_config_once),
        TEST(test_bandwidth),
        TEST(test_no_secret_is_shown),
        TEST(test_environment),
        TEST(test_web_identity),
        TEST(test_places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
