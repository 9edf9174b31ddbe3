#include "reconciler/rules.h"

#include "core/vec.h"
#include "kube/types.h"

#include <fnmatch.h>
#include <pthread.h>
#include <stdio.h>
#include <yaml.h>

/* A list of words; n == 0: the key was not given. */
struct words {
    const char **p;
    size_t n;
};

enum match_key {
    KEY_GROUP,
    KEY_KIND,
    KEY_NAMESPACE,
    KEY_NAME,
    KEY_LABEL,
    KEY_ANNOTATION,
    KEY_OWNER,
    KEY_TYPE,
    KEY_FIELD,
    KEY_MAX
};

static const char *const key_names[KEY_MAX] = {
    [KEY_GROUP] = "group", [KEY_KIND] = "kind",   [KEY_NAMESPACE] = "namespace",
    [KEY_NAME] = "name",   [KEY_LABEL] = "label", [KEY_ANNOTATION] = "annotation",
    [KEY_OWNER] = "owner", [KEY_TYPE] = "type",   [KEY_FIELD] = "field",
};

struct entry {
    struct rule rule;
    struct words match[KEY_MAX];
};

struct pair {
    const char *owner_group, *owner_kind, *child_group, *child_kind;
};

struct catalogue {
    struct entry *entries;
    size_t entry_count;
    struct pair *pairs;
    size_t pair_count;
    struct words noise, platform;
};

/* ---- reading the table ---- */

struct reader {
    struct arena *a;
    yaml_document_t doc;
    const char *where; /* the rule that is being read, for messages */
};

static const char *scalar(struct reader *r, const yaml_node_t *n)
{
    if (!n || n->type != YAML_SCALAR_NODE)
        return NULL;
    return arena_strndup(r->a, (const char *)n->data.scalar.value, n->data.scalar.length);
}

static yaml_node_t *member(struct reader *r, const yaml_node_t *map, const char *name)
{
    if (!map || map->type != YAML_MAPPING_NODE)
        return NULL;
    for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top;
         p++) {
        const yaml_node_t *key = yaml_document_get_node(&r->doc, p->key);
        if (key->type == YAML_SCALAR_NODE && streq((const char *)key->data.scalar.value, name))
            return yaml_document_get_node(&r->doc, p->value);
    }
    return NULL;
}

/* A word, or a list of words. */
static int read_words(struct reader *r, const yaml_node_t *n, struct words *ret, struct err *err)
{
    const char *one = scalar(r, n);
    if (one) {
        ret->p = arena_alloc(r->a, sizeof *ret->p);
        ret->p[0] = one;
        ret->n = 1;
        return 0;
    }
    if (!n || n->type != YAML_SEQUENCE_NODE)
        return err_set(err, ERR_INVALID, "catalogue: %s: a text or a list of texts is needed",
                       r->where);
    size_t count = (size_t)(n->data.sequence.items.top - n->data.sequence.items.start);
    ret->p = arena_alloc(r->a, count * sizeof *ret->p);
    for (size_t i = 0; i < count; i++) {
        ret->p[i] = scalar(r, yaml_document_get_node(&r->doc, n->data.sequence.items.start[i]));
        if (!ret->p[i])
            return err_set(err, ERR_INVALID, "catalogue: %s: a list of texts is needed", r->where);
    }
    ret->n = count;
    return 0;
}

static int read_match(struct reader *r, const yaml_node_t *n, struct entry *e, struct err *err)
{
    if (!n || n->type != YAML_MAPPING_NODE)
        return err_set(err, ERR_INVALID, "catalogue: %s: no match", r->where);
    for (yaml_node_pair_t *p = n->data.mapping.pairs.start; p < n->data.mapping.pairs.top; p++) {
        const char *name = scalar(r, yaml_document_get_node(&r->doc, p->key));
        size_t k = 0;
        while (k < KEY_MAX && !streq(name, key_names[k]))
            k++;
        if (k == KEY_MAX)
            return err_set(err, ERR_INVALID, "catalogue: %s: unknown key \"%s\" in match", r->where,
                           name ? name : "");
        if (read_words(r, yaml_document_get_node(&r->doc, p->value), &e->match[k], err) < 0)
            return -1;
    }
    return 0;
}

static bool parse_keep(const char *text, enum verdict_keep *ret)
{
    for (int k = KEEP_NONE; k <= KEEP_OBJECT; k++) {
        if (streq(text, verdict_keep_name((enum verdict_keep)k))) {
            *ret = (enum verdict_keep)k;
            return true;
        }
    }
    return false;
}

static bool parse_restore(const char *text, enum verdict_restore *ret)
{
    for (int k = RESTORE_NORMAL; k <= RESTORE_NEVER; k++) {
        if (streq(text, verdict_restore_name((enum verdict_restore)k))) {
            *ret = (enum verdict_restore)k;
            return true;
        }
    }
    return false;
}

static int read_entry(struct reader *r, const yaml_node_t *n, struct entry *e, struct err *err)
{
    e->rule.id = r->where = scalar(r, member(r, n, "id"));
    if (!r->where)
        return err_set(err, ERR_INVALID, "catalogue: a rule without id");
    e->rule.reason = scalar(r, member(r, n, "reason"));
    if (!e->rule.reason)
        return err_set(err, ERR_INVALID, "catalogue: %s: no reason", r->where);
    if (!verdict_class_parse(scalar(r, member(r, n, "class")), &e->rule.class))
        return err_set(err, ERR_INVALID, "catalogue: %s: class is not one", r->where);
    const yaml_node_t *keep = member(r, n, "keep"), *restore = member(r, n, "restore");
    if (keep && !parse_keep(scalar(r, keep), &e->rule.keep))
        return err_set(err, ERR_INVALID, "catalogue: %s: keep is not one", r->where);
    if (restore && !parse_restore(scalar(r, restore), &e->rule.restore))
        return err_set(err, ERR_INVALID, "catalogue: %s: restore is not one", r->where);
    return read_match(r, member(r, n, "match"), e, err);
}

static int read_pair(struct reader *r, const yaml_node_t *n, struct pair *p, struct err *err)
{
    const yaml_node_t *owner = member(r, n, "owner"), *child = member(r, n, "child");
    *p = (struct pair){scalar(r, member(r, owner, "group")), scalar(r, member(r, owner, "kind")),
                       scalar(r, member(r, child, "group")), scalar(r, member(r, child, "kind"))};
    if (!p->owner_group || !p->owner_kind || !p->child_group || !p->child_kind)
        return err_set(err, ERR_INVALID,
                       "catalogue: regenerates: owner and child need group and kind");
    return 0;
}

static size_t items(const yaml_node_t *n)
{
    if (!n || n->type != YAML_SEQUENCE_NODE)
        return 0;
    return (size_t)(n->data.sequence.items.top - n->data.sequence.items.start);
}

static int read_document(struct reader *r, struct catalogue *c, struct err *err)
{
    const yaml_node_t *root = yaml_document_get_root_node(&r->doc);
    const yaml_node_t *rules = member(r, root, "rules"), *pairs = member(r, root, "regenerates");
    c->entry_count = items(rules);
    c->entries = arena_alloc(r->a, c->entry_count * sizeof *c->entries);
    for (size_t i = 0; i < c->entry_count; i++) {
        const yaml_node_t *n = yaml_document_get_node(&r->doc, rules->data.sequence.items.start[i]);
        if (read_entry(r, n, &c->entries[i], err) < 0)
            return -1;
    }
    c->pair_count = items(pairs);
    c->pairs = arena_alloc(r->a, c->pair_count * sizeof *c->pairs);
    for (size_t i = 0; i < c->pair_count; i++) {
        const yaml_node_t *n = yaml_document_get_node(&r->doc, pairs->data.sequence.items.start[i]);
        if (read_pair(r, n, &c->pairs[i], err) < 0)
            return -1;
    }
    const yaml_node_t *noise = member(r, root, "noise-annotations");
    const yaml_node_t *platform = member(r, root, "platform-managers");
    r->where = "noise-annotations";
    if (noise && read_words(r, noise, &c->noise, err) < 0)
        return -1;
    r->where = "platform-managers";
    return platform ? read_words(r, platform, &c->platform, err) : 0;
}

int catalogue_parse(struct arena *a, str yaml, const struct catalogue **ret, struct err *err)
{
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser))
        return err_set(err, ERR_INTERNAL, "catalogue: libyaml does not start");
    yaml_parser_set_input_string(&parser, (const unsigned char *)yaml.p, yaml.n);
    struct reader r = {.a = a, .where = ""};
    struct catalogue *c = arena_new_of(a, struct catalogue);
    int result = -1;
    if (!yaml_parser_load(&parser, &r.doc)) {
        (void)err_set(err, ERR_INVALID, "catalogue: line %zu: %s", parser.problem_mark.line + 1,
                      parser.problem ? parser.problem : "not YAML");
    } else {
        result = read_document(&r, c, err);
        yaml_document_delete(&r.doc);
    }
    yaml_parser_delete(&parser);
    if (result == 0)
        *ret = c;
    return result;
}

/* The bytes of rules/kubernetes.yaml: see rules_data.c. */
extern const char rules_kubernetes_yaml[], rules_kubernetes_yaml_end[];

static const struct catalogue *builtin;

static void builtin_load(void)
{
    struct err err;
    str text = {rules_kubernetes_yaml, (size_t)(rules_kubernetes_yaml_end - rules_kubernetes_yaml)};
    static struct arena *forever;
    forever = arena_new();
    if (catalogue_parse(forever, text, &builtin, &err) < 0) {
        fprintf(stderr, "gleaner: the built-in catalogue is broken: %s\n", err.msg);
        abort();
    }
}

const struct catalogue *catalogue_builtin(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, builtin_load);
    return builtin;
}

size_t catalogue_count(const struct catalogue *c)
{
    return c->entry_count;
}

const struct rule *catalogue_at(const struct catalogue *c, size_t i)
{
    return &c->entries[i].rule;
}

/* ---- matching ---- */

static bool glob_any(const struct words *w, const char *text)
{
    for (size_t i = 0; i < w->n; i++) {
        if (fnmatch(w->p[i], text, 0) == 0)
            return true;
    }
    return false;
}

/* "key" or "key=value" against the members of a map of strings. */
static bool marks_any(struct arena *a, const struct words *w, str map)
{
    str key, value;
    for (struct raw_iter it = raw_iter(map); raw_next(&it, &key, &value);) {
        const char *name = raw_string(a, key).p;
        for (size_t i = 0; name && i < w->n; i++) {
            str want = str_of(w->p[i]);
            str want_key = str_cut(&want, '=');
            if (fnmatch(arena_str(a, want_key).p, name, 0) != 0)
                continue;
            if (!want.p || raw_is(value, want.p))
                return true;
        }
    }
    return false;
}

static bool owners_any(struct arena *a, const struct words *w, const struct kube_object *o)
{
    struct kube_owner owner;
    for (struct raw_iter it = kube_owners(o); kube_owner_next(a, &it, &owner);) {
        if (glob_any(w, owner.kind))
            return true;
    }
    return false;
}

static bool fields_any(struct arena *a, const struct words *w, const struct kube_object *o)
{
    for (size_t i = 0; i < w->n; i++) {
        str want = str_of(w->p[i]);
        str path = str_cut(&want, '=');
        str at = o->raw;
        while (path.p && at.p)
            at = raw_get(at, arena_str(a, str_cut(&path, '.')).p);
        if (at.p && !str_is(at, "null") && (!want.p || raw_is(at, want.p)))
            return true;
    }
    return false;
}

static bool key_hits(struct arena *a, enum match_key key, const struct words *w,
                     const struct kube_type *t, const struct kube_object *o)
{
    switch (key) {
    case KEY_GROUP:
        return glob_any(w, t->group);
    case KEY_KIND:
        return glob_any(w, t->kind);
    case KEY_NAMESPACE:
        return glob_any(w, o->ns);
    case KEY_NAME:
        return glob_any(w, o->name);
    case KEY_LABEL:
        return marks_any(a, w, raw_at(o->raw, "metadata", "labels", NULL));
    case KEY_ANNOTATION:
        return marks_any(a, w, raw_at(o->raw, "metadata", "annotations", NULL));
    case KEY_OWNER:
        return owners_any(a, w, o);
    case KEY_TYPE: {
        const char *type = raw_text(a, o->raw, "type", NULL);
        return type && glob_any(w, type);
    }
    case KEY_FIELD:
        return fields_any(a, w, o);
    case KEY_MAX:
        break;
    }
    return false;
}

const struct rule *catalogue_find(const struct catalogue *c, struct arena *a,
                                  enum verdict_class class, const struct kube_type *t,
                                  const struct kube_object *o)
{
    for (size_t i = 0; i < c->entry_count; i++) {
        const struct entry *e = &c->entries[i];
        bool hit = e->rule.class == class;
        for (int k = 0; hit && k < KEY_MAX; k++)
            hit = e->match[k].n == 0 || key_hits(a, (enum match_key)k, &e->match[k], t, o);
        if (hit)
            return &e->rule;
    }
    return NULL;
}

bool catalogue_regenerates(const struct catalogue *c, const char *owner_group,
                           const char *owner_kind, const char *child_group, const char *child_kind)
{
    for (size_t i = 0; i < c->pair_count; i++) {
        const struct pair *p = &c->pairs[i];
        if (streq(p->owner_group, owner_group) && streq(p->owner_kind, owner_kind) &&
            streq(p->child_group, child_group) && streq(p->child_kind, child_kind))
            return true;
    }
    return false;
}

bool catalogue_noise_annotation(const struct catalogue *c, const char *key)
{
    return glob_any(&c->noise, key);
}

bool catalogue_platform_manager(const struct catalogue *c, const char *manager)
{
    return glob_any(&c->platform, manager);
}
