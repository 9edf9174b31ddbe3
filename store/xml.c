#include "store/xml.h"

#include "store/gojson.h"

void xml_in_text(struct xml_in *in, str text)
{
    *in = (struct xml_in){.rest = text, .text.cap = XML_TEXT_MAX};
}

void xml_in_free(struct xml_in *in)
{
    buf_free(&in->text);
}

static int bad(struct err *err, const char *what)
{
    return err_set(err, ERR_CORRUPT, "the server's XML is damaged: %s", what);
}

static void skip(struct xml_in *in, size_t n)
{
    in->rest.p += n;
    in->rest.n -= n;
}

/* Cuts at the first `mark` and leaves what follows it; false if there is none. */
static bool cut_at(struct xml_in *in, const char *mark, str *ret_before)
{
    size_t n = strlen(mark);
    const char *at = in->rest.n ? memmem(in->rest.p, in->rest.n, mark, n) : NULL;
    if (!at)
        return false;
    *ret_before = (str){in->rest.p, (size_t)(at - in->rest.p)};
    skip(in, ret_before->n + n);
    return true;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* "amp", "#38", "#x26" */
static bool add_reference(struct buf *out, str name)
{
    static const struct {
        const char *name;
        char c;
    } named[] = {{"amp", '&'}, {"lt", '<'}, {"gt", '>'}, {"quot", '"'}, {"apos", '\''}};
    for (size_t i = 0; i < ARRAY_LEN(named); i++)
        if (str_is(name, named[i].name)) {
            buf_putc(out, named[i].c);
            return true;
        }
    uint32_t rune = 0, base = 10;
    size_t i = 1;
    if (name.n < 2 || name.n > 9 || name.p[0] != '#')
        return false;
    if (name.p[1] == 'x') {
        base = 16;
        i = 2;
    }
    if (i == name.n)
        return false;
    for (; i < name.n; i++) {
        char c = name.p[i];
        uint32_t d = c >= '0' && c <= '9'   ? (uint32_t)(c - '0')
                     : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a' + 10)
                     : c >= 'A' && c <= 'F' ? (uint32_t)(c - 'A' + 10)
                                            : 99;
        if (d >= base || (rune = rune * base + d) > 0x10ffff)
            return false;
    }
    gojson_add_rune(out, rune);
    return true;
}

static int add_text(struct xml_in *in, str raw, struct err *err)
{
    for (size_t i = 0; i < raw.n;) {
        const char *p = raw.p + i, *amp = memchr(p, '&', raw.n - i);
        size_t plain = amp ? (size_t)(amp - p) : raw.n - i;
        buf_add(&in->text, p, plain);
        i += plain;
        if (!amp)
            break;
        const char *end = memchr(amp, ';', MIN(raw.n - i, (size_t)12));
        if (!end || !add_reference(&in->text, (str){amp + 1, (size_t)(end - amp) - 1}))
            return bad(err, "an unknown reference");
        i += (size_t)(end - amp) + 1;
    }
    return in->text.overflow ? bad(err, "a text is too long") : 0;
}

/* A start tag's name, without what its attributes say; *ret_alone: it ends with "/>". */
static int read_tag(struct xml_in *in, str *ret_name, bool *ret_alone, struct err *err)
{
    char quote = 0;
    size_t n = 0;
    for (; n < in->rest.n && (quote || in->rest.p[n] != '>'); n++) {
        char c = in->rest.p[n];
        if (quote)
            quote = c == quote ? 0 : quote;
        else if (c == '"' || c == '\'')
            quote = c;
        else if (c == '<')
            return bad(err, "a '<' inside a tag");
    }
    if (n == in->rest.n)
        return bad(err, "it ends inside a tag");
    str tag = {in->rest.p, n};
    skip(in, n + 1);
    *ret_alone = tag.n && tag.p[tag.n - 1] == '/';
    if (*ret_alone)
        tag.n--;
    for (n = 0; n < tag.n && !is_space(tag.p[n]); n++)
        ;
    tag.n = n;
    const char *colon = tag.n ? memchr(tag.p, ':', tag.n) : NULL;
    if (colon) {
        tag.n -= (size_t)(colon - tag.p) + 1;
        tag.p = colon + 1;
    }
    if (tag.n == 0)
        return bad(err, "a tag without a name");
    *ret_name = tag;
    return 0;
}

static int open_element(struct xml_in *in, struct err *err)
{
    str name;
    if (read_tag(in, &name, &in->alone, err) < 0)
        return -1;
    if (in->depth == 0 && in->begun)
        return bad(err, "a second root");
    if (in->depth == XML_DEPTH_MAX)
        return bad(err, "too many elements in each other");
    in->begun = true;
    in->name[in->depth++] = name;
    buf_reset(&in->text);
    return XML_OPEN;
}

static int close_element(struct xml_in *in, struct err *err)
{
    str name;
    bool alone;
    if (read_tag(in, &name, &alone, err) < 0)
        return -1;
    if (alone || in->depth == 0 || !str_eq(name, in->name[in->depth - 1]))
        return bad(err, "an end without its beginning");
    in->closed = true;
    return XML_CLOSE;
}

/* Comments, instructions, CDATA; 1 if there was one. */
static int read_other(struct xml_in *in, struct err *err)
{
    static const struct {
        const char *begin, *end;
        bool text;
    } kinds[] = {{"<!--", "-->", false}, {"<?", "?>", false}, {"<![CDATA[", "]]>", true}};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        str inner;
        if (!str_starts(in->rest, kinds[i].begin))
            continue;
        skip(in, strlen(kinds[i].begin));
        if (!cut_at(in, kinds[i].end, &inner))
            return bad(err, "it ends inside a comment or text");
        if (kinds[i].text && in->depth)
            buf_str(&in->text, inner);
        return in->text.overflow ? bad(err, "a text is too long") : 1;
    }
    return 0;
}

int xml_next(struct xml_in *in, struct err *err)
{
    if (in->closed) {
        in->depth--;
        in->closed = false;
        buf_reset(&in->text);
    }
    if (in->alone) {
        in->alone = false;
        in->closed = true;
        return XML_CLOSE;
    }
    if (!in->begun && str_starts(in->rest, "\xef\xbb\xbf"))
        skip(in, 3);
    while (in->rest.n) {
        const char *less = memchr(in->rest.p, '<', in->rest.n);
        str text = {in->rest.p, less ? (size_t)(less - in->rest.p) : in->rest.n};
        skip(in, text.n);
        if (in->depth == 0 ? str_trim(text).n > 0 : add_text(in, text, err) < 0)
            return in->depth ? -1 : bad(err, "text outside the root");
        int other = in->rest.n ? read_other(in, err) : 0;
        if (other < 0)
            return -1;
        if (other > 0 || in->rest.n == 0)
            continue;
        if (str_starts(in->rest, "<!"))
            return bad(err, "a DOCTYPE");
        bool end = str_starts(in->rest, "</");
        skip(in, end ? 2 : 1);
        return end ? close_element(in, err) : open_element(in, err);
    }
    return in->depth || !in->begun ? bad(err, "it is cut short") : XML_END;
}

bool xml_is(const struct xml_in *in, const char *path)
{
    str rest = str_of(path);
    size_t i = 0;
    for (; rest.p && i < in->depth; i++)
        if (!str_eq(str_cut(&rest, '/'), in->name[i]))
            return false;
    return !rest.p && i == in->depth;
}

int xml_find(str text, const struct xml_wanted *wanted, size_t n, struct err *err)
{
    struct xml_in in CLEANUP(xml_in_free);
    int event;
    xml_in_text(&in, text);
    while ((event = xml_next(&in, err)) > 0)
        for (size_t i = 0; event == XML_CLOSE && i < n; i++)
            if (wanted[i].text->n == 0 && str_is(in.name[in.depth - 1], wanted[i].name))
                buf_str(wanted[i].text, str_trim(buf_view(&in.text)));
    return event;
}

void xml_escape(struct buf *out, str s)
{
    for (size_t i = 0; i < s.n; i++) {
        switch (s.p[i]) {
        case '&':
            buf_puts(out, "&amp;");
            break;
        case '<':
            buf_puts(out, "&lt;");
            break;
        case '>':
            buf_puts(out, "&gt;");
            break;
        case '"':
            buf_puts(out, "&quot;");
            break;
        case '\'':
            buf_puts(out, "&apos;");
            break;
        default:
            buf_putc(out, s.p[i]);
        }
    }
}
