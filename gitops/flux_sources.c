/* Flux: where a declaration comes from. A Kustomization has its source; a HelmRelease has that of
 * its parents, which hold the release itself, and its chart's. */
#include "gitops/flux.h"
#include "gitops/helm.h"
#include "gitops/marker.h"
#include "gitops/parents.h"
#include "gitops/source.h"

enum { NESTED_MAX = 4 };

static int sources_at(struct kube *k, struct arena *a, const struct application *app, int depth,
                      struct sources *s, struct err *err);

static struct source *unproven(struct arena *a, struct sources *s, const char *kind, const char *ns,
                               const char *name, const char *why)
{
    struct source *row = source_add(s);
    if (!row)
        return NULL;
    row->kind = kind;
    row->ns = arena_strdup(a, ns);
    row->name = arena_strdup(a, name);
    row->unproven = why;
    return row;
}

/* The ref as a full name where the spec says it; "" where the commit alone is pinned. */
static const char *followed_ref(struct arena *a, str spec, const char *revision)
{
    str ref = raw_get(spec, "ref");
    const char *name = raw_text(a, ref, "name", NULL), *tag = raw_text(a, ref, "tag", NULL);
    const char *branch = raw_text(a, ref, "branch", NULL);
    if (raw_text(a, ref, "commit", NULL) && !branch)
        return "";
    if (raw_text(a, ref, "commit", NULL))
        return arena_printf(a, "refs/heads/%s", branch);
    if (name && *name)
        return name;
    if (raw_text(a, ref, "semver", NULL)) {
        const char *at = strchr(revision, '@');
        return at ? arena_printf(a, "refs/tags/%.*s", (int)(at - revision), revision) : "";
    }
    if (tag && *tag)
        return arena_printf(a, "refs/tags/%s", tag);
    return arena_printf(a, "refs/heads/%s", branch && *branch ? branch : "master");
}

static int git_source(struct kube *k, struct arena *a, const char *ns, const char *name,
                      const char *revision, struct sources *s, struct err *err)
{
    struct kube_object o;
    if (kube_get(k, a, &KUBE_GITREPOSITORY, ns, name, &o, err) < 0) {
        if (err->kind != ERR_NOT_FOUND)
            return err_wrap(err, "GitRepository %s/%s", ns, name);
        unproven(a, s, "GitRepository", ns, name, "the GitRepository is gone");
        return 0;
    }
    struct source *row = unproven(a, s, "GitRepository", ns, name, "");
    if (!row)
        return 0;
    str spec = raw_get(o.raw, "spec");
    const char *url = raw_text(a, spec, "url", NULL);
    const char *secret = raw_text(a, spec, "secretRef", "name", NULL);
    const char *provider = raw_text(a, spec, "provider", NULL);
    row->url = url ? url : "";
    row->revision = revision ? revision : "";
    row->commit = revision_commit(a, row->revision);
    row->ref = followed_ref(a, spec, row->revision);
    row->secret_ns = secret ? o.ns : "";
    row->secret_name = secret ? secret : "";
    if (raw_true(raw_get(spec, "recurseSubmodules")))
        row->unproven = "it takes in Git submodules, which are not asked";
    struct raw_iter includes = raw_iter(raw_get(spec, "include"));
    if (raw_next(&includes, NULL, NULL))
        row->unproven = "it includes other GitRepositories, which are not asked";
    if (provider && *provider && !streq(provider, "generic"))
        row->unproven = arena_printf(a, "its credentials come from %s", provider);
    return 0;
}

static int source_ref(struct kube *k, struct arena *a, str ref, const char *own_ns,
                      const char *revision, const char *what, struct sources *s, struct err *err)
{
    const char *kind = raw_text(a, ref, "kind", NULL), *name = raw_text(a, ref, "name", NULL);
    const char *ns = raw_text(a, ref, "namespace", NULL);
    if (!kind || !name) {
        unproven(a, s, "", own_ns, "", arena_printf(a, "%s names no source", what));
        return 0;
    }
    if (!ns || !*ns)
        ns = own_ns;
    if (streq(kind, "GitRepository"))
        return git_source(k, a, ns, name, revision, s, err);
    unproven(a, s, kind, ns, name, arena_printf(a, "%s comes from a %s, not from Git", what, kind));
    return 0;
}

/* With reconcileStrategy ChartVersion, the default, a chart is packaged once for each version;
 * later commits are looked at, and observedSourceArtifactRevision goes on, but its templates are
 * not taken anew. What runs was made from the commit that was observed only if nothing has moved
 * since: the source's artifact is not younger than the chart's, nor that than the release. All
 * times are UTC with one form, so that their texts compare. Source: fluxcd/source-controller
 * internal/helm/chart/builder_local.go. */
static int check_packaged(struct kube *k, struct arena *a, const struct kube_object *chart,
                          str release, struct source *row, struct err *err)
{
    struct kube_object source;
    if (raw_is(raw_at(chart->raw, "spec", "reconcileStrategy", NULL), "Revision") ||
        !streq(row->kind, "GitRepository") || *row->unproven)
        return 0;
    if (kube_get(k, a, &KUBE_GITREPOSITORY, row->ns, row->name, &source, err) < 0) {
        if (err->kind != ERR_NOT_FOUND)
            return err_wrap(err, "GitRepository %s/%s", row->ns, row->name);
        source.raw = STR("{}");
    }
    const char *fetched = raw_text(a, source.raw, "status", "artifact", "lastUpdateTime", NULL);
    const char *packaged = raw_text(a, chart->raw, "status", "artifact", "lastUpdateTime", NULL);
    const char *released = raw_text(a, release, "lastDeployed", NULL);
    if (!fetched || !packaged || !released || strcmp(fetched, packaged) > 0 ||
        strcmp(packaged, released) > 0)
        row->unproven = "the chart was packaged from an earlier commit, or may have been, as it is "
                        "packaged anew for new versions alone: set reconcileStrategy: Revision";
    return 0;
}

/* The chart's source and the revision that its HelmChart has last been built or checked at. */
static int chart_source(struct kube *k, struct arena *a, const struct application *app,
                        struct sources *s, struct err *err)
{
    str raw = app->object.raw, ref = raw_at(raw, "spec", "chart", "spec", "sourceRef", NULL);
    str release = {0};
    struct raw_iter history = raw_iter(raw_at(raw, "status", "history", NULL));
    raw_next(&history, NULL, &release);
    struct kube_object o = {.raw = STR("{}")};
    const char *chart_ns = app->object.ns, *chart = NULL, *revision = NULL;
    if (!ref.p && raw_is(raw_at(raw, "spec", "chartRef", "kind", NULL), "HelmChart")) {
        const char *ns = raw_text(a, raw, "spec", "chartRef", "namespace", NULL);
        chart = raw_text(a, raw, "spec", "chartRef", "name", NULL);
        chart_ns = ns && *ns ? ns : app->object.ns;
    } else if (!ref.p) {
        return source_ref(k, a, raw_at(raw, "spec", "chartRef", NULL), app->object.ns, NULL,
                          "the chart", s, err);
    } else if (raw_is(raw_get(ref, "kind"), "GitRepository")) {
        const char *at = raw_text(a, raw, "status", "helmChart", NULL);
        const char *slash = at ? strchr(at, '/') : NULL;
        chart = slash ? slash + 1 : NULL;
        chart_ns = slash ? arena_strndup(a, at, (size_t)(slash - at)) : chart_ns;
    }
    if (chart) {
        if (kube_get(k, a, &KUBE_HELMCHART, chart_ns, chart, &o, err) < 0) {
            if (err->kind != ERR_NOT_FOUND)
                return err_wrap(err, "HelmChart %s/%s", chart_ns, chart);
            o.raw = STR("{}");
        }
        revision = raw_text(a, o.raw, "status", "observedSourceArtifactRevision", NULL);
        const char *built = raw_text(a, o.raw, "status", "artifact", "revision", NULL);
        if (built && !raw_is(raw_get(release, "chartVersion"), built))
            unproven(a, s, "HelmChart", chart_ns, chart,
                     "what runs was made from another version of the chart");
        if (!ref.p)
            ref = raw_at(o.raw, "spec", "sourceRef", NULL);
    }
    size_t at = s->n;
    if (source_ref(k, a, ref, chart_ns, revision, "the chart", s, err) < 0)
        return -1;
    return chart && at < s->n ? check_packaged(k, a, &o, release, &s->at[at], err) : 0;
}

static int parent_sources(struct kube *k, struct arena *a, const struct application *app, int depth,
                          struct sources *s, struct err *err)
{
    struct parents p;
    if (parents_direct(k, a, app, &p, err) < 0)
        return -1;
    if (!p.n)
        unproven(a, s, app->type->kind, app->object.ns, app->object.name,
                 "no Kustomization and no Application holds the HelmRelease itself: it was made by "
                 "hand");
    for (size_t i = 0; i < p.n; i++) {
        struct sources more = {.n = 0};
        if (p.at[i].engine == &engine_flux
                ? sources_at(k, a, &p.at[i], depth + 1, s, err) < 0
                : p.at[i].engine->sources(k, a, &p.at[i], &more, err) < 0)
            return -1;
        for (size_t j = 0; j < more.n; j++) {
            struct source *row = source_add(s);
            if (row)
                *row = more.at[j];
        }
    }
    return 0;
}

/* The books of a release are those of its deployed revision. Only if that is the newest one, made
 * by Flux of what the HelmRelease says now, do its sources prove them. */
static int release_current(struct kube *k, struct arena *a, const struct application *app,
                           struct sources *s, struct err *err)
{
    str raw = app->object.raw, first = {0};
    int64_t generation, attempted, recorded = 0;
    struct helm_storage stored;
    const char *why = NULL;
    if (helm_storage_read(k, a, app->storage_ns, app->release, false, &stored, err) < 0)
        return -1;
    struct raw_iter it = raw_iter(raw_at(raw, "status", "history", NULL));
    raw_next(&it, NULL, &first);
    if (stored.newest != stored.deployed)
        why = arena_printf(a, "its newest revision %lld is '%s': what runs is not what it says",
                           (long long)stored.newest, stored.newest_status);
    else if (!raw_int(raw_get(first, "version"), &recorded) || recorded != stored.newest)
        why = arena_printf(a, "revision %lld of its release was not made by Flux",
                           (long long)stored.newest);
    else if (!raw_int(raw_at(raw, "metadata", "generation", NULL), &generation) ||
             !raw_int(raw_at(raw, "status", "lastAttemptedGeneration", NULL), &attempted) ||
             attempted != generation)
        why = "its newest change has not been released";
    if (why)
        unproven(a, s, app->type->kind, app->object.ns, app->object.name, why);
    return 0;
}

static int sources_at(struct kube *k, struct arena *a, const struct application *app, int depth,
                      struct sources *s, struct err *err)
{
    str raw = app->object.raw;
    if (!flux_is_helm(app))
        return source_ref(k, a, raw_at(raw, "spec", "sourceRef", NULL), app->object.ns,
                          raw_text(a, raw, "status", "lastAppliedRevision", NULL),
                          "the Kustomization", s, err);
    if (depth > NESTED_MAX)
        return err_set(err, ERR_UNSUPPORTED, "%s is declared through too many releases",
                       application_title(a, app));
    if (release_current(k, a, app, s, err) < 0 || parent_sources(k, a, app, depth, s, err) < 0)
        return -1;
    return chart_source(k, a, app, s, err);
}

int flux_sources(struct kube *k, struct arena *a, const struct application *app,
                 struct sources *ret, struct err *err)
{
    struct sources s = {.n = 0};
    if (sources_at(k, a, app, 0, &s, err) < 0)
        return err_wrap(err, "the sources of %s", application_title(a, app));
    if (s.n == SOURCES_MAX)
        s.at[SOURCES_MAX - 1].unproven = "there are more sources than can be asked";
    *ret = s;
    return 0;
}
