#include <stdio.h>
#include <strings.h>

#include "cli/cli.h"
#include "core/clock.h"

int cli_parse_target(struct arena *a, const char *text, const char **ret_kind,
                     const char **ret_name, struct err *err)
{
    /* What people type, and the kind behind it. */
    static const struct {
        const char *word, *kind;
    } words[] = {
        {"helmrelease", "HelmRelease"},
        {"helmreleases", "HelmRelease"},
        {"hr", "HelmRelease"},
        {"kustomization", "Kustomization"},
        {"kustomizations", "Kustomization"},
        {"ks", "Kustomization"},
        {"application", "Application"},
        {"applications", "Application"},
        {"app", "Application"},
        {"apps", "Application"},
    };
    str name = str_of(text), kind = str_cut(&name, '/');
    if (kind.n == 0 || name.n == 0 || memchr(name.p, '/', name.n))
        return err_set(err, ERR_INVALID, "'%s' is not KIND/NAME, such as helmrelease/shop", text);
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (kind.n == strlen(words[i].word) && strncasecmp(kind.p, words[i].word, kind.n) == 0) {
            *ret_kind = words[i].kind;
            *ret_name = arena_str(a, name).p;
            return 0;
        }
    }
    return err_set(
        err, ERR_INVALID,
        "'%.*s' is not a kind of application: give HelmRelease, Kustomization or Application",
        STR_FMT(kind));
}

void cli_table_row(struct cli_table *t, const char *const *cells)
{
    for (size_t i = 0; i < t->columns; i++)
        *vec_add(&t->cells) = cells[i] && *cells[i] ? cells[i] : "-";
}

void cli_table_print(const struct cli_table *t)
{
    for (size_t at = 0; at < t->cells.n; at += t->columns) {
        for (size_t c = 0; c < t->columns; c++) {
            size_t width = 0;
            for (size_t i = c; i < t->cells.n; i += t->columns)
                width = MAX(width, strlen(t->cells.p[i]));
            if (c + 1 == t->columns)
                printf("%s\n", t->cells.p[at + c]);
            else
                printf("%-*s", (int)width + 3, t->cells.p[at + c]);
        }
    }
}

void cli_table_free(struct cli_table *t)
{
    vec_free(&t->cells);
}

const char *cli_age(struct arena *a, const char *time)
{
    int64_t then;
    if (!time || !clock_parse(str_of(time), &then))
        return NULL;
    int64_t s = MAX((clock_wall_ms() - then) / 1000, 0);
    if (s < 120)
        return arena_printf(a, "%ds", (int)s);
    if (s < 2 * 3600)
        return arena_printf(a, "%dm", (int)(s / 60));
    if (s < 2 * 86400)
        return arena_printf(a, "%dh", (int)(s / 3600));
    return arena_printf(a, "%dd", (int)(s / 86400));
}
