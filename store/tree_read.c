#include "store/tree.h"

#include "store/gojson.h"
#include "store/jsonin.h"
#include "store/limits.h"

#include "core/vec.h"

#include <stdlib.h>

enum { NAME_MAX_BYTES = 4096, XATTRS_MAX = 4096 };

/* Where an attribute lies in the reader's `attributes` while that may still move. */
struct xattr_at {
    size_t name, name_n, value, value_n;
};

struct tree_reader {
    struct buf text; /* owned, if the reader loaded it */
    struct json_in in;
    enum { AT_START, IN_NODES, AT_END, FAILED } state;
    bool first, first_key;
    struct node node;
    struct buf name, last, user, group, target, target_raw, attributes;
    struct {
        struct xattr_at *p;
        size_t n, room;
    } xattrs_at;
    struct {
        struct node_xattr *p;
        size_t n, room;
    } xattrs;
    struct {
        struct store_id *p;
        size_t n, room;
    } content;
    bool has_type, has_content, has_target_raw;
};

struct tree_reader *tree_reader_of(str text)
{
    struct tree_reader *r = xcalloc(1, sizeof *r);
    json_in_text(&r->in, text, NULL);
    r->first = r->first_key = true;
    return r;
}

int tree_reader_open(struct repository *repo, const struct store_id *id,
                     struct tree_reader **ret_reader, struct err *err)
{
    struct buf text CLEANUP(buf_free) = {0};
    if (repository_load_blob(repo, BLOB_TREE, id, &text, err) < 0)
        return -1;
    struct tree_reader *r = tree_reader_of(buf_view(&text));
    r->text = text;
    text = (struct buf){0};
    *ret_reader = r;
    return 0;
}

size_t tree_reader_bytes(const struct tree_reader *r)
{
    return r->text.n;
}

void tree_reader_free(struct tree_reader *r)
{
    if (!r)
        return;
    json_in_free(&r->in);
    struct buf *bufs[] = {&r->text,  &r->name,   &r->last,       &r->user,
                          &r->group, &r->target, &r->target_raw, &r->attributes};
    for (size_t i = 0; i < ARRAY_LEN(bufs); i++)
        buf_free(bufs[i]);
    vec_free(&r->xattrs_at);
    vec_free(&r->xattrs);
    vec_free(&r->content);
    free(r);
}

/* ---- members of a node ---- */

static int read_name(struct tree_reader *r)
{
    str quoted;
    buf_reset(&r->name);
    if (json_in_string(&r->in, &quoted) < 0)
        return -1;
    return gojson_unquote(&r->name, quoted) ? 0 : json_in_fail(&r->in, "a name is badly quoted");
}

static int read_type(struct tree_reader *r)
{
    str text;
    if (json_in_string(&r->in, &text) < 0)
        return -1;
    r->has_type = true;
    r->node.type = NODE_OTHER;
    for (int t = 0; t < NODE_OTHER; t++)
        if (str_is(text, node_type_name((enum node_type)t)))
            r->node.type = (enum node_type)t;
    return 0;
}

static int read_time(struct tree_reader *r, struct timespec *ret)
{
    str text;
    if (json_in_string(&r->in, &text) < 0)
        return -1;
    return gojson_parse_time(text, ret) ? 0 : json_in_fail(&r->in, "expected a time");
}

static int read_text(struct tree_reader *r, struct buf *to)
{
    str text;
    buf_reset(to);
    if (json_in_string(&r->in, &text) < 0)
        return -1;
    buf_str(to, text);
    return 0;
}

static int read_id(struct tree_reader *r, struct store_id *ret)
{
    str text;
    if (json_in_string(&r->in, &text) < 0)
        return -1;
    return store_id_parse(text, ret) ? 0 : json_in_fail(&r->in, "expected an id");
}

static int read_content(struct tree_reader *r)
{
    bool first = true;
    int done = json_in_null(&r->in);
    r->content.n = 0;
    if (done)
        return MIN(done, 0);
    r->has_content = true;
    if (json_in_array(&r->in) < 0)
        return -1;
    while ((done = json_in_item(&r->in, &first)) > 0)
        if (read_id(r, vec_add(&r->content)) < 0)
            return -1;
    return done;
}

static int read_raw_target(struct tree_reader *r)
{
    str text;
    buf_reset(&r->target_raw);
    if (json_in_string(&r->in, &text) < 0)
        return -1;
    r->has_target_raw = true;
    return base64_decode(&r->target_raw, text, NULL) < 0 ? json_in_fail(&r->in, "expected base64")
                                                         : 0;
}

static int read_xattr(struct tree_reader *r)
{
    struct xattr_at at = {0};
    bool first = true;
    int done;
    str key, text;
    if (json_in_object(&r->in) < 0)
        return -1;
    while ((done = json_in_key(&r->in, &first, &key)) > 0) {
        bool name = str_is(key, "name"), value = str_is(key, "value");
        int null = name || value ? json_in_null(&r->in) : 0;
        if (null < 0)
            return -1;
        if (null)
            continue;
        if (!name && !value) {
            if (json_in_skip(&r->in) < 0)
                return -1;
            continue;
        }
        size_t start = r->attributes.n;
        if (json_in_string(&r->in, &text) < 0)
            return -1;
        if (name)
            buf_str(&r->attributes, text);
        else if (base64_decode(&r->attributes, text, NULL) < 0)
            return json_in_fail(&r->in, "expected base64");
        *(name ? &at.name : &at.value) = start;
        *(name ? &at.name_n : &at.value_n) = r->attributes.n - start;
    }
    if (done < 0)
        return -1;
    if (at.name_n == 0 || r->xattrs_at.n >= XATTRS_MAX)
        return json_in_fail(&r->in, "an extended attribute without a name, or too many");
    *vec_add(&r->xattrs_at) = at;
    return 0;
}

static int read_xattrs(struct tree_reader *r)
{
    bool first = true;
    int done = json_in_null(&r->in);
    buf_reset(&r->attributes);
    r->xattrs_at.n = 0;
    if (done)
        return MIN(done, 0);
    if (json_in_array(&r->in) < 0)
        return -1;
    while ((done = json_in_item(&r->in, &first)) > 0)
        if (read_xattr(r) < 0)
            return -1;
    return done;
}

static int read_subtree(struct tree_reader *r)
{
    int null = json_in_null(&r->in);
    r->node.has_subtree = !null;
    return null ? MIN(null, 0) : read_id(r, &r->node.subtree);
}

static int read_number(struct tree_reader *r, str key, bool *known)
{
    struct node *n = &r->node;
    *known = true;
    if (str_is(key, "mode"))
        return json_in_u32(&r->in, &n->mode);
    if (str_is(key, "uid"))
        return json_in_u32(&r->in, &n->uid);
    if (str_is(key, "gid"))
        return json_in_u32(&r->in, &n->gid);
    if (str_is(key, "inode"))
        return json_in_u64(&r->in, &n->inode);
    if (str_is(key, "device_id"))
        return json_in_u64(&r->in, &n->device_id);
    if (str_is(key, "size"))
        return json_in_u64(&r->in, &n->size);
    if (str_is(key, "links"))
        return json_in_u64(&r->in, &n->links);
    if (str_is(key, "device"))
        return json_in_u64(&r->in, &n->device);
    *known = false;
    return 0;
}

static int read_member(struct tree_reader *r, str key)
{
    bool known;
    if (read_number(r, key, &known) < 0)
        return -1;
    if (known)
        return 0;
    if (str_is(key, "name"))
        return read_name(r);
    if (str_is(key, "type"))
        return read_type(r);
    if (str_is(key, "mtime"))
        return read_time(r, &r->node.mtime);
    if (str_is(key, "atime"))
        return read_time(r, &r->node.atime);
    if (str_is(key, "ctime"))
        return read_time(r, &r->node.ctime);
    if (str_is(key, "user"))
        return read_text(r, &r->user);
    if (str_is(key, "group"))
        return read_text(r, &r->group);
    if (str_is(key, "linktarget"))
        return read_text(r, &r->target);
    if (str_is(key, "linktarget_raw"))
        return read_raw_target(r);
    if (str_is(key, "extended_attributes"))
        return read_xattrs(r);
    if (str_is(key, "content"))
        return read_content(r);
    if (str_is(key, "subtree"))
        return read_subtree(r);
    return json_in_skip(&r->in);
}

static void begin_node(struct tree_reader *r)
{
    struct buf *bufs[] = {&r->name,   &r->user,       &r->group,
                          &r->target, &r->target_raw, &r->attributes};
    for (size_t i = 0; i < ARRAY_LEN(bufs); i++)
        buf_reset(bufs[i]);
    r->xattrs_at.n = r->xattrs.n = r->content.n = 0;
    r->has_type = r->has_content = r->has_target_raw = false;
    r->node = (struct node){0};
}

/* Names become file names: what could lead out of a directory is no name. */
static int check_node(struct tree_reader *r)
{
    str name = buf_view(&r->name);
    if (name.n == 0 || name.n > NAME_MAX_BYTES || str_is(name, ".") || str_is(name, "..") ||
        memchr(name.p, '/', name.n) || memchr(name.p, '\0', name.n))
        return json_in_fail(&r->in, "a name that no file can have");
    if (!r->first && str_cmp(buf_view(&r->last), name) >= 0)
        return json_in_fail(&r->in, "names are not in order");
    if (!r->has_type)
        return json_in_fail(&r->in, "a node without a type");
    if ((r->node.type == NODE_DIR) != r->node.has_subtree)
        return json_in_fail(&r->in, "a directory without a subtree, or a subtree without one");
    if (r->node.type == NODE_FILE && !r->has_content)
        return json_in_fail(&r->in, "a file without content");
    return 0;
}

static void finish_node(struct tree_reader *r)
{
    for (size_t i = 0; i < r->xattrs_at.n; i++) {
        const struct xattr_at *at = &r->xattrs_at.p[i];
        *vec_add(&r->xattrs) = (struct node_xattr){{r->attributes.p + at->name, at->name_n},
                                                   {r->attributes.p + at->value, at->value_n}};
    }
    struct node *n = &r->node;
    n->name = buf_view(&r->name);
    n->user = buf_view(&r->user);
    n->group = buf_view(&r->group);
    n->link_target = buf_view(r->has_target_raw ? &r->target_raw : &r->target);
    n->xattrs = r->xattrs.p;
    n->xattrs_n = r->xattrs.n;
    n->content = r->content.p;
    n->content_n = r->content.n;
}

static int read_node(struct tree_reader *r, bool is_first)
{
    bool first = true;
    int done;
    str key;
    begin_node(r);
    if (json_in_object(&r->in) < 0)
        return -1;
    while ((done = json_in_key(&r->in, &first, &key)) > 0)
        if (read_member(r, key) < 0)
            return -1;
    r->first = is_first;
    if (done < 0 || check_node(r) < 0)
        return -1;
    r->first = false;
    finish_node(r);
    buf_reset(&r->last);
    buf_str(&r->last, r->node.name);
    return 0;
}

/* ---- the tree around the nodes ---- */

/* Up to the array of nodes: 1; or to the end of a tree that has none: 0. */
static int find_nodes(struct tree_reader *r)
{
    int done;
    str key;
    while ((done = json_in_key(&r->in, &r->first_key, &key)) > 0) {
        if (!str_is(key, "nodes")) {
            if (json_in_skip(&r->in) < 0)
                return -1;
            continue;
        }
        int null = json_in_null(&r->in);
        if (null < 0)
            return -1;
        if (!null)
            return json_in_array(&r->in) < 0 ? -1 : 1;
    }
    return done < 0 ? done : json_in_end(&r->in);
}

static int finish_tree(struct tree_reader *r)
{
    int done;
    str key;
    while ((done = json_in_key(&r->in, &r->first_key, &key)) > 0)
        if (json_in_skip(&r->in) < 0)
            return -1;
    return done < 0 ? done : json_in_end(&r->in);
}

static int step(struct tree_reader *r)
{
    if (r->state == AT_START) {
        int found = json_in_object(&r->in) < 0 ? -1 : find_nodes(r);
        if (found <= 0) {
            r->state = found < 0 ? FAILED : AT_END;
            return found;
        }
        r->state = IN_NODES;
        r->first = true;
    }
    if (r->state != IN_NODES)
        return r->state == AT_END ? 0 : json_in_fail(&r->in, "broken");
    bool is_first = r->first;
    int more = json_in_item(&r->in, &r->first);
    if (more > 0 && read_node(r, is_first) == 0)
        return 1;
    int done = more == 0 ? finish_tree(r) : -1;
    r->state = done < 0 ? FAILED : AT_END;
    return done;
}

int tree_reader_next(struct tree_reader *r, const struct node **ret_node, struct err *err)
{
    r->in.err = err;
    if (r->state == FAILED)
        return err_set(err, ERR_CORRUPT, "the tree is broken");
    int more = step(r);
    r->in.err = NULL;
    if (more < 0)
        return err_wrap(err, "tree");
    if (more > 0)
        *ret_node = &r->node;
    return more;
}
