#include "store/tree.h"

#include "store/gojson.h"

#include <stdlib.h>
#include <sys/stat.h>

enum { NAME_MAX_BYTES = 4096 };

/* Go's FileMode bits beyond the permissions. */
#define GO_DIR (1u << 31)
#define GO_SYMLINK (1u << 27)
#define GO_DEVICE (1u << 26)
#define GO_FIFO (1u << 25)
#define GO_SOCKET (1u << 24)
#define GO_SETUID (1u << 23)
#define GO_SETGID (1u << 22)
#define GO_CHARDEV (1u << 21)
#define GO_STICKY (1u << 20)

static const struct {
    uint32_t posix, go;
} kinds[] = {
    {S_IFDIR, GO_DIR},    {S_IFLNK, GO_SYMLINK}, {S_IFCHR, GO_DEVICE | GO_CHARDEV},
    {S_IFBLK, GO_DEVICE}, {S_IFIFO, GO_FIFO},    {S_IFSOCK, GO_SOCKET},
};

uint32_t node_mode_from_posix(uint32_t st_mode)
{
    uint32_t mode = st_mode & 0777;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if ((st_mode & S_IFMT) == kinds[i].posix)
            mode |= kinds[i].go;
    mode |= st_mode & S_ISUID ? GO_SETUID : 0;
    mode |= st_mode & S_ISGID ? GO_SETGID : 0;
    mode |= st_mode & S_ISVTX ? GO_STICKY : 0;
    return mode;
}

uint32_t node_mode_to_posix(uint32_t mode)
{
    const uint32_t kind_bits = GO_DIR | GO_SYMLINK | GO_DEVICE | GO_CHARDEV | GO_FIFO | GO_SOCKET;
    uint32_t st_mode = mode & 0777, kind = S_IFREG;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if ((mode & kind_bits) == kinds[i].go)
            kind = kinds[i].posix;
    st_mode |= mode & GO_SETUID ? S_ISUID : 0;
    st_mode |= mode & GO_SETGID ? S_ISGID : 0;
    st_mode |= mode & GO_STICKY ? S_ISVTX : 0;
    return st_mode | kind;
}

static const char *const type_names[NODE_TYPES] = {
    [NODE_FILE] = "file",     [NODE_DIR] = "dir",         [NODE_SYMLINK] = "symlink",
    [NODE_DEV] = "dev",       [NODE_CHARDEV] = "chardev", [NODE_FIFO] = "fifo",
    [NODE_SOCKET] = "socket", [NODE_OTHER] = "irregular",
};

const char *node_type_name(enum node_type type)
{
    return type_names[type];
}

struct tree_writer {
    struct buf text;
    struct buf last; /* name */
    bool any;
};

static const char BEGIN[] = "{\"nodes\":[";

struct tree_writer *tree_writer_new(void)
{
    struct tree_writer *w = xcalloc(1, sizeof *w);
    buf_puts(&w->text, BEGIN);
    return w;
}

void tree_writer_free(struct tree_writer *w)
{
    if (!w)
        return;
    buf_free(&w->text);
    buf_free(&w->last);
    free(w);
}

static void add_number(struct buf *out, const char *key, uint64_t v)
{
    if (v)
        buf_printf(out, ",\"%s\":%llu", key, (unsigned long long)v);
}

static void add_text(struct buf *out, const char *key, str v)
{
    if (v.n == 0)
        return;
    buf_printf(out, ",\"%s\":", key);
    gojson_string(out, v);
}

static void add_time(struct buf *out, const char *key, struct timespec t)
{
    buf_printf(out, ",\"%s\":", key);
    gojson_time(out, t);
}

static void add_link_target(struct buf *out, str target)
{
    add_text(out, "linktarget", target);
    if (target.n == 0 || gojson_utf8(target))
        return;
    buf_puts(out, ",\"linktarget_raw\":\"");
    base64_encode(out, target.p, target.n);
    buf_putc(out, '"');
}

static void add_xattrs(struct buf *out, const struct node *node)
{
    if (node->xattrs_n == 0)
        return;
    buf_puts(out, ",\"extended_attributes\":[");
    for (size_t i = 0; i < node->xattrs_n; i++) {
        buf_puts(out, i ? ",{\"name\":" : "{\"name\":");
        gojson_string(out, node->xattrs[i].name);
        buf_puts(out, ",\"value\":\"");
        base64_encode(out, node->xattrs[i].value.p, node->xattrs[i].value.n);
        buf_puts(out, "\"}");
    }
    buf_putc(out, ']');
}

static void add_content(struct buf *out, const struct node *node)
{
    if (node->type != NODE_FILE) {
        buf_puts(out, ",\"content\":null");
        return;
    }
    char id[STORE_ID_HEX + 2] = "\"";
    buf_puts(out, ",\"content\":[");
    for (size_t i = 0; i < node->content_n; i++) {
        store_id_hex(&node->content[i], id + 1);
        id[STORE_ID_HEX] = '"';
        if (i)
            buf_putc(out, ',');
        buf_add(out, id, STORE_ID_HEX + 1);
    }
    buf_putc(out, ']');
}

/* The order of the fields, and which are left out when zero, is restic's. */
static void add_node(struct buf *out, const struct node *node)
{
    buf_puts(out, "{\"name\":");
    gojson_name(out, node->name);
    buf_printf(out, ",\"type\":\"%s\"", type_names[node->type]);
    add_number(out, "mode", node->mode);
    add_time(out, "mtime", node->mtime);
    add_time(out, "atime", node->atime);
    add_time(out, "ctime", node->ctime);
    buf_printf(out, ",\"uid\":%u,\"gid\":%u", node->uid, node->gid);
    add_text(out, "user", node->user);
    add_text(out, "group", node->group);
    add_number(out, "inode", node->inode);
    add_number(out, "device_id", node->device_id);
    add_number(out, "size", node->type == NODE_FILE ? node->size : 0);
    add_number(out, "links", node->links);
    add_link_target(out, node->link_target);
    add_xattrs(out, node);
    add_number(out, "device", node->device);
    add_content(out, node);
    if (node->has_subtree) {
        char id[STORE_ID_HEX];
        store_id_hex(&node->subtree, id);
        buf_printf(out, ",\"subtree\":\"%s\"", id);
    }
    buf_putc(out, '}');
}

static int check_node(const struct tree_writer *w, const struct node *node, struct err *err)
{
    str name = node->name;
    if (name.n == 0 || name.n > NAME_MAX_BYTES || str_is(name, ".") || str_is(name, "..") ||
        memchr(name.p, '/', name.n) || memchr(name.p, '\0', name.n))
        return err_set(err, ERR_INVALID, "'%.*s' cannot be the name of a file in a tree",
                       (int)MIN(name.n, 255), name.p ? name.p : "");
    if (w->any && str_cmp(buf_view(&w->last), name) >= 0)
        return err_set(err, ERR_INVALID, "'%.*s' does not follow '%s' in a tree's order",
                       (int)MIN(name.n, 255), name.p, w->last.p);
    if ((unsigned)node->type >= NODE_OTHER)
        return err_set(err, ERR_INVALID, "'%.*s' is of no type that a tree can hold",
                       (int)MIN(name.n, 255), name.p);
    if ((node->type == NODE_DIR) != node->has_subtree)
        return err_set(err, ERR_INVALID, "'%.*s': a directory has a subtree, nothing else has",
                       (int)MIN(name.n, 255), name.p);
    return 0;
}

int tree_writer_add(struct tree_writer *w, const struct node *node, struct err *err)
{
    if (check_node(w, node, err) < 0)
        return -1;
    if (w->any)
        buf_putc(&w->text, ',');
    add_node(&w->text, node);
    if (w->text.overflow)
        return err_set(err, ERR_TOO_LARGE, "a directory has too many entries");
    buf_reset(&w->last);
    buf_str(&w->last, node->name);
    w->any = true;
    return 0;
}

str tree_writer_text(struct tree_writer *w)
{
    size_t n = w->text.n;
    buf_puts(&w->text, "]}\n");
    str text = buf_view(&w->text);
    w->text.n = n; /* the next node goes over it */
    return text;
}

int tree_writer_finish(struct tree_writer *w, struct repository *repo, struct store_id *ret_id,
                       bool *ret_known, struct err *err)
{
    str text = tree_writer_text(w);
    if (repository_save_blob(repo, BLOB_TREE, text.p, text.n, ret_id, ret_known, err) < 0)
        return -1;
    if (w->text.room > 1u << 20)
        buf_free(&w->text); /* one huge directory must not weigh for ever */
    buf_reset(&w->text);
    buf_puts(&w->text, BEGIN);
    w->any = false;
    return 0;
}
