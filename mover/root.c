#include "mover/root.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "core/codec.h"

enum { ATTRIBUTES_MAX = 64, NAME_MAX_BYTES = 255 };

bool root_format(const struct node *dir, char out[MOVER_ROOT_MAX])
{
    struct buf text CLEANUP(buf_free) = {0};
    buf_printf(&text, "%04o:%u:%u:%" PRId64 ".%09ld", node_mode_to_posix(dir->mode) & 07777u,
               dir->uid, dir->gid, (int64_t)dir->mtime.tv_sec, (long)dir->mtime.tv_nsec);
    for (size_t i = 0; i < dir->xattrs_n && text.n < MOVER_ROOT_MAX; i++) {
        buf_putc(&text, ' ');
        base64_encode(&text, dir->xattrs[i].name.p, dir->xattrs[i].name.n);
        buf_putc(&text, ',');
        base64_encode(&text, dir->xattrs[i].value.p, dir->xattrs[i].value.n);
    }
    bool fits = text.n < MOVER_ROOT_MAX && dir->xattrs_n <= ATTRIBUTES_MAX;
    snprintf(out, MOVER_ROOT_MAX, "%s", fits ? text.p : "");
    return fits;
}

static bool take_number(const char **p, int base, char end, long long least, long long most,
                        long long *ret)
{
    char *stop;
    if (**p != '-' && (**p < '0' || **p > '9'))
        return false;
    errno = 0;
    *ret = strtoll(*p, &stop, base);
    if (errno || stop == *p || *stop != end || *ret < least || *ret > most)
        return false;
    *p = end ? stop + 1 : stop;
    return true;
}

static bool take_base64(struct arena *a, str text, str *ret)
{
    struct buf bytes CLEANUP(buf_free) = {0};
    if (base64_decode(&bytes, text, NULL) < 0)
        return false;
    *ret = (str){arena_strndup(a, bytes.n ? bytes.p : "", bytes.n), bytes.n};
    return true;
}

static bool take_attributes(str text, struct arena *a, struct node *dir)
{
    struct node_xattr *list = arena_alloc(a, ATTRIBUTES_MAX * sizeof *list);
    while (text.p) {
        str value = str_cut(&text, ' '), name = str_cut(&value, ',');
        struct node_xattr *x = &list[dir->xattrs_n];
        if (dir->xattrs_n == ATTRIBUTES_MAX || !value.p || !take_base64(a, name, &x->name) ||
            !take_base64(a, value, &x->value) || x->name.n == 0 || x->name.n > NAME_MAX_BYTES ||
            memchr(x->name.p, '\0', x->name.n))
            return false;
        dir->xattrs_n++;
    }
    dir->xattrs = list;
    return true;
}

bool root_parse(const char *text, struct arena *a, struct node *ret_dir)
{
    long long mode, uid, gid, sec, nsec;
    str rest = str_of(text), fixed = str_cut(&rest, ' ');
    const char *p = arena_strndup(a, fixed.p, fixed.n);
    if (!take_number(&p, 8, ':', 0, 07777, &mode) ||
        !take_number(&p, 10, ':', 0, UINT32_MAX, &uid) ||
        !take_number(&p, 10, ':', 0, UINT32_MAX, &gid) ||
        !take_number(&p, 10, '.', INT64_MIN, INT64_MAX, &sec) || strlen(p) != 9 ||
        !take_number(&p, 10, '\0', 0, 999999999, &nsec))
        return false;
    struct node dir = {.type = NODE_DIR,
                       .mode = node_mode_from_posix(S_IFDIR | (uint32_t)mode),
                       .uid = (uint32_t)uid,
                       .gid = (uint32_t)gid,
                       .mtime = {sec, nsec},
                       .atime = {sec, nsec}};
    if (!take_attributes(rest, a, &dir))
        return false;
    *ret_dir = dir;
    return true;
}
