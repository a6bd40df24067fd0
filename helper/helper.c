/* `rpd: helper`: gets generations from the master and hands them to those who work by them. Its
 * root is struct helper; the master's side of the conversation is in master/helper.c. It ends with
 * its master: what it has found out stands in the segment, where workers go on by it. */
#include "helper/helper.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/backtrace.h"
#include "common/base/fd.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/proctitle.h"
#include "common/core/bundle.h"
#include "common/core/role.h"

#define TICK_US 1000000

static const char title[] = "helper";

/* ---- generations ---- */

/* fds[1], if there is one, as ipc.h says of IPC_GENERATION and IPC_LOGS; taken over. */
static void open_log(struct helper *h, const struct conf_global *g, struct ipc_msg *msg)
{
    int fd = STDERR_FILENO, old = h->log_fd;

    h->log_fd = -1;
    if ((msg->flags & IPC_HAS_LOG) && msg->nfds > 1) {
        fd = h->log_fd = msg->fds[1];
        msg->fds[1] = -1;
    }
    log_open(conf_log_target(g->log) == CONF_LOG_SYSLOG ? LOG_TO_SYSLOG : LOG_TO_FD, fd,
             g->log_level, title);
    fd_close(&old);
}

static struct conf *read_conf(struct ipc_msg *msg, struct report *report)
{
    struct conf_text text = { .entries = { NULL, 0, 0 } };
    uint64_t number = msg->number;
    struct conf *conf = NULL;

    if (msg->nfds == 0 || bundle_open(msg->fds[0], &text, &number) < 0)
        report_error(report, "the configuration bundle cannot be read: %s", strerror(errno));
    else
        conf = conf_build(&text, report);
    conf_text_fini(&text);
    return conf;
}

/* The last descriptor; -1: there is none. Stays the message's. */
static int keyring_of(const struct ipc_msg *msg)
{
    return (msg->flags & IPC_HAS_KEYRING) && msg->nfds > 1 ? msg->fds[msg->nfds - 1] : -1;
}

static void on_generation(struct helper *h, struct ipc_msg *msg)
{
    uint64_t number = msg->number;
    struct report report;
    struct conf *conf;
    bool is_taken;

    report_init(&report);
    conf = read_conf(msg, &report);
    is_taken = conf && servers_apply(&h->servers, conf, keyring_of(msg), &report);
    if (is_taken) {
        open_log(h, &conf->global, msg);
        helper_names_follow(h, conf);
        canaries_follow(&h->canaries, conf);
        conf_free(&h->conf);
        h->conf = conf;
    } else
        conf_free(&conf);
    ipc_close_fds(msg);
    if (is_taken)
        helper_tell(h, IPC_READY, number, SLICE_NONE);
    else
        helper_tell(h, IPC_FAILED, number, strbuf_slice(&report.text));
    report_fini(&report);
}

/* ---- the master ---- */

static void tell(struct helper *h, enum ipc_type type, uint64_t number, uint32_t count,
                 struct slice text)
{
    struct ipc_msg *m = &h->msg;

    *m = (struct ipc_msg){ .type = type, .number = number, .count = count };
    if (text.n > IPC_DATA_MAX)
        text.n = IPC_DATA_MAX;
    m->size = (uint32_t)text.n;
    if (text.n > 0)
        memcpy(m->data, text.p, text.n);
    if (ipc_send(h->channel_fd, m) < 0)
        log_warn("telling the master");
}

void helper_tell(struct helper *h, enum ipc_type type, uint64_t number, struct slice text)
{
    tell(h, type, number, 0, text);
}

static void tell_canary(struct canaries *all, enum canary_event event, uint64_t changes,
                        struct slice text)
{
    struct helper *h = CONTAINER(all, struct helper, canaries);

    tell(h, IPC_CANARY, changes, event, text);
}

static void on_keys(struct helper *h, struct ipc_msg *msg)
{
    if (msg->nfds != 1)
        return;
    keys_use_channel(h->keys.keys, msg->fds[0]);
    msg->fds[0] = -1;
}

static void on_message(struct helper *h, struct ipc_msg *msg)
{
    switch ((enum ipc_type)msg->type) {
    case IPC_GENERATION:
        on_generation(h, msg);
        break;
    case IPC_LOGS:
        if (h->conf)
            open_log(h, &h->conf->global, msg);
        break;
    case IPC_NAMES:
        helper_names_take(h, msg);
        break;
    case IPC_STOP:
        h->loop.should_stop = true;
        break;
    case IPC_KEYS:
        on_keys(h, msg);
        break;
    case IPC_LISTEN:
    case IPC_UNLISTEN:
    case IPC_RETIRE:
    case IPC_READY:
    case IPC_FAILED:
    case IPC_CONFIG:
    case IPC_HEIR:
    case IPC_ORPHAN:
    case IPC_KEYS_ALLOW:
    case IPC_TICKETS:
    case IPC_CANARY:
        break;
    }
    ipc_close_fds(msg);
}

static void on_channel(struct watch *watch, uint32_t events)
{
    struct helper *h = CONTAINER(watch, struct helper, channel);
    int r;

    (void)events;
    while ((r = ipc_recv(h->channel_fd, &h->msg)) > 0)
        on_message(h, &h->msg);
    if (r < 0 && errno == EAGAIN)
        return;
    if (!h->loop.should_stop)
        log_info("the master is gone");
    h->loop.should_stop = true;
}

/* ---- life ---- */

static void on_tick(struct timer *t)
{
    struct helper *h = CONTAINER(t, struct helper, tick);

    buf_pool_tick(&h->bufs);
    keys_tick(h->keys.keys);
    timer_set(&h->loop.timers, t, h->loop.now_us, TICK_US);
}

static int helper_init(struct helper *h, const struct helper_args *args)
{
    h->segment = args->segment;
    h->channel_fd = args->channel;
    h->channel.fn = on_channel;
    h->log_fd = -1;
    if (loop_init(&h->loop) < 0 || loop_add(&h->loop, h->channel_fd, &h->channel) < 0)
        return -1;
    buf_pool_init(&h->bufs, 0, 0, 0);
    conn_pool_init(&h->conns, &h->loop, &h->bufs);
    h->keys = (struct tls_keys){ keys_new(&h->loop, &h->keys_stats), keys_handshake, keys_key };
    h->tls = tls_process_new(&h->conns, &h->keys);
    servers_init(&h->servers, h->segment, &h->conns, h->tls, &h->names);
    ejections_init(&h->ejections, &h->servers, &h->loop);
    canaries_init(&h->canaries, h->segment, &h->loop);
    h->canaries.tell = tell_canary;
    timer_init(&h->tick, on_tick);
    timer_set(&h->loop.timers, &h->tick, h->loop.now_us, TICK_US);
    helper_names_init(h);
    return 0;
}

static void helper_fini(struct helper *h)
{
    helper_names_fini(h);
    servers_fini(&h->servers);
    ejections_fini(&h->ejections);
    canaries_fini(&h->canaries);
    timer_clear(&h->loop.timers, &h->tick);
    conn_pool_fini(&h->conns);
    tls_process_free(&h->tls);
    keys_free(&h->keys.keys);
    buf_pool_fini(&h->bufs);
    loop_fini(&h->loop);
    conf_free(&h->conf);
    fd_close(&h->channel_fd);
    fd_close(&h->log_fd);
}

int helper_main(const struct helper_args *args)
{
    struct helper *h = xcalloc(1, sizeof *h);
    int status;

    proctitle_set("rpd: %s", title);
    log_process(title);
    backtrace_install(title);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file at its limit is an error of write() */
    if (role_become(args->user, args->group) < 0)
        return 1;
    if (helper_init(h, args) < 0) {
        log_error("starting");
        return 1;
    }
    status = loop_run(&h->loop) < 0;
    helper_fini(h);
    free(h);
    return status;
}
