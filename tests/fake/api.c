/* From a path to what is meant. */
#include "fake.h"

#include <stdlib.h>

enum { SEGMENTS = 8 };

struct segments {
    char *s[SEGMENTS];
    size_t n;
};

static void segments_free(struct segments *g)
{
    for (size_t i = 0; i < g->n; i++)
        free(g->s[i]);
}

static bool split(const char *path, struct segments *g)
{
    for (str rest = str_of(path); rest.p;) {
        str part = str_cut(&rest, '/');
        if (part.n == 0)
            continue;
        if (g->n == SEGMENTS)
            return false;
        g->s[g->n++] = str_dup(part);
    }
    return true;
}

/* /api/v1/[namespaces/NS/]RESOURCE[/NAME[/SUB]], /apis/GROUP/VERSION/... */
static bool find_target(const struct segments *g, struct request *r)
{
    bool core = g->n && streq(g->s[0], "api");
    size_t i = core ? 2 : 3;
    if (g->n <= i)
        return false;
    const char *group = core ? "" : g->s[1], *version = core ? g->s[1] : g->s[2];
    if (streq(g->s[i], "namespaces") && g->n > i + 2 && !streq(g->s[i + 2], "status")) {
        r->ns = g->s[i + 1];
        i += 2;
    }
    r->type = types_by_path(group, version, g->s[i]);
    r->name = g->n > i + 1 ? g->s[i + 1] : NULL;
    r->sub = g->n > i + 2 ? g->s[i + 2] : NULL;
    return r->type && g->n <= i + 3 && (r->type->t.namespaced || !r->ns) &&
           !(r->type->t.namespaced && r->name && !r->ns);
}

static void read_object(struct request *r, struct answer *a)
{
    json_t *o = store_get(r->type, r->ns, r->name);
    if (!o) {
        refuse(a, 404, "NotFound", r, "%s%s%s \"%s\" not found", r->type->t.resource,
               r->type->t.group[0] ? "." : "", r->type->t.group, r->name);
        return;
    }
    a->code = 200;
    a->body = streq(r->sub, "scale") ? scale_of(r->type, o) : json_incref(o);
}

static void create(struct request *r, struct answer *a)
{
    json_t *body CLEANUP_JSON = NULL;
    struct err err;
    if (json_parse(r->body, &body, &err) < 0)
        refuse(a, 400, "BadRequest", r, "the body is not JSON: %s", err.msg);
    else
        (void)!write_create(r, body, a);
}

static bool denies(const struct request *r)
{
    static const char *const verbs[][2] = {
        {"POST", "create"}, {"PUT", "update"}, {"PATCH", "patch"}, {"DELETE", "delete"}};
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        if (streq(r->method, verbs[i][0]))
            return admin_denies(verbs[i][1], r->type->t.group, r->type->t.resource);
    return false;
}

static json_t *access_status(const json_t *attributes)
{
    return json_pack("{s:b}", "allowed",
                     !admin_denies(text_of(attributes, "verb", NULL),
                                   text_of(attributes, "group", NULL),
                                   text_of(attributes, "resource", NULL)));
}

/* Who a token belongs to, and what may not be done, was told by the test: see /fake/tokens and
 * /fake/denied. */
static void review(struct request *r, struct answer *a)
{
    json_t *body CLEANUP_JSON = NULL;
    struct err err;
    if (json_parse(r->body, &body, &err) < 0) {
        refuse(a, 400, "BadRequest", r, "the body is not JSON: %s", err.msg);
        return;
    }
    a->code = 201;
    a->body = json_deep_copy(body);
    json_t *status =
        streq(r->type->t.resource, "tokenreviews")
            ? admin_review(text_of(body, "spec", "token"), at(body, "spec", "audiences"))
            : access_status(at(body, "spec", "resourceAttributes"));
    json_object_set_new(a->body, "status", status);
}

static void route(struct request *r, struct answer *a)
{
    bool get = streq(r->method, "GET");
    bool sub_known = !r->sub || (streq(r->sub, "status") && r->type->status) ||
                     (streq(r->sub, "scale") && r->type->scale);
    if (!sub_known) {
        refuse(a, 404, "NotFound", r, "the server could not find the requested resource");
    } else if (denies(r)) {
        refuse(a, 403, "Forbidden", r, "%s is forbidden: a test says so", r->type->t.resource);
    } else if (is_review(r->type)) {
        if (streq(r->method, "POST"))
            review(r, a);
        else
            refuse(a, 405, "MethodNotAllowed", r, "method not allowed");
    } else if (get && r->name) {
        read_object(r, a);
    } else if (get && (streq(param(r, "watch"), "true") || streq(param(r, "watch"), "1"))) {
        read_watch(r, a);
    } else if (get) {
        read_list(r, a);
    } else if (streq(r->method, "POST") && !r->name && (r->ns || !r->type->t.namespaced)) {
        create(r, a);
    } else if (streq(r->method, "PUT") && r->name) {
        (void)!write_replace(r, a);
    } else if (streq(r->method, "PATCH") && r->name) {
        (void)!write_patch(r, a);
    } else if (streq(r->method, "DELETE") && r->name && !r->sub) {
        (void)!write_delete(r, a);
    } else {
        refuse(a, 405, "MethodNotAllowed", r, "fake-apiserver does not implement %s here",
               r->method);
    }
}

static bool fixed_path(struct request *r, struct answer *a)
{
    static const char *const health[] = {"/readyz", "/livez", "/healthz"};
    bool core = streq(r->path, "/api");
    if (core || streq(r->path, "/apis")) {
        if (r->accept && strstr(r->accept, "as=APIGroupDiscoveryList")) {
            a->code = 200;
            a->body = discovery_document(core);
        } else {
            refuse(a, 406, "NotAcceptable", r, "only aggregated discovery is served here");
        }
        return true;
    }
    for (size_t i = 0; i < ARRAY_LEN(health); i++) {
        if (!streq(r->path, health[i]))
            continue;
        a->code = 200;
        a->text = xstrdup("ok");
        return true;
    }
    if (!streq(r->path, "/version"))
        return false;
    a->code = 200;
    a->body =
        json_pack("{s:s, s:s, s:s}", "major", "1", "minor", "34", "gitVersion", "v1.34.0-fake");
    return true;
}

void api_handle(struct request *r, struct answer *a)
{
    struct segments g CLEANUP(segments_free) = {0};
    if (fixed_path(r, a))
        return;
    if (!split(r->path, &g) || g.n < 3 || !find_target(&g, r)) {
        r->type = NULL;
        r->name = NULL;
        refuse(a, 404, "NotFound", r, "the server could not find the requested resource");
        return;
    }
    route(r, a);
    /* What these point at ends here. */
    r->ns = r->name = r->sub = NULL;
}
