/* Ticket keys: files of them, and the memory by which the master shares them. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "t/unit/unit.h"
#include "common/tls/tickets.h"

#define HOUR_US (3600 * 1000000ull)

static char raw[96 * 17];

static void fill(void)
{
    for (size_t i = 0; i < sizeof raw; i++)
        raw[i] = (char)(i * 7 + i / 251);
}

/* ---- files ---- */

START_TEST(test_long_keys)
{
    struct ticket_keys keys;

    fill();
    ck_assert_int_eq(ticket_keys_parse(&keys, slice_of(raw, 160)), 0);
    ck_assert_uint_eq(keys.n, 2);
    ck_assert_uint_eq(keys.v[1].size, 32);
    ck_assert_mem_eq(keys.v[1].name, raw + 80, 16);
    ck_assert_mem_eq(keys.v[1].mac, raw + 96, 32);
    ck_assert_mem_eq(keys.v[1].aes, raw + 128, 32);
}
END_TEST

START_TEST(test_short_keys)
{
    struct ticket_keys keys;

    fill();
    ck_assert_int_eq(ticket_keys_parse(&keys, slice_of(raw, 48)), 0);
    ck_assert_uint_eq(keys.n, 1);
    ck_assert_uint_eq(keys.v[0].size, 16);
    ck_assert_mem_eq(keys.v[0].name, raw, 16);
    ck_assert_mem_eq(keys.v[0].aes, raw + 16, 16);
    ck_assert_mem_eq(keys.v[0].mac, raw + 32, 16);
    ck_assert_int_eq(ticket_keys_parse(&keys, slice_of(raw, 240)), 0); /* 3 x 80 and 5 x 48 */
    ck_assert_uint_eq(keys.n, 3);
}
END_TEST

START_TEST(test_no_keys)
{
    struct ticket_keys keys;

    ck_assert_int_eq(ticket_keys_parse(&keys, SLICE_NONE), -1);
    ck_assert_int_eq(ticket_keys_parse(&keys, slice_of(raw, 79)), -1);
    ck_assert_int_eq(ticket_keys_parse(&keys, slice_of(raw, 81)), -1);
    ck_assert_int_eq(ticket_keys_parse(&keys, slice_of(raw, 128)), -1);
    ck_assert_int_eq(ticket_keys_parse(&keys, slice_of(raw, 80 * TICKET_KEYS_MAX)), 0);
    ck_assert_int_eq(ticket_keys_parse(&keys, slice_of(raw, 80 * (TICKET_KEYS_MAX + 1))), -1);
}
END_TEST

/* ---- memory ---- */

static struct tickets *reader_of(struct tickets *t)
{
    struct tickets *r = tickets_open(dup(tickets_fd(t)));

    ck_assert_ptr_nonnull(r);
    return r;
}

START_TEST(test_reader_sees_changes)
{
    struct tickets *t = tickets_new(HOUR_US), *r;
    struct ticket_keys a, b;

    ck_assert_ptr_nonnull(t);
    r = reader_of(t);
    ck_assert(tickets_read(r, &a));
    ck_assert(!tickets_read(r, &b));
    ck_assert_uint_eq(a.n, 1);
    ck_assert_uint_eq(a.v[0].size, 32);
    ck_assert_uint_eq(tickets_due_us(t), HOUR_US + TICKETS_ROTATE_US);
    ck_assert_int_eq(tickets_rotate(t, 13 * HOUR_US), 0);
    ck_assert(tickets_read(r, &b));
    ck_assert(!tickets_read(r, &a));
    ck_assert_uint_eq(b.n, 2);
    ck_assert_mem_ne(b.v[0].name, a.v[0].name, TICKET_NAME_SIZE);
    ck_assert_mem_ne(b.v[0].aes, a.v[0].aes, 32);
    ck_assert_mem_eq(&b.v[1], &a.v[0], sizeof a.v[0]);
    tickets_free(&r);
    tickets_free(&t);
    ck_assert_ptr_null(t);
}
END_TEST

/* 12 hours in use, 24 more to decrypt with. */
START_TEST(test_old_keys_go)
{
    struct tickets *t = tickets_new(0), *r = reader_of(t);
    struct ticket_keys first, keys;

    ck_assert(tickets_read(r, &first));
    for (unsigned turn = 1; turn <= 10; turn++) {
        ck_assert_int_eq(tickets_rotate(t, turn * TICKETS_ROTATE_US), 0);
        ck_assert(tickets_read(r, &keys));
        ck_assert_uint_eq(keys.n, turn < 3 ? turn + 1 : 3);
        bool is_there = false;
        for (uint32_t i = 0; i < keys.n; i++)
            is_there |= memcmp(keys.v[i].name, first.v[0].name, TICKET_NAME_SIZE) == 0;
        ck_assert(is_there == (turn < 3));
    }
    tickets_free(&r);
    tickets_free(&t);
}
END_TEST

START_TEST(test_adopted)
{
    struct tickets *t = tickets_new(HOUR_US), *next, *r;
    struct ticket_keys a, b;

    ck_assert_int_eq(tickets_rotate(t, 13 * HOUR_US), 0);
    r = reader_of(t);
    ck_assert(tickets_read(r, &a));
    tickets_free(&r);
    next = tickets_adopt(tickets_fd(t), 20 * HOUR_US);
    ck_assert_ptr_nonnull(next);
    tickets_free(&t); /* the next has memory of its own */
    r = reader_of(next);
    ck_assert(tickets_read(r, &b));
    ck_assert_mem_eq(&a, &b, sizeof a);
    ck_assert_uint_eq(tickets_due_us(next), 25 * HOUR_US);
    tickets_free(&r);
    /* After days without a master nothing of it is good. */
    t = tickets_adopt(tickets_fd(next), 100 * HOUR_US);
    r = reader_of(t);
    ck_assert(tickets_read(r, &b));
    ck_assert_uint_eq(b.n, 1);
    ck_assert_mem_ne(b.v[0].name, a.v[0].name, TICKET_NAME_SIZE);
    ck_assert_uint_eq(tickets_due_us(t), 112 * HOUR_US);
    tickets_free(&r);
    tickets_free(&next);
    tickets_free(&t);
}
END_TEST

START_TEST(test_what_is_none_is_refused)
{
    int fd = memfd_create("test", MFD_ALLOW_SEALING);
    struct tickets *t = tickets_new(0);

    ck_assert_ptr_null(tickets_adopt(fd, 0));
    ck_assert_ptr_null(tickets_adopt(-1, 0));
    ck_assert_int_eq(ftruncate(fd, 1 << 16), 0);
    ck_assert_ptr_null(tickets_open(dup(fd)));
    ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
    ck_assert_ptr_null(tickets_open(fd));
    ck_assert_ptr_null(tickets_open(-1));
    ck_assert_int_eq(errno, EINVAL);
    tickets_free(&t);
}
END_TEST

START_TEST(test_reader_cannot_write)
{
    struct tickets *t = tickets_new(0);
    int fd = tickets_fd(t);

    ck_assert_int_eq(write(fd, "x", 1), -1);
    ck_assert_ptr_eq(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
    tickets_free(&t);
}
END_TEST

/* Keys that are read belong together, however fast they change. */
static void read_all_the_time(int fd)
{
    struct tickets *r = tickets_open(fd);
    struct ticket_keys keys;

    for (unsigned changes = 0; changes < 2000;) {
        if (!tickets_read(r, &keys))
            continue;
        changes++;
        if (keys.n == 0 || keys.n > 3)
            _exit(1);
        for (uint32_t i = 0; i < keys.n; i++)
            if (keys.v[i].size != 32 || keys.v[i].made_us == 0 ||
                (i > 0 && keys.v[i].made_us >= keys.v[i - 1].made_us))
                _exit(2);
    }
    _exit(0);
}

START_TEST(test_reader_beside_writer)
{
    struct tickets *t = tickets_new(HOUR_US);
    uint64_t now_us = HOUR_US;
    int status;
    pid_t pid = fork();

    if (pid == 0)
        read_all_the_time(dup(tickets_fd(t)));
    while (waitpid(pid, &status, WNOHANG) == 0)
        ck_assert_int_eq(tickets_rotate(t, now_us += TICKETS_ROTATE_US), 0);
    ck_assert_int_eq(status, 0);
    tickets_free(&t);
}
END_TEST

UNIT_MAIN("tickets", test_long_keys, test_short_keys, test_no_keys, test_reader_sees_changes,
          test_old_keys_go, test_adopted, test_what_is_none_is_refused, test_reader_cannot_write,
          test_reader_beside_writer)
