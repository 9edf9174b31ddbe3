#include "store/config.h"

#include "store/chunker.h"
#include "store/jsonin.h"

#include <stdlib.h>

void store_config_make(struct store_config *ret_config)
{
    *ret_config = (struct store_config){.version = 2, .polynomial = polynomial_random()};
    random_bytes(ret_config->id.b, sizeof ret_config->id.b);
}

void store_config_text(const struct store_config *config, struct buf *out)
{
    char id[STORE_ID_HEX];
    store_id_hex(&config->id, id);
    buf_printf(out, "{\"version\":%u,\"id\":\"%s\",\"chunker_polynomial\":\"%llx\"}",
               config->version, id, (unsigned long long)config->polynomial);
}

static int parse_polynomial(struct json_in *in, uint64_t *ret)
{
    str text;
    if (json_in_string(in, &text) < 0)
        return -1;
    char digits[17], *end;
    if (text.n == 0 || text.n >= sizeof digits || !text.p[0] ||
        !strchr("0123456789abcdefABCDEF", text.p[0]))
        return json_in_fail(in, "expected a polynomial in hex");
    memcpy(digits, text.p, text.n);
    digits[text.n] = '\0';
    *ret = strtoull(digits, &end, 16);
    return end == digits + text.n ? 0 : json_in_fail(in, "expected a polynomial in hex");
}

static int parse_member(void *ctx, struct json_in *in, str key)
{
    struct store_config *c = ctx;
    str text;
    if (str_is(key, "version"))
        return json_in_u32(in, &c->version);
    if (str_is(key, "chunker_polynomial"))
        return parse_polynomial(in, &c->polynomial);
    if (str_is(key, "append_only")) {
        int null = json_in_null(in);
        return null ? MIN(null, 0) : json_in_bool(in, &c->append_only);
    }
    if (str_is(key, "id")) {
        if (json_in_string(in, &text) < 0)
            return -1;
        return store_id_parse(text, &c->id) ? 0 : json_in_fail(in, "expected an id");
    }
    if (str_is(key, "chunker")) {
        int null = json_in_null(in);
        if (null)
            return MIN(null, 0);
        if (json_in_string(in, &text) < 0)
            return -1;
        c->fixed_chunks = !str_is(text, "Rabin");
        return 0;
    }
    return json_in_skip(in);
}

int store_config_parse(str text, struct store_config *ret_config, struct err *err)
{
    struct store_config c = {0};
    struct json_in in CLEANUP(json_in_free);
    json_in_text(&in, text, err);
    if (json_in_members(&in, parse_member, &c) < 0 || json_in_end(&in) < 0)
        return err_wrap(err, "the repository's config");
    if (c.version != 1 && c.version != 2)
        return err_set(err, ERR_UNSUPPORTED,
                       "the repository has format version %u; versions 1 and 2 are understood",
                       c.version);
    if (!polynomial_usable(c.polynomial))
        return err_set(err, ERR_CORRUPT, "the config's chunker polynomial %llx is not irreducible",
                       (unsigned long long)c.polynomial);
    *ret_config = c;
    return 0;
}
