/* gleaner repo tag: changes the tags of snapshots. */
#include <stdio.h>

#include "cli/repo.h"
#include "store/tag.h"

struct tagging {
    struct repo_place place;
    struct repo_filter filter;
    struct cli_list set, add, remove;
};

static void tagging_free(struct tagging *t)
{
    repo_filter_free(&t->filter);
    vec_free(&t->set);
    vec_free(&t->add);
    vec_free(&t->remove);
}

static int change_all(struct tagging *t, struct repo_session *s, const struct snapshot_list *list,
                      struct arena *a, uint64_t *changed, struct err *err)
{
    struct tag_change change = {0};
    change.set = repo_split_tags(a, &t->set, &change.set_n);
    change.add = repo_split_tags(a, &t->add, &change.add_n);
    change.remove = repo_split_tags(a, &t->remove, &change.remove_n);
    for (size_t i = 0; i < list->n; i++) {
        char before[STORE_ID_HEX], after[STORE_ID_HEX];
        struct store_id id;
        int r = snapshot_change_tags(s->repo, &list->p[i], &change, &id, err);
        if (r < 0)
            return -1;
        if (r == 0)
            continue;
        ++*changed;
        store_id_hex(&list->p[i].id, before);
        store_id_hex(&id, after);
        if (t->place.json)
            printf("{\"message_type\":\"changed\",\"old_snapshot_id\":\"%s\","
                   "\"new_snapshot_id\":\"%s\"}\n",
                   before, after);
        else if (!t->place.quiet)
            printf("snapshot %.8s is %.8s now\n", before, after);
    }
    return 0;
}

static int run(struct tagging *t, char **ids, size_t n)
{
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct repo_session s CLEANUP(repo_close) = {0};
    struct snapshot_list list;
    size_t unreadable = 0;
    uint64_t changed = 0;
    struct err err;
    if (repo_open(&s, &t->place, REPO_WRITE_EXCLUSIVE, &err) < 0 ||
        repo_choose(&s, &t->filter, ids, n, a, &list, &unreadable, &err) < 0 ||
        repository_load_index(s.repo, &err) < 0 || change_all(t, &s, &list, a, &changed, &err) < 0)
        return repo_fail(&s, "repo tag", &err);
    if (t->place.json)
        printf("{\"message_type\":\"summary\",\"changed_snapshots\":%llu}\n",
               (unsigned long long)changed);
    else if (!t->place.quiet)
        printf("%llu snapshots are changed\n", (unsigned long long)changed);
    return unreadable || s.ignored ? CLI_PARTIAL : CLI_OK;
}

int cli_repo_tag(int argc, char **argv)
{
    struct tagging t CLEANUP(tagging_free) = {0};
    const struct cli_option options[] = {
        {"set", 0, "TAG[,TAG]...", "these, and no others ('' for none)", &t.set},
        {"add", 0, "TAG[,TAG]...", "these too", &t.add},
        {"remove", 0, "TAG[,TAG]...", "not these", &t.remove},
        REPO_FILTER_OPTIONS(&t.filter),
        REPO_OPTIONS(&t.place)};
    const struct cli_usage usage = {"repo tag", "[SNAPSHOT...]",
                                    "Changes the tags of snapshots; by default of all that match. "
                                    "A snapshot gets a new id by it.",
                                    options, ARRAY_LEN(options)};
    int first, code;
    if (!cli_options(argc, argv, &usage, &first, &code))
        return code;
    if (t.set.n + t.add.n + t.remove.n == 0)
        return cli_usage_error(&usage, "give --set, --add or --remove");
    if (t.set.n && (t.add.n || t.remove.n))
        return cli_usage_error(&usage, "give either --set, or --add and --remove");
    return run(&t, argv + first, (size_t)(argc - first));
}
