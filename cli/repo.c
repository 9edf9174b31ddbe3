/* The verbs of `gleaner repo`, and the one that makes a repository. */
#include "cli/repo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/gojson.h"

static const struct verb {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *what;
} verbs[] = {
    {"init", cli_repo_init, "make a repository"},
    {"backup", cli_repo_backup, "save directories as a snapshot"},
    {"snapshots", cli_repo_snapshots, "list the snapshots"},
    {"ls", cli_repo_ls, "list the files of a snapshot"},
    {"find", cli_repo_find, "name the snapshots that hold a file"},
    {"diff", cli_repo_diff, "tell what changed from one snapshot to another"},
    {"restore", cli_repo_restore, "write a snapshot, or a part of it, into a folder"},
    {"dump", cli_repo_dump, "print a file of a snapshot, or a folder as an archive"},
    {"stats", cli_repo_stats, "count what the snapshots hold"},
    {"check", cli_repo_check, "prove that the repository is whole, and name what is not"},
    {"tag", cli_repo_tag, "change the tags of snapshots"},
    {"forget", cli_repo_forget, "remove snapshots, by a policy or by name"},
    {"prune", cli_repo_prune, "remove the data that no snapshot uses"},
    {"key", cli_repo_key, "list, add, change and remove passwords"},
    {"unlock", cli_repo_unlock, "remove locks whose holders are gone"},
    {"list", cli_repo_list, "list what lies in the repository"},
    {"cat", cli_repo_cat, "print what lies in the repository, opened"},
    {"version", cli_version, "print the version"},
};

static const struct verb *find_verb(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        if (streq(name, verbs[i].name))
            return &verbs[i];
    return NULL;
}

static void print_verbs(FILE *to)
{
    fprintf(to,
            "usage: %s repo VERB [arguments] [options]: restic repositories, without a cluster\n\n",
            cli_program);
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        fprintf(to, "  %-10s %s\n", verbs[i].name, verbs[i].what);
    fprintf(to, "\n'%s repo help VERB' explains one of them.\n", cli_program);
}

static int no_verb(const char *word)
{
    fprintf(stderr, "%s repo: '%s' is no verb\n\n", cli_program, word);
    print_verbs(stderr);
    return CLI_USAGE;
}

static int help(const char *word)
{
    const struct verb *verb = word ? find_verb(word) : NULL;
    if (word && !verb)
        return no_verb(word);
    if (verb)
        return cli_help(verb->run, verb->name);
    print_verbs(stdout);
    return CLI_OK;
}

/* The options before the verb belong to it: `repo -r REPO snapshots`. Moves the verb before them.
 * False: *ret_exit. */
static bool verb_first(int argc, char **argv, int *ret_exit)
{
    struct repo_place place = {0}; /* here it matters only which words are options and values */
    const struct cli_option options[] = {REPO_OPTIONS(&place)};
    const struct cli_usage usage = {"repo", "VERB", "The options of all verbs.", options,
                                    ARRAY_LEN(options)};
    int first;
    if (!cli_options_before(argc, argv, &usage, &first, ret_exit))
        return false;
    char *verb = argv[first];
    memmove(argv + 2, argv + 1, (size_t)(first - 1) * sizeof *argv);
    argv[1] = verb;
    return true;
}

int cli_repo(int argc, char **argv)
{
    int code;
    if (argc > 1 && (streq(argv[1], "help") || streq(argv[1], "--help") || streq(argv[1], "-h")))
        return help(argv[2]);
    if (!verb_first(argc, argv, &code))
        return code;
    const struct verb *verb = argv[1] ? find_verb(argv[1]) : NULL;
    if (verb)
        return verb->run(argc - 1, argv + 1);
    if (argv[1])
        return no_verb(argv[1]);
    print_verbs(stderr);
    return CLI_USAGE;
}

/* rest:https://user:***@host/, as restic shows it. */
static const char *without_password(struct arena *a, const char *url)
{
    const char *host = strstr(url, "://"), *begin = host ? host + 3 : url;
    const char *at = memrchr(begin, '@', strcspn(begin, "/")), *colon = strchr(begin, ':');
    return host && at && colon && colon < at
               ? arena_printf(a, "%.*s:***%s", (int)(colon - url), url, at)
               : url;
}

static void print_made(const struct repo_place *place, const char *id)
{
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct buf text CLEANUP(buf_free) = {0};
    char *url CLEANUP(free_p) = NULL;
    struct err ignored;
    if (repo_place_url(place, &url, &ignored) == 0) /* it was opened by it */
        gojson_string(&text, str_of(without_password(a, url)));
    printf("{\"message_type\":\"initialized\",\"id\":\"%s\",\"repository\":%s}\n", id,
           text.p ? text.p : "\"\"");
}

int cli_repo_init(int argc, char **argv)
{
    struct repo_place place = {.makes = true};
    const struct cli_option options[] = {REPO_PLACE_OPTIONS(&place)};
    const struct cli_usage usage = {"repo init", "",
                                    "Makes a restic repository (format version 2).", options,
                                    ARRAY_LEN(options)};
    int first, code;
    if (!cli_options(argc, argv, &usage, &first, &code))
        return code;
    if (first < argc)
        return cli_usage_error(&usage, "%s: no argument is expected", argv[first]);
    struct repo_session s CLEANUP(repo_close) = {.json = place.json};
    char *password CLEANUP(repo_password_free) = NULL;
    struct err err;
    char host[256] = "", id[STORE_ID_HEX];
    gethostname(host, sizeof host - 1);
    if (repo_place_open(&place, &s.backend, &password, &err) < 0)
        return repo_fail(&s, "repo init", &err);
    struct repository_key key = {.password = password, .username = repo_user(), .hostname = host};
    if (repository_init(s.backend, &key, 1, NULL, &err) < 0 ||
        repository_open(s.backend, password, NULL, &s.repo, &err) < 0)
        return repo_fail(&s, "repo init", &err);
    store_id_hex(repository_id(s.repo), id);
    if (place.json)
        print_made(&place, id);
    else
        printf("repository %.10s is made. Keep its password: without it nothing can be read.\n",
               id);
    return CLI_OK;
}
