/* The gateway over real TLS, asked by libcurl, by stock restic and by the mover's own process: who
 * may do what, and what it costs. TokenReview is a function here; everything else is what runs in a
 * cluster. */
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/clock.h"
#include "core/proc.h"
#include "gateway/client.h"
#include "gateway/registry.h"
#include "gateway/review.h"
#include "gateway/server.h"
#include "gateway/tls.h"
#include "mover/mover.h"
#include "mover/report.h"
#include "store/lock.h"
#include "store/snapshot.h"
#include "store/synthetic.h"

#define CONTROLLER "system:serviceaccount:gleaner-system:gleaner-controller"
#define TENANT_PASSWORD "canary-tenant-password-8d1f"
#define HOLDER "cluster/gleaner-system/controller-0/uid-1"

static const char program[] = "/proc/self/exe";
static char restic[] = "/usr/bin/restic";

/* ---- a cluster of one gateway and one repository ---- */

static atomic_int reviews;
static atomic_bool api_is_down, is_revoked;

static int review(void *ctx, const char *token, struct gateway_identity *ret, struct err *err)
{
    (void)ctx;
    static const struct {
        const char *token, *username, *pod_uid;
    } known[] = {
        {"token.controller", CONTROLLER, "pod-controller"},
        {"token.mover", "system:serviceaccount:shop:default", "pod-mover"},
        {"token.reader", "system:serviceaccount:shop:default", "pod-reader"},
        {"token.other", "system:serviceaccount:blog:default", "pod-other"},
        {"token.late", "system:serviceaccount:shop:default", "pod-late"},
        {"token.stranger", "system:serviceaccount:shop:default", "pod-stranger"},
        {"token.person", "jane", ""},
    };
    *ret = (struct gateway_identity){0};
    atomic_fetch_add(&reviews, 1);
    if (atomic_load(&api_is_down))
        return err_set(err, ERR_UNAVAILABLE, "connection refused");
    for (size_t i = 0; i < ARRAY_LEN(known) && !atomic_load(&is_revoked); i++) {
        if (strcmp(known[i].token, token) != 0)
            continue;
        ret->authenticated = true;
        strcpy(ret->username, known[i].username);
        strcpy(ret->pod_uid, known[i].pod_uid);
    }
    return 0;
}

struct world {
    char dir[64], url[64], repository[128];
    char *key_id, *other_key_id; /* the tenant's and the operator's */
    struct gateway_certificate certificate;
    struct gateway *gateway;
    struct gateway_client *controller;
    struct backend *backend;
    struct repository *repo; /* as the controller has it open */
    struct store_id tree, pack, index, snapshot;
};

static char *in(const struct world *w, const char *name)
{
    static char text[8][256];
    static unsigned next;
    char *p = text[next++ % 8];
    snprintf(p, 256, "%s/%s", w->dir, name);
    return p;
}

static void put(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int note_id(void *ctx, const struct store_id *id, uint64_t size, struct err *err)
{
    (void)size, (void)err;
    *(struct store_id *)ctx = *id;
    return 0;
}

static char *hex_of(const struct store_id *id)
{
    char hex[STORE_ID_HEX];
    store_id_hex(id, hex);
    return xstrdup(hex);
}

static void make_repository(struct world *w)
{
    struct err err = {0};
    struct store_id ids[2];
    struct repository_key keys[2] = {{.password = "operator", .scrypt_log2 = 10},
                                     {.password = TENANT_PASSWORD, .scrypt_log2 = 10}};
    static const char *const paths[] = {"/"};
    assert_int_equal(backend_open_local(w->repository, &w->backend, &err), 0);
    assert_int_equal(repository_init(w->backend, keys, 2, ids, &err), 0);
    w->other_key_id = hex_of(&ids[0]);
    w->key_id = hex_of(&ids[1]);
    assert_int_equal(repository_open(w->backend, "operator", NULL, &w->repo, &err), 0);
    assert_int_equal(repository_load_index(w->repo, &err), 0);
    struct synthetic *s = synthetic_new(w->repo, 0);
    assert_int_equal(synthetic_add(s, "/a/file", "content", 7, 0, &err), 0);
    assert_int_equal(synthetic_finish(s, &w->tree, &err), 0);
    synthetic_free(s);
    assert_int_equal(repository_flush(w->repo, &err), 0);
    struct snapshot snapshot = {.tree = w->tree, .paths = paths, .paths_n = 1, .hostname = "test"};
    assert_int_equal(snapshot_save(w->repo, &snapshot, &w->snapshot, &err), 0);
    assert_int_equal(backend_list(w->backend, BACKEND_DATA, note_id, &w->pack, &err), 0);
    assert_int_equal(backend_list(w->backend, BACKEND_INDEX, note_id, &w->index, &err), 0);
}

static void start(struct world *w)
{
    struct err err = {0};
    struct gateway_options options = {
        .listen = "127.0.0.1:0",
        .cert_pem = w->certificate.cert_pem,
        .key_pem = w->certificate.key_pem,
        .local_root = in(w, "root"),
        .controller = CONTROLLER,
        .review = review,
    };
    if (gateway_start(&options, &w->gateway, &err) < 0)
        fail_msg("%s", err.msg);
    snprintf(w->url, sizeof w->url, "https://127.0.0.1:%u", gateway_port(w->gateway));
}

static int set_up(void **state)
{
    struct world *w = xcalloc(1, sizeof *w);
    struct err err = {0};
    static const char *const addresses[] = {"127.0.0.1", "::1", NULL};
    static const char *const names[] = {"gleaner-gateway.gleaner-system.svc", NULL};
    strcpy(w->dir, "/tmp/gleaner-gateway-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    mkdir(in(w, "root"), 0700);
    snprintf(w->repository, sizeof w->repository, "%s/root/store/abc/shop", w->dir);
    make_repository(w);
    assert_int_equal(gateway_make_certificate(names, addresses, 3650, &w->certificate, &err), 0);
    put(in(w, "ca"), w->certificate.ca_pem);
    atomic_store(&reviews, 0);
    atomic_store(&api_is_down, false);
    atomic_store(&is_revoked, false);
    start(w);
    put(in(w, "controller-token"), "token.controller\n");
    assert_int_equal(gateway_client_new(w->url, w->certificate.ca_pem, in(w, "controller-token"),
                                        &w->controller, &err),
                     0);
    *state = w;
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *f)
{
    (void)st, (void)type, (void)f;
    return remove(path);
}

static int tear_down(void **state)
{
    struct world *w = *state;
    clock_override(NULL);
    gateway_client_free(w->controller);
    gateway_stop(w->gateway);
    repository_close(w->repo);
    backend_close(w->backend);
    gateway_certificate_free(&w->certificate);
    nftw(w->dir, remove_one, 64, FTW_DEPTH | FTW_PHYS);
    free(w->key_id);
    free(w->other_key_id);
    free(w);
    return 0;
}

static void admit(struct world *w, const char *pod_uid, const char *repository, bool write,
                  uint64_t budget)
{
    struct err err = {0};
    const char *const keys[] = {w->key_id, NULL};
    struct gateway_mover m = {.pod_uid = pod_uid,
                              .store = "store",
                              .repository = repository,
                              .password = TENANT_PASSWORD,
                              .keys = keys,
                              .write = write,
                              .lock_holder = HOLDER,
                              .budget = budget};
    if (gateway_register(w->controller, &m, &err) < 0)
        fail_msg("%s", err.msg);
}

/* ---- asking ---- */

static size_t gather(char *p, size_t size, size_t n, void *to)
{
    buf_add(to, p, size * n);
    return size * n;
}

struct ask {
    const char *token, *method, *path, *range;
    const void *body;
    size_t body_n;
    bool basic, no_expect;
    struct buf *answer;
};

/* The status, or 0 if the connection broke. */
static long ask(struct world *w, struct ask a)
{
    struct buf ignored = {0};
    long status = 0;
    char *url = xasprintf("%s%s", w->url, a.path);
    struct curl_blob ca = {w->certificate.ca_pem, strlen(w->certificate.ca_pem), CURL_BLOB_COPY};
    struct curl_slist *headers = NULL;
    CURL *c = curl_easy_init();
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(c, CURLOPT_CAINFO_BLOB, &ca);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_TIMEOUT, 30L);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, gather);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, a.answer ? a.answer : &ignored);
    if (streq(a.method, "HEAD"))
        curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
    else
        curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, a.method);
    if (a.body) {
        curl_easy_setopt(c, CURLOPT_POSTFIELDS, a.body);
        curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)a.body_n);
        headers = curl_slist_append(headers, a.no_expect ? "Expect:" : "Expect: 100-continue");
    }
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(c, CURLOPT_RANGE, a.range);
    if (a.token && a.basic) {
        curl_easy_setopt(c, CURLOPT_USERNAME, "x");
        curl_easy_setopt(c, CURLOPT_PASSWORD, a.token);
    } else if (a.token) {
        curl_easy_setopt(c, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
        curl_easy_setopt(c, CURLOPT_XOAUTH2_BEARER, a.token);
    }
    curl_easy_perform(c);
    curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_cleanup(c);
    curl_slist_free_all(headers);
    buf_free(&ignored);
    free(url);
    return status;
}

static long get(struct world *w, const char *token, const char *path)
{
    return ask(w, (struct ask){.token = token, .method = "GET", .path = path});
}

/* Fills the ids of this repository into a path: %pack, %index, %key, %other, %snap. */
static char *with_ids(struct world *w, const char *path)
{
    char *pack = hex_of(&w->pack), *index = hex_of(&w->index), *snap = hex_of(&w->snapshot);
    const char *const ids[][2] = {{"%pack", pack},
                                  {"%index", index},
                                  {"%key", w->key_id},
                                  {"%other", w->other_key_id},
                                  {"%snap", snap}};
    struct buf out = {0};
    while (*path) {
        size_t i = 0;
        while (i < ARRAY_LEN(ids) && !str_starts(str_of(path), ids[i][0]))
            i++;
        if (i < ARRAY_LEN(ids)) {
            buf_puts(&out, ids[i][1]);
            path += strlen(ids[i][0]);
        } else {
            buf_putc(&out, *path++);
        }
    }
    free(pack);
    free(index);
    free(snap);
    return buf_take(&out);
}

/* ---- tests ---- */

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
    struct lock_options options = {.hostname = HOLDER, .settle_ms = 1};
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
    options.hostname = "somebody/else/1/2";
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

/* ---- stock restic ---- */

struct run {
    int code;
    char *out, *errors;
};

static struct run run_restic(struct world *w, const char *repository, const char *token,
                             const char *seconds, const char *const *words)
{
    struct err err = {0};
    struct proc_result result = {0};
    char *url =
        xasprintf("rest:https://x:%s@%s/%s/", token, w->url + strlen("https://"), repository);
    const char *argv[20] = {"/usr/bin/timeout", seconds,     restic, "--no-cache",
                            "--cacert",         in(w, "ca"), "-r",   url};
    size_t n = 8;
    if (!streq(words[0], "forget")) /* it does not know the option */
        argv[n++] = "--no-lock";
    while (*words)
        argv[n++] = *words++;
    const char *const env[] = {"RESTIC_PASSWORD=" TENANT_PASSWORD, "HOME=/nonexistent",
                               "PATH=/usr/bin:/bin", NULL};
    struct proc_request request = {.argv = argv, .env = env, .timeout_ms = 90000};
    if (proc_run(&request, &result, &err) < 0)
        fail_msg("%s", err.msg);
    struct run r = {result.exit_code, xstrdup(result.output.p ? result.output.p : ""),
                    xstrdup(result.errors.p ? result.errors.p : "")};
    proc_result_free(&result);
    free(url);
    return r;
}

static void run_free(struct run *r)
{
    free(r->out);
    free(r->errors);
}

#define RESTIC(...)                                                                                \
    run_restic(w, "abc/shop", "token.mover", "60", (const char *const[]){__VA_ARGS__, NULL})

static void stock_restic_reads_and_is_refused(void **state)
{
    struct world *w = *state;
    if (access(restic, X_OK) != 0)
        fail_msg("this test needs %s", restic);
    admit(w, "pod-mover", "abc/shop", true, 0);
    admit(w, "pod-other", "abc/blog", true, 0);
    char *pack = hex_of(&w->pack), *index = hex_of(&w->index);
    struct run r CLEANUP(run_free) = RESTIC("cat", "config");
    if (r.code)
        fail_msg("cat config: %s", r.errors);
    assert_non_null(strstr(r.out, "chunker_polynomial"));
    struct run indexes CLEANUP(run_free) = RESTIC("list", "index");
    assert_int_equal(indexes.code, 0);
    assert_non_null(strstr(indexes.out, index));
    struct run packs CLEANUP(run_free) = RESTIC("list", "packs");
    assert_int_equal(packs.code, 0);
    assert_non_null(strstr(packs.out, pack));
    struct run cat CLEANUP(run_free) = RESTIC("cat", "index", index);
    assert_int_equal(cat.code, 0);
    /* restic repeats what was refused for up to a quarter of an hour: its first words are enough.
     */
    static const char *const refused[][4] = {
        {"snapshots"}, {"backup", "/etc/hostname"}, {"forget", "latest"}};
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        struct run no CLEANUP(run_free) =
            run_restic(w, "abc/shop", "token.mover", /* seconds= */ "3", refused[i]);
        if (no.code == 0 || !strstr(no.errors, "403"))
            fail_msg("%s: exit %d, %s", refused[i][0], no.code, no.errors);
        assert_null(strstr(no.out, "test")); /* the snapshot's host */
    }
    struct run wrong CLEANUP(run_free) =
        run_restic(w, "abc/shop", "token.other", "3", (const char *const[]){"cat", "config", NULL});
    assert_int_not_equal(wrong.code, 0);
    assert_null(strstr(wrong.out, "chunker"));
    free(pack);
    free(index);
}

/* ---- the mover's process ---- */

static struct run run_mover(struct world *w, const char *verb, const char *token, const char *tree,
                            const char *root)
{
    struct err err = {0};
    struct proc_result result = {0};
    const char *argv[] = {program, "mover", verb, NULL};
    put(in(w, "token"), token);
    const char *settings[][2] = {{MOVER_ENV_GATEWAY, w->url},
                                 {MOVER_ENV_CA, w->certificate.ca_pem},
                                 {MOVER_ENV_REPOSITORY, "abc/shop"},
                                 {MOVER_ENV_TREE, tree},
                                 {MOVER_ENV_ROOT, root},
                                 {MOVER_ENV_TOKEN_FILE, in(w, "token")},
                                 {MOVER_ENV_VOLUME, in(w, "volume")},
                                 {MOVER_ENV_TERMINATION, in(w, "report")}};
    const char *env[ARRAY_LEN(settings) + 1] = {0};
    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        env[i] = xasprintf("%s=%s", settings[i][0], settings[i][1]);
    struct proc_request request = {.argv = argv, .env = env, .timeout_ms = 90000};
    if (proc_run(&request, &result, &err) < 0)
        fail_msg("%s", err.msg);
    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        free((char *)(uintptr_t)env[i]);
    struct run r = {result.exit_code, xstrdup(result.output.p ? result.output.p : ""),
                    xstrdup(result.errors.p ? result.errors.p : "")};
    assert_null(strstr(r.errors, TENANT_PASSWORD));
    assert_null(strstr(r.errors, token));
    proc_result_free(&result);
    return r;
}

static struct mover_report read_report(struct world *w)
{
    char text[8192] = "";
    struct mover_report report = {0};
    struct err err = {0};
    FILE *f = fopen(in(w, "report"), "r");
    assert_non_null(f);
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    if (mover_report_decode((str){text, n}, &report, &err) < 0)
        fail_msg("%s: %s", err.msg, text);
    return report;
}

/* The controller, which registers the pod only when it has seen it. */
static void *register_late(void *world)
{
    while (atomic_load(&reviews) == 0)
        sched_yield();
    admit(world, "pod-late", "abc/shop", true, 0);
    return NULL;
}

static void a_volume_goes_there_and_back(void **state)
{
    struct world *w = *state;
    struct err err = {0};
    struct lock *lock = NULL;
    struct lock_options options = {.hostname = HOLDER, .settle_ms = 1};
    pthread_t controller;
    mkdir(in(w, "volume"), 0750);
    mkdir(in(w, "volume/data"), 0755);
    put(in(w, "volume/data/file"), "the bytes of a volume");
    put(in(w, "volume/top"), "more");
    assert_int_equal(mkfifo(in(w, "volume/pipe"), 0600), 0);
    assert_int_equal(lock_acquire(w->repo, &options, &lock, &err), 0);
    assert_int_equal(pthread_create(&controller, NULL, register_late, w), 0);
    struct run saved CLEANUP(run_free) = run_mover(w, "backup", "token.late", "", "");
    pthread_join(controller, NULL);
    if (saved.code != MOVER_EXIT_PROBLEMS)
        fail_msg("%d: %s", saved.code, saved.errors);
    struct mover_report report = read_report(w);
    assert_string_equal(report.verb, "backup");
    assert_true(report.has_tree);
    assert_int_equal(report.files, 2);
    assert_int_equal(report.problems, 1);
    assert_string_equal(report.first[0].path, "/pipe");
    assert_non_null(strstr(report.root, "0750:"));

    put(in(w, "volume/data/file"), "something else");
    put(in(w, "volume/extra"), "x");
    unlink(in(w, "volume/top"));
    char *tree = hex_of(&report.tree);
    admit(w, "pod-reader", "abc/shop", false, 0); /* a restore may not write */
    struct run back CLEANUP(run_free) = run_mover(w, "restore", "token.reader", tree, report.root);
    if (back.code != MOVER_EXIT_DONE)
        fail_msg("%d: %s", back.code, back.errors);
    report = read_report(w);
    assert_int_equal(report.removed, 2);
    char text[64] = "";
    FILE *f = fopen(in(w, "volume/data/file"), "r");
    assert_non_null(fgets(text, sizeof text, f));
    fclose(f);
    assert_string_equal(text, "the bytes of a volume");
    assert_int_equal(access(in(w, "volume/extra"), F_OK), -1);
    assert_int_equal(access(in(w, "volume/top"), F_OK), 0);

    /* Without the holder's lock nothing of a backup becomes visible. */
    assert_int_equal(lock_release(lock, &err), 0);
    put(in(w, "volume/new"), "not in the store yet");
    struct run late CLEANUP(run_free) = run_mover(w, "backup", "token.late", tree, "");
    assert_int_equal(late.code, MOVER_EXIT_FAILED);
    report = read_report(w);
    assert_string_equal(report.error_kind, "forbidden");
    free(tree);
}

/* ---- texts ---- */

static void registrations_are_checked(void **state)
{
    (void)state;
#define ID "\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\""
    static const struct {
        const char *text;
        bool good;
    } cases[] = {
        {"{\"repository\":\"a/b\",\"password\":\"p\",\"keys\":[" ID "]}", true},
        {"{\"store\":\"x/y\",\"repository\":\"a/_cluster\",\"password\":\"p\",\"keys\":[" ID "],"
         "\"write\":true,\"lock_holder\":\"h\",\"budget\":5}",
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

static void reports_fit_and_come_back(void **state)
{
    (void)state;
    struct mover_report r = {.verb = "backup", .has_tree = true, .files = 7, .has_list = true},
                        back;
    struct buf text = {0};
    struct err err = {0};
    char path[600], what[600];
    memset(path, '\x01', sizeof path - 1); /* six bytes each in JSON */
    path[sizeof path - 1] = '\0';
    memset(what, '"', sizeof what - 1);
    what[sizeof what - 1] = '\0';
    for (int i = 0; i < 50; i++)
        mover_report_problem(&r, i ? path : "/first", i ? what : "is odd");
    memset(r.error, '\\', sizeof r.error - 1);
    strcpy(r.root, "0755:1:2:3.000000004");
    mover_report_encode(&r, &text);
    assert_true(text.n <= MOVER_REPORT_MAX);
    if (mover_report_decode(buf_view(&text), &back, &err) < 0)
        fail_msg("%s: %s", err.msg, text.p);
    assert_int_equal(back.problems, 50);
    assert_true(back.first_n >= 1 && back.first_n < MOVER_REPORT_PROBLEMS);
    assert_string_equal(back.first[0].path, "/first");
    assert_string_equal(back.root, r.root);
    assert_true(back.has_list);
    static const char *const bad[] = {"",
                                      "{}",
                                      "[1]",
                                      "{\"v\":2}",
                                      "{\"v\":1,\"files\":-1}",
                                      "{\"v\":1,\"files\":\"x\"}",
                                      "{\"v\":1,\"tree\":\"abc\"}",
                                      "{\"v\":1,\"problems\":0,\"first\":[{\"path\":\"/a\"}]}"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(mover_report_decode(str_of(bad[i]), &back, &err), -1);
    buf_free(&text);
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

int main(int argc, char **argv)
{
    if (argc == 3 && streq(argv[1], "mover"))
        return mover_main(argc - 1, argv + 1);
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
        CASE(stock_restic_reads_and_is_refused),
        CASE(a_volume_goes_there_and_back),
        cmocka_unit_test(registrations_are_checked),
        cmocka_unit_test(reviews_are_read_with_care),
        cmocka_unit_test(reports_fit_and_come_back),
        cmocka_unit_test(certificates_are_of_their_names),
    };
    return cmocka_run_group_tests_name("gateway/server", tests, NULL, NULL);
}
