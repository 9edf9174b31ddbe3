/* keys/ID: plain JSON that anybody can put there. Costly scrypt parameters are refused before
 * scrypt. */
#include "store/keyfile.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The bytes as a master key: what somebody seals who knows a password. */
static void fuzz_master(str text)
{
    static char salt[64];
    struct keyfile k = {.n = 2, .r = 1, .p = 1, .salt = {.p = salt, .n = sizeof salt}};
    struct crypto_key user, master = {0};
    struct err err;
    if (crypto_key_derive("password", salt, sizeof salt, k.n, k.r, k.p, &user, &err) < 0)
        abort();
    crypto_seal(&user, text.p, text.n, &k.data);
    if (keyfile_open(&k, "password", &master, &err) == 0 && !crypto_key_valid(&master))
        abort();
    buf_free(&k.data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct keyfile k = {0};
    struct crypto_key master;
    struct err err;
    fuzz_master((str){(const char *)data, size});
    if (keyfile_parse((str){(const char *)data, size}, &k, &err) == 0) {
        if (k.n <= 1024 && k.r <= 8 && k.p <= 2)
            (void)!keyfile_open(&k, "password", &master, &err);
        keyfile_free(&k);
    }
    return 0;
}
