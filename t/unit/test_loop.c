/* The loop: the order of a batch, the dead, forgotten watches, waiting. */
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "t/unit/unit.h"
#include "worker/io/loop.h"

/* A thing with everything a loop calls; its name goes to the trace when it is called. */
struct thing {
    struct watch watch;
    struct task task, flush;
    struct timer timer;
    struct dead dead;
    char name;
    int fds[2];
};

static struct loop loop;
static struct thing a, b;
static char trace[256];
static size_t traced;

static void mark(char what, const struct thing *t)
{
    ck_assert_uint_lt(traced + 2, sizeof trace);
    trace[traced++] = what;
    trace[traced++] = t->name;
    trace[traced] = '\0';
}

static void on_event(struct watch *w, uint32_t events)
{
    (void)events;
    mark('e', CONTAINER(w, struct thing, watch));
}
static void on_task(struct task *t)
{
    mark('t', CONTAINER(t, struct thing, task));
}
static void on_flush(struct task *t)
{
    mark('f', CONTAINER(t, struct thing, flush));
}
static void on_timer(struct timer *t)
{
    mark('T', CONTAINER(t, struct thing, timer));
}
static void on_free(struct dead *d)
{
    mark('d', CONTAINER(d, struct thing, dead));
}

static void thing_init(struct thing *t, char name)
{
    t->name = name;
    t->watch.fn = on_event;
    task_init(&t->task, on_task);
    task_init(&t->flush, on_flush);
    timer_init(&t->timer, on_timer);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, t->fds), 0);
}

static void setup(void)
{
    traced = 0;
    trace[0] = '\0';
    ck_assert_int_eq(loop_init(&loop), 0);
    thing_init(&a, 'a');
    thing_init(&b, 'b');
}

static void teardown(void)
{
    close(a.fds[0]);
    close(a.fds[1]);
    close(b.fds[0]);
    close(b.fds[1]);
    loop_fini(&loop);
}

static void watch_both(void)
{
    ck_assert_int_eq(loop_add(&loop, a.fds[0], &a.watch), 0);
    ck_assert_int_eq(loop_add(&loop, b.fds[0], &b.watch), 0);
    ck_assert_int_eq(loop_once(&loop, 0), 0); /* both are writable */
    traced = 0;
}

static void wake(struct thing *t)
{
    ck_assert_int_eq(write(t->fds[1], "x", 1), 1);
}

static void once(void)
{
    ck_assert_int_eq(loop_once(&loop, 2000), 0);
}

static void event_makes_work(struct watch *w, uint32_t events)
{
    on_event(w, events);
    loop_flush_soon(&loop, &a.flush);
    loop_soon(&loop, &a.task);
    loop_soon(&loop, &a.task); /* once */
    loop_bury(&loop, &a.dead, on_free);
}

static void task_makes_flush(struct task *t)
{
    on_task(t);
    loop_flush_soon(&loop, &b.flush);
}

static void flush_makes_task(struct task *t)
{
    on_flush(t);
    loop_soon(&loop, &b.task);
}

static void timer_makes_flush(struct timer *t)
{
    on_timer(t);
    loop_flush_soon(&loop, &a.flush);
}

/* Who waits for input alone is not told that there is room. */
START_TEST(test_input)
{
    ck_assert_int_eq(loop_add_input(&loop, a.fds[0], &a.watch), 0);
    ck_assert_int_eq(loop_add(&loop, b.fds[0], &b.watch), 0);
    ck_assert_int_eq(loop_once(&loop, 0), 0);
    ck_assert_str_eq(trace, "eb");
    ck_assert_int_eq(write(a.fds[1], "x", 1), 1);
    ck_assert_int_eq(loop_once(&loop, 1000), 0);
    ck_assert_str_eq(trace, "ebea");
}
END_TEST

START_TEST(test_order_of_a_batch)
{
    watch_both();
    a.watch.fn = event_makes_work;
    a.task.fn = task_makes_flush;
    b.flush.fn = flush_makes_task;
    a.timer.fn = timer_makes_flush;
    timer_set(&loop.timers, &a.timer, loop.now_us - 100000, 1);
    usleep(20000);
    wake(&a);
    wake(&b);
    once();
    ck_assert_str_eq(trace, "eaebtafafbtbTafada");
}
END_TEST

START_TEST(test_cancelled_task)
{
    loop_soon(&loop, &a.task);
    loop_soon(&loop, &b.task);
    task_cancel(&a.task);
    task_cancel(&a.task);
    once();
    ck_assert_str_eq(trace, "tb");
}
END_TEST

static void cancels_b(struct task *t)
{
    on_task(t);
    task_cancel(&b.task);
}

START_TEST(test_task_cancels_the_next)
{
    a.task.fn = cancels_b;
    loop_soon(&loop, &a.task);
    loop_soon(&loop, &b.task);
    once();
    ck_assert_str_eq(trace, "ta");
}
END_TEST

static void again(struct task *t)
{
    static unsigned calls;

    if (++calls % 1000 == 0)
        on_task(t);
    loop_soon(&loop, t);
}

START_TEST(test_endless_task_starves_nobody)
{
    watch_both();
    a.task.fn = again;
    loop_soon(&loop, &a.task);
    loop_flush_soon(&loop, &a.flush);
    wake(&b);
    once();
    ck_assert_str_eq(trace, "ebfa");
    wake(&b);
    once();
    ck_assert_str_eq(trace, "ebfaeb");
    ck_assert(!list_empty(&loop.soon));
    task_cancel(&a.task);
}
END_TEST

static void forgets_other(struct watch *w, uint32_t events)
{
    on_event(w, events);
    loop_forget(&loop, w == &a.watch ? &b.watch : &a.watch);
}

START_TEST(test_forgotten_watch)
{
    watch_both();
    a.watch.fn = b.watch.fn = forgets_other;
    wake(&a);
    wake(&b);
    once();
    ck_assert_uint_eq(traced, 2);
}
END_TEST

START_TEST(test_waits_for_timer)
{
    uint64_t start = clock_mono_us();

    loop_refresh(&loop);
    timer_set(&loop.timers, &a.timer, loop.now_us, 50000);
    for (unsigned i = 0; traced == 0 && i < 100; i++)
        ck_assert_int_eq(loop_once(&loop, -1), 0);
    ck_assert_str_eq(trace, "Ta");
    ck_assert(clock_mono_us() - start >= 50000);
    ck_assert_uint_le(loop.batches, 4); /* it sleeps, it does not poll */
}
END_TEST

START_TEST(test_does_not_wait_with_work)
{
    uint64_t start = clock_mono_us();

    loop_soon(&loop, &a.task);
    ck_assert_int_eq(loop_once(&loop, 30000), 0);
    loop_bury(&loop, &a.dead, on_free);
    ck_assert_int_eq(loop_once(&loop, 30000), 0);
    ck_assert_str_eq(trace, "tada");
    ck_assert(clock_mono_us() - start < 20000000);
}
END_TEST

static void buries_other(struct dead *d)
{
    on_free(d);
    loop_bury(&loop, &b.dead, on_free);
}

START_TEST(test_the_dead_bury_the_dead)
{
    loop_bury(&loop, &a.dead, buries_other);
    once();
    ck_assert_str_eq(trace, "dadb");
}
END_TEST

static void stops(struct task *t)
{
    on_task(t);
    loop.should_stop = true;
}

START_TEST(test_run_until_stopped)
{
    a.task.fn = stops;
    loop_soon(&loop, &a.task);
    ck_assert_int_eq(loop_run(&loop), 0);
    ck_assert_str_eq(trace, "ta");
}
END_TEST

START_TEST(test_http_date)
{
    char now[CLOCK_TEXT_MAX], then[CLOCK_TEXT_MAX];
    const char *date;

    /* Unless the second ends between. */
    do {
        clock_http_date(then, clock_wall_us());
        loop_refresh(&loop);
        date = loop_http_date(&loop);
        clock_http_date(now, clock_wall_us());
    } while (strcmp(now, then) != 0);
    ck_assert_str_eq(date, now);
    ck_assert_uint_eq(strlen(date), 29);
    loop.now_us += 1000000; /* is made anew */
    loop.date[0] = 'x';
    ck_assert(loop_http_date(&loop)[0] != 'x');
    loop.date[0] = 'x'; /* is kept within the second */
    ck_assert(loop.now_us >= loop.date_us || loop_http_date(&loop)[0] == 'x');
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_order_of_a_batch, test_cancelled_task, test_task_cancels_the_next,
        test_endless_task_starves_nobody, test_forgotten_watch, test_waits_for_timer,
        test_does_not_wait_with_work, test_the_dead_bury_the_dead, test_run_until_stopped,
        test_http_date, test_input,
    };
    Suite *suite = suite_create("loop");
    TCase *tcase = tcase_create("loop");

    tcase_set_timeout(tcase, UNIT_TIMEOUT_S);
    tcase_add_checked_fixture(tcase, setup, teardown);
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++)
        tcase_add_test(tcase, tests[i]);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
