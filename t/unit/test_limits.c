/* [limit] sections, and the memory of limits over configurations, processes and masters. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "common/core/limits.h"
#include "t/unit/conf_fixture.h"

#define BASE "[listener web]\nbind = 127.0.0.1:1\n[route all]\nrespond = 200 x\n"
#define NOW 1000000000000u

static struct conf_fixture x;
static struct limits *limits;

/* ---- settings ---- */

START_TEST(rates)
{
    static const struct {
        const char *text;
        uint32_t count, seconds;
        uint64_t interval_ns;
    } rows[] = {
        { "10/s", 10, 1, 100000000 }, { "600/m", 600, 60, 100000000 },
        { " 3 / h ", 3, 3600, 1200000000000 }, { "1000000/s", 1000000, 1, 1000 },
        { "7/d", 7, 86400, 12342857142857 },
    };

    fixture_begin(&x);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[512];

        snprintf(text, sizeof text, BASE "limit = l\n[limit l]\nrate = %s\n", rows[i].text);
        fixture_good(&x, text);
        ck_assert_uint_eq(x.conf->limits[0].rate.count, rows[i].count);
        ck_assert_uint_eq(x.conf->limits[0].rate.seconds, rows[i].seconds);
        ck_assert_uint_eq(conf_rate_interval(x.conf->limits[0].rate), rows[i].interval_ns);
        ck_assert_uint_eq(x.report.warnings, 0);
    }
    fixture_end(&x);
}
END_TEST

START_TEST(what_is_not_said)
{
    const struct conf_limit *l;

    fixture_begin(&x);
    fixture_good(&x, BASE "limit = a, b\nlimit = c\n[limit a]\n[limit b]\nmax_conns = 3\n"
                          "[limit c]\nmax_conns = 3\nrate = 5/s\n");
    l = x.conf->limits;
    ck_assert_uint_eq(x.conf->routes[0].limit.n, 3);
    ck_assert_uint_eq(x.conf->routes[0].steps, CONF_STEP_LIMIT);
    ck_assert_uint_eq(l[0].rate.count, 10);
    ck_assert_uint_eq(l[0].burst, 20);
    ck_assert(slice_eq(l[0].key.source, SLICE("$client_ip")));
    ck_assert_uint_eq(l[0].status, 429);
    ck_assert_msg(l[1].rate.count == 0, "max_conns alone is no rate");
    ck_assert_uint_eq(l[2].rate.count, 5);
    ck_assert(!conf_limit_is_after(&x.conf->routes[0], &l[0]));
    fixture_good(&x, BASE "[defaults limit]\nrate = 7/m\n[limit a]\nmax_conns = 3\n");
    ck_assert_uint_eq(x.conf->limits[0].rate.count, 7);
    fixture_end(&x);
}
END_TEST

START_TEST(what_makes_no_sense)
{
    fixture_begin(&x);
    fixture_good(&x, BASE "[limit l]\n");
    FIXTURE_EXPECT(&x, "f.ini:5: warning: [limit l]: nothing uses it");
    fixture_good(&x, BASE "limit = l\n[limit l]\nmax_conns = 3\nrate = off\nburst = 5\n");
    FIXTURE_EXPECT(&x, "f.ini:9: warning: [limit l] burst: means nothing, for `rate` is off");
    fixture_good(&x, BASE "[defaults route]\nlimit = l\n[limit l]\n");
    ck_assert_uint_eq(x.report.warnings, 0);
    fixture_end(&x);
}
END_TEST

/* ---- memory ---- */

static void begin(const char *limit)
{
    char text[1024];

    fixture_begin(&x);
    snprintf(text, sizeof text, BASE "%s", limit);
    fixture_good(&x, text);
    limits = limits_create("limits");
    ck_assert_ptr_nonnull(limits);
    ck_assert(limits_apply(limits, x.conf, NULL, false, &x.report));
}

static void end(void)
{
    limits_close(&limits);
    fixture_end(&x);
}

/* As a reload from what is in force. */
static void next(const char *limit)
{
    struct conf *old = x.conf;
    char text[1024];

    x.conf = NULL;
    snprintf(text, sizeof text, BASE "%s", limit);
    fixture_good(&x, text);
    ck_assert(limits_apply(limits, x.conf, old, false, &x.report));
    conf_free(&old);
}

static enum limit_verdict ask(size_t i, struct limit_taken *taken)
{
    const struct conf_limit *l = &x.conf->limits[i];
    const struct limit_rule rule = { .interval_ns = conf_rate_interval(l->rate),
                                     .burst = l->burst, .max_holds = l->max_conns };
    struct limit_table t;

    ck_assert(limits_find(limits, l, &t));
    return limit_ask(&t, &rule, SLICE("k"), NOW, taken);
}

#define ONCE "rate = 1/h\nburst = 1\n"

START_TEST(by_name)
{
    struct limit_taken t;

    begin("[limit a]\n" ONCE);
    ck_assert_int_eq(ask(0, &t), LIMIT_ALLOWED);
    ck_assert_int_eq(ask(0, &t), LIMIT_TOO_FAST);
    next("[limit b]\n" ONCE "[limit a]\nburst = 1\nrate = 2/h\n");
    ck_assert_int_eq(ask(0, &t), LIMIT_ALLOWED);
    ck_assert_msg(ask(1, &t) == LIMIT_TOO_FAST, "whatever its place and rate");
    next("[limit a]\n" ONCE "keys = 1000\n");
    ck_assert_msg(ask(0, &t) == LIMIT_ALLOWED, "another size begins anew");
    next("[limit a]\n" ONCE "key = $host\n");
    ck_assert_msg(ask(0, &t) == LIMIT_ALLOWED, "another key begins anew");
    ck_assert_msg(limits_count(limits) == 3, "of the two of one size, one is gone on with");
    end();
}
END_TEST

START_TEST(memory_of_the_gone)
{
    struct limit_taken t;
    struct stat st;

    begin("[limit a]\n" ONCE);
    ck_assert_int_eq(ask(0, &t), LIMIT_ALLOWED);
    for (unsigned i = 0; i < 300; i++) {
        char text[64];

        snprintf(text, sizeof text, "[limit l%u]\n" ONCE, i);
        next(text);
        ck_assert_int_eq(ask(0, &t), LIMIT_ALLOWED);
        ck_assert_int_eq(ask(0, &t), LIMIT_TOO_FAST);
    }
    ck_assert_uint_le(limits_count(limits), 3);
    ck_assert_int_eq(fstat(limits_fd(limits), &st), 0);
    ck_assert_uint_le((uint64_t)st.st_blocks * 512, 3 * 4194304 + 65536);
    end();
}
END_TEST

START_TEST(a_trial_is_not_in_force)
{
    struct conf *old;

    begin("[limit a]\n" ONCE);
    old = x.conf;
    x.conf = NULL;
    fixture_good(&x, BASE "[limit b]\n" ONCE);
    ck_assert(limits_apply(limits, x.conf, old, true, &x.report));
    ck_assert_uint_eq(limits_count(limits), 2);
    ck_assert(limits_at(limits, 0)->is_used);
    ck_assert(!limits_at(limits, 1)->is_used);
    conf_free(&old);
    end();
}
END_TEST

START_TEST(the_next_master_goes_on)
{
    struct limit_taken t;
    struct limits *reader;
    int fd;

    begin("[limit a]\n" ONCE);
    ck_assert_int_eq(ask(0, &t), LIMIT_ALLOWED);
    fd = fcntl(limits_fd(limits), F_DUPFD_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    limits_close(&limits);
    limits = limits_adopt(fd);
    ck_assert_ptr_nonnull(limits);
    ck_assert(limits_apply(limits, x.conf, NULL, false, &x.report));
    ck_assert_int_eq(ask(0, &t), LIMIT_TOO_FAST);
    reader = limits_open("limits");
    ck_assert_ptr_nonnull(reader);
    ck_assert_uint_eq(limits_count(reader), 1);
    ck_assert_str_eq(limits_at(reader, 0)->name, "a");
    ck_assert_ptr_nonnull(limits_sets(reader, limits_at(reader, 0)));
    limits_close(&reader);
    end();
}
END_TEST

START_TEST(files_of_others)
{
    fixture_begin(&x);
    ck_assert_ptr_null(limits_open("none"));
    ck_assert_int_eq(errno, ENOENT);
    fixture_write("f", "nonsense", 8);
    ck_assert_ptr_null(limits_open("f"));
    ck_assert_int_eq(errno, EPROTO);
    limits = limits_create("limits");
    ck_assert_ptr_nonnull(limits);
    ck_assert_int_eq(pwrite(limits_fd(limits), "\7", 1, offsetof(struct limits_header, boot)), 1);
    ck_assert_ptr_null(limits_open("limits"));
    ck_assert_int_eq(errno, EPROTO);
    end();
}
END_TEST

START_TEST(none_is_no_trouble_without_limits)
{
    fixture_begin(&x);
    fixture_good(&x, BASE);
    ck_assert(limits_apply(NULL, x.conf, NULL, false, &x.report));
    fixture_good(&x, BASE "[limit a]\n" ONCE);
    ck_assert(!limits_apply(NULL, x.conf, NULL, false, &x.report));
    FIXTURE_EXPECT(&x, "there is no memory for limits");
    limits_join(NULL);
    limits_died(NULL, 1);
    end();
}
END_TEST

/* A master looks through them whenever a process ends: that may not make the file grow. */
START_TEST(journals_nobody_used_are_no_memory)
{
    struct stat before, after;

    begin("[limit a]\n" ONCE);
    limits_join(limits);
    limits_died(limits, getpid());
    ck_assert_int_eq(fstat(limits_fd(limits), &before), 0);
    limits_died(limits, 1234567);
    ck_assert_int_eq(fstat(limits_fd(limits), &after), 0);
    ck_assert_int_eq(before.st_blocks, after.st_blocks);
    ck_assert_uint_le((uint64_t)after.st_blocks * 512, 4194304 + 1048576);
    end();
}
END_TEST

START_TEST(the_dead_give_back)
{
    struct limit_taken t;
    int ready[2], status;
    char byte;
    pid_t pid;

    begin("[limit a]\nmax_conns = 5\n");
    ck_assert_int_eq(pipe(ready), 0);
    pid = fork();
    if (pid == 0) {
        limits_join(limits);
        for (unsigned i = 0; i < 4; i++)
            if (ask(0, &t) != LIMIT_ALLOWED)
                _exit(1);
        (void)!write(ready[1], "x", 1);
        (void)pause();
        _exit(0);
    }
    ck_assert_int_eq(read(ready[0], &byte, 1), 1);
    limits_join(limits);
    ck_assert_int_eq(ask(0, &t), LIMIT_ALLOWED);
    limits_died(limits, 0); /* nobody has */
    ck_assert_int_eq(ask(0, &t), LIMIT_TOO_MANY);
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    limits_died(limits, pid);
    limits_died(limits, pid);
    for (unsigned i = 0; i < 4; i++)
        ck_assert_int_eq(ask(0, &t), LIMIT_ALLOWED);
    ck_assert_msg(ask(0, &t) == LIMIT_TOO_MANY, "this one's own stays");
    (void)close(ready[0]);
    (void)close(ready[1]);
    end();
}
END_TEST

UNIT_MAIN("limits", rates, what_is_not_said, what_makes_no_sense, by_name, memory_of_the_gone,
          a_trial_is_not_in_force, the_next_master_goes_on, files_of_others,
          none_is_no_trouble_without_limits, journals_nobody_used_are_no_memory,
          the_dead_give_back)
