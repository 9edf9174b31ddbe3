/* A JSON reader that pulls one value after the other from a text that may come in pieces: trees and
 * indexes are read without ever being whole in memory as a tree of values.
 *
 * Every call gives < 0 where the text is not what the caller asked for; *err then says where. After
 * that every further call fails in the same way. */
#ifndef STORE_JSONIN_H
#define STORE_JSONIN_H

#include "core/err.h"
#include "core/str.h"

struct json_in {
    const char *p, *end; /* what is there of the text */
    const char *start;   /* of this piece */
    uint64_t before;     /* bytes in earlier pieces */
    /* Gives the next piece: 1, 0 at the end, < 0 with *err set. NULL: there is but one. */
    int (*more)(void *ctx, str *ret_piece, struct err *err);
    void *ctx;
    struct err *err;
    struct buf text; /* the last string */
    size_t string_max;
    bool failed;
};

/* The whole text is at hand (borrowed). err is where failures go from now on. */
void json_in_text(struct json_in *in, str text, struct err *err);

/* The text comes in pieces; each is borrowed until the next is asked for. */
void json_in_pieces(struct json_in *in, int (*more)(void *ctx, str *ret_piece, struct err *err),
                    void *ctx, struct err *err);

void json_in_free(struct json_in *in);

/* {: then while ((r = json_in_key(&in, &first, &key)) > 0) read or skip the value; < 0 is failure.
 * `first` is true before the first key. The key is valid until the next call. */
int json_in_object(struct json_in *in) must_check;
int json_in_key(struct json_in *in, bool *first, str *ret_key) must_check;

/* Reads a whole object: `member` is called for each key and reads or skips its value. */
int json_in_members(struct json_in *in, int (*member)(void *ctx, struct json_in *in, str key),
                    void *ctx) must_check;

/* [: then while ((r = json_in_item(&in, &first)) > 0) read or skip the value. */
int json_in_array(struct json_in *in) must_check;
int json_in_item(struct json_in *in, bool *first) must_check;

/* The decoded string, valid until the next call. */
int json_in_string(struct json_in *in, str *ret) must_check;
int json_in_u64(struct json_in *in, uint64_t *ret) must_check;
int json_in_u32(struct json_in *in, uint32_t *ret) must_check;
int json_in_i64(struct json_in *in, int64_t *ret) must_check;
int json_in_bool(struct json_in *in, bool *ret) must_check;

/* 1: the value is null and was read; 0: it is something else and is still to be read. */
int json_in_null(struct json_in *in) must_check;

/* Reads over any value. */
int json_in_skip(struct json_in *in) must_check;

/* Nothing but white space is left. */
int json_in_end(struct json_in *in) must_check;

/* Fails with "<what> at offset n". */
int json_in_fail(struct json_in *in, const char *what);

#endif
