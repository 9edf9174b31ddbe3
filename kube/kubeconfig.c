/* Kubeconfig files: YAML of kind Config, merged as client-go's clientcmd does. Only what is asked
 * for is looked at: a broken user of another context does no harm. */
#include <libgen.h>
#include <stdlib.h>
#include <yaml.h>

#include "core/codec.h"
#include "kube/config_private.h"

struct doc {
    const char *path;
    yaml_document_t yaml;
    bool loaded;
};

struct docs {
    struct doc *p;
    size_t n;
};

static void docs_free(struct docs *d)
{
    for (size_t i = 0; i < d->n; i++)
        if (d->p[i].loaded)
            yaml_document_delete(&d->p[i].yaml);
    free(d->p);
}

static int parse(struct doc *d, str text, struct err *err)
{
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser))
        return err_set(err, ERR_INTERNAL, "no YAML parser");
    yaml_parser_set_input_string(&parser, (const unsigned char *)(text.p ? text.p : ""), text.n);
    d->loaded = yaml_parser_load(&parser, &d->yaml);
    int line = (int)parser.problem_mark.line + 1;
    const char *problem = parser.problem ? parser.problem : "unreadable";
    int r = 0;
    if (!d->loaded)
        r = err_set(err, ERR_INVALID, "%s is not YAML: line %d: %s", d->path, line, problem);
    yaml_parser_delete(&parser);
    return r;
}

static yaml_node_t *member(yaml_document_t *y, yaml_node_t *map, const char *name)
{
    if (!map || map->type != YAML_MAPPING_NODE)
        return NULL;
    for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top;
         p++) {
        yaml_node_t *key = yaml_document_get_node(y, p->key);
        if (key && key->type == YAML_SCALAR_NODE &&
            str_is((str){(char *)key->data.scalar.value, key->data.scalar.length}, name))
            return yaml_document_get_node(y, p->value);
    }
    return NULL;
}

/* The text of a scalar member; absent where it is missing, empty, null or holds a NUL byte. */
static str text_at(yaml_document_t *y, yaml_node_t *map, const char *name)
{
    yaml_node_t *node = member(y, map, name);
    if (!node || node->type != YAML_SCALAR_NODE || node->data.scalar.length == 0)
        return (str){0};
    str s = {(char *)node->data.scalar.value, node->data.scalar.length};
    bool plain = node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if ((plain && (str_is(s, "null") || str_is(s, "~"))) || memchr(s.p, '\0', s.n))
        return (str){0};
    return s;
}

/* The entry {name: ..., <inner>: {...}} of a list like "clusters", from the first file that has it.
 */
static yaml_node_t *entry(struct docs *docs, const char *list, const char *inner, str name,
                          struct doc **ret_doc)
{
    for (size_t i = 0; i < docs->n; i++) {
        yaml_document_t *y = &docs->p[i].yaml;
        yaml_node_t *all = member(y, yaml_document_get_root_node(y), list);
        if (!all || all->type != YAML_SEQUENCE_NODE)
            continue;
        for (yaml_node_item_t *item = all->data.sequence.items.start;
             item < all->data.sequence.items.top; item++) {
            yaml_node_t *node = yaml_document_get_node(y, *item);
            str has = text_at(y, node, "name");
            if (!has.p || !str_eq(has, name))
                continue;
            *ret_doc = &docs->p[i];
            return member(y, node, inner);
        }
    }
    return NULL;
}

static char *resolve(const struct doc *d, str path)
{
    if (path.p[0] == '/')
        return str_dup(path);
    char *copy CLEANUP(free_p) = xstrdup(d->path);
    return xasprintf("%s/%.*s", dirname(copy), STR_FMT(path));
}

/* A PEM text from NAME-data (base64) or the file NAME. */
static int pem_at(struct doc *d, yaml_node_t *map, const char *name, char **ret, struct err *err)
{
    char *data_name CLEANUP(free_p) = xasprintf("%s-data", name);
    str data = text_at(&d->yaml, map, data_name), file = text_at(&d->yaml, map, name);
    if (data.p) {
        struct buf b CLEANUP(buf_free) = {.cap = CONFIG_FILE_CAP};
        if (base64_decode(&b, data, err) < 0)
            return err_wrap(err, "%s: %s", d->path, data_name);
        *ret = buf_take(&b);
        return 0;
    }
    if (!file.p)
        return 0;
    char *path CLEANUP(free_p) = resolve(d, file);
    if (config_read_file(path, ret, err) < 0)
        return err_wrap(err, "%s: %s", d->path, name);
    return 0;
}

/* What we would have to do and do not: refused by name, never ignored. */
static int refuse(struct doc *d, yaml_node_t *map, const char *const *names, const char *what,
                  struct err *err)
{
    for (; *names; names++) {
        yaml_node_t *node = member(&d->yaml, map, *names);
        if (node && (node->type != YAML_SCALAR_NODE || node->data.scalar.length))
            return err_set(err, ERR_UNSUPPORTED,
                           "%s: the %s uses %s, which is not supported: use a token, a token file "
                           "or a client certificate",
                           d->path, what, *names);
    }
    return 0;
}

static int read_cluster(struct docs *docs, str name, struct kube_config *c, struct err *err)
{
    static const char *const refused[] = {"proxy-url", "tls-server-name", NULL};
    struct doc *d = NULL;
    yaml_node_t *map = entry(docs, "clusters", "cluster", name, &d);
    if (!map)
        return err_set(err, ERR_INVALID, "%s: the context's cluster \"%.*s\" is not defined",
                       docs->p[0].path, STR_FMT(name));
    if (refuse(d, map, refused, "cluster", err) < 0)
        return -1;
    c->server = str_dup(text_at(&d->yaml, map, "server"));
    c->insecure = str_is(text_at(&d->yaml, map, "insecure-skip-tls-verify"), "true");
    return pem_at(d, map, "certificate-authority", &c->ca, err);
}

static int read_user(struct docs *docs, str name, struct kube_config *c, struct err *err)
{
    static const char *const refused[] = {"exec", "auth-provider", "username", "password",
                                          "as",   "as-groups",     "as-uid",   NULL};
    struct doc *d = NULL;
    yaml_node_t *map = entry(docs, "users", "user", name, &d);
    if (!map)
        return err_set(err, ERR_INVALID, "%s: the context's user \"%.*s\" is not defined",
                       docs->p[0].path, STR_FMT(name));
    if (refuse(d, map, refused, "user", err) < 0)
        return -1;
    str token = text_at(&d->yaml, map, "token"), file = text_at(&d->yaml, map, "tokenFile");
    c->token = str_dup(token);
    if (file.p)
        c->token_file = resolve(d, file);
    if (pem_at(d, map, "client-certificate", &c->client_cert, err) < 0)
        return -1;
    return pem_at(d, map, "client-key", &c->client_key, err);
}

static str current_context(struct docs *docs)
{
    for (size_t i = 0; i < docs->n; i++) {
        yaml_document_t *y = &docs->p[i].yaml;
        str s = text_at(y, yaml_document_get_root_node(y), "current-context");
        if (s.p)
            return s;
    }
    return (str){0};
}

int kubeconfig_read(const struct kubeconfig_text *texts, size_t n, const char *context,
                    struct kube_config *c, struct err *err)
{
    struct docs docs CLEANUP(docs_free) = {xcalloc(n, sizeof *docs.p), n};
    for (size_t i = 0; i < n; i++) {
        docs.p[i].path = texts[i].path;
        if (parse(&docs.p[i], texts[i].text, err) < 0)
            return -1;
    }
    str name = context ? str_of(context) : current_context(&docs);
    if (!name.p)
        return err_set(err, ERR_INVALID, "%s: current-context is not set", docs.p[0].path);
    struct doc *d = NULL;
    yaml_node_t *map = entry(&docs, "contexts", "context", name, &d);
    if (!map)
        return err_set(err, ERR_INVALID, "%s: the context \"%.*s\" is not defined", docs.p[0].path,
                       STR_FMT(name));
    str cluster = text_at(&d->yaml, map, "cluster"), user = text_at(&d->yaml, map, "user");
    c->ns = str_dup(text_at(&d->yaml, map, "namespace"));
    if (read_cluster(&docs, cluster, c, err) < 0)
        return -1;
    if (user.p && read_user(&docs, user, c, err) < 0)
        return -1;
    return config_check(c, d->path, err);
}
