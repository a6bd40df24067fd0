/* The master's pure parts: back-off, which worker holds which socket, the table of sockets, what a
 * reload changes, what only a restart changes, the loop. */
#include "master/backoff.h"
#include "master/bind.h"
#include "master/changes.h"
#include "master/events.h"
#include "master/install.h"
#include "master/listen.h"
#include "master/supervise.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "common/base/clock.h"
#include "common/core/role.h"
#include "t/unit/unit.h"

#define SECOND_US 1000000ull

/* The master is linked without the other roles; none is started here. */
int worker_main(const struct role_args *args)
{
    (void)args;
    return EXIT_FAILURE;
}

/* ---- configurations ---- */

struct made {
    struct conf_text text;
    struct conf *conf;
    char dir[64];
};

static void make(struct made *made, const char *ini)
{
    struct report report;
    char path[128];
    FILE *f;

    memset(made, 0, sizeof *made);
    (void)snprintf(made->dir, sizeof made->dir, "/tmp/rpd-unit-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(made->dir));
    snprintf(path, sizeof path, "%s/rpd.ini", made->dir);
    f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    fputs(ini, f);
    ck_assert_int_eq(fclose(f), 0);
    report_init(&report);
    ck_assert_msg(conf_read(&made->text, path, &report), "%s", report.text.s);
    made->conf = conf_build(&made->text, &report);
    ck_assert_msg(made->conf != NULL, "%s", report.text.s);
    report_fini(&report);
    unlink(path);
    rmdir(made->dir);
}

static void unmake(struct made *made)
{
    conf_free(&made->conf);
    conf_text_fini(&made->text);
}

#define BASE                                                                                   \
    "[listener web]\nbind = 127.0.0.1:80\n"                                                    \
    "[route all]\nbackend = pool\n[route b]\npath = /b\nrespond = 200 b\n"                     \
    "[backend pool]\nserver = 127.0.0.1:1 name=one\nserver = 127.0.0.1:2 name=two\n"

static void changes_say(const char *before, const char *after, const char *expected,
                        const char *expected_lines)
{
    struct made old, new;
    struct strbuf out, lines;
    bool is_any;

    make(&old, before);
    make(&new, after);
    strbuf_init(&out);
    strbuf_init(&lines);
    is_any = changes_describe(old.conf, new.conf, &out, &lines);
    ck_assert_str_eq(out.s, expected);
    ck_assert_int_eq(is_any, strcmp(expected, "nothing changed") != 0);
    ck_assert_int_eq(is_any, lines.n > 0);
    if (expected_lines)
        ck_assert_str_eq(lines.s, expected_lines);
    strbuf_fini(&out);
    strbuf_fini(&lines);
    unmake(&old);
    unmake(&new);
}

static void changes_are(const char *before, const char *after, const char *expected)
{
    changes_say(before, after, expected, NULL);
}

START_TEST(test_changes)
{
    changes_are(BASE, BASE, "nothing changed");
    changes_are(BASE, "; a comment\n" BASE, "nothing changed");
    changes_are(BASE, BASE "[route c]\npath = /c\nrespond = 200 c\n", "routes +1");
    changes_are(BASE "[route c]\npath = /c\nrespond = 200 c\n", BASE, "routes -1");
}
END_TEST

START_TEST(test_changes_of_values)
{
    changes_are(BASE, BASE "keepalive = 1\n", "backends ~1");
    changes_are(BASE, BASE "server = 127.0.0.1:3 name=three\n", "backends ~1, servers +1");
    changes_are("[global]\nlog_level = info\n" BASE, "[global]\nlog_level = debug\n" BASE,
                "global");
    changes_are(BASE,
                "[listener web]\nbind = 127.0.0.1:81\n[route all]\nbackend = pool\n"
                "[route b2]\npath = /b\nrespond = 200 b\n"
                "[backend pool]\nserver = 127.0.0.1:1 name=one weight=2\n",
                "listeners ~1, routes +1 -1, backends ~1, servers -1 ~1");
}
END_TEST

START_TEST(test_changes_by_name)
{
    changes_say(BASE, BASE "keepalive = 1\n", "backends ~1",
                "  ~ backend pool: keepalive 64 -> 1\n");
    changes_say(BASE,
                "[listener web]\nbind = 127.0.0.1:81, 127.0.0.1:82\ntimeout_idle = 30s\n"
                "[route all]\nbackend = pool\n[route b2]\npath = /b\nrespond = 200 b\n"
                "[backend pool]\nserver = 127.0.0.1:1 name=one weight=2\n",
                "listeners ~1, routes +1 -1, backends ~1, servers -1 ~1",
                "  ~ listener web: bind 127.0.0.1:80 -> 127.0.0.1:81, 127.0.0.1:82, "
                "timeout_idle 1m -> 30s\n"
                "  + route b2\n"
                "  ~ backend pool: its servers\n"
                "  ~ server pool/one: weight 1 -> 2\n"
                "  - route b\n"
                "  - server pool/two\n");
    changes_say(BASE, "[route more]\nhost = a.example\nrespond = 200 x\n" BASE, "routes +1",
                "  + route more\n");
    changes_say("[route more]\nhost = a.example\nrespond = 200 x\n" BASE,
                "[route more]\npath = /a\nrespond = 200 x\n" BASE, "routes ~1",
                "  ~ route more: path (none) -> /a, host a.example -> (none)\n");
}
END_TEST

START_TEST(test_many_changes_are_not_all_named)
{
    struct strbuf ini, lines;

    strbuf_init(&ini);
    strbuf_init(&lines);
    strbuf_adds(&ini, BASE);
    for (unsigned i = 0; i < 77; i++) {
        strbuf_printf(&ini, "[route n%u]\npath = /n%u\nrespond = 200 x\n", i, i);
        if (i < 40)
            strbuf_printf(&lines, "  + route n%u\n", i);
    }
    strbuf_adds(&lines, "  and 37 more\n");
    changes_say(BASE, ini.s, "routes +77", lines.s);
    strbuf_fini(&ini);
    strbuf_fini(&lines);
}
END_TEST

START_TEST(test_settings_of_a_restart_are_kept)
{
    struct made old, new;
    struct report report;
    struct kept kept;

    make(&old, "[global]\nrun_dir = /tmp/a\n" BASE);
    make(&new, "[global]\nrun_dir = /tmp/b\nlog_level = debug\n" BASE);
    kept_init(&kept, old.conf);
    unmake(&old);
    report_init(&report);
    kept_restore(&kept, new.conf, &report);
    ck_assert_uint_eq(report.warnings, 1);
    ck_assert_uint_eq(report.errors, 0);
    ck_assert_ptr_nonnull(strstr(report.text.s, "run_dir"));
    ck_assert_str_eq(new.conf->global.run_dir, "/tmp/a");
    ck_assert_int_eq((int)new.conf->global.log_level, LOG_LEVEL_DEBUG);
    report_fini(&report);
    kept_fini(&kept);
    unmake(&new);
}
END_TEST

/* ---- workers ---- */

/* What a listening socket's connections inherit. */
START_TEST(test_accepted_sockets_do_not_delay)
{
    struct bind_socket b;
    struct addr any = { .len = sizeof any.in4 }, at;
    socklen_t n = sizeof at - offsetof(struct addr, sa), size = sizeof(int);
    int client = socket(AF_INET, SOCK_STREAM, 0), fd = -1, on = 0;

    any.in4.sin_family = AF_INET;
    any.in4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_int_ge(bind_listen(&b, &any, false, false, 0), 0);
    ck_assert_int_eq(getsockname(b.fd, &at.sa, &n), 0);
    ck_assert_int_eq(connect(client, &at.sa, n), 0);
    while ((fd = accept(b.fd, NULL, NULL)) < 0)
        ck_assert_int_eq(errno, EAGAIN);
    ck_assert_int_eq(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, &size), 0);
    ck_assert_int_ne(on, 0);
    close(fd);
    close(client);
    bind_close(&b, &any);
}
END_TEST

/* A refused reload closes it again: no client may wait in it. */
START_TEST(test_socket_that_shares_a_port_listens_when_told)
{
    struct bind_socket first, second;
    struct addr at = { .len = sizeof at.in4 };
    socklen_t size = sizeof(int);
    int is_listening = -1;

    at.in4.sin_family = AF_INET;
    at.in4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_int_eq(bind_listen(&first, &at, false, false, 0), 0);
    ck_assert_int_eq(getsockname(first.fd, &at.sa, &at.len), 0);
    ck_assert_int_eq(bind_listen(&second, &at, false, true, 0), 0);
    ck_assert_int_eq(getsockopt(second.fd, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &size), 0);
    ck_assert_int_eq(is_listening, 0);
    ck_assert_int_eq(bind_start(&first), 0);
    ck_assert_int_eq(bind_start(&second), 0);
    ck_assert_int_eq(getsockopt(second.fd, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &size), 0);
    ck_assert_int_ne(is_listening, 0);
    bind_close(&first, &at);
    bind_close(&second, &at);
}
END_TEST

START_TEST(test_backoff_doubles_within_the_window)
{
    unsigned ms = backoff_next(0, 60 * SECOND_US);
    static const unsigned expected[] = { 100, 200, 400, 800, 1600, 3200, 6400, 10000, 10000 };

    ck_assert_uint_eq(ms, 0);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        ms = backoff_next(ms, ms * 1000ull + SECOND_US);
        ck_assert_uint_eq(ms, expected[i]);
    }
}
END_TEST

START_TEST(test_backoff_ends_after_ten_good_seconds)
{
    ck_assert_uint_eq(backoff_next(0, 10 * SECOND_US - 1), 100);
    ck_assert_uint_eq(backoff_next(0, 10 * SECOND_US), 0);
    /* Held back for 10 s: that time does not count. */
    ck_assert_uint_eq(backoff_next(10000, 20 * SECOND_US - 1), 10000);
    ck_assert_uint_eq(backoff_next(10000, 20 * SECOND_US), 0);
}
END_TEST

START_TEST(test_every_socket_has_a_holder)
{
    struct listen_table t;

    listen_init(&t);
    for (unsigned nworkers = 1; nworkers < 10; nworkers++) {
        listen_worker(&t, nworkers - 1, LISTEN_STARTING);
        for (unsigned slot = 0; slot < 20; slot++) {
            unsigned holder = listen_holder(&t, slot, nworkers);

            ck_assert_uint_lt(holder, nworkers);
            if (slot < nworkers)
                ck_assert_uint_eq(holder, slot);
        }
    }
    /* Who is held back has another accept for him. */
    listen_worker_gone(&t, 2);
    listen_worker_gone(&t, 3);
    ck_assert_uint_eq(listen_holder(&t, 2, 5), 4);
    ck_assert_uint_eq(listen_holder(&t, 4, 5), 4);
    ck_assert_uint_eq(listen_holder(&t, 3, 4), 0);
    listen_fini(&t);
}
END_TEST

/* ---- sockets ---- */

static unsigned batch(struct listen_table *t, unsigned index, unsigned nworkers)
{
    struct ipc_msg msg;
    unsigned n = 0;

    while (listen_batch(t, index, nworkers, &msg)) {
        ck_assert_uint_le(msg.count, IPC_LISTEN_MAX);
        ck_assert_uint_eq(msg.count, msg.nfds);
        ck_assert_uint_eq(msg.size, msg.count * sizeof(struct ipc_listen));
        listen_sent(t, index, &msg);
        n += msg.count;
    }
    return n;
}

static bool prepare(struct listen_table *t, const struct conf *conf, unsigned nworkers)
{
    struct report report;
    bool is_done;

    report_init(&report);
    is_done = listen_prepare(t, conf, nworkers, 0, &report);
    ck_assert_int_eq(is_done, report.errors == 0);
    report_fini(&report);
    return is_done;
}

static bool exists(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0;
}

/* Unix addresses: no port has to be found. */
START_TEST(test_shared_sockets_go_to_every_worker_once)
{
    struct listen_table t;
    struct made one;
    char dir[] = "/tmp/rpd-unit-XXXXXX", ini[512], path[64];

    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/s", dir);
    snprintf(ini, sizeof ini, "[listener web]\nbind = unix:%s\n[route a]\nrespond = 200 a\n", path);
    make(&one, ini);
    listen_init(&t);
    ck_assert(prepare(&t, one.conf, 3));
    ck_assert_uint_eq(batch(&t, 0, 3), 0); /* not in force yet */
    listen_commit(&t, one.conf, 1, true);
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_uint_eq(batch(&t, i, 3), 1);
        ck_assert_uint_eq(batch(&t, i, 3), 0);
    }
    ck_assert_uint_eq(batch(&t, 3, 3), 0);
    listen_worker_gone(&t, 1);
    ck_assert_uint_eq(batch(&t, 1, 3), 1);
    ck_assert(exists(path));
    listen_fini(&t);
    ck_assert(!exists(path));
    unmake(&one);
    rmdir(dir);
}
END_TEST

static unsigned surplus(struct listen_table *t, unsigned index, unsigned nworkers)
{
    struct ipc_msg msg;

    if (!listen_surplus(t, index, nworkers, &msg))
        return 0;
    ck_assert_uint_eq(msg.type, IPC_UNLISTEN);
    ck_assert_uint_eq(msg.nfds, 0);
    listen_sent(t, index, &msg);
    return msg.count;
}

/* A listener at a port that is free. */
static void at_free_port(char *ini, size_t size)
{
    struct addr at = { .len = sizeof at.in4 };
    struct bind_socket free_port;

    at.in4.sin_family = AF_INET;
    at.in4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_int_eq(bind_listen(&free_port, &at, false, false, 0), 0);
    ck_assert_int_eq(getsockname(free_port.fd, &at.sa, &at.len), 0);
    bind_close(&free_port, &at);
    snprintf(ini, size, "[listener web]\nbind = 127.0.0.1:%u\n[route a]\nrespond = 200 a\n",
             ntohs(at.in4.sin_port));
}

START_TEST(test_sockets_change_hands)
{
    struct listen_table t;
    struct made one;
    char ini[128];

    at_free_port(ini, sizeof ini);
    make(&one, ini);
    listen_init(&t);
    ck_assert(prepare(&t, one.conf, 3));
    listen_commit(&t, one.conf, 1, true);
    for (unsigned i = 0; i < 3; i++)
        listen_worker(&t, i, LISTEN_SERVING);
    for (unsigned i = 0; i < 3; i++)
        ck_assert_uint_eq(batch(&t, i, 3), 1);
    listen_worker_gone(&t, 1); /* held back: its neighbour accepts for it */
    ck_assert_uint_eq(batch(&t, 0, 3), 0);
    ck_assert_uint_eq(batch(&t, 2, 3), 1);
    listen_worker(&t, 1, LISTEN_STARTING);
    ck_assert_uint_eq(batch(&t, 1, 3), 1);
    ck_assert_uint_eq(surplus(&t, 2, 3), 0); /* not yet: nobody else accepts */
    listen_worker(&t, 1, LISTEN_SERVING);
    ck_assert_uint_eq(surplus(&t, 0, 3) + surplus(&t, 1, 3), 0);
    ck_assert_uint_eq(surplus(&t, 2, 3), 1);
    ck_assert_uint_eq(surplus(&t, 2, 3), 0);
    ck_assert_uint_eq(batch(&t, 2, 3), 0);
    listen_fini(&t);
    unmake(&one);
}
END_TEST

START_TEST(test_unused_sockets_close_when_every_worker_was_told)
{
    struct listen_table t;
    struct made two, one;
    char dir[] = "/tmp/rpd-unit-XXXXXX", ini[512], path[64];

    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/b", dir);
    snprintf(ini, sizeof ini, "[listener a]\nbind = unix:%s/a\n[listener b]\nbind = unix:%s\n"
             "[route a]\nrespond = 200 a\n", dir, path);
    make(&two, ini);
    snprintf(ini, sizeof ini, "[listener a]\nbind = unix:%s/a\n[route a]\nrespond = 200 a\n", dir);
    make(&one, ini);
    listen_init(&t);
    ck_assert(prepare(&t, two.conf, 2));
    listen_commit(&t, two.conf, 1, true);
    ck_assert_uint_eq(batch(&t, 0, 2) + batch(&t, 1, 2), 4);
    ck_assert(prepare(&t, one.conf, 2));
    listen_commit(&t, one.conf, 2, true);
    listen_generation_sent(&t, 0, 2);
    listen_generation_sent(&t, 1, 1); /* an earlier one: it has it still */
    listen_prune(&t, 2);
    ck_assert(exists(path));
    /* Used again meanwhile: only who dropped it needs it anew. */
    ck_assert(prepare(&t, two.conf, 2));
    listen_commit(&t, two.conf, 3, true);
    ck_assert_uint_eq(batch(&t, 0, 2), 1);
    ck_assert_uint_eq(batch(&t, 1, 2), 0);
    listen_commit(&t, one.conf, 4, true);
    listen_generation_sent(&t, 0, 4);
    listen_generation_sent(&t, 1, 4);
    listen_prune(&t, 3); /* told, but one has not answered */
    ck_assert(exists(path));
    listen_prune(&t, 4);
    ck_assert(!exists(path));
    listen_fini(&t);
    unmake(&two);
    unmake(&one);
    rmdir(dir);
}
END_TEST

/* Worker 0 at the new configuration, the others at the old one: each address is accepted on by
 * somebody who knows it. */
START_TEST(test_first_worker_has_what_only_the_new_binds)
{
    struct listen_table t;
    struct made old, new;
    char dir[] = "/tmp/rpd-unit-XXXXXX", ini[512], path[64];

    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(ini, sizeof ini, "[listener a]\nbind = unix:%s/a\n[listener b]\nbind = unix:%s/b\n"
             "[route a]\nrespond = 200 a\n", dir, dir);
    make(&old, ini);
    snprintf(ini, sizeof ini, "[listener a]\nbind = unix:%s/a\n[listener c]\nbind = unix:%s/c\n"
             "[route a]\nrespond = 200 a\n", dir, dir);
    make(&new, ini);
    snprintf(path, sizeof path, "%s/b", dir);
    listen_init(&t);
    ck_assert(prepare(&t, old.conf, 2));
    listen_commit(&t, old.conf, 1, true);
    ck_assert_uint_eq(batch(&t, 0, 2) + batch(&t, 1, 2), 4);
    t.is_trial = true;
    ck_assert(prepare(&t, new.conf, 2));
    listen_commit(&t, new.conf, 2, true);
    ck_assert_uint_eq(batch(&t, 1, 2), 0);
    ck_assert_uint_eq(batch(&t, 0, 2), 1); /* c */
    listen_generation_sent(&t, 0, 2);
    listen_worker_gone(&t, 1);
    listen_prune(&t, 2);
    ck_assert(exists(path)); /* worker 1's successor is to have it */
    ck_assert_uint_eq(batch(&t, 1, 2), 2); /* a, b */
    listen_worker_gone(&t, 0);
    ck_assert_uint_eq(batch(&t, 0, 2), 2); /* a, c */
    t.is_trial = false;
    ck_assert_uint_eq(batch(&t, 1, 2), 1); /* c */
    listen_generation_sent(&t, 1, 2);
    listen_prune(&t, 2);
    ck_assert(!exists(path));
    listen_fini(&t);
    unmake(&old);
    unmake(&new);
    rmdir(dir);
}
END_TEST

START_TEST(test_sockets_of_a_trial_change_hands)
{
    struct listen_table t;
    struct made old, new;
    char ini[128];

    at_free_port(ini, sizeof ini);
    make(&old, ini);
    listen_init(&t);
    ck_assert(prepare(&t, old.conf, 3));
    listen_commit(&t, old.conf, 1, true);
    for (unsigned i = 0; i < 3; i++)
        listen_worker(&t, i, LISTEN_SERVING);
    ck_assert_uint_eq(batch(&t, 0, 3) + batch(&t, 1, 3) + batch(&t, 2, 3), 3);
    at_free_port(ini, sizeof ini);
    make(&new, ini);
    t.is_trial = true;
    ck_assert(prepare(&t, new.conf, 3));
    listen_commit(&t, new.conf, 2, true);
    ck_assert_uint_eq(batch(&t, 0, 3), 3); /* all of the new one's */
    ck_assert_uint_eq(batch(&t, 1, 3), 1); /* of the old one's that which was worker 0's */
    ck_assert_uint_eq(surplus(&t, 0, 3) + surplus(&t, 1, 3) + surplus(&t, 2, 3), 1);
    listen_generation_sent(&t, 0, 2);
    listen_worker_gone(&t, 1);
    ck_assert_uint_eq(batch(&t, 0, 3) + batch(&t, 2, 3), 2);
    listen_worker(&t, 1, LISTEN_SERVING);
    ck_assert_uint_eq(batch(&t, 1, 3) + surplus(&t, 2, 3), 4);
    listen_worker_gone(&t, 0); /* nobody else could serve the new one's */
    ck_assert_uint_eq(batch(&t, 1, 3) + batch(&t, 2, 3), 0);
    listen_worker(&t, 0, LISTEN_SERVING);
    ck_assert_uint_eq(batch(&t, 0, 3), 3);
    t.is_trial = false;
    ck_assert_uint_eq(batch(&t, 1, 3) + batch(&t, 2, 3) + surplus(&t, 0, 3), 4);
    listen_fini(&t);
    unmake(&old);
    unmake(&new);
}
END_TEST

/* ---- loop ---- */

struct probe {
    struct event event;
    struct deadline deadline;
    unsigned events, deadlines;
};

static void on_event(struct event *e, uint32_t mask)
{
    struct probe *p = CONTAINER(e, struct probe, event);
    char c;

    ck_assert((mask & EPOLLIN) != 0);
    ck_assert_int_eq(read(e->fd, &c, 1), 1);
    p->events++;
}

static void on_deadline(struct deadline *d)
{
    struct probe *p = CONTAINER(d, struct probe, deadline);

    ck_assert(!deadline_is_set(d));
    p->deadlines++;
}

START_TEST(test_loop_serves_events_and_deadlines)
{
    struct events ev;
    struct probe p = { .events = 0 };
    int fds[2];
    uint64_t start_us = clock_mono_us();

    ck_assert_int_eq(events_init(&ev), 0);
    ck_assert_int_eq(pipe(fds), 0);
    event_init(&p.event);
    deadline_init(&p.deadline, on_deadline);
    ck_assert_int_eq(event_add(&ev, &p.event, fds[0], EPOLLIN, on_event), 0);
    ck_assert_int_eq(write(fds[1], "ab", 2), 2);
    events_step(&ev);
    events_step(&ev);
    ck_assert_uint_eq(p.events, 2);
    deadline_set(&ev, &p.deadline, 1);
    deadline_set(&ev, &p.deadline, 30); /* moved */
    while (p.deadlines == 0)
        events_step(&ev);
    ck_assert_uint_ge(clock_mono_us() - start_us, 30000);
    event_remove(&ev, &p.event);
    event_remove(&ev, &p.event);
    ck_assert_int_eq(p.event.fd, -1);
    events_fini(&ev);
}
END_TEST

UNIT_MAIN("master", test_changes, test_changes_of_values, test_changes_by_name,
          test_many_changes_are_not_all_named, test_settings_of_a_restart_are_kept,
          test_accepted_sockets_do_not_delay,
          test_socket_that_shares_a_port_listens_when_told, test_backoff_doubles_within_the_window,
          test_backoff_ends_after_ten_good_seconds,
          test_every_socket_has_a_holder, test_shared_sockets_go_to_every_worker_once,
          test_sockets_change_hands, test_unused_sockets_close_when_every_worker_was_told,
          test_first_worker_has_what_only_the_new_binds, test_sockets_of_a_trial_change_hands,
          test_loop_serves_events_and_deadlines)
