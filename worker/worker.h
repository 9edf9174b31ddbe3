/* The mode that parses what strangers wrote, in a process of its own that can do little else.
 *
 * Started by the other modes only: input on stdin, a checked answer on stdout (gitops/frame.h).
 * Before it touches a byte of input: no environment, no new privileges, not traceable; limits of
 * memory, processor time, files; no file system but what name resolution and TLS need (Landlock,
 * where the kernel has it), so no service-account token; and a seccomp filter that ends the process
 * at every system call that is not on the list of its task. Only git-refs may use the network. */
#ifndef WORKER_WORKER_H
#define WORKER_WORKER_H

/* `gleaner worker TASK`: argv[0] is "worker", argv[1] the task: git-refs or helm-release. Exit
 * code: 0 (the answer may be an error in words), 1 if no answer could be given, 2 for a wrong call.
 */
int worker_main(int argc, char **argv);

#endif
