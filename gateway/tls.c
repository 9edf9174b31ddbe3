#include "gateway/tls.h"

#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/clock.h"
#include "core/codec.h"
#include "core/str.h"

static void pkey_free_p(EVP_PKEY **p)
{
    EVP_PKEY_free(*p);
}

static void x509_free_p(X509 **p)
{
    X509_free(*p);
}

static void time_free_p(ASN1_TIME **p)
{
    ASN1_TIME_free(*p);
}

static void bio_free_p(BIO **p)
{
    BIO_free(*p);
}

static int openssl_failed(struct err *err, const char *what)
{
    char text[160];
    ERR_error_string_n(ERR_get_error(), text, sizeof text);
    ERR_clear_error();
    return err_set(err, ERR_INTERNAL, "%s: %s", what, text);
}

static bool add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX cx;
    X509V3_set_ctx_nodb(&cx);
    X509V3_set_ctx(&cx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *x = X509V3_EXT_conf_nid(NULL, &cx, nid, value);
    bool ok = x && X509_add_ext(cert, x, -1) == 1;
    X509_EXTENSION_free(x);
    return ok;
}

static time_t now(void)
{
    return (time_t)(clock_wall_ms() / 1000);
}

/* A certificate with a random serial, a name and a time; without extensions and signature. */
static X509 *new_certificate(const char *name, EVP_PKEY *key, unsigned days)
{
    unsigned char serial[16];
    X509 *cert = X509_new();
    BIGNUM *number = NULL;
    time_t t = now();
    bool ok = cert && X509_set_version(cert, X509_VERSION_3) == 1;
    random_bytes(serial, sizeof serial);
    serial[0] = (serial[0] & 0x7f) | 0x40;
    ok = ok && (number = BN_bin2bn(serial, sizeof serial, NULL)) &&
         BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert)) &&
         X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_UTF8,
                                    (const unsigned char *)name, -1, -1, 0) == 1 &&
         X509_time_adj_ex(X509_getm_notBefore(cert), -1, 0, &t) &&
         X509_time_adj_ex(X509_getm_notAfter(cert), (int)days, 0, &t) &&
         X509_set_pubkey(cert, key) == 1;
    BN_free(number);
    if (!ok)
        X509_free(TAKE(cert));
    return cert;
}

static X509 *make_ca(EVP_PKEY *key, unsigned days)
{
    X509 *ca = new_certificate("gleaner gateway CA", key, days);
    bool ok = ca && X509_set_issuer_name(ca, X509_get_subject_name(ca)) == 1 &&
              add_extension(ca, ca, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
              add_extension(ca, ca, NID_key_usage, "critical,keyCertSign") &&
              add_extension(ca, ca, NID_subject_key_identifier, "hash") &&
              X509_sign(ca, key, EVP_sha256()) > 0;
    if (!ok)
        X509_free(TAKE(ca));
    return ca;
}

static X509 *make_server(EVP_PKEY *key, X509 *ca, EVP_PKEY *ca_key, const char *names,
                         unsigned days)
{
    X509 *cert = new_certificate("gleaner gateway", key, days);
    bool ok = cert && X509_set_issuer_name(cert, X509_get_subject_name(ca)) == 1 &&
              add_extension(cert, ca, NID_basic_constraints, "critical,CA:FALSE") &&
              add_extension(cert, ca, NID_key_usage, "critical,digitalSignature") &&
              add_extension(cert, ca, NID_ext_key_usage, "serverAuth") &&
              add_extension(cert, ca, NID_authority_key_identifier, "keyid") &&
              add_extension(cert, ca, NID_subject_alt_name, names) &&
              X509_sign(cert, ca_key, EVP_sha256()) > 0;
    if (!ok)
        X509_free(TAKE(cert));
    return cert;
}

/* "DNS:a,DNS:b,IP:1.2.3.4". The names come from our own manifests, but end up in a little language.
 */
static int alternative_names(struct buf *out, const char *const *dns_names,
                             const char *const *addresses, struct err *err)
{
    for (; dns_names && *dns_names; dns_names++) {
        size_t n = strspn(*dns_names, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                      "0123456789.-*");
        if (n == 0 || (*dns_names)[n])
            return err_set(err, ERR_INVALID, "certificate: \"%s\" is not a DNS name", *dns_names);
        buf_printf(out, "%sDNS:%s", out->n ? "," : "", *dns_names);
    }
    for (; addresses && *addresses; addresses++) {
        unsigned char parsed[16];
        if (inet_pton(AF_INET, *addresses, parsed) != 1 &&
            inet_pton(AF_INET6, *addresses, parsed) != 1)
            return err_set(err, ERR_INVALID, "certificate: \"%s\" is not an address", *addresses);
        buf_printf(out, "%sIP:%s", out->n ? "," : "", *addresses);
    }
    return out->n ? 0 : err_set(err, ERR_INVALID, "certificate: no name and no address");
}

static char *bio_text(BIO *bio)
{
    char *p;
    long n = BIO_get_mem_data(bio, &p);
    return xstrndup(p, (size_t)n);
}

static char *certificate_text(X509 *cert)
{
    BIO *bio CLEANUP(bio_free_p) = BIO_new(BIO_s_mem());
    return bio && PEM_write_bio_X509(bio, cert) == 1 ? bio_text(bio) : NULL;
}

static char *key_text(EVP_PKEY *key)
{
    BIO *bio CLEANUP(bio_free_p) = BIO_new(BIO_s_secmem());
    return bio && PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1 ? bio_text(bio)
                                                                                     : NULL;
}

int gateway_make_certificate(const char *const *dns_names, const char *const *addresses,
                             unsigned days, struct gateway_certificate *ret, struct err *err)
{
    struct buf names CLEANUP(buf_free) = {0};
    if (alternative_names(&names, dns_names, addresses, err) < 0)
        return -1;
    EVP_PKEY *ca_key CLEANUP(pkey_free_p) = EVP_EC_gen("P-256");
    EVP_PKEY *key CLEANUP(pkey_free_p) = EVP_EC_gen("P-256");
    X509 *ca CLEANUP(x509_free_p) = ca_key ? make_ca(ca_key, days) : NULL;
    X509 *cert CLEANUP(x509_free_p) =
        ca && key ? make_server(key, ca, ca_key, names.p, days) : NULL;
    if (!cert)
        return openssl_failed(err, "making the gateway's certificate");
    struct gateway_certificate c = {certificate_text(ca), certificate_text(cert), key_text(key)};
    if (!c.ca_pem || !c.cert_pem || !c.key_pem) {
        gateway_certificate_free(&c);
        return openssl_failed(err, "writing the gateway's certificate");
    }
    *ret = c;
    return 0;
}

void gateway_certificate_free(struct gateway_certificate *c)
{
    free(c->ca_pem);
    free(c->cert_pem);
    if (c->key_pem)
        OPENSSL_cleanse(c->key_pem, strlen(c->key_pem));
    free(c->key_pem);
    *c = (struct gateway_certificate){0};
}

int gateway_certificate_left(const char *cert_pem, int64_t *ret_seconds, struct err *err)
{
    int days, seconds;
    BIO *bio CLEANUP(bio_free_p) = BIO_new_mem_buf(cert_pem, -1);
    X509 *cert CLEANUP(x509_free_p) = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    ASN1_TIME *from CLEANUP(time_free_p) = ASN1_TIME_set(NULL, now());
    ERR_clear_error();
    if (!cert || !from || ASN1_TIME_diff(&days, &seconds, from, X509_get0_notAfter(cert)) != 1)
        return err_set(err, ERR_INVALID, "the gateway's certificate is not one in PEM");
    *ret_seconds = (int64_t)days * 86400 + seconds;
    return 0;
}

int gateway_certificate_check(const char *cert_pem, const char *key_pem, struct err *err)
{
    BIO *cert_bio CLEANUP(bio_free_p) = BIO_new_mem_buf(cert_pem, -1);
    BIO *key_bio CLEANUP(bio_free_p) = BIO_new_mem_buf(key_pem, -1);
    X509 *cert CLEANUP(x509_free_p) =
        cert_bio ? PEM_read_bio_X509(cert_bio, NULL, NULL, NULL) : NULL;
    EVP_PKEY *key CLEANUP(pkey_free_p) =
        key_bio ? PEM_read_bio_PrivateKey(key_bio, NULL, NULL, NULL) : NULL;
    bool fits = cert && key && X509_check_private_key(cert, key) == 1;
    ERR_clear_error();
    return fits ? 0 : err_set(err, ERR_INVALID, "the certificate and its key do not fit");
}
