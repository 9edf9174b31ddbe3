#include "gitops/helm.h"

#include <stdio.h>

#include "core/codec.h"
#include "gitops/frame.h"
#include "gitops/scope.h"

enum { DECODE_MS = 60000, RELEASE_NAME_MAX = 53, SHORT_PREFIX = 40 };

const char *helm_release_name(struct arena *a, const char *release_name, const char *target_ns,
                              const char *name)
{
    if (release_name && *release_name)
        return release_name;
    const char *full = target_ns && *target_ns ? arena_printf(a, "%s-%s", target_ns, name) : name;
    if (strlen(full) <= RELEASE_NAME_MAX)
        return full;
    uint8_t sum[32];
    char hex[13];
    sha256(full, strlen(full), sum);
    hex_encode(sum, 6, hex);
    return arena_printf(a, "%.*s-%s", SHORT_PREFIX, full, hex);
}

/* ---- which Secret ---- */

struct search {
    struct arena *a, *scratch;
    const char *release;
    bool with_text;
    struct helm_storage *found;
};

static int look_at_secret(void *ctx, const struct kube_object *o, struct err *err)
{
    (void)err;
    struct search *s = ctx;
    uint64_t version;
    const char *label = kube_label(s->scratch, o, "version");
    const char *status = kube_label(s->scratch, o, "status");
    if (!label || !status || !str_u64(str_of(label), &version) || version > INT32_MAX ||
        !streq(o->name, arena_printf(s->scratch, "sh.helm.release.v1.%s.v%s", s->release, label)))
        return 0;
    int64_t v = (int64_t)version;
    if (v > s->found->newest) {
        s->found->newest = v;
        s->found->newest_status = arena_strdup(s->a, status);
    }
    if (v > s->found->deployed && streq(status, "deployed")) {
        s->found->deployed = v;
        if (s->with_text)
            s->found->deployed_text = raw_string(s->a, raw_at(o->raw, "data", "release", NULL));
    }
    return 0;
}

int helm_storage_read(struct kube *k, struct arena *a, const char *ns, const char *release,
                      bool with_text, struct helm_storage *ret, struct err *err)
{
    struct arena *scratch CLEANUP(arena_free_p) = arena_new();
    struct helm_storage found = {.newest_status = ""};
    struct search s = {a, scratch, release, with_text, &found};
    struct kube_list opts = {.ns = ns,
                             .label_selector = arena_printf(scratch, "owner=helm,name=%s", release),
                             .page = 10};
    if (kube_list(k, &KUBE_SECRET, &opts, look_at_secret, &s, NULL, err) < 0)
        return err_wrap(err, "Helm's storage Secrets of release %s in namespace %s", release, ns);
    *ret = found;
    return 0;
}

int helm_storage_settled(const struct helm_storage *s, const char *ns, const char *release,
                         struct err *err)
{
    if (!s->newest)
        return err_set(
            err, ERR_REFUSED,
            "Helm release %s has no storage Secret in namespace %s: it is not installed; "
            "let it install first",
            release, ns);
    if (!streq(s->newest_status, "deployed"))
        return err_set(err, ERR_REFUSED,
                       "the newest revision %lld of Helm release %s in namespace %s is '%s', not "
                       "'deployed': get the release to deployed first",
                       (long long)s->newest, release, ns, s->newest_status);
    return 0;
}

/* ---- its objects ---- */

struct books {
    struct arena *a;
    const char *release, *release_ns;
    struct scope scope;
    book_fn *each;
    void *ctx;
};

static const char *seed_of(char type)
{
    return type == HELM_HOOK  ? "Helm hook: run at an action, not held"
           : type == HELM_CRD ? "from the chart's crds/ folder: Helm creates it once"
                              : NULL;
}

static int book_object(struct books *b, char type, str json, struct err *err)
{
    const char *api = raw_text(b->a, json, "apiVersion", NULL);
    const char *kind = raw_text(b->a, json, "kind", NULL);
    const char *name = raw_text(b->a, json, "metadata", "name", NULL);
    const char *ns = raw_text(b->a, json, "metadata", "namespace", NULL);
    if (!api || !kind || !name) {
        if (type == HELM_HOOK)
            return 0; /* generateName: whatever it made cannot be told from here */
        return err_set(err, ERR_CORRUPT, "release %s: an object without apiVersion, kind or name",
                       b->release);
    }
    str group = kube_group_of(api);
    bool known, namespaced;
    if (scope_namespaced(&b->scope, group, kind, &known, &namespaced, err) < 0)
        return -1;
    if (known && !namespaced)
        ns = "";
    else if (!ns || !*ns)
        ns = known ? b->release_ns : "";
    const char *version = strchr(api, '/') ? strchr(api, '/') + 1 : api;
    struct book_entry e = {.group = group.n ? arena_str(b->a, group).p : "",
                           .version = version,
                           .kind = kind,
                           .ns = ns,
                           .name = name,
                           .seed = seed_of(type),
                           .manifest = arena_str(b->a, json)};
    return b->each(b->ctx, &e, err);
}

/* What the Secret says of itself must be what its name says: a tenant can write its content. */
static int check_info(struct books *b, str info, int64_t version, struct err *err)
{
    int64_t v;
    if (!raw_is(raw_get(info, "name"), b->release) ||
        !raw_is(raw_get(info, "namespace"), b->release_ns) ||
        !raw_int(raw_get(info, "version"), &v) || v != version)
        return err_set(
            err, ERR_CORRUPT,
            "the storage Secret of Helm release %s, revision %lld, holds another release",
            b->release, (long long)version);
    return 0;
}

static int walk_answer(struct books *b, str answer, int64_t version, struct err *err)
{
    char type;
    str payload;
    bool first = true;
    int r;
    while ((r = frame_next(&answer, &type, &payload, err)) > 0) {
        if (raw_check(payload, err) < 0)
            return err_wrap(err, "the worker's answer");
        if (first != (type == HELM_INFO) || !strchr("IOHC", type))
            return err_set(err, ERR_CORRUPT, "the worker's answer is out of order");
        if (first ? check_info(b, payload, version, err) < 0
                  : book_object(b, type, payload, err) < 0)
            return -1;
        first = false;
    }
    if (r == 0 && first)
        return err_set(err, ERR_CORRUPT, "the worker's answer is empty");
    return r;
}

int helm_books(struct kube *k, struct arena *a, const char *storage_ns, const char *release,
               const char *release_ns, book_fn *each, void *ctx, struct err *err)
{
    struct helm_storage s;
    if (helm_storage_read(k, a, storage_ns, release, true, &s, err) < 0)
        return -1;
    if (!s.deployed_text.p)
        return err_set(err, ERR_CORRUPT,
                       "Helm release %s has no deployed storage Secret in namespace %s: what it "
                       "declares is not known",
                       release, storage_ns);
    struct worker_call call = {.program = worker_program(),
                               .task = "helm-release",
                               .input = s.deployed_text,
                               .answer_cap = HELM_ANSWER_MAX + (1 << 10),
                               .timeout_ms = DECODE_MS};
    struct buf answer CLEANUP(buf_free) = {0};
    if (worker_call(&call, &answer, err) < 0)
        return err_wrap(err, "decoding Helm release %s", release);
    struct books b = {.a = a,
                      .release = release,
                      .release_ns = release_ns,
                      .scope = {.k = k},
                      .each = each,
                      .ctx = ctx};
    int r = walk_answer(&b, buf_view(&answer), s.deployed, err);
    scope_free(&b.scope);
    return r;
}
