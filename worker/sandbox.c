#include "worker/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <seccomp.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/str.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||                         \
    __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

bool sandbox_is_whole(void)
{
    return !SANITIZED;
}

static int limit(int resource, rlim_t value, const char *what, struct err *err)
{
    struct rlimit r = {value, value};
    if (setrlimit((__rlimit_resource_t)resource, &r) < 0)
        return err_errno(err, errno, "limiting %s", what);
    return 0;
}

int sandbox_limit(const struct sandbox *s, struct err *err)
{
    clearenv();
    if (chdir("/") < 0)
        return err_errno(err, errno, "going to /");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return err_errno(err, errno, "giving up new privileges");
    if (!SANITIZED && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        return err_errno(err, errno, "giving up being traced");
    if (limit(RLIMIT_CPU, s->cpu_seconds, "processor time", err) < 0 ||
        limit(RLIMIT_CORE, 0, "core files", err) < 0 ||
        limit(RLIMIT_FSIZE, 0, "file size", err) < 0 ||
        limit(RLIMIT_NOFILE, 64, "open files", err) < 0)
        return -1;
    return SANITIZED ? 0 : limit(RLIMIT_AS, s->memory, "memory", err);
}

/* ---- the file system ---- */

static int allow_below(int ruleset, const char *path, struct err *err)
{
    int fd CLEANUP(close_p) = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return 0; /* not there: nothing to allow */
    struct landlock_path_beneath_attr rule = {.allowed_access = LANDLOCK_ACCESS_FS_READ_FILE |
                                                                LANDLOCK_ACCESS_FS_READ_DIR,
                                              .parent_fd = fd};
    if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
        return err_errno(err, errno, "allowing %s", path);
    return 0;
}

/* Landlock (Linux 5.13). Service-account tokens lie under /run, and so out of reach. Kernels and
 * container runtimes without it leave the seccomp filter alone to guard. */
static int lock_files(bool network, struct err *err)
{
    static const char *const readable[] = {"/etc", "/usr", "/lib", "/lib64",
                                           "/run/systemd/resolve"};
    struct landlock_ruleset_attr all = {.handled_access_fs =
                                            (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1};
    int ruleset CLEANUP(close_p) = (int)syscall(SYS_landlock_create_ruleset, &all, sizeof all, 0);
    if (ruleset < 0)
        return errno == ENOSYS || errno == EOPNOTSUPP || errno == EPERM
                   ? 0
                   : err_errno(err, errno, "locking the file system");
    for (size_t i = 0; network && i < ARRAY_LEN(readable); i++)
        if (allow_below(ruleset, readable[i], err) < 0)
            return -1;
    if (syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
        return err_errno(err, errno, "locking the file system");
    return 0;
}

/* ---- system calls ---- */

/* What reading stdin, computing and writing stdout need. */
static const char *const base_calls[] = {
    "read",         "write",        "readv",         "writev",       "close",     "fstat",
    "newfstatat",   "lseek",        "brk",           "munmap",       "mremap",    "madvise",
    "futex",        "exit",         "exit_group",    "rt_sigreturn", "getrandom", "clock_gettime",
    "gettimeofday", "rt_sigaction", "rt_sigprocmask"};

/* ... and what name resolution and TLS need besides. */
static const char *const network_calls[] = {
    "connect",     "bind",     "sendto",     "sendmsg",    "sendmmsg",   "recvfrom",
    "recvmsg",     "recvmmsg", "setsockopt", "shutdown",   "getsockopt", "poll",
    "ppoll",       "select",   "pselect6",   "ioctl",      "fcntl",      "getsockname",
    "getpeername", "stat",     "lstat",      "statx",      "access",     "faccessat",
    "faccessat2",  "uname",    "readlink",   "readlinkat", "getdents64", "getpid",
    "gettid",      "getuid",   "geteuid",    "getgid",     "getegid",    "clock_nanosleep",
    "nanosleep",   "time",     "sysinfo",    "getcwd",     "pread64"};

static int allow(scmp_filter_ctx f, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int nr = seccomp_syscall_resolve_name(names[i]);
        if (nr == __NR_SCMP_ERROR)
            continue; /* this architecture never had it */
        if (seccomp_rule_add(f, SCMP_ACT_ALLOW, nr, 0) < 0)
            return -1;
    }
    return 0;
}

/* Memory, but never executable: a plug-in of name resolution then fails to load, and no more. */
static int allow_memory(scmp_filter_ctx f)
{
    int calls[] = {SCMP_SYS(mmap), SCMP_SYS(mprotect)};
    for (size_t i = 0; i < ARRAY_LEN(calls); i++)
        if (seccomp_rule_add(f, SCMP_ACT_ALLOW, calls[i], 1,
                             SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)) < 0 ||
            seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), calls[i], 1,
                             SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC)) < 0)
            return -1;
    return 0;
}

/* Sockets of the network alone: through a local one the node's own services could be reached. */
static int allow_network(scmp_filter_ctx f)
{
    static const int domains[] = {AF_INET, AF_INET6, AF_NETLINK};
    const scmp_datum_t writing = O_WRONLY | O_RDWR | O_CREAT | O_TRUNC;
    for (size_t i = 0; i < ARRAY_LEN(domains); i++)
        if (seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
                             SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)domains[i], 0)) < 0)
            return -1;
    if (seccomp_rule_add(f, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1,
                         SCMP_A0(SCMP_CMP_EQ, AF_UNIX, 0)) < 0 ||
        seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(openat), 1,
                         SCMP_A2(SCMP_CMP_MASKED_EQ, writing, 0)) < 0)
        return -1;
    return allow(f, network_calls, ARRAY_LEN(network_calls));
}

static int lock_calls(bool network, struct err *err)
{
    scmp_filter_ctx f = seccomp_init(SCMP_ACT_KILL_PROCESS);
    int r = f ? allow(f, base_calls, ARRAY_LEN(base_calls)) : -1;
    if (r == 0)
        r = allow_memory(f);
    if (r == 0 && network)
        r = allow_network(f);
    if (r == 0)
        r = seccomp_load(f);
    if (f)
        seccomp_release(f);
    return r < 0 ? err_set(err, ERR_INTERNAL, "the filter of system calls did not load") : 0;
}

int sandbox_lock(const struct sandbox *s, struct err *err)
{
    if (SANITIZED)
        return 0;
    if (lock_files(s->network, err) < 0)
        return -1;
    return lock_calls(s->network, err);
}
