/* store: what is fixed to the bit. Go's quoting, times, the readers of
 * every file's text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "store_support.h"

#include "core/arena.h"
#include "core/vec.h"
#include "store/config.h"
#include "store/crypto.h"
#include "store/gojson.h"
#include "store/index.h"
#include "store/jsonin.h"
#include "store/keyfile.h"
#include "store/layout.h"
#include "store/limits.h"
#include "store/lock_text.h"
#include "store/pack.h"
#include "store/snapshot_text.h"
#include "store/tree.h"
#include "store/unpacked.h"

#include <stdlib.h>
#include <sys/stat.h>

/* ---- Go's texts ---- */

static void add_both(struct sha256_ctx *h, str s)
{
    struct buf out = {0}, back = {0};
    gojson_name(&out, s);
    /* A name must come back as it was. */
    struct json_in in;
    str decoded;
    json_in_text(&in, buf_view(&out), NULL);
    assert_int_equal(json_in_string(&in, &decoded), 0);
    assert_true(gojson_unquote(&back, decoded));
    assert_true(str_eq(buf_view(&back), s));
    json_in_free(&in);
    buf_putc(&out, '\n');
    gojson_string(&out, s);
    buf_putc(&out, '\n');
    sha256_update(h, out.p, out.n);
    buf_free(&out);
    buf_free(&back);
}

static void check_digest(struct sha256_ctx *h, const char *want)
{
    uint8_t digest[32];
    char hex[65];
    sha256_final(h, digest);
    hex_encode(digest, 32, hex);
    assert_string_equal(hex, want);
}

/* The digests are printed by store/gen/quote_golden.go. */
static void test_quoting_of_every_rune(void **state)
{
    (void)state;
    struct sha256_ctx *h = sha256_new();
    for (uint32_t r = 0; r <= 0x10ffff; r++) {
        struct buf s = {0};
        if (r >= 0xd800 && r < 0xe000)
            continue;
        gojson_add_rune(&s, r);
        add_both(h, buf_view(&s));
        buf_free(&s);
    }
    check_digest(h, "78c64eb885984f56cedf446b8381915fc09daa502a1c0a777b54faa300cc4356");
}

static void test_quoting_of_random_bytes(void **state)
{
    (void)state;
    struct sha256_ctx *h = sha256_new();
    uint64_t seed = 42, word;
    for (int i = 0; i < 100000; i++) {
        char bytes[16];
        fill_splitmix(seed, (uint8_t *)&word, 8);
        seed += 0x9e3779b97f4a7c15u;
        size_t n = word % 16;
        for (size_t k = 0; k < n; k++) {
            fill_splitmix(seed, (uint8_t *)&word, 8);
            seed += 0x9e3779b97f4a7c15u;
            bytes[k] = (char)word;
        }
        add_both(h, (str){bytes, n});
    }
    check_digest(h, "d0ad98ab70b2fd1fa71eaaf85bb169c7cbb324d5c02aca9e938641a398e962a7");
}

static void test_unquote(void **state)
{
    (void)state;
    static const struct {
        const char *quoted, *want;
    } rows[] = {
        {"a\\x41\\101\\u0041\\U00000041", "aAAAA"},
        {"\\a\\b\\f\\n\\r\\t\\v", "\a\b\f\n\r\t\v"},
        {"\\u00e4", "\xc3\xa4"},
        {"\\xe4", "\xe4"},
        {"\\\\\\\"", "\\\""},
        {"a\"b", NULL},
        {"a\nb", NULL},
        {"\\", NULL},
        {"\\x4", NULL},
        {"\\q", NULL},
        {"\\'", NULL},
        {"\\ud800", NULL},
        {"\\U00110000", NULL},
        {"\\400", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf out = {0};
        bool ok = gojson_unquote(&out, str_of(rows[i].quoted));
        assert_int_equal(ok, rows[i].want != NULL);
        if (ok)
            assert_true(str_is(buf_view(&out), rows[i].want));
        buf_free(&out);
    }
}

static void test_times(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t s;
        long ns;
        bool same;
    } rows[] = {
        {"1970-01-01T00:00:00Z", 0, 0, true},
        {"1969-12-31T23:59:58.5Z", -2, 500000000, true},
        {"2026-01-02T03:04:05.123456789Z", 1767323045, 123456789, true},
        {"2026-01-02T03:04:05.1Z", 1767323045, 100000000, true},
        {"2000-02-29T12:00:00Z", 951825600, 0, true},
        {"0001-01-01T00:00:00Z", -62135596800, 0, true},
        {"9999-12-31T23:59:59Z", 253402300799, 0, true},
        {"2026-01-02T03:04:05+01:30", 1767317645, 0, false},
        {"2026-01-02T03:04:05.000-00:30", 1767324845, 0, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct timespec t;
        struct buf out = {0};
        assert_true(gojson_parse_time(str_of(rows[i].text), &t));
        assert_int_equal(t.tv_sec, rows[i].s);
        assert_int_equal(t.tv_nsec, rows[i].ns);
        gojson_time(&out, t);
        if (rows[i].same)
            assert_true(str_eq((str){out.p + 1, out.n - 2}, str_of(rows[i].text)));
        buf_free(&out);
    }
    static const char *const bad[] = {"",
                                      "2026",
                                      "2026-01-02 03:04:05Z",
                                      "2026-01-02T03:04:05",
                                      "2026-13-02T03:04:05Z",
                                      "2026-01-02T03:04:05.Z",
                                      "2026-01-02T03:04:05+1:00",
                                      "2026-01-02T03:04:05Zx"};
    struct timespec t;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(gojson_parse_time(str_of(bad[i]), &t));
    struct buf out = {0};
    gojson_time(&out, (struct timespec){400000000000, 0});
    assert_true(str_starts(buf_view(&out), "\"9999-"));
    buf_free(&out);
}

/* Gives a text in pieces of one to three bytes. */
struct pieces {
    str rest;
    size_t step;
};

static int next_piece(void *ctx, str *ret_piece, struct err *err)
{
    struct pieces *p = ctx;
    (void)err;
    if (p->rest.n == 0)
        return 0;
    size_t n = MIN(p->rest.n, p->step);
    *ret_piece = (str){p->rest.p, n};
    p->rest = (str){p->rest.p + n, p->rest.n - n};
    return 1;
}

static int count_values(struct json_in *in)
{
    int r = json_in_skip(in);
    return r < 0 ? r : json_in_end(in);
}

static void test_json_in(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int want;
    } rows[] = {
        {"{\"a\":[1,2.5e-3,-4,true,false,null,\"x\\u00e4\\ud83d\\ude00\\n\"],\"b\":{}}", 0},
        {" [ ] ", 0},
        {"\"\\ud800\\n\"", 0},
        {"\"\\ud800\\ud800\\udc00\"", 0},
        {"\"\\udc00\"", 0},
        {"{\"a\":1,}", -1},
        {"[1,]", -1},
        {"[1 2]", -1},
        {"{\"a\" 1}", -1},
        {"{a:1}", -1},
        {"\"\\x\"", -1},
        {"\"a", -1},
        {"\"\t\"", -1},
        {"\"\\u12g4\"", -1},
        {"tru", -1},
        {"nul", -1},
        {"", -1},
        {"[", -1},
        {"1 1", -1},
        {"}", -1},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (size_t step = 1; step <= 4; step++) {
            struct json_in in;
            struct err err = {0};
            struct pieces p = {str_of(rows[i].text), step};
            if (step < 4)
                json_in_pieces(&in, next_piece, &p, &err);
            else
                json_in_text(&in, p.rest, &err);
            int r = count_values(&in);
            json_in_free(&in);
            if (r != rows[i].want)
                fail_msg("%s in steps of %zu: %d (%s)", rows[i].text, step, r, err.msg);
            assert_int_equal(err.kind, r < 0 ? ERR_CORRUPT : ERR_NONE);
        }
    }
    char deep[201];
    memset(deep, '[', 200);
    struct json_in in;
    struct err err;
    json_in_text(&in, (str){deep, 200}, &err);
    assert_int_equal(json_in_skip(&in), -1);
    json_in_free(&in);
}

static void test_json_in_surrogates(void **state)
{
    (void)state;
    struct json_in in;
    struct err err;
    str s;
    json_in_text(&in, STR("\"\\ud83d\\ude00|\\ud800\\n|\\ud800x|\\udc00\""), &err);
    assert_int_equal(json_in_string(&in, &s), 0);
    assert_true(str_is(s, "\xf0\x9f\x98\x80|\xef\xbf\xbd\n|\xef\xbf\xbdx|\xef\xbf\xbd"));
    json_in_free(&in);
}

/* ---- trees ---- */

static void test_tree_text(void **state)
{
    (void)state;
    struct tree_writer *w = tree_writer_new();
    struct err err;
    assert_true(str_is(tree_writer_text(w), "{\"nodes\":[]}\n"));
    struct store_id id = {{0xab}};
    struct node file = {.name = STR("lat\xe4"),
                        .type = NODE_FILE,
                        .mode = node_mode_from_posix(S_IFREG | 0644),
                        .mtime = {1, 500000000},
                        .size = 7,
                        .links = 1,
                        .content = &id,
                        .content_n = 1};
    struct node empty = {.name = STR("q\"u"), .type = NODE_FILE};
    struct node dir = {.name = STR("z"), .type = NODE_DIR, .has_subtree = true, .subtree = id};
    struct node link = {.name = STR("zz"), .type = NODE_SYMLINK, .link_target = STR("a<\xff")};
    assert_int_equal(tree_writer_add(w, &file, &err), 0);
    assert_int_equal(tree_writer_add(w, &empty, &err), 0);
    assert_int_equal(tree_writer_add(w, &dir, &err), 0);
    assert_int_equal(tree_writer_add(w, &link, &err), 0);
    assert_true(str_is(
        tree_writer_text(w),
        "{\"nodes\":["
        "{\"name\":\"lat\\\\xe4\",\"type\":\"file\",\"mode\":420,\"mtime\":\"1970-01-01T00:00:01."
        "5Z\","
        "\"atime\":\"1970-01-01T00:00:00Z\",\"ctime\":\"1970-01-01T00:00:00Z\",\"uid\":0,\"gid\":0,"
        "\"size\":7,\"links\":1,\"content\":"
        "[\"ab00000000000000000000000000000000000000000000000000000000000000\"]},"
        "{\"name\":\"q\\\\\\\"u\",\"type\":\"file\",\"mtime\":\"1970-01-01T00:00:00Z\","
        "\"atime\":\"1970-01-01T00:00:00Z\",\"ctime\":\"1970-01-01T00:00:00Z\",\"uid\":0,\"gid\":0,"
        "\"content\":[]},"
        "{\"name\":\"z\",\"type\":\"dir\",\"mtime\":\"1970-01-01T00:00:00Z\","
        "\"atime\":\"1970-01-01T00:00:00Z\",\"ctime\":\"1970-01-01T00:00:00Z\",\"uid\":0,\"gid\":0,"
        "\"content\":null,"
        "\"subtree\":\"ab00000000000000000000000000000000000000000000000000000000000000\"},"
        "{\"name\":\"zz\",\"type\":\"symlink\",\"mtime\":\"1970-01-01T00:00:00Z\","
        "\"atime\":\"1970-01-01T00:00:00Z\",\"ctime\":\"1970-01-01T00:00:00Z\",\"uid\":0,\"gid\":0,"
        "\"linktarget\":\"a\\u003c\\ufffd\",\"linktarget_raw\":\"YTz/\",\"content\":null}]}\n"));
    struct node bad[] = {
        {.name = STR("a"), .type = NODE_FILE},   {.name = STR("zz"), .type = NODE_FILE},
        {.name = STR("zz/"), .type = NODE_FILE}, {.name = STR(""), .type = NODE_FILE},
        {.name = STR("zzz"), .type = NODE_DIR},  {.name = STR("zzz"), .type = NODE_OTHER}};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(tree_writer_add(w, &bad[i], &err), -1);
        assert_int_equal(err.kind, ERR_INVALID);
    }
    tree_writer_free(w);
}

static void test_tree_bad_texts(void **state)
{
    (void)state;
#define NODE(name) "{\"name\":\"" name "\",\"type\":\"fifo\",\"content\":null}"
    static const struct {
        const char *text;
        int nodes; /* -1: broken */
    } rows[] = {
        {"{\"nodes\":[]}\n", 0},
        {"{\"nodes\":null}", 0},
        {"{}", 0},
        {"{\"x\":{\"y\":[1]},\"nodes\":[" NODE("a") "," NODE("b") "],\"more\":1}", 2},
        {"{\"nodes\":[" NODE("b") "," NODE("a") "]}", -1},
        {"{\"nodes\":[" NODE("a") "," NODE("a") "]}", -1},
        {"{\"nodes\":[" NODE("") "]}", -1},
        {"{\"nodes\":[" NODE("..") "]}", -1},
        {"{\"nodes\":[" NODE("a/b") "]}", -1},
        {"{\"nodes\":[" NODE("a\\\\x00b") "]}", -1},
        {"{\"nodes\":[" NODE("a\\\\x2fb") "]}", -1},
        {"{\"nodes\":[{\"name\":\"a\",\"type\":\"dir\"}]}", -1},
        {"{\"nodes\":[{\"name\":\"a\",\"type\":\"file\",\"content\":null}]}", -1},
        {"{\"nodes\":[{\"name\":\"a\"}]}", -1},
        {"{\"nodes\":[{\"type\":\"fifo\"}]}", -1},
        {"{\"nodes\":[" NODE("a") "]", -1},
        {"{\"nodes\":[" NODE("a") "]}x", -1},
        {"{\"nodes\":[" NODE("a"), -1},
        {"[]", -1},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct tree_reader *r = tree_reader_of(str_of(rows[i].text));
        const struct node *node;
        struct err err;
        int n = 0, more;
        while ((more = tree_reader_next(r, &node, &err)) > 0)
            n++;
        if ((more < 0 ? -1 : n) != rows[i].nodes)
            fail_msg("%s: %d nodes", rows[i].text, more < 0 ? -1 : n);
        assert_int_equal(tree_reader_next(r, &node, &err), more < 0 ? -1 : 0);
        tree_reader_free(r);
    }
}

static void test_modes(void **state)
{
    (void)state;
    static const struct {
        uint32_t posix, go;
    } rows[] = {
        {S_IFDIR | 0755, 2147484141},  {S_IFIFO | 04755, 41943533}, {S_IFLNK | 0777, 134218239},
        {S_IFDIR | 03777, 2152727039}, {S_IFCHR | 0644, 69206436},  {S_IFREG | 0644, 0644},
        {S_IFBLK | 0600, 67109248},    {S_IFSOCK | 0777, 16777727},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(node_mode_from_posix(rows[i].posix), rows[i].go);
        assert_int_equal(node_mode_to_posix(rows[i].go), rows[i].posix);
    }
}

/* ---- packs, index ---- */

static void test_pack_header(void **state)
{
    (void)state;
    struct crypto_key key;
    struct err err;
    struct pack *p = pack_new(BLOB_TREE, 0, 10);
    struct pack_blobs blobs = {0};
    struct store_id a = {{1}}, b = {{2}};
    char sealed[64] = {0};
    crypto_key_random(&key);
    assert_int_equal(pack_add(p, &a, sealed, 40, 0), 0);
    assert_int_equal(pack_add(p, &b, sealed, 64, 1000), 40);
    assert_int_equal(pack_close(p, &key, &err), 0);
    assert_int_equal(p->bytes.n, 40 + 64 + 37 + 41 + 32 + 4);
    assert_int_equal(p->bytes.n, pack_file_size(p->blobs.p, 2));
    assert_int_equal(pack_read_header(&key, buf_view(&p->bytes), &blobs, &err), 0);
    assert_int_equal(blobs.n, 2);
    assert_int_equal(blobs.p[1].plain, 1000);
    assert_int_equal(blobs.p[1].type, BLOB_TREE);
    /* A byte less anywhere is no pack. */
    for (size_t n = 0; n < p->bytes.n; n++)
        assert_int_equal(pack_read_header(&key, (str){p->bytes.p, n}, &blobs, &err), -1);
    vec_free(&blobs);
    pack_free(p);
}

static int sum_blobs(void *ctx, const struct store_id *pack, const struct pack_blob *blobs,
                     const uint32_t *offsets, size_t n, struct err *err)
{
    (void)pack, (void)err;
    for (size_t i = 0; i < n; i++)
        *(uint64_t *)ctx += offsets[i] + blobs[i].length * 1000 + blobs[i].plain * 1000000ull;
    return 0;
}

#define ID "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static void test_index_text(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t want; /* -1: broken */
    } rows[] = {
        {"{\"packs\":[]}", 0},
        {"{\"packs\":null}", 0},
        {"{\"supersedes\":[\"x\"],\"packs\":[{\"blobs\":[{\"length\":40,\"offset\":3,\"type\":"
         "\"data\","
         "\"id\":\"" ID "\",\"uncompressed_length\":2}],\"size\":5,\"id\":\"" ID "\"}]}\n",
         2040003},
        {"{\"packs_to_delete\":[{\"id\":\"" ID "\",\"blobs\":[{\"id\":\"" ID
         "\",\"type\":\"data\",\"offset\":0,\"length\":40}]}],\"packs\":[]}",
         0},
        {"{\"packs\":[{\"blobs\":[]}]}", -1},
        {"{\"packs\":[{\"id\":\"xyz\",\"blobs\":[]}]}", -1},
        {"{\"packs\":[{\"id\":\"" ID "\",\"blobs\":[{\"id\":\"" ID
         "\",\"type\":\"leaf\",\"offset\":0,\"length\":40}]}]}",
         -1},
        {"{\"packs\":[{\"id\":\"" ID "\",\"blobs\":[{\"id\":\"" ID
         "\",\"type\":\"data\",\"offset\":0,\"length\":31}]}]}",
         -1},
        {"{\"packs\":[{\"id\":\"" ID "\",\"blobs\":[{\"id\":\"" ID
         "\",\"type\":\"data\",\"offset\":4294967290,\"length\":40}]}]}",
         -1},
        {"{\"packs\":[{\"id\":\"" ID "\",\"blobs\":[{\"id\":\"" ID
         "\",\"type\":\"data\",\"length\":40}]}]}",
         -1},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct json_in in;
        struct err err;
        uint64_t sum = 0;
        struct pieces p = {str_of(rows[i].text), 7};
        json_in_pieces(&in, next_piece, &p, &err);
        int r = index_text_read(&in, sum_blobs, &sum);
        json_in_free(&in);
        if ((r < 0 ? -1 : (int64_t)sum) != rows[i].want)
            fail_msg("row %zu: %d, %llu: %s", i, r, (unsigned long long)sum, r < 0 ? err.msg : "");
    }
}

static void test_index_memory(void **state)
{
    (void)state;
    struct index *ix = index_new();
    struct err err;
    enum { N = 200000 };
    struct pack_blob b = {.type = BLOB_DATA, .length = 100};
    uint32_t offset = 0;
    for (uint32_t i = 0; i < N; i++) {
        struct store_id pack = {{9}};
        sha256(&i, sizeof i, b.id.b);
        uint32_t k = i / 100;
        memcpy(pack.b + 4, &k, sizeof k);
        offset = i;
        assert_int_equal(index_add_pack(ix, &pack, &b, &offset, 1, &err), 0);
    }
    assert_int_equal(index_blobs(ix), N);
    assert_in_range(index_memory(ix), 48 * N, 59 * N);
    for (uint32_t i = 0; i < N; i++) {
        struct index_place place;
        struct store_id id;
        uint64_t cursor = 0;
        sha256(&i, sizeof i, id.b);
        assert_true(index_find(ix, BLOB_DATA, &id, &cursor, &place));
        assert_int_equal(place.offset, i);
        assert_false(index_find(ix, BLOB_DATA, &id, &cursor, &place));
        cursor = 0;
        assert_false(index_find(ix, BLOB_TREE, &id, &cursor, &place));
    }
    index_free(ix);
}

/* n blobs, a hundred in a pack; `one`: all of them the same. */
static int add_blobs(struct index *ix, uint32_t first, uint32_t n, bool one, struct err *err)
{
    for (uint32_t offset = first; offset < first + n; offset++) {
        struct pack_blob b = {.type = BLOB_DATA, .length = 100};
        struct store_id pack = {{9}};
        uint32_t k = offset / 100;
        memcpy(pack.b + 4, &k, sizeof k);
        if (!one)
            sha256(&offset, sizeof offset, b.id.b);
        if (index_add_pack(ix, &pack, &b, &offset, 1, err) < 0)
            return -1;
    }
    return 0;
}

static void test_index_of_one_blob(void **state)
{
    (void)state;
    struct index *ix = index_new();
    struct err err;
    assert_int_equal(add_blobs(ix, 0, 5000, true, &err), 0);
    assert_int_equal(add_blobs(ix, 5000, 5000, true, &err), -1);
    assert_int_equal(err.kind, ERR_CORRUPT);
    index_free(ix);
}

static void test_index_memory_bound(void **state)
{
    (void)state;
    struct index *ix = index_new();
    struct err err;
    index_limit_memory(3 << 20);
    assert_int_equal(add_blobs(ix, 0, 30000, false, &err), 0);
    assert_int_equal(add_blobs(ix, 30000, 40000, false, &err), -1);
    assert_int_equal(err.kind, ERR_REFUSED);
    index_limit_memory(0);
    assert_int_equal(add_blobs(ix, 70000, 40000, false, &err), 0);
    index_free(ix);
}

/* ---- the small files ---- */

static void test_config(void **state)
{
    (void)state;
    struct store_config c;
    struct err err;
    assert_int_equal(
        store_config_parse(STR("{\"version\":2,\"id\":\"" ID
                               "\",\"chunker_polynomial\":\"3da3358b4dc173\",\"is\":[1]}"),
                           &c, &err),
        0);
    assert_int_equal(c.polynomial, 0x3DA3358B4DC173);
    struct buf text = {0};
    store_config_text(&c, &text);
    assert_true(str_is(buf_view(&text), "{\"version\":2,\"id\":\"" ID
                                        "\",\"chunker_polynomial\":\"3da3358b4dc173\"}"));
    buf_free(&text);
    assert_int_equal(
        store_config_parse(STR("{\"version\":3,\"chunker_polynomial\":\"3da3358b4dc173\"}"), &c,
                           &err),
        -1);
    assert_int_equal(err.kind, ERR_UNSUPPORTED);
    assert_int_equal(
        store_config_parse(STR("{\"version\":2,\"chunker_polynomial\":\"38f1e565e288df\"}"), &c,
                           &err),
        -1);
    assert_int_equal(err.kind, ERR_CORRUPT);
}

static void test_keyfile(void **state)
{
    (void)state;
    struct crypto_key master, again;
    struct keyfile k;
    struct buf text = {0};
    struct err err;
    const struct repository_key how = {
        .password = "correct horse", .username = "o<p", .hostname = "h", .scrypt_log2 = 10};
    crypto_key_random(&master);
    assert_int_equal(keyfile_make(&how, &master, &text, &err), 0);
    assert_int_equal(keyfile_parse(buf_view(&text), &k, &err), 0);
    assert_int_equal(keyfile_open(&k, "correct horse", &again, &err), 0);
    assert_memory_equal(&master, &again, sizeof master);
    assert_int_equal(keyfile_open(&k, "wrong", &again, &err), -1);
    assert_int_equal(err.kind, ERR_UNAUTHORIZED);
    keyfile_free(&k);
    buf_free(&text);
    assert_int_equal(keyfile_parse(STR("{\"kdf\":\"argon\"}"), &k, &err), -1);
    assert_int_equal(keyfile_parse(STR("{\"kdf\":\"scrypt\",\"salt\":\"AAAA\"}"), &k, &err), -1);
}

static void test_snapshot_text(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    struct snapshot s;
    struct err err;
    struct buf text = {0};
    str in =
        STR("{\"time\":\"2026-01-02T03:04:05.5Z\",\"parent\":\"" ID "\",\"tree\":\"" ID
            "\",\"paths\":[\"/a\",\"/b \\u003c\"],\"hostname\":\"h\",\"username\":\"u\",\"uid\":5,"
            "\"excludes\":[\"*.o\"],\"tags\":[\"x:y\",\"z\"],\"original\":\"" ID
            "\",\"program_version\":\"restic 0.18.1\",\"summary\":{\"backup_start\":"
            "\"2026-01-02T03:04:05Z\",\"backup_end\":\"2026-01-02T03:04:06Z\",\"files_new\":1,"
            "\"files_changed\":2,\"files_unmodified\":3,\"dirs_new\":4,\"dirs_changed\":5,"
            "\"dirs_unmodified\":6,\"data_blobs\":7,\"tree_blobs\":8,\"data_added\":9,"
            "\"data_added_packed\":10,\"total_files_processed\":11,"
            "\"total_bytes_processed\":12}}");
    assert_int_equal(snapshot_parse(in, a, &s, &err), 0);
    snapshot_text(&s, &text);
    assert_true(str_eq(buf_view(&text), in));
    assert_string_equal(snapshot_tag_value(&s, "x"), "y");
    assert_null(snapshot_tag_value(&s, "z"));
    assert_true(snapshot_has_tag(&s, "z"));
    buf_free(&text);
    assert_int_equal(
        snapshot_parse(STR("{\"time\":\"2026-01-02T03:04:05Z\",\"tree\":\"" ID
                           "\",\"paths\":null,\"label\":\"x\",\"delete\":{\"After\":1}}"),
                       a, &s, &err),
        0);
    static const char *const bad[] = {
        "{}", "[]", "{\"tree\":\"" ID "\"}", "{\"time\":\"now\",\"tree\":\"" ID "\"}",
        "{\"time\":\"2026-01-02T03:04:05Z\",\"tree\":\"" ID "\",\"tags\":1}"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(snapshot_parse(str_of(bad[i]), a, &s, &err), -1);
    arena_free(a);
}

static void test_lock_text(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    struct lock_info l = {.time_ms = 1767323045500,
                          .exclusive = true,
                          .hostname = "c/n/p/u",
                          .username = "g",
                          .pid = 7};
    struct buf text = {0};
    struct err err;
    lock_text(&l, &text);
    assert_true(str_is(buf_view(&text), "{\"time\":\"2026-01-02T03:04:05.5Z\",\"exclusive\":true,"
                                        "\"hostname\":\"c/n/p/u\",\"username\":\"g\",\"pid\":7}"));
    struct lock_info again;
    assert_int_equal(lock_parse(buf_view(&text), a, &again, &err), 0);
    assert_int_equal(again.time_ms, l.time_ms);
    assert_string_equal(again.hostname, "c/n/p/u");
    assert_int_equal(lock_parse(STR("{\"exclusive\":false}"), a, &again, &err), -1);
    buf_free(&text);
    arena_free(a);
}

static void test_unpacked(void **state)
{
    (void)state;
    struct crypto_key key;
    struct work *w = work_new();
    struct buf sealed = {0}, text = {0}, raw = {0};
    struct err err;
    crypto_key_random(&key);
    for (unsigned version = 1; version <= 2; version++) {
        assert_int_equal(unpacked_seal(&key, version, w, STR("{\"a\":1}"), &sealed, &err), 0);
        assert_int_equal(unpacked_open(&key, w, sealed.p, sealed.n, 100, &text, &err), 0);
        assert_true(str_is(buf_view(&text), "{\"a\":1}"));
        assert_int_equal(unpacked_open(&key, w, sealed.p, sealed.n, 3, &text, &err), -1);
        assert_int_equal(err.kind, ERR_TOO_LARGE);
    }
    /* A megabyte of zeros in a few bytes must stop at the cap. */
    buf_putc(&raw, 2);
    char *zeros = calloc(1, 1 << 20);
    compress_frame(w, 3, zeros, 1 << 20, &text);
    buf_str(&raw, buf_view(&text));
    buf_reset(&sealed);
    crypto_seal(&key, raw.p, raw.n, &sealed);
    assert_int_equal(unpacked_open(&key, w, sealed.p, sealed.n, 100000, &text, &err), -1);
    assert_int_equal(err.kind, ERR_TOO_LARGE);
    static const char *const odd[] = {"", "x", "\x03{}", "\x02", "\x02zstd?"};
    for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
        buf_reset(&sealed);
        crypto_seal(&key, odd[i], strlen(odd[i]), &sealed);
        assert_int_equal(unpacked_open(&key, w, sealed.p, sealed.n, 100, &text, &err), -1);
    }
    free(zeros);
    buf_free(&raw);
    buf_free(&sealed);
    buf_free(&text);
    work_free(w);
}

static void test_layout(void **state)
{
    (void)state;
    struct buf out = {0};
    struct err err;
    str cluster, namespace;
    assert_int_equal(layout_repository(&out, "c-1", "app", &err), 0);
    assert_true(str_is(buf_view(&out), "c-1/app"));
    assert_true(layout_parse_repository(buf_view(&out), &cluster, &namespace));
    assert_true(str_is(cluster, "c-1") && str_is(namespace, "app"));
    static const char *const bad[] = {"", "..", "a/b", ".x", "a b", "a\n"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(layout_repository(&out, bad[i], "n", &err), -1);
        assert_int_equal(layout_repository(&out, "c", bad[i], &err), -1);
    }
    static const char *const paths[] = {"", "a", "a/", "/a", "a/b/c", "a/..", "../a"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++)
        assert_false(layout_parse_repository(str_of(paths[i]), &cluster, &namespace));
    assert_int_equal(layout_type(STR("locks")), BACKEND_LOCK);
    assert_int_equal(layout_type(STR("lock")), -1);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quoting_of_every_rune),
        cmocka_unit_test(test_quoting_of_random_bytes),
        cmocka_unit_test(test_unquote),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_json_in),
        cmocka_unit_test(test_json_in_surrogates),
        cmocka_unit_test(test_tree_text),
        cmocka_unit_test(test_tree_bad_texts),
        cmocka_unit_test(test_modes),
        cmocka_unit_test(test_pack_header),
        cmocka_unit_test(test_index_text),
        cmocka_unit_test(test_index_memory),
        cmocka_unit_test(test_index_of_one_blob),
        cmocka_unit_test(test_index_memory_bound),
        cmocka_unit_test(test_config),
        cmocka_unit_test(test_keyfile),
        cmocka_unit_test(test_snapshot_text),
        cmocka_unit_test(test_lock_text),
        cmocka_unit_test(test_unpacked),
        cmocka_unit_test(test_layout),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
