#include "store/s3_place.h"

#include "store/sigv4.h"

#include <stdlib.h>

static bool is_host(str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              strchr("-._:[]", c ? c : ' ')))
            return false;
    }
    return s.n > 0;
}

/* Names as AWS, MinIO and older servers have them; nothing that an URL would take for more. */
static bool is_bucket(str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              strchr("-._", c ? c : ' ')))
            return false;
    }
    return s.n >= 3 && s.n <= 255 && s.p[0] != '.';
}

/* "https://host" or "host" into scheme and host. */
static int cut_scheme(str *s, bool *ret_tls, struct err *err)
{
    *ret_tls = !str_starts(*s, "http://");
    size_t n = !*ret_tls ? strlen("http://") : str_starts(*s, "https://") ? strlen("https://") : 0;
    *s = (str){s->p + n, s->n - n};
    while (s->n && s->p[s->n - 1] == '/')
        s->n--;
    if (s->n && memchr(s->p, '@', s->n))
        return err_set(err, ERR_INVALID,
                       "an S3 endpoint holds no user or password: give them as AWS_ACCESS_KEY_ID "
                       "and AWS_SECRET_ACCESS_KEY");
    if (!is_host(*s))
        return err_set(err, ERR_INVALID, "'%.*s' is no host of an S3 endpoint", STR_FMT(*s));
    return 0;
}

/* restic cleans the path: no empty elements, no '.'. */
static int clean_prefix(str prefix, char **ret, struct err *err)
{
    struct buf out = {0};
    while (prefix.p) {
        str element = str_cut(&prefix, '/');
        if (str_is(element, "..")) {
            buf_free(&out);
            return err_set(err, ERR_INVALID, "the prefix in the bucket cannot have '..' in it");
        }
        if (element.n && !str_is(element, "."))
            buf_printf(&out, "%.*s/", STR_FMT(element));
    }
    *ret = buf_take(&out);
    return 0;
}

/* "s3.eu-west-1.amazonaws.com" names its region. */
static char *region_of(const char *wanted, str host)
{
    const char *named[] = {wanted, getenv("AWS_REGION"), getenv("AWS_DEFAULT_REGION")};
    for (size_t i = 0; i < ARRAY_LEN(named); i++)
        if (named[i] && *named[i])
            return xstrdup(named[i]);
    str rest = host, first = str_cut(&rest, '.'), region = str_cut(&rest, '.');
    if (str_is(first, "s3") && str_is(region, "dualstack"))
        region = str_cut(&rest, '.');
    if (str_is(first, "s3") && str_starts(rest, "amazonaws.com"))
        return str_dup(region);
    return xstrdup("us-east-1");
}

int s3_place_make(const struct backend_s3_options *o, struct s3_place *ret_place, struct err *err)
{
    str host = str_of(o->endpoint), bucket = str_of(o->bucket);
    bool tls;
    char *prefix;
    if (cut_scheme(&host, &tls, err) < 0)
        return -1;
    if (!is_bucket(bucket))
        return err_set(err, ERR_INVALID, "'%s' is no name of a bucket", o->bucket ? o->bucket : "");
    if (clean_prefix(str_of(o->prefix), &prefix, err) < 0)
        return -1;
    struct s3_place p = {.prefix = prefix, .name = str_dup(bucket)};
    p.region = region_of(o->region, host);
    char *own CLEANUP(free_p) = NULL;
    if (str_is(host, "s3.amazonaws.com") && !streq(p.region, "us-east-1")) {
        own = xasprintf("s3.%s.amazonaws.com", p.region);
        host = str_of(own);
    }
    /* A certificate of *.amazonaws.com does not hold for names with a dot. */
    bool amazon = str_ends(host, ".amazonaws.com") || str_ends(host, ".amazonaws.com.cn");
    bool in_host = o->lookup == S3_LOOKUP_HOST ||
                   (o->lookup == S3_LOOKUP_AUTO && amazon && !strchr(p.name, '.'));
    p.host = in_host ? xasprintf("%s.%.*s", p.name, STR_FMT(host)) : str_dup(host);
    p.origin = xasprintf("%s://%s", tls ? "https" : "http", p.host);
    const char *port = tls ? ":443" : ":80";
    if (str_ends(str_of(p.host), port))
        p.host[strlen(p.host) - strlen(port)] = '\0';
    p.bucket = in_host ? xstrdup("") : xasprintf("/%s", p.name);
    *ret_place = p;
    return 0;
}

void s3_place_free(struct s3_place *p)
{
    free(p->origin);
    free(p->host);
    free(p->bucket);
    free(p->name);
    free(p->prefix);
    free(p->region);
    *p = (struct s3_place){0};
}

/* Go's url.Path is decoded. */
static char *decode(str s)
{
    struct buf out = {0};
    for (size_t i = 0; i < s.n; i++) {
        uint8_t byte;
        if (s.p[i] == '%' && i + 2 < s.n && hex_decode((str){s.p + i + 1, 2}, &byte, 1)) {
            buf_putc(&out, (char)byte);
            i += 2;
        } else {
            buf_putc(&out, s.p[i]);
        }
    }
    return buf_take(&out);
}

int s3_place_parse(const char *url, char **ret_endpoint, char **ret_bucket, char **ret_prefix,
                   struct err *err)
{
    str all = str_of(url), rest = all;
    bool is_url = str_starts(all, "http://") || str_starts(all, "https://");
    if (is_url)
        rest = (str){strstr(all.p, "://") + 3, 0};
    else if (str_starts(all, "//"))
        rest = (str){all.p + 2, 0};
    rest.n = strlen(rest.p);
    str host = str_cut(&rest, '/');
    const char *begin = is_url ? all.p : host.p;
    str endpoint = {begin, (size_t)(host.p + host.n - begin)};
    while (rest.n && rest.p[0] == '/')
        rest = (str){rest.p + 1, rest.n - 1};
    str bucket = str_cut(&rest, '/');
    if (host.n == 0 || bucket.n == 0)
        return err_set(err, ERR_INVALID,
                       "an S3 repository is written s3:https://HOST/BUCKET/PREFIX or "
                       "s3:HOST/BUCKET/PREFIX");
    *ret_endpoint = str_dup(endpoint);
    *ret_bucket = str_dup(bucket);
    *ret_prefix = is_url ? decode(rest) : str_dup(rest.p ? rest : STR(""));
    return 0;
}
