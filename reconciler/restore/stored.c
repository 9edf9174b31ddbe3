#include "reconciler/restore/stored.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "store/stream.h"
#include "store/tree.h"
#include "core/vec.h"

enum { ITEMS_MAX = 1000000 };

/* ---- reading ---- */

static int gather(void *ctx, const void *p, size_t n, struct err *err)
{
    struct buf *b = ctx;
    buf_add(b, p, n);
    return b->overflow ? err_set(err, ERR_TOO_LARGE, "larger than any object may be") : 0;
}

static int load_chunks(struct stored *s, struct arena *a, const char *path,
                       const struct store_id *chunks, size_t n, str *ret, struct err *err)
{
    struct buf text CLEANUP(buf_free) = {.cap = KUBE_MAX_OBJECT};
    if (stream_load(s->opened.repo, chunks, n, gather, &text, err) < 0)
        return err_wrap(err, "reading %s of snapshot", path);
    *ret = arena_str(a, (str){text.p ? text.p : "", text.n});
    return 0;
}

static int load_json(struct stored *s, const char *path, json_t **ret, struct err *err)
{
    struct node node;
    str text;
    if (tree_find(s->opened.repo, &s->snapshot.tree, path, s->a, &node, err) < 0)
        return err_wrap(err, "the snapshot has no %s", path);
    if (load_chunks(s, s->a, path, node.content, node.content_n, &text, err) < 0)
        return -1;
    struct err why;
    if (json_parse(text, ret, &why) < 0)
        return err_set(err, ERR_CORRUPT, "%s in the snapshot: %s", path, why.msg);
    return 0;
}

/* One is kept open: one Restore works at a time. */
static pthread_mutex_t kept_lock = PTHREAD_MUTEX_INITIALIZER;
static struct stored *kept;

static struct stored *swap_kept(struct stored *s)
{
    pthread_mutex_lock(&kept_lock);
    struct stored *old = kept;
    kept = s;
    pthread_mutex_unlock(&kept_lock);
    return old;
}

static int open_anew(struct context *cx, struct stored *s, const struct stored_question *q,
                     struct err *err)
{
    if (store_open(cx, s->own, q->store, q->content_ns, false, &s->opened, err) < 0)
        return err_wrap(err, "the repository of namespace %s", q->content_ns);
    if (q->mover && !s->opened.mover_password[0]) {
        /* The repository is there; its key for this namespace is not. */
        store_close(&s->opened);
        if (store_open(cx, s->own, q->store, q->content_ns, true, &s->opened, err) < 0)
            return err_wrap(err, "the repository of namespace %s", q->content_ns);
    }
    struct err why;
    if (store_may_write(&s->opened, &why) == 0 &&
        store_lock(cx, s->own, &s->opened, false, &s->lock, err) < 0)
        return -1;
    /* A snapshot refers to packs that are in the index by then: first the snapshot, then the index.
     */
    if (snapshot_find(s->opened.repo, q->snapshot, NULL, s->own, &s->snapshot, err) < 0 ||
        repository_load_index(s->opened.repo, err) < 0 ||
        load_json(s, SNAPSHOT_META_PLAN, &s->plan, err) < 0 ||
        load_json(s, SNAPSHOT_META_BACKUP, &s->backup, err) < 0)
        return err_wrap(err, "snapshot %.8s", q->snapshot);
    return 0;
}

/* False if the lock is lost: what was read may have moved since. */
static bool keep_lock(struct context *cx, struct stored *s)
{
    struct err why;
    return !s->lock || store_keep_lock(cx, &s->opened, s->lock, &why) == 0;
}

int stored_open(struct context *cx, struct arena *a, const struct stored_question *q,
                struct stored **ret, struct err *err)
{
    char key[sizeof((struct stored){0}.key)];
    snprintf(key, sizeof key, "%.64s %.64s %s", q->uid, q->snapshot, q->mover ? "mover" : "");
    struct stored *s = swap_kept(NULL);
    if (s && streq(s->key, key) && keep_lock(cx, s)) {
        s->a = a;
        *ret = s;
        return 0;
    }
    stored_close(s);
    s = xcalloc(1, sizeof *s);
    s->own = s->a = arena_new();
    memcpy(s->key, key, sizeof key);
    if (open_anew(cx, s, q, err) < 0) {
        stored_close(s);
        return -1;
    }
    s->a = a;
    *ret = s;
    return 0;
}

void stored_close(struct stored *s)
{
    if (!s)
        return;
    json_decref(s->plan);
    json_decref(s->backup);
    /* A lock that cannot be removed is refreshed by nobody, and swept. */
    (void)!lock_release(s->lock, NULL);
    store_close(&s->opened);
    arena_free(s->own);
    free(s);
}

void stored_keep(struct stored *s)
{
    if (s)
        stored_close(swap_kept(s));
}

void stored_drop(void)
{
    stored_close(swap_kept(NULL));
}

/* ---- the list ---- */

/* The order of kinds: what others refer to comes first, what starts pods or judges requests last.
 */
static const struct {
    const char *group, *resource;
    int rank;
} ranks[] = {
    {"", "serviceaccounts", 1},
    {"rbac.authorization.k8s.io", "roles", 1},
    {"rbac.authorization.k8s.io", "rolebindings", 2},
    {"", "secrets", 2},
    {"", "configmaps", 2},
    {"", "persistentvolumeclaims", 3},
    {"", "services", 3},
    {"batch", "jobs", 7},
    {"batch", "cronjobs", 8},
    {"apps", "replicasets", 8},
    {"apps", "deployments", 8},
    {"apps", "statefulsets", 8},
    {"apps", "daemonsets", 8},
    {"admissionregistration.k8s.io", "validatingwebhookconfigurations", 9},
    {"admissionregistration.k8s.io", "mutatingwebhookconfigurations", 9},
};

static int rank_of(const struct item *it)
{
    for (size_t i = 0; i < ARRAY_LEN(ranks); i++)
        if (streq(it->group, ranks[i].group) && streq(it->resource, ranks[i].resource))
            return ranks[i].rank;
    return 5;
}

bool item_is_workload(const struct item *it)
{
    return rank_of(it) == 8;
}

bool item_is_definition(const struct item *it)
{
    return (streq(it->group, "") && streq(it->resource, "namespaces")) ||
           (streq(it->group, "apiextensions.k8s.io") &&
            streq(it->resource, "customresourcedefinitions"));
}

bool item_is_configuration(const struct item *it)
{
    return rank_of(it) <= 2;
}

bool item_has_drifted(const struct item *it)
{
    return streq(it->class, verdict_class_name(VERDICT_DRIFTED));
}

bool item_is_job(const struct item *it)
{
    return streq(it->group, "batch") && streq(it->resource, "jobs");
}

static int when(enum verdict_restore r)
{
    return r == RESTORE_FIRST ? 0 : r == RESTORE_NORMAL ? 1 : 2;
}

static int by_order(const void *x, const void *y)
{
    const struct item *a = x, *b = y;
    if (when(a->restore) != when(b->restore))
        return when(a->restore) - when(b->restore);
    if (rank_of(a) != rank_of(b))
        return rank_of(a) - rank_of(b);
    return strcmp(a->path, b->path);
}

struct listing {
    struct stored *s;
    const char *area;
    VEC(struct item) items;
};

static int add_item(void *ctx, const char *path, const struct node *node, struct err *err)
{
    struct listing *l = ctx;
    struct arena *a = l->s->a;
    if (node->type == NODE_DIR)
        return TREE_WALK_ON;
    if (l->items.n == ITEMS_MAX)
        return err_set(err, ERR_TOO_LARGE, "the snapshot has more than %d objects", ITEMS_MAX);
    struct item it = {.path = arena_printf(a, "/%s%s", l->area, path),
                      .size = node->size,
                      .chunk_count = node->content_n,
                      .restore = RESTORE_NORMAL,
                      .core = true,
                      .class = ""};
    if (node->type != NODE_FILE ||
        !snapshot_parse_path(a, str_of(path + 1), &it.resource, &it.group, &it.ns, &it.name))
        return err_set(err, ERR_CORRUPT, "%s in the snapshot is no place of an object", it.path);
    it.ns = it.ns ? it.ns : "";
    it.group = it.group ? it.group : "";
    it.chunks = arena_alloc(a, node->content_n * sizeof *it.chunks);
    if (node->content_n)
        memcpy(it.chunks, node->content, node->content_n * sizeof *it.chunks);
    *vec_add(&l->items) = it;
    return TREE_WALK_ON;
}

static enum verdict_restore parse_restore(const char *text)
{
    for (int r = RESTORE_NORMAL; r <= RESTORE_NEVER; r++)
        if (streq(text, verdict_restore_name((enum verdict_restore)r)))
            return (enum verdict_restore)r;
    return RESTORE_NORMAL;
}

static const char *text_of(json_t *object, const char *member)
{
    const char *text = json_text_at(object, member, NULL);
    return text ? text : "";
}

/* Rows of the plan by "group/kind-in-lower-case/ns/name": paths have resources, the plan has kinds,
 * and an object's own bytes join the two; see stored_object. Here the resource is matched by the
 * plural rules that hold for every built-in kind, and by the plan's own resource where it has one.
 */
static char *row_key(const char *group, const char *resource, const char *ns, const char *name)
{
    return xasprintf("%s/%s/%s/%s", group, resource, ns, name);
}

static char *plural(const char *kind)
{
    char *lower = xstrdup(kind);
    for (char *p = lower; *p; p++)
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p - 'A' + 'a');
    size_t n = strlen(lower);
    char *out;
    if (n > 1 && lower[n - 1] == 'y' && !strchr("aeiou", lower[n - 2]))
        out = xasprintf("%.*sies", (int)n - 1, lower);
    else if (n && (lower[n - 1] == 's' || lower[n - 1] == 'x'))
        out = xasprintf("%ses", lower);
    else
        out = xasprintf("%ss", lower);
    free(lower);
    return out;
}

static struct map *rows_of(struct stored *s)
{
    struct map *rows = map_new(NULL);
    size_t i;
    json_t *row;
    json_array_foreach(json_object_get(s->plan, "objects"), i, row)
    {
        char *guess CLEANUP(free_p) = plural(text_of(row, "kind"));
        const char *resource = json_text_at(row, "resource", NULL);
        char *key CLEANUP(free_p) = row_key(text_of(row, "group"), resource ? resource : guess,
                                            text_of(row, "namespace"), text_of(row, "name"));
        map_put(rows, str_of(key), row);
    }
    return rows;
}

static void read_row(struct item *it, json_t *row)
{
    it->class = text_of(row, "class");
    it->restore = parse_restore(json_text_at(row, "restore", NULL));
    json_t *core = json_object_get(row, "core");
    it->core = !core || json_is_true(core);
}

int stored_items(struct stored *s, const char *area, struct item **ret, size_t *ret_n,
                 struct err *err)
{
    struct store_id tree;
    struct err why;
    if (tree_find_dir(s->opened.repo, &s->snapshot.tree, area, &tree, &why) < 0) {
        if (why.kind != ERR_NOT_FOUND)
            return err_set(err, why.kind, "/%s in the snapshot: %s", area, why.msg);
        *ret = NULL;
        *ret_n = 0;
        return 0;
    }
    struct listing l = {.s = s, .area = area};
    struct tree_visitor visitor = {.node = add_item, .ctx = &l};
    if (tree_walk(s->opened.repo, &tree, &visitor, err) < 0) {
        vec_free(&l.items);
        return err_wrap(err, "listing /%s of the snapshot", area);
    }
    struct map *rows CLEANUP(map_free_p) = rows_of(s);
    for (size_t i = 0; i < l.items.n; i++) {
        struct item *it = &l.items.p[i];
        char *key CLEANUP(free_p) = row_key(it->group, it->resource, it->ns, it->name);
        json_t *row = map_get(rows, str_of(key));
        if (row)
            read_row(it, row);
    }
    if (l.items.n)
        qsort(l.items.p, l.items.n, sizeof *l.items.p, by_order);
    *ret = arena_alloc(s->a, l.items.n * sizeof **ret);
    if (l.items.n)
        memcpy(*ret, l.items.p, l.items.n * sizeof **ret);
    *ret_n = l.items.n;
    vec_free(&l.items);
    return 0;
}

int stored_object(struct stored *s, struct arena *a, const struct item *it, struct kube_object *ret,
                  struct err *err)
{
    str text;
    struct kube_object o;
    if (load_chunks(s, a, it->path, it->chunks, it->chunk_count, &text, err) < 0)
        return -1;
    struct err why;
    if (raw_check(text, &why) < 0 || kube_object_read(a, text, &o, &why) < 0)
        return err_set(err, ERR_CORRUPT, "%s in the snapshot is not an object: %s", it->path,
                       why.msg);
    if (!str_is(kube_group_of(o.api_version), it->group) || !streq(o.ns, it->ns) ||
        !streq(o.name, it->name))
        return err_set(err, ERR_CORRUPT,
                       "%s in the snapshot says that it is %s %s/%s: the store was tampered with",
                       it->path, o.kind, o.ns, o.name);
    *ret = o;
    return 0;
}

int stored_volume(struct stored *s, const char *claim, const char **ret_tree, struct err *err)
{
    struct store_id tree;
    char *path CLEANUP(free_p) = xasprintf("%s/%s", SNAPSHOT_VOLUMES, claim);
    if (tree_find_dir(s->opened.repo, &s->snapshot.tree, path, &tree, err) < 0)
        return err_wrap(err, "the volume of claim %s", claim);
    char hex[STORE_ID_HEX];
    store_id_hex(&tree, hex);
    *ret_tree = arena_strdup(s->a, hex);
    return 0;
}

int stored_planned(struct stored *s,
                   int (*each)(void *ctx, const struct planned *p, struct err *err), void *ctx,
                   struct err *err)
{
    size_t i;
    json_t *row;
    json_array_foreach(json_object_get(s->plan, "objects"), i, row)
    {
        json_t *core = json_object_get(row, "core");
        struct planned p = {.group = text_of(row, "group"),
                            .kind = text_of(row, "kind"),
                            .ns = text_of(row, "namespace"),
                            .name = text_of(row, "name"),
                            .class = text_of(row, "class"),
                            .keep = text_of(row, "keep"),
                            .core = !core || json_is_true(core)};
        if (each(ctx, &p, err) < 0)
            return -1;
    }
    return 0;
}
