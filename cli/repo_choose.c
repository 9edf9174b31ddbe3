/* Which snapshots a command is about. */
#include "cli/repo.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* The host that is meant where --host does not say: restic's variable, or NULL. */
static const char *standard_host(void)
{
    const char *host = getenv("RESTIC_HOST");
    return host && *host ? host : NULL;
}

/* `--host ''` takes back what the variable says. */
static bool any_host(const struct repo_filter *f)
{
    return f->hosts.n == 0 ? !standard_host() : f->hosts.n == 1 && !*f->hosts.p[0];
}

static bool has_host(const struct repo_filter *f, const char *host)
{
    if (any_host(f))
        return true;
    if (f->hosts.n == 0)
        return streq(standard_host(), host);
    for (size_t i = 0; i < f->hosts.n; i++)
        if (streq(f->hosts.p[i], host))
            return true;
    return false;
}

/* All of "a,b"; an empty list matches snapshots without tags, as in restic. */
static bool has_tags(const struct snapshot *s, const char *list)
{
    if (!*list)
        return s->tags_n == 0;
    for (str rest = str_of(list), tag; rest.p;) {
        tag = str_cut(&rest, ',');
        bool has = tag.n == 0;
        for (size_t i = 0; i < s->tags_n && !has; i++)
            has = str_is(tag, s->tags[i]);
        if (!has)
            return false;
    }
    return true;
}

/* As Go's filepath.Abs: no symlink is followed, the directory need not be here any more. */
static const char *absolute_path(struct arena *a, const char *path)
{
    struct buf out CLEANUP(buf_free) = {0};
    char here[PATH_MAX];
    if (*path != '/' && getcwd(here, sizeof here))
        path = arena_printf(a, "%s/%s", here, path);
    for (str rest = str_of(path); rest.p;) {
        str part = str_cut(&rest, '/');
        if (part.n == 0 || str_is(part, "."))
            continue;
        if (!str_is(part, ".."))
            buf_printf(&out, "/%.*s", STR_FMT(part));
        else
            while (out.n && out.p[--out.n] != '/')
                ;
    }
    return out.n ? arena_strndup(a, out.p, out.n) : "/";
}

/* The paths are absolute. */
static bool matches(const struct repo_filter *f, const char *const *paths, const struct snapshot *s)
{
    bool tagged = f->tags.n == 0;
    if (!has_host(f, s->hostname ? s->hostname : ""))
        return false;
    for (size_t i = 0; i < f->tags.n && !tagged; i++)
        tagged = has_tags(s, f->tags.p[i]);
    for (size_t i = 0; i < f->paths.n; i++) {
        bool has = false;
        for (size_t j = 0; j < s->paths_n && !has; j++)
            has = streq(paths[i], s->paths[j]);
        if (!has)
            return false;
    }
    return tagged;
}

bool repo_filter_is_empty(const struct repo_filter *f)
{
    return any_host(f) && f->tags.n == 0 && f->paths.n == 0;
}

void repo_filter_free(struct repo_filter *f)
{
    vec_free(&f->hosts);
    vec_free(&f->tags);
    vec_free(&f->paths);
}

int repo_snapshots(struct repo_session *s, const struct repo_filter *f, struct arena *a,
                   struct snapshot_list *ret, size_t *ret_unreadable, struct err *err)
{
    struct snapshot_list list;
    if (snapshot_list_all(s->repo, NULL, a, &list, ret_unreadable, err) < 0)
        return -1;
    size_t n = 0, paths_n = f ? f->paths.n : 0;
    const char **paths = arena_alloc(a, (paths_n + 1) * sizeof *paths);
    for (size_t i = 0; i < paths_n; i++)
        paths[i] = absolute_path(a, f->paths.p[i]);
    for (size_t i = 0; i < list.n; i++)
        if (!f || matches(f, paths, &list.p[i]))
            list.p[n++] = list.p[i];
    list.n = n;
    *ret = list;
    return 0;
}

static int find_one(struct repo_session *s, const struct repo_filter *f, const char *which,
                    struct arena *a, struct snapshot *ret, struct err *err)
{
    struct snapshot_list list;
    size_t unreadable;
    if (!streq(which, "latest"))
        return snapshot_find(s->repo, which, NULL, a, ret, err);
    if (repo_snapshots(s, f, a, &list, &unreadable, err) < 0)
        return -1;
    if (list.n == 0)
        return err_set(err, ERR_NOT_FOUND, "no snapshot matches%s",
                       unreadable ? "; some could not be read" : "");
    *ret = list.p[list.n - 1];
    return 0;
}

int repo_choose(struct repo_session *s, const struct repo_filter *f, char **ids, size_t n,
                struct arena *a, struct snapshot_list *ret, size_t *ret_unreadable, struct err *err)
{
    if (n == 0)
        return repo_snapshots(s, f, a, ret, ret_unreadable, err);
    struct snapshot *list = arena_alloc(a, n * sizeof *list);
    size_t found = 0;
    for (size_t i = 0; i < n; i++) {
        bool twice = false;
        if (find_one(s, f, ids[i], a, &list[found], err) < 0) {
            if (n == 1 || (err->kind != ERR_NOT_FOUND && err->kind != ERR_INVALID))
                return -1;
            fprintf(stderr, "Ignoring \"%s\": %s\n", ids[i], err->msg);
            s->ignored++;
            continue;
        }
        for (size_t j = 0; j < found; j++)
            twice |= store_id_equal(&list[j].id, &list[found].id);
        found += !twice;
    }
    if (found == 0)
        return err_set(err, ERR_NOT_FOUND, "none of these snapshots is there");
    *ret = (struct snapshot_list){list, found};
    *ret_unreadable = 0;
    return 0;
}

int repo_find_tree(struct repo_session *s, const struct repo_filter *f, const char *which,
                   struct arena *a, struct snapshot *ret_snapshot, struct store_id *ret_tree,
                   const char **ret_folder, struct err *err)
{
    str folder = str_of(which), id = str_cut(&folder, ':');
    const char *below = folder.n ? arena_str(a, folder).p : "";
    if (find_one(s, f, arena_str(a, id).p, a, ret_snapshot, err) < 0 ||
        repository_load_index(s->repo, err) < 0 ||
        tree_find_dir(s->repo, &ret_snapshot->tree, below, ret_tree, err) < 0)
        return -1;
    if (ret_folder) {
        while (*below == '/')
            below++;
        char *path = arena_printf(a, "%s%s", *below ? "/" : "", below);
        for (size_t n = strlen(path); n > 0 && path[n - 1] == '/'; n--)
            path[n - 1] = '\0';
        *ret_folder = path;
    }
    return 0;
}

const char *const *repo_split_tags(struct arena *a, const struct cli_list *from, size_t *ret_n)
{
    struct cli_list all = {0};
    for (size_t i = 0; i < from->n; i++)
        for (str rest = str_of(from->p[i]); rest.p;) {
            str tag = str_trim(str_cut(&rest, ','));
            *vec_add(&all) = arena_strndup(a, tag.p, tag.n);
        }
    const char **list = arena_alloc(a, (all.n + 1) * sizeof *list);
    for (size_t i = 0; i < all.n; i++)
        list[i] = all.p[i];
    *ret_n = all.n;
    vec_free(&all);
    return list;
}
