/* store: the threads of a writer. Whatever they do, what a flush said is stored is stored. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "store_support.h"

#include "core/vec.h"
#include "store/compress.h"
#include "store/idset.h"
#include "store/limits.h"
#include "store/repository_impl.h"
#include "store/stream.h"
#include "store/verify.h"

#include <pthread.h>
#include <sched.h>

/* A folder whose save number `at` (from 1; 0: none) fails. It counts packs on their way. */
struct failing {
    struct fault_backend base;
    pthread_mutex_t lock;
    int now, most;  /* packs that are being saved, and the most at one time */
    int indexes;    /* index files that were saved: each named saved packs alone */
    bool read_back; /* looks at that */
};

struct fixture {
    char *folder;
    struct backend *inner;
    struct failing failing;
    struct repository *repo;
};

static void count(struct failing *x, int more)
{
    pthread_mutex_lock(&x->lock);
    x->now += more;
    x->most = MAX(x->most, x->now);
    pthread_mutex_unlock(&x->lock);
    sched_yield();
}

/* Called by a writer's thread, where nothing can be asserted. */
static void assert_packs_are_there(struct backend *b)
{
    struct repository *repo;
    struct err err;
    uint64_t size;
    if (repository_open(b, "first", NULL, &repo, &err) < 0 || repository_load_index(repo, &err) < 0)
        abort();
    for (uint32_t i = 0; i < index_packs(repo->index); i++) {
        struct index_pack *p = index_pack(repo->index, i);
        if (backend_stat(b, &(struct backend_file){BACKEND_DATA, p->id}, &size, &err) < 0 ||
            size != p->size)
            abort();
    }
    repository_close(repo);
}

static int save(struct backend *b, const struct backend_file *f, const void *p, size_t n,
                struct err *err)
{
    struct failing *x = (struct failing *)b;
    pthread_mutex_lock(&x->lock);
    bool now = ++x->base.calls == x->base.at;
    pthread_mutex_unlock(&x->lock);
    if (now)
        return err_set(err, ERR_IO, "injected fault");
    count(x, f->type == BACKEND_DATA);
    int r = backend_save_as(x->base.inner, f, p, n, err);
    count(x, -(f->type == BACKEND_DATA));
    if (r == 0 && f->type == BACKEND_INDEX && x->read_back) {
        x->indexes++;
        assert_packs_are_there(x->base.inner);
    }
    return r;
}

/* The rest of the counting backend counts without a lock: one that does not count. */
static int load(struct backend *b, const struct backend_file *f, uint64_t offset, size_t n,
                size_t max, struct buf *out, struct err *err)
{
    struct backend *inner = fault_of(b)->inner;
    return inner->ops->load(inner, f, offset, n, max, out, err);
}

static void open_writer(struct fixture *f, const struct repository_options *options)
{
    static struct backend_ops ops;
    struct err err;
    repository_close(f->repo); /* with its threads, which use the operations */
    ops = fault_ops;
    ops.save = save;
    ops.load = load;
    f->failing.base = (struct fault_backend){.base.ops = &ops, .inner = f->inner};
    if (repository_open(&f->failing.base.base, "first", options, &f->repo, &err) < 0 ||
        repository_load_index(f->repo, &err) < 0)
        fail_msg("%s", err.msg);
    f->failing.base.calls = f->failing.most = f->failing.indexes = 0;
    f->failing.read_back = false;
}

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    struct err err;
    struct repository_key key = cheap_key("first");
    pthread_mutex_init(&f->failing.lock, NULL);
    f->folder = make_folder();
    if (backend_open_local(f->folder, &f->inner, &err) < 0 ||
        repository_init(f->inner, &key, 1, NULL, &err) < 0)
        fail_msg("%s", err.msg);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    repository_close(f->repo);
    backend_close(f->inner);
    pthread_mutex_destroy(&f->failing.lock);
    remove_folder(f->folder);
    free(f);
    return 0;
}

static const struct repository_options small = {.pack_target = 5000, .threads = 3};

/* ---- many callers ---- */

struct caller {
    struct repository *repo;
    unsigned seed;
};

static void make_blob(char *p, size_t n, unsigned i, unsigned seed)
{
    memset(p, 0, n);
    snprintf(p, n, "blob %u of %u", i, seed);
    fill_splitmix(i * 1000 + seed, (uint8_t *)p + 64, (n - 64 - i * 4) / 8 * 8);
}

static void *save_many(void *ctx)
{
    struct caller *c = ctx;
    struct buf out = {0};
    struct err err;
    for (unsigned i = 0; i < 300; i++) {
        char blob[3000];
        struct store_id id;
        uint64_t size = 0;
        make_blob(blob, sizeof blob, i, i % 3 ? c->seed : 0);
        if (repository_save_blob(c->repo, BLOB_DATA, blob, sizeof blob, &id, NULL, &err) < 0 ||
            !repository_has_blob(c->repo, BLOB_DATA, &id, &size) || size != sizeof blob ||
            (i % 7 == 0 && (repository_load_blob(c->repo, BLOB_DATA, &id, &out, &err) < 0 ||
                            memcmp(out.p, blob, sizeof blob) != 0)) ||
            (i % 100 == 99 && repository_flush(c->repo, &err) < 0))
            abort();
    }
    buf_free(&out);
    return NULL;
}

static void test_callers(void **state)
{
    struct fixture *f = *state;
    pthread_t threads[3];
    struct caller callers[3];
    struct repository_stats stats;
    struct err err;
    open_writer(f, &small);
    for (unsigned i = 0; i < 3; i++) {
        callers[i] = (struct caller){f->repo, i + 1};
        pthread_create(&threads[i], NULL, save_many, &callers[i]);
    }
    for (unsigned i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(repository_flush(f->repo, &err), 0);
    repository_get_stats(f->repo, &stats);
    assert_int_equal(stats.blobs_new[BLOB_DATA], 100 + 3 * 200);
    open_writer(f, NULL);
    repository_get_stats(f->repo, &stats);
    assert_int_equal(stats.index_blobs, 100 + 3 * 200);
}

/* ---- order ---- */

/* Two runs over the same blobs make packs of the same sizes, in any number of threads. */
static void test_order(void **state)
{
    struct fixture *f = *state;
    uint64_t stored[2], packs[2];
    for (unsigned run = 0; run < 2; run++) {
        struct repository_stats stats;
        struct err err;
        struct repository_options options = small;
        options.threads = run ? 4 : 0;
        open_writer(f, &options);
        for (unsigned i = 0; i < 200; i++) {
            char blob[2000];
            struct store_id id;
            bool known;
            memset(blob, (int)(i % 3), sizeof blob);
            snprintf(blob, sizeof blob, "%c%u", 'a' + run, i);
            assert_int_equal(
                repository_save_blob(f->repo, BLOB_DATA, blob, 100 + 9 * i, &id, &known, &err), 0);
            assert_false(known);
        }
        assert_int_equal(repository_flush(f->repo, &err), 0);
        repository_get_stats(f->repo, &stats);
        stored[run] = stats.bytes_stored;
        packs[run] = stats.packs;
    }
    assert_int_equal(packs[0], packs[1]);
    assert_int_equal(stored[0], stored[1]);
}

/* ---- faults ---- */

static int save_some(struct repository *repo, unsigned seed, struct store_ids *ids, struct err *err)
{
    for (unsigned i = 0; i < 40; i++) {
        char blob[1500];
        make_blob(blob, sizeof blob, i, seed);
        if (repository_save_blob(repo, BLOB_DATA, blob, sizeof blob, vec_add(ids), NULL, err) < 0)
            return -1;
    }
    return repository_flush(repo, err);
}

/* Whichever save fails, no later call says that all is well, and what a run before stored is there.
 */
static void test_faults(void **state)
{
    struct fixture *f = *state;
    bool hit = true;
    struct err err;
    for (int at = 1; hit; at++) {
        struct store_ids ids = {0};
        open_writer(f, &small);
        f->failing.base.at = at;
        int r = save_some(f->repo, (unsigned)at, &ids, &err);
        hit = f->failing.base.calls >= at;
        assert_int_equal(r < 0, hit);
        if (hit) {
            assert_int_equal(repository_flush(f->repo, &err), -1);
            assert_int_equal(err.kind, ERR_IO);
        }
        open_writer(f, NULL);
        struct buf out CLEANUP(buf_free) = {0};
        for (size_t i = 0; i < ids.n && !hit; i++)
            assert_int_equal(repository_load_blob(f->repo, BLOB_DATA, &ids.p[i], &out, &err), 0);
        assert_true(hit || ids.n == 40);
        vec_free(&ids);
    }
}

/* What waits in the queue when the repository is closed is dropped, and nothing else happens. */
static void test_close(void **state)
{
    struct fixture *f = *state;
    struct store_id id;
    struct err err;
    for (unsigned round = 0; round < 20; round++) {
        open_writer(f, &small);
        for (unsigned i = 0; i <= round; i++) {
            char blob[3000];
            make_blob(blob, sizeof blob, i, round + 1);
            assert_int_equal(
                repository_save_blob(f->repo, BLOB_DATA, blob, sizeof blob, &id, NULL, &err), 0);
        }
    }
    open_writer(f, NULL);
    struct repository_stats stats;
    repository_get_stats(f->repo, &stats);
    assert_int_equal(stats.index_blobs, 0);
}

/* ---- what is compressed ---- */

static void test_big(void **state)
{
    struct fixture *f = *state;
    enum { BIG = STORE_QUEUE_BYTES + 4096 };
    char *p CLEANUP(free_p) = xmalloc(BIG);
    struct store_id ids[4];
    struct err err;
    struct repository_options options = {.threads = 2, .uploads = 1};
    size_t sizes[] = {BIG, 6 << 20, 1 << 20, BIG};
    open_writer(f, &options);
    for (unsigned i = 0; i < ARRAY_LEN(sizes); i++) {
        memset(p, 'a' + (int)i, BIG);
        if (i < 3)
            fill_splitmix(i + 1, (uint8_t *)p, i == 2 ? 1000 : BIG - 8);
        assert_int_equal(repository_save_blob(f->repo, BLOB_DATA, p, sizes[i], &ids[i], NULL, &err),
                         0);
    }
    assert_int_equal(repository_flush(f->repo, &err), 0);
    struct repository_stats stats;
    repository_get_stats(f->repo, &stats);
    assert_true(stats.bytes_stored > BIG + (6 << 20));
    assert_true(stats.bytes_stored < BIG + (6 << 20) + (64 << 10));
    open_writer(f, NULL);
    struct buf out CLEANUP(buf_free) = {0};
    for (unsigned i = 0; i < ARRAY_LEN(sizes); i++) {
        assert_int_equal(repository_load_blob(f->repo, BLOB_DATA, &ids[i], &out, &err), 0);
        assert_int_equal(out.n, sizes[i]);
    }
}

/* A pack of tiny blobs ends before its header is big. Index files that are written on the way name
 * what is there, and no more packs are under way than may be. */
static void test_tiny(void **state)
{
    struct fixture *f = *state;
    enum { PACKS = STORE_INDEX_BLOBS / STORE_PACK_BLOBS + 3, BLOBS = PACKS * STORE_PACK_BLOBS };
    struct repository_options options = {.threads = 4, .uploads = 2, .lean = true};
    struct repository_stats stats;
    struct store_id id;
    struct err err;
    open_writer(f, &options);
    f->failing.read_back = true;
    for (uint32_t i = 0; i < BLOBS; i++)
        assert_int_equal(repository_save_blob(f->repo, BLOB_DATA, &i, sizeof i, &id, NULL, &err),
                         0);
    assert_int_equal(repository_flush(f->repo, &err), 0);
    repository_get_stats(f->repo, &stats);
    assert_int_equal(stats.packs, PACKS);
    assert_int_equal(f->failing.indexes, 2);
    assert_in_range(f->failing.most, 1, 2);
    open_writer(f, NULL);
    repository_get_stats(f->repo, &stats);
    assert_int_equal(stats.index_blobs, BLOBS);
}

static void test_probe(void **state)
{
    (void)state;
    enum { N = 1 << 20 };
    uint8_t *p CLEANUP(free_p) = xmalloc(N);
    struct work *w = work_new();
    fill_splitmix(1, p, N);
    assert_false(compress_helps(w, p, N));
    memset(p + N / 2, 0, N / 2); /* the second sample */
    assert_true(compress_helps(w, p, N));
    assert_true(compress_helps(w, p, 1000)); /* too small to be worth a look */
    work_free(w);
}

/* ---- lean ---- */

static void test_idset(void **state)
{
    (void)state;
    enum { N = 200000 };
    struct idset *set = idset_new(N);
    struct store_id id;
    for (uint64_t i = 0; i < N; i++) {
        fill_splitmix(i, id.b, sizeof id.b);
        assert_true(idset_add(set, &id));
        assert_false(idset_add(set, &id));
    }
    assert_int_equal(idset_count(set), N);
    for (uint64_t i = 0; i < 2 * N; i++) {
        fill_splitmix(i, id.b, sizeof id.b);
        assert_int_equal(idset_has(set, &id), i < N);
        id.b[15] ^= 1; /* the last of 128 bits */
        assert_false(idset_has(set, &id));
    }
    idset_free(set);
    set = idset_new(N); /* all in one bucket, in both orders, merged several times */
    memset(&id, 7, sizeof id);
    for (uint64_t i = 0; i < N; i++) {
        uint64_t x = i % 2 ? i : 1000000 - i;
        memcpy(id.b + 2, &x, sizeof x);
        assert_true(idset_add(set, &id));
    }
    for (uint64_t i = 0; i < N; i++) {
        uint64_t x = i % 2 ? i : 1000000 - i;
        memcpy(id.b + 2, &x, sizeof x);
        assert_true(idset_has(set, &id));
        assert_false(idset_add(set, &id));
    }
    assert_int_equal(idset_count(set), N);
    idset_free(set);
}

/* What it has no room for, it does not have; what it has costs 14 bytes. */
static void test_idset_most(void **state)
{
    (void)state;
    enum { MOST = 100000 };
    struct idset *set = idset_new(MOST);
    size_t empty = idset_memory(set);
    struct store_id id = {{0}};
    assert_false(idset_add(set, &id)); /* nobody's hash */
    assert_false(idset_has(set, &id));
    for (uint64_t i = 0; i < 2 * MOST; i++) {
        fill_splitmix(i, id.b, sizeof id.b);
        assert_int_equal(idset_add(set, &id), i < MOST);
    }
    for (uint64_t i = 0; i < 2 * MOST; i++) {
        fill_splitmix(i, id.b, sizeof id.b);
        assert_int_equal(idset_has(set, &id), i < MOST);
    }
    assert_int_equal(idset_count(set), MOST);
    assert_true(idset_memory(set) - empty <= 14 * (size_t)MOST);
    idset_free(set);
}

/* A lean writer stores what another one does, knows what is there, and says what it cannot do. */
static void test_lean(void **state)
{
    struct fixture *f = *state;
    struct store_ids ids = {0};
    struct buf out CLEANUP(buf_free) = {0};
    struct repository_stats stats;
    struct err err;
    uint64_t size = 0;
    struct repository_options options = small;
    options.lean = true;
    open_writer(f, &options);
    assert_int_equal(save_some(f->repo, 1, &ids, &err), 0);
    open_writer(f, &options); /* what an index file says */
    for (size_t i = 0; i < ids.n; i++) {
        assert_true(repository_has_blob(f->repo, BLOB_DATA, &ids.p[i], &size));
        assert_true(size == REPOSITORY_SIZE_UNKNOWN);
        assert_false(repository_has_blob(f->repo, BLOB_TREE, &ids.p[i], NULL));
    }
    assert_int_equal(repository_load_blob(f->repo, BLOB_DATA, &ids.p[0], &out, &err), -1);
    assert_int_equal(err.kind, ERR_UNSUPPORTED);
    ids.n = 0;
    assert_int_equal(save_some(f->repo, 1, &ids, &err), 0);
    repository_get_stats(f->repo, &stats);
    assert_int_equal(stats.blobs_new[BLOB_DATA], 0);
    open_writer(f, NULL);
    for (size_t i = 0; i < ids.n; i++)
        assert_int_equal(repository_load_blob(f->repo, BLOB_DATA, &ids.p[i], &out, &err), 0);
    vec_free(&ids);
}

/* What it has no room to know of is stored again, also twice in one run, and nothing is lost. */
static void test_forgetful(void **state)
{
    struct fixture *f = *state;
    struct store_ids ids = {0};
    struct buf out CLEANUP(buf_free) = {0};
    struct repository_stats stats;
    struct err err;
    uint64_t known = 0;
    struct repository_options options = small;
    options.lean = true;
    options.lean_ids = 10;
    for (int run = 0; run < 2; run++) {
        open_writer(f, &options);
        ids.n = 0;
        assert_int_equal(save_some(f->repo, 1, &ids, &err), 0);
        assert_int_equal(save_some(f->repo, 1, &ids, &err), 0);
        repository_get_stats(f->repo, &stats);
        assert_int_equal(stats.blobs_new[BLOB_DATA], run ? 60 : 70);
    }
    for (size_t i = 0; i < 40; i++)
        known += repository_has_blob(f->repo, BLOB_DATA, &ids.p[i], NULL);
    assert_int_equal(known, 10);
    open_writer(f, NULL);
    repository_get_stats(f->repo, &stats);
    assert_int_equal(stats.index_blobs, 130);
    for (size_t i = 0; i < 40; i++)
        assert_int_equal(repository_load_blob(f->repo, BLOB_DATA, &ids.p[i], &out, &err), 0);
    vec_free(&ids);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_callers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_faults, setup, teardown),
        cmocka_unit_test_setup_teardown(test_close, setup, teardown),
        cmocka_unit_test_setup_teardown(test_big, setup, teardown),
        cmocka_unit_test(test_probe),
        cmocka_unit_test(test_idset),
        cmocka_unit_test(test_idset_most),
        cmocka_unit_test_setup_teardown(test_tiny, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lean, setup, teardown),
        cmocka_unit_test_setup_teardown(test_forgetful, setup, teardown),
    };
    return cmocka_run_group_tests_name("store_writer", tests, NULL, NULL);
}
