#include "store/s3_credentials.h"

#include "store/http.h"
#include "store/sigv4.h"
#include "store/xml.h"

#include "core/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

enum { FILE_MAX = 64 << 10, RENEW_MS = 5 * 60 * 1000, SHORTEST_MS = 60 * 1000 };

struct s3_credentials {
    pthread_mutex_t lock;
    struct s3_secret secret;
    int64_t expires_ms;                /* of a web identity's session; 0: there is none */
    char *role, *token_file, *sts_url; /* a web identity's; else NULL */
    struct http *sts;
};

static void wipe_text(char **s)
{
    if (*s)
        OPENSSL_cleanse(*s, strlen(*s));
    free(*s);
    *s = NULL;
}

static void wipe_buf(struct buf *b)
{
    if (b->p)
        OPENSSL_cleanse(b->p, b->room);
    buf_free(b);
}

void s3_secret_wipe(struct s3_secret *s)
{
    wipe_text(&s->access);
    wipe_text(&s->secret);
    wipe_text(&s->token);
}

/* Room for all of the file is there from the start, so that no copy stays behind. */
static int read_file(const char *path, struct buf *out, struct err *err)
{
    int fd CLEANUP(close_p) = open(path, O_RDONLY | O_CLOEXEC);
    out->p = xmalloc(FILE_MAX + 1);
    out->room = FILE_MAX + 1;
    ssize_t n = fd < 0 ? -1 : 0, got = 0;
    while (n >= 0 && got < FILE_MAX && (n = read(fd, out->p + got, (size_t)(FILE_MAX - got))) > 0)
        got += n;
    out->n = (size_t)got;
    out->p[got] = '\0';
    if (n < 0)
        return err_set(err, ERR_UNAUTHORIZED, "%s cannot be read: %s", path, strerror(errno));
    return 0;
}

static void set_text(char **at, str value)
{
    wipe_text(at);
    *at = str_dup(value);
}

bool s3_credentials_parse(str text, str profile, struct s3_secret *ret_secret)
{
    struct s3_secret found = {0};
    bool ours = false;
    while (text.p) {
        str line = str_trim(str_cut(&text, '\n'));
        if (line.n > 2 && line.p[0] == '[' && line.p[line.n - 1] == ']') {
            ours = str_eq(str_trim((str){line.p + 1, line.n - 2}), profile);
            continue;
        }
        str value = line, name = str_trim(str_cut(&value, '='));
        value = str_trim(value);
        if (!ours || value.n == 0)
            continue;
        if (str_is(name, "aws_access_key_id"))
            set_text(&found.access, value);
        else if (str_is(name, "aws_secret_access_key"))
            set_text(&found.secret, value);
        else if (str_is(name, "aws_session_token"))
            set_text(&found.token, value);
    }
    if (!found.access || !found.secret) {
        s3_secret_wipe(&found);
        return false;
    }
    *ret_secret = found;
    return true;
}

static const char *env(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static int read_shared(struct s3_secret *ret_secret, struct err *err)
{
    const char *home = env("HOME"), *named = env("AWS_SHARED_CREDENTIALS_FILE");
    const char *profile = env("AWS_PROFILE") ? env("AWS_PROFILE") : "default";
    char *path CLEANUP(free_p) =
        named ? xstrdup(named) : xasprintf("%s/.aws/credentials", home ? home : "");
    struct buf text CLEANUP(wipe_buf) = {0};
    if (!named && access(path, R_OK) < 0)
        return err_set(err, ERR_UNAUTHORIZED,
                       "there are no credentials for S3: set AWS_ACCESS_KEY_ID and "
                       "AWS_SECRET_ACCESS_KEY, or AWS_SHARED_CREDENTIALS_FILE");
    if (read_file(path, &text, err) < 0)
        return -1;
    if (!s3_credentials_parse(buf_view(&text), str_of(profile), ret_secret))
        return err_set(err, ERR_UNAUTHORIZED,
                       "%s has no profile [%s] with aws_access_key_id and aws_secret_access_key",
                       path, profile);
    return 0;
}

static int begin_web_identity(struct s3_credentials *c, const struct backend_s3_options *o,
                              const char *region, struct err *err)
{
    struct http_options options = {.timeout_seconds = 30,
                                   .retry_seconds = o->retry_seconds ? o->retry_seconds : 60};
    const char *url = env("AWS_ENDPOINT_URL_STS");
    c->role = xstrdup(env("AWS_ROLE_ARN"));
    c->token_file = xstrdup(env("AWS_WEB_IDENTITY_TOKEN_FILE"));
    if (url) {
        c->sts_url = xasprintf("%s%s", url, str_ends(str_of(url), "/") ? "" : "/");
        options.ca_pem = o->ca_pem;
    } else {
        c->sts_url = xasprintf("https://sts.%s.amazonaws.com/", region);
    }
    return http_new(&options, &c->sts, err);
}

int s3_credentials_new(const struct backend_s3_options *o, const char *region,
                       struct s3_credentials **ret, struct err *err)
{
    struct s3_credentials *c = xcalloc(1, sizeof *c);
    const char *id = env("AWS_ACCESS_KEY_ID"), *key = env("AWS_SECRET_ACCESS_KEY");
    int r = 0;
    pthread_mutex_init(&c->lock, NULL);
    if (o->access_key && o->secret_key)
        c->secret = (struct s3_secret){xstrdup(o->access_key), xstrdup(o->secret_key),
                                       o->session_token ? xstrdup(o->session_token) : NULL};
    else if (id && key)
        c->secret = (struct s3_secret){xstrdup(id), xstrdup(key),
                                       str_dup(str_of(env("AWS_SESSION_TOKEN")))};
    else if (env("AWS_ROLE_ARN") && env("AWS_WEB_IDENTITY_TOKEN_FILE"))
        r = begin_web_identity(c, o, region, err);
    else
        r = read_shared(&c->secret, err);
    if (r < 0)
        s3_credentials_free(c);
    else
        *ret = c;
    return r;
}

void s3_credentials_free(struct s3_credentials *c)
{
    if (!c)
        return;
    if (c->sts)
        http_free(c->sts);
    pthread_mutex_destroy(&c->lock);
    s3_secret_wipe(&c->secret);
    free(c->role);
    free(c->token_file);
    free(c->sts_url);
    free(c);
}

static int sts_headers(void *ctx, struct http_headers *to, struct err *err)
{
    (void)ctx, (void)err;
    http_add_header(to, "Content-Type: application/x-www-form-urlencoded");
    return 0;
}

/* "AssumeRoleWithWebIdentity", AWS Security Token Service API Reference. */
static int ask(struct s3_credentials *c, struct buf *answer, struct err *err)
{
    struct buf token CLEANUP(wipe_buf) = {0}, why CLEANUP(buf_free) = {0};
    struct buf code CLEANUP(buf_free) = {0};
    struct buf form CLEANUP(wipe_buf) = {.p = xcalloc(1, 4 * FILE_MAX), .room = 4 * FILE_MAX};
    if (read_file(c->token_file, &token, err) < 0)
        return -1;
    struct sigv4_pair pairs[] = {{STR("Action"), STR("AssumeRoleWithWebIdentity")},
                                 {STR("Version"), STR("2011-06-15")},
                                 {STR("RoleArn"), str_of(c->role)},
                                 {STR("RoleSessionName"), STR("gleaner")},
                                 {STR("DurationSeconds"), STR("3600")},
                                 {STR("WebIdentityToken"), str_trim(buf_view(&token))}};
    sigv4_query(&form, pairs, ARRAY_LEN(pairs));
    struct http_answer a = {0};
    struct http_request r = {.method = HTTP_POST,
                             .url = c->sts_url,
                             .body = form.p,
                             .body_n = form.n,
                             .out = answer,
                             .max = FILE_MAX,
                             .why = &why,
                             .headers = sts_headers};
    if (http_do(c->sts, &r, &a, err) < 0)
        return -1;
    if (a.status == 200)
        return 0;
    struct xml_wanted wanted[] = {{"Code", &code}};
    struct err ignored;
    (void)!xml_find(buf_view(&why), wanted, ARRAY_LEN(wanted), &ignored);
    return err_set(err, a.status >= 500 ? ERR_UNAVAILABLE : ERR_UNAUTHORIZED,
                   "the server answered %ld %.*s", a.status, (int)MIN(code.n, (size_t)64),
                   code.n ? code.p : "");
}

static int renew(struct s3_credentials *c, struct err *err)
{
    struct buf answer CLEANUP(wipe_buf) = {.p = xcalloc(1, FILE_MAX + 1), .room = FILE_MAX + 1};
    struct buf id CLEANUP(wipe_buf) = {0}, key CLEANUP(wipe_buf) = {0};
    struct buf token CLEANUP(wipe_buf) = {0}, end CLEANUP(buf_free) = {0};
    struct xml_wanted wanted[] = {{"AccessKeyId", &id},
                                  {"SecretAccessKey", &key},
                                  {"SessionToken", &token},
                                  {"Expiration", &end}};
    int64_t expires;
    if (ask(c, &answer, err) < 0 || xml_find(buf_view(&answer), wanted, ARRAY_LEN(wanted), err) < 0)
        return err_wrap(err, "a session for the web identity, from %s", c->sts_url);
    if (!id.n || !key.n || !token.n || !clock_parse(buf_view(&end), &expires))
        return err_set(err, ERR_CORRUPT,
                       "a session for the web identity, from %s: the answer lacks a part",
                       c->sts_url);
    set_text(&c->secret.access, buf_view(&id));
    set_text(&c->secret.secret, buf_view(&key));
    set_text(&c->secret.token, buf_view(&token));
    /* A clock of ours that is ahead must not ask at every request. */
    c->expires_ms = MAX(expires, clock_wall_ms() + RENEW_MS + SHORTEST_MS);
    return 0;
}

int s3_credentials_get(struct s3_credentials *c, struct s3_secret *ret_secret, struct err *err)
{
    int r = 0;
    pthread_mutex_lock(&c->lock);
    if (c->role && c->expires_ms - RENEW_MS < clock_wall_ms())
        r = renew(c, err);
    if (r == 0)
        *ret_secret = (struct s3_secret){xstrdup(c->secret.access), xstrdup(c->secret.secret),
                                         str_dup(str_of(c->secret.token))};
    pthread_mutex_unlock(&c->lock);
    return r;
}

bool s3_credentials_renew(struct s3_credentials *c)
{
    pthread_mutex_lock(&c->lock);
    c->expires_ms = 0;
    bool there = c->role != NULL;
    pthread_mutex_unlock(&c->lock);
    return there;
}

void s3_credentials_set(struct s3_credentials *c, const char *access_key, const char *secret_key,
                        const char *session_token)
{
    pthread_mutex_lock(&c->lock);
    set_text(&c->secret.access, str_of(access_key));
    set_text(&c->secret.secret, str_of(secret_key));
    wipe_text(&c->secret.token);
    c->secret.token = session_token ? xstrdup(session_token) : NULL;
    wipe_text(&c->role);
    pthread_mutex_unlock(&c->lock);
}

bool s3_credentials_in(struct s3_credentials *c, str text)
{
    bool found = false;
    pthread_mutex_lock(&c->lock);
    const char *const secrets[] = {c->secret.access, c->secret.secret, c->secret.token};
    for (size_t i = 0; i < ARRAY_LEN(secrets); i++)
        found = found || (secrets[i] && *secrets[i] && text.n &&
                          memmem(text.p, text.n, secrets[i], strlen(secrets[i])));
    pthread_mutex_unlock(&c->lock);
    return found;
}
