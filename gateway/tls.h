/* The gateway's certificate: a CA of its own that signs one server certificate and is then thrown
 * away (its key is never kept), so that trusting the CA is trusting this one server. */
#ifndef GATEWAY_TLS_H
#define GATEWAY_TLS_H

#include "core/err.h"

struct gateway_certificate {
    char *ca_pem;   /* for clients */
    char *cert_pem; /* the server's certificate; the CA is not appended */
    char *key_pem;  /* secret */
};

/* Makes a CA and a server certificate (ECDSA P-256, valid from a day ago for `days`). dns_names and
 * addresses (IPv4 or IPv6 literals) are ended by NULL and may be NULL; together at least one.
 * ERR_INVALID names an address that is none. */
int gateway_make_certificate(const char *const *dns_names, const char *const *addresses,
                             unsigned days, struct gateway_certificate *ret, struct err *err)
    must_check;

/* Wipes and frees the texts. */
void gateway_certificate_free(struct gateway_certificate *c);

/* How long a certificate is still valid, in seconds (negative: it has ended). ERR_INVALID: not a
 * certificate. The controller makes a new one in time (reconciler/gateway_setup.h), and the
 * gateway goes on with it. */
int gateway_certificate_left(const char *cert_pem, int64_t *ret_seconds, struct err *err)
    must_check;

/* That the key is the certificate's. ERR_INVALID. */
int gateway_certificate_check(const char *cert_pem, const char *key_pem, struct err *err)
    must_check;

#endif
