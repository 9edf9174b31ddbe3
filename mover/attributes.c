#include "mover/attributes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/xattr.h>

#include "store/gojson.h"

/* XATTR_LIST_MAX and XATTR_SIZE_MAX of Linux. */
enum { RAW_MAX = 65536 };

struct place_text {
    char text[320];
};

static const char *proc_path(struct place_text *p, int dir, const char *name)
{
    snprintf(p->text, sizeof p->text, "/proc/self/fd/%d/%s", dir, name);
    return p->text;
}

static bool is_nfs4(const char *name)
{
    return streq(name, "system.nfs4_acl") || streq(name, "system.nfs4_dacl") ||
           streq(name, "system.nfs4_sacl");
}

/* Not ours in either direction: the label of SELinux is the kubelet's to set, and an NFS server
 * makes up its ACL from the mode where nobody set one. */
static bool is_foreign(const char *name)
{
    return streq(name, "security.selinux") || is_nfs4(name);
}

static void note_failure(struct attributes *a, const char *name, int error)
{
    if (a->error)
        return;
    a->error = error;
    snprintf(a->failed, sizeof a->failed, "%s", name);
}

static void read_value(struct attributes *a, const char *path, const char *name)
{
    a->nfs4 |= is_nfs4(name);
    if (is_foreign(name))
        return;
    if (!gojson_utf8(str_of(name))) {
        note_failure(a, name, EILSEQ);
        return;
    }
    ssize_t n = lgetxattr(path, name, a->raw, RAW_MAX);
    if (n < 0) {
        if (errno != ENODATA) /* removed meanwhile */
            note_failure(a, name, errno);
        return;
    }
    *vec_add(&a->list) = (struct node_xattr){{name, strlen(name)}, {NULL, (size_t)n}};
    buf_add(&a->values, a->raw, (size_t)n);
}

void attributes_read(struct attributes *a, int dir, const char *name)
{
    struct place_text at;
    const char *path = proc_path(&at, dir, name);
    if (!a->raw)
        a->raw = xmalloc(RAW_MAX);
    buf_reset(&a->names);
    buf_reset(&a->values);
    a->list.n = 0;
    a->error = 0;
    a->nfs4 = false;
    ssize_t n = llistxattr(path, a->raw, RAW_MAX);
    if (n == 0 || (n < 0 && (errno == ENOTSUP || errno == ENOSYS)))
        return;
    if (n < 0) {
        note_failure(a, "", errno);
        return;
    }
    buf_add(&a->names, a->raw, (size_t)n);
    for (const char *x = a->names.p; x < a->names.p + n; x += strlen(x) + 1)
        read_value(a, path, x);
    const char *value = a->values.p; /* it moved while it grew */
    for (size_t i = 0; i < a->list.n; i++) {
        a->list.p[i].value.p = value;
        value += a->list.p[i].value.n;
    }
}

void attributes_free(struct attributes *a)
{
    buf_free(&a->names);
    buf_free(&a->values);
    vec_free(&a->list);
    free(TAKE(a->raw));
}

void attributes_report(const struct attributes *a, struct problems *problems, const char *path)
{
    if (a->error && !a->failed[0])
        problem_add(problems, path, "its extended attributes cannot be listed: %s",
                    strerror(a->error));
    else if (a->error == EILSEQ)
        problem_add(problems, path,
                    "has an attribute whose name is not UTF-8: no tree can hold it");
    else if (a->error)
        problem_add(problems, path, "its attribute %.100s cannot be read: %s", a->failed,
                    strerror(a->error));
}

static const struct node_xattr *find(const struct node_xattr *list, size_t n, str name)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(list[i].name, name))
            return &list[i];
    return NULL;
}

static bool remove_others(const struct attributes *now, const char *at, const struct node *node,
                          struct problems *problems, const char *path)
{
    bool changed = false;
    for (size_t i = 0; i < now->list.n; i++) {
        const struct node_xattr *x = &now->list.p[i];
        if (find(node->xattrs, node->xattrs_n, x->name))
            continue;
        if (lremovexattr(at, x->name.p) < 0 && errno != ENODATA)
            problem_add(problems, path, "its attribute %.100s cannot be removed: %s", x->name.p,
                        strerror(errno));
        else
            changed = true;
    }
    return changed;
}

bool attributes_match(struct attributes *now, int dir, const char *name, const struct node *node,
                      struct problems *problems, const char *path)
{
    struct place_text text;
    const char *at = proc_path(&text, dir, name);
    attributes_read(now, dir, name);
    attributes_report(now, problems, path);
    bool changed = remove_others(now, at, node, problems, path);
    for (size_t i = 0; i < node->xattrs_n; i++) {
        const struct node_xattr *want = &node->xattrs[i];
        const struct node_xattr *have = find(now->list.p, now->list.n, want->name);
        char *key CLEANUP(free_p) = str_dup(want->name);
        if (is_foreign(key) || (have && str_eq(have->value, want->value)))
            continue;
        bool whole = strlen(key) == want->name.n; /* a tree may hold what no file system does */
        errno = EINVAL;
        if (!whole || lsetxattr(at, key, want->value.n ? want->value.p : "", want->value.n, 0) < 0)
            problem_add(problems, path, "its attribute %.100s cannot be set: %s", key,
                        strerror(errno));
        else
            changed = true;
    }
    return changed;
}
