/* Residue: what lives on a declared object and Git does not hold.
 *
 * Looked at: keys of Secrets and ConfigMaps, and annotations. Every other field without an owner is
 * a default of the server. What Git holds is the stored manifest where the engine is Helm
 * (client-side applied objects list defaults as owned), else the fields that the engine's manager
 * owns. */
#include "reconciler/judge.h"
#include "reconciler/rules.h"

#include "core/codec.h"
#include "kube/types.h"

struct residue {
    struct arena *a;
    const struct facts *f;
    const char **fields; /* room for VERDICT_FIELDS_MAX; n may be more: then the object is kept */
    size_t n;
    bool drift;
};

static void add(struct residue *r, const char *prefix, const char *key)
{
    if (r->n < VERDICT_FIELDS_MAX)
        r->fields[r->n] = arena_printf(r->a, "%s/%s", prefix, key);
    r->n++;
}

/* ---- what a stored manifest holds ---- */

/* The decoded bytes of a value of Secret.data. */
static bool decoded_is(struct arena *a, str base64, str want)
{
    struct buf CLEANUP(buf_free) out = {0};
    str text = raw_string(a, base64);
    return text.p && base64_decode(&out, text, NULL) == 0 && str_eq(buf_view(&out), want);
}

enum held { HELD_NO, HELD_SAME, HELD_OTHER };

static enum held manifest_holds(struct residue *r, const char *member, const char *key, str live)
{
    str declared = raw_get(raw_get(r->f->book->manifest, member), key);
    bool secret = streq(r->f->type->kind, "Secret");
    if (secret && streq(member, "data")) {
        str plain = raw_string(r->a, raw_at(r->f->book->manifest, "stringData", key, NULL));
        if (plain.p)
            return decoded_is(r->a, live, plain) ? HELD_SAME : HELD_OTHER;
    }
    if (!declared.p)
        return HELD_NO;
    str want = raw_string(r->a, declared), have = raw_string(r->a, live);
    if (!want.p || !have.p) /* a number or a truth value in a chart: the server made text of it */
        return HELD_SAME;
    return str_eq(want, have) ? HELD_SAME : HELD_OTHER;
}

/* ---- owners ---- */

struct owners {
    const struct residue *r;
    size_t all, engine,
        foreign; /* foreign: neither the engine, nor the platform, nor a writer of status */
};

static int owner_seen(void *ctx, const struct owner *w, struct err *err)
{
    (void)err;
    struct owners *o = ctx;
    o->all++;
    for (const char *const *m = o->r->f->engine->managers; *m; m++) {
        if (streq(*m, w->manager)) {
            o->engine++;
            return 0;
        }
    }
    bool status = w->subresource && *w->subresource;
    if (!status && !catalogue_platform_manager(catalogue_builtin(), w->manager))
        o->foreign++;
    return 0;
}

static int owners_of(const struct residue *r, const char *const *path, struct owners *ret,
                     struct err *err)
{
    *ret = (struct owners){.r = r};
    return evidence_owners(r->a, r->f->object, path, owner_seen, ret, err);
}

/* ---- keys ---- */

/* What Git declares and somebody else has taken over since has another value now. */
static int owner_holds(struct residue *r, const char *const *path, enum held *ret, struct err *err)
{
    struct owners o;
    if (owners_of(r, path, &o, err) < 0)
        return -1;
    if (!evidence_declared(r->a, r->f->engine, r->f->object, path))
        *ret = HELD_NO;
    else
        *ret = o.engine == 0 && o.foreign > 0 ? HELD_OTHER : HELD_SAME;
    return 0;
}

static int key_held(struct residue *r, const char *member, const char *key, str live,
                    enum held *ret, struct err *err)
{
    const char *const path[] = {member, key, NULL};
    const char *const string_path[] = {"stringData", key, NULL};
    if (r->f->book->manifest.p) {
        *ret = manifest_holds(r, member, key, live);
        return 0;
    }
    if (owner_holds(r, path, ret, err) < 0)
        return -1;
    if (*ret == HELD_NO && streq(r->f->type->kind, "Secret"))
        return owner_holds(r, string_path, ret, err);
    return 0;
}

/* What the cluster signs into a token Secret, for this cluster and this account alone. */
static bool is_signed(const struct residue *r, const char *key)
{
    static const char *const keys[] = {"token", "ca.crt", "namespace", "service-ca.crt"};
    bool hit = false;
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        hit |= streq(key, keys[i]);
    return hit && verdict_is_token(r->f->object);
}

static int keys_of(struct residue *r, const char *member, struct err *err)
{
    str key, value;
    struct raw_iter it = raw_iter(raw_get(r->f->object->raw, member));
    while (raw_next(&it, &key, &value)) {
        const char *name = raw_string(r->a, key).p;
        enum held held;
        if (key_held(r, member, name, value, &held, err) < 0)
            return -1;
        if (held == HELD_SAME || is_signed(r, name))
            continue;
        r->drift |= held == HELD_OTHER;
        add(r, member, name);
    }
    return it.bad ? err_set(err, ERR_CORRUPT, "%s is not an object", member) : 0;
}

/* ---- annotations ---- */

static int annotations_of(struct residue *r, struct err *err)
{
    str key, value;
    struct raw_iter it = raw_iter(raw_at(r->f->object->raw, "metadata", "annotations", NULL));
    while (raw_next(&it, &key, &value)) {
        const char *name = raw_string(r->a, key).p;
        const char *const path[] = {"metadata", "annotations", name, NULL};
        if (catalogue_noise_annotation(catalogue_builtin(), name))
            continue;
        if (r->f->book->manifest.p &&
            raw_at(r->f->book->manifest, "metadata", "annotations", name, NULL).p)
            continue;
        if (!r->f->book->manifest.p && evidence_declared(r->a, r->f->engine, r->f->object, path))
            continue;
        struct owners seen;
        if (owners_of(r, path, &seen, err) < 0)
            return -1;
        if (seen.all == 0 || seen.foreign > 0)
            add(r, "metadata/annotations", name);
    }
    return it.bad ? err_set(err, ERR_CORRUPT, "metadata.annotations is not an object") : 0;
}

int residue_fields(struct arena *a, const struct facts *f, const char ***ret_fields, size_t *ret_n,
                   bool *ret_drift, struct err *err)
{
    struct residue r = {.a = a, .f = f};
    r.fields = arena_alloc(a, VERDICT_FIELDS_MAX * sizeof *r.fields);
    bool keyed = streq(f->type->group, "") &&
                 (streq(f->type->kind, "Secret") || streq(f->type->kind, "ConfigMap"));
    if (keyed && (keys_of(&r, "data", err) < 0 || keys_of(&r, "binaryData", err) < 0))
        return -1;
    if (annotations_of(&r, err) < 0)
        return -1;
    *ret_fields = r.fields;
    *ret_n = r.n;
    *ret_drift = r.drift;
    return 0;
}

/* ---- the stored form ---- */

static void put_member(struct buf *b, const char *name, str value)
{
    if (b->p[b->n - 1] != '{')
        buf_putc(b, ',');
    raw_add_string(b, str_of(name));
    buf_putc(b, ':');
    buf_str(b, value);
}

static void put_text(struct buf *b, const char *name, const char *value)
{
    struct buf CLEANUP(buf_free) text = {0};
    raw_add_string(&text, str_of(value));
    put_member(b, name, buf_view(&text));
}

/* Adds "member":{...} with those fields whose name begins with the prefix; nothing if there is
 * none. */
static int put_fields(struct buf *b, const char *member, const char *prefix, str from,
                      const char *const *fields, size_t n, struct err *err)
{
    struct buf CLEANUP(buf_free) map = {0};
    buf_putc(&map, '{');
    size_t found = 0, skip = strlen(prefix);
    for (size_t i = 0; i < n; i++) {
        if (strncmp(fields[i], prefix, skip) != 0 || fields[i][skip] != '/')
            continue;
        str value = raw_get(from, fields[i] + skip + 1);
        if (!value.p)
            return err_set(err, ERR_NOT_FOUND, "field %s is not there", fields[i]);
        put_member(&map, fields[i] + skip + 1, value);
        found++;
    }
    buf_putc(&map, '}');
    if (found > 0)
        put_member(b, member, buf_view(&map));
    return 0;
}

int residue_text(struct arena *a, const struct kube_object *o, const char *const *fields, size_t n,
                 str *ret, struct err *err)
{
    struct buf CLEANUP(buf_free) b = {0}, meta = {0};
    buf_putc(&meta, '{');
    put_text(&meta, "name", o->name);
    if (*o->ns)
        put_text(&meta, "namespace", o->ns);
    put_text(&meta, "uid", o->uid);
    str owners = raw_at(o->raw, "metadata", "managedFields", NULL);
    if (owners.p)
        put_member(&meta, "managedFields", owners);
    if (put_fields(&meta, "annotations", "metadata/annotations",
                   raw_at(o->raw, "metadata", "annotations", NULL), fields, n, err) < 0)
        return -1;
    buf_putc(&meta, '}');

    buf_putc(&b, '{');
    put_text(&b, "apiVersion", o->api_version);
    put_text(&b, "kind", o->kind);
    put_member(&b, "metadata", buf_view(&meta));
    static const char *const members[] = {"data", "binaryData"};
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        if (put_fields(&b, members[i], members[i], raw_get(o->raw, members[i]), fields, n, err) < 0)
            return -1;
    }
    buf_putc(&b, '}');
    *ret = arena_str(a, buf_view(&b));
    return 0;
}
