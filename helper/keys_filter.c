/* A seccomp filter (seccomp(2), SECCOMP_SET_MODE_FILTER): a list of what is allowed, in the
 * kernel's own BPF. Called once by keys_sandbox.c; owns nothing.
 *
 *   of this machine's kind? -> each call of the list: allow -> those whose arguments matter
 *     -> those that libraries try and do without: refused with an error -> kill the process
 *
 * What is left can talk over descriptors that are open already (sockets and files come as
 * messages), compute, and make threads. It can open no file, make no socket, start no program, and
 * make no memory executable. */
#include "helper/keys_filter.h"

#include <assert.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#define ARCHITECTURE 0 /* none */
#endif

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* The ones that serving takes come first. */
static const int allowed[] = {
    SYS_recvfrom, SYS_sendto, SYS_futex, SYS_recvmsg, SYS_sendmsg,
#ifdef SYS_poll
    SYS_poll,
#endif
    SYS_ppoll, SYS_write, SYS_writev, SYS_close, SYS_fcntl, SYS_fstat,
    SYS_newfstatat, /* fstat's other name; it tells of a path whether it is there, no more */
    SYS_shutdown, SYS_read, SYS_pread64, SYS_lseek,
    /* memory */
    SYS_brk, SYS_munmap, SYS_mremap, SYS_madvise, SYS_mlock, SYS_mlock2, SYS_munlock,
    /* threads and signals; abort, and what it prints */
    SYS_rt_sigprocmask, SYS_rt_sigaction, SYS_rt_sigreturn, SYS_sigaltstack,
    SYS_set_robust_list, SYS_rseq, SYS_sched_yield, SYS_sched_getaffinity, SYS_membarrier,
    SYS_getpid, SYS_gettid, SYS_exit, SYS_exit_group, SYS_restart_syscall,
    /* the time, where the vDSO cannot tell; chance */
    SYS_clock_gettime, SYS_clock_nanosleep, SYS_nanosleep, SYS_gettimeofday, SYS_getrandom,
};

/* What libraries call and do well without. */
static const struct {
    int nr;
    uint16_t error;
} refused[] = {
    { SYS_clone3, ENOSYS }, /* glibc takes clone then, whose flags can be seen */
    { SYS_openat, EACCES }, { SYS_socket, EACCES }, { SYS_connect, EACCES },
#ifdef SYS_open
    { SYS_open, EACCES },
#endif
#ifdef SYS_readlink
    { SYS_readlink, EACCES },
#endif
    { SYS_readlinkat, EACCES },
    { SYS_prlimit64, EPERM }, { SYS_sysinfo, EPERM }, { SYS_uname, EPERM },
};

/* Sanitizers, where there are any: what their threads and their check for leaks take. */
#if defined(__SANITIZE_ADDRESS__)
#define IS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define IS_SANITIZED 1
#endif
#endif
#ifdef IS_SANITIZED
static const int sanitizers[] = {
    SYS_prctl, SYS_ptrace, SYS_wait4, SYS_clone, SYS_tkill, SYS_kill, SYS_mmap, SYS_mprotect,
    SYS_process_vm_readv, SYS_getdents64, SYS_getppid, SYS_getuid, SYS_geteuid, SYS_getgid,
    SYS_getegid, SYS_getrlimit, SYS_sched_getparam, SYS_sched_getscheduler, SYS_pipe2, SYS_openat,
#ifdef SYS_open
    SYS_open, SYS_readlink, SYS_getdents,
#endif
};
#else
static const int sanitizers[] = { SYS_exit };
#endif

/* What pthread_create wants; anything else would be a process. */
#define THREAD_FLAGS (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | \
                      CLONE_SYSVSEM | CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID)

#define RULES_MAX (32 + 2 * (COUNT(allowed) + COUNT(sanitizers) + COUNT(refused)))

/* ---- writing the filter ---- */

struct program {
    struct sock_filter v[RULES_MAX];
    unsigned short n;
};

static void add(struct program *p, struct sock_filter rule)
{
    assert(p->n < RULES_MAX);
    p->v[p->n++] = rule;
}

static void load(struct program *p, size_t offset)
{
    add(p, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset));
}

static void end(struct program *p, uint32_t verdict)
{
    add(p, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, verdict));
}

/* The verdict when what was loaded is `value`; the next rule otherwise. */
static void if_equal(struct program *p, uint32_t value, uint32_t verdict)
{
    add(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1));
    end(p, verdict);
}

/* An argument's lower half: those that are looked at have no other (BPF loads 32 bits). */
static size_t argument(unsigned i)
{
    size_t low = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? 0 : 4;

    return offsetof(struct seccomp_data, args) + i * sizeof(uint64_t) + low;
}

/* call(..., argument i, ...) is allowed when argument & mask == value, and ends the process
 * otherwise. */
static void if_argument(struct program *p, int nr, unsigned i, uint32_t mask, uint32_t value)
{
    add(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)nr, 0, 5));
    load(p, argument(i));
    add(p, (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, mask));
    add(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1));
    end(p, SECCOMP_RET_ALLOW);
    end(p, SECCOMP_RET_KILL_PROCESS);
}

static void write_program(struct program *p)
{
    load(p, offsetof(struct seccomp_data, arch));
    add(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0));
    end(p, SECCOMP_RET_KILL_PROCESS);
    load(p, offsetof(struct seccomp_data, nr));
    for (size_t i = 0; i < COUNT(allowed); i++)
        if_equal(p, (uint32_t)allowed[i], SECCOMP_RET_ALLOW);
    for (size_t i = 0; i < COUNT(sanitizers); i++)
        if_equal(p, (uint32_t)sanitizers[i], SECCOMP_RET_ALLOW);
    for (size_t i = 0; i < COUNT(refused); i++)
        if_equal(p, (uint32_t)refused[i].nr, SECCOMP_RET_ERRNO | refused[i].error);
    if_argument(p, SYS_mmap, 2, PROT_EXEC, 0);
    if_argument(p, SYS_mprotect, 2, PROT_EXEC, 0);
    if_argument(p, SYS_clone, 0, ~0u, THREAD_FLAGS);
    if_argument(p, SYS_tgkill, 0, ~0u, (uint32_t)getpid());
    end(p, SECCOMP_RET_KILL_PROCESS);
}

int keys_filter_install(void)
{
    struct program p = { .n = 0 };
    struct sock_fprog kernel = { .filter = p.v };

    write_program(&p);
    kernel.len = p.n;
    if (ARCHITECTURE == 0) {
        errno = ENOTSUP;
        return -1;
    }
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &kernel);
}
