#include "gateway/registration.h"

#include <openssl/crypto.h>
#include <stdlib.h>

#include "core/codec.h"
#include "core/json.h"
#include "store/layout.h"

enum {
    TEXT_MAX = 1024,
    CREDENTIAL_MAX = 16 << 10,
    CA_MAX = 128 << 10,
    KEY_TEXT_MAX = 4 << 10,
    CONFIG_MAX = 4 << 10
};

static void wipe(char **text)
{
    if (*text)
        OPENSSL_cleanse(*text, strlen(*text));
    free(*text);
    *text = NULL;
}

void registration_forget_keys(struct registration *r)
{
    wipe(&r->s3.access_key);
    wipe(&r->s3.secret_key);
    wipe(&r->s3.session_token);
}

void registration_free(struct registration *r)
{
    registration_forget_keys(r);
    wipe(&r->password);
    wipe(&r->key_text);
    buf_free(&r->config);
    free(r->store);
    free(r->repository);
    free(r->lock);
    free(r->s3.endpoint);
    free(r->s3.bucket);
    free(r->s3.prefix);
    free(r->s3.region);
    free(r->s3.ca_pem);
    *r = (struct registration){0};
}

/* ---- reading ---- */

struct member {
    const char *name;
    char **at; /* NULL: read by its own function */
    size_t max;
    bool needed;
};

static int take_text(const json_t *j, const struct member *m, struct err *err)
{
    const json_t *v = json_object_get(j, m->name);
    if (v && (!json_is_string(v) || json_string_length(v) > m->max ||
              strlen(json_string_value(v)) != json_string_length(v)))
        return err_set(err, ERR_INVALID, "\"%s\" is not a text of at most %zu bytes", m->name,
                       m->max);
    if (m->needed && (!v || json_string_length(v) == 0))
        return err_set(err, ERR_INVALID, "\"%s\" is missing", m->name);
    *m->at = xstrdup(v ? json_string_value(v) : "");
    return 0;
}

/* Takes all texts of an object; a member that is not in the table is refused. */
static int take_members(const json_t *j, const char *what, const struct member *members, size_t n,
                        struct err *err)
{
    const char *name;
    json_t *value;
    if (!json_is_object(j))
        return err_set(err, ERR_INVALID, "%s is not an object", what);
    json_object_foreach((json_t *)(uintptr_t)j, name, value)
    {
        size_t i = 0;
        while (i < n && !streq(name, members[i].name))
            i++;
        if (i == n)
            return err_set(err, ERR_INVALID, "%s has an unknown member", what);
    }
    for (size_t i = 0; i < n; i++)
        if (members[i].at && take_text(j, &members[i], err) < 0)
            return -1;
    return 0;
}

static int take_keys(const json_t *j, struct registration *r, struct err *err)
{
    const json_t *keys = json_object_get(j, "keys"), *key;
    struct store_id id;
    size_t i;
    if (!json_is_array(keys) || json_array_size(keys) == 0 ||
        json_array_size(keys) > GATEWAY_KEYS_MAX)
        return err_set(err, ERR_INVALID, "\"keys\" is not a list of 1 to %d ids", GATEWAY_KEYS_MAX);
    json_array_foreach(keys, i, key)
    {
        if (!store_id_parse(str_of(json_string_value(key)), &r->keys[i]))
            return err_set(err, ERR_INVALID, "\"keys\": one is not an id");
        r->keys_n = i + 1;
    }
    store_id_of(r->key_text, strlen(r->key_text), &id);
    if (*r->key_text && (r->keys_n != 1 || !store_id_equal(&id, &r->keys[0])))
        return err_set(err, ERR_INVALID, "\"key_text\" is not the only key's");
    return 0;
}

static int take_s3(const json_t *j, struct registration *r, struct err *err)
{
    struct registration_s3 *s = &r->s3;
    char *lookup CLEANUP(free_p) = NULL;
    const struct member members[] = {
        {"endpoint", &s->endpoint, TEXT_MAX, true},
        {"bucket", &s->bucket, TEXT_MAX, true},
        {"prefix", &s->prefix, TEXT_MAX, false},
        {"region", &s->region, TEXT_MAX, false},
        {"lookup", &lookup, TEXT_MAX, false},
        {"ca", &s->ca_pem, CA_MAX, false},
        {"access_key", &s->access_key, CREDENTIAL_MAX, false},
        {"secret_key", &s->secret_key, CREDENTIAL_MAX, false},
        {"session_token", &s->session_token, CREDENTIAL_MAX, false},
    };
    if (!j)
        return 0;
    r->on_s3 = true;
    if (take_members(j, "\"s3\"", members, ARRAY_LEN(members), err) < 0)
        return -1;
    if (!*s->access_key != !*s->secret_key)
        return err_set(err, ERR_INVALID, "\"access_key\" and \"secret_key\" come together");
    s->lookup = streq(lookup, "path")   ? S3_LOOKUP_PATH
                : streq(lookup, "host") ? S3_LOOKUP_HOST
                                        : S3_LOOKUP_AUTO;
    return *lookup && s->lookup == S3_LOOKUP_AUTO
               ? err_set(err, ERR_INVALID, "\"lookup\" is neither path nor host")
               : 0;
}

/* Plain elements below each other: no "..", nothing hidden, no leading '/'. */
static bool is_folder(const char *folder)
{
    str rest = str_of(folder);
    if (rest.n == 0)
        return true;
    while (rest.p) {
        str element = str_cut(&rest, '/');
        if (element.n == 0 || element.p[0] == '.')
            return false;
    }
    return true;
}

static int parse(const json_t *j, struct registration *r, struct err *err)
{
    const json_t *write = json_object_get(j, "write"), *budget = json_object_get(j, "budget");
    char *config CLEANUP(free_p) = NULL;
    str cluster, namespace;
    const struct member members[] = {
        {"store", &r->store, TEXT_MAX, false},
        {"repository", &r->repository, TEXT_MAX, true},
        {"password", &r->password, TEXT_MAX, true},
        {"lock", &r->lock, TEXT_MAX, json_is_true(write)},
        {"key_text", &r->key_text, KEY_TEXT_MAX, false},
        {"config", &config, CONFIG_MAX, false},
        {.name = "s3"},
        {.name = "keys"},
        {.name = "write"},
        {.name = "budget"},
    };
    if (take_members(j, "the registration", members, ARRAY_LEN(members), err) < 0 ||
        take_s3(json_object_get(j, "s3"), r, err) < 0)
        return -1;
    if (base64_decode(&r->config, str_of(config), NULL) < 0)
        return err_set(err, ERR_INVALID, "\"config\" is not base64");
    if (!layout_parse_repository(str_of(r->repository), &cluster, &namespace))
        return err_set(err, ERR_INVALID, "\"repository\" is not <clusterName>/<namespace>");
    if (!is_folder(r->store) || (r->on_s3 && *r->store))
        return err_set(err, ERR_INVALID, "\"store\" is not a folder below the store's root");
    if (write && !json_is_boolean(write))
        return err_set(err, ERR_INVALID, "\"write\" is neither true nor false");
    if (budget && (!json_is_integer(budget) || json_integer_value(budget) < 0))
        return err_set(err, ERR_INVALID, "\"budget\" is not a number of bytes");
    r->write = json_is_true(write);
    r->budget = (uint64_t)json_integer_value(budget);
    return take_keys(j, r, err);
}

/* The parser's copies of what is secret; it frees them unwiped. */
static void wipe_texts(json_t *j)
{
    const char *name;
    json_t *value;
    if (json_is_string(j))
        OPENSSL_cleanse((char *)(uintptr_t)json_string_value(j), json_string_length(j));
    json_object_foreach(j, name, value) wipe_texts(value);
}

int registration_parse(str body, struct registration *ret, struct err *err)
{
    struct registration r CLEANUP(registration_free) = {0};
    json_t *j CLEANUP_JSON = NULL;
    /* The parser's own message could quote the password. */
    if (json_parse(body, &j, NULL) < 0)
        return err_set(err, ERR_INVALID, "the registration is not JSON");
    int done = parse(j, &r, err);
    wipe_texts(j);
    if (done < 0)
        return -1;
    *ret = r;
    r = (struct registration){0};
    return 0;
}

/* ---- comparing ---- */

static bool same_s3(const struct registration_s3 *a, const struct registration_s3 *b)
{
    return streq(a->endpoint, b->endpoint) && streq(a->bucket, b->bucket) &&
           streq(a->prefix, b->prefix) && streq(a->region, b->region) && a->lookup == b->lookup &&
           streq(a->ca_pem, b->ca_pem);
}

/* An endpoint may get another name while a mover works; a bucket does not. */
bool registration_same_place(const struct registration *a, const struct registration *b)
{
    return streq(a->store, b->store) && streq(a->repository, b->repository) &&
           a->on_s3 == b->on_s3 &&
           (!a->on_s3 || (streq(a->s3.bucket, b->s3.bucket) && streq(a->s3.prefix, b->s3.prefix)));
}

bool registration_same(const struct registration *a, const struct registration *b)
{
    return registration_same_place(a, b) && streq(a->password, b->password) &&
           streq(a->lock, b->lock) && streq(a->key_text, b->key_text) &&
           str_eq(buf_view(&a->config), buf_view(&b->config)) && a->keys_n == b->keys_n &&
           memcmp(a->keys, b->keys, a->keys_n * sizeof *a->keys) == 0 && a->write == b->write &&
           a->budget == b->budget && (!a->on_s3 || same_s3(&a->s3, &b->s3));
}
