#include "worker/worker.h"

#include <stdio.h>
#include <unistd.h>

#include "gitops/git.h"
#include "gitops/helm.h"
#include "worker/sandbox.h"

static const struct task {
    const char *name;
    struct sandbox sandbox;
    int (*prepare)(void); /* may be NULL */
    int (*run)(void);
} tasks[] = {
    {"git-refs", {true, 512u << 20, 20}, git_refs_prepare, git_refs_main},
    {"helm-release", {false, 768u << 20, 30}, NULL, helm_release_main},
};

static int run_task(const struct task *t)
{
    struct err err;
    if (sandbox_limit(&t->sandbox, &err) < 0) {
        fprintf(stderr, "gleaner worker: %s\n", err.msg);
        return 1;
    }
    if (t->prepare && t->prepare() < 0) {
        fprintf(stderr, "gleaner worker: %s: its libraries do not start\n", t->name);
        return 1;
    }
    if (sandbox_lock(&t->sandbox, &err) < 0) {
        fprintf(stderr, "gleaner worker: %s\n", err.msg);
        return 1;
    }
    int code = t->run();
    if (sandbox_is_whole())
        _exit(code); /* what libraries do at an exit may not be on the list */
    return code;
}

int worker_main(int argc, char **argv)
{
    for (size_t i = 0; argc == 2 && i < ARRAY_LEN(tasks); i++)
        if (streq(argv[1], tasks[i].name))
            return run_task(&tasks[i]);
    fprintf(stderr, "gleaner worker: started by the other modes of gleaner, not by people\n");
    return 2;
}
