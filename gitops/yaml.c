#include "gitops/yaml.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <yaml.h>

#include "core/codec.h"
#include "core/jsonscan.h"
#include "core/map.h"

#define TAG "tag:yaml.org,2002:"

enum node_kind { NODE_SCALAR, NODE_LIST, NODE_MAP };

struct node {
    enum node_kind kind;
    str value;                       /* of a scalar */
    const char *tag;                 /* NULL: none */
    bool plain;                      /* a scalar whose meaning its text decides */
    struct node *item, *last, *next; /* of a map: key, value, key, value ... */
};

struct reader {
    yaml_parser_t parser;
    struct arena *a;
    struct map *anchors;
    size_t *budget;
};

/* ---- events to nodes ---- */

static int next_event(struct reader *r, yaml_event_t *ev, struct err *err)
{
    if (yaml_parser_parse(&r->parser, ev))
        return 0;
    return err_set(err, ERR_INVALID, "line %zu: %s", r->parser.problem_mark.line + 1,
                   r->parser.problem ? r->parser.problem : "not YAML");
}

static const char *tag_of(struct reader *r, const yaml_char_t *tag)
{
    return tag && *tag ? arena_strdup(r->a, (const char *)tag) : NULL;
}

static struct node *node_new(struct reader *r, enum node_kind kind, const yaml_char_t *anchor,
                             const yaml_char_t *tag)
{
    struct node *n = arena_new_of(r->a, struct node);
    n->kind = kind;
    n->tag = tag_of(r, tag);
    if (anchor)
        map_put(r->anchors, str_of((const char *)anchor), n);
    return n;
}

static int compose(struct reader *r, yaml_event_t *ev, int depth, struct node **ret,
                   struct err *err);

static int compose_items(struct reader *r, struct node *n, yaml_event_type_t end, int depth,
                         struct err *err)
{
    for (;;) {
        yaml_event_t ev CLEANUP(yaml_event_delete) = {0};
        if (next_event(r, &ev, err) < 0)
            return -1;
        if (ev.type == end)
            return 0;
        struct node *child;
        if (compose(r, &ev, depth + 1, &child, err) < 0)
            return -1;
        /* An alias is one node in two lists: each list gets a head of its own. */
        struct node *own = arena_new_of(r->a, struct node);
        own->item = child;
        if (n->last)
            n->last->next = own;
        else
            n->item = own;
        n->last = own;
    }
}

static int compose_alias(struct reader *r, const char *name, struct node **ret, struct err *err)
{
    *ret = map_get(r->anchors, str_of(name));
    if (!*ret)
        return err_set(err, ERR_INVALID, "an alias to an anchor that is not there");
    return 0;
}

static int compose(struct reader *r, yaml_event_t *ev, int depth, struct node **ret,
                   struct err *err)
{
    if (depth > YAML_DEPTH)
        return err_set(err, ERR_TOO_LARGE, "nested deeper than %d levels", YAML_DEPTH);
    switch ((int)ev->type) {
    case YAML_ALIAS_EVENT:
        return compose_alias(r, (const char *)ev->data.alias.anchor, ret, err);
    case YAML_SCALAR_EVENT:
        *ret = node_new(r, NODE_SCALAR, ev->data.scalar.anchor, ev->data.scalar.tag);
        (*ret)->plain = ev->data.scalar.plain_implicit;
        (*ret)->value =
            arena_str(r->a, (str){(const char *)ev->data.scalar.value, ev->data.scalar.length});
        return 0;
    case YAML_SEQUENCE_START_EVENT:
        *ret = node_new(r, NODE_LIST, ev->data.sequence_start.anchor, ev->data.sequence_start.tag);
        return compose_items(r, *ret, YAML_SEQUENCE_END_EVENT, depth, err);
    case YAML_MAPPING_START_EVENT:
        *ret = node_new(r, NODE_MAP, ev->data.mapping_start.anchor, ev->data.mapping_start.tag);
        return compose_items(r, *ret, YAML_MAPPING_END_EVENT, depth, err);
    default:
        return err_set(err, ERR_INVALID, "line %zu: not a value", ev->start_mark.line + 1);
    }
}

/* ---- scalars ---- */

enum scalar_kind { IS_STRING, IS_NULL, IS_BOOL, IS_INT, IS_UINT, IS_FLOAT };

struct scalar {
    enum scalar_kind kind;
    bool truth;
    int64_t i;
    uint64_t u;
    double f;
};

static const struct {
    enum scalar_kind kind;
    bool truth;
    double f;
    const char *words[9];
} words[] = {
    {IS_BOOL, true, 0, {"y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE"}},
    {IS_BOOL, true, 0, {"on", "On", "ON"}},
    {IS_BOOL, false, 0, {"n", "N", "no", "No", "NO", "false", "False", "FALSE"}},
    {IS_BOOL, false, 0, {"off", "Off", "OFF"}},
    {IS_NULL, false, 0, {"", "~", "null", "Null", "NULL"}},
    {IS_FLOAT, false, NAN, {".nan", ".NaN", ".NAN"}},
    {IS_FLOAT, false, INFINITY, {".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"}},
    {IS_FLOAT, false, -INFINITY, {"-.inf", "-.Inf", "-.INF"}},
};

static bool scalar_word(str text, struct scalar *ret)
{
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        for (size_t j = 0; words[i].words[j]; j++)
            if (str_is(text, words[i].words[j])) {
                *ret = (struct scalar){words[i].kind, words[i].truth, 0, 0, words[i].f};
                return true;
            }
    return false;
}

/* Digits of a base without sign, as Go's ParseUint does it. */
static bool digits(const char *p, unsigned base, uint64_t *ret)
{
    uint64_t v = 0;
    if (!*p)
        return false;
    for (; *p; p++) {
        unsigned d = *p >= '0' && *p <= '9'   ? (unsigned)(*p - '0')
                     : *p >= 'a' && *p <= 'f' ? (unsigned)(*p - 'a' + 10)
                     : *p >= 'A' && *p <= 'F' ? (unsigned)(*p - 'A' + 10)
                                              : 99;
        if (d >= base || __builtin_mul_overflow(v, base, &v) || __builtin_add_overflow(v, d, &v))
            return false;
    }
    *ret = v;
    return true;
}

/* Go's strconv.ParseInt and ParseUint with base 0. */
static bool scalar_int(const char *p, struct scalar *ret)
{
    bool negative = *p == '-', sign = negative || *p == '+';
    unsigned base = 10;
    uint64_t v;
    p += sign;
    if (*p == '0' && p[1]) {
        base = p[1] == 'x' || p[1] == 'X' ? 16 : p[1] == 'b' || p[1] == 'B' ? 2 : 8;
        p += base != 8 || p[1] == 'o' || p[1] == 'O' ? 2 : 1;
    }
    if (!digits(p, base, &v))
        return false;
    if (negative ? v <= (uint64_t)INT64_MAX + 1 : v <= INT64_MAX) {
        *ret = (struct scalar){.kind = IS_INT, .i = negative ? (int64_t)(0 - v) : (int64_t)v};
        return true;
    }
    *ret = (struct scalar){.kind = IS_UINT, .u = v};
    return !sign;
}

/* ^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$ */
static bool scalar_float(const char *text, struct scalar *ret)
{
    const char *p = text;
    p += *p == '-' || *p == '+';
    size_t whole = strspn(p, "0123456789"), part = 0;
    p += whole;
    if (*p == '.') {
        part = strspn(++p, "0123456789");
        p += part;
    }
    if (!whole && !part)
        return false;
    if (*p == 'e' || *p == 'E') {
        p += 1 + (p[1] == '-' || p[1] == '+');
        size_t exponent = strspn(p, "0123456789");
        if (!exponent)
            return false;
        p += exponent;
    }
    *ret = (struct scalar){.kind = IS_FLOAT, .f = strtod(text, NULL)};
    return !*p && isfinite(ret->f);
}

static struct scalar scalar_plain(str text)
{
    struct scalar s = {.kind = IS_STRING};
    if (scalar_word(text, &s))
        return s;
    if (!text.n || text.n > 400 || !strchr("+-.0123456789", text.p[0]))
        return s;
    char bare[512];
    size_t n = 0;
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] != '_' || text.p[0] == '.')
            bare[n++] = text.p[i];
    bare[n] = '\0';
    if (strlen(bare) != n)
        return s;
    struct scalar number;
    if ((text.p[0] != '.' && scalar_int(bare, &number)) || scalar_float(bare, &number))
        return number;
    return s;
}

static bool tag_allows(const char *tag, struct scalar *s)
{
    static const struct {
        const char *tag;
        unsigned kinds;
    } rows[] = {{TAG "bool", 1u << IS_BOOL},
                {TAG "int", 1u << IS_INT | 1u << IS_UINT},
                {TAG "float", 1u << IS_FLOAT},
                {TAG "null", 1u << IS_NULL},
                {TAG "timestamp", 1u << IS_STRING}};
    if (streq(tag, TAG "float") && s->kind == IS_INT)
        *s = (struct scalar){.kind = IS_FLOAT, .f = (double)s->i};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (streq(tag, rows[i].tag))
            return rows[i].kinds & 1u << s->kind;
    return true;
}

static int scalar_of(const struct node *n, struct scalar *ret, struct err *err)
{
    static const char *const resolved[] = {TAG "bool", TAG "int", TAG "float", TAG "null",
                                           TAG "timestamp"};
    bool resolve = !n->tag && n->plain;
    for (size_t i = 0; n->tag && i < ARRAY_LEN(resolved); i++)
        resolve = resolve || streq(n->tag, resolved[i]);
    *ret = resolve ? scalar_plain(n->value) : (struct scalar){.kind = IS_STRING};
    if (n->tag && !tag_allows(n->tag, ret))
        return err_set(err, ERR_INVALID, "a value that is not what its tag says");
    return 0;
}

/* ---- nodes to JSON ---- */

/* As Go's encoding/json writes a float64: shortest digits, an exponent below 1e-6 and from 1e21 on.
 */
static void add_float(struct buf *out, double f)
{
    char text[40], digits_text[24] = "";
    int n = 1;
    do
        snprintf(text, sizeof text, "%.*e", n - 1, fabs(f));
    while (strtod(text, NULL) != fabs(f) && n++ < 17);
    int exponent = atoi(strchr(text, 'e') + 1), at = 0;
    for (const char *p = text; *p != 'e'; p++)
        if (*p != '.')
            digits_text[at++] = *p;
    if (signbit(f))
        buf_putc(out, '-');
    if (exponent < -6 || exponent >= 21) {
        buf_printf(out, "%.*se%s%d", (int)strcspn(text, "e"), text, exponent < 0 ? "" : "+",
                   exponent);
    } else if (exponent < 0) {
        buf_printf(out, "0.%.*s%s", -exponent - 1, "000000", digits_text);
    } else {
        for (int i = 0; i < MAX(at, exponent + 1); i++) {
            buf_puts(out, i == exponent + 1 ? "." : "");
            buf_putc(out, i < at ? digits_text[i] : '0');
        }
    }
}

static int add_scalar(const struct node *n, struct buf *out, struct err *err)
{
    struct scalar s;
    if (scalar_of(n, &s, err) < 0)
        return -1;
    switch (s.kind) {
    case IS_NULL:
        buf_puts(out, "null");
        return 0;
    case IS_BOOL:
        buf_puts(out, s.truth ? "true" : "false");
        return 0;
    case IS_INT:
        buf_printf(out, "%lld", (long long)s.i);
        return 0;
    case IS_UINT:
        buf_printf(out, "%llu", (unsigned long long)s.u);
        return 0;
    case IS_FLOAT:
        if (!isfinite(s.f))
            return err_set(err, ERR_INVALID, "a number that JSON cannot say");
        add_float(out, s.f);
        return 0;
    case IS_STRING:
        break;
    }
    if (!streq(n->tag, TAG "binary")) {
        raw_add_string(out, n->value);
        return 0;
    }
    struct buf bytes CLEANUP(buf_free) = {0};
    if (base64_decode(&bytes, n->value, err) < 0)
        return -1;
    raw_add_string(out, buf_view(&bytes));
    return 0;
}

static int key_text(const struct node *n, struct buf *out, struct err *err)
{
    struct scalar s;
    if (n->kind != NODE_SCALAR)
        return err_set(err, ERR_INVALID, "a key that is not a scalar");
    if (scalar_of(n, &s, err) < 0)
        return -1;
    if (s.kind == IS_NULL || s.kind == IS_UINT)
        return err_set(err, ERR_INVALID, "a key that JSON cannot say");
    if (s.kind == IS_STRING) {
        buf_str(out, n->value);
        return 0;
    }
    return add_scalar(n, out, err);
}

static bool is_merge(const struct node *key)
{
    return key->kind == NODE_SCALAR && str_is(key->value, "<<") &&
           (key->plain || streq(key->tag, TAG "merge"));
}

/* The members of a map with its merges, as go-yaml v2 puts them: in order, the later one wins.
 * *merges counts: maps that merge each other twice at each level are 2^depth of them. */
static int gather(const struct node *n, struct map *into, int depth, unsigned *merges,
                  struct err *err)
{
    if (depth > YAML_DEPTH)
        return err_set(err, ERR_TOO_LARGE, "merged deeper than %d levels", YAML_DEPTH);
    if (++*merges > YAML_MERGES)
        return err_set(err, ERR_TOO_LARGE, "a map with more than %d merges", YAML_MERGES);
    if (n->kind != NODE_MAP)
        return err_set(err, ERR_INVALID, "a merge of something that is not a map");
    for (const struct node *m = n->item; m; m = m->next->next) {
        const struct node *key = m->item;
        struct node *value = m->next->item;
        if (!is_merge(key)) {
            struct buf name CLEANUP(buf_free) = {0};
            if (key_text(key, &name, err) < 0)
                return -1;
            map_put(into, name.p ? buf_view(&name) : STR(""), value);
        } else if (value->kind == NODE_LIST) {
            size_t count = 0;
            for (const struct node *i = value->item; i; i = i->next)
                count++;
            while (count--) { /* backwards: the first of the list wins */
                const struct node *i = value->item;
                for (size_t at = 0; at < count; at++)
                    i = i->next;
                if (gather(i->item, into, depth + 1, merges, err) < 0)
                    return -1;
            }
        } else if (gather(value, into, depth + 1, merges, err) < 0) {
            return -1;
        }
    }
    return 0;
}

static int add_node(const struct node *n, size_t budget, int depth, struct buf *out,
                    struct err *err);

static int add_map(const struct node *n, size_t budget, int depth, struct buf *out, struct err *err)
{
    struct map *members CLEANUP(map_free_p) = map_new(NULL);
    unsigned merges = 0;
    if (gather(n, members, 0, &merges, err) < 0)
        return -1;
    size_t at = 0, count = 0;
    str key;
    void *value;
    buf_putc(out, '{');
    while (map_each(members, &at, &key, &value)) {
        if (count++)
            buf_putc(out, ',');
        raw_add_string(out, key);
        buf_putc(out, ':');
        if (add_node(value, budget, depth + 1, out, err) < 0)
            return -1;
    }
    buf_putc(out, '}');
    return 0;
}

static int add_node(const struct node *n, size_t budget, int depth, struct buf *out,
                    struct err *err)
{
    if (depth > YAML_DEPTH)
        return err_set(err, ERR_TOO_LARGE, "nested deeper than %d levels", YAML_DEPTH);
    if (out->n > budget)
        return err_set(err, ERR_TOO_LARGE, "the documents are too large");
    if (n->kind == NODE_SCALAR)
        return add_scalar(n, out, err);
    if (n->kind == NODE_MAP)
        return add_map(n, budget, depth, out, err);
    buf_putc(out, '[');
    for (const struct node *i = n->item; i; i = i->next) {
        if (i != n->item)
            buf_putc(out, ',');
        if (add_node(i->item, budget, depth + 1, out, err) < 0)
            return -1;
    }
    buf_putc(out, ']');
    return 0;
}

static int one_document(struct reader *r, int (*each)(void *ctx, str json, struct err *err),
                        void *ctx, struct err *err)
{
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct map *anchors CLEANUP(map_free_p) = map_new(NULL);
    struct buf out CLEANUP(buf_free) = {0};
    r->a = a;
    r->anchors = anchors;
    yaml_event_t ev CLEANUP(yaml_event_delete) = {0};
    struct node *top;
    if (next_event(r, &ev, err) < 0 || compose(r, &ev, 0, &top, err) < 0 ||
        add_node(top, *r->budget, 0, &out, err) < 0)
        return -1;
    if (out.n > *r->budget)
        return err_set(err, ERR_TOO_LARGE, "the documents are too large");
    *r->budget -= out.n;
    return str_is(buf_view(&out), "null") ? 0 : each(ctx, buf_view(&out), err);
}

int yaml_each(str text, size_t *budget, int (*each)(void *ctx, str json, struct err *err),
              void *ctx, struct err *err)
{
    struct reader r = {.budget = budget};
    if (!yaml_parser_initialize(&r.parser))
        return err_set(err, ERR_INTERNAL, "the YAML parser did not start");
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)(text.p ? text.p : ""), text.n);
    int failed = 0;
    for (bool more = true; more && failed == 0;) {
        yaml_event_t ev CLEANUP(yaml_event_delete) = {0};
        failed = next_event(&r, &ev, err);
        if (failed == 0 && ev.type == YAML_DOCUMENT_START_EVENT)
            failed = one_document(&r, each, ctx, err);
        more = failed == 0 && ev.type != YAML_STREAM_END_EVENT;
    }
    yaml_parser_delete(&r.parser);
    return failed < 0 ? -1 : 0;
}
