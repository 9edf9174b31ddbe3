/* store: sealing and chunking against published vectors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "store_support.h"

#include "store/chunker.h"
#include "store/crypto.h"
#include "store/limits.h"

#include <dlfcn.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>

/* ---- crypto ---- */

static void test_poly1305_aes(void **state)
{
    (void)state;
    /* D. J. Bernstein, "The Poly1305-AES message-authentication code", appendix B. */
    static const struct {
        const char *message, *k, *r, *nonce, *tag;
    } rows[] = {
        {"f3f6", "ec074c835580741701425b623235add6", "851fc40c3467ac0be05cc20404f3f700",
         "fb447350c4e868c52ac3275cf9d4327e", "f4c633c3044fc145f84f335cb81953de"},
        {"", "75deaa25c09f208e1dc4ce6b5cad3fbf", "a0f3080000f46400d0c7e9076c834403",
         "61ee09218d29b0aaed7e154a2c5509cc", "dd3fab2251f11ac759f0887129cc2ee7"},
        {"663cea190ffb83d89593f3f476b6bc24d7e679107ea26adb8caf6652d0656136",
         "6acb5f61a7176dd320c5c1eb2edcdc74", "48443d0bb0d21109c89a100b5ce2c208",
         "ae212a55399729595dea458bc621ff0e", "0ee1c16bb73f0f4fd19881753c01cdbe"},
        {"ab0812724a7f1e342742cbed374d94d136c6b8795d45b3819830f2c04491faf0990c62e48b8018b2c3e4a0fa3"
         "134c"
         "b67fa83e158c994d961c4cb21095c1bf9",
         "e1a5668a4d5b66a5f68cc5424ed5982d", "12976a08c4426d0ce8a82407c4f48207",
         "9ae831e743978d3a23527c7128149e3a", "5154ad0d2cb26e01274fc51148491f1b"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct crypto_key key = {0};
        uint8_t message[64], nonce[16], tag[16], want[16];
        size_t n = strlen(rows[i].message) / 2;
        assert_true(hex_decode(str_of(rows[i].message), message, n));
        assert_true(hex_decode(str_of(rows[i].k), key.mac_k, 16));
        assert_true(hex_decode(str_of(rows[i].r), key.mac_r, 16));
        assert_true(hex_decode(str_of(rows[i].nonce), nonce, 16));
        assert_true(hex_decode(str_of(rows[i].tag), want, 16));
        crypto_tag(&key, nonce, message, n, tag);
        assert_memory_equal(tag, want, 16);
    }
}

static void test_seal(void **state)
{
    (void)state;
    struct crypto_key key;
    struct buf sealed = {0}, opened = {0};
    struct err err;
    crypto_key_random(&key);
    crypto_seal(&key, "hello", 5, &sealed);
    assert_int_equal(sealed.n, 5 + CRYPTO_OVERHEAD);
    assert_int_equal(crypto_open(&key, sealed.p, sealed.n, &opened, &err), 0);
    assert_true(str_is(buf_view(&opened), "hello"));
    for (size_t i = 0; i < sealed.n; i++) {
        sealed.p[i] ^= 1;
        assert_int_equal(crypto_open(&key, sealed.p, sealed.n, &opened, &err), -1);
        assert_int_equal(err.kind, ERR_UNAUTHORIZED);
        sealed.p[i] ^= 1;
    }
    assert_int_equal(crypto_open(&key, sealed.p, 31, &opened, &err), -1);
    assert_true(str_is(buf_view(&opened), "hello"));
    buf_free(&sealed);
    buf_free(&opened);
}

static void test_scrypt_bounds(void **state)
{
    (void)state;
    static const struct {
        uint64_t n, r, p;
        int want;
        const char *why;
    } rows[] = {
        {1024, 8, 1, 0, "small but sane"},
        {1u << 18, 8, 1, 0, "256 MiB is the cap"},
        {1u << 19, 8, 1, -1, "512 MiB is not ours to spend"},
        {1000, 8, 1, -1, "not a power of two"},
        {0, 8, 1, -1, "zero"},
        {1024, 0, 1, -1, "zero r"},
        {1024, 8, 1000, -1, "time, not memory"},
        {(uint64_t)1 << 63, (uint64_t)1 << 60, 1, -1, "overflow"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct crypto_key key;
        struct err err;
        uint8_t salt[64] = {1};
        int r = crypto_key_derive("x", salt, 64, rows[i].n, rows[i].r, rows[i].p, &key, &err);
        if (r != rows[i].want)
            fail_msg("%s", rows[i].why);
    }
}

static atomic_uint deriving, most_deriving;

/* In the place of OpenSSL's: counts, and calls that. */
int EVP_PBE_scrypt(const char *password, size_t password_n, const unsigned char *salt,
                   size_t salt_n, uint64_t n, uint64_t r, uint64_t p, uint64_t memory,
                   unsigned char *key, size_t key_n)
{
    typeof(EVP_PBE_scrypt) *real;
    *(void **)&real = dlsym(RTLD_NEXT, "EVP_PBE_scrypt");
    unsigned now = atomic_fetch_add(&deriving, 1) + 1, most = atomic_load(&most_deriving);
    while (now > most && !atomic_compare_exchange_weak(&most_deriving, &most, now))
        ;
    int ok = real(password, password_n, salt, salt_n, n, r, p, memory, key, key_n);
    atomic_fetch_sub(&deriving, 1);
    return ok;
}

static void *derive(void *arg)
{
    static const uint8_t salt[64] = {1};
    struct crypto_key key;
    struct err err;
    *(int *)arg = crypto_key_derive("x", salt, sizeof salt, 1u << 15, 8, 1, &key, &err);
    return NULL;
}

/* Sixteen threads open sixteen repositories at once: the memory of two derivations is taken. */
static void test_scrypt_in_turn(void **state)
{
    (void)state;
    pthread_t threads[16];
    int results[ARRAY_LEN(threads)];
    atomic_store(&most_deriving, 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, derive, &results[i]), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(results[i], 0);
    }
    assert_in_range(atomic_load(&most_deriving), 1, 2);
}

/* ---- chunker ---- */

/* Cuts as a stream would: `step` bytes more at a time. */
static void check_cuts(uint64_t polynomial, const uint8_t *p, size_t n, const size_t *want,
                       size_t step)
{
    struct chunker c;
    chunker_init(&c, polynomial);
    for (size_t from = 0, i = 0; from < n; i++) {
        size_t at = 0, there = 0, cut = 0;
        while (cut == 0) {
            there = MIN(there + step, n - from);
            cut = chunker_cut(&c, p + from, there, there == n - from, &at);
        }
        assert_int_equal(cut, want[i]);
        from += cut;
    }
}

static void test_chunker_vectors(void **state)
{
    (void)state;
    static const size_t first[] = {686181,  2396096, 572647,  987762,  1556808, 766906,
                                   4273775, 1396512, 1773442, 561149,  700442,  3991902,
                                   604961,  626863,  2557884, 1033659, 1300406, 2171941,
                                   1040418, 1532352, 788070,  1313481, 571464,  349311};
    static const size_t second[] = {3712636, 779790,  722657,  3470695, 1631013, 948095,  1176194,
                                    2862384, 4651873, 1076299, 591443,  825697,  1182140, 792932,
                                    1954320, 1553935, 1607141, 1993101, 534252,  673243,  814592};
    static const size_t zeros[] = {524288, 524288, 524288, 524288, 5};
    static const size_t ones[] = {8388608, 8388608, 4194304};
    size_t n = 32u << 20;
    uint8_t *p = malloc(n);
    fill_splitmix(1, p, n);
    check_cuts(0x3DA3358B4DC173, p, n, first, n);
    check_cuts(0x3DA3358B4DC173, p, n, first, 100003);
    check_cuts(0x2482734cacca49, p, n, second, n);
    memset(p, 0, n);
    check_cuts(0x3DA3358B4DC173, p, (2u << 20) + 5, zeros, n);
    check_cuts(0x3DA3358B4DC173, p, (2u << 20) + 5, zeros, 524288);
    memset(p, 0xff, n);
    check_cuts(0x3DA3358B4DC173, p, 20u << 20, ones, 1u << 20);
    free(p);
}

static void test_polynomials(void **state)
{
    (void)state;
    static const uint64_t good[] = {0x3DA3358B4DC173, 0x2482734cacca49};
    static const uint64_t bad[] = {0x38f1e565e288df, 0x30a8295b9d5c91, 0x255f4350b962cb, 0, 1, 2};
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_true(polynomial_usable(good[i]));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(polynomial_usable(bad[i]));
    assert_true(polynomial_usable(polynomial_random()));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_poly1305_aes),    cmocka_unit_test(test_seal),
        cmocka_unit_test(test_scrypt_bounds),   cmocka_unit_test(test_scrypt_in_turn),
        cmocka_unit_test(test_chunker_vectors), cmocka_unit_test(test_polynomials),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
