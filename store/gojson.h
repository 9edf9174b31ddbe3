/* JSON as Go writes it: tree blobs are named by their bytes, so strings, names and times must come
 * out exactly as from restic (Go's encoding/json, strconv.Quote and time.Time). */
#ifndef STORE_GOJSON_H
#define STORE_GOJSON_H

#include "core/str.h"

#include <time.h>

/* A string with its quotes. `"` `\` and control characters are escaped, `<` `>` `&` U+2028 U+2029
 * too; each invalid UTF-8 byte becomes \ufffd. */
void gojson_string(struct buf *out, str s);

/* A node's name with its quotes: first strconv.Quote (without its quotes), then gojson_string. */
void gojson_name(struct buf *out, str name);

/* Undoes strconv.Quote (any escape that Go reads); appends the raw bytes. False: not a quoted text.
 */
bool gojson_unquote(struct buf *out, str quoted);

/* True for the runes that strconv.Quote leaves as they are. */
bool gojson_printable(uint32_t rune);

/* True if s is UTF-8. */
bool gojson_utf8(str s);

/* Appends s with U+FFFD for each byte that is not UTF-8. */
void gojson_add_valid(struct buf *out, str s);

/* Appends a rune as UTF-8. */
void gojson_add_rune(struct buf *out, uint32_t rune);

/* RFC 3339 in UTC with quotes, the fraction without trailing zeros; years are held in 0..9999. */
void gojson_time(struct buf *out, struct timespec t);

/* RFC 3339 with any zone and up to nine digits of fraction (more are cut). */
bool gojson_parse_time(str s, struct timespec *ret);

/* The same, and its zone in seconds east of UTC. */
bool gojson_parse_zoned_time(str s, struct timespec *ret, int *ret_zone);

/* Days from 1970-01-01 to a date of the proleptic Gregorian calendar, and back. */
int64_t gojson_days_from_date(int64_t y, unsigned m, unsigned d);
void gojson_date_from_days(int64_t days, int64_t *y, unsigned *m, unsigned *d);

#endif
