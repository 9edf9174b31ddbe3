/* The gateway's server, asked by libcurl: who may do what, and what it costs. */
#include "gateway_support.h"

#define R "/abc/shop/"

static const struct {
    const char *token, *method, *path;
    long status;
} matrix[] = {
    /* without a token, or with one that nobody knows */
    {NULL, "GET", R "config", 401},
    {"token.forged", "GET", R "config", 401},
    {"token.forged", "POST", R "data/%pack", 401},
    {NULL, "GET", "/gleaner/v1/key", 401},
    {NULL, "PUT", "/gleaner/v1/movers/pod-x", 401},
    {NULL, "GET", "/", 401},
    /* known, but no registered mover */
    {"token.person", "GET", R "config", 403},
    {"token.stranger", "GET", R "config", 403},
    {"token.stranger", "GET", "/gleaner/v1/key", 403},
    /* the controller registers and nothing else */
    {"token.controller", "GET", R "config", 403},
    {"token.controller", "GET", "/gleaner/v1/key", 403},
    {"token.controller", "GET", "/gleaner/v1/movers/pod-mover", 403},
    /* movers do not register */
    {"token.mover", "PUT", "/gleaner/v1/movers/pod-mover", 403},
    {"token.mover", "DELETE", "/gleaner/v1/movers/pod-reader", 403},
    /* what a mover may */
    {"token.mover", "GET", "/gleaner/v1/key", 200},
    {"token.mover", "GET", R "config", 200},
    {"token.mover", "HEAD", R "config", 200},
    {"token.mover", "GET", R "keys/", 200},
    {"token.mover", "GET", R "keys/%key", 200},
    {"token.mover", "HEAD", R "keys/%key", 200},
    {"token.mover", "GET", R "index/", 200},
    {"token.mover", "GET", R "index/%index", 200},
    {"token.mover", "GET", R "data/", 200},
    {"token.mover", "GET", R "data/%pack", 200},
    {"token.mover", "HEAD", R "data/%pack", 200},
    {"token.mover", "GET", R "data/%index", 404},
    {"token.reader", "GET", R "data/%pack", 200},
    /* and what not */
    {"token.mover", "GET", R "keys/%other", 403},
    {"token.mover", "HEAD", R "keys/%other", 403},
    {"token.mover", "POST", R "keys/%key", 403},
    {"token.mover", "GET", R "snapshots/", 403},
    {"token.mover", "GET", R "snapshots/%snap", 403},
    {"token.mover", "POST", R "snapshots/%snap", 403},
    {"token.mover", "DELETE", R "snapshots/%snap", 403},
    {"token.mover", "GET", R "locks/", 403},
    {"token.mover", "POST", R "locks/%pack", 403},
    {"token.mover", "DELETE", R "locks/%pack", 403},
    {"token.mover", "DELETE", R "data/%pack", 403},
    {"token.mover", "DELETE", R "index/%index", 403},
    {"token.mover", "PUT", R "data/%pack", 403},
    {"token.mover", "PATCH", R "data/%pack", 403},
    {"token.mover", "POST", R "config", 403},
    {"token.mover", "DELETE", R "config", 403},
    {"token.mover", "POST", R "?create=true", 403},
    {"token.mover", "DELETE", R, 403},
    {"token.mover", "POST", "/gleaner/v1/key", 403},
    {"token.reader", "POST", R "data/%pack", 403},
    {"token.reader", "POST", R "index/%index", 403},
    /* of another repository */
    {"token.other", "GET", R "config", 403},
    {"token.other", "GET", R "data/%pack", 403},
    {"token.other", "POST", R "data/%pack", 403},
    {"token.mover", "GET", "/abc/blog/config", 403},
    {"token.mover", "POST", "/abc/blog/data/%pack", 403},
    {"token.mover", "GET", "/store/abc/shop/config", 403},
    {"token.mover", "GET", "/abc/_cluster/config", 403},
    /* its own, where there is none */
    {"token.other", "GET", "/abc/blog/config", 404},
    /* odd paths */
    {"token.mover", "GET", "/abc/shop", 403},
    {"token.mover", "GET", "//abc/shop/config", 403},
    {"token.mover", "GET", "/abc/shop//config", 403},
    {"token.mover", "GET", "/abc/shop/../shop/config", 403},
    {"token.mover", "GET", "/abc/%2e%2e/shop/config", 403},
    {"token.mover", "GET", "/abc/shop/%63onfig", 403},
    {"token.mover", "GET", "/abc/shop/data/../config", 403},
    {"token.mover", "GET", "/abc/shop/data/%pack/", 403},
    {"token.mover", "GET", "/abc/shop/data/..%2f..%2f..%2fetc%2fpasswd", 403},
    {"token.mover", "GET", "/abc/shop/config/", 403},
    {"token.mover", "GET", "/abc/shop/secret", 403},
};

static void who_may_do_what(void **state)
{
    struct world *w = *state;
    admit(w, "pod-mover", "abc/shop", true, 0);
    admit(w, "pod-reader", "abc/shop", false, 0);
    admit(w, "pod-other", "abc/blog", true, 0);
    for (int basic = 0; basic < 2; basic++) {
        for (size_t i = 0; i < ARRAY_LEN(matrix); i++) {
            char *path = with_ids(w, matrix[i].path);
            bool has_body = streq(matrix[i].method, "POST") || streq(matrix[i].method, "PUT");
            long status = ask(w, (struct ask){.token = matrix[i].token,
                                              .method = matrix[i].method,
                                              .path = path,
                                              .basic = basic,
                                              .body = has_body ? "body" : NULL,
                                              .body_n = 4});
            if (status != matrix[i].status)
                fail_msg("%s %s with %s: %ld, not %ld", matrix[i].method, matrix[i].path,
                         matrix[i].token ? matrix[i].token : "nothing", status, matrix[i].status);
            free(path);
        }
    }
    assert_int_equal(gateway_bytes_received(w->gateway) > 0, 1); /* the registrations */
}

static void a_refused_body_is_not_read(void **state)
{
    struct world *w = *state;
    size_t n = 8 << 20;
    char *body = xcalloc(1, n), *path = with_ids(w, R "snapshots/%snap");
    admit(w, "pod-mover", "abc/shop", true, 0);
    uint64_t before = gateway_bytes_received(w->gateway);
    struct ask a = {
        .token = "token.mover", .method = "POST", .path = path, .body = body, .body_n = n};
    assert_int_equal(ask(w, a), 403);
    a.token = "token.forged";
    assert_int_equal(ask(w, a), 401);
    a.no_expect = true; /* a client that just sends may find its connection closed */
    long status = ask(w, a);
    assert_true(status == 401 || status == 0);
    /* Too long: said by its header alone. */
    char *pack = with_ids(w, R "data/%pack");
    a = (struct ask){.token = "token.mover", .method = "POST", .path = pack, .body_n = n * 9};
    a.body = xcalloc(1, a.body_n);
    assert_int_equal(ask(w, a), 413);
    assert_int_equal(gateway_bytes_received(w->gateway), before);
    free((void *)(uintptr_t)a.body);
    free(pack);
    free(body);
    free(path);
}

static char *own_path(const char *folder, const void *p, size_t n)
{
    struct store_id id;
    store_id_of(p, n, &id);
    char *hex = hex_of(&id), *path = xasprintf(R "%s/%s", folder, hex);
    free(hex);
    return path;
}

static void a_pack_is_stored_under_its_hash(void **state)
{
    struct world *w = *state;
    size_t n = 3 << 20;
    uint64_t size;
    struct err err = {0};
    char *body = xmalloc(n);
    memset(body, 'p', n);
    struct backend_file f = {.type = BACKEND_DATA};
    store_id_of(body, n, &f.id);
    admit(w, "pod-mover", "abc/shop", true, 0);
    char *path = own_path("data", body, n);
    struct ask a = {
        .token = "token.mover", .method = "POST", .path = path, .body = body, .body_n = n};
    body[7] = '!'; /* not what its name says */
    assert_int_equal(ask(w, a), 400);
    assert_int_equal(backend_stat(w->backend, &f, &size, &err), -1);
    body[7] = 'p';
    assert_int_equal(ask(w, a), 200);
    assert_int_equal(backend_stat(w->backend, &f, &size, &err), 0);
    assert_int_equal(size, n);
    assert_int_equal(ask(w, a), 200); /* once more: the same bytes */
    a.body_n = 0;
    assert_int_equal(ask(w, a), 400);
    /* And read back, whole and in ranges. */
    struct buf answer = {0};
    a = (struct ask){.token = "token.mover", .method = "GET", .path = path, .answer = &answer};
    assert_int_equal(ask(w, a), 200);
    assert_int_equal(answer.n, n);
    assert_memory_equal(answer.p, body, n);
    buf_reset(&answer);
    a.range = "1048570-1048589";
    assert_int_equal(ask(w, a), 206);
    assert_int_equal(answer.n, 20);
    buf_reset(&answer);
    a.range = "3145720-";
    assert_int_equal(ask(w, a), 206);
    assert_int_equal(answer.n, 8);
    a.range = "3145728-3145729";
    assert_int_equal(ask(w, a), 416);
    buf_free(&answer);
    free(path);
    free(body);
}

static void an_index_needs_the_holders_lock(void **state)
{
    struct world *w = *state;
    struct err err = {0};
    struct lock *lock = NULL;
    struct lock_options options = {.hostname = "h", .username = LOCK_NAME, .settle_ms = 1};
    admit(w, "pod-mover", "abc/shop", true, 0);
    char *path = own_path("index", "an index", 8);
    struct ask a = {
        .token = "token.mover", .method = "POST", .path = path, .body = "an index", .body_n = 8};
    assert_int_equal(ask(w, a), 403);
    assert_int_equal(lock_acquire(w->repo, &options, &lock, &err), 0);
    assert_int_equal(ask(w, a), 200);
    assert_int_equal(lock_release(lock, &err), 0);
    free(path);
    path = own_path("index", "another", 7);
    a = (struct ask){
        .token = "token.mover", .method = "POST", .path = path, .body = "another", .body_n = 7};
    assert_int_equal(ask(w, a), 403);
    options.username = "backup-2";
    assert_int_equal(lock_acquire(w->repo, &options, &lock, &err), 0);
    assert_int_equal(ask(w, a), 403);
    assert_int_equal(lock_release(lock, &err), 0);
    free(path);
}

static void a_mover_sees_its_own_key_alone(void **state)
{
    struct world *w = *state;
    struct buf answer = {0};
    admit(w, "pod-mover", "abc/shop", true, 0);
    struct ask a = {.token = "token.mover", .method = "GET", .path = R "keys/", .answer = &answer};
    assert_int_equal(ask(w, a), 200);
    assert_non_null(strstr(answer.p, w->key_id));
    assert_null(strstr(answer.p, w->other_key_id));
    buf_reset(&answer);
    a.path = "/gleaner/v1/key";
    assert_int_equal(ask(w, a), 200);
    assert_string_equal(answer.p, "{\"password\":\"" TENANT_PASSWORD "\"}\n");
    buf_free(&answer);
}

static void budgets_are_kept(void **state)
{
    struct world *w = *state;
    char body[1000] = "x";
    admit(w, "pod-mover", "abc/shop", true, 2500);
    for (int i = 0; i < 3; i++) {
        body[0] = (char)('a' + i);
        char *path = own_path("data", body, sizeof body);
        struct ask a = {.token = "token.mover",
                        .method = "POST",
                        .path = path,
                        .body = body,
                        .body_n = sizeof body};
        assert_int_equal(ask(w, a), i < 2 ? 200 : 403);
        free(path);
    }
    admit(w, "pod-mover", "abc/shop", true, 2500); /* renewing gives no second budget */
    char *pack = with_ids(w, R "data/%pack");
    assert_int_equal(get(w, "token.mover", pack), 403);
    free(pack);
}

/* One byte of the body, then nothing more: the request stays open. */
static size_t first_byte(char *p, size_t size, size_t n, void *sent)
{
    (void)size, (void)n;
    if (*(bool *)sent)
        return CURL_READFUNC_PAUSE;
    *(bool *)sent = true;
    *p = 'x';
    return 1;
}

static void requests_at_one_time_are_bounded(void **state)
{
    struct world *w = *state;
    bool sent[GATEWAY_REQUESTS_PER_MOVER] = {0};
    CURL *c[GATEWAY_REQUESTS_PER_MOVER];
    CURLM *m = curl_multi_init();
    int running;
    struct curl_slist *headers = curl_slist_append(NULL, "Expect:");
    struct curl_blob ca = {w->certificate.ca_pem, strlen(w->certificate.ca_pem), CURL_BLOB_COPY};
    char *path = with_ids(w, R "data/%pack"), *url = xasprintf("%s%s", w->url, path);
    admit(w, "pod-mover", "abc/shop", true, 0);
    admit(w, "pod-reader", "abc/shop", false, 0);
    uint64_t before = gateway_bytes_received(w->gateway);
    for (size_t i = 0; i < ARRAY_LEN(c); i++) {
        c[i] = curl_easy_init();
        curl_easy_setopt(c[i], CURLOPT_URL, url);
        curl_easy_setopt(c[i], CURLOPT_CAINFO_BLOB, &ca);
        curl_easy_setopt(c[i], CURLOPT_POST, 1L);
        curl_easy_setopt(c[i], CURLOPT_POSTFIELDSIZE, 1000L);
        curl_easy_setopt(c[i], CURLOPT_READFUNCTION, first_byte);
        curl_easy_setopt(c[i], CURLOPT_READDATA, &sent[i]);
        curl_easy_setopt(c[i], CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(c[i], CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
        curl_easy_setopt(c[i], CURLOPT_XOAUTH2_BEARER, "token.mover");
        curl_multi_add_handle(m, c[i]);
    }
    while (gateway_bytes_received(w->gateway) < before + ARRAY_LEN(c)) {
        curl_multi_perform(m, &running);
        assert_int_equal(running, ARRAY_LEN(c));
        curl_multi_poll(m, NULL, 0, 10, NULL);
    }
    assert_int_equal(get(w, "token.mover", R "config"), 429);
    assert_int_equal(get(w, "token.reader", R "config"), 200); /* another one's are not counted */
    for (size_t i = 0; i < ARRAY_LEN(c); i++) {
        curl_multi_remove_handle(m, c[i]);
        curl_easy_cleanup(c[i]);
    }
    curl_multi_cleanup(m);
    curl_slist_free_all(headers);
    while (get(w, "token.mover", R "config") == 429)
        sched_yield();
    assert_int_equal(get(w, "token.mover", R "config"), 200);
    free(url);
    free(path);
}

static atomic_llong now_ms;

static int64_t test_clock(void)
{
    return atomic_load(&now_ms);
}

static void answers_age(void **state)
{
    struct world *w = *state;
    atomic_store(&now_ms, 1000000);
    clock_override(test_clock);
    admit(w, "pod-mover", "abc/shop", true, 0);
    int before = atomic_load(&reviews);
    for (int i = 0; i < 5; i++)
        assert_int_equal(get(w, "token.mover", R "config"), 200);
    assert_int_equal(atomic_load(&reviews), before + 1); /* asked once */
    atomic_store(&is_revoked, true);
    assert_int_equal(get(w, "token.mover", R "config"), 200);
    atomic_fetch_add(&now_ms, GATEWAY_REVIEW_SECONDS * 1000);
    assert_int_equal(get(w, "token.mover", R "config"), 401);
    atomic_store(&is_revoked, false);
    atomic_fetch_add(&now_ms, 11000);
    assert_int_equal(get(w, "token.mover", R "config"), 200);
    /* An API server that is down is no "no", and is not remembered. */
    atomic_fetch_add(&now_ms, GATEWAY_REVIEW_SECONDS * 1000);
    atomic_store(&api_is_down, true);
    assert_int_equal(get(w, "token.mover", R "config"), 503);
    atomic_store(&api_is_down, false);
    assert_int_equal(get(w, "token.mover", R "config"), 200);
    /* The registration ends unless it is renewed. */
    atomic_fetch_add(&now_ms, 3000 * 1000);
    admit(w, "pod-mover", "abc/shop", true, 0);
    atomic_fetch_add(&now_ms, 3000 * 1000);
    assert_int_equal(get(w, "token.mover", R "config"), 200);
    atomic_fetch_add(&now_ms, 601 * 1000);
    assert_int_equal(get(w, "token.mover", R "config"), 403);
}

static void what_the_controller_takes_back_is_gone(void **state)
{
    struct world *w = *state;
    struct err err = {0};
    const char *const keys[] = {w->key_id, NULL};
    admit(w, "pod-mover", "abc/shop", true, 0);
    assert_int_equal(get(w, "token.mover", R "config"), 200);
    struct gateway_mover other = {.pod_uid = "pod-mover",
                                  .store = "store",
                                  .repository = "abc/blog",
                                  .password = "x",
                                  .keys = keys};
    assert_int_equal(gateway_register(w->controller, &other, &err), -1);
    assert_int_equal(err.http, 409); /* a pod is never for two repositories */
    assert_int_equal(gateway_unregister(w->controller, "pod-mover", &err), 0);
    assert_int_equal(get(w, "token.mover", R "config"), 403);
    assert_int_equal(gateway_unregister(w->controller, "pod-mover", &err), 0);
    /* Only with the CA that belongs to it. */
    struct gateway_certificate strange;
    static const char *const addresses[] = {"127.0.0.1", NULL};
    struct gateway_client *c = NULL;
    assert_int_equal(gateway_make_certificate(NULL, addresses, 1, &strange, &err), 0);
    assert_int_equal(
        gateway_client_new(w->url, strange.ca_pem, in(w, "controller-token"), &c, &err), 0);
    assert_int_equal(gateway_unregister(c, "pod-mover", &err), -1);
    assert_int_equal(err.kind, ERR_REFUSED);
    gateway_client_free(c);
    gateway_certificate_free(&strange);
}

int main(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(who_may_do_what),
        CASE(a_refused_body_is_not_read),
        CASE(a_pack_is_stored_under_its_hash),
        CASE(an_index_needs_the_holders_lock),
        CASE(a_mover_sees_its_own_key_alone),
        CASE(budgets_are_kept),
        CASE(requests_at_one_time_are_bounded),
        CASE(answers_age),
        CASE(what_the_controller_takes_back_is_gone),
    };
    return cmocka_run_group_tests_name("gateway/server", tests, NULL, NULL);
}
