#include "store/crypto.h"

#include "core/codec.h"
#include "store/bytes.h"
#include "store/limits.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>

enum {
    PIECE = 32 << 10,    /* stays in the processor's cache */
    DERIVED_AT_ONCE = 2, /* each takes 32 MiB with restic's usual parameters, up to the cap */
};

static EVP_MAC *poly1305;
static EVP_CIPHER *aes_ctr, *aes_ecb;

/* Fetching walks the providers' tables; the results are immutable and shared by all threads. */
static void fetch_algorithms(void)
{
    poly1305 = EVP_MAC_fetch(NULL, "POLY1305", NULL);
    aes_ctr = EVP_CIPHER_fetch(NULL, "AES-256-CTR", NULL);
    aes_ecb = EVP_CIPHER_fetch(NULL, "AES-128-ECB", NULL);
    if (!poly1305 || !aes_ctr || !aes_ecb)
        abort();
}

static void need_algorithms(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, fetch_algorithms);
}

void crypto_key_random(struct crypto_key *ret_key)
{
    do
        random_bytes(ret_key, sizeof *ret_key);
    while (!crypto_key_valid(ret_key));
}

void crypto_key_wipe(struct crypto_key *key)
{
    OPENSSL_cleanse(key, sizeof *key);
}

static bool all_zero(const uint8_t *p, size_t n)
{
    uint8_t any = 0;
    for (size_t i = 0; i < n; i++)
        any |= p[i];
    return any == 0;
}

bool crypto_key_valid(const struct crypto_key *key)
{
    return !all_zero(key->encrypt, sizeof key->encrypt) &&
           !all_zero(key->mac_k, sizeof key->mac_k) && !all_zero(key->mac_r, sizeof key->mac_r);
}

/* A controller that starts opens as many repositories as it has threads: without a gate the scrypts
 * of that moment would alone fill the memory of its pod. */
static int derive_in_turn(const char *password, const void *salt, size_t salt_n, uint64_t n,
                          uint64_t r, uint64_t p, uint64_t memory, uint8_t raw[64])
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static pthread_cond_t ended = PTHREAD_COND_INITIALIZER;
    static unsigned running;
    pthread_mutex_lock(&lock);
    while (running == DERIVED_AT_ONCE)
        pthread_cond_wait(&ended, &lock);
    running++;
    pthread_mutex_unlock(&lock);
    int ok = EVP_PBE_scrypt(password, strlen(password), salt, salt_n, n, r, p, memory, raw, 64);
    pthread_mutex_lock(&lock);
    running--;
    pthread_cond_signal(&ended);
    pthread_mutex_unlock(&lock);
    return ok;
}

int crypto_key_derive(const char *password, const void *salt, size_t salt_n, uint64_t n, uint64_t r,
                      uint64_t p, struct crypto_key *ret_key, struct err *err)
{
    uint64_t memory;
    if (n < 2 || (n & (n - 1)) || r == 0 || p == 0 || p > 64 ||
        __builtin_mul_overflow(n, r, &memory) || __builtin_mul_overflow(memory, 128, &memory) ||
        memory > STORE_SCRYPT_MEMORY)
        return err_set(err, ERR_INVALID, "scrypt parameters N=%llu r=%llu p=%llu are out of bounds",
                       (unsigned long long)n, (unsigned long long)r, (unsigned long long)p);
    uint8_t raw[64];
    /* OpenSSL's own default of 32 MiB is just too small for restic's usual N=32768 r=8. */
    if (derive_in_turn(password, salt, salt_n, n, r, p, memory + 128 * r * p + (4u << 20), raw) !=
        1)
        return err_set(err, ERR_INVALID, "scrypt refuses N=%llu r=%llu p=%llu",
                       (unsigned long long)n, (unsigned long long)r, (unsigned long long)p);
    memcpy(ret_key->encrypt, raw, 32);
    memcpy(ret_key->mac_k, raw + 32, 16);
    memcpy(ret_key->mac_r, raw + 48, 16);
    OPENSSL_cleanse(raw, sizeof raw);
    return 0;
}

static void cipher(const EVP_CIPHER *type, const uint8_t *key, const uint8_t *iv, const uint8_t *in,
                   size_t n, uint8_t *out)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    if (!ctx || !EVP_EncryptInit_ex2(ctx, type, key, iv, NULL) ||
        !EVP_CIPHER_CTX_set_padding(ctx, 0))
        abort();
    while (n) {
        int step = (int)MIN(n, (size_t)1 << 30), done = 0;
        if (!EVP_EncryptUpdate(ctx, out, &done, in, step) || done != step)
            abort();
        in += step, out += step, n -= (size_t)step;
    }
    EVP_CIPHER_CTX_free(ctx);
}

void crypto_tag(const struct crypto_key *key, const uint8_t iv[CRYPTO_IV], const void *p, size_t n,
                uint8_t out[CRYPTO_TAG])
{
    need_algorithms();
    uint8_t once[32]; /* r || AES_k(nonce) */
    memcpy(once, key->mac_r, 16);
    cipher(aes_ecb, key->mac_k, NULL, iv, 16, once + 16);
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(poly1305);
    size_t done = 0;
    if (!ctx || !EVP_MAC_init(ctx, once, sizeof once, NULL) || !EVP_MAC_update(ctx, p, n) ||
        !EVP_MAC_final(ctx, out, &done, CRYPTO_TAG) || done != CRYPTO_TAG)
        abort();
    EVP_MAC_CTX_free(ctx);
    OPENSSL_cleanse(once, sizeof once);
}

void crypto_seal(const struct crypto_key *key, const void *p, size_t n, struct buf *out)
{
    need_algorithms();
    uint8_t *to = bytes_room(out, n + CRYPTO_OVERHEAD);
    do
        random_bytes(to, CRYPTO_IV);
    while (all_zero(to, CRYPTO_IV));
    cipher(aes_ctr, key->encrypt, to, p, n, to + CRYPTO_IV);
    crypto_tag(key, to, to + CRYPTO_IV, n, to + CRYPTO_IV + n);
    bytes_grow(out, n + CRYPTO_OVERHEAD);
}

static int check_tag(const struct crypto_key *key, const uint8_t *p, size_t n, struct err *err)
{
    uint8_t tag[CRYPTO_TAG];
    if (n < CRYPTO_OVERHEAD)
        return err_set(err, ERR_UNAUTHORIZED, "%zu bytes are too few to be sealed", n);
    need_algorithms();
    crypto_tag(key, p, p + CRYPTO_IV, n - CRYPTO_OVERHEAD, tag);
    if (CRYPTO_memcmp(tag, p + n - CRYPTO_TAG, CRYPTO_TAG) != 0)
        return err_set(err, ERR_UNAUTHORIZED, "the seal does not fit the key");
    return 0;
}

int crypto_open_pieces(const struct crypto_key *key, const void *p, size_t n, crypto_piece_fn *fn,
                       void *ctx, struct err *err)
{
    const uint8_t *from = p;
    uint8_t piece[PIECE];
    if (check_tag(key, from, n, err) < 0)
        return -1;
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    if (!c || !EVP_EncryptInit_ex2(c, aes_ctr, key->encrypt, from, NULL))
        abort();
    int r = 0, done;
    from += CRYPTO_IV, n -= CRYPTO_OVERHEAD;
    while (r == 0 && n) {
        int step = (int)MIN(n, (size_t)PIECE);
        if (!EVP_EncryptUpdate(c, piece, &done, from, step) || done != step)
            abort();
        r = fn(ctx, piece, (size_t)step, err);
        from += step, n -= (size_t)step;
    }
    EVP_CIPHER_CTX_free(c);
    OPENSSL_cleanse(piece, sizeof piece);
    return r;
}

int crypto_open(const struct crypto_key *key, const void *p, size_t n, struct buf *out,
                struct err *err)
{
    const uint8_t *from = p;
    if (check_tag(key, from, n, err) < 0)
        return -1;
    n -= CRYPTO_OVERHEAD;
    uint8_t *to = bytes_room(out, n);
    cipher(aes_ctr, key->encrypt, from, from + CRYPTO_IV, n, to);
    bytes_grow(out, n);
    return 0;
}
