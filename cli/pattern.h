/* restic's patterns of paths, as in --include, --exclude and find (its internal/filter): one that
 * begins with '/' is matched from the root, another anywhere; the parts are matched one by one with
 * `*`, `?` and `[...]`; `**` stands for any number of directories; `!` in front takes back what an
 * earlier one matched. What lies below a path that matches, matches too. */
#ifndef CLI_PATTERN_H
#define CLI_PATTERN_H

#include "core/err.h"
#include "core/str.h"

struct pattern;

/* fold: upper and lower case (of ASCII) are the same. NULL for one that is empty. */
struct pattern *pattern_new(const char *text, bool fold);
void pattern_free(struct pattern *p);

/* path is "/a/b". */
bool pattern_matches(const struct pattern *p, const char *path);

/* Something below the directory may match. */
bool pattern_may_match_below(const struct pattern *p, const char *path);

struct patterns {
    struct pattern **p;
    size_t n, room;
};

void patterns_free(struct patterns *list); /* fit for CLEANUP */

/* Adds one at the end; an empty one adds nothing, as with restic, where a list of such alone still
 * matches nothing. ERR_INVALID names the option and the pattern: "[bad". */
int patterns_add(struct patterns *list, const char *option, const char *text, bool fold,
                 struct err *err) must_check;

/* By all in their order; *ret_below: something below it may match. */
bool patterns_match(const struct patterns *list, const char *path, bool *ret_below);

#endif
