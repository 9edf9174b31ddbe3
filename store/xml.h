/* The XML of object stores' answers: a scanner without memory of its own but for one text. It knows
 * elements, text, the five named and the numeric references, CDATA, comments and processing
 * instructions. Attributes are read over, prefixes of names are cut. DOCTYPE is refused, so nothing
 * can grow. */
#ifndef STORE_XML_H
#define STORE_XML_H

#include "core/err.h"
#include "core/str.h"

enum { XML_DEPTH_MAX = 12, XML_TEXT_MAX = 64 << 10 };

struct xml_in {
    str rest;
    str name[XML_DEPTH_MAX]; /* of the open elements, outermost first */
    size_t depth;            /* how many these are; after XML_CLOSE the closed one still counts */
    struct buf text;         /* at XML_CLOSE: the element's text, decoded; of one that holds
                                elements what follows the last of them */
    bool closed, alone, begun;
};

enum xml_event { XML_END, XML_OPEN, XML_CLOSE };

void xml_in_text(struct xml_in *in, str text);
void xml_in_free(struct xml_in *in);

/* The next event; XML_END when the root element is closed and nothing but space follows.
 * ERR_CORRUPT: not such XML, cut short, or beyond the bounds. */
int xml_next(struct xml_in *in, struct err *err) must_check;

/* True if the open elements are exactly these: "ListBucketResult/Contents/Key". */
bool xml_is(const struct xml_in *in, const char *path);

/* Appends the texts of the first elements of each name, wherever they stand and as far as they are
 * not empty. For answers that are small. ERR_CORRUPT. */
struct xml_wanted {
    const char *name;
    struct buf *text;
};
int xml_find(str text, const struct xml_wanted *wanted, size_t n, struct err *err) must_check;

/* Appends s with the five characters that XML reserves replaced. */
void xml_escape(struct buf *out, str s);

#endif
