#include "store/config.h"

#include "store/chunker.h"
#include "store/jsonin.h"
#include "store/limits.h"

#include <stdlib.h>

/* A chunk is longer than the fingerprint's window, and fits a writer's memory. */
enum { CHUNK_LEAST = 4096, CHUNK_MOST = 64 << 20 };

/* restic's, and rustic's where it says nothing else. */
static const struct store_chunking default_chunking = {
    .kind = CHUNKS_RABIN, .size = 1u << 20, .min = STORE_CHUNK_MIN, .max = STORE_CHUNK_MAX};

void store_config_make(struct store_config *ret_config)
{
    *ret_config = (struct store_config){
        .version = 2, .polynomial = polynomial_random(), .chunking = default_chunking};
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

/* rustic's members, each of which may be null or absent. */
static int parse_addition(bool *hot, struct store_config *c, struct json_in *in, str key)
{
    bool chunker = str_is(key, "chunker");
    bool *flag = str_is(key, "append_only") ? &c->append_only : str_is(key, "is_hot") ? hot : NULL;
    uint32_t *size = str_is(key, "chunk_size")       ? &c->chunking.size
                     : str_is(key, "chunk_min_size") ? &c->chunking.min
                     : str_is(key, "chunk_max_size") ? &c->chunking.max
                                                     : NULL;
    str text;
    int null = chunker || flag || size ? json_in_null(in) : 0;
    if (null)
        return MIN(null, 0);
    if (flag)
        return json_in_bool(in, flag);
    if (size)
        return json_in_u32(in, size);
    if (!chunker)
        return json_in_skip(in);
    if (json_in_string(in, &text) < 0)
        return -1;
    c->chunking.kind = str_is(text, "Rabin")       ? CHUNKS_RABIN
                       : str_is(text, "FixedSize") ? CHUNKS_FIXED
                                                   : CHUNKS_UNKNOWN;
    return 0;
}

struct parsing {
    struct store_config config;
    bool hot;
};

static int parse_member(void *ctx, struct json_in *in, str key)
{
    struct parsing *p = ctx;
    struct store_config *c = &p->config;
    str text;
    if (str_is(key, "version"))
        return json_in_u32(in, &c->version);
    if (str_is(key, "chunker_polynomial"))
        return parse_polynomial(in, &c->polynomial);
    if (str_is(key, "id")) {
        if (json_in_string(in, &text) < 0)
            return -1;
        return store_id_parse(text, &c->id) ? 0 : json_in_fail(in, "expected an id");
    }
    return parse_addition(&p->hot, c, in, key);
}

/* The cuts are taken as rustic_core takes them (chunker/rabin.rs, chunker/fixed_size.rs); what no
 * chunker can be given is unknown. */
static void settle_chunking(struct store_chunking *c)
{
    if (c->kind == CHUNKS_FIXED)
        c->min = c->max = c->size;
    bool power = c->size && (c->size & (c->size - 1)) == 0;
    if (c->min < CHUNK_LEAST || c->max > CHUNK_MOST || c->min > c->size || c->max < c->size ||
        (c->kind == CHUNKS_RABIN && !power))
        c->kind = CHUNKS_UNKNOWN;
}

int store_config_parse(str text, struct store_config *ret_config, struct err *err)
{
    struct parsing p = {.config.chunking = default_chunking};
    struct store_config *c = &p.config;
    struct json_in in CLEANUP(json_in_free);
    json_in_text(&in, text, err);
    if (json_in_members(&in, parse_member, &p) < 0 || json_in_end(&in) < 0)
        return err_wrap(err, "the repository's config");
    if (c->version != 1 && c->version != 2)
        return err_set(err, ERR_UNSUPPORTED,
                       "the repository has format version %u; versions 1 and 2 are understood",
                       c->version);
    if (!polynomial_usable(c->polynomial))
        return err_set(err, ERR_CORRUPT, "the config's chunker polynomial %llx is not irreducible",
                       (unsigned long long)c->polynomial);
    if (p.hot)
        return err_set(
            err, ERR_UNSUPPORTED,
            "this is the hot half of a hot and cold pair of repositories, which holds no "
            "data: open the cold one");
    settle_chunking(&c->chunking);
    *ret_config = *c;
    return 0;
}
