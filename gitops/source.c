#include "gitops/source.h"

struct source *source_add(struct sources *s)
{
    if (s->n == SOURCES_MAX)
        return NULL;
    struct source *row = &s->at[s->n++];
    *row = (struct source){"", "", "", "", "", "", "", "", "", ""};
    return row;
}

bool is_commit(const char *s)
{
    size_t n = strlen(s);
    return (n == 40 || n == 64) && strspn(s, "0123456789abcdef") == n;
}

const char *revision_commit(struct arena *a, const char *revision)
{
    static const char *const marks[] = {"sha1:", "sha256:"};
    for (size_t i = 0; i < ARRAY_LEN(marks); i++) {
        const char *at = strrchr(revision, '@');
        const char *tail = at ? at + 1 : revision;
        size_t n = strlen(marks[i]);
        if (strncmp(tail, marks[i], n) == 0 && is_commit(tail + n))
            return arena_strdup(a, tail + n);
    }
    return "";
}
