/* gleaner plan KIND/NAME: what a backup would keep of an application, and why. Writes nothing. */
#include <stdio.h>

#include "cli/cli.h"
#include "reconciler/verdict.h"

static void print_json(const struct plan *plan)
{
    json_t *j CLEANUP_JSON = plan_json(plan);
    char *text CLEANUP(free_p) = json_dumps(j, JSON_INDENT(2));
    puts(text ? text : "{}");
}

static void print_text(const struct plan *plan)
{
    struct buf out CLEANUP(buf_free) = {0};
    plan_print(&out, plan);
    fwrite(out.p, 1, out.n, stdout);
}

int cli_plan(int argc, char **argv)
{
    struct cli_cluster c CLEANUP(cli_disconnect) = {0};
    const char *ns = NULL, *output = NULL;
    const struct cli_option options[] = {
        {"namespace", 'n', "NS", "of the application (default: that of the context)", &ns},
        {"output", 'o', "json", "print JSON", &output},
        CLI_CLUSTER_OPTIONS(&c),
    };
    const struct cli_usage usage = {
        "plan", "KIND/NAME",
        "Shows for each object of an application what it is, why, and what a backup keeps of it.\n"
        "Reads with your own rights, writes nothing, and prints no value of any object.",
        options, ARRAY_LEN(options)};
    int first, code;
    if (!cli_options(argc, argv, &usage, &first, &code))
        return code;
    if (argc - first != 1)
        return cli_usage_error(&usage, "give one KIND/NAME");
    if (output && !streq(output, "json"))
        return cli_usage_error(&usage, "-o %s: only json is known", output);

    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct err err;
    const char *kind, *name;
    if (cli_parse_target(a, argv[first], &kind, &name, &err) < 0)
        return cli_usage_error(&usage, "%s", err.msg);
    struct plan plan;
    if (cli_connect(&c, &err) < 0)
        return cli_fail("plan", &err);
    if (!ns)
        ns = kube_config_namespace(kube_config_of(c.cx.kube));
    if (plan_make(&c.cx, a, kind, ns, name, PLAN_RESIDUE, &plan, &err) < 0)
        return cli_fail("plan", &err);
    if (output)
        print_json(&plan);
    else
        print_text(&plan);
    return CLI_OK;
}
