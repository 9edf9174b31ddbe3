#include "reconciler/store/place.h"

#include "core/codec.h"
#include "kube/client.h"
#include "kube/secret.h"
#include "reconciler/proof.h"

#include <stdlib.h>
#include <string.h>

static void wipe(char **text)
{
    if (*text)
        explicit_bzero(*text, strlen(*text));
    free(*text);
    *text = NULL;
}

void store_place_free(struct store_place *p)
{
    free(p->folder);
    free(p->endpoint);
    free(p->bucket);
    free(p->prefix);
    free(p->region);
    wipe(&p->access_key);
    wipe(&p->secret_key);
    wipe(&p->session_token);
    free(p->ca_pem);
    *p = (struct store_place){0};
}

static char *copy(const char *text)
{
    return text ? xstrdup(text) : NULL;
}

/* ---- Secrets ---- */

/* One of the Secrets that a store names. Its words say what to do. */
static int read_secret(struct context *cx, struct arena *a, const struct kube_object *store,
                       const char *what, const char *name, struct kube_object *ret, struct err *err)
{
    if (kube_get(cx->kube, a, &KUBE_SECRET, cx->ns, name, ret, err) == 0)
        return 0;
    if (err && err->kind == ERR_NOT_FOUND)
        return err_set(err, ERR_REFUSED,
                       "BackupStore %s: the Secret %s/%s of spec.%s is not there: create it",
                       store->name, cx->ns, name, what);
    return err_wrap(err, "BackupStore %s, spec.%s", store->name, what);
}

/* A value without white space at its ends: a file that was made with an editor ends in a newline.
 */
static int take_value(struct arena *a, const struct kube_object *store,
                      const struct kube_object *secret, const char *key, bool needed, size_t max,
                      char **ret, struct err *err)
{
    str value;
    struct err why;
    if (kube_secret_value(a, secret, key, &value, &why) < 0) {
        if (!needed && why.kind == ERR_NOT_FOUND)
            return 0;
        return err_set(err, ERR_REFUSED, "BackupStore %s: %s", store->name, why.msg);
    }
    value = str_trim(value);
    if (value.n == 0 && !needed)
        return 0;
    if (value.n == 0 || value.n > max || memchr(value.p, '\0', value.n))
        return err_set(err, ERR_REFUSED, "BackupStore %s: Secret %s/%s, key '%s': %s", store->name,
                       secret->ns, secret->name, key,
                       value.n == 0 ? "it is empty" : "this is no such text");
    *ret = str_dup(value);
    return 0;
}

enum { CREDENTIAL_MAX = 16 << 10 };

static int read_credentials(struct context *cx, struct arena *a, const struct kube_object *store,
                            struct store_place *p, struct err *err)
{
    const char *name = raw_text(a, store->raw, "spec", "credentialsSecretRef", "name", NULL);
    struct kube_object secret;
    if (!name)
        return 0;
    if (read_secret(cx, a, store, "credentialsSecretRef", name, &secret, err) < 0 ||
        take_value(a, store, &secret, STORE_ACCESS_KEY, true, CREDENTIAL_MAX, &p->access_key, err) <
            0 ||
        take_value(a, store, &secret, STORE_SECRET_KEY, true, CREDENTIAL_MAX, &p->secret_key, err) <
            0 ||
        take_value(a, store, &secret, STORE_SESSION_TOKEN, false, CREDENTIAL_MAX, &p->session_token,
                   err) < 0)
        return -1;
    return 0;
}

static int read_ca(struct context *cx, struct arena *a, const struct kube_object *store,
                   struct store_place *p, struct err *err)
{
    const char *name = raw_text(a, store->raw, "spec", "caSecretRef", "name", NULL);
    const char *key = raw_text(a, store->raw, "spec", "caSecretRef", "key", NULL);
    struct kube_object secret;
    if (!name)
        return 0;
    if (!key)
        key = "ca.crt";
    if (read_secret(cx, a, store, "caSecretRef", name, &secret, err) < 0 ||
        take_value(a, store, &secret, key, true, STORE_CA_MAX, &p->ca_pem, err) < 0)
        return -1;
    if (!strstr(p->ca_pem, "-----BEGIN CERTIFICATE-----"))
        return err_set(err, ERR_REFUSED,
                       "BackupStore %s: Secret %s/%s, key '%s' holds no certificate in PEM",
                       store->name, cx->ns, name, key);
    return 0;
}

/* ---- the two kinds ---- */

static int read_local(struct arena *a, const struct kube_object *store, struct store_place *p,
                      struct err *err)
{
    const char *path = raw_text(a, store->raw, "spec", "local", "path", NULL);
    if (strstr(path, ".."))
        return err_set(err, ERR_REFUSED, "BackupStore %s: spec.local.path must not contain '..'",
                       store->name);
    p->folder = xstrdup(path);
    return 0;
}

static int read_s3(struct context *cx, struct arena *a, const struct kube_object *store,
                   struct store_place *p, struct err *err)
{
    const char *endpoint = raw_text(a, store->raw, "spec", "s3", "endpoint", NULL);
    str style = raw_at(store->raw, "spec", "s3", "forcePathStyle", NULL);
    p->endpoint = xstrdup(endpoint ? endpoint : "https://s3.amazonaws.com");
    p->bucket = copy(raw_text(a, store->raw, "spec", "s3", "bucket", NULL));
    const char *prefix = raw_text(a, store->raw, "spec", "s3", "prefix", NULL);
    str clean = str_of(prefix ? prefix : "");
    while (clean.n && clean.p[clean.n - 1] == '/')
        clean.n--;
    while (clean.n && clean.p[0] == '/')
        clean = (str){clean.p + 1, clean.n - 1};
    p->prefix = str_dup(clean);
    p->region = copy(raw_text(a, store->raw, "spec", "s3", "region", NULL));
    p->lookup = !style.p ? S3_LOOKUP_AUTO : raw_true(style) ? S3_LOOKUP_PATH : S3_LOOKUP_HOST;
    return read_credentials(cx, a, store, p, err) < 0 || read_ca(cx, a, store, p, err) < 0 ? -1 : 0;
}

int store_place_read(struct context *cx, struct arena *a, const struct kube_object *store,
                     struct store_place *ret, struct err *err)
{
    struct store_place p CLEANUP(store_place_free) = {0};
    bool local = raw_text(a, store->raw, "spec", "local", "path", NULL) != NULL;
    bool s3 = raw_text(a, store->raw, "spec", "s3", "bucket", NULL) != NULL;
    if (local == s3)
        return err_set(err, ERR_REFUSED,
                       "BackupStore %s needs exactly one of spec.local and spec.s3", store->name);
    if ((local ? read_local(a, store, &p, err) : read_s3(cx, a, store, &p, err)) < 0)
        return -1;
    const char *text =
        local ? arena_printf(a, "local\n%s", p.folder)
              : arena_printf(a, "s3\n%s\n%s\n%s", store_place_host(a, &p), p.bucket, p.prefix);
    uint8_t hash[32];
    sha256(text, strlen(text), hash);
    hex_encode(hash, sizeof hash, p.id);
    *ret = p;
    p = (struct store_place){0};
    return 0;
}

/* ---- use ---- */

void store_place_s3(const struct store_place *p, const char *prefix, struct backend_s3_options *ret)
{
    *ret = (struct backend_s3_options){.endpoint = p->endpoint,
                                       .bucket = p->bucket,
                                       .prefix = prefix,
                                       .region = p->region,
                                       .lookup = p->lookup,
                                       .access_key = p->access_key,
                                       .secret_key = p->secret_key,
                                       .session_token = p->session_token,
                                       .ca_pem = p->ca_pem};
}

char *store_place_prefix(const struct store_place *p, const char *path)
{
    return xasprintf("%s%s%s", p->prefix, *p->prefix ? "/" : "", path);
}

const char *store_place_host(struct arena *a, const struct store_place *p)
{
    if (!p->endpoint)
        return "";
    return proof_host(a, strstr(p->endpoint, "://") ? p->endpoint
                                                    : arena_printf(a, "https://%s", p->endpoint));
}

const char *store_place_text(struct arena *a, const struct store_place *p)
{
    if (p->folder)
        return arena_printf(a, "folder %s of gleaner's own volume", p->folder);
    return arena_printf(a, "bucket %s%s%s at %s", p->bucket, *p->prefix ? ", prefix " : "",
                        p->prefix, store_place_host(a, p));
}

int store_place_open(struct context *cx, const struct store_place *p, const char *path,
                     unsigned retry_seconds, struct backend **ret, struct err *err)
{
    if (p->folder) {
        char *full CLEANUP(free_p) = xasprintf("%s/%s/%s", cx->local_root, p->folder, path);
        return backend_open_local(full, ret, err);
    }
    char *prefix CLEANUP(free_p) = store_place_prefix(p, path);
    struct backend_s3_options options;
    store_place_s3(p, prefix, &options);
    options.retry_seconds = retry_seconds;
    options.bucket_must_exist = true; /* whoever pays for buckets makes them */
    return backend_open_s3(&options, ret, err);
}
