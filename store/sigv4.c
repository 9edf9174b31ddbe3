#include "store/sigv4.h"

#include "core/codec.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

void sigv4_time(int64_t wall_ms, char out[SIGV4_TIME])
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    strftime(out, SIGV4_TIME, "%Y%m%dT%H%M%SZ", &tm);
}

void sigv4_encode(struct buf *out, str s, bool keep_slashes)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if ((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
            strchr("-._~", c ? c : ' ') || (c == '/' && keep_slashes))
            buf_putc(out, (char)c);
        else
            buf_printf(out, "%%%02X", c);
    }
}

/* In the order of the encoded bytes. Encoded and plain order differ: '%' is less than any letter.
 */
static int compare_pairs(const void *a, const void *b)
{
    const struct sigv4_pair *x = a, *y = b;
    struct buf p CLEANUP(buf_free) = {0}, q CLEANUP(buf_free) = {0};
    sigv4_encode(&p, x->name, false);
    sigv4_encode(&q, y->name, false);
    int r = str_cmp(buf_view(&p), buf_view(&q));
    if (r)
        return r;
    buf_reset(&p);
    buf_reset(&q);
    sigv4_encode(&p, x->value, false);
    sigv4_encode(&q, y->value, false);
    return str_cmp(buf_view(&p), buf_view(&q));
}

void sigv4_query(struct buf *out, struct sigv4_pair *pairs, size_t n)
{
    if (n)
        qsort(pairs, n, sizeof *pairs, compare_pairs);
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_putc(out, '&');
        sigv4_encode(out, pairs[i].name, false);
        buf_putc(out, '=');
        sigv4_encode(out, pairs[i].value, false);
    }
}

/* A header's value with spaces at its ends cut and those inside made one. */
static void add_value(struct buf *out, str value)
{
    value = str_trim(value);
    for (size_t i = 0; i < value.n; i++)
        if (value.p[i] != ' ' || value.p[i - 1] != ' ')
            buf_putc(out, value.p[i]);
}

/* By name; several of one name stay in the order in which they were given, as addresses tell. */
static int compare_headers(const void *a, const void *b)
{
    const struct sigv4_pair *const *x = a, *const *y = b;
    int r = str_cmp((*x)->name, (*y)->name);
    return r ? r : (*x > *y) - (*x < *y);
}

/* "host:example.com\n…" and "host;…" */
static void canonical_headers(const struct sigv4_request *r, struct buf *lines, struct buf *names)
{
    const struct sigv4_pair *sorted[SIGV4_HEADERS_MAX];
    if (r->headers_n > SIGV4_HEADERS_MAX)
        abort();
    for (size_t i = 0; i < r->headers_n; i++)
        sorted[i] = &r->headers[i];
    qsort(sorted, r->headers_n, sizeof *sorted, compare_headers);
    for (size_t i = 0; i < r->headers_n; i++) {
        bool same = i && str_eq(sorted[i]->name, sorted[i - 1]->name);
        if (!same) {
            buf_printf(names, "%s%.*s", i ? ";" : "", STR_FMT(sorted[i]->name));
            buf_printf(lines, "%s%.*s:", i ? "\n" : "", STR_FMT(sorted[i]->name));
        } else {
            buf_putc(lines, ',');
        }
        add_value(lines, sorted[i]->value);
    }
    buf_putc(lines, '\n');
}

static void hmac(const void *key, size_t key_n, str text, uint8_t out[32])
{
    if (!HMAC(EVP_sha256(), key, (int)key_n, (const unsigned char *)text.p, text.n, out, NULL))
        abort(); /* out of memory */
}

static void signature(const struct sigv4_key *key, str date, str text, char out[65])
{
    uint8_t k[32];
    char *first = xasprintf("AWS4%s", key->secret);
    hmac(first, strlen(first), date, k);
    hmac(k, sizeof k, str_of(key->region), k);
    hmac(k, sizeof k, str_of(key->service), k);
    hmac(k, sizeof k, STR("aws4_request"), k);
    hmac(k, sizeof k, text, k);
    hex_encode(k, sizeof k, out);
    OPENSSL_cleanse(k, sizeof k);
    OPENSSL_cleanse(first, strlen(first));
    free(first);
}

void sigv4_sign(struct buf *out, const struct sigv4_request *r, const struct sigv4_key *key,
                const char *time)
{
    struct buf request CLEANUP(buf_free) = {0}, names CLEANUP(buf_free) = {0};
    struct buf text CLEANUP(buf_free) = {0};
    uint8_t digest[32];
    char hex[65];
    str date = {time, 8};
    buf_printf(&request, "%s\n%.*s\n%.*s\n", r->method, STR_FMT(r->path), STR_FMT(r->query));
    canonical_headers(r, &request, &names);
    buf_printf(&request, "\n%s\n%s", names.p, r->payload);
    sha256(request.p, request.n, digest);
    hex_encode(digest, sizeof digest, hex);
    buf_printf(&text, "AWS4-HMAC-SHA256\n%s\n%.8s/%s/%s/aws4_request\n%s", time, time, key->region,
               key->service, hex);
    signature(key, date, buf_view(&text), hex);
    buf_printf(out,
               "AWS4-HMAC-SHA256 Credential=%s/%.8s/%s/%s/aws4_request, SignedHeaders=%s, "
               "Signature=%s",
               key->access, time, key->region, key->service, names.p, hex);
}
