/* keys/ID: plain JSON that anybody can put there. Costly scrypt parameters are refused before
 * scrypt. */
#include "store/keyfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct keyfile k = {0};
    struct crypto_key master;
    struct err err;
    if (keyfile_parse((str){(const char *)data, size}, &k, &err) == 0) {
        if (k.n <= 1024 && k.r <= 8 && k.p <= 2)
            (void)!keyfile_open(&k, "password", &master, &err);
        keyfile_free(&k);
    }
    return 0;
}
