/* gleaner restore BACKUP: makes a Restore. gleaner restore resume|cancel|abandon NAME: answers one.
 */
#include <stdio.h>

#include "cli/cli.h"
#include "core/codec.h"
#include "reconciler/schedule/history.h"

struct restore_options {
    struct cli_cluster c;
    const char *name, *timeout;
    bool wait, manual, unsafe;
    unsigned seconds;
};

static const struct cli_end ends[] = {
    {"Done", CLI_OK},
    {"Held", CLI_HELD},
    {"Failed", CLI_FAILED},
    {"Cancelled", CLI_FAILED},
};

/* Of a wait after `cancel`, Cancelled is what was asked for. */
static const struct cli_end cancel_ends[] = {
    {"Cancelled", CLI_OK}, {"Done", CLI_FAILED}, {"Held", CLI_HELD}, {"Failed", CLI_FAILED}};

static int make(struct restore_options *o, const char *backup)
{
    struct err err;
    char token[9];
    random_token(token, 4);
    if (cli_connect(&o->c, &err) < 0)
        return cli_fail("restore", &err);
    const char *name = o->name ? o->name
                               : arena_printf(o->c.arena, "%.*s-%s",
                                              STR_FMT(schedule_cut_name(backup, 50)), token);
    json_t *j CLEANUP_JSON = json_pack(
        "{s:s, s:s, s:{s:s}, s:{s:{s:s}, s:s, s:s, s:b}}", "apiVersion", "gleaner.dev/v1alpha1",
        "kind", "Restore", "metadata", "name", name, "spec", "backupRef", "name", backup, "mode",
        "Replace", "resume", o->manual ? "Manual" : "Auto", "safetyBackup", !o->unsafe);
    struct buf body CLEANUP(buf_free) = {0};
    json_print(&body, j);
    struct kube_write opts = {.manager = "gleaner-cli"};
    if (kube_create(o->c.cx.kube, o->c.arena, &KUBE_RESTORE, o->c.cx.ns, buf_view(&body), &opts,
                    NULL, &err) < 0)
        return cli_fail("restore", &err);
    printf("Restore %s/%s\n", o->c.cx.ns, name);
    if (!o->wait)
        return CLI_OK;
    struct cli_waiting w = {&KUBE_RESTORE, name, NULL, ends, ARRAY_LEN(ends), o->seconds};
    return cli_wait(&o->c, "restore", &w);
}

static int answer(struct restore_options *o, const char *verb, const char *name)
{
    struct err err;
    char token[9];
    random_token(token, 4);
    if (cli_connect(&o->c, &err) < 0)
        return cli_fail("restore", &err);
    const char *request = arena_printf(o->c.arena, "%s:%s", verb, token);
    json_t *j CLEANUP_JSON =
        json_pack("{s:{s:{s:s}}}", "metadata", "annotations", "gleaner.dev/request", request);
    struct buf body CLEANUP(buf_free) = {0};
    json_print(&body, j);
    struct kube_write opts = {.manager = "gleaner-cli"};
    if (kube_patch(o->c.cx.kube, o->c.arena, &KUBE_RESTORE, o->c.cx.ns, name, KUBE_PATCH_MERGE,
                   buf_view(&body), &opts, NULL, &err) < 0)
        return cli_fail("restore", &err);
    printf("Restore %s/%s: asked to %s\n", o->c.cx.ns, name, verb);
    if (!o->wait)
        return CLI_OK;
    bool cancel = streq(verb, "cancel") || streq(verb, "abandon");
    struct cli_waiting w = {&KUBE_RESTORE,
                            name,
                            request,
                            cancel ? cancel_ends : ends,
                            cancel ? ARRAY_LEN(cancel_ends) : ARRAY_LEN(ends),
                            o->seconds};
    return cli_wait(&o->c, "restore", &w);
}

static bool is_answer(const char *word)
{
    return streq(word, "resume") || streq(word, "cancel") || streq(word, "abandon");
}

static int run(int argc, char **argv, struct restore_options *o)
{
    const struct cli_option options[] = {
        {"name", 0, "NAME", "of the Restore (default: the Backup's and a random end)", &o->name},
        {"manual", 0, NULL, "hold the application after the restore, until it is told to resume",
         &o->manual},
        {"no-safety-backup", 0, NULL, "do not back up first what is there now", &o->unsafe},
        {"wait", 'w', NULL, "print the steps and wait for the end", &o->wait},
        {"timeout", 't', "SECONDS", "with --wait: give up after so long (default: never)",
         &o->timeout},
        CLI_CLUSTER_OPTIONS(&o->c),
    };
    const struct cli_usage usage = {
        "restore", "BACKUP | resume NAME | cancel NAME | abandon NAME",
        "Makes a Restore of a Backup, or answers a Restore that waits for a person: resume goes "
        "on\n"
        "(from Held, or when --manual waits), cancel undoes what was done as long as nothing was\n"
        "overwritten, abandon gives a held application back as things are.",
        options, ARRAY_LEN(options)};
    int first, code;
    if (!cli_options(argc, argv, &usage, &first, &code))
        return code;
    uint64_t seconds = 0;
    if (o->timeout && (!str_u64(str_of(o->timeout), &seconds) || seconds > INT32_MAX))
        return cli_usage_error(&usage, "--timeout %s: not a number of seconds", o->timeout);
    o->seconds = (unsigned)seconds;
    if (argc - first == 2 && is_answer(argv[first]))
        return answer(o, argv[first], argv[first + 1]);
    if (argc - first == 1 && !is_answer(argv[first]))
        return make(o, argv[first]);
    return cli_usage_error(&usage, "give a Backup, or resume, cancel or abandon and a Restore");
}

int cli_restore(int argc, char **argv)
{
    struct restore_options o = {0};
    int code = run(argc, argv, &o);
    cli_disconnect(&o.c);
    return code;
}
