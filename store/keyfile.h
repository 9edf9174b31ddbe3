/* keys/ID: a plain JSON object that holds the master key, sealed under a key derived from a
 * password. */
#ifndef STORE_KEYFILE_H
#define STORE_KEYFILE_H

#include "store/crypto.h"
#include "store/repository.h"

struct keyfile {
    uint64_t n, r, p;
    struct buf salt, data;
};

void keyfile_free(struct keyfile *k);

/* ERR_CORRUPT, ERR_UNSUPPORTED (another KDF). */
int keyfile_parse(str text, struct keyfile *ret_key, struct err *err) must_check;

/* ERR_UNAUTHORIZED: the password is not this key's. */
int keyfile_open(const struct keyfile *k, const char *password, struct crypto_key *ret_master,
                 struct err *err) must_check;

/* Appends the text of a new key file. */
int keyfile_make(const struct repository_key *how, const struct crypto_key *master, struct buf *out,
                 struct err *err) must_check;

#endif
