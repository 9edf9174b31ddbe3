/* gleaner repo key and unlock: who may open the repository, and who holds it. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/repo.h"
#include "store/keys.h"
#include "store/unlock.h"

struct key_command {
    struct repo_place place;
    const char *new_password_file, *user, *host;
};

static void print_keys(struct arena *a, const struct key_list *keys, bool json)
{
    json_t *all CLEANUP_JSON = json_array();
    struct cli_table table = {.columns = 5};
    cli_table_row(&table, (const char *[]){" ", "ID", "USER", "HOST", "CREATED"});
    for (size_t i = 0; i < keys->n; i++) {
        const struct key_info *k = &keys->p[i];
        char hex[STORE_ID_HEX];
        store_id_hex(&k->id, hex);
        cli_table_row(&table, (const char *[]){k->current ? "*" : " ", arena_strndup(a, hex, 8),
                                               k->username, k->hostname, k->created});
        json_array_append_new(all, json_pack("{s:b, s:s, s:s, s:s, s:s}", "current", k->current,
                                             "id", hex, "userName", k->username, "hostName",
                                             k->hostname, "created", k->created));
    }
    struct buf text CLEANUP(buf_free) = {0};
    json_print(&text, all);
    if (json)
        puts(text.p);
    else
        cli_table_print(&table);
    cli_table_free(&table);
}

static int list_keys(struct key_command *c)
{
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct repo_session s CLEANUP(repo_close) = {0};
    struct key_list keys;
    size_t unreadable;
    struct err err;
    if (repo_open(&s, &c->place, REPO_READ, &err) < 0 ||
        key_list_all(s.repo, a, &keys, &unreadable, &err) < 0)
        return repo_fail(&s, "repo key list", &err);
    print_keys(a, &keys, c->place.json);
    if (unreadable)
        fprintf(stderr, "%zu key files cannot be read\n", unreadable);
    return unreadable ? CLI_PARTIAL : CLI_OK;
}

static int new_password(const struct key_command *c, char **ret, struct err *err)
{
    return c->new_password_file ? repo_password_file(c->new_password_file, ret, err)
                                : repo_password_ask_new("new password", ret, err);
}

static int add_key(struct key_command *c, bool replace)
{
    const char *verb = replace ? "repo key passwd" : "repo key add";
    struct repo_session s CLEANUP(repo_close) = {0};
    char *password CLEANUP(repo_password_free) = NULL;
    char host[256] = "", hex[STORE_ID_HEX];
    struct store_id id;
    struct err err;
    gethostname(host, sizeof host - 1);
    s.json = c->place.json;
    if (new_password(c, &password, &err) < 0 ||
        repo_open(&s, &c->place, replace ? REPO_WRITE_EXCLUSIVE : REPO_WRITE, &err) < 0)
        return repo_fail(&s, verb, &err);
    struct repository_key key = {.password = password,
                                 .username = c->user ? c->user : repo_user(),
                                 .hostname = c->host ? c->host : host};
    if ((replace ? key_replace(s.repo, &key, &id, &err)
                 : repository_add_key(s.repo, &key, &id, &err)) < 0)
        return repo_fail(&s, verb, &err);
    store_id_hex(&id, hex);
    if (!c->place.quiet)
        printf(replace ? "the password is changed; the key is %.8s now\n"
                       : "key %.8s opens the repository too\n",
               hex);
    return CLI_OK;
}

static int remove_key(struct key_command *c, const char *which)
{
    struct repo_session s CLEANUP(repo_close) = {0};
    char hex[STORE_ID_HEX];
    struct store_id id;
    struct err err;
    if (repo_open(&s, &c->place, REPO_WRITE_EXCLUSIVE, &err) < 0 ||
        store_find_id(s.repo, BACKEND_KEY, which, &id, &err) < 0 ||
        key_remove(s.repo, &id, &err) < 0)
        return repo_fail(&s, "repo key remove", &err);
    store_id_hex(&id, hex);
    if (!c->place.quiet)
        printf("key %.8s is removed; who knew its password may have kept the master key\n", hex);
    return CLI_OK;
}

int cli_repo_key(int argc, char **argv)
{
    struct key_command c = {0};
    const struct cli_option options[] = {
        {"new-password-file", 0, "FILE", "of add and passwd: holds the new password",
         &c.new_password_file},
        {"user", 0, "NAME", "of add: noted in the key file", &c.user},
        {"host", 0, "NAME", "of add: noted in the key file", &c.host},
        REPO_OPTIONS(&c.place)};
    const struct cli_usage usage = {
        "repo key", "list | add | passwd | remove ID",
        "Lists the keys, adds one with a password of its own, changes the password that is used, "
        "or\nremoves another key.",
        options, ARRAY_LEN(options)};
    int first, code;
    if (!cli_options(argc, argv, &usage, &first, &code))
        return code;
    const char *what = first < argc ? argv[first] : "";
    int rest = argc - first - 1;
    if (streq(what, "list") && rest == 0)
        return list_keys(&c);
    if (streq(what, "add") && rest == 0)
        return add_key(&c, false);
    if (streq(what, "passwd") && rest == 0)
        return add_key(&c, true);
    if (streq(what, "remove") && rest == 1)
        return remove_key(&c, argv[first + 1]);
    return cli_usage_error(&usage, "give list, add, passwd, or remove and an id");
}

int cli_repo_unlock(int argc, char **argv)
{
    struct repo_place place = {0};
    bool all = false;
    const struct cli_option options[] = {
        {"remove-all", 0, NULL, "also locks that are not stale: only if nobody works on it", &all},
        REPO_OPTIONS(&place)};
    const struct cli_usage usage = {
        "repo unlock", "",
        "Removes locks that are stale: older than 30 minutes, or of a process of this host that is "
        "gone.",
        options, ARRAY_LEN(options)};
    int first, code;
    if (!cli_options(argc, argv, &usage, &first, &code))
        return code;
    if (first < argc)
        return cli_usage_error(&usage, "%s: no argument is expected", argv[first]);
    struct repo_session s CLEANUP(repo_close) = {0};
    char host[256] = "";
    size_t removed = 0;
    struct err err;
    gethostname(host, sizeof host - 1);
    if (repo_open(&s, &place, REPO_UNLOCKED, &err) < 0 ||
        unlock_repository(s.repo, host, all, &removed, &err) < 0)
        return repo_fail(&s, "repo unlock", &err);
    if (!place.quiet)
        printf("%zu locks are removed\n", removed);
    return CLI_OK;
}
