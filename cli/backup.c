/* gleaner backup KIND/NAME: makes a Backup resource; the controller does the work. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "core/codec.h"
#include "reconciler/schedule/history.h"

/* A name that says what it is of and is free: "<name>-<8 hex digits>". */
static const char *backup_name(struct arena *a, const char *target)
{
    char token[9];
    random_token(token, 4);
    return arena_printf(a, "%.*s-%s", STR_FMT(schedule_cut_name(target, 50)), token);
}

static void write_body(struct buf *body, const char *name, const char *kind, const char *ns,
                       const char *target, const char *store)
{
    json_t *j CLEANUP_JSON =
        json_pack("{s:s, s:s, s:{s:s}, s:{s:{s:s, s:s, s:s}}}", "apiVersion",
                  "gleaner.dev/v1alpha1", "kind", "Backup", "metadata", "name", name, "spec",
                  "target", "kind", kind, "namespace", ns, "name", target);
    if (store)
        json_object_set_new(json_object_get(j, "spec"), "storeRef",
                            json_pack("{s:s}", "name", store));
    json_print(body, j);
}

int cli_backup(int argc, char **argv)
{
    struct cli_cluster c CLEANUP(cli_disconnect) = {0};
    const char *ns = NULL, *store = NULL, *name = NULL, *timeout = NULL;
    bool wait = false;
    const struct cli_option options[] = {
        {"namespace", 'n', "NS", "of the application (default: that of the context)", &ns},
        {"store", 's', "NAME", "a BackupStore (default: the default one)", &store},
        {"name", 0, "NAME", "of the Backup (default: the application's and a random end)", &name},
        {"wait", 'w', NULL, "print the steps and wait for the end", &wait},
        {"timeout", 't', "SECONDS", "with --wait: give up after so long (default: never)",
         &timeout},
        CLI_CLUSTER_OPTIONS(&c),
    };
    const struct cli_usage usage = {"backup", "KIND/NAME",
                                    "Makes a Backup of an application: what Git does not hold.",
                                    options, ARRAY_LEN(options)};
    int first, code;
    if (!cli_options(argc, argv, &usage, &first, &code))
        return code;
    if (argc - first != 1)
        return cli_usage_error(&usage, "give one KIND/NAME");
    uint64_t seconds = 0;
    if (timeout && (!str_u64(str_of(timeout), &seconds) || seconds > INT32_MAX))
        return cli_usage_error(&usage, "--timeout %s: not a number of seconds", timeout);

    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct err err;
    const char *kind, *target;
    if (cli_parse_target(a, argv[first], &kind, &target, &err) < 0)
        return cli_usage_error(&usage, "%s", err.msg);
    if (cli_connect(&c, &err) < 0)
        return cli_fail("backup", &err);
    struct buf body CLEANUP(buf_free) = {0};
    if (!name)
        name = backup_name(a, target);
    write_body(&body, name, kind, ns ? ns : kube_config_namespace(kube_config_of(c.cx.kube)),
               target, store);
    struct kube_write opts = {.manager = "gleaner-cli"};
    if (kube_create(c.cx.kube, a, &KUBE_BACKUP, c.cx.ns, buf_view(&body), &opts, NULL, &err) < 0)
        return cli_fail("backup", &err);
    printf("Backup %s/%s\n", c.cx.ns, name);
    static const struct cli_end ends[] = {
        {"Completed", CLI_OK}, {"PartiallyFailed", CLI_PARTIAL}, {"Failed", CLI_FAILED}};
    struct cli_waiting w = {&KUBE_BACKUP, name, NULL, ends, ARRAY_LEN(ends), (unsigned)seconds};
    return wait ? cli_wait(&c, "backup", &w) : CLI_OK;
}
