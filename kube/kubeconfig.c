/* Kubeconfig files: YAML of kind Config, merged as client-go's clientcmd does. Only what is asked
 * for is looked at: a broken user of another context does no harm. */
#include <libgen.h>
#include <stdlib.h>
#include <yaml.h>

#include "core/codec.h"
#include "core/vec.h"
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

/* ---- exec plugins: read here, run by kube/plugin.c ---- */

static bool is_true(yaml_document_t *y, yaml_node_t *map, const char *name)
{
    return str_is(text_at(y, map, name), "true");
}

static const struct {
    const char *name;
    enum plugin_stdin in;
} stdin_modes[] = {
    {"Never", PLUGIN_NEVER}, {"IfAvailable", PLUGIN_IF_TERMINAL}, {"Always", PLUGIN_ALWAYS}};

/* v1 wants the mode to be said; v1beta1, which is older than the mode, asks where it can. */
static int read_stdin_mode(struct doc *d, yaml_node_t *exec, struct plugin *p, struct err *err)
{
    str mode = text_at(&d->yaml, exec, "interactiveMode");
    if (!mode.p && str_ends(str_of(p->api_version), "/v1beta1"))
        mode = STR("IfAvailable");
    for (size_t i = 0; i < ARRAY_LEN(stdin_modes); i++)
        if (mode.p && str_is(mode, stdin_modes[i].name)) {
            p->in = stdin_modes[i].in;
            return 0;
        }
    return err_set(err, ERR_INVALID,
                   "%s: exec: interactiveMode is not one of Never, IfAvailable, Always", d->path);
}

/* A text that may be empty; NULL: it is none, or holds what no argument can. */
static char *plain_text(yaml_node_t *node)
{
    if (!node || node->type != YAML_SCALAR_NODE ||
        memchr(node->data.scalar.value, '\0', node->data.scalar.length))
        return NULL;
    return xstrndup((char *)node->data.scalar.value, node->data.scalar.length);
}

static char *argument(yaml_document_t *y, yaml_node_t *item)
{
    (void)y;
    return plain_text(item);
}

static char *variable(yaml_document_t *y, yaml_node_t *item)
{
    str name = text_at(y, item, "name");
    char *value CLEANUP(free_p) = plain_text(member(y, item, "value"));
    if (!name.p || memchr(name.p, '=', name.n))
        return NULL;
    return xasprintf("%.*s=%s", STR_FMT(name), value ? value : "");
}

struct texts {
    char **p;
    size_t n, room;
};

/* The items of a list after what is in `texts` already, ended by NULL. */
static int read_items(struct doc *d, yaml_node_t *exec, const char *name,
                      char *(*read)(yaml_document_t *, yaml_node_t *), struct texts *texts,
                      struct err *err)
{
    yaml_node_t *all = member(&d->yaml, exec, name);
    bool list = all && all->type == YAML_SEQUENCE_NODE, good = list || !all;
    for (yaml_node_item_t *i = list ? all->data.sequence.items.start : NULL;
         good && i && i < all->data.sequence.items.top; i++) {
        char *text = read(&d->yaml, yaml_document_get_node(&d->yaml, *i));
        good = text != NULL;
        if (good)
            *vec_add(texts) = text;
    }
    *vec_add(texts) = NULL;
    return good ? 0 : err_set(err, ERR_INVALID, "%s: exec: %s cannot be used", d->path, name);
}

/* A hint is shown on a terminal: what could steer it is left out. */
static char *shown_text(str s)
{
    char *text = str_dup(s);
    for (char *c = text; c && *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = ' ';
    return text;
}

static void plugin_free_p(struct plugin **p)
{
    plugin_free(*p);
}

static int read_plugin(struct doc *d, yaml_node_t *exec, struct plugin **ret, struct err *err)
{
    struct plugin *p CLEANUP(plugin_free_p) = xcalloc(1, sizeof *p);
    struct texts argv = {0}, env = {0};
    str version = text_at(&d->yaml, exec, "apiVersion"),
        command = text_at(&d->yaml, exec, "command");
    if (!command.p)
        return err_set(err, ERR_INVALID, "%s: exec has no command", d->path);
    if (!str_is(version, "client.authentication.k8s.io/v1") &&
        !str_is(version, "client.authentication.k8s.io/v1beta1"))
        return err_set(err, ERR_UNSUPPORTED,
                       "%s: exec: apiVersion is \"%.*s\", and not client.authentication.k8s.io/v1 "
                       "or v1beta1",
                       d->path, STR_FMT(version));
    p->where = xstrdup(d->path);
    p->api_version = str_dup(version);
    p->hint = shown_text(text_at(&d->yaml, exec, "installHint"));
    p->tells_cluster = is_true(&d->yaml, exec, "provideClusterInfo");
    *vec_add(&argv) = memchr(command.p, '/', command.n) ? resolve(d, command) : str_dup(command);
    int r = read_items(d, exec, "args", argument, &argv, err);
    p->argv = argv.p;
    if (r == 0)
        r = read_items(d, exec, "env", variable, &env, err);
    p->env = env.p;
    if (r < 0 || read_stdin_mode(d, exec, p, err) < 0)
        return -1;
    *ret = TAKE(p);
    return 0;
}

/* Its password, if it has one, is in no message. */
static int check_proxy(const struct doc *d, const char *proxy, struct err *err)
{
    static const char *const schemes[] = {"http://", "https://", "socks5://"};
    for (size_t i = 0; proxy && i < ARRAY_LEN(schemes); i++)
        if (str_starts(str_of(proxy), schemes[i]))
            return 0;
    return proxy
               ? err_set(err, ERR_UNSUPPORTED,
                         "%s: proxy-url is not an http://, https:// or socks5:// address", d->path)
               : 0;
}

/* It becomes a part of URLs. */
static int check_name(const struct doc *d, const char *name, struct err *err)
{
    if (!name || name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                   "0123456789.-_")] == '\0')
        return 0;
    return err_set(err, ERR_UNSUPPORTED, "%s: tls-server-name \"%s\" is not a host's name", d->path,
                   name);
}

static int read_cluster(struct docs *docs, str name, struct kube_config *c, struct err *err)
{
    struct doc *d = NULL;
    yaml_node_t *map = entry(docs, "clusters", "cluster", name, &d);
    if (!map)
        return err_set(err, ERR_INVALID, "%s: the context's cluster \"%.*s\" is not defined",
                       docs->p[0].path, STR_FMT(name));
    c->server = str_dup(text_at(&d->yaml, map, "server"));
    c->insecure = is_true(&d->yaml, map, "insecure-skip-tls-verify");
    c->proxy = str_dup(text_at(&d->yaml, map, "proxy-url"));
    c->tls_server_name = str_dup(text_at(&d->yaml, map, "tls-server-name"));
    if (check_proxy(d, c->proxy, err) < 0 || check_name(d, c->tls_server_name, err) < 0)
        return -1;
    return pem_at(d, map, "certificate-authority", &c->ca, err);
}

static int read_user(struct docs *docs, str name, struct kube_config *c, struct err *err)
{
    static const char *const refused[] = {"auth-provider", "username", "password", "as",
                                          "as-groups",     "as-uid",   NULL};
    struct doc *d = NULL;
    yaml_node_t *map = entry(docs, "users", "user", name, &d);
    if (!map)
        return err_set(err, ERR_INVALID, "%s: the context's user \"%.*s\" is not defined",
                       docs->p[0].path, STR_FMT(name));
    if (refuse(d, map, refused, "user", err) < 0)
        return -1;
    str token = text_at(&d->yaml, map, "token"), file = text_at(&d->yaml, map, "tokenFile");
    yaml_node_t *exec = member(&d->yaml, map, "exec");
    if (exec && !token.p && !file.p && read_plugin(d, exec, &c->plugin, err) < 0)
        return -1;
    c->user.token = str_dup(token);
    if (file.p)
        c->token_file = resolve(d, file);
    if (pem_at(d, map, "client-certificate", &c->user.client_cert, err) < 0)
        return -1;
    return pem_at(d, map, "client-key", &c->user.client_key, err);
}

/* A cluster may keep settings for the plugin, of any form: we do not pass them on. */
static int refuse_settings(struct docs *docs, str cluster, const struct plugin *p, struct err *err)
{
    struct doc *d = NULL;
    yaml_node_t *map = entry(docs, "clusters", "cluster", cluster, &d);
    yaml_node_t *all = map ? member(&d->yaml, map, "extensions") : NULL;
    if (!p || !p->tells_cluster || !all || all->type != YAML_SEQUENCE_NODE)
        return 0;
    for (yaml_node_item_t *i = all->data.sequence.items.start; i < all->data.sequence.items.top;
         i++)
        if (str_is(text_at(&d->yaml, yaml_document_get_node(&d->yaml, *i), "name"),
                   "client.authentication.k8s.io/exec"))
            return err_set(err, ERR_UNSUPPORTED,
                           "%s: the cluster has settings for the user's exec plugin (extension "
                           "client.authentication.k8s.io/exec), which is not supported",
                           d->path);
    return 0;
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
    if (user.p &&
        (read_user(&docs, user, c, err) < 0 || refuse_settings(&docs, cluster, c->plugin, err) < 0))
        return -1;
    return config_check(c, d->path, err);
}
