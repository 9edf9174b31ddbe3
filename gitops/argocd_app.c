/* Argo CD: what an application is, its books, its sources. */
#include <ctype.h>

#include "core/codec.h"
#include "gitops/argocd.h"
#include "gitops/marker.h"
#include "gitops/source.h"

static const char *text_or_empty(const char *s)
{
    return s ? s : "";
}

static bool in_cluster(str raw)
{
    str destination = raw_at(raw, "spec", "destination", NULL);
    return raw_is(raw_get(destination, "server"), "https://kubernetes.default.svc") ||
           raw_is(raw_get(destination, "name"), "in-cluster");
}

bool argocd_is_automated(str raw)
{
    str automated = raw_at(raw, "spec", "syncPolicy", "automated", NULL);
    return automated.n && automated.p[0] == '{' && !str_is(raw_get(automated, "enabled"), "false");
}

int argocd_of(struct arena *a, const struct kube_type *t, const struct kube_object *o,
              struct application *ret, struct err *err)
{
    if (!in_cluster(o->raw))
        return err_set(err, ERR_UNSUPPORTED,
                       "Application %s/%s deploys to another cluster (spec.destination): install "
                       "gleaner there",
                       o->ns, o->name);
    struct application app = {.engine = &engine_argocd,
                              .type = t,
                              .object = kube_object_copy(a, o),
                              .release = "",
                              .storage_ns = ""};
    str raw = app.object.raw;
    app.content_ns = text_or_empty(raw_text(a, raw, "spec", "destination", "namespace", NULL));
    struct hold h;
    bool held = hold_read(a, &app.object, &h);
    app.suspended = held ? str_is(h.added, "[]") : !argocd_is_automated(raw);
    const char *sync = text_or_empty(raw_text(a, raw, "status", "sync", "status", NULL));
    const char *health = text_or_empty(raw_text(a, raw, "status", "health", "status", NULL));
    app.ready = streq(sync, "Synced") && streq(health, "Healthy");
    app.ready_text = arena_printf(a, "%s and %s", *sync ? sync : "never compared",
                                  *health ? health : "of unknown health");
    *ret = app;
    return 0;
}

bool argocd_prunes(const struct application *app)
{
    return !app->suspended &&
           raw_true(raw_at(app->object.raw, "spec", "syncPolicy", "automated", "prune", NULL));
}

int argocd_books(struct kube *k, struct arena *a, const struct application *app, book_fn *each,
                 void *ctx, struct err *err)
{
    (void)k;
    str raw = app->object.raw;
    if (!raw_at(raw, "status", "reconciledAt", NULL).p)
        return err_set(err, ERR_CORRUPT, "%s was never compared: Argo CD knows nothing of it yet",
                       application_title(a, app));
    struct raw_iter it = raw_iter(raw_at(raw, "status", "resources", NULL));
    for (str r; raw_next(&it, NULL, &r);) {
        const char *kind = raw_text(a, r, "kind", NULL), *name = raw_text(a, r, "name", NULL);
        if (!kind || !name)
            return err_set(err, ERR_CORRUPT,
                           "%s: status.resources has an entry without kind or name",
                           application_title(a, app));
        struct book_entry e = {.group = text_or_empty(raw_text(a, r, "group", NULL)),
                               .version = text_or_empty(raw_text(a, r, "version", NULL)),
                               .kind = kind,
                               .ns = text_or_empty(raw_text(a, r, "namespace", NULL)),
                               .name = name};
        bool dropped = raw_true(raw_get(r, "requiresPruning"));
        bool hook = raw_true(raw_get(r, "hook")); /* never pruned, though it is listed so */
        e.prunes = dropped && !hook && argocd_prunes(app);
        if (hook)
            e.seed = "Argo CD hook: run at a sync, not held";
        else if (dropped)
            e.seed = "Argo CD would prune it: Git does not hold it (any more)";
        else if (!raw_get(r, "status").p)
            e.seed = "Argo CD lists it without comparing it with Git";
        if (each(ctx, &e, err) < 0)
            return -1;
    }
    return 0;
}

/* ---- sources ---- */

const char *argocd_normal_url(struct arena *a, const char *url)
{
    str s = str_trim(str_of(url));
    if (str_starts(s, "ssh://"))
        s = (str){s.p + 6, s.n - 6};
    if (str_ends(s, ".git"))
        s.n -= 4;
    char *copy = arena_strndup(a, s.p, s.n);
    for (char *c = copy; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    return copy;
}

struct repositories {
    struct arena *a;
    const char *url, *project;
    const char *name;     /* the best repository Secret, or "" */
    bool own;             /* ... is of the application's own project */
    bool bare;            /* ... has no credentials: a template's are used */
    const char *template; /* the repo-creds Secret with the longest prefix */
    size_t prefix;
};

static const char *data_text(struct arena *a, const struct kube_object *o, const char *name)
{
    struct err err;
    struct buf b CLEANUP(buf_free) = {0};
    str text = raw_string(a, raw_at(o->raw, "data", name, NULL));
    if (!text.p || base64_decode(&b, text, &err) < 0)
        return "";
    return arena_strndup(a, b.p ? b.p : "", b.n);
}

static bool has_credentials(const struct kube_object *o)
{
    static const char *const names[] = {"username",          "password",
                                        "bearerToken",       "sshPrivateKey",
                                        "tlsClientCertData", "githubAppPrivateKey"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (raw_at(o->raw, "data", names[i], NULL).p)
            return true;
    return false;
}

/* Argo CD itself takes any beginning; here it has to end where a part of the URL does, or the
 * credentials of https://git.corp would go to https://git.corp.example.net. */
static bool is_below(const char *url, const char *prefix)
{
    size_t n = strlen(prefix);
    return n && strncmp(url, prefix, n) == 0 &&
           (prefix[n - 1] == '/' || url[n] == '/' || url[n] == '\0');
}

static int look_at_repository(void *ctx, const struct kube_object *o, struct err *err)
{
    (void)err;
    struct repositories *r = ctx;
    struct arena *scratch CLEANUP(arena_free_p) = arena_new();
    const char *type = kube_label(scratch, o, "argocd.argoproj.io/secret-type");
    const char *url = argocd_normal_url(scratch, data_text(scratch, o, "url"));
    const char *project = data_text(scratch, o, "project");
    bool own = streq(project, r->project);
    if (streq(type, "repository") && streq(url, r->url) && (own || !*project)) {
        if (!*r->name || (own && !r->own)) {
            r->name = arena_strdup(r->a, o->name);
            r->own = own;
            r->bare = !has_credentials(o);
        }
    } else if (streq(type, "repo-creds") && is_below(r->url, url) && strlen(url) > r->prefix) {
        r->template = arena_strdup(r->a, o->name);
        r->prefix = strlen(url);
    }
    return 0;
}

/* Credentials live beside Argo CD itself: status.controllerNamespace. */
static int find_credentials(struct kube *k, struct arena *a, const struct application *app,
                            struct source *s, struct err *err)
{
    const char *ns = raw_text(a, app->object.raw, "status", "controllerNamespace", NULL);
    const char *project = raw_text(a, app->object.raw, "spec", "project", NULL);
    if (!ns || !*ns)
        ns = app->object.ns;
    struct repositories r = {.a = a,
                             .url = argocd_normal_url(a, s->url),
                             .name = "",
                             .project = project ? project : "",
                             .template = ""};
    struct kube_list opts = {
        .ns = ns, .label_selector = "argocd.argoproj.io/secret-type in (repository,repo-creds)"};
    if (kube_list(k, &KUBE_SECRET, &opts, look_at_repository, &r, NULL, err) < 0)
        return err_wrap(err, "Argo CD's repository Secrets in namespace %s", ns);
    const char *name = *r.name && !r.bare ? r.name : r.template;
    s->secret_name = name;
    s->secret_ns = *name ? ns : "";
    return 0;
}

/* targetRevision as a ref; "" where it is a commit (also a short one) or a range of versions. */
static const char *target_ref(const char *target)
{
    size_t n = strlen(target), hex = strspn(target, "0123456789abcdef");
    if (!n)
        return "HEAD";
    bool commit = hex == n && n >= 7 && n <= 64;
    bool range = strpbrk(target, "*^~<>=|, ") || strspn(target, "vV0123456789.xX") == n;
    return commit || range ? "" : target;
}

/* Why the commit is not all that a source's manifests are made of; "" if it is. `type` is what Argo
 * CD took it for, in its status. Source: argo-cd ApplicationSource, util/io/path
 * ResolveValueFilePathOrUrl. */
static const char *made_elsewhere(struct arena *a, str spec, str type)
{
    str plugin = raw_get(spec, "plugin"), helm = raw_get(spec, "helm"), item;
    if (raw_is(type, "Plugin") || (plugin.n && plugin.p[0] == '{'))
        return "a plugin of Argo CD renders it, which may take values from where Git has none "
               "(Vault, a generator)";
    bool url = false;
    for (struct raw_iter it = raw_iter(raw_get(helm, "valueFiles")); raw_next(&it, NULL, &item);)
        url |= strstr(text_or_empty(raw_string(a, item).p), "://") != NULL;
    for (struct raw_iter it = raw_iter(raw_get(helm, "fileParameters"));
         raw_next(&it, NULL, &item);)
        url |= strstr(text_or_empty(raw_text(a, item, "path", NULL)), "://") != NULL;
    return url ? "some of its values come from a URL, not from Git" : "";
}

static int one_source(struct kube *k, struct arena *a, const struct application *app, str spec,
                      str revision, str type, struct sources *ret, struct err *err)
{
    struct source *s = source_add(ret);
    if (!s)
        return 0;
    s->kind = "repository";
    s->url = s->name = text_or_empty(raw_text(a, spec, "repoURL", NULL));
    s->revision = text_or_empty(raw_string(a, revision).p);
    s->unproven = made_elsewhere(a, spec, type);
    if (raw_text(a, spec, "chart", NULL)) {
        s->unproven = "the chart comes from a Helm repository or OCI registry, not from Git";
        return 0;
    }
    s->ref = target_ref(text_or_empty(raw_text(a, spec, "targetRevision", NULL)));
    s->commit = is_commit(s->revision) ? s->revision : "";
    return find_credentials(k, a, app, s, err);
}

/* What the live objects were made from. While they equal Git, that is the revision that they were
 * compared with, status.sync; else it is the last sync that succeeded, the last of status.history:
 * a newer commit that was only compared, or whose sync failed, has not made them. */
static str applied_revisions(str raw)
{
    str sync = raw_at(raw, "status", "sync", NULL), last = {0};
    if (raw_is(raw_get(sync, "status"), "Synced"))
        return sync;
    struct raw_iter it = raw_iter(raw_at(raw, "status", "history", NULL));
    for (str entry; raw_next(&it, NULL, &entry);)
        last = entry;
    return last;
}

int argocd_sources(struct kube *k, struct arena *a, const struct application *app,
                   struct sources *ret, struct err *err)
{
    str raw = app->object.raw, spec = raw_get(raw, "spec"), status = raw_get(raw, "status");
    str applied = applied_revisions(raw), many = raw_get(spec, "sources");
    struct sources found = {.n = 0};
    if (raw_get(spec, "sourceHydrator").p) {
        struct source *s = source_add(&found);
        s->kind = "repository";
        s->unproven = "hydrated sources are not proven yet";
        *ret = found;
        return 0;
    }
    struct raw_iter items = raw_iter(many), revisions = raw_iter(raw_get(applied, "revisions"));
    struct raw_iter types = raw_iter(raw_get(status, "sourceTypes"));
    for (str item; raw_next(&items, NULL, &item);) {
        str revision = {0}, type = {0};
        raw_next(&revisions, NULL, &revision);
        raw_next(&types, NULL, &type);
        if (one_source(k, a, app, item, revision, type, &found, err) < 0)
            return -1;
    }
    if (!found.n && one_source(k, a, app, raw_get(spec, "source"), raw_get(applied, "revision"),
                               raw_get(status, "sourceType"), &found, err) < 0)
        return -1;
    if (found.n == SOURCES_MAX)
        found.at[SOURCES_MAX - 1].unproven = "there are more sources than can be asked";
    *ret = found;
    return 0;
}
