#include "core/jsonscan.h"

#include <stdarg.h>

/* The scanner: a cursor over [p, end). A failed step sets p to NULL. */
struct cursor {
    const char *p, *end;
};

static void skip_space(struct cursor *c)
{
    while (c->p < c->end && (*c->p == ' ' || *c->p == '\n' || *c->p == '\t' || *c->p == '\r'))
        c->p++;
}

static bool scan_string(struct cursor *c)
{
    const char *p = c->p + 1;
    while (p < c->end) {
        unsigned char ch = (unsigned char)*p;
        if (ch == '"') {
            c->p = p + 1;
            return true;
        }
        if (ch < 0x20)
            return false;
        if (ch != '\\') {
            p++;
            continue;
        }
        if (++p >= c->end || !*p || !strchr("\"\\/bfnrtu", *p))
            return false;
        if (*p == 'u') {
            for (int i = 1; i <= 4; i++)
                if (p + i >= c->end || !p[i] || !strchr("0123456789abcdefABCDEF", p[i]))
                    return false;
            p += 4;
        }
        p++;
    }
    return false;
}

static bool scan_digits(struct cursor *c)
{
    const char *start = c->p;
    while (c->p < c->end && *c->p >= '0' && *c->p <= '9')
        c->p++;
    return c->p > start;
}

static bool scan_number(struct cursor *c)
{
    if (c->p < c->end && *c->p == '-')
        c->p++;
    if (c->p < c->end && *c->p == '0')
        c->p++;
    else if (!scan_digits(c))
        return false;
    if (c->p < c->end && *c->p == '.') {
        c->p++;
        if (!scan_digits(c))
            return false;
    }
    if (c->p < c->end && (*c->p == 'e' || *c->p == 'E')) {
        c->p++;
        if (c->p < c->end && (*c->p == '+' || *c->p == '-'))
            c->p++;
        if (!scan_digits(c))
            return false;
    }
    return true;
}

static bool scan_word(struct cursor *c)
{
    static const char *const words[] = {"true", "false", "null"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (str_starts((str){c->p, (size_t)(c->end - c->p)}, words[i])) {
            c->p += strlen(words[i]);
            return true;
        }
    }
    return false;
}

static bool scan_scalar(struct cursor *c)
{
    if (c->p >= c->end)
        return false;
    if (*c->p == '"')
        return scan_string(c);
    if (*c->p == '-' || (*c->p >= '0' && *c->p <= '9'))
        return scan_number(c);
    return scan_word(c);
}

static bool scan_key(struct cursor *c)
{
    skip_space(c);
    if (c->p >= c->end || *c->p != '"' || !scan_string(c))
        return false;
    skip_space(c);
    if (c->p >= c->end || *c->p != ':')
        return false;
    c->p++;
    return true;
}

/* One value of any depth, without recursion: `open` is the stack of containers. */
static bool scan_value(struct cursor *c)
{
    char open[JSON_DEPTH];
    size_t depth = 0;
    for (;;) {
        skip_space(c);
        if (c->p < c->end && (*c->p == '{' || *c->p == '[')) {
            char kind = *c->p++;
            if (depth == JSON_DEPTH)
                return false;
            skip_space(c);
            if (c->p < c->end && *c->p == (kind == '{' ? '}' : ']')) {
                c->p++;
            } else {
                open[depth++] = kind;
                if (kind == '{' && !scan_key(c))
                    return false;
                continue;
            }
        } else if (!scan_scalar(c)) {
            return false;
        }
        /* A value has ended: close what it closes, or go on to the next member. */
        for (;;) {
            if (depth == 0)
                return true;
            skip_space(c);
            if (c->p >= c->end)
                return false;
            char kind = open[depth - 1], ch = *c->p++;
            if (ch == ',') {
                if (kind == '{' && !scan_key(c))
                    return false;
                break;
            }
            if (ch != (kind == '{' ? '}' : ']'))
                return false;
            depth--;
        }
    }
}

str raw_value(str text, str *ret_rest)
{
    if (!text.p)
        return (str){0};
    struct cursor c = {text.p, text.p + text.n};
    skip_space(&c);
    const char *start = c.p;
    if (!scan_value(&c))
        return (str){0};
    if (ret_rest)
        *ret_rest = (str){c.p, (size_t)(c.end - c.p)};
    return (str){start, (size_t)(c.p - start)};
}

int raw_check(str text, struct err *err)
{
    if (!text.p || text.n == 0)
        return err_set(err, ERR_INVALID, "not JSON: it is empty");
    struct cursor c = {text.p, text.p + text.n};
    if (!scan_value(&c))
        return err_set(err, ERR_INVALID, "not JSON: unexpected byte near offset %zu",
                       (size_t)(c.p - text.p));
    skip_space(&c);
    if (c.p != c.end)
        return err_set(err, ERR_INVALID, "not JSON: text after the value, at offset %zu",
                       (size_t)(c.p - text.p));
    return 0;
}

struct raw_iter raw_iter(str container)
{
    str v = str_trim(container);
    struct raw_iter it = {0};
    if (v.n < 2 || (v.p[0] != '{' && v.p[0] != '[')) {
        it.bad = v.n != 0;
        return it;
    }
    it.object = v.p[0] == '{';
    it.rest = (str){v.p + 1, v.n - 1};
    return it;
}

bool raw_next(struct raw_iter *it, str *ret_key, str *ret_value)
{
    if (!it->rest.p || it->bad)
        return false;
    struct cursor c = {it->rest.p, it->rest.p + it->rest.n};
    skip_space(&c);
    if (c.p < c.end && *c.p == (it->object ? '}' : ']')) {
        it->rest = (str){0};
        return false;
    }
    it->bad = true;
    if (it->started) {
        if (c.p >= c.end || *c.p != ',')
            return false;
        c.p++;
        skip_space(&c);
    }
    str key = {0};
    if (it->object) {
        skip_space(&c);
        key.p = c.p;
        if (c.p >= c.end || *c.p != '"' || !scan_string(&c))
            return false;
        key.n = (size_t)(c.p - key.p);
        skip_space(&c);
        if (c.p >= c.end || *c.p++ != ':')
            return false;
        skip_space(&c);
    }
    const char *start = c.p;
    if (!scan_value(&c))
        return false;
    if (ret_key)
        *ret_key = key;
    if (ret_value)
        *ret_value = (str){start, (size_t)(c.p - start)};
    it->rest = (str){c.p, (size_t)(c.end - c.p)};
    it->bad = false;
    it->started = true;
    return true;
}

static unsigned hex4(const char *p)
{
    unsigned v = 0;
    for (int i = 0; i < 4; i++) {
        unsigned char ch = (unsigned char)p[i];
        v = v << 4 | (ch <= '9' ? ch - 48u : (ch | 0x20u) - 'a' + 10u);
    }
    return v;
}

static size_t put_utf8(char *out, unsigned cp)
{
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    if (cp < 0x800) {
        out[0] = (char)(0xc0 | cp >> 6);
        out[1] = (char)(0x80 | (cp & 63));
        return 2;
    }
    if (cp < 0x10000) {
        out[0] = (char)(0xe0 | cp >> 12);
        out[1] = (char)(0x80 | (cp >> 6 & 63));
        out[2] = (char)(0x80 | (cp & 63));
        return 3;
    }
    out[0] = (char)(0xf0 | cp >> 18);
    out[1] = (char)(0x80 | (cp >> 12 & 63));
    out[2] = (char)(0x80 | (cp >> 6 & 63));
    out[3] = (char)(0x80 | (cp & 63));
    return 4;
}

/* Decodes the escape at s[i] == '\\'; gives the bytes used in the input and puts the output. */
static size_t decode_escape(const char *s, size_t left, char *out, size_t *n)
{
    static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
    if (s[1] != 'u') {
        const char *at = strchr(from, s[1]);
        out[(*n)++] = at ? to[at - from] : s[1];
        return 2;
    }
    unsigned cp = hex4(s + 2);
    size_t used = 6;
    if (cp >= 0xd800 && cp < 0xdc00 && left >= 12 && s[6] == '\\' && s[7] == 'u') {
        unsigned low = hex4(s + 8);
        if (low >= 0xdc00 && low < 0xe000) {
            cp = 0x10000 + ((cp - 0xd800) << 10) + (low - 0xdc00);
            used = 12;
        }
    }
    if (cp >= 0xd800 && cp < 0xe000)
        cp = 0xfffd;
    *n += put_utf8(out + *n, cp);
    return used;
}

/* Decoded bytes of a raw string (with quotes) into out, which has room for value.n bytes. */
static size_t decode_string(str value, char *out)
{
    size_t n = 0;
    for (size_t i = 1; i + 1 < value.n;) {
        if (value.p[i] == '\\')
            i += decode_escape(value.p + i, value.n - 1 - i, out, &n);
        else
            out[n++] = value.p[i++];
    }
    return n;
}

static bool is_raw_string(str value)
{
    if (value.n < 2 || value.p[0] != '"')
        return false;
    struct cursor c = {value.p, value.p + value.n};
    return scan_string(&c) && c.p == c.end;
}

bool raw_is(str value, const char *s)
{
    if (!is_raw_string(value))
        return false;
    if (!memchr(value.p, '\\', value.n))
        return str_is((str){value.p + 1, value.n - 2}, s);
    char *out CLEANUP(free_p) = xmalloc(value.n);
    return str_is((str){out, decode_string(value, out)}, s);
}

str raw_string(struct arena *a, str value)
{
    if (!is_raw_string(value))
        return (str){0};
    char *out = arena_alloc(a, value.n);
    size_t n = decode_string(value, out);
    out[n] = '\0';
    return (str){out, n};
}

str raw_get(str object, const char *name)
{
    struct raw_iter it = raw_iter(object);
    str key, value, found = {0};
    if (!it.object)
        return found;
    while (raw_next(&it, &key, &value))
        if (raw_is(key, name))
            found = value;
    return found;
}

static str at_path(str object, va_list ap)
{
    for (const char *name; object.p && (name = va_arg(ap, const char *));)
        object = raw_get(object, name);
    return object;
}

str raw_at(str object, ...)
{
    va_list ap;
    va_start(ap, object);
    str v = at_path(object, ap);
    va_end(ap);
    return v;
}

char *raw_text(struct arena *a, str object, ...)
{
    va_list ap;
    va_start(ap, object);
    str v = at_path(object, ap);
    va_end(ap);
    return (char *)raw_string(a, v).p;
}

bool raw_int(str value, int64_t *ret)
{
    if (value.n == 0)
        return false;
    bool negative = value.p[0] == '-';
    uint64_t v;
    if (!str_u64((str){value.p + negative, value.n - negative}, &v) || v > INT64_MAX)
        return false;
    *ret = negative ? -(int64_t)v : (int64_t)v;
    return true;
}

/* Length of the valid UTF-8 sequence at p, 0 if it is not one. */
static size_t utf8_len(const unsigned char *p, size_t left)
{
    static const struct {
        unsigned char mask, lead, low, high;
        size_t n;
    } forms[] = {
        {0x80, 0x00, 0, 0, 1},       {0xe0, 0xc0, 0x80, 0xbf, 2}, {0xff, 0xe0, 0xa0, 0xbf, 3},
        {0xff, 0xed, 0x80, 0x9f, 3}, {0xf0, 0xe0, 0x80, 0xbf, 3}, {0xff, 0xf0, 0x90, 0xbf, 4},
        {0xff, 0xf4, 0x80, 0x8f, 4}, {0xf8, 0xf0, 0x80, 0xbf, 4},
    };
    if (p[0] == 0xc0 || p[0] == 0xc1 || p[0] > 0xf4)
        return 0;
    for (size_t f = 0; f < ARRAY_LEN(forms); f++) {
        if ((p[0] & forms[f].mask) != forms[f].lead)
            continue;
        if (forms[f].n > left)
            return 0;
        if (forms[f].n > 1 && (p[1] < forms[f].low || p[1] > forms[f].high))
            return 0;
        for (size_t i = 2; i < forms[f].n; i++)
            if ((p[i] & 0xc0) != 0x80)
                return 0;
        return forms[f].n;
    }
    return 0;
}

void raw_add_string(struct buf *b, str s)
{
    buf_putc(b, '"');
    for (size_t i = 0; i < s.n;) {
        unsigned char ch = (unsigned char)s.p[i];
        size_t n = utf8_len((const unsigned char *)s.p + i, s.n - i);
        if (n == 0) {
            buf_puts(b, "\\ufffd");
            i++;
        } else if (ch == '"' || ch == '\\') {
            char pair[2] = {'\\', (char)ch};
            buf_add(b, pair, 2);
            i++;
        } else if (ch < 0x20) {
            static const char escapes[] = "btn\0fr"; /* 0x08 ... 0x0d */
            if (ch >= 8 && ch <= 13 && escapes[ch - 8]) {
                char pair[2] = {'\\', escapes[ch - 8]};
                buf_add(b, pair, 2);
            } else {
                buf_printf(b, "\\u%04x", ch);
            }
            i++;
        } else {
            buf_add(b, s.p + i, n);
            i += n;
        }
    }
    buf_putc(b, '"');
}
