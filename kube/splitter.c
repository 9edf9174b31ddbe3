#include "kube/splitter.h"

#include <sys/types.h>

#include "core/jsonscan.h"
#include "kube/client.h"

enum { KEY_CAP = 256, MEMBER_CAP = 64 << 10 };

enum state {
    BEFORE_LIST,
    BEFORE_KEY, /* or the end of the list, if no comma was seen */
    IN_KEY,
    BEFORE_COLON,
    BEFORE_VALUE,
    IN_VALUE,
    BEHIND_VALUE,
    BEFORE_ITEM, /* or the end of the items, if no comma was seen */
    IN_ITEM,
    BEHIND_ITEM,
    BEHIND_LIST
};

static const char *const members[] = {"metadata", "kind", "apiVersion"};

struct kube_splitter {
    int (*each)(void *ctx, str item, struct err *err);
    void *ctx;
    enum state state;
    struct buf key, item, member[ARRAY_LEN(members)];
    struct buf *into; /* where the bytes of the current value go; NULL: nowhere */
    unsigned depth;
    bool in_string, escaped, scalar, comma, items_seen;
};

struct kube_splitter *kube_splitter_new(int (*each)(void *ctx, str item, struct err *err),
                                        void *ctx)
{
    struct kube_splitter *s = xcalloc(1, sizeof *s);
    s->each = each;
    s->ctx = ctx;
    s->key.cap = KEY_CAP;
    s->item.cap = KUBE_MAX_OBJECT;
    for (size_t i = 0; i < ARRAY_LEN(members); i++)
        s->member[i].cap = MEMBER_CAP;
    return s;
}

void kube_splitter_free(struct kube_splitter *s)
{
    if (!s)
        return;
    buf_free(&s->key);
    buf_free(&s->item);
    for (size_t i = 0; i < ARRAY_LEN(members); i++)
        buf_free(&s->member[i]);
    free_p(&s);
}

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

/* Passes bytes of the string that we are in; stops behind its closing quote. */
static size_t pass_string(struct kube_splitter *s, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (s->escaped) {
            s->escaped = false;
        } else if (p[i] == '\\') {
            s->escaped = true;
        } else if (p[i] == '"') {
            s->in_string = false;
            return i + 1;
        }
    }
    return n;
}

/* Passes bytes of a value; *ret_ended as soon as it is whole. Brackets are counted, not matched:
 * who reads the value checks it. Gives the number of bytes, or -1 if it is too deep. */
static ssize_t pass_value(struct kube_splitter *s, const char *p, size_t n, bool *ret_ended)
{
    size_t i = 0;
    while (i < n) {
        if (s->in_string) {
            i += pass_string(s, p + i, n - i);
            if (!s->in_string && s->depth == 0) {
                *ret_ended = true;
                return (ssize_t)i;
            }
            continue;
        }
        char c = p[i];
        if (s->scalar) {
            if (is_space(c) || c == ',' || c == '}' || c == ']') {
                *ret_ended = true;
                return (ssize_t)i;
            }
        } else if (c == '"') {
            s->in_string = true;
        } else if (c == '{' || c == '[') {
            if (++s->depth > JSON_DEPTH)
                return -1;
        } else if ((c == '}' || c == ']') && --s->depth == 0) {
            *ret_ended = true;
            return (ssize_t)i + 1;
        }
        i++;
    }
    return (ssize_t)n;
}

static int broken(struct err *err, const char *what)
{
    return err_set(err, ERR_CORRUPT, "the answer is not a list: %s", what);
}

static int value_begins(struct kube_splitter *s, char c, struct err *err)
{
    s->into = NULL;
    if (str_is(buf_view(&s->key), "items") && c == '[') {
        if (s->items_seen)
            return broken(err, "it has items twice");
        s->items_seen = true;
        s->comma = false;
        s->state = BEFORE_ITEM;
        return 1;
    }
    if (str_is(buf_view(&s->key), "items") && c != 'n')
        return broken(err, "its items are not an array");
    if (c == '}' || c == ']' || c == ',' || c == ':')
        return broken(err, "a member has no value");
    for (size_t i = 0; i < ARRAY_LEN(members); i++)
        if (str_is(buf_view(&s->key), members[i]))
            s->into = &s->member[i];
    if (s->into)
        buf_reset(s->into);
    s->depth = 0;
    s->scalar = c != '{' && c != '[' && c != '"';
    s->state = IN_VALUE;
    return 0;
}

/* Bytes between values. Gives the number of bytes used (0: the same byte again, in the new state).
 */
static int step(struct kube_splitter *s, char c, struct err *err)
{
    if (is_space(c))
        return 1;
    switch (s->state) {
    case BEFORE_LIST:
        if (c != '{')
            return broken(err, "it does not begin with a brace");
        s->state = BEFORE_KEY;
        return 1;
    case BEFORE_KEY:
        if (c == '}' && !s->comma) {
            s->state = BEHIND_LIST;
            return 1;
        }
        if (c != '"')
            return broken(err, "a member has no name");
        buf_reset(&s->key);
        s->in_string = true;
        s->state = IN_KEY;
        return 1;
    case BEFORE_COLON:
        if (c != ':')
            return broken(err, "a colon is missing");
        s->state = BEFORE_VALUE;
        return 1;
    case BEFORE_VALUE:
        return value_begins(s, c, err);
    case BEHIND_VALUE:
        if (c != ',' && c != '}')
            return broken(err, "a comma is missing");
        s->comma = c == ',';
        s->state = s->comma ? BEFORE_KEY : BEHIND_LIST;
        return 1;
    case BEFORE_ITEM:
        if (c == ']' && !s->comma) {
            s->state = BEHIND_VALUE;
            return 1;
        }
        if (c != '{')
            return broken(err, "an item is not an object");
        buf_reset(&s->item);
        s->into = &s->item;
        s->depth = 0;
        s->scalar = false;
        s->state = IN_ITEM;
        return 0;
    case BEHIND_ITEM:
        if (c != ',' && c != ']')
            return broken(err, "a comma between items is missing");
        s->comma = c == ',';
        s->state = s->comma ? BEFORE_ITEM : BEHIND_VALUE;
        return 1;
    case BEHIND_LIST:
        return broken(err, "text follows it");
    case IN_KEY:
    case IN_VALUE:
    case IN_ITEM:
        break;
    }
    return err_set(err, ERR_INTERNAL, "splitter in state %d", (int)s->state);
}

static ssize_t pass_key(struct kube_splitter *s, const char *p, size_t n)
{
    size_t used = pass_string(s, p, n);
    buf_add(&s->key, p, s->in_string ? used : used - 1);
    if (s->in_string)
        return (ssize_t)used;
    if (s->key.overflow) /* no name that we know: its value is dropped */
        buf_reset(&s->key);
    s->state = BEFORE_COLON;
    return (ssize_t)used;
}

static ssize_t pass(struct kube_splitter *s, const char *p, size_t n, struct err *err)
{
    bool ended = false;
    ssize_t used = pass_value(s, p, n, &ended);
    if (used < 0)
        return broken(err, "it is nested too deep");
    if (s->into)
        buf_add(s->into, p, (size_t)used);
    if (s->into && s->into->overflow)
        return err_set(err, ERR_TOO_LARGE, "%s of the list is larger than %zu bytes",
                       s->state == IN_ITEM ? "an object" : "the head", s->into->cap);
    if (!ended)
        return used;
    if (s->state == IN_ITEM && s->each(s->ctx, buf_view(&s->item), err) < 0)
        return -1;
    s->state = s->state == IN_ITEM ? BEHIND_ITEM : BEHIND_VALUE;
    return used;
}

int kube_splitter_feed(struct kube_splitter *s, const char *p, size_t n, struct err *err)
{
    for (size_t i = 0; i < n;) {
        ssize_t used;
        if (s->state == IN_KEY)
            used = pass_key(s, p + i, n - i);
        else if (s->state == IN_VALUE || s->state == IN_ITEM)
            used = pass(s, p + i, n - i, err);
        else
            used = step(s, p[i], err);
        if (used < 0)
            return -1;
        i += (size_t)used;
    }
    return 0;
}

int kube_splitter_end(struct kube_splitter *s, struct err *err)
{
    if (s->state != BEHIND_LIST)
        return broken(err, "it ends too early");
    return 0;
}

str kube_splitter_member(const struct kube_splitter *s, const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(members); i++)
        if (streq(members[i], name) && s->member[i].n)
            return buf_view(&s->member[i]);
    return (str){0};
}
