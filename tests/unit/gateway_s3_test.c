/* The gateway before a store on S3: movers speak restic's REST protocol to it and see nothing of
 * the bucket; what it costs in requests; credentials and certificates that are renewed. */
#include "gateway_support.h"
#include "store_s3_server.h"

struct on_s3 {
    struct world *w;
    struct backend *bucket; /* as the controller has it */
    struct repository *repo;
    char endpoint[64], own_key[STORE_ID_HEX];
};

static struct backend_s3_options options_of(const struct on_s3 *o, const char *access)
{
    return (struct backend_s3_options){.endpoint = o->endpoint,
                                       .bucket = "bucket",
                                       .lookup = S3_LOOKUP_PATH,
                                       .access_key = access,
                                       .secret_key = "canary-bucket-secret-4711",
                                       .retry_seconds = 5};
}

static int s3_set_up(void **state)
{
    struct on_s3 *o = xcalloc(1, sizeof *o);
    struct err err = {0};
    struct store_id ids[2];
    struct repository_key keys[2] = {{.password = "operator", .scrypt_log2 = 10},
                                     {.password = TENANT_PASSWORD, .scrypt_log2 = 10}};
    set_up((void **)&o->w);
    s3_server_start();
    snprintf(o->endpoint, sizeof o->endpoint, "http://127.0.0.1:%u", s3_server.port);
    struct backend_s3_options options = options_of(o, "AKIDTEST");
    options.prefix = "pre/abc/shop";
    assert_int_equal(backend_open_s3(&options, &o->bucket, &err), 0);
    if (repository_init(o->bucket, keys, 2, ids, &err) < 0)
        fail_msg("%s", err.msg);
    assert_int_equal(repository_open(o->bucket, "operator", NULL, &o->repo, &err), 0);
    assert_int_equal(repository_load_index(o->repo, &err), 0);
    store_id_hex(&ids[1], o->own_key);
    *state = o;
    return 0;
}

static int s3_tear_down(void **state)
{
    struct on_s3 *o = *state;
    tear_down((void **)&o->w); /* its gateway first: it holds connections */
    repository_close(o->repo);
    backend_close(o->bucket);
    s3_server_stop();
    free(o);
    return 0;
}

/* key_text and config: as of struct gateway_mover. */
static int register_with(struct on_s3 *o, const char *access, bool write, const char *key_text,
                         str config, struct err *err)
{
    struct backend_s3_options options = options_of(o, access);
    const char *const keys[] = {o->own_key, NULL};
    options.prefix = "pre";
    struct gateway_mover m = {.pod_uid = "pod-mover",
                              .s3 = &options,
                              .repository = "abc/shop",
                              .password = TENANT_PASSWORD,
                              .keys = keys,
                              .key_text = key_text,
                              .config = config,
                              .write = write,
                              .lock = LOCK_NAME};
    return gateway_register(o->w->controller, &m, err);
}

static int register_s3(struct on_s3 *o, const char *access, bool write, struct err *err)
{
    return register_with(o, access, write, NULL, (str){0}, err);
}

static void must_register(struct on_s3 *o, const char *access, bool write)
{
    struct err err = {0};
    if (register_s3(o, access, write, &err) < 0)
        fail_msg("%s", err.msg);
}

/* As a mover has it. */
static struct backend *by_gateway(struct on_s3 *o)
{
    struct err err = {0};
    struct backend *b;
    char *url = xasprintf("%s/abc/shop", o->w->url);
    put(in(o->w, "mover-token"), "token.mover");
    char *token = xstrdup(in(o->w, "mover-token"));
    struct backend_rest_options options = {
        .url = url, .ca_pem = o->w->certificate.ca_pem, .token_file = token, .retry_seconds = 2};
    assert_int_equal(backend_open_rest(&options, &b, &err), 0);
    free(url);
    free(token);
    return b;
}

static void a_mover_writes_and_reads_a_bucket(void **state)
{
    struct on_s3 *o = *state;
    struct err err = {0};
    struct store_id big, back;
    struct lock *lock;
    struct repository *repo = NULL;
    struct lock_options holder = {.hostname = "h", .username = LOCK_NAME, .settle_ms = 1};
    struct buf blob = {0}, read = {0};
    must_register(o, "AKIDTEST", true);
    assert_int_equal(lock_acquire(o->repo, &holder, &lock, &err), 0);
    struct backend *b = by_gateway(o);
    if (repository_open(b, TENANT_PASSWORD, NULL, &repo, &err) < 0 ||
        repository_load_index(repo, &err) < 0)
        fail_msg("%s", err.msg);
    for (size_t i = 0; i < 6 << 20; i += 8) {
        uint8_t eight[8];
        random_bytes(eight, sizeof eight);
        buf_add(&blob, (char *)eight, 8);
    }
    if (repository_save_blob(repo, BLOB_DATA, blob.p, blob.n, &big, NULL, &err) < 0 ||
        repository_flush(repo, &err) < 0)
        fail_msg("%s", err.msg);
    assert_int_equal(lock_release(lock, &err), 0);
    /* Nothing lies outside the store's prefix, and the controller finds what the mover wrote. */
    for (size_t i = 0; i < s3_server.objects.n; i++)
        assert_true(str_starts(str_of(s3_server.objects.p[i].key), "pre/abc/shop/"));
    assert_int_equal(repository_load_index(o->repo, &err), 0);
    assert_int_equal(repository_load_blob(o->repo, BLOB_DATA, &big, &read, &err), 0);
    assert_true(str_eq(buf_view(&read), buf_view(&blob)));
    repository_close(repo);
    /* And a reader, through the gateway again. */
    must_register(o, "AKIDTEST", false);
    assert_int_equal(repository_open(b, TENANT_PASSWORD, NULL, &repo, &err), 0);
    assert_int_equal(repository_load_index(repo, &err), 0);
    buf_reset(&read);
    if (repository_load_blob(repo, BLOB_DATA, &big, &read, &err) < 0)
        fail_msg("%s", err.msg);
    store_id_of(read.p, read.n, &back);
    assert_true(store_id_equal(&big, &back));
    assert_int_equal(repository_save_blob(repo, BLOB_DATA, "x", 1, &back, NULL, &err), 0);
    assert_int_equal(repository_flush(repo, &err), -1); /* it may not write */
    repository_close(repo);
    backend_close(b);
    buf_free(&blob);
    buf_free(&read);
}

/* Requests that the bucket saw since the last question. */
static int requests(void)
{
    static int before;
    int n = s3_server.requests - before;
    before = s3_server.requests;
    return n;
}

static void one_question_is_one_request(void **state)
{
    struct on_s3 *o = *state;
    struct err err = {0};
    struct store_id id;
    struct buf data = {0};
    char *text = xcalloc(1, 9 << 20), path[160], hex[STORE_ID_HEX];
    assert_int_equal(backend_save(o->bucket, BACKEND_DATA, text, 9 << 20, &id, &err), 0);
    free(text);
    store_id_hex(&id, hex);
    snprintf(path, sizeof path, "/abc/shop/data/%s", hex);
    must_register(o, "AKIDTEST", false);
    requests();
    assert_int_equal(get(o->w, "token.mover", "/abc/shop/config"), 200);
    assert_int_equal(requests(), 1);
    assert_int_equal(get(o->w, "token.mover", "/abc/shop/index/"), 200);
    assert_int_equal(requests(), 1);
    struct ask range = {.token = "token.mover", .method = "GET", .path = path, .answer = &data};
    range.range = "100-70000";
    assert_int_equal(ask(o->w, range), 206);
    assert_int_equal(data.n, 69901);
    assert_int_equal(requests(), 1);
    /* Past the end: the size is asked for, and the answer is what there is. */
    buf_reset(&data);
    range.range = "9437100-9437999";
    assert_int_equal(ask(o->w, range), 206);
    assert_int_equal(data.n, 84);
    requests();
    /* A whole pack: its size, then four megabytes at a time. */
    buf_reset(&data);
    range.range = NULL;
    assert_int_equal(ask(o->w, range), 200);
    assert_int_equal(data.n, 9 << 20);
    assert_int_equal(requests(), 4);
    snprintf(path, sizeof path, "/abc/shop/data/%s", o->own_key);
    range.range = "0-9";
    assert_int_equal(ask(o->w, range), 404);
    buf_free(&data);
}

static void renewed_credentials_come_into_use(void **state)
{
    struct on_s3 *o = *state;
    must_register(o, "AKIDTEST", false);
    assert_int_equal(get(o->w, "token.mover", "/abc/shop/config"), 200);
    s3_server.access = "AKIDNEW";
    /* Not 403: the mover is not to blame, and tries again. */
    assert_int_equal(get(o->w, "token.mover", "/abc/shop/config"), 503);
    must_register(o, "AKIDNEW", false);
    assert_int_equal(get(o->w, "token.mover", "/abc/shop/config"), 200);
    /* What the store says against the gateway is not told to a tenant. */
    s3_server.access = "AKIDTHIRD";
    struct buf said = {0};
    assert_int_equal(ask(o->w, (struct ask){.token = "token.mover",
                                            .method = "GET",
                                            .path = "/abc/shop/config",
                                            .answer = &said}),
                     503);
    assert_null(strstr(said.p, "AKID"));
    assert_null(strstr(said.p, "bucket"));
    buf_free(&said);
}

static void one_pod_serves_one_place(void **state)
{
    struct on_s3 *o = *state;
    struct err err = {0};
    must_register(o, "AKIDTEST", false);
    admit(o->w, "pod-reader", "abc/shop", false, 0);
    const char *const keys[] = {o->own_key, NULL};
    struct gateway_mover local = {.pod_uid = "pod-mover",
                                  .store = "store",
                                  .repository = "abc/shop",
                                  .password = TENANT_PASSWORD,
                                  .keys = keys};
    assert_int_equal(gateway_register(o->w->controller, &local, &err), -1);
    assert_int_equal(err.http, 409);
}

/* Of a repository that is only read the mover is shown a key that is nowhere. */
static void a_shown_key_is_in_no_store(void **state)
{
    struct on_s3 *o = *state;
    struct err err = {0};
    struct store_id id;
    struct buf text = {0}, list = {0};
    struct repository *repo = NULL;
    struct repository_key key = {.password = "thrown away", .scrypt_log2 = 10};
    char hex[STORE_ID_HEX];
    assert_int_equal(repository_key_text(o->repo, &key, &text, &id, &err), 0);
    store_id_hex(&id, hex);
    struct backend_s3_options options = options_of(o, "AKIDTEST");
    const char *const keys[] = {hex, NULL};
    options.prefix = "pre";
    struct gateway_mover m = {.pod_uid = "pod-mover",
                              .s3 = &options,
                              .repository = "abc/shop",
                              .password = "thrown away",
                              .keys = keys,
                              .key_text = text.p};
    size_t objects = s3_server.objects.n;
    if (gateway_register(o->w->controller, &m, &err) < 0)
        fail_msg("%s", err.msg);
    struct backend *b = by_gateway(o);
    if (repository_open(b, "thrown away", NULL, &repo, &err) < 0)
        fail_msg("%s", err.msg);
    assert_true(store_id_equal(repository_key_id(repo), &id));
    assert_int_equal(ask(o->w, (struct ask){.token = "token.mover",
                                            .method = "GET",
                                            .path = "/abc/shop/keys/",
                                            .answer = &list}),
                     200);
    assert_non_null(strstr(list.p, hex));
    assert_null(strstr(list.p, o->own_key));
    assert_int_equal(s3_server.objects.n, objects);
    /* The text is the key's. */
    m.key_text = "{}";
    assert_int_equal(gateway_register(o->w->controller, &m, &err), -1);
    assert_int_equal(err.http, 400);
    repository_close(repo);
    backend_close(b);
    buf_free(&text);
    buf_free(&list);
}

/* What the controller has read, the gateway does not ask the store for once more; nor, for the next
 * mover, for the index files that the last one has read. */
static void what_the_controller_has_read_is_shown(void **state)
{
    struct on_s3 *o = *state;
    struct err err = {0};
    struct store_id id;
    struct buf key = {0};
    struct repository *repo;
    struct backend_file f = {.type = BACKEND_KEY};
    assert_true(store_id_parse(str_of(o->own_key), &f.id));
    assert_int_equal(backend_load_all(o->bucket, &f, 1 << 20, &key, &err), 0);
    assert_int_equal(repository_save_blob(o->repo, BLOB_DATA, "old", 3, &id, NULL, &err), 0);
    assert_int_equal(repository_flush(o->repo, &err), 0);
    if (register_with(o, "AKIDTEST", true, key.p, repository_sealed_config(o->repo), &err) < 0)
        fail_msg("%s", err.msg);
    struct backend *b = by_gateway(o);
    for (int i = 0; i < 2; i++) {
        requests();
        assert_int_equal(repository_open(b, TENANT_PASSWORD, NULL, &repo, &err), 0);
        assert_true(store_id_equal(repository_id(repo), repository_id(o->repo)));
        assert_int_equal(requests(), 0);
        assert_int_equal(repository_load_index(repo, &err), 0);
        assert_true(repository_has_blob(repo, BLOB_DATA, &id, NULL));
        assert_int_equal(requests(), i == 0 ? 2 : 1);
        repository_close(repo);
    }
    backend_close(b);
    buf_free(&key);
}

/* What was foreseen is no answer to whoever asks what has come since: a mover's index, a moment
 * after the lock was taken. */
static void what_others_write_is_seen_at_once(void **state)
{
    struct on_s3 *o = *state;
    struct err err = {0};
    struct store_id id;
    struct backend *b;
    struct repository *mine, *theirs;
    struct lock *lock;
    struct lock_options options = {.hostname = "h", .username = LOCK_NAME, .settle_ms = 1};
    struct backend_s3_options at = options_of(o, "AKIDTEST");
    at.prefix = "pre/abc/shop";
    assert_int_equal(backend_open_s3(&at, &b, &err), 0);
    assert_int_equal(repository_open(b, "operator", NULL, &mine, &err), 0);
    assert_int_equal(repository_load_index(mine, &err), 0);
    assert_int_equal(lock_acquire(mine, &options, &lock, &err), 0);
    must_register(o, "AKIDTEST", true);
    struct backend *rest = by_gateway(o);
    assert_int_equal(repository_open(rest, TENANT_PASSWORD, NULL, &theirs, &err), 0);
    assert_int_equal(repository_load_index(theirs, &err), 0);
    assert_int_equal(repository_save_blob(theirs, BLOB_DATA, "news", 4, &id, NULL, &err), 0);
    assert_int_equal(repository_flush(theirs, &err), 0);
    assert_int_equal(repository_load_index(mine, &err), 0);
    assert_true(repository_has_blob(mine, BLOB_DATA, &id, NULL));
    assert_int_equal(lock_release(lock, &err), 0);
    repository_close(mine);
    repository_close(theirs);
    backend_close(b);
    /* And by a mover that comes a moment later. */
    assert_int_equal(repository_open(rest, TENANT_PASSWORD, NULL, &theirs, &err), 0);
    assert_int_equal(repository_load_index(theirs, &err), 0);
    assert_true(repository_has_blob(theirs, BLOB_DATA, &id, NULL));
    repository_close(theirs);
    backend_close(rest);
}

static void another_certificate_is_taken(void **state)
{
    struct on_s3 *o = *state;
    struct world *w = o->w;
    struct err err = {0};
    struct gateway_certificate other;
    static const char *const addresses[] = {"127.0.0.1", NULL};
    assert_int_equal(gateway_make_certificate(NULL, addresses, 10, &other, &err), 0);
    assert_int_equal(gateway_certificate_check(other.cert_pem, w->certificate.key_pem, &err), -1);
    assert_int_equal(gateway_certificate_check(other.cert_pem, other.key_pem, &err), 0);
    must_register(o, "AKIDTEST", false);
    unsigned port = gateway_port(w->gateway);
    if (gateway_renew(w->gateway, other.cert_pem, other.key_pem, &err) < 0)
        fail_msg("%s", err.msg);
    assert_int_equal(gateway_port(w->gateway), port);
    assert_int_equal(get(w, "token.mover", "/abc/shop/config"), 0); /* not trusted any more */
    struct gateway_certificate old = w->certificate;
    w->certificate = other;
    assert_int_equal(get(w, "token.mover", "/abc/shop/config"), 200); /* still registered */
    gateway_certificate_free(&old);
}

int main(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
#define ON_S3(f) cmocka_unit_test_setup_teardown(f, s3_set_up, s3_tear_down)
    const struct CMUnitTest tests[] = {
        ON_S3(a_mover_writes_and_reads_a_bucket), ON_S3(one_question_is_one_request),
        ON_S3(renewed_credentials_come_into_use), ON_S3(one_pod_serves_one_place),
        ON_S3(a_shown_key_is_in_no_store),        ON_S3(another_certificate_is_taken),
        ON_S3(what_others_write_is_seen_at_once), ON_S3(what_the_controller_has_read_is_shown),
    };
    return cmocka_run_group_tests_name("gateway/s3", tests, NULL, NULL);
}
