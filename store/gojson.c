#include "store/gojson.h"

/* One rune of UTF-8 at the start of s: its length, or 0 for an invalid byte (surrogates and
 * overlong forms are invalid, as in Go). */
static size_t decode_rune(str s, uint32_t *ret)
{
    const uint8_t *p = (const uint8_t *)s.p;
    if (p[0] < 0x80) {
        *ret = p[0];
        return 1;
    }
    size_t n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || s.n < n)
        return 0;
    uint32_t rune = p[0] & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        rune = rune << 6 | (p[i] & 0x3f);
    }
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (rune < least[n] || rune > 0x10ffff || (rune >= 0xd800 && rune < 0xe000))
        return 0;
    *ret = rune;
    return n;
}

void gojson_add_rune(struct buf *out, uint32_t r)
{
    char c[4];
    size_t n = 0;
    if (r < 0x80) {
        c[n++] = (char)r;
    } else if (r < 0x800) {
        c[n++] = (char)(0xc0 | r >> 6);
        c[n++] = (char)(0x80 | (r & 0x3f));
    } else if (r < 0x10000) {
        c[n++] = (char)(0xe0 | r >> 12);
        c[n++] = (char)(0x80 | (r >> 6 & 0x3f));
        c[n++] = (char)(0x80 | (r & 0x3f));
    } else {
        c[n++] = (char)(0xf0 | r >> 18);
        c[n++] = (char)(0x80 | (r >> 12 & 0x3f));
        c[n++] = (char)(0x80 | (r >> 6 & 0x3f));
        c[n++] = (char)(0x80 | (r & 0x3f));
    }
    buf_add(out, c, n);
}

bool gojson_utf8(str s)
{
    uint32_t rune;
    for (size_t i = 0, n; i < s.n; i += n)
        if ((n = decode_rune((str){s.p + i, s.n - i}, &rune)) == 0)
            return false;
    return true;
}

void gojson_add_valid(struct buf *out, str s)
{
    uint32_t rune;
    for (size_t i = 0, n; i < s.n; i += n ? n : 1) {
        n = decode_rune((str){s.p + i, s.n - i}, &rune);
        gojson_add_rune(out, n ? rune : 0xfffd);
    }
}

/* The letter of a two-character escape, or 0. */
static char short_escape(char c)
{
    switch (c) {
    case '"':
    case '\\':
        return c;
    case '\b':
        return 'b';
    case '\f':
        return 'f';
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    default:
        return 0;
    }
}

static bool plain_in_json(unsigned char c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\' && c != '<' && c != '>' && c != '&';
}

void gojson_string(struct buf *out, str s)
{
    buf_putc(out, '"');
    for (size_t i = 0; i < s.n;) {
        size_t run = i;
        while (run < s.n && plain_in_json((unsigned char)s.p[run]))
            run++;
        if (run > i) {
            buf_add(out, s.p + i, run - i);
            i = run;
            continue;
        }
        uint32_t rune;
        size_t n = decode_rune((str){s.p + i, s.n - i}, &rune);
        char letter = n == 1 ? short_escape((char)rune) : 0;
        if (n == 0)
            buf_puts(out, "\\ufffd");
        else if (letter)
            buf_add(out, (char[]){'\\', letter}, 2);
        else if (rune < 0x80 && rune != 0x7f)
            buf_printf(out, "\\u%04x", (unsigned)rune);
        else if (rune == 0x2028 || rune == 0x2029)
            buf_printf(out, "\\u%04x", (unsigned)rune);
        else
            buf_add(out, s.p + i, n);
        i += n ? n : 1;
    }
    buf_putc(out, '"');
}

/* strconv.Quote without the quotes. */
static void quote(struct buf *out, str s)
{
    for (size_t i = 0, n; i < s.n; i += n ? n : 1) {
        uint32_t rune;
        n = decode_rune((str){s.p + i, s.n - i}, &rune);
        char letter = n == 1 ? short_escape((char)rune) : 0;
        if (n == 1 && rune == '\a')
            letter = 'a';
        if (n == 1 && rune == '\v')
            letter = 'v';
        if (n == 0)
            buf_printf(out, "\\x%02x", (unsigned char)s.p[i]);
        else if (letter)
            buf_add(out, (char[]){'\\', letter}, 2);
        else if (gojson_printable(rune))
            buf_add(out, s.p + i, n);
        else if (rune < 0x20 || rune == 0x7f)
            buf_printf(out, "\\x%02x", (unsigned)rune);
        else if (rune < 0x10000)
            buf_printf(out, "\\u%04x", (unsigned)rune);
        else
            buf_printf(out, "\\U%08x", (unsigned)rune);
    }
}

static bool is_plain_name(str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!plain_in_json((unsigned char)s.p[i]) || s.p[i] == 0x7f)
            return false;
    return true;
}

void gojson_name(struct buf *out, str name)
{
    if (is_plain_name(name)) {
        buf_putc(out, '"');
        buf_str(out, name);
        buf_putc(out, '"');
        return;
    }
    struct buf quoted CLEANUP(buf_free) = {0};
    quote(&quoted, name);
    gojson_string(out, buf_view(&quoted));
}

/* n digits of base 8 or 16 at s; false if they are not that. */
static bool read_digits(str s, size_t n, unsigned base, uint32_t *ret)
{
    uint32_t v = 0;
    if (s.n < n)
        return false;
    for (size_t i = 0; i < n; i++) {
        unsigned c = (unsigned char)s.p[i];
        unsigned d = c >= '0' && c <= '9'   ? c - '0'
                     : c >= 'a' && c <= 'f' ? c - 'a' + 10
                     : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                            : 99;
        if (d >= base)
            return false;
        v = v * base + d;
    }
    *ret = v;
    return true;
}

/* One escape after its backslash: how many bytes it took, or 0. */
static size_t unescape(struct buf *out, str s)
{
    static const char letters[] = "abfnrtv\\\"", bytes[] = "\a\b\f\n\r\t\v\\\"";
    if (s.n == 0)
        return 0;
    const char *at = s.p[0] ? strchr(letters, s.p[0]) : NULL;
    if (at) {
        buf_putc(out, bytes[at - letters]);
        return 1;
    }
    str rest = {s.p + 1, s.n - 1};
    uint32_t v;
    if (s.p[0] == 'x' && read_digits(rest, 2, 16, &v)) {
        buf_putc(out, (char)v);
        return 3;
    }
    if (s.p[0] >= '0' && s.p[0] <= '7' && read_digits(s, 3, 8, &v) && v < 256) {
        buf_putc(out, (char)v);
        return 3;
    }
    size_t n = s.p[0] == 'u' ? 4 : s.p[0] == 'U' ? 8 : 0;
    if (n == 0 || !read_digits(rest, n, 16, &v) || v > 0x10ffff || (v >= 0xd800 && v < 0xe000))
        return 0;
    gojson_add_rune(out, v);
    return n + 1;
}

bool gojson_unquote(struct buf *out, str quoted)
{
    for (size_t i = 0; i < quoted.n;) {
        char c = quoted.p[i];
        if (c == '"' || c == '\n')
            return false;
        if (c != '\\') {
            buf_putc(out, c);
            i++;
            continue;
        }
        size_t n = unescape(out, (str){quoted.p + i + 1, quoted.n - i - 1});
        if (n == 0)
            return false;
        i += n + 1;
    }
    return true;
}
