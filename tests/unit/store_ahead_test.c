/* store: blobs that are loaded before they are wanted: in order, verified, within a bound, and with
 * no thread left whatever happens. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "store_support.h"

#include "store/ahead.h"
#include "store/limits.h"
#include "store/stream.h"

enum { BLOBS = 40, SMALL = 20000, BIG = 600 << 10 };

struct fixture {
    char *folder;
    struct backend *inner;
    struct fault_backend fault;
    struct repository *repo;
    struct store_id ids[BLOBS];
    size_t sizes[BLOBS];
};

static void make_blob(uint8_t *p, size_t n, unsigned i)
{
    fill_splitmix(i + 1, p, n / 8 * 8);
    memset(p + n / 8 * 8, (int)i, n % 8);
}

/* Every third is big; the small ones share windows of their packs. */
static void fill(struct fixture *f)
{
    struct err err;
    uint8_t *p = xmalloc(BIG);
    struct repository *repo;
    if (repository_open(f->inner, "first", NULL, &repo, &err) < 0 ||
        repository_load_index(repo, &err) < 0)
        fail_msg("%s", err.msg);
    for (unsigned i = 0; i < BLOBS; i++) {
        f->sizes[i] = i % 3 ? SMALL + i : BIG - i;
        make_blob(p, f->sizes[i], i);
        if (repository_save_blob(repo, BLOB_DATA, p, f->sizes[i], &f->ids[i], NULL, &err) < 0)
            fail_msg("%s", err.msg);
    }
    if (repository_flush(repo, &err) < 0)
        fail_msg("%s", err.msg);
    repository_close(repo);
    free(p);
}

/* A new process: nothing of a pack is in memory. */
static void reopen(struct fixture *f)
{
    struct err err;
    repository_close(f->repo);
    f->fault = (struct fault_backend){.base = {&fault_ops}, .inner = f->inner};
    if (repository_open(&f->fault.base, "first", NULL, &f->repo, &err) < 0 ||
        repository_load_index(f->repo, &err) < 0)
        fail_msg("%s", err.msg);
    f->fault.calls = 0;
}

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    struct err err;
    struct repository_key key = cheap_key("first");
    f->folder = make_folder();
    if (backend_open_local(f->folder, &f->inner, &err) < 0 ||
        repository_init(f->inner, &key, 1, NULL, &err) < 0)
        fail_msg("%s", err.msg);
    fill(f);
    reopen(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    repository_close(f->repo);
    backend_close(f->inner);
    remove_folder(f->folder);
    free(f);
    return 0;
}

/* ---- streams ---- */

struct taken {
    struct fixture *f;
    unsigned n, stop_at; /* BLOBS: never */
    bool wrong;
};

static int take(void *ctx, const void *p, size_t n, struct err *err)
{
    struct taken *t = ctx;
    uint8_t *want = xmalloc(BIG);
    unsigned i = t->n++;
    make_blob(want, t->f->sizes[i], i);
    t->wrong |= n != t->f->sizes[i] || memcmp(p, want, n) != 0;
    free(want);
    return i == t->stop_at ? err_set(err, ERR_IO, "no more, please") : 0;
}

static void chunks_come_in_order(void **state)
{
    struct fixture *f = *state;
    struct taken t = {.f = f, .stop_at = BLOBS};
    struct err err;
    assert_int_equal(stream_load(f->repo, f->ids, BLOBS, take, &t, &err), 0);
    assert_int_equal(t.n, BLOBS);
    assert_false(t.wrong);
    assert_int_equal(stream_load(f->repo, NULL, 0, take, &t, &err), 0);
    assert_int_equal(t.n, BLOBS);
}

static void who_takes_may_stop(void **state)
{
    struct fixture *f = *state;
    struct err err;
    for (unsigned at = 0; at < BLOBS; at += 3) {
        struct taken t = {.f = f, .stop_at = at};
        assert_int_equal(stream_load(f->repo, f->ids, BLOBS, take, &t, &err), -1);
        assert_string_equal(err.msg, "no more, please");
        assert_int_equal(t.n, at + 1);
        assert_false(t.wrong);
    }
}

/* A failing read may also be that of a window, which is tried again as the blob's own range. */
static void any_read_may_fail(void **state)
{
    struct fixture *f = *state;
    struct err err;
    bool hit = true;
    unsigned failed = 0;
    for (int at = 1; hit; at++) {
        struct taken t = {.f = f, .stop_at = BLOBS};
        reopen(f);
        f->fault.at = at;
        f->fault.dead_after = true;
        int r = stream_load(f->repo, f->ids, BLOBS, take, &t, &err);
        hit = f->fault.hit;
        assert_false(t.wrong);
        assert_int_equal(r == 0, t.n == BLOBS);
        assert_true(hit || r == 0);
        if (r < 0) {
            assert_int_equal(err.kind, ERR_IO);
            failed++;
        }
    }
    assert_true(failed >= BLOBS / 3);
}

static void a_missing_blob_is_told_in_its_turn(void **state)
{
    struct fixture *f = *state;
    struct taken t = {.f = f, .stop_at = BLOBS};
    struct err err;
    f->ids[17] = (struct store_id){{7}};
    assert_int_equal(stream_load(f->repo, f->ids, BLOBS, take, &t, &err), -1);
    assert_int_equal(err.kind, ERR_NOT_FOUND);
    assert_int_equal(t.n, 17);
    assert_false(t.wrong);
}

/* ---- the bound ---- */

static void never_more_than_asked(void **state)
{
    struct fixture *f = *state;
    struct ahead *a CLEANUP(ahead_free_p) = ahead_new(f->repo, 2 * (uint64_t)BIG);
    struct buf bytes CLEANUP(buf_free) = {0};
    struct err err;
    unsigned asked = 0, most = 0;
    for (unsigned i = 0; i < BLOBS; i++) {
        uint64_t sum = 0;
        while (asked < BLOBS && ahead_ask(a, &f->ids[asked]))
            asked++;
        for (unsigned j = i; j < asked; j++)
            sum += f->sizes[j];
        assert_int_equal(ahead_waiting(a), asked - i);
        assert_int_equal(ahead_bytes(a), sum);
        assert_true(sum <= 2 * (uint64_t)BIG);
        most = MAX(most, asked - i);
        assert_int_equal(ahead_take(a, &bytes, &err), 0);
        assert_int_equal(bytes.n, f->sizes[i]);
    }
    assert_int_equal(most, 5); /* a big one between four small ones */
    assert_int_equal(ahead_waiting(a), 0);
}

static void what_is_too_large_goes_alone(void **state)
{
    struct fixture *f = *state;
    struct ahead *a CLEANUP(ahead_free_p) = ahead_new(f->repo, 1000);
    struct buf bytes CLEANUP(buf_free) = {0};
    struct err err;
    for (unsigned i = 0; i < 4; i++) {
        assert_true(ahead_ask(a, &f->ids[i]));
        assert_false(ahead_ask(a, &f->ids[i + 1]));
        assert_int_equal(ahead_take(a, &bytes, &err), 0);
    }
}

/* Small blobs, whose bytes would not end it. */
static void never_more_blobs_than_the_limit(void **state)
{
    struct fixture *f = *state;
    struct ahead *a CLEANUP(ahead_free_p) = ahead_new(f->repo, UINT64_MAX);
    struct buf bytes CLEANUP(buf_free) = {0};
    struct err err;
    for (unsigned i = 0; i < STORE_AHEAD_BLOBS; i++)
        assert_true(ahead_ask(a, &f->ids[1]));
    assert_false(ahead_ask(a, &f->ids[1]));
    assert_int_equal(ahead_take(a, &bytes, &err), 0);
    assert_true(ahead_ask(a, &f->ids[1]));
}

static void dropped_it_starts_anew(void **state)
{
    struct fixture *f = *state;
    struct ahead *a CLEANUP(ahead_free_p) = ahead_new(f->repo, 0);
    struct buf bytes CLEANUP(buf_free) = {0};
    struct err err;
    for (unsigned i = 0; i < BLOBS; i++) {
        assert_true(ahead_ask(a, &f->ids[i]));
        assert_true(ahead_ask(a, &f->ids[(i + 1) % BLOBS]));
        assert_true(ahead_ask(a, &f->ids[(i + 2) % BLOBS]));
        ahead_drop(a);
        assert_int_equal(ahead_waiting(a), 0);
        assert_int_equal(ahead_bytes(a), 0);
    }
    assert_true(ahead_ask(a, &f->ids[5]));
    assert_int_equal(ahead_take(a, &bytes, &err), 0);
    assert_int_equal(bytes.n, f->sizes[5]);
    assert_true(ahead_ask(a, &f->ids[5])); /* what is asked for is given up at the end */
}

/* Blobs that lie beside each other are read together, by however many. */
static void small_blobs_share_a_read(void **state)
{
    struct fixture *f = *state;
    struct store_id small[BLOBS];
    struct buf bytes CLEANUP(buf_free) = {0};
    struct err err;
    unsigned n = 0;
    for (unsigned i = 0; i < BLOBS; i++)
        if (i % 3)
            small[n++] = f->ids[i];
    struct ahead *a CLEANUP(ahead_free_p) = ahead_new(f->repo, 0);
    for (unsigned i = 0, asked = 0; i < n; i++) {
        while (asked < n && ahead_ask(a, &small[asked]))
            asked++;
        assert_int_equal(ahead_take(a, &bytes, &err), 0);
    }
    assert_true(f->fault.calls < (int)n);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(chunks_come_in_order),
        CASE(who_takes_may_stop),
        CASE(any_read_may_fail),
        CASE(a_missing_blob_is_told_in_its_turn),
        CASE(never_more_than_asked),
        CASE(what_is_too_large_goes_alone),
        CASE(never_more_blobs_than_the_limit),
        CASE(dropped_it_starts_anew),
        CASE(small_blobs_share_a_read),
    };
    return cmocka_run_group_tests_name("store/ahead", tests, NULL, NULL);
}
