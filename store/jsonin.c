#include "store/jsonin.h"

#include "store/gojson.h"

#include <stdlib.h>

enum { DEPTH = 64 }; /* of values that are skipped */

void json_in_text(struct json_in *in, str text, struct err *err)
{
    *in = (struct json_in){.p = text.p, .start = text.p, .err = err, .string_max = 1u << 20};
    in->end = text.n ? text.p + text.n : text.p;
}

void json_in_pieces(struct json_in *in, int (*more)(void *ctx, str *ret_piece, struct err *err),
                    void *ctx, struct err *err)
{
    *in = (struct json_in){.more = more, .ctx = ctx, .err = err, .string_max = 1u << 20};
}

void json_in_free(struct json_in *in)
{
    buf_free(&in->text);
}

int json_in_fail(struct json_in *in, const char *what)
{
    if (in->failed)
        return -1;
    in->failed = true;
    uint64_t at = in->before + (in->p ? (uint64_t)(in->p - in->start) : 0);
    return err_set(in->err, ERR_CORRUPT, "%s at offset %llu", what, (unsigned long long)at);
}

/* 1: there is a byte at p; 0: the text has ended; < 0: it failed. */
static int fill(struct json_in *in)
{
    while (in->p == in->end) {
        if (in->failed)
            return -1;
        if (!in->more)
            return 0;
        in->before += in->p ? (uint64_t)(in->end - in->start) : 0;
        in->p = in->end = in->start = NULL;
        str piece = {0};
        int r = in->more(in->ctx, &piece, in->err);
        if (r < 0) {
            in->failed = true;
            return -1;
        }
        if (r == 0)
            return 0;
        in->p = in->start = piece.p;
        in->end = piece.n ? piece.p + piece.n : piece.p;
    }
    return in->failed ? -1 : 1;
}

/* The next byte after white space, still to be read; '\0' at the end of the text or on failure. */
static char peek(struct json_in *in)
{
    while (fill(in) > 0) {
        char c = *in->p;
        if (c != ' ' && c != '\n' && c != '\t' && c != '\r')
            return c;
        in->p++;
    }
    return '\0';
}

static int expect(struct json_in *in, char c, const char *otherwise)
{
    if (peek(in) != c || in->failed)
        return json_in_fail(in, otherwise);
    in->p++;
    return 0;
}

int json_in_object(struct json_in *in)
{
    return expect(in, '{', "expected an object");
}

int json_in_members(struct json_in *in, int (*member)(void *ctx, struct json_in *in, str key),
                    void *ctx)
{
    bool first = true;
    str key;
    int r;
    if (json_in_object(in) < 0)
        return -1;
    while ((r = json_in_key(in, &first, &key)) > 0)
        if (member(ctx, in, key) < 0)
            return -1;
    return r;
}

int json_in_array(struct json_in *in)
{
    return expect(in, '[', "expected an array");
}

/* Steps to the next member: 1, or 0 past the closing bracket. */
static int next(struct json_in *in, bool *first, char closing)
{
    char c = peek(in);
    if (in->failed)
        return -1;
    if (c == closing) {
        in->p++;
        return 0;
    }
    if (!*first && expect(in, ',', "expected a comma") < 0)
        return -1;
    *first = false;
    return 1;
}

int json_in_key(struct json_in *in, bool *first, str *ret_key)
{
    int r = next(in, first, '}');
    if (r <= 0)
        return r;
    if (json_in_string(in, ret_key) < 0 || expect(in, ':', "expected a colon") < 0)
        return -1;
    return 1;
}

int json_in_item(struct json_in *in, bool *first)
{
    int r = next(in, first, ']');
    if (r > 0 && peek(in) == ']')
        return json_in_fail(in, "a comma before the end of an array");
    return r;
}

static int take_hex4(struct json_in *in, uint32_t *ret)
{
    uint32_t v = 0;
    for (int i = 0; i < 4; i++) {
        if (fill(in) <= 0)
            return json_in_fail(in, "the text ends within a string");
        unsigned c = (unsigned char)*in->p++;
        unsigned d = c >= '0' && c <= '9'   ? c - '0'
                     : c >= 'a' && c <= 'f' ? c - 'a' + 10
                     : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                            : 99;
        if (d > 15)
            return json_in_fail(in, "a \\u escape without four hex digits");
        v = v << 4 | d;
    }
    *ret = v;
    return 0;
}

/* A pair of surrogates becomes one rune; a single one becomes U+FFFD, as in Go. */
static int take_unicode(struct json_in *in)
{
    uint32_t v = 0, low = 0;
    if (take_hex4(in, &v) < 0)
        return -1;
    while (v >= 0xd800 && v < 0xdc00) {
        if (fill(in) <= 0 || *in->p != '\\')
            break;
        in->p++;
        if (fill(in) <= 0)
            return json_in_fail(in, "the text ends within a string");
        if (*in->p != 'u') {
            /* Another escape follows the single surrogate; its backslash is read already. */
            gojson_add_rune(&in->text, 0xfffd);
            return 1;
        }
        in->p++;
        if (take_hex4(in, &low) < 0)
            return -1;
        if (low >= 0xdc00 && low < 0xe000) {
            gojson_add_rune(&in->text, 0x10000 + ((v - 0xd800) << 10) + (low - 0xdc00));
            return 0;
        }
        gojson_add_rune(&in->text, 0xfffd);
        v = low;
    }
    gojson_add_rune(&in->text, v >= 0xd800 && v < 0xe000 ? 0xfffd : v);
    return 0;
}

/* After a backslash. 1: another backslash was read after it. */
static int take_escape(struct json_in *in)
{
    static const char letters[] = "\"\\/bfnrt", bytes[] = "\"\\/\b\f\n\r\t";
    if (fill(in) <= 0)
        return json_in_fail(in, "the text ends within a string");
    char c = *in->p++;
    if (c == 'u')
        return take_unicode(in);
    const char *at = c ? strchr(letters, c) : NULL;
    if (!at)
        return json_in_fail(in, "an unknown escape");
    buf_putc(&in->text, bytes[at - letters]);
    return 0;
}

/* Each byte that is not UTF-8 becomes U+FFFD, as in Go. */
static void replace_invalid(struct buf *text)
{
    struct buf old CLEANUP(buf_free) = *text;
    *text = (struct buf){0};
    gojson_add_valid(text, buf_view(&old));
}

int json_in_string(struct json_in *in, str *ret)
{
    if (expect(in, '"', "expected a string") < 0)
        return -1;
    buf_reset(&in->text);
    for (;;) {
        if (fill(in) <= 0)
            return json_in_fail(in, "the text ends within a string");
        const char *run = in->p;
        while (in->p < in->end && *in->p != '"' && *in->p != '\\' && (unsigned char)*in->p >= 0x20)
            in->p++;
        buf_add(&in->text, run, (size_t)(in->p - run));
        if (in->text.n > in->string_max)
            return json_in_fail(in, "a string is too long");
        if (in->p == in->end)
            continue;
        char c = *in->p++;
        if (c == '"')
            break;
        if (c != '\\')
            return json_in_fail(in, "a control character within a string");
        int again;
        do
            again = take_escape(in);
        while (again > 0);
        if (again < 0)
            return -1;
    }
    if (!gojson_utf8(buf_view(&in->text)))
        replace_invalid(&in->text);
    *ret = in->text.p ? buf_view(&in->text) : STR("");
    return 0;
}

int json_in_u64(struct json_in *in, uint64_t *ret)
{
    char c = peek(in);
    if (in->failed || c < '0' || c > '9')
        return json_in_fail(in, "expected a whole number");
    uint64_t v = 0;
    int digits = 0;
    while (fill(in) > 0 && *in->p >= '0' && *in->p <= '9') {
        unsigned d = (unsigned)(*in->p++ - '0');
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, d, &v))
            return json_in_fail(in, "a number is too large");
        digits++;
    }
    if (in->failed || (c == '0' && digits > 1))
        return json_in_fail(in, "a number with a leading zero");
    if (in->p < in->end && (*in->p == '.' || *in->p == 'e' || *in->p == 'E'))
        return json_in_fail(in, "expected a whole number");
    *ret = v;
    return 0;
}

int json_in_u32(struct json_in *in, uint32_t *ret)
{
    uint64_t v;
    if (json_in_u64(in, &v) < 0)
        return -1;
    if (v > UINT32_MAX)
        return json_in_fail(in, "a number is too large");
    *ret = (uint32_t)v;
    return 0;
}

int json_in_i64(struct json_in *in, int64_t *ret)
{
    bool minus = peek(in) == '-';
    uint64_t v;
    if (minus)
        in->p++;
    if (json_in_u64(in, &v) < 0)
        return -1;
    if (v > INT64_MAX)
        return json_in_fail(in, "a number is too large");
    *ret = minus ? -(int64_t)v : (int64_t)v;
    return 0;
}

static int take_word(struct json_in *in, const char *word)
{
    for (; *word; word++, in->p++)
        if (fill(in) <= 0 || *in->p != *word)
            return json_in_fail(in, "an unknown word");
    return 0;
}

int json_in_bool(struct json_in *in, bool *ret)
{
    bool value = peek(in) == 't';
    if (take_word(in, value ? "true" : "false") < 0)
        return -1;
    *ret = value;
    return 0;
}

int json_in_null(struct json_in *in)
{
    if (peek(in) != 'n')
        return in->failed ? -1 : 0;
    return take_word(in, "null") < 0 ? -1 : 1;
}

static int skip_number(struct json_in *in)
{
    while (fill(in) > 0 && *in->p && strchr("+-.eE0123456789", *in->p))
        in->p++;
    return in->failed ? -1 : 0;
}

static int skip_scalar(struct json_in *in, char c)
{
    str ignored;
    switch (c) {
    case '"':
        return json_in_string(in, &ignored);
    case 't':
        return take_word(in, "true");
    case 'f':
        return take_word(in, "false");
    case 'n':
        return take_word(in, "null");
    default:
        if (c != '-' && (c < '0' || c > '9'))
            return json_in_fail(in, "expected a value");
        return skip_number(in);
    }
}

static int skip_at(struct json_in *in, int depth)
{
    char c = peek(in);
    if (in->failed)
        return -1;
    if (c != '{' && c != '[')
        return skip_scalar(in, c);
    if (depth == DEPTH)
        return json_in_fail(in, "values are nested too deep");
    in->p++;
    bool first = true;
    str key;
    int r;
    while ((r = c == '{' ? json_in_key(in, &first, &key) : json_in_item(in, &first)) > 0)
        if (skip_at(in, depth + 1) < 0)
            return -1;
    return r;
}

int json_in_skip(struct json_in *in)
{
    return skip_at(in, 0);
}

int json_in_end(struct json_in *in)
{
    if (peek(in) != '\0' || in->p != in->end)
        return json_in_fail(in, "something follows the value");
    return in->failed ? -1 : 0;
}
