#include "mover/report.h"

#include <inttypes.h>
#include <stdio.h>

#include "core/json.h"
#include "core/jsonscan.h"

/* Room that is kept for the members behind "first" and the closing brackets. */
enum { TAIL_ROOM = 160 };

void mover_report_problem(struct mover_report *r, const char *path, const char *what)
{
    r->problems++;
    if (r->first_n == MOVER_REPORT_PROBLEMS)
        return;
    struct mover_problem *p = &r->first[r->first_n++];
    size_t n = strlen(path);
    if (n < sizeof p->path)
        memcpy(p->path, path, n + 1);
    else
        snprintf(p->path, sizeof p->path, "...%s", path + n - (sizeof p->path - 4));
    snprintf(p->what, sizeof p->what, "%s", what);
}

void mover_report_add(struct mover_report *r, const struct mover_report *part)
{
    r->files += part->files;
    r->dirs += part->dirs;
    r->links += part->links;
    r->bytes += part->bytes;
    r->moved += part->moved;
    r->kept += part->kept;
    r->removed += part->removed;
    for (size_t i = 0; i < part->first_n; i++)
        mover_report_problem(r, part->first[i].path, part->first[i].what);
    r->problems += part->problems - part->first_n;
}

static void add_text(struct buf *out, const char *name, const char *value)
{
    if (!*value)
        return;
    buf_printf(out, ",\"%s\":", name);
    raw_add_string(out, str_of(value));
}

static void add_count(struct buf *out, const char *name, uint64_t value)
{
    if (value)
        buf_printf(out, ",\"%s\":%" PRIu64, name, value);
}

static void add_id(struct buf *out, const char *name, bool has, const struct store_id *id)
{
    char hex[STORE_ID_HEX];
    store_id_hex(id, hex);
    add_text(out, name, has ? hex : "");
}

static void add_problems(struct buf *out, const struct mover_report *r, size_t start)
{
    struct buf one CLEANUP(buf_free) = {0};
    buf_puts(out, ",\"first\":[");
    for (size_t i = 0; i < r->first_n; i++) {
        buf_reset(&one);
        buf_puts(&one, i ? ",{\"path\":" : "{\"path\":");
        raw_add_string(&one, str_of(r->first[i].path));
        buf_puts(&one, ",\"what\":");
        raw_add_string(&one, str_of(r->first[i].what));
        buf_putc(&one, '}');
        if (out->n - start + one.n + TAIL_ROOM > MOVER_REPORT_MAX)
            break;
        buf_str(out, buf_view(&one));
    }
    buf_putc(out, ']');
}

/* The error's text, cut so that its escapes cannot push the report over its bound. */
static void add_error(struct buf *out, const struct mover_report *r)
{
    struct buf text CLEANUP(buf_free) = {0};
    size_t n = strlen(r->error);
    do {
        buf_reset(&text);
        raw_add_string(&text, (str){r->error, n});
        n = n > 16 ? n - 16 : 0;
    } while (text.n > 1200 && n);
    add_text(out, "errorKind", r->error_kind);
    if (*r->error) {
        buf_puts(out, ",\"error\":");
        buf_str(out, buf_view(&text));
    }
}

void mover_report_encode(const struct mover_report *r, struct buf *out)
{
    size_t start = out->n;
    buf_puts(out, "{\"v\":1");
    add_text(out, "verb", r->verb);
    add_id(out, "tree", r->has_tree, &r->tree);
    add_text(out, "root", r->root);
    add_text(out, "note", r->note);
    add_count(out, "files", r->files);
    add_count(out, "dirs", r->dirs);
    add_count(out, "links", r->links);
    add_count(out, "bytes", r->bytes);
    add_count(out, "moved", r->moved);
    add_count(out, "kept", r->kept);
    add_count(out, "removed", r->removed);
    buf_printf(out, ",\"problems\":%" PRIu64, r->problems);
    add_error(out, r);
    if (r->first_n)
        add_problems(out, r, start);
    add_id(out, "list", r->has_list, &r->list);
    buf_putc(out, '}');
}

/* Text of the member, cut to its room at a whole UTF-8 sequence; control characters become '?'. */
static void take_text(const json_t *j, const char *name, char *out, size_t room)
{
    const char *s = json_string_value(json_object_get(j, name));
    if (!s)
        return;
    size_t n = MIN(strlen(s), room - 1);
    while (n && n < strlen(s) && ((unsigned char)s[n] & 0xc0) == 0x80)
        n--;
    for (size_t i = 0; i < n; i++)
        out[i] = (unsigned char)s[i] < 0x20 || s[i] == 0x7f ? '?' : s[i];
    out[n] = '\0';
}

static int take_count(const json_t *j, const char *name, uint64_t *ret, struct err *err)
{
    const json_t *v = json_object_get(j, name);
    if (!v)
        return 0;
    if (!json_is_integer(v) || json_integer_value(v) < 0)
        return err_set(err, ERR_INVALID, "mover's report: \"%s\" is not a count", name);
    *ret = (uint64_t)json_integer_value(v);
    return 0;
}

static int take_id(const json_t *j, const char *name, bool *ret_has, struct store_id *ret,
                   struct err *err)
{
    const json_t *v = json_object_get(j, name);
    if (!v)
        return 0;
    if (!store_id_parse(str_of(json_string_value(v)), ret))
        return err_set(err, ERR_INVALID, "mover's report: \"%s\" is not an id", name);
    *ret_has = true;
    return 0;
}

static int take_counts(const json_t *j, struct mover_report *r, struct err *err)
{
    const struct {
        const char *name;
        uint64_t *to;
    } counts[] = {{"files", &r->files},     {"dirs", &r->dirs},        {"links", &r->links},
                  {"bytes", &r->bytes},     {"moved", &r->moved},      {"kept", &r->kept},
                  {"removed", &r->removed}, {"problems", &r->problems}};
    for (size_t i = 0; i < ARRAY_LEN(counts); i++)
        if (take_count(j, counts[i].name, counts[i].to, err) < 0)
            return -1;
    return 0;
}

int mover_report_decode(str text, struct mover_report *ret, struct err *err)
{
    json_t *j CLEANUP_JSON = NULL;
    struct mover_report r = {0};
    text = str_trim(text);
    if (text.n > MOVER_REPORT_MAX)
        return err_set(err, ERR_INVALID, "mover's report is longer than %d bytes",
                       MOVER_REPORT_MAX);
    if (json_parse(text, &j, err) < 0)
        return err_wrap(err, "mover's report");
    if (json_integer_value(json_object_get(j, "v")) != 1)
        return err_set(err, ERR_INVALID, "mover's report is not of version 1");
    if (take_counts(j, &r, err) < 0 || take_id(j, "tree", &r.has_tree, &r.tree, err) < 0 ||
        take_id(j, "list", &r.has_list, &r.list, err) < 0)
        return -1;
    take_text(j, "verb", r.verb, sizeof r.verb);
    take_text(j, "root", r.root, sizeof r.root);
    take_text(j, "note", r.note, sizeof r.note);
    take_text(j, "errorKind", r.error_kind, sizeof r.error_kind);
    take_text(j, "error", r.error, sizeof r.error);
    const json_t *first = json_object_get(j, "first"), *one;
    size_t i;
    json_array_foreach(first, i, one)
    {
        if (i == MOVER_REPORT_PROBLEMS)
            break;
        take_text(one, "path", r.first[i].path, sizeof r.first[i].path);
        take_text(one, "what", r.first[i].what, sizeof r.first[i].what);
        r.first_n = i + 1;
    }
    if (r.problems < r.first_n)
        return err_set(err, ERR_INVALID, "mover's report names more problems than it counts");
    *ret = r;
    return 0;
}
