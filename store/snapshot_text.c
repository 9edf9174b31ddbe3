#include "store/snapshot_text.h"

#include "core/vec.h"
#include "store/gojson.h"
#include "store/jsonin.h"

#include <stdlib.h>

static const char PROGRAM[] = "gleaner";
enum { STRINGS_MAX = 100000 };

static void add_id(struct buf *out, const char *key, const struct store_id *id)
{
    char hex[STORE_ID_HEX];
    store_id_hex(id, hex);
    buf_printf(out, ",\"%s\":\"%s\"", key, hex);
}

static void add_strings(struct buf *out, const char *key, const char *const *p, size_t n)
{
    buf_printf(out, ",\"%s\":[", key);
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_putc(out, ',');
        gojson_string(out, str_of(p[i]));
    }
    buf_putc(out, ']');
}

static void add_string(struct buf *out, const char *key, const char *value)
{
    if (!value || !*value)
        return;
    buf_printf(out, ",\"%s\":", key);
    gojson_string(out, str_of(value));
}

/* The counts of a summary, in order: one table for both directions. */
static const struct {
    const char *key;
    size_t offset;
} counts[] = {
#define COUNT(name)                                                                                \
    {                                                                                              \
#name, offsetof(struct snapshot_summary, name)                                             \
    }
    COUNT(files_new),
    COUNT(files_changed),
    COUNT(files_unmodified),
    COUNT(dirs_new),
    COUNT(dirs_changed),
    COUNT(dirs_unmodified),
    COUNT(data_blobs),
    COUNT(tree_blobs),
    COUNT(data_added),
    COUNT(data_added_packed),
    COUNT(total_files_processed),
    COUNT(total_bytes_processed),
#undef COUNT
};

static void add_summary(struct buf *out, const struct snapshot_summary *s)
{
    buf_puts(out, ",\"summary\":{\"backup_start\":");
    gojson_time(out, s->backup_start);
    buf_puts(out, ",\"backup_end\":");
    gojson_time(out, s->backup_end);
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        uint64_t v;
        memcpy(&v, (const char *)s + counts[i].offset, sizeof v);
        if (v != SNAPSHOT_UNCOUNTED)
            buf_printf(out, ",\"%s\":%llu", counts[i].key, (unsigned long long)v);
    }
    buf_putc(out, '}');
}

void snapshot_text(const struct snapshot *s, struct buf *out)
{
    buf_puts(out, "{\"time\":");
    gojson_time(out, s->time);
    if (s->has_parent)
        add_id(out, "parent", &s->parent);
    add_id(out, "tree", &s->tree);
    add_strings(out, "paths", s->paths, s->paths_n);
    add_string(out, "hostname", s->hostname);
    add_string(out, "username", s->username);
    if (s->uid)
        buf_printf(out, ",\"uid\":%u", s->uid);
    if (s->gid)
        buf_printf(out, ",\"gid\":%u", s->gid);
    if (s->excludes_n)
        add_strings(out, "excludes", s->excludes, s->excludes_n);
    if (s->tags_n)
        add_strings(out, "tags", s->tags, s->tags_n);
    if (s->has_original)
        add_id(out, "original", &s->original);
    add_string(out, "program_version", s->program_version ? s->program_version : PROGRAM);
    if (s->has_summary)
        add_summary(out, &s->summary);
    buf_putc(out, '}');
}

/* ---- reading ---- */

struct parse {
    struct json_in in;
    struct arena *arena;
    struct snapshot s;
    bool has_time, has_tree;
};

static int read_string(struct parse *p, const char **ret)
{
    str text;
    int null = json_in_null(&p->in);
    if (null)
        return MIN(null, 0);
    if (json_in_string(&p->in, &text) < 0)
        return -1;
    *ret = arena_strndup(p->arena, text.p, text.n);
    return 0;
}

static int read_zoned_time(struct parse *p, struct timespec *ret, int *ret_zone)
{
    str text;
    if (json_in_string(&p->in, &text) < 0)
        return -1;
    return gojson_parse_zoned_time(text, ret, ret_zone) ? 0
                                                        : json_in_fail(&p->in, "expected a time");
}

static int read_time(struct parse *p, struct timespec *ret)
{
    int zone;
    return read_zoned_time(p, ret, &zone);
}

static int read_id(struct parse *p, struct store_id *ret, bool *ret_has)
{
    str text;
    int null = json_in_null(&p->in);
    if (null)
        return MIN(null, 0);
    if (json_in_string(&p->in, &text) < 0)
        return -1;
    *ret_has = store_id_parse(text, ret);
    return *ret_has ? 0 : json_in_fail(&p->in, "expected an id");
}

struct strings {
    const char **p;
    size_t n, room;
};

static int read_items(struct parse *p, struct strings *v)
{
    bool first = true;
    int r = json_in_null(&p->in);
    if (r)
        return MIN(r, 0);
    if (json_in_array(&p->in) < 0)
        return -1;
    while ((r = json_in_item(&p->in, &first)) > 0) {
        const char *item = "";
        if (v->n >= STRINGS_MAX)
            return json_in_fail(&p->in, "too many strings");
        if (read_string(p, &item) < 0)
            return -1;
        *vec_add(v) = item;
    }
    return r;
}

static int read_strings(struct parse *p, const char *const **ret, size_t *ret_n)
{
    struct strings v = {0};
    int r = read_items(p, &v);
    if (r == 0) {
        const char **copy = arena_alloc(p->arena, v.n * sizeof *copy);
        if (v.n)
            memcpy(copy, v.p, v.n * sizeof *copy);
        *ret = copy;
        *ret_n = v.n;
    }
    vec_free(&v);
    return r;
}

static int read_summary_member(void *ctx, struct json_in *in, str key)
{
    struct parse *p = ctx;
    struct snapshot_summary *s = &p->s.summary;
    if (str_is(key, "backup_start"))
        return read_time(p, &s->backup_start);
    if (str_is(key, "backup_end"))
        return read_time(p, &s->backup_end);
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        if (!str_is(key, counts[i].key))
            continue;
        uint64_t v;
        if (json_in_u64(in, &v) < 0)
            return -1;
        memcpy((char *)s + counts[i].offset, &v, sizeof v);
        return 0;
    }
    return json_in_skip(in);
}

static int read_summary(struct parse *p)
{
    int null = json_in_null(&p->in);
    if (null)
        return MIN(null, 0);
    static const uint64_t none = SNAPSHOT_UNCOUNTED;
    for (size_t i = 0; i < ARRAY_LEN(counts); i++)
        memcpy((char *)&p->s.summary + counts[i].offset, &none, sizeof none);
    int r = json_in_members(&p->in, read_summary_member, p);
    p->s.has_summary = r == 0;
    return r;
}

static int read_member(void *ctx, struct json_in *in, str key)
{
    struct parse *p = ctx;
    struct snapshot *s = &p->s;
    if (str_is(key, "time")) {
        p->has_time = true;
        return read_zoned_time(p, &s->time, &s->zone);
    }
    if (str_is(key, "tree"))
        return read_id(p, &s->tree, &p->has_tree);
    if (str_is(key, "parent"))
        return read_id(p, &s->parent, &s->has_parent);
    if (str_is(key, "original"))
        return read_id(p, &s->original, &s->has_original);
    if (str_is(key, "paths"))
        return read_strings(p, &s->paths, &s->paths_n);
    if (str_is(key, "excludes"))
        return read_strings(p, &s->excludes, &s->excludes_n);
    if (str_is(key, "tags"))
        return read_strings(p, &s->tags, &s->tags_n);
    if (str_is(key, "hostname"))
        return read_string(p, &s->hostname);
    if (str_is(key, "username"))
        return read_string(p, &s->username);
    if (str_is(key, "program_version"))
        return read_string(p, &s->program_version);
    if (str_is(key, "uid"))
        return json_in_u32(in, &s->uid);
    if (str_is(key, "gid"))
        return json_in_u32(in, &s->gid);
    if (str_is(key, "summary"))
        return read_summary(p);
    return json_in_skip(in);
}

static int parse_object(struct parse *p)
{
    if (json_in_members(&p->in, read_member, p) < 0 || json_in_end(&p->in) < 0)
        return -1;
    return p->has_time && p->has_tree ? 0 : json_in_fail(&p->in, "no time or no tree");
}

int snapshot_parse(str text, struct arena *a, struct snapshot *ret_snapshot, struct err *err)
{
    struct parse p = {.arena = a};
    json_in_text(&p.in, text, err);
    int r = parse_object(&p);
    json_in_free(&p.in);
    if (!p.s.program_version)
        p.s.program_version = ""; /* it has none: it is not ours */
    if (r == 0)
        *ret_snapshot = p.s;
    return r;
}
