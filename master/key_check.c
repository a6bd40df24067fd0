/* Forks the process that reads private keys, and takes its answer. Called by config.c, in the
 * reader, in `rpd -t` and at start. */
#include "master/key_check.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/base/proctitle.h"
#include "common/core/ipc.h"
#include "common/tls/check.h"
#include "master/answer.h"
#include "master/signals.h"

/* ---- the child ---- */

/* Nobody looks into this process, and it leaves nothing behind: no core, no page in the swap. */
static void shut_off(void)
{
    const struct rlimit none = { 0, 0 }, all = { RLIM_INFINITY, RLIM_INFINITY };

    (void)prctl(PR_SET_DUMPABLE, 0);
    (void)setrlimit(RLIMIT_CORE, &none);
    /* Under a limit of locked memory allocations would fail later on. */
    if (setrlimit(RLIMIT_MEMLOCK, &all) == 0)
        (void)mlockall(MCL_CURRENT | MCL_FUTURE);
}

static int child_main(const struct conf *conf, int sock)
{
    struct report report;
    int keyring, rc;

    report_init(&report);
    keyring = tls_check_keys(conf, &report);
    rc = answer_send(sock, &report, -1, keyring);
    report_fini(&report);
    fd_close(&keyring);
    return rc == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static void child(const struct conf *conf, pid_t parent, int sock)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    fd_close_from(3, &sock, 1);
    signals_reset();
    proctitle_set("rpd: keys (reading)");
    shut_off();
    if (getppid() == parent)
        _exit(child_main(conf, sock));
    _exit(EXIT_FAILURE);
}

/* ---- the parent ---- */

/* The keyring; -1: there is none, or no answer, which is an error. */
static int receive(int sock, struct report *report)
{
    struct pollfd p = { .fd = sock, .events = POLLIN };
    int bundle = -1, keyring = -1, r;
    struct ipc_msg *msg = xcalloc(1, sizeof *msg);

    while (poll(&p, 1, -1) < 0 && errno == EINTR)
        ;
    r = ipc_recv(sock, msg);
    if (r != 1 || !answer_take(msg, report, &bundle, &keyring))
        report_error(report, "the process that reads private keys died");
    fd_close(&bundle);
    free(msg);
    return keyring;
}

static int fork_child(const struct conf *conf, int sock, pid_t *pid)
{
    pid_t self = getpid();

    *pid = fork();
    if (*pid == 0)
        child(conf, self, sock);
    return *pid < 0 ? -1 : 0;
}

int key_check(const struct conf *conf, struct report *report)
{
    int pair[2], keyring = -1;
    pid_t pid;

    if (conf->ncertificates == 0)
        return -1;
    if (ipc_pair(pair) != 0) {
        report_error(report, "private keys cannot be read: %s", strerror(errno));
        return -1;
    }
    if (fork_child(conf, pair[1], &pid) != 0) {
        report_error(report, "no process can be made to read private keys: %s", strerror(errno));
        fd_close(&pair[1]);
    } else {
        fd_close(&pair[1]);
        keyring = receive(pair[0], report);
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    fd_close(&pair[0]);
    return keyring;
}
