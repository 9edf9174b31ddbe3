/* What a BackupStore's condition says of a store that cannot be used: each case provoked at a
 * server of S3's protocol, or where there is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "reconciler/store/owner.h"
#include "reconciler/store/words.h"
#include "store/lock.h"
#include "store_s3_server.h"

#define SECRET "canary-bucket-secret-4711"

static struct store_place place_at(const char *endpoint)
{
    return (struct store_place){.endpoint = xstrdup(endpoint),
                                .bucket = xstrdup("bucket"),
                                .prefix = xstrdup("pre"),
                                .lookup = S3_LOOKUP_PATH,
                                .access_key = xstrdup("AKIDTEST"),
                                .secret_key = xstrdup(SECRET)};
}

/* Opens, makes if need be, locks and unlocks: as the controller proves a store. */
static int use(const struct store_place *p, struct err *err)
{
    struct context cx = {.cluster = "c"};
    struct backend *b CLEANUP(backend_close_p) = NULL;
    struct repository *repo CLEANUP(repository_close_p) = NULL;
    struct repository_key key = {.password = "operator", .scrypt_log2 = 10};
    struct lock_options options = {.hostname = "h", .settle_ms = 1};
    struct lock *lock;
    if (store_place_open(&cx, p, "c/_cluster", 2, &b, err) < 0)
        return -1;
    if (repository_open(b, "operator", NULL, &repo, err) < 0 &&
        (err->kind != ERR_NOT_FOUND || repository_init(b, &key, 1, NULL, err) < 0 ||
         repository_open(b, "operator", NULL, &repo, err) < 0))
        return -1;
    return lock_acquire(repo, &options, &lock, err) < 0 ? -1 : lock_release(lock, err);
}

/* The words must have `text` in them, and no secret. */
static void says(const struct store_place *p, const char *reason, const char *text)
{
    struct arena *a = arena_new();
    struct err err = {0};
    struct store_words w;
    if (use(p, &err) == 0)
        fail_msg("%s: it works", reason);
    store_explain(a, &err, p, &w);
    if (!streq(w.reason, reason) || !strstr(w.message, text))
        fail_msg("%s, not %s: %s", w.reason, reason, w.message);
    assert_null(strstr(w.message, SECRET));
    arena_free(a);
}

static struct store_place served(void)
{
    char endpoint[64];
    snprintf(endpoint, sizeof endpoint, "http://127.0.0.1:%u", s3_server.port);
    return place_at(endpoint);
}

static void says_of_code(int status, const char *code, const char *reason, const char *text)
{
    struct store_place p = served();
    s3_server.fail = 1000;
    s3_server.fail_status = status;
    s3_server.fail_code = code;
    says(&p, reason, text);
    s3_server.fail = 0;
    store_place_free(&p);
}

static void a_good_store_leaves_nothing_behind(void **state)
{
    (void)state;
    struct store_place p = served();
    struct err err = {0};
    s3_server_stop();
    s3_server_start();
    free(p.endpoint);
    p.endpoint = xasprintf("http://127.0.0.1:%u", s3_server.port);
    if (use(&p, &err) < 0)
        fail_msg("%s", err.msg);
    for (size_t i = 0; i < s3_server.objects.n; i++)
        assert_null(strstr(s3_server.objects.p[i].key, "/locks/"));
    assert_int_equal(s3_server.objects.n, 2); /* key and config */
    store_place_free(&p);
}

static void every_refusal_has_its_words(void **state)
{
    (void)state;
    struct store_place p = served();
    s3_server.bucket = false;
    says(&p, "NoSuchBucket", "make it");
    assert_false(s3_server.bucket); /* and it was not made */
    s3_server.bucket = true;
    s3_server.access = "AKIDOTHER";
    says(&p, "AccessKeyUnknown", "AWS_ACCESS_KEY_ID");
    s3_server.access = "AKIDTEST";
    s3_server.token = "a session";
    says(&p, "CredentialsExpired", "AWS_SESSION_TOKEN");
    s3_server.token = NULL;
    store_place_free(&p);
    says_of_code(403, "SignatureDoesNotMatch", "SecretKeyWrong", "AWS_SECRET_ACCESS_KEY");
    says_of_code(400, "AuthorizationHeaderMalformed", "WrongRegion", "spec.s3.region");
    says_of_code(301, "PermanentRedirect", "WrongRegion", "spec.s3.endpoint");
    says_of_code(403, "RequestTimeTooSkewed", "ClockSkew", "clocks");
    says_of_code(403, "AccessDenied", "AccessDenied", "s3:GetObject");
    says_of_code(405, "MethodNotAllowed", "NotS3", "spec.s3.endpoint");
    says_of_code(503, "SlowDown", "Unreachable", "503");
}

/* The wrong right is missing: each has its name. */
static const char *denied;

static bool deny(enum s3_stage stage, const char *method)
{
    if (stage == S3_BEGUN) {
        s3_server.fail = streq(method, denied) ? 1 : 0;
        s3_server.fail_status = 403;
        s3_server.fail_code = "AccessDenied";
    }
    return true;
}

static void a_missing_right_is_named(void **state)
{
    (void)state;
    struct store_place p = served();
    static const char *const rights[][2] = {
        {"DELETE", "s3:DeleteObject"}, {"PUT", "s3:PutObject"}, {"GET", "s3:"}};
    s3_server.stage = deny;
    for (size_t i = 0; i < ARRAY_LEN(rights); i++) {
        denied = rights[i][0];
        says(&p, "AccessDenied", rights[i][1]);
    }
    s3_server.stage = NULL;
    s3_server.fail = 0;
    store_place_free(&p);
}

static void what_is_no_store_has_its_words(void **state)
{
    (void)state;
    struct store_place nobody = place_at("http://127.0.0.1:1");
    says(&nobody, "Unreachable", "nothing answers");
    store_place_free(&nobody);
    struct store_place nowhere = place_at("https://s3.gleaner.invalid");
    says(&nowhere, "HostNotFound", "does not resolve");
    store_place_free(&nowhere);
    struct store_place plain = served();
    memmove(plain.endpoint, plain.endpoint + strlen("http://"),
            strlen(plain.endpoint) - strlen("http://") + 1);
    says(&plain, "NotTLS", "http://");
    store_place_free(&plain);
    struct store_place page = served();
    s3_server.list_words = true;
    says(&page, "NotS3", "no S3 server");
    s3_server.list_words = false;
    store_place_free(&page);
}

static void owners_are_read_from_key_files(void **state)
{
    (void)state;
    static const char ours[] = "11111111-2222-3333-4444-555555555555";
    static const char theirs[] = "aaaaaaaa-2222-3333-4444-555555555555";
    char *folder = make_folder(), owner[64];
    struct backend *b;
    struct err err = {0};
    struct repository *repo;
    struct repository_key key = {.password = "p", .hostname = "laptop", .scrypt_log2 = 10};
    assert_int_equal(backend_open_local(folder, &b, &err), 0);
    assert_int_equal(store_owner_read(b, ours, owner, sizeof owner, &err), 0);
    assert_string_equal(owner, ""); /* no repository */
    assert_int_equal(repository_init(b, &key, 1, NULL, &err), 0);
    assert_int_equal(store_owner_read(b, ours, owner, sizeof owner, &err), 0);
    assert_string_equal(owner, ""); /* made by hand */
    assert_int_equal(repository_open(b, "p", NULL, &repo, &err), 0);
    key.hostname = theirs;
    assert_int_equal(repository_add_key(repo, &key, NULL, &err), 0);
    assert_int_equal(store_owner_read(b, ours, owner, sizeof owner, &err), 0);
    assert_string_equal(owner, theirs);
    key.hostname = ours;
    assert_int_equal(repository_add_key(repo, &key, NULL, &err), 0);
    assert_int_equal(store_owner_read(b, ours, owner, sizeof owner, &err), 0);
    assert_string_equal(owner, ours); /* handed over */
    repository_close(repo);
    backend_close(b);
    remove_folder(folder);
    static const char *const bad[] = {"",
                                      "[]",
                                      "{\"hostname\":7}",
                                      "{\"hostname\":\"aaaaaaaa-2222-3333-4444-55555555555\"}",
                                      "{\"hostname\":\"aaaaaaaa-2222-3333-4444-5555555555555\"}",
                                      "{\"hostname\":\"AAAAAAAA-2222-3333-4444-555555555555\"}"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        store_owner_of(str_of(bad[i]), owner, sizeof owner);
        assert_string_equal(owner, "");
    }
}

static int begin(void **state)
{
    (void)state;
    s3_server_start();
    return 0;
}

static int finish(void **state)
{
    (void)state;
    s3_server_stop();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_store_leaves_nothing_behind),
        cmocka_unit_test(every_refusal_has_its_words),
        cmocka_unit_test(a_missing_right_is_named),
        cmocka_unit_test(what_is_no_store_has_its_words),
        cmocka_unit_test(owners_are_read_from_key_files),
    };
    return cmocka_run_group_tests_name("store/words", tests, begin, finish);
}
