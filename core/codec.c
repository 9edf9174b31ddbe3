#include "core/codec.h"

#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <stdlib.h>

void hex_encode(const void *p, size_t n, char *out)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *b = p;
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[b[i] >> 4];
        out[2 * i + 1] = digits[b[i] & 15];
    }
    out[2 * n] = '\0';
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool hex_decode(str hex, void *out, size_t n)
{
    uint8_t *b = out;
    if (hex.n != 2 * n)
        return false;
    for (size_t i = 0; i < n; i++) {
        int hi = hex_digit(hex.p[2 * i]), lo = hex_digit(hex.p[2 * i + 1]);
        if (hi < 0 || lo < 0)
            return false;
        b[i] = (uint8_t)(hi << 4 | lo);
    }
    return true;
}

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(struct buf *out, const void *p, size_t n)
{
    const uint8_t *b = p;
    for (size_t i = 0; i < n; i += 3) {
        uint32_t v = (uint32_t)b[i] << 16 | (i + 1 < n ? (uint32_t)b[i + 1] << 8 : 0) |
                     (i + 2 < n ? b[i + 2] : 0u);
        char quad[4] = {alphabet[v >> 18], alphabet[v >> 12 & 63],
                        i + 1 < n ? alphabet[v >> 6 & 63] : '=',
                        i + 2 < n ? alphabet[v & 63] : '='};
        buf_add(out, quad, 4);
    }
}

static int base64_digit(char c)
{
    const char *at = c ? strchr(alphabet, c) : NULL;
    return at ? (int)(at - alphabet) : -1;
}

int base64_decode(struct buf *out, str text, struct err *err)
{
    uint32_t v = 0;
    int digits = 0, pad = 0;
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (c == '\n' || c == '\r')
            continue;
        int d = c == '=' ? 0 : base64_digit(c);
        if (d < 0 || (pad && c != '=') || (c == '=' && digits < 2))
            return err_set(err, ERR_INVALID, "not base64: unexpected byte at offset %zu", i);
        pad += c == '=';
        v = v << 6 | (uint32_t)d;
        if (++digits == 4) {
            uint8_t b[3] = {(uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
            buf_add(out, b, (size_t)(3 - pad));
            v = 0;
            digits = 0;
        }
    }
    if (digits)
        return err_set(err, ERR_INVALID, "not base64: it ends in the middle of a group");
    return 0;
}

void sha256(const void *p, size_t n, uint8_t out[32])
{
    SHA256(p, n, out);
}

struct sha256_ctx {
    EVP_MD_CTX *md;
};

struct sha256_ctx *sha256_new(void)
{
    struct sha256_ctx *c = xcalloc(1, sizeof *c);
    c->md = EVP_MD_CTX_new();
    if (!c->md || !EVP_DigestInit_ex(c->md, EVP_sha256(), NULL))
        abort();
    return c;
}

void sha256_update(struct sha256_ctx *c, const void *p, size_t n)
{
    if (!EVP_DigestUpdate(c->md, p, n))
        abort();
}

void sha256_final(struct sha256_ctx *c, uint8_t out[32])
{
    if (!EVP_DigestFinal_ex(c->md, out, NULL))
        abort();
    sha256_free(c);
}

void sha256_free(struct sha256_ctx *c)
{
    if (!c)
        return;
    EVP_MD_CTX_free(c->md);
    free(c);
}

void random_bytes(void *p, size_t n)
{
    if (n > INT32_MAX || RAND_bytes(p, (int)n) != 1)
        abort();
}

void random_token(char *out, size_t bytes)
{
    uint8_t raw[64];
    if (bytes > sizeof raw)
        abort();
    random_bytes(raw, bytes);
    hex_encode(raw, bytes, out);
}
