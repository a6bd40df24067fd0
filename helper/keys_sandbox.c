/* What `rpd: keys` gives up: keys_sandbox.h. Called once by keys.c, before there is a thread or a
 * key; each step before the one that would make it impossible. */
#include "helper/keys_sandbox.h"

#include <errno.h>
#include <grp.h>
#include <malloc.h>
#include <pwd.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>
#include <openssl/crypto.h>
#include "common/base/log.h"
#include "helper/keys_filter.h"

/* OpenSSL keeps numbers that are secret in memory of their own: locked, between guards, in no dump.
 * A key takes 2 to 6 KiB of it; what is not used is only reserved. */
#define SECURE_MOST ((size_t)64 << 20)
#define SECURE_LEAST ((size_t)1 << 20)
#define SECURE_PIECE 32

__attribute__((format(printf, 3, 4)))
static int fail(char *why, size_t size, const char *fmt, ...)
{
    char text[160];
    int err = errno;
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    (void)snprintf(why, size, "%s: %s", text, strerror(err));
    return -1;
}

/* ---- memory ---- */

static void raise_lock_limit(void)
{
    struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };

    if (setrlimit(RLIMIT_MEMLOCK, &limit) == 0 || getrlimit(RLIMIT_MEMLOCK, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_MEMLOCK, &limit);
}

/* As much as may be locked. -1: not even OpenSSL's memory can be had. */
static int reserve_secure(void)
{
    for (size_t size = SECURE_MOST; size >= SECURE_LEAST; size /= 2) {
        int r = CRYPTO_secure_malloc_init(size, SECURE_PIECE);

        if (r == 1)
            return 0;
        if (r == 2) { /* there, but not locked */
            if (size / 2 < SECURE_LEAST)
                break;
            (void)CRYPTO_secure_malloc_done();
        }
    }
    if (!CRYPTO_secure_malloc_initialized()) {
        errno = ENOMEM;
        return -1;
    }
    log_warnx("memory cannot be locked (ulimit -l, LimitMEMLOCK=): keys may get into the swap");
    return 0;
}

static int prepare_memory(char *why, size_t why_size)
{
    struct rlimit limit;

    raise_lock_limit();
    /* What is freed is overwritten: bytes of a key on their way into OpenSSL's memory. */
    (void)mallopt(M_PERTURB, 0xa5);
    if (reserve_secure() != 0)
        return fail(why, why_size, "memory for keys");
    /* The rest as well, where nothing can run into the limit later. */
    if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur == RLIM_INFINITY)
        (void)mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT);
    return 0;
}

/* ---- who it is ---- */

static int become(const char *user, char *why, size_t why_size)
{
    const struct passwd *pw = user ? getpwnam(user) : NULL;

    if (!user)
        return 0;
    if (!pw) {
        (void)snprintf(why, why_size, "user %s does not exist", user);
        return -1;
    }
    /* Some containers do not let even root do it; without sockets there is no network anyway. */
    if (unshare(CLONE_NEWNET) != 0)
        log_info("the network is still there: %s", strerror(errno));
    if (setgroups(0, NULL) != 0 || setgid(pw->pw_gid) != 0 || setuid(pw->pw_uid) != 0)
        return fail(why, why_size, "becoming user %s", user);
    return 0;
}

/* ---- what it may ---- */

static int shut_off(char *why, size_t why_size)
{
    const struct rlimit none = { 0, 0 };

    if (setrlimit(RLIMIT_CORE, &none) != 0 || prctl(PR_SET_DUMPABLE, 0) != 0)
        return fail(why, why_size, "dumps cannot be ruled out");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || keys_filter_install() != 0)
        return fail(why, why_size, "system calls cannot be ruled out (seccomp)");
    return 0;
}

int keys_sandbox_enter(const char *user, char *why, size_t why_size)
{
    if (prepare_memory(why, why_size) != 0 || become(user, why, why_size) != 0)
        return -1;
    return shut_off(why, why_size);
}
