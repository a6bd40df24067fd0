/* The flight recorder: what is written comes back, whole or not at all; what is no such file is
 * refused. */
#include <sys/wait.h>
#include "t/unit/flight_fixture.h"

#define WRITES 300000

START_TEST(what_is_written_is_read)
{
    struct flight_record *r;
    struct ip ip;
    char text[ADDR_TEXT_MAX];

    begin();
    ck_assert_uint_eq(look()->worker, 3);
    ck_assert_uint_eq(lg->started_us, 1000000);
    ck_assert_uint_eq(lg->open.n + lg->ended.n + lg->events.n, 0);
    r = opened(7);
    r->route = flight_name(&fl, "all");
    r->server = flight_name(&fl, "s0");
    ck_assert_uint_eq(look()->open.n, 1);
    ck_assert_uint_eq(lg->ended.n, 0);
    ck_assert(is_stream(&lg->open.v[0], 7));
    flight_set16(&r->status, 503);
    r->end = 2;
    finished(r);
    ck_assert_uint_eq(look()->open.n, 0);
    ck_assert_uint_eq(lg->ended.n, 1);
    r = &lg->ended.v[0];
    ck_assert_uint_eq(r->status, 503);
    ck_assert_uint_eq(r->number, 1);
    ck_assert(slice_eq(flight_log_reason(lg, r).reason, SLICE("connect refused")));
    ck_assert(slice_eq(flight_log_reason(lg, r).outcome, SLICE("failure")));
    ck_assert(slice_eq(flight_log_name(lg, r->route), SLICE("all")));
    ck_assert(slice_eq(flight_log_name(lg, r->server), SLICE("s0")));
    ck_assert_uint_eq(flight_log_name(lg, r->backend).n, 0);
    ip = flight_log_client(r);
    ip_format(&ip, text);
    ck_assert_str_eq(text, "10.1.2.3");
    end();
}
END_TEST

START_TEST(texts_are_cut_without_an_end)
{
    struct flight_record *r;
    char text[300];

    begin();
    memset(text, 'x', sizeof text);
    r = opened(1);
    flight_text(r->path, sizeof r->path, slice_of(text, sizeof text));
    flight_text(r->request_id, sizeof r->request_id, slice_of(text, sizeof r->request_id));
    r = &look()->open.v[0];
    ck_assert_uint_eq(flight_log_text(r->path, sizeof r->path).n, sizeof r->path);
    ck_assert_uint_eq(flight_log_text(r->request_id, sizeof r->request_id).n, 32);
    ck_assert_str_eq(r->method, "GET");
    end();
}
END_TEST

/* The last 1,024, in their order; those in progress stay, however many end meanwhile. */
START_TEST(ring_wraps)
{
    struct flight_record *long_one;

    begin();
    long_one = opened(99999);
    for (uint64_t n = 1; n <= 3000; n++) {
        finished(opened(n));
        if (n == 1023 || n == 1024 || n == 1025)
            ck_assert_uint_eq(look()->ended.n, n < FLIGHT_FINISHED ? n : FLIGHT_FINISHED);
    }
    look();
    ck_assert_uint_eq(lg->ended.n, FLIGHT_FINISHED);
    for (size_t i = 0; i < lg->ended.n; i++) {
        ck_assert_uint_eq(lg->ended.v[i].number, 3000 - FLIGHT_FINISHED + 1 + i);
        ck_assert(is_stream(&lg->ended.v[i], lg->ended.v[i].number));
    }
    ck_assert_uint_eq(lg->open.n, 1);
    ck_assert(is_stream(&lg->open.v[0], 99999));
    ck_assert_uint_le(fl.used, FLIGHT_FINISHED + 2);
    finished(long_one);
    ck_assert(is_stream(&look()->ended.v[FLIGHT_FINISHED - 1], 99999));
    ck_assert_uint_eq(lg->open.n, 0);
    end();
}
END_TEST

/* Ends one that found no place. */
static void finish_untracked(uint64_t n)
{
    struct flight_record *r = flight_take_at_end(&fl);

    ck_assert_ptr_nonnull(r);
    fill(r, n);
    finished(r);
}

START_TEST(table_of_those_in_progress_is_full)
{
    static struct flight_record *open_ones[FLIGHT_OPEN];

    begin();
    for (uint64_t i = 0; i < FLIGHT_OPEN; i++)
        open_ones[i] = opened(10000 + i);
    ck_assert_ptr_null(flight_take(&fl));
    ck_assert_ptr_null(flight_take(&fl));
    ck_assert_uint_eq(look()->untracked, 2);
    for (uint64_t n = 1; n <= 2500; n++)
        finish_untracked(n);
    ck_assert_ptr_null(flight_take(&fl));
    look();
    ck_assert_uint_eq(lg->open.n, FLIGHT_OPEN);
    for (size_t i = 0; i < FLIGHT_OPEN; i++)
        ck_assert(is_stream(&lg->open.v[i], 10000 + i));
    ck_assert_uint_eq(lg->ended.n, FLIGHT_FINISHED);
    for (size_t i = 0; i < lg->ended.n; i++)
        ck_assert(is_stream(&lg->ended.v[i], 2500 - FLIGHT_FINISHED + 1 + i));
    for (size_t i = 0; i < FLIGHT_OPEN; i++)
        finished(open_ones[i]);
    look();
    ck_assert_uint_eq(lg->open.n, 0);
    for (size_t i = 0; i < FLIGHT_FINISHED; i++)
        ck_assert(is_stream(&lg->ended.v[i], 10000 + i));
    for (uint64_t i = 0; i < FLIGHT_OPEN; i++)
        open_ones[i] = opened(20000 + i);
    ck_assert_ptr_null(flight_take(&fl));
    ck_assert_uint_eq(look()->open.n, FLIGHT_OPEN);
    ck_assert_uint_eq(lg->ended.n, FLIGHT_FINISHED);
    end();
}
END_TEST

START_TEST(half_written_records_are_not_shown)
{
    struct flight_record *r;

    begin();
    finished(opened(1));
    r = opened(2);
    flight_write(r);
    memset(r->path, 'T', sizeof r->path);
    ck_assert_uint_eq(look()->open.n, 0);
    ck_assert_uint_eq(lg->ended.n, 1);
    flight_written(r);
    ck_assert_uint_eq(look()->open.n, 1);
    ck_assert_ptr_nonnull(flight_take(&fl)); /* taken, and not filled yet */
    ck_assert_uint_eq(look()->open.n, 1);
    end();
}
END_TEST

static void write_on(void)
{
    for (uint64_t n = 1; n <= WRITES; n++)
        finished(opened(n));
}

/* A reader beside a writer at full speed meets no mixture of two streams. */
START_TEST(reader_beside_a_writer)
{
    size_t seen = 0, rounds = 0;
    pid_t child;
    int status;

    begin();
    child = fork();
    if (child == 0) {
        write_on();
        _exit(0);
    }
    do {
        look();
        for (size_t i = 0; i < lg->ended.n; i++) {
            const struct flight_record *r = &lg->ended.v[i];

            if (!is_stream(r, r->number) || (i > 0 && lg->ended.v[i - 1].number >= r->number))
                ck_abort_msg("%llu is %s", (unsigned long long)r->number, r->path);
        }
        seen += lg->ended.n;
        rounds++;
    } while (waitpid(child, &status, WNOHANG) == 0);
    ck_assert_int_eq(status, 0);
    ck_assert_uint_eq(look()->ended.n, FLIGHT_FINISHED);
    ck_assert_uint_eq(lg->ended.v[FLIGHT_FINISHED - 1].number, WRITES);
    ck_assert_uint_gt(seen, 0);
    ck_assert_uint_gt(rounds, 1);
    end();
}
END_TEST

/* A file system without room is told before it is written to, which would be a SIGBUS: here, the
 * file is shorter than its mapping. */
START_TEST(without_room_it_makes_do)
{
    struct flight_record *r[256];
    off_t records;

    begin();
    records = (off_t)((struct flight_header *)memory)->records_at;
    flight_close(&fl);
    ck_assert_int_eq(truncate(path, records), 0);
    flight_open(&fl, memory);
    ck_assert_ptr_null(flight_take(&fl));
    ck_assert_ptr_null(flight_take_at_end(&fl));
    flight_close(&fl);
    ck_assert_int_eq(truncate(path, records + 65536), 0); /* 256 records */
    flight_open(&fl, memory);
    for (uint64_t n = 1; n <= 3000; n++)
        finished(opened(n));
    for (uint64_t n = 0; n < 256; n++)
        r[n] = opened(10000 + n);
    ck_assert_ptr_null(flight_take(&fl));
    ck_assert_ptr_null(flight_take_at_end(&fl));
    ck_assert_uint_eq(((struct flight_header *)memory)->untracked, 1);
    for (uint64_t n = 0; n < 256; n++)
        finished(r[n]);
    finish_untracked(20000);
    ck_assert_int_eq(truncate(path, (off_t)flight_size()), 0);
    look();
    ck_assert_uint_eq(lg->ended.n, 256);
    for (uint64_t n = 0; n < 255; n++)
        ck_assert(is_stream(&lg->ended.v[n], 10001 + n));
    ck_assert(is_stream(&lg->ended.v[255], 20000));
    end();
}
END_TEST

START_TEST(names_are_numbered_once)
{
    uint16_t a, b;
    char text[300];

    begin();
    a = flight_name(&fl, "a");
    b = flight_name(&fl, "b");
    ck_assert_uint_ne(a, b);
    ck_assert_uint_eq(flight_name(&fl, "a"), a);
    ck_assert_uint_eq(flight_name(&fl, ""), 0);
    memset(text, 'n', sizeof text);
    text[sizeof text - 1] = '\0';
    a = flight_name(&fl, text);
    ck_assert_uint_eq(flight_name(&fl, text), a);
    ck_assert_uint_eq(flight_log_name(look(), a).n, FLIGHT_NAME_SIZE - 1);
    for (int i = 0; i < FLIGHT_NAMES; i++) {
        snprintf(text, sizeof text, "name %d", i);
        a = flight_name(&fl, text);
    }
    ck_assert(slice_eq(flight_log_name(look(), a), SLICE("?")));
    ck_assert(slice_eq(flight_log_name(lg, b), SLICE("b")));
    ck_assert_uint_eq(flight_name(&fl, "b"), b);
    end();
}
END_TEST

START_TEST(events_wrap_and_are_cut)
{
    char text[400];

    begin();
    for (int i = 1; i <= 300; i++)
        flight_event(&fl, "event %d", i);
    ck_assert_uint_eq(look()->events.n, FLIGHT_EVENTS);
    ck_assert_str_eq(lg->events.v[0].text, "event 173");
    ck_assert_str_eq(lg->events.v[FLIGHT_EVENTS - 1].text, "event 300");
    memset(text, 'e', sizeof text);
    text[sizeof text - 1] = '\0';
    flight_event(&fl, "%s", text);
    ck_assert_uint_eq(strlen(look()->events.v[FLIGHT_EVENTS - 1].text), 167);
    end();
}
END_TEST

START_TEST(without_memory_nothing_is_recorded)
{
    struct flight none;

    memset(&none, 0, sizeof none);
    for (int i = 0; i < 2; i++) {
        ck_assert_ptr_null(flight_take(&none));
        ck_assert_ptr_null(flight_take_at_end(&none));
        flight_event(&none, "nobody hears it");
        flight_reason(&none, "ok", "ok");
        ck_assert_uint_eq(flight_name(&none, "a"), 0);
        flight_open(&none, NULL);
    }
    flight_close(&none);
    ck_assert_uint_eq(flight_name(NULL, "a"), 0);
}
END_TEST

static void refused(void)
{
    strbuf_clear(&why);
    flight_log_free(&lg);
    lg = flight_log_read(path, &why);
    ck_assert_ptr_null(lg);
    ck_assert_int_eq(errno, EPROTO);
    ck_assert_uint_gt(why.n, 0);
    ck_assert_uint_eq(flight_log_pid(path), 0);
}

START_TEST(what_is_no_such_file_is_refused)
{
    static const off_t sizes[] = { 300000, 8192, 4096, 255, 100, 1, 0 };

    begin();
    finished(opened(1));
    ((struct flight_header *)memory)->layout++;
    refused();
    ((struct flight_header *)memory)->layout--;
    ((struct flight_header *)memory)->byte_order = 0x04030201;
    refused();
    ((struct flight_header *)memory)->byte_order = FLIGHT_BYTE_ORDER;
    look();
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        ck_assert_int_eq(truncate(path, sizes[i]), 0);
        refused();
    }
    unlink(path);
    ck_assert_ptr_null(flight_log_read(path, &why));
    ck_assert_int_eq(errno, ENOENT);
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    refused();
    unlink(path);
    ck_assert_int_eq(symlink("/etc/passwd", path), 0);
    ck_assert_ptr_null(flight_log_read(path, &why));
    end();
}
END_TEST

UNIT_MAIN("flight", what_is_written_is_read, texts_are_cut_without_an_end, ring_wraps,
          table_of_those_in_progress_is_full, half_written_records_are_not_shown,
          reader_beside_a_writer, without_room_it_makes_do, names_are_numbered_once,
          events_wrap_and_are_cut, without_memory_nothing_is_recorded,
          what_is_no_such_file_is_refused)
