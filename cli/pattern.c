#include "cli/pattern.h"

#include "core/vec.h"

#include <fnmatch.h>
#include <stdlib.h>

/* The parts of a path or pattern: "/" first if it is absolute. */
struct parts {
    char **p;
    size_t n, room;
};

struct pattern {
    struct parts parts;
    bool negated, fold;
};

static void parts_free(struct parts *parts)
{
    for (size_t i = 0; i < parts->n; i++)
        free(parts->p[i]);
    vec_free(parts);
}

/* Also cleans: no empty parts, no ".", and ".." takes the part before it. */
static void split(const char *text, struct parts *parts)
{
    if (*text == '/')
        *vec_add(parts) = xstrdup("/");
    for (str rest = str_of(text); rest.p;) {
        str part = str_cut(&rest, '/');
        if (part.n == 0 || str_is(part, "."))
            continue;
        size_t root = parts->n && streq(parts->p[0], "/");
        if (str_is(part, "..") && parts->n > root)
            free(parts->p[--parts->n]);
        else
            *vec_add(parts) = str_dup(part);
    }
}

/* One character of a class, with its backslash; NULL if there is none. */
static const char *class_character(const char *at)
{
    if (*at == '\\')
        at++;
    else if (*at == '-' || *at == ']')
        return NULL;
    return *at ? at + 1 : NULL;
}

/* "[a-z]" from behind its bracket to behind its end; NULL if it is none. */
static const char *class_end(const char *at)
{
    at += *at == '^';
    for (bool empty = true; empty || *at != ']'; empty = false) {
        at = class_character(at);
        if (at && *at == '-')
            at = class_character(at + 1);
        if (!at)
            return NULL;
    }
    return at + 1;
}

/* That Go's filepath.Match takes it: fnmatch would match a '[' that is never closed as such. */
static bool is_valid(const char *part)
{
    for (const char *at = part; *at;) {
        char c = *at++;
        if (c == '\\' && !*at++)
            return false;
        if (c == '[' && !(at = class_end(at)))
            return false;
    }
    return true;
}

struct pattern *pattern_new(const char *text, bool fold)
{
    struct pattern *p = xcalloc(1, sizeof *p);
    p->fold = fold;
    p->negated = *text == '!';
    split(text + p->negated, &p->parts);
    if (p->parts.n)
        return p;
    pattern_free(p);
    return NULL;
}

void pattern_free(struct pattern *p)
{
    if (!p)
        return;
    parts_free(&p->parts);
    free(p);
}

static bool part_matches(const struct pattern *p, const char *pattern, const char *part)
{
    return fnmatch(pattern, part, p->fold ? FNM_CASEFOLD : 0) == 0;
}

static bool match_line(const struct pattern *p, char *const *pattern, size_t n, char *const *path,
                       size_t path_n)
{
    if (n == 0 || n > path_n)
        return n == path_n;
    size_t first = 0, last = path_n - n;
    if (streq(pattern[0], "/"))
        last = 0;
    else if (streq(path[0], "/"))
        first = 1;
    for (size_t offset = first; offset <= last; offset++) {
        size_t i = 0;
        while (i < n && part_matches(p, pattern[i], path[offset + i]))
            i++;
        if (i == n)
            return true;
    }
    return false;
}

/* Each "**" is tried as so many "*" as may fit. */
static bool match(const struct pattern *p, char *const *pattern, size_t n, char *const *path,
                  size_t path_n)
{
    static char any[] = "*";
    size_t at = 0;
    while (at < n && !streq(pattern[at], "**"))
        at++;
    if (at == n)
        return match_line(p, pattern, n, path, path_n);
    for (size_t count = 0; n - 1 + count <= path_n; count++) {
        char **wide CLEANUP(free_p) = xmalloc((n + count) * sizeof *wide);
        memcpy(wide, pattern, at * sizeof *wide);
        for (size_t i = 0; i < count; i++)
            wide[at + i] = any;
        memcpy(wide + at + count, pattern + at + 1, (n - at - 1) * sizeof *wide);
        if (match(p, wide, n - 1 + count, path, path_n))
            return true;
    }
    return false;
}

bool pattern_matches(const struct pattern *p, const char *path)
{
    struct parts parts CLEANUP(parts_free) = {0};
    split(path, &parts);
    return match(p, p->parts.p, p->parts.n, parts.p, parts.n);
}

bool pattern_may_match_below(const struct pattern *p, const char *path)
{
    struct parts parts CLEANUP(parts_free) = {0};
    if (!streq(p->parts.p[0], "/"))
        return true;
    split(path, &parts);
    size_t n = parts.n;
    for (size_t i = 0; i < p->parts.n; i++)
        if (streq(p->parts.p[i], "**"))
            n = MIN(n, i);
    return match(p, p->parts.p, MIN(n, p->parts.n), parts.p, n);
}

int patterns_add(struct patterns *list, const char *option, const char *text, bool fold,
                 struct err *err)
{
    struct pattern *p = pattern_new(text, fold);
    if (!p)
        return 0;
    for (size_t i = 0; i < p->parts.n; i++)
        if (!is_valid(p->parts.p[i])) {
            pattern_free(p);
            return err_set(err, ERR_INVALID, "%s: invalid pattern '%s'", option, text);
        }
    *vec_add(list) = p;
    return 0;
}

void patterns_free(struct patterns *list)
{
    for (size_t i = 0; i < list->n; i++)
        pattern_free(list->p[i]);
    vec_free(list);
}

bool patterns_match(const struct patterns *list, const char *path, bool *ret_below)
{
    bool matched = false, below = false;
    for (size_t i = 0; i < list->n; i++) {
        const struct pattern *p = list->p[i];
        bool m = pattern_matches(p, path), c = pattern_may_match_below(p, path);
        matched = p->negated ? matched && !m : matched || m;
        below = p->negated ? below && !m : below || c;
    }
    *ret_below = below;
    return matched;
}
