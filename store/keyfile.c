#include "store/keyfile.h"

#include "core/clock.h"
#include "store/gojson.h"
#include "store/jsonin.h"

#include <openssl/crypto.h>

enum { SALT = 64, SCRYPT_LOG2 = 15 };

void keyfile_free(struct keyfile *k)
{
    buf_free(&k->salt);
    buf_free(&k->data);
}

static int read_base64(struct json_in *in, struct buf *out)
{
    str text;
    buf_reset(out);
    if (json_in_string(in, &text) < 0)
        return -1;
    return base64_decode(out, text, NULL) < 0 ? json_in_fail(in, "expected base64") : 0;
}

static int parse_member(void *ctx, struct json_in *in, str key)
{
    struct keyfile *k = ctx;
    if (str_is(key, "N"))
        return json_in_u64(in, &k->n);
    if (str_is(key, "r"))
        return json_in_u64(in, &k->r);
    if (str_is(key, "p"))
        return json_in_u64(in, &k->p);
    if (str_is(key, "salt"))
        return read_base64(in, &k->salt);
    if (str_is(key, "data"))
        return read_base64(in, &k->data);
    if (!str_is(key, "kdf"))
        return json_in_skip(in);
    str kdf;
    if (json_in_string(in, &kdf) < 0)
        return -1;
    return str_is(kdf, "scrypt") ? 0 : json_in_fail(in, "a key derivation other than scrypt");
}

int keyfile_parse(str text, struct keyfile *ret_key, struct err *err)
{
    struct keyfile k CLEANUP(keyfile_free) = {0};
    struct json_in in CLEANUP(json_in_free);
    json_in_text(&in, text, err);
    if (json_in_members(&in, parse_member, &k) < 0 || json_in_end(&in) < 0)
        return -1;
    if (k.salt.n != SALT)
        return err_set(err, ERR_CORRUPT, "the salt has %zu bytes instead of %d", k.salt.n, SALT);
    *ret_key = k;
    k = (struct keyfile){0};
    return 0;
}

static int read_part(struct json_in *in, uint8_t *to, size_t n)
{
    struct buf raw CLEANUP(buf_free) = {0};
    if (read_base64(in, &raw) < 0)
        return -1;
    int r = raw.n == n ? 0 : json_in_fail(in, "a key part of a wrong length");
    if (r == 0)
        memcpy(to, raw.p, n);
    OPENSSL_cleanse(raw.p, raw.n);
    return r;
}

static int parse_mac(void *ctx, struct json_in *in, str key)
{
    struct crypto_key *master = ctx;
    return str_is(key, "k")   ? read_part(in, master->mac_k, sizeof master->mac_k)
           : str_is(key, "r") ? read_part(in, master->mac_r, sizeof master->mac_r)
                              : json_in_skip(in);
}

static int parse_master(void *ctx, struct json_in *in, str key)
{
    struct crypto_key *master = ctx;
    return str_is(key, "mac")       ? json_in_members(in, parse_mac, master)
           : str_is(key, "encrypt") ? read_part(in, master->encrypt, sizeof master->encrypt)
                                    : json_in_skip(in);
}

int keyfile_open(const struct keyfile *k, const char *password, struct crypto_key *ret_master,
                 struct err *err)
{
    struct crypto_key user CLEANUP(crypto_key_wipe), master CLEANUP(crypto_key_wipe) = {0};
    if (crypto_key_derive(password, k->salt.p, k->salt.n, k->n, k->r, k->p, &user, err) < 0)
        return -1;
    struct buf text CLEANUP(buf_free) = {0};
    if (crypto_open(&user, k->data.p, k->data.n, &text, err) < 0)
        return -1;
    struct json_in in CLEANUP(json_in_free);
    json_in_text(&in, buf_view(&text), err);
    int r = json_in_members(&in, parse_master, &master);
    r = r < 0 ? r : json_in_end(&in);
    OPENSSL_cleanse(text.p, text.n);
    if (in.text.p)
        OPENSSL_cleanse(in.text.p, in.text.room);
    if (r < 0)
        return err_wrap(err, "master key");
    if (!crypto_key_valid(&master))
        return err_set(err, ERR_CORRUPT, "the master key has a part of zeros");
    *ret_master = master;
    return 0;
}

/* A base64 member; wipes nothing: the caller's buffer is wiped as a whole. */
static void add_part(struct buf *out, const char *before, const void *p, size_t n,
                     const char *after)
{
    buf_puts(out, before);
    base64_encode(out, p, n);
    buf_puts(out, after);
}

static void seal_master(const struct crypto_key *user, const struct crypto_key *master,
                        struct buf *out)
{
    struct buf text CLEANUP(buf_free) = {0};
    struct buf room CLEANUP(buf_free) = {0};
    /* Reserved at once: a growing buffer would leave copies of the key behind. */
    text.p = xmalloc(512);
    text.room = 512;
    add_part(&text, "{\"mac\":{\"k\":\"", master->mac_k, sizeof master->mac_k, "\",");
    add_part(&text, "\"r\":\"", master->mac_r, sizeof master->mac_r, "\"},");
    add_part(&text, "\"encrypt\":\"", master->encrypt, sizeof master->encrypt, "\"}");
    crypto_seal(user, text.p, text.n, &room);
    OPENSSL_cleanse(text.p, text.n);
    base64_encode(out, room.p, room.n);
}

int keyfile_make(const struct repository_key *how, const struct crypto_key *master, struct buf *out,
                 struct err *err)
{
    uint8_t salt[SALT];
    random_bytes(salt, sizeof salt);
    unsigned log2 = how->scrypt_log2 ? how->scrypt_log2 : SCRYPT_LOG2;
    if (log2 < 10 || log2 > 20)
        return err_set(err, ERR_INVALID, "scrypt cost 2^%u is out of bounds (10 to 20)", log2);
    struct crypto_key user CLEANUP(crypto_key_wipe);
    if (crypto_key_derive(how->password, salt, sizeof salt, (uint64_t)1 << log2, 8, 1, &user, err) <
        0)
        return -1;
    int64_t now = clock_wall_ms();
    buf_puts(out, "{\"created\":");
    gojson_time(out, (struct timespec){now / 1000, now % 1000 * 1000000});
    buf_puts(out, ",\"username\":");
    gojson_string(out, str_of(how->username));
    buf_puts(out, ",\"hostname\":");
    gojson_string(out, str_of(how->hostname));
    buf_printf(out, ",\"kdf\":\"scrypt\",\"N\":%llu,\"r\":8,\"p\":1,\"salt\":\"", 1ull << log2);
    base64_encode(out, salt, sizeof salt);
    buf_puts(out, "\",\"data\":\"");
    seal_master(&user, master, out);
    buf_puts(out, "\"}");
    return 0;
}
