/* What a check finds, and that it never calls a repository whole that it could not read. */
#include "store/check.h"
#include "store/index.h"
#include "store/stream.h"
#include "store/tree.h"
#include "store_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct fixture {
    char *folder;
    struct backend *backend;
    struct repository *repo;
    struct store_id tree, snapshot;
    char all[4096]; /* the damage that was told */
    size_t told;
};

static int write_repository(struct fixture *f, struct err *err)
{
    static uint8_t bytes[3 << 20]; /* saved as two streams: two blobs at least, whatever is cut */
    size_t half = sizeof bytes / 2;
    struct stream_saver *saver CLEANUP(stream_saver_free_p) = stream_saver_new(f->repo);
    struct tree_writer *w CLEANUP(tree_writer_free_p) = tree_writer_new();
    struct store_ids ids = {0};
    fill_splitmix(7, bytes, sizeof bytes);
    if (repository_load_index(f->repo, err) < 0 ||
        stream_save_bytes(saver, bytes, half, &ids, err) < 0 ||
        stream_save_bytes(saver, bytes + half, sizeof bytes - half, &ids, err) < 0)
        return -1;
    struct node node = {.name = STR("file"),
                        .type = NODE_FILE,
                        .mode = 0600,
                        .size = sizeof bytes,
                        .content = ids.p,
                        .content_n = ids.n};
    int r = tree_writer_add(w, &node, err) < 0 ||
                    tree_writer_finish(w, f->repo, &f->tree, NULL, err) < 0 ||
                    save_test_snapshot(f->repo, &f->tree, "t", &f->snapshot, err) < 0
                ? -1
                : 0;
    vec_free(&ids);
    return r;
}

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    struct repository_key key = cheap_key("secret");
    struct err err;
    f->folder = make_folder();
    *state = f;
    if (backend_open_local(f->folder, &f->backend, &err) < 0 ||
        repository_init(f->backend, &key, 1, NULL, &err) < 0 ||
        repository_open(f->backend, "secret", NULL, &f->repo, &err) < 0 ||
        write_repository(f, &err) < 0) {
        print_message("%s\n", err.msg);
        return -1;
    }
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    repository_close(f->repo);
    backend_close(f->backend);
    remove_folder(f->folder);
    free(f);
    return 0;
}

static void finding(void *ctx, const struct check_finding *found)
{
    struct fixture *f = ctx;
    if (found->severity != CHECK_DAMAGE)
        return;
    f->told++;
    size_t n = strlen(f->all);
    snprintf(f->all + n, sizeof f->all - n, "%s\n", found->text);
}

static int check_all(struct fixture *f, struct check_result *ret, struct err *err)
{
    struct check_options options = {.read = {.what = CHECK_ALL}, .finding = finding, .ctx = f};
    f->told = 0;
    f->all[0] = '\0';
    return check_run(f->repo, &options, ret, err);
}

static void test_whole(void **state)
{
    struct fixture *f = *state;
    struct check_result r;
    struct err err;
    assert_int_equal(check_all(f, &r, &err), 0);
    assert_int_equal(r.damages, 0);
    assert_int_equal(r.hints, 0);
    assert_int_equal(r.snapshots, 1);
    assert_int_equal(r.trees, 1);
    assert_true(r.blobs >= 3);
    assert_int_equal(r.packs, 2);
    assert_int_equal(r.packs_read, 2);
    assert_true(r.bytes_read > 3 << 20);
    assert_int_equal(r.hurt_n, 0);
    check_result_free(&r);
}

/* From whatever call on the store fails, the result is an error or damage, never "whole". */
static void test_every_failing_read(void **state)
{
    struct fixture *f = *state;
    int calls = 0;
    for (int at = 1; calls == 0 || at <= calls; at++) {
        struct fault_backend faulty = {
            .base = {&fault_ops}, .inner = f->backend, .dead_after = true};
        struct repository *repo CLEANUP(repository_close_p) = NULL;
        struct check_options options = {.read = {.what = CHECK_ALL}, .finding = finding, .ctx = f};
        struct check_result r = {0};
        struct err err;
        assert_int_equal(repository_open(&faulty.base, "secret", NULL, &repo, &err), 0);
        faulty.calls = 0;
        faulty.at = at;
        int done = check_run(repo, &options, &r, &err);
        if (!faulty.hit) {
            assert_int_equal(done, 0);
            assert_int_equal(r.damages, 0);
            calls = faulty.calls;
        } else {
            assert_true(done < 0 || r.damages > 0);
        }
        check_result_free(&r);
    }
    print_message("%d calls\n", calls);
    assert_true(calls > 10);
}

/* ---- indexes that lie ---- */

struct rewriting {
    struct fixture *f;
    void (*change)(struct pack_blob *blobs, uint32_t *offsets, size_t n);
    struct buf text;
    bool first;
};

static int rewrite_pack(void *ctx, const struct store_id *pack, const struct pack_blob *blobs,
                        const uint32_t *offsets, size_t n, struct err *err)
{
    struct rewriting *w = ctx;
    struct pack_blob *b = xmalloc(n * sizeof *b);
    uint32_t *o = xmalloc(n * sizeof *o);
    char hex[STORE_ID_HEX];
    (void)err;
    memcpy(b, blobs, n * sizeof *b);
    memcpy(o, offsets, n * sizeof *o);
    w->change(b, o, n);
    store_id_hex(pack, hex);
    buf_printf(&w->text, "%s{\"id\":\"%s\",\"blobs\":[", w->first ? "" : ",", hex);
    w->first = false;
    for (size_t i = 0; i < n; i++) {
        store_id_hex(&b[i].id, hex);
        buf_printf(&w->text, "%s{\"id\":\"%s\",\"type\":\"%s\",\"offset\":%u,\"length\":%u",
                   i ? "," : "", hex, b[i].type == BLOB_TREE ? "tree" : "data", o[i], b[i].length);
        if (b[i].plain)
            buf_printf(&w->text, ",\"uncompressed_length\":%u", b[i].plain);
        buf_putc(&w->text, '}');
    }
    buf_puts(&w->text, "]}");
    free(b);
    free(o);
    return 0;
}

/* Writes another index file, changed; with `replace` the old one goes. */
static void rewrite_index(struct fixture *f, void (*change)(struct pack_blob *, uint32_t *, size_t),
                          bool replace)
{
    struct rewriting w = {.f = f, .change = change, .first = true};
    struct store_ids ids = {0};
    struct store_id id;
    struct err err;
    assert_int_equal(backend_list_ids(f->backend, BACKEND_INDEX, true, 10, &ids, &err), 0);
    assert_int_equal(ids.n, 1);
    struct buf old CLEANUP(buf_free) = {0};
    assert_int_equal(repository_load_file(f->repo, BACKEND_INDEX, &ids.p[0], &old, &err), 0);
    struct json_in in CLEANUP(json_in_free);
    json_in_text(&in, buf_view(&old), &err);
    buf_puts(&w.text, "{\"packs\":[");
    assert_int_equal(index_text_read(&in, rewrite_pack, &w), 0);
    buf_puts(&w.text, "]}");
    assert_int_equal(repository_save_file(f->repo, BACKEND_INDEX, buf_view(&w.text), &id, &err), 0);
    if (replace)
        assert_int_equal(
            backend_remove(f->backend, &(struct backend_file){BACKEND_INDEX, ids.p[0]}, &err), 0);
    vec_free(&ids);
    buf_free(&w.text);
}

static void nothing(struct pack_blob *b, uint32_t *o, size_t n)
{
    (void)b, (void)o, (void)n;
}

static void move_offset(struct pack_blob *b, uint32_t *o, size_t n)
{
    (void)b;
    if (n > 1)
        o[1] += 7;
}

static void swap_lengths(struct pack_blob *b, uint32_t *o, size_t n)
{
    if (n < 2)
        return;
    b[0].length++, b[1].length--;
    o[1]++;
}

static void other_plain(struct pack_blob *b, uint32_t *o, size_t n)
{
    (void)o;
    for (size_t i = 0; i < n; i++)
        if (b[i].plain)
            b[i].plain++;
}

static void other_id(struct pack_blob *b, uint32_t *o, size_t n)
{
    (void)o;
    if (b[0].type == BLOB_DATA && n)
        b[0].id.b[0] ^= 1;
}

static void other_type(struct pack_blob *b, uint32_t *o, size_t n)
{
    (void)o;
    if (n > 1)
        b[0].type = b[0].type == BLOB_DATA ? BLOB_TREE : BLOB_DATA;
}

static void test_lying_index(void **state)
{
    static const struct {
        void (*change)(struct pack_blob *, uint32_t *, size_t);
        bool replace;
        const char *says;
        const char *why;
    } cases[] = {
        {move_offset, true, "overlap or leave gaps", "a blob is elsewhere"},
        {swap_lengths, true, NULL, "lengths that make the same size"},
        {other_plain, true, NULL, "another length of the plaintext"},
        {other_id, true, NULL, "another blob"},
        {other_type, true, NULL, "a tree that is data"},
        {move_offset, false, NULL, "two that say different things"},
        {other_id, false, NULL, "two that name different blobs"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        void *own = NULL;
        struct check_result r = {0};
        struct err err;
        assert_int_equal(setup(&own), 0);
        rewrite_index(own, cases[i].change, cases[i].replace);
        assert_int_equal(check_all(own, &r, &err), 0);
        if (r.damages == 0)
            fail_msg("%s: no damage found", cases[i].why);
        struct fixture *f = own;
        assert_int_equal(f->told, r.damages);
        if (cases[i].says && !strstr(f->all, cases[i].says))
            fail_msg("%s: '%s' was not told: %s", cases[i].why, cases[i].says, f->all);
        assert_int_equal(r.hints > 0, cases[i].change == other_type || !cases[i].replace);
        assert_int_equal(r.hurt_n, 1);
        assert_true(store_id_equal(&r.hurt[0], &f->snapshot));
        check_result_free(&r);
        teardown(&own);
    }
    void *own = NULL;
    struct check_result r = {0};
    struct err err;
    assert_int_equal(setup(&own), 0);
    rewrite_index(own, nothing, false);
    assert_int_equal(check_all(own, &r, &err), 0);
    assert_int_equal(r.damages, 0);
    assert_int_equal(r.hints, 2); /* both packs are named twice */
    check_result_free(&r);
    teardown(&own);
}

/* ---- words ---- */

static void test_subset_words(void **state)
{
    static const struct {
        const char *text;
        struct check_subset is; /* CHECK_NONE: refused */
    } cases[] = {
        {"2/7", {CHECK_PART, 2, 7, 0, 0}},
        {"256/256", {CHECK_PART, 256, 256, 0, 0}},
        {"5%", {CHECK_PERCENT, 0, 0, 5, 0}},
        {"0.5%", {CHECK_PERCENT, 0, 0, 0.5, 0}},
        {"100%", {CHECK_PERCENT, 0, 0, 100, 0}},
        {"500M", {CHECK_BYTES, 0, 0, 0, 500ull << 20}},
        {"3g", {CHECK_BYTES, 0, 0, 0, 3ull << 30}},
        {"17", {CHECK_BYTES, 0, 0, 0, 17}},
        {"1T", {CHECK_BYTES, 0, 0, 0, 1ull << 40}},
        {"", {0}},
        {"/", {0}},
        {"1/", {0}},
        {"0/5", {0}},
        {"6/5", {0}},
        {"1/257", {0}},
        {"1/2/3", {0}},
        {"%", {0}},
        {"0%", {0}},
        {"101%", {0}},
        {"-1%", {0}},
        {"1.2.3%", {0}},
        {"nan%", {0}},
        {"M", {0}},
        {"0", {0}},
        {"5X", {0}},
        {"99999999999999T", {0}},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct check_subset is = {0};
        struct err err;
        int r = check_parse_subset(str_of(cases[i].text), &is, &err);
        if ((r == 0) != (cases[i].is.what != CHECK_NONE) || is.what != cases[i].is.what ||
            is.n != cases[i].is.n || is.t != cases[i].is.t || is.bytes != cases[i].is.bytes ||
            is.percent < cases[i].is.percent || is.percent > cases[i].is.percent)
            fail_msg("'%s'", cases[i].text);
    }
}

/* All parts together read each pack once; a percentage and a size read what they say. */
static void test_subsets_cover(void **state)
{
    struct fixture *f = *state;
    uint64_t read = 0;
    struct err err;
    for (uint64_t n = 1; n <= 5; n++) {
        struct check_options options = {.read = {.what = CHECK_PART, .n = n, .t = 5}};
        struct check_result r;
        assert_int_equal(check_run(f->repo, &options, &r, &err), 0);
        read += r.packs_read;
        check_result_free(&r);
    }
    assert_int_equal(read, 2);
    struct check_options options = {.read = {.what = CHECK_PERCENT, .percent = 1}};
    struct check_result r;
    assert_int_equal(check_run(f->repo, &options, &r, &err), 0);
    assert_int_equal(r.packs_read, 1);
    check_result_free(&r);
    options.read = (struct check_subset){.what = CHECK_BYTES, .bytes = 1ull << 40};
    assert_int_equal(check_run(f->repo, &options, &r, &err), 0);
    assert_int_equal(r.packs_read, 2);
    check_result_free(&r);
}

static int stop_at_trees(void *ctx, const char *what, uint64_t done, uint64_t total,
                         struct err *err)
{
    (void)ctx, (void)done, (void)total;
    return streq(what, "trees") ? err_set(err, ERR_CANCELLED, "enough") : 0;
}

static void test_progress_ends_it(void **state)
{
    struct fixture *f = *state;
    struct check_options options = {.progress = stop_at_trees};
    struct check_result r;
    struct err err = {0};
    assert_true(check_run(f->repo, &options, &r, &err) < 0);
    assert_int_equal(err.kind, ERR_CANCELLED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_failing_read, setup, teardown),
        cmocka_unit_test(test_lying_index),
        cmocka_unit_test(test_subset_words),
        cmocka_unit_test_setup_teardown(test_subsets_cover, setup, teardown),
        cmocka_unit_test_setup_teardown(test_progress_ends_it, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
