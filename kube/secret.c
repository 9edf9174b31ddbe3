#include "kube/secret.h"

#include "core/codec.h"

#include <string.h>

int kube_secret_value(struct arena *a, const struct kube_object *secret, const char *key, str *ret,
                      struct err *err)
{
    str text = raw_string(a, raw_at(secret->raw, "data", key, NULL));
    if (!text.p)
        return err_set(err, ERR_NOT_FOUND, "Secret %s/%s has no key '%s'", secret->ns, secret->name,
                       key);
    struct buf plain CLEANUP(buf_free) = {0};
    if (base64_decode(&plain, text, NULL) < 0)
        return err_set(err, ERR_INVALID, "Secret %s/%s, key '%s': not base64", secret->ns,
                       secret->name, key);
    *ret = (str){arena_strndup(a, plain.p ? plain.p : "", plain.n), plain.n};
    if (plain.p)
        explicit_bzero(plain.p, plain.n);
    return 0;
}

const char *kube_secret_text(struct arena *a, const struct kube_object *secret, const char *key)
{
    str value;
    return kube_secret_value(a, secret, key, &value, NULL) < 0 ? NULL : value.p;
}
