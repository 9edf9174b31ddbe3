/* Where contents are cut in a repository that rustic was told other sizes for, and what its config
 * forbids. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "store_support.h"

#include "store/chunker.h"
#include "store/config.h"
#include "store/repository_impl.h"
#include "store/stream.h"

#define POLYNOMIAL 0x3da3358b4dc173ull

enum { BYTES = 3 << 20 };

static const char config_text[] =
    "{\"version\":2,\"id\":\"0759d0b2756eb24994601ef8ac6f2a20840c774405c4383ee89641109f1e6d82\","
    "\"chunker_polynomial\":\"3da3358b4dc173\"%s}";

static int parse(const char *more, struct store_config *c, struct err *err)
{
    char text[512];
    snprintf(text, sizeof text, config_text, more);
    *err = (struct err){0};
    return store_config_parse(str_of(text), c, err);
}

static void additions_of_rustic_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int kind;
        uint32_t size, min, max;
    } cases[] = {
        {"", CHUNKS_RABIN, 1 << 20, 512 << 10, 8 << 20},
        {",\"chunker\":null,\"chunk_size\":null", CHUNKS_RABIN, 1 << 20, 512 << 10, 8 << 20},
        {",\"chunker\":\"Rabin\",\"chunk_size\":2097152,\"chunk_min_size\":1048576,"
         "\"chunk_max_size\":16777216",
         CHUNKS_RABIN, 2 << 20, 1 << 20, 16 << 20},
        {",\"chunker\":\"FixedSize\"", CHUNKS_FIXED, 1 << 20, 1 << 20, 1 << 20},
        {",\"chunk_size\":1045504,\"chunker\":\"FixedSize\",\"compression\":-3", CHUNKS_FIXED,
         1045504, 1045504, 1045504},
        {",\"chunk_size\":3000000", CHUNKS_UNKNOWN, 3000000, 512 << 10, 8 << 20},
        {",\"chunk_size\":262144", CHUNKS_UNKNOWN, 262144, 512 << 10, 8 << 20},
        {",\"chunk_max_size\":524288", CHUNKS_UNKNOWN, 1 << 20, 512 << 10, 512 << 10},
        {",\"chunk_min_size\":16", CHUNKS_UNKNOWN, 1 << 20, 16, 8 << 20},
        {",\"chunk_max_size\":4294967295", CHUNKS_UNKNOWN, 1 << 20, 512 << 10, UINT32_MAX},
        {",\"chunker\":\"FixedSize\",\"chunk_size\":0", CHUNKS_UNKNOWN, 0, 0, 0},
        {",\"chunker\":\"FastCDC\"", CHUNKS_UNKNOWN, 1 << 20, 512 << 10, 8 << 20},
    };
    struct store_config c;
    struct err err;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(parse(cases[i].text, &c, &err), 0);
        assert_int_equal(c.chunking.kind, cases[i].kind);
        assert_int_equal(c.chunking.size, cases[i].size);
        assert_int_equal(c.chunking.min, cases[i].min);
        assert_int_equal(c.chunking.max, cases[i].max);
        assert_false(c.append_only);
    }
    assert_int_equal(parse(",\"append_only\":true,\"is_hot\":false", &c, &err), 0);
    assert_true(c.append_only);
    assert_int_equal(parse(",\"is_hot\":true", &c, &err), -1);
    assert_int_equal(err.kind, ERR_UNSUPPORTED);
    assert_int_equal(parse(",\"chunk_size\":-1", &c, &err), -1);
    assert_int_equal(err.kind, ERR_CORRUPT);
}

/* The 64 bytes before `at`, bit by bit modulo the polynomial. */
static uint64_t slow_fingerprint(const uint8_t *p, size_t at)
{
    uint64_t h = 0;
    for (size_t i = at - 64; i < at; i++)
        for (int bit = 7; bit >= 0; bit--) {
            h = h << 1 | (p[i] >> bit & 1);
            if (h >> 53)
                h ^= POLYNOMIAL;
        }
    return h;
}

static size_t slow_cut(const uint8_t *p, size_t n, size_t min, size_t average, size_t max)
{
    for (size_t at = min; at < MIN(n, max); at++)
        if ((slow_fingerprint(p, at) & (average - 1)) == 0)
            return at;
    return MIN(n, max);
}

static void other_sizes_are_cut_by_the_same_rule(void **state)
{
    (void)state;
    uint8_t *p = xmalloc(BYTES);
    fill_splitmix(11, p, BYTES);
    memset(p + 400000, 0, 100000);
    struct chunker c;
    chunker_init(&c, POLYNOMIAL);
    static const size_t sizes[][3] = {
        {4096, 8192, 16384}, {4096, 16384, 16384}, {5000, 32768, 99999}};
    for (size_t s = 0; s < ARRAY_LEN(sizes); s++) {
        size_t min = sizes[s][0], average = sizes[s][1], max = sizes[s][2], chunks = 0;
        chunker_set_sizes(&c, min, average, max);
        for (size_t from = 0, cut; from < BYTES / 3; from += cut, chunks++) {
            size_t at = 0;
            cut = chunker_cut(&c, p + from, BYTES / 3 - from, true, &at);
            assert_int_equal(cut, slow_cut(p + from, BYTES / 3 - from, min, average, max));
        }
        assert_true(chunks > BYTES / 3 / max);
    }
    free(p);
}

/* ---- a repository ---- */

struct fixture {
    char *dir;
    struct backend *backend;
    struct repository *repo;
};

static int set_up(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    struct err err = {0};
    struct repository_key key = {.password = "a password of a test", .scrypt_log2 = 10};
    f->dir = make_folder();
    assert_int_equal(backend_open_local(f->dir, &f->backend, &err), 0);
    assert_int_equal(repository_init(f->backend, &key, 1, NULL, &err), 0);
    assert_int_equal(repository_open(f->backend, key.password, NULL, &f->repo, &err), 0);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    repository_close(f->repo);
    backend_close(f->backend);
    remove_folder(f->dir);
    free(f);
    return 0;
}

/* Bytes of which some ranges are holes. */
struct source {
    const uint8_t *p;
    size_t n, at;
    bool sparse;
};

static size_t zeros_at(const struct source *s)
{
    size_t n = 0;
    while (s->sparse && s->at + n < s->n && s->p[s->at + n] == 0)
        n++;
    return n >= 4096 ? n : 0;
}

static int64_t read_source(void *ctx, void *to, size_t n, struct err *err)
{
    struct source *s = ctx;
    (void)err;
    n = MIN(n, s->n - s->at);
    n = MIN(n, (size_t)100000); /* short reads */
    memcpy(to, s->p + s->at, n);
    s->at += n;
    return (int64_t)n;
}

static uint64_t skip_source(void *ctx, uint64_t most)
{
    struct source *s = ctx;
    size_t n = (size_t)MIN(most, zeros_at(s));
    s->at += n;
    return n;
}

static void save(struct fixture *f, const uint8_t *p, bool sparse, struct store_ids *ids)
{
    struct err err = {0};
    struct stream_result result;
    struct source source = {.p = p, .n = BYTES, .sparse = sparse};
    struct stream_saver *saver CLEANUP(stream_saver_free_p) = stream_saver_new(f->repo);
    assert_int_equal(
        stream_save_sparse(saver, read_source, skip_source, &source, ids, &result, &err), 0);
    assert_int_equal(result.size, BYTES);
    assert_int_equal(result.chunks, ids->n);
}

static void holes_cut_as_their_zeros(void **state)
{
    struct fixture *f = *state;
    uint8_t *p = xmalloc(BYTES);
    static const struct store_chunking ways[] = {
        {CHUNKS_RABIN, 1 << 20, 512 << 10, 8 << 20},
        {CHUNKS_RABIN, 65536, 16384, 262144},
        {CHUNKS_FIXED, 100000, 100000, 100000},
        {CHUNKS_FIXED, 262144, 262144, 262144},
    };
    for (unsigned round = 0; round < 12; round++) {
        struct store_ids dense = {0}, sparse = {0};
        f->repo->config.chunking = ways[round % ARRAY_LEN(ways)];
        fill_splitmix(round, p, BYTES);
        size_t from = (round * 262144 + round * round * 977) % BYTES;
        memset(p + from, 0, MIN(BYTES - from, (size_t)(1 + round % 3) << 20));
        save(f, p, false, &dense);
        save(f, p, true, &sparse);
        assert_int_equal(dense.n, sparse.n);
        assert_memory_equal(dense.p, sparse.p, dense.n * sizeof *dense.p);
        if (f->repo->config.chunking.kind == CHUNKS_FIXED) {
            struct store_id id;
            size_t size = f->repo->config.chunking.size;
            assert_int_equal(dense.n, (BYTES + size - 1) / size);
            sha256(p + (dense.n - 1) * size, BYTES - (dense.n - 1) * size, id.b);
            assert_true(store_id_equal(&id, &dense.p[dense.n - 1]));
        }
        vec_free(&dense);
        vec_free(&sparse);
    }
    free(p);
}

static void an_unknown_way_is_not_written(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};
    struct store_id id;
    f->repo->config.chunking.kind = CHUNKS_UNKNOWN;
    assert_int_equal(repository_save_blob(f->repo, BLOB_DATA, "x", 1, &id, NULL, &err), -1);
    assert_int_equal(err.kind, ERR_UNSUPPORTED);
    assert_int_equal(repository_check_removable(f->repo, &err), -1);
}

static void append_only_keeps_everything(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};
    struct store_id id;
    assert_int_equal(repository_check_removable(f->repo, &err), 0);
    f->repo->config.append_only = true;
    assert_int_equal(repository_check_removable(f->repo, &err), -1);
    assert_int_equal(err.kind, ERR_REFUSED);
    assert_int_equal(repository_save_blob(f->repo, BLOB_DATA, "x", 1, &id, NULL, &err), 0);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(additions_of_rustic_are_read),
        cmocka_unit_test(other_sizes_are_cut_by_the_same_rule),
        CASE(holes_cut_as_their_zeros),
        CASE(an_unknown_way_is_not_written),
        CASE(append_only_keeps_everything),
    };
    return cmocka_run_group_tests_name("store/chunking", tests, NULL, NULL);
}
