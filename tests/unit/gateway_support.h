/* For tests of the gateway: one that serves one repository over real TLS, and clients that ask it.
 * TokenReview is a function here; everything else is what runs in a cluster. */
#ifndef TESTS_GATEWAY_SUPPORT_H
#define TESTS_GATEWAY_SUPPORT_H

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
#include "gateway/client.h"
#include "gateway/registry.h"
#include "gateway/review.h"
#include "gateway/server.h"
#include "gateway/tls.h"
#include "store/lock.h"
#include "store/snapshot.h"
#include "store/synthetic.h"

#define CONTROLLER "system:serviceaccount:gleaner-system:gleaner-controller"
#define TENANT_PASSWORD "canary-tenant-password-8d1f"
#define LOCK_NAME "backup-1"

/* ---- a cluster of one gateway and one repository ---- */

static atomic_int reviews;
static atomic_bool api_is_down, is_revoked;

static inline int review(void *ctx, const char *token, struct gateway_identity *ret,
                         struct err *err)
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

static inline char *in(const struct world *w, const char *name)
{
    static char text[8][256];
    static unsigned next;
    char *p = text[next++ % 8];
    snprintf(p, 256, "%s/%s", w->dir, name);
    return p;
}

static inline void put(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static inline int note_id(void *ctx, const struct store_id *id, uint64_t size, struct err *err)
{
    (void)size, (void)err;
    *(struct store_id *)ctx = *id;
    return 0;
}

static inline char *hex_of(const struct store_id *id)
{
    char hex[STORE_ID_HEX];
    store_id_hex(id, hex);
    return xstrdup(hex);
}

static inline void make_repository(struct world *w)
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

static inline void start(struct world *w)
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

static inline int set_up(void **state)
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

static inline int remove_one(const char *path, const struct stat *st, int type, struct FTW *f)
{
    (void)st, (void)type, (void)f;
    return remove(path);
}

static inline int tear_down(void **state)
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

static inline void admit(struct world *w, const char *pod_uid, const char *repository, bool write,
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
                              .lock = LOCK_NAME,
                              .budget = budget};
    if (gateway_register(w->controller, &m, &err) < 0)
        fail_msg("%s", err.msg);
}

/* ---- asking ---- */

static inline size_t gather(char *p, size_t size, size_t n, void *to)
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
static inline long ask(struct world *w, struct ask a)
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

static inline long get(struct world *w, const char *token, const char *path)
{
    return ask(w, (struct ask){.token = token, .method = "GET", .path = path});
}

/* Fills the ids of this repository into a path: %pack, %index, %key, %other, %snap. */
static inline char *with_ids(struct world *w, const char *path)
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

#endif
