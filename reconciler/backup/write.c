/* Write and ReadBack: the objects, the grafted volumes and what is known of them, as one snapshot.
 */
#include "reconciler/backup/backup.h"
#include "reconciler/judge.h"
#include "reconciler/snapshot_layout.h"
#include "reconciler/store/lock.h"

#include "core/clock.h"
#include "mover/root.h"
#include "store/snapshot.h"
#include "store/synthetic.h"
#include "store/verify.h"

#include <sys/stat.h>

/* ---- objects ---- */

static int64_t created(struct arena *a, const struct kube_object *o)
{
    int64_t ms;
    const char *text = raw_text(a, o->raw, "metadata", "creationTimestamp", NULL);
    return text && clock_parse(str_of(text), &ms) ? ms / 1000 : 0;
}

static int add_text(struct synthetic *tree, struct arena *a, const char *path, str text,
                    int64_t time, struct err *err)
{
    return synthetic_add(tree, arena_printf(a, "/%s", path), text.p, text.n, time, err);
}

static int add_subject(struct backup_run *b, struct synthetic *tree, const struct subject *x,
                       struct err *err)
{
    const struct verdict *v = &x->verdict;
    str text = x->object.raw;
    const char *area = SNAPSHOT_RESOURCES;
    if (v->keep == KEEP_NONE)
        return 0;
    if (v->keep == KEEP_FIELDS) {
        area = SNAPSHOT_RESIDUE;
        if (residue_text(b->a, &x->object, v->fields, v->field_count, &text, err) < 0)
            return err_wrap(err, "%s %s", x->type->kind, x->object.name);
    }
    const char *path = snapshot_object_path(b->a, area, x->type, x->object.ns, x->object.name);
    return add_text(tree, b->a, path, text, created(b->a, &x->object), err);
}

static int keep_lock(void *ctx, uint64_t trees, uint64_t blobs, struct err *err)
{
    (void)trees;
    (void)blobs;
    struct backup_run *b = ctx;
    if (b->cx->stopping && atomic_load(b->cx->stopping))
        return err_set(err, ERR_CANCELLED, "the controller is stopping");
    return store_keep_lock(b->cx, &b->session->opened, b->session->lock, err);
}

/* ---- volumes ---- */

/* No snapshot refers to it yet, so that a prune takes it wherever there was no lock for a time: a
 * controller that was down for long, a store that was out of reach. */
static int check_moved(struct backup_run *b, json_t *row, struct err *err)
{
    struct verify_options options = {.progress = keep_lock, .ctx = b};
    struct store_id id;
    const char *hex = json_text_at(row, "tree", NULL);
    if (b->session->since_plan || !hex || !store_id_parse(str_of(hex), &id))
        return 0;
    if (verify_tree(b->session->opened.repo, &id, &options, NULL, err) < 0)
        return err_wrap(err, "what was stored of the volume of claim %s",
                        json_text_at(row, "claim", NULL));
    return 0;
}

static int graft(struct synthetic *tree, struct arena *a, json_t *row, struct err *err)
{
    struct store_id id;
    struct node like = {.mode = node_mode_from_posix(S_IFDIR | 0755)};
    const char *claim = json_text_at(row, "claim", NULL), *hex = json_text_at(row, "tree", NULL);
    const char *root = json_text_at(row, "root", NULL);
    if (!hex)
        return 0;
    if (!store_id_parse(str_of(hex), &id))
        return err_set(err, ERR_CORRUPT, "status.volumes: the tree of claim %s is not an id",
                       claim);
    if (root && root_parse(root, a, &like))
        like.ctime = like.mtime;
    if (synthetic_graft(tree, arena_printf(a, "/" SNAPSHOT_VOLUMES "/%s", claim), &id, &like, err) <
        0)
        return err_wrap(err, "the volume of claim %s", claim);
    return 0;
}

/* ---- what is known ---- */

/* Nothing in it differs between two runs over an unchanged target. A volume that was not copied is
 * named all the same: a Backup that is made for the snapshot later must say so. */
static json_t *meta(struct backup_run *b, const struct plan *p)
{
    json_t *volumes = json_array(), *row, *apps = json_array();
    size_t i;
    json_array_foreach(backup_rows(b), i, row)
    {
        json_t *v = json_object();
        static const char *const members[] = {"claim", "since",       "phase",   "tree",
                                              "root",  "consistency", "problems"};
        for (size_t m = 0; m < ARRAY_LEN(members); m++) {
            if (json_object_get(row, members[m]))
                json_object_set(v, members[m], json_object_get(row, members[m]));
        }
        json_array_append_new(volumes, v);
    }
    for (i = 0; i < p->app_count; i++)
        json_array_append_new(apps, json_pack("{s:s, s:s, s:s}", "kind", p->apps[i].type->kind,
                                              "namespace", p->apps[i].object.ns, "name",
                                              p->apps[i].object.name));
    json_t *all =
        json_pack("{s:i, s:{s:s, s:s, s:s}, s:s, s:s, s:O, s:o, s:o, s:b}", "version", 1, "target",
                  "kind", b->kind, "namespace", b->target_ns, "name", b->target, "namespace", p->ns,
                  "cluster", b->cx->cluster, "declared", json_object_get(b->st.now, "declared"),
                  "applications", apps, "volumes", volumes, "alone", p->alone);
    if (json_array_size(json_object_get(b->st.now, "problems")))
        json_object_set(all, "problems", json_object_get(b->st.now, "problems"));
    return all;
}

static int add_json(struct synthetic *tree, struct arena *a, const char *path, json_t *j,
                    struct err *err)
{
    struct buf text CLEANUP(buf_free) = {0};
    json_print(&text, j);
    return add_text(tree, a, path, buf_view(&text), 0, err);
}

/* ---- the snapshot ---- */

static int build(struct backup_run *b, const struct plan *p, struct store_id *ret, struct err *err)
{
    struct synthetic *tree CLEANUP(synthetic_free_p) = synthetic_new(b->session->opened.repo, 0);
    json_t *plan CLEANUP_JSON = plan_json(p), *backup CLEANUP_JSON = meta(b, p), *row;
    for (size_t i = 0; i < p->subject_count; i++) {
        if (add_subject(b, tree, &p->subjects[i], err) < 0)
            return -1;
    }
    size_t i;
    json_array_foreach(backup_rows(b), i, row)
    {
        if (check_moved(b, row, err) < 0 || graft(tree, b->a, row, err) < 0)
            return -1;
    }
    if (add_json(tree, b->a, SNAPSHOT_META_PLAN, plan, err) < 0 ||
        add_json(tree, b->a, SNAPSHOT_META_BACKUP, backup, err) < 0)
        return -1;
    return synthetic_finish(tree, ret, err);
}

/* The host of a snapshot is the cluster's name: the first element of the repository's path. */
static const char *host_of(struct backup_run *b)
{
    str path = str_of(b->session->opened.path);
    return arena_str(b->a, str_cut(&path, '/')).p;
}

/* Which volumes are in it, for who must tell later which backup is the last one that has them. */
static void add_claim_tags(struct backup_run *b, const char **tags, size_t *n)
{
    size_t i;
    json_t *row;
    json_array_foreach(backup_rows(b), i, row)
    {
        const char *since = json_text_at(row, "since", NULL);
        bool whole = streq(json_text_at(row, "phase", NULL), "Completed");
        if (since && json_object_get(row, "tree"))
            tags[(*n)++] = snapshot_claim_tag(b->a, json_text_at(row, "claim", NULL), since, whole);
    }
}

static int save(struct backup_run *b, const struct store_id *tree, struct store_id *ret,
                struct err *err)
{
    const char **tags = arena_alloc(b->a, (8 + json_array_size(backup_rows(b))) * sizeof *tags);
    size_t n = 0;
    tags[n++] = "gleaner";
    tags[n++] = arena_printf(b->a, "backup:%s/%s", b->ns, b->name);
    tags[n++] = arena_printf(b->a, "uid:%s", b->uid);
    tags[n++] = arena_printf(b->a, "target:%s/%s/%s", b->kind, b->target_ns, b->target);
    tags[n++] = backup_is_partial(b) ? "phase:PartiallyFailed" : "phase:Completed";
    if (b->safety_for)
        tags[n++] = arena_printf(b->a, "safety:%s", b->safety_for);
    if (b->schedule)
        tags[n++] = arena_printf(b->a, "schedule:%s/%s", b->ns, b->schedule);
    if (b->ttl)
        tags[n++] = arena_printf(b->a, "ttl:%s", b->ttl);
    add_claim_tags(b, tags, &n);
    static const char *const paths[] = {"/"};
    int64_t now = clock_wall_ms();
    struct snapshot s = {.time = {now / 1000, now % 1000 * 1000000},
                         .tree = *tree,
                         .paths = paths,
                         .paths_n = 1,
                         .hostname = host_of(b),
                         .username = "gleaner",
                         .tags = tags,
                         .tags_n = n};
    struct repository *repo = b->session->opened.repo;
    struct backup_written *w = &b->session->written;
    /* The lock is confirmed before the index and before the snapshot; see session_open. */
    if (repository_flush(repo, err) < 0)
        return -1;
    w->known = false; /* a snapshot whose answer was lost is there */
    if (snapshot_save(repo, &s, ret, err) < 0)
        return -1;
    *w = (struct backup_written){true, true, *ret, backup_is_partial(b)};
    b->session->stored = false; /* now it is named */
    return 0;
}

/* The status that went with the snapshot was never written, and Plan's knew less. */
static void take_tag(struct backup_run *b)
{
    if (b->session->written.partial && !backup_is_partial(b))
        status_set(&b->st, "problems",
                   json_pack("[s]", "the snapshot was written as PartiallyFailed, and the "
                                    "controller was stopped before it could say why"));
}

int backup_find_written(struct backup_run *b, const char **ret, struct err *err)
{
    struct session *s = b->session;
    char hex[STORE_ID_HEX];
    *ret = NULL;
    if (!s->written.known) {
        backend_look_again(s->opened.backend, BACKEND_SNAPSHOT);
        if (backup_look_at_snapshots(b, s, err) < 0)
            return -1;
    }
    if (s->written.has) {
        store_id_hex(&s->written.id, hex);
        *ret = arena_strdup(b->a, hex);
        take_tag(b);
        s->stored = false;
    }
    return 0;
}

/* Movers' packs are new to this process, unless it knows the trees already. */
static int load_moved(struct backup_run *b, struct err *err)
{
    struct repository *repo = b->session->opened.repo;
    struct store_id id;
    size_t i;
    json_t *row;
    bool known = true;
    json_array_foreach(backup_rows(b), i, row)
    {
        const char *hex = json_text_at(row, "tree", NULL);
        known &= !hex || (store_id_parse(str_of(hex), &id) &&
                          repository_has_blob(repo, BLOB_TREE, &id, NULL));
    }
    return known ? 0 : repository_load_index(repo, err);
}

static json_t *row_of(struct backup_run *b, const char *claim)
{
    size_t i;
    json_t *row;
    json_array_foreach(backup_rows(b), i, row)
    {
        if (streq(json_text_at(row, "claim", NULL), claim))
            return row;
    }
    return NULL;
}

/* Of a claim that came up after Plan, or was made anew after it was copied, there is no copy. */
static void look_at_claims_again(struct backup_run *b, const struct plan *p)
{
    for (size_t i = 0; i < p->claim_count; i++) {
        const struct plan_claim *c = &p->claims[i];
        json_t *row = row_of(b, c->name);
        const char *since = json_text_at(row, "since", NULL);
        if (!row) {
            json_array_append_new(backup_rows(b),
                                  json_pack("{s:s, s:s, s:s}", "claim", c->name, "phase", "Failed",
                                            "message", "it came up while the backup was running"));
        } else if (since && json_object_get(row, "tree") && !streq(since, c->since)) {
            json_object_set_new(row, "phase", json_string("PartiallyFailed"));
            json_object_set_new(row, "message",
                                json_string("the claim was made anew after it was copied: what it "
                                            "has now is not in this backup"));
        }
    }
}

int backup_write(struct backup_run *b, struct err *err)
{
    const char *written;
    if (backup_session(b, err) < 0 || backup_find_written(b, &written, err) < 0)
        return -1;
    if (!written) {
        struct plan plan;
        struct store_id tree, snapshot;
        char hex[STORE_ID_HEX];
        if (plan_make(b->cx, b->a, b->kind, b->target_ns, b->target, b->keep, &plan, err) < 0)
            return -1;
        if (!streq(plan.ns, status_text(&b->st, "namespace")))
            return err_set(
                err, ERR_REFUSED,
                "the content of %s moved to namespace %s while the backup was running: make "
                "another Backup",
                b->target, plan.ns);
        backup_set_plan(b, &plan);
        look_at_claims_again(b, &plan);
        if (load_moved(b, err) < 0)
            return -1;
        if (build(b, &plan, &tree, err) < 0 || save(b, &tree, &snapshot, err) < 0) {
            if (err && err->kind == ERR_GONE) /* our lock: the next try takes a new one */
                err->kind = ERR_UNAVAILABLE;
            return -1;
        }
        store_id_hex(&snapshot, hex);
        written = arena_strdup(b->a, hex);
    }
    status_set(&b->st, "snapshot", json_string(written));
    return BACKUP_NEXT;
}

/* ---- ReadBack ---- */

/* An earlier try has made it. */
static int find_broken(struct backup_run *b, const struct store_id *whole, struct store_id *ret,
                       bool *ret_found, struct err *err)
{
    const char *tags[] = {arena_printf(b->a, "uid:%s", b->uid), "phase:PartiallyFailed"};
    struct snapshot_filter filter = {.tags = tags, .tags_n = ARRAY_LEN(tags)};
    struct snapshot s;
    struct err why;
    int r = snapshot_find(b->session->opened.repo, "latest", &filter, b->a, &s, &why);
    if (r < 0 && why.kind != ERR_NOT_FOUND) {
        *err = why;
        return -1;
    }
    *ret_found = r == 0 && !store_id_equal(&s.id, whole);
    if (*ret_found)
        *ret = s.id;
    return 0;
}

/* Once the Failed Backup is deleted, its snapshot's tags are all that is known of it: they must not
 * call complete what cannot be read back, or retention would give up a good one for it. */
static int mark_broken(struct backup_run *b, const struct store_id *id, struct err *err)
{
    struct repository *repo = b->session->opened.repo;
    struct snapshot s;
    struct store_id broken;
    bool found;
    if (snapshot_load(repo, id, b->a, &s, err) < 0 || find_broken(b, id, &broken, &found, err) < 0)
        return -1;
    const char **tags = arena_alloc(b->a, (s.tags_n + 1) * sizeof *tags);
    for (size_t i = 0; i < s.tags_n; i++)
        tags[i] = snapshot_tag_broken(b->a, s.tags[i]);
    s.tags = tags;
    s.original = *id;
    s.has_original = true;
    if (!found && snapshot_save(repo, &s, &broken, err) < 0)
        return -1;
    char hex[STORE_ID_HEX];
    store_id_hex(&broken, hex);
    status_set(&b->st, "snapshot", json_string(hex));
    struct backend_file whole = {BACKEND_SNAPSHOT, *id};
    return backend_remove(b->session->opened.backend, &whole, err);
}

int backup_read_back(struct backup_run *b, struct err *err)
{
    struct store_id id;
    if (!store_id_parse(str_of(status_text(&b->st, "snapshot")), &id))
        return err_set(err, ERR_CORRUPT, "status.snapshot is not an id");
    if (backup_session(b, err) < 0)
        return -1;
    struct verify_options options = {.progress = keep_lock, .ctx = b};
    struct verify_result proof;
    struct err why;
    if (verify_read_back(b->session->opened.repo, &id, &options, &proof, &why) < 0) {
        struct err marking;
        bool broken = why.kind == ERR_CORRUPT || why.kind == ERR_TOO_LARGE;
        if (broken && mark_broken(b, &id, &marking) < 0 && err_is_transient(&marking))
            why = marking;
        if (err)
            *err = why;
        return err_wrap(err, "what was written cannot be read back");
    }
    status_set(&b->st, "size",
               json_pack("{s:I, s:I}", "files", (json_int_t)proof.files, "bytes",
                         (json_int_t)proof.bytes));
    return BACKUP_NEXT;
}
