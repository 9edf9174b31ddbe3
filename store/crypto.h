/* restic's sealing: IV (16) || AES-256-CTR || Poly1305-AES tag (16). */
#ifndef STORE_CRYPTO_H
#define STORE_CRYPTO_H

#include "core/err.h"
#include "core/str.h"

enum { CRYPTO_OVERHEAD = 32, CRYPTO_IV = 16, CRYPTO_TAG = 16 };

struct crypto_key {
    uint8_t encrypt[32]; /* AES-256 */
    uint8_t mac_k[16];   /* AES-128, makes the nonce of Poly1305 */
    uint8_t mac_r[16];   /* Poly1305's r; need not be clamped */
};

void crypto_key_random(struct crypto_key *ret_key);
void crypto_key_wipe(struct crypto_key *key);

/* False if one of the three parts is all zeros: restic takes such a key for no key. */
bool crypto_key_valid(const struct crypto_key *key);

/* The key of a password: 64 bytes of scrypt. ERR_INVALID for parameters that scrypt or our memory
 * cap (STORE_SCRYPT_MEMORY) refuses: they come from the key file. Waits while two others derive. */
int crypto_key_derive(const char *password, const void *salt, size_t salt_n, uint64_t n, uint64_t r,
                      uint64_t p, struct crypto_key *ret_key, struct err *err) must_check;

/* Appends n + CRYPTO_OVERHEAD bytes; a fresh random IV each time. */
void crypto_seal(const struct crypto_key *key, const void *p, size_t n, struct buf *out);

/* Appends n - CRYPTO_OVERHEAD bytes. The tag is checked first: ERR_UNAUTHORIZED if it is not ours
 * (and nothing is appended). */
int crypto_open(const struct crypto_key *key, const void *p, size_t n, struct buf *out,
                struct err *err) must_check;

/* Takes a piece of a plaintext; < 0 with *err set ends the opening. */
typedef int crypto_piece_fn(void *ctx, const void *p, size_t n, struct err *err);

/* As crypto_open, but the plaintext is given piece by piece, after the tag of all of it was
 * checked.
 */
int crypto_open_pieces(const struct crypto_key *key, const void *p, size_t n, crypto_piece_fn *fn,
                       void *ctx, struct err *err) must_check;

/* The tag of a ciphertext under an IV; for test vectors. */
void crypto_tag(const struct crypto_key *key, const uint8_t iv[CRYPTO_IV], const void *p, size_t n,
                uint8_t out[CRYPTO_TAG]);

#endif
