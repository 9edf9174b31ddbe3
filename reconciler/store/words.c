#include "reconciler/store/words.h"

#include <stdlib.h>
#include <string.h>

/* %1$s in no order: each text takes the bucket and the host, in this order, or neither. */
struct known {
    const char *sign; /* S3's code, or a piece of libcurl's message */
    const char *reason, *text;
    bool passing;
};

static const struct known codes[] = {
    {"NoSuchBucket", "NoSuchBucket",
     "there is no bucket of that name: make it, or correct spec.s3.bucket", false},
    {"InvalidBucketName", "NoSuchBucket", "that is no name of a bucket: correct spec.s3.bucket",
     false},
    {"InvalidAccessKeyId", "AccessKeyUnknown",
     "the server does not know the access key: correct " STORE_ACCESS_KEY " in the Secret of "
     "spec.credentialsSecretRef",
     false},
    {"XAdminUserNotFound", "AccessKeyUnknown",
     "the server does not know the access key: correct " STORE_ACCESS_KEY " in the Secret of "
     "spec.credentialsSecretRef",
     false},
    {"SignatureDoesNotMatch", "SecretKeyWrong",
     "the secret key is not the access key's: correct " STORE_SECRET_KEY " in the Secret of "
     "spec.credentialsSecretRef",
     false},
    {"ExpiredToken", "CredentialsExpired",
     "the session of the credentials has ended: renew " STORE_SESSION_TOKEN " and both keys",
     false},
    {"InvalidToken", "CredentialsExpired",
     "the session token is not valid: renew " STORE_SESSION_TOKEN " and both keys", false},
    {"AuthorizationHeaderMalformed", "WrongRegion",
     "the bucket lies in another region: correct spec.s3.region", false},
    {"PermanentRedirect", "WrongRegion",
     "the bucket lies in another region: correct spec.s3.region and spec.s3.endpoint", false},
    {"RequestTimeTooSkewed", "ClockSkew",
     "the clocks of this node and of the server are too far apart: correct the wrong one", true},
    {"RequestExpired", "ClockSkew",
     "the clocks of this node and of the server are too far apart: correct the wrong one", true},
    {"MethodNotAllowed", "NotS3", "what answers there is no S3 server: correct spec.s3.endpoint",
     false},
};

static const struct known transfers[] = {
    {"certificate is not trusted", "CertificateNotTrusted",
     "its certificate is not trusted: name its CA in spec.caSecretRef", false},
    {"Could not resolve", "HostNotFound",
     "the endpoint's name does not resolve: correct spec.s3.endpoint", true},
    {"Resolving timed out", "HostNotFound",
     "the endpoint's name does not resolve: correct spec.s3.endpoint", true},
    {"Could not connect", "Unreachable", "nothing answers at the endpoint", true},
    {"Failed to connect", "Unreachable", "nothing answers at the endpoint", true},
    {"Connection refused", "Unreachable", "nothing answers at the endpoint", true},
    {"wrong version number", "NotTLS",
     "what answers there speaks no TLS: correct spec.s3.endpoint (http:// has to be written)",
     false},
    {"SSL_connect", "NotTLS",
     "what answers there speaks no TLS: correct spec.s3.endpoint (http:// has to be written)",
     true},
    {"Empty reply", "NotS3", "what answers there is no S3 server, or wants TLS", true},
    {"HTTP/0.9", "NotS3", "what answers there is no S3 server, or wants TLS", false},
    {"no credentials for S3", "NoCredentials",
     "there are no credentials: name a Secret in spec.credentialsSecretRef, or give the pods of "
     "gleaner a web identity",
     false},
};

/* The code in "…the server answered 403 AccessDenied: …"; "" if it gave none, NULL if it never
 * answered. */
static const char *code_of(struct arena *a, const char *message)
{
    static const char before[] = "the server answered ";
    const char *at = strstr(message, before);
    if (!at)
        return NULL;
    at += sizeof before - 1;
    at += strspn(at, "0123456789");
    at += *at == ' ';
    return arena_strndup(a, at, strcspn(at, " :"));
}

/* What was being done, by the words that store/backend.c puts before a cause. */
static const char *forbidden(const char *message)
{
    static const struct {
        const char *doing, *text;
    } rights[] = {
        {"saving ", "the credentials may not write: allow s3:PutObject"},
        {"removing ", "the credentials may not delete: allow s3:DeleteObject"},
        {"listing ", "the credentials may not list the bucket: allow s3:ListBucket"},
        {"looking for bucket", "the credentials may not list the bucket: allow s3:ListBucket"},
        {"looking for config",
         "the credentials may not read: allow s3:GetObject, and s3:ListBucket "
         "(without it S3 says so of whatever is not there)"},
        {"reading ", "the credentials may not read: allow s3:GetObject"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rights); i++)
        if (strstr(message, rights[i].doing))
            return rights[i].text;
    return "the credentials may not do that";
}

static const struct known *find(const struct known *table, size_t n, const char *text, bool whole)
{
    for (size_t i = 0; i < n; i++)
        if (whole ? strcmp(table[i].sign, text) == 0 : strstr(text, table[i].sign) != NULL)
            return &table[i];
    return NULL;
}

static void set(struct store_words *ret, struct arena *a, const struct err *why,
                const struct store_place *p, const char *reason, const char *text, bool passing)
{
    *ret = (struct store_words){reason, why->msg, passing};
    if (text && p->bucket)
        ret->message = arena_printf(a, "%s: %s (%s)", store_place_text(a, p), text, why->msg);
    else if (text)
        ret->message = arena_printf(a, "%s (%s)", text, why->msg);
}

void store_explain(struct arena *a, const struct err *why, const struct store_place *p,
                   struct store_words *ret)
{
    const char *code = p->bucket ? code_of(a, why->msg) : NULL;
    const struct known *k = !p->bucket ? NULL
                            : code     ? find(codes, ARRAY_LEN(codes), code, true)
                                       : find(transfers, ARRAY_LEN(transfers), why->msg, false);
    if (k)
        set(ret, a, why, p, k->reason, k->text, k->passing);
    else if (code && why->kind == ERR_FORBIDDEN && *code)
        set(ret, a, why, p, "AccessDenied", forbidden(why->msg), false);
    else if (code && !*code && !err_is_transient(why))
        set(ret, a, why, p, "NotS3",
            "what answers there is no S3 server, or something before it refuses: correct "
            "spec.s3.endpoint",
            false);
    else if (p->bucket && why->kind == ERR_CORRUPT && strstr(why->msg, "listing "))
        set(ret, a, why, p, "NotS3", "what answers there is no S3 server: correct spec.s3.endpoint",
            false);
    else if (err_is_transient(why))
        set(ret, a, why, p, "Unreachable", NULL, true);
    else
        set(ret, a, why, p, why->kind == ERR_REFUSED ? "Refused" : "Failed", NULL, false);
}
