/* The acceptor and its gate: limits, exhaustion, turns, and closing without loss. */
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>
#include "t/unit/unit.h"
#include "worker/io/acceptor.h"

#define LISTENERS 2
#define CLIENTS_MAX 400

static struct loop loop;
static struct accept_gate gate;
static struct acceptor acceptors[LISTENERS];
static struct addr addrs[LISTENERS];
static uint64_t errors, full;
static int clients[CLIENTS_MAX], accepted[CLIENTS_MAX];
static unsigned clients_n, accepted_n, accepted_of[LISTENERS];
static bool fini_in_accept;

static void on_accept(struct acceptor *a, int fd, const struct ip *peer)
{
    ck_assert_ptr_eq(a->owner, &gate);
    ck_assert_uint_eq(peer->family, AF_INET);
    ck_assert_uint_ne(peer->port, 0);
    ck_assert_uint_lt(accepted_n, CLIENTS_MAX);
    accepted[accepted_n++] = fd;
    accepted_of[a - acceptors]++;
    if (fini_in_accept)
        acceptor_fini(a);
}

static void setup(void)
{
    clients_n = accepted_n = accepted_of[0] = accepted_of[1] = 0;
    errors = full = 0;
    fini_in_accept = false;
    ck_assert_int_eq(loop_init(&loop), 0);
    accept_gate_init(&gate, &loop, 1000);
    gate.errors = &errors;
    gate.full = &full;
    for (unsigned i = 0; i < LISTENERS; i++) {
        struct addr *at = &addrs[i];
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct slice name;
        ck_assert_int_eq(addr_parse(SLICE("127.0.0.1:1"), at, &name), ADDR_OK);
        at->in4.sin_port = 0;
        ck_assert_int_eq(bind(fd, &at->sa, at->len), 0);
        ck_assert_int_eq(listen(fd, CLIENTS_MAX), 0);
        ck_assert_int_eq(getsockname(fd, &at->sa, &at->len), 0);
        ck_assert_int_eq(acceptor_init(&acceptors[i], &gate, fd, on_accept, &gate), 0);
    }
}

static void teardown(void)
{
    accept_gate_shut(&gate);
    for (unsigned i = 0; i < LISTENERS; i++)
        acceptor_fini(&acceptors[i]);
    accept_gate_fini(&gate);
    ck_assert_uint_eq(loop.timers.armed, 0);
    ck_assert(list_empty(&loop.soon));
    while (clients_n > 0)
        close(clients[--clients_n]);
    while (accepted_n > 0)
        close(accepted[--accepted_n]);
    loop_fini(&loop);
}

static void spin(unsigned batches)
{
    while (batches-- > 0)
        ck_assert_int_eq(loop_once(&loop, 0), 0);
}

/* n clients whose connections the kernel has queued when this returns. */
static void connect_to(unsigned listener, unsigned n)
{
    while (n-- > 0) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(connect(fd, &addrs[listener].sa, addrs[listener].len), 0);
        clients[clients_n++] = fd;
    }
}

static void close_accepted(unsigned n)
{
    while (n-- > 0) {
        close(accepted[--accepted_n]);
        accept_gate_closed_one(&gate);
    }
}

START_TEST(test_accepts_all_that_wait)
{
    connect_to(0, 200);
    spin(1);
    ck_assert_uint_eq(accepted_n, 200);
    ck_assert_uint_eq(gate.open, 200);
    ck_assert(fcntl(accepted[0], F_GETFL) & O_NONBLOCK);
    ck_assert(fcntl(accepted[0], F_GETFD) & FD_CLOEXEC);
    connect_to(1, 1);
    spin(1);
    ck_assert_uint_eq(accepted_n, 201);
    ck_assert_uint_eq(full, 0);
}
END_TEST

START_TEST(test_gate_closes_at_max)
{
    accept_gate_set_max(&gate, 3);
    connect_to(0, 5);
    connect_to(1, 5);
    spin(3);
    ck_assert_uint_eq(accepted_n, 3);
    ck_assert_uint_eq(full, 2); /* once an acceptor */
    spin(3);
    ck_assert_uint_eq(full, 2);
    /* The places that come free go to both in turn. */
    unsigned zero = accepted_of[0], one = accepted_of[1];
    for (unsigned i = 0; i < 4; i++) {
        close_accepted(1);
        spin(1);
        ck_assert_uint_eq(gate.open, 3);
    }
    ck_assert_uint_eq(accepted_of[0] - zero, 2);
    ck_assert_uint_eq(accepted_of[1] - one, 2);
    accept_gate_set_max(&gate, 100);
    spin(2);
    ck_assert_uint_eq(accepted_of[0] + accepted_of[1], 10);
    connect_to(0, 1); /* and it hears events again */
    spin(1);
    ck_assert_uint_eq(accepted_of[0], 6);
}
END_TEST

START_TEST(test_descriptors_end)
{
    struct rlimit limit, few;
    int free_fd;

    connect_to(0, 3);
    connect_to(1, 3);
    free_fd = dup(0);
    ck_assert_int_ge(free_fd, 0);
    close(free_fd);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    few = limit;
    few.rlim_cur = (rlim_t)free_fd + 2;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
    spin(5);
    ck_assert_uint_eq(accepted_n, 2);
    ck_assert_uint_eq(errors, 1); /* one try, then a pause for all */
    ck_assert(timer_is_set(&gate.retry));
    while (errors < 2)
        ck_assert_int_eq(loop_once(&loop, -1), 0);
    ck_assert_uint_eq(accepted_n, 2);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    while (accepted_n < 6)
        ck_assert_int_eq(loop_once(&loop, -1), 0);
    ck_assert_uint_le(errors, 3);
    ck_assert_uint_eq(full, 0);
}
END_TEST

START_TEST(test_place_does_not_end_the_pause)
{
    struct rlimit limit, few;

    connect_to(0, 2);
    spin(1);
    ck_assert_uint_eq(accepted_n, 2);
    connect_to(0, 1);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    few = limit;
    few.rlim_cur = 3;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
    spin(1);
    ck_assert_uint_eq(errors, 1);
    close_accepted(1);
    spin(1);
    ck_assert_uint_eq(errors, 1);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    while (accepted_n < 2)
        ck_assert_int_eq(loop_once(&loop, -1), 0);
}
END_TEST

START_TEST(test_shut_gate)
{
    accept_gate_set_max(&gate, 1);
    connect_to(0, 3);
    spin(2);
    ck_assert_uint_eq(accepted_n, 1);
    accept_gate_shut(&gate);
    close_accepted(1);
    accept_gate_set_max(&gate, 100);
    connect_to(1, 1);
    spin(3);
    ck_assert_uint_eq(accepted_n, 0);
    acceptor_fini(&acceptors[0]); /* leaves what waits to its successor */
    ck_assert_uint_eq(accepted_n, 0);
}
END_TEST

START_TEST(test_fini_takes_the_queue)
{
    accept_gate_set_max(&gate, 1);
    connect_to(0, 5);
    spin(1);
    ck_assert_uint_eq(accepted_n, 1);
    connect_to(0, 70);
    acceptor_fini(&acceptors[0]);
    ck_assert_uint_eq(accepted_n, 75);
    ck_assert_uint_eq(gate.open, 75);
    ck_assert_int_eq(acceptors[0].fd, -1);
    acceptor_fini(&acceptors[0]);
    spin(2);
}
END_TEST

/* Its event lies in the batch already when the acceptor goes: freed memory must not be called. */
static struct acceptor *on_heap;

static void frees_the_other(struct acceptor *a, int fd, const struct ip *peer)
{
    (void)a;
    (void)peer;
    close(fd);
    accept_gate_closed_one(&gate);
    if (!on_heap || a == on_heap)
        return;
    acceptor_fini(on_heap);
    memset(on_heap, 0xa5, sizeof *on_heap);
    free(on_heap);
    on_heap = NULL;
}

START_TEST(test_freed_within_a_batch)
{
    int fd = dup(acceptors[1].fd);

    spin(1);
    acceptors[0].fn = frees_the_other;
    acceptor_fini(&acceptors[1]);
    on_heap = malloc(sizeof *on_heap);
    ck_assert_ptr_nonnull(on_heap);
    ck_assert_int_eq(acceptor_init(on_heap, &gate, fd, frees_the_other, &gate), 0);
    spin(1);
    connect_to(0, 1);
    connect_to(1, 1);
    spin(2);
    ck_assert_ptr_null(on_heap);
}
END_TEST

START_TEST(test_fini_within_accept)
{
    fini_in_accept = true;
    connect_to(0, 3);
    spin(2);
    ck_assert_uint_eq(accepted_n, 3);
    ck_assert_int_eq(acceptors[0].fd, -1);
}
END_TEST

/* The master holds every listening socket open as well: our close is not its last. */
START_TEST(test_fini_leaves_nothing_in_the_loop)
{
    int fd = dup(acceptors[0].fd);

    acceptor_fini(&acceptors[0]);
    memset(&acceptors[0], 0xa5, sizeof acceptors[0]); /* as freed memory would be */
    connect_to(0, 1);
    spin(2);
    ck_assert_uint_eq(accepted_n, 0);
    /* Bound again: the same open file is added again. */
    ck_assert_int_eq(acceptor_init(&acceptors[0], &gate, fd, on_accept, &gate), 0);
    spin(1);
    ck_assert_uint_eq(accepted_n, 1);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_accepts_all_that_wait, test_gate_closes_at_max, test_descriptors_end,
        test_place_does_not_end_the_pause, test_shut_gate, test_fini_takes_the_queue,
        test_freed_within_a_batch, test_fini_within_accept,
        test_fini_leaves_nothing_in_the_loop,
    };
    Suite *suite = suite_create("acceptor");
    TCase *tcase = tcase_create("acceptor");

    tcase_set_timeout(tcase, UNIT_TIMEOUT_S);
    tcase_add_checked_fixture(tcase, setup, teardown);
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++)
        tcase_add_test(tcase, tests[i]);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
