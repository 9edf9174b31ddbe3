/* One binary in several modes: the long-running ones of the cluster, and the verbs of people. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/terminal.h"
#include "gateway/gateway.h"
#include "mover/mover.h"
#include "reconciler/manager.h"
#include "worker/worker.h"

const char *cli_program = "gleaner";

int cli_version(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    printf("gleaner %s (%s)\n", GLEANER_VERSION, GLEANER_COMMIT);
    return CLI_OK;
}

static const struct verb {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *what; /* NULL: a mode, not for people */
} verbs[] = {
    {"backup", cli_backup, "make a Backup of an application"},
    {"forget", cli_forget, "forget Backups, or show what would be forgotten and why"},
    {"get", cli_get, "list backups, restores, schedules or stores"},
    {"holds", cli_holds, "list what is held, and free it"},
    {"plan", cli_plan, "show what a backup would keep of an application, and why"},
    {"repo", cli_repo, "restic repositories, without a cluster"},
    {"restore", cli_restore, "make a Restore of a Backup, or answer one that waits"},
    {"version", cli_version, "print the version"},
    {"controller", controller_main, NULL},
    {"gateway", gateway_main, NULL},
    {"mover", mover_main, NULL},
    {"worker", worker_main, NULL},
};

static void print_verbs(FILE *to)
{
    fprintf(to, "usage: %s VERB [arguments] [options]\n\n", cli_program);
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        if (verbs[i].what)
            fprintf(to, "  %-10s %s\n", verbs[i].name, verbs[i].what);
    fprintf(to, "\n'%s VERB --help' explains one of them.\n", cli_program);
}

static const struct verb *find_verb(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        if (streq(name, verbs[i].name))
            return &verbs[i];
    return NULL;
}

static int run(int argc, char **argv)
{
    const char *word = argv[1];
    bool help = streq(word, "help") || streq(word, "--help") || streq(word, "-h");
    if (help && argc == 2) {
        print_verbs(stdout);
        return CLI_OK;
    }
    const struct verb *verb = find_verb(help ? argv[2] : word);
    if (!verb) {
        fprintf(stderr, "%s: '%s' is no verb; '%s help' lists them\n", cli_program,
                help ? argv[2] : word, cli_program);
        return CLI_USAGE;
    }
    return help ? cli_help(verb->run, verb->name) : verb->run(argc - 1, argv + 1);
}

/* What was printed is lost if the disk is full. Who closed the pipe wanted no more, and no word. */
static int end_output(int code)
{
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    if (errno != EPIPE)
        fprintf(stderr, "%s: stdout: not all could be written%s%s\n", cli_program,
                errno ? ": " : "", errno ? strerror(errno) : "");
    return code == CLI_OK ? CLI_FAILED : code;
}

/* As a plugin of kubectl and flux the program is called by another name. */
static const char *program_name(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    if (streq(name, "kubectl-gleaner"))
        return "kubectl gleaner";
    return streq(name, "flux-gleaner") ? "flux gleaner" : "gleaner";
}

int main(int argc, char **argv)
{
    cli_program = program_name(argc > 0 ? argv[0] : "");
    terminal_guard();
    signal(SIGPIPE,
           SIG_IGN); /* a worker or a connection that ends early is an error, not our end */
    if (argc < 2) {
        print_verbs(stderr);
        return CLI_USAGE;
    }
    return end_output(run(argc, argv));
}
