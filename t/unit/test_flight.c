/* The flight recorder: what is written comes back, whole or not at all; a damaged file harms
 * nobody; and what rpctl makes of it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "common/core/flight_read.h"
#include "ctl/streams.h"
#include "t/unit/unit.h"

#define WRITES 300000

static char dir[64], path[96];
static struct flight fl;
static void *memory;
static struct strbuf why, out;
static struct flight_log *lg;

static void *make(const char *name, unsigned worker)
{
    int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
    void *p;

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(ftruncate(fd, (off_t)flight_size()), 0);
    p = mmap(NULL, flight_size(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ck_assert_ptr_ne(p, MAP_FAILED);
    close(fd);
    flight_format(p, worker, 1000000);
    return p;
}

static void begin(void)
{
    snprintf(dir, sizeof dir, "/tmp/rpd-flight-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/flight.3", dir);
    strbuf_init(&why);
    strbuf_init(&out);
    memory = make(path, 3);
    flight_open(&fl, memory);
    flight_reason(&fl, "ok", "ok");
    flight_reason(&fl, "client reset", "client");
    flight_reason(&fl, "connect refused", "failure");
}

static void end(void)
{
    flight_log_free(&lg);
    flight_close(&fl);
    munmap(memory, flight_size());
    strbuf_fini(&why);
    strbuf_fini(&out);
    unlink(path);
    rmdir(dir);
}

static struct flight_log *look(void)
{
    flight_log_free(&lg);
    strbuf_clear(&why);
    lg = flight_log_read(path, &why);
    ck_assert_msg(lg != NULL, "%s", why.s);
    return lg;
}

/* A stream known by its number, in progress. */
static void fill(struct flight_record *r, uint64_t n)
{
    char text[32];

    r->kind = FLIGHT_HTTP;
    r->state = FLIGHT_IN_PROGRESS;
    r->end = 0;
    r->flags = 0;
    r->number = 0;
    r->began_us = 1000000 + n;
    r->total_us = r->bytes_in = r->bytes_out = n;
    r->head_us = r->wait_us = r->response_us = n;
    r->status = 200;
    r->retries = r->listener = r->route = r->backend = r->server = 0;
    r->port = (uint16_t)n;
    r->family = AF_INET;
    memcpy(r->ip, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\x01\x02\x03", 16);
    flight_text(r->method, sizeof r->method, SLICE("GET"));
    snprintf(text, sizeof text, "/%llu", (unsigned long long)n);
    flight_text(r->path, sizeof r->path, slice_str(text));
    flight_text(r->request_id, sizeof r->request_id, slice_str(text + 1));
    flight_written(r);
}

static struct flight_record *opened(uint64_t n)
{
    struct flight_record *r = flight_take(&fl);

    ck_assert_ptr_nonnull(r);
    fill(r, n);
    return r;
}

static void finished(struct flight_record *r)
{
    flight_write(r);
    flight_finish(&fl, r);
    flight_written(r);
}

static bool is_stream(const struct flight_record *r, uint64_t n)
{
    char text[32];

    snprintf(text, sizeof text, "/%llu", (unsigned long long)n);
    return strcmp(r->path, text) == 0 && strcmp(r->request_id, text + 1) == 0
           && r->began_us == 1000000 + n && r->bytes_in == n && r->response_us == n
           && r->port == (uint16_t)n;
}

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

/* ---- damage ---- */

static void print_all(void)
{
    struct streams s = { .is_damaged = false };
    const struct stream_filter filters[] = { { false, NULL, 0 }, { true, NULL, 5 },
                                             { false, "all", 3 } };
    bool is_clean = true;
    struct json j;

    for (size_t i = 0; i < 3; i++) {
        streams_add(&s, lg, true, true, 5000000);
        streams_select(&s, &filters[i]);
        strbuf_clear(&out);
        streams_table(&out, &s, false);
        streams_csv(&out, &s);
        json_init(&j, &out);
        streams_json(&j, NULL, &s);
        for (size_t k = 0; k < out.n; k++)
            is_clean &= (unsigned char)out.s[k] >= 0x20 || out.s[k] == '\n';
        s.rows.n = 0;
    }
    ck_assert(is_clean);
    VEC_FREE(&s.rows);
}

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

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

START_TEST(header_may_say_anything)
{
    static const uint32_t values[] = { 0, 1, 7, 255, 4096, 65535, INT32_MAX, UINT32_MAX };
    size_t read = 0, refusals = 0;

    begin();
    for (size_t at = 0; at < sizeof(struct flight_header); at += 4)
        for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
            memset(memory, 0, sizeof(struct flight_header));
            flight_format(memory, 3, 1000000);
            flight_open(&fl, memory);
            flight_reason(&fl, "ok", "ok");
            for (uint64_t n = 1; n <= 20; n++)
                finished(opened(n));
            flight_event(&fl, "event");
            flight_close(&fl);
            memcpy((char *)memory + at, &values[v], 4);
            strbuf_clear(&why);
            lg = flight_log_read(path, &why);
            if (lg)
                print_all();
            *(lg ? &read : &refusals) += 1;
            flight_log_free(&lg);
        }
    ck_assert_uint_gt(read, 100);
    ck_assert_uint_gt(refusals, 100);
    end();
}
END_TEST

START_TEST(records_may_hold_anything)
{
    uint64_t state = 0x9e3779b97f4a7c15;
    size_t shown = 0;

    begin();
    for (uint64_t n = 1; n <= 64; n++)
        finished(opened(n));
    for (int round = 0; round < 200; round++) {
        for (size_t i = 0; i < 64; i++) {
            unsigned char *bytes = (unsigned char *)&fl.records[i];

            for (size_t k = 4; k < sizeof(struct flight_record); k++)
                if (round > 100 || random_next(&state) % 16 == 0)
                    bytes[k] = (unsigned char)random_next(&state);
            fl.records[i].kind %= 3;
            fl.records[i].state %= 4;
        }
        look();
        shown += lg->ended.n + lg->open.n;
        print_all();
    }
    ck_assert_uint_gt(shown, 1000);
    end();
}
END_TEST

START_TEST(control_characters_are_escaped)
{
    struct streams s = { .is_damaged = false };
    struct flight_record *r;

    begin();
    r = opened(1);
    flight_text(r->method, sizeof r->method, SLICE("G\033[31m"));
    flight_text(r->path, sizeof r->path, SLICE("/\r\n\x7f\xff\xc2\x9b" "1\xc3\xa9"));
    finished(r);
    look();
    print_all();
    streams_add(&s, lg, true, true, 5000000);
    strbuf_clear(&out);
    streams_table(&out, &s, false);
    ck_assert_msg(strstr(out.s, "G\\x1b[31m /\\x0d") != NULL, "%s", out.s);
    VEC_FREE(&s.rows);
    strbuf_clear(&out);
    stream_put_text(&out, SLICE("/\r\n\x7f\xff\xc2\x9b" "1\xc3\xa9"));
    ck_assert_str_eq(out.s, "/\\x0d\\x0a\\x7f\\xff\\xc2\\x9b1\xc3\xa9");
    end();
}
END_TEST

/* ---- what is shown ---- */

static struct flight_record *selected(const struct streams *s, size_t i)
{
    ck_assert_uint_lt(i, s->rows.n);
    return &((struct flight_record *)(uintptr_t)s->rows.v[i].record)[0];
}

START_TEST(streams_are_filtered_and_merged_by_time)
{
    struct streams s = { .is_damaged = false };
    struct stream_filter f = { .is_errors = false };
    struct flight_log *other;
    struct flight_record *r;
    char other_path[96];
    struct flight second;
    void *p;

    begin();
    snprintf(other_path, sizeof other_path, "%s/flight.4", dir);
    p = make(other_path, 4);
    flight_open(&second, p);
    flight_reason(&second, "ok", "ok");
    for (uint64_t n = 1; n <= 10; n++) { /* ends at 2 * n */
        r = opened(n);
        r->status = n == 4 ? 500 : 200;
        r->end = n == 6 ? 1 : n == 8 ? 2 : 0;
        r->route = flight_name(&fl, n % 2 ? "odd" : "even");
        finished(r);
    }
    opened(50);
    r = flight_take(&second);
    fill(r, 5);
    r->total_us = 6; /* between 5 and 6 of the other */
    flight_finish(&second, r);
    other = flight_log_read(other_path, &why);
    ck_assert_ptr_nonnull(other);
    look();

    streams_add(&s, lg, true, true, 5000000);
    streams_add(&s, other, true, true, 5000000);
    streams_select(&s, &f);
    ck_assert_uint_eq(s.rows.n, 12);
    ck_assert_uint_eq(s.rows.v[5].log->worker, 4);
    ck_assert_uint_eq(selected(&s, 6)->bytes_in, 6);
    ck_assert_uint_eq(selected(&s, 11)->bytes_in, 50);
    ck_assert_uint_eq(s.rows.v[11].lasted_us, 5000000 - 1000050);
    f.most = 3;
    streams_select(&s, &f);
    ck_assert_uint_eq(s.rows.n, 4);
    ck_assert_uint_eq(selected(&s, 0)->bytes_in, 8);

    s.rows.n = 0;
    streams_add(&s, lg, true, true, 5000000);
    f = (struct stream_filter){ .is_errors = true };
    streams_select(&s, &f);
    ck_assert_uint_eq(s.rows.n, 3);
    for (size_t i = 0; i < 3; i++)
        ck_assert_uint_eq(selected(&s, i)->bytes_in, 4 + 2 * i);
    f = (struct stream_filter){ .is_errors = true, .route = "odd" };
    streams_select(&s, &f);
    ck_assert_uint_eq(s.rows.n, 0);
    streams_add(&s, lg, false, true, 5000000);
    f = (struct stream_filter){ .route = "odd" };
    streams_select(&s, &f);
    ck_assert_uint_eq(s.rows.n, 5);
    VEC_FREE(&s.rows);
    flight_log_free(&other);
    flight_close(&second);
    munmap(p, flight_size());
    unlink(other_path);
    end();
}
END_TEST

START_TEST(failures_have_the_colours_of_other_commands)
{
    static const char *const ends[] = { "  ok  ", "\033[33mclient reset\033[0m",
                                        "\033[1;31mconnect refused\033[0m" };
    struct streams s = { .is_damaged = false };
    struct flight_record *r;

    begin();
    for (uint8_t end_reason = 0; end_reason < 3; end_reason++) {
        r = opened(1 + end_reason);
        r->end = end_reason;
        r->status = end_reason == 2 ? 503 : 200;
        finished(r);
    }
    opened(9);
    streams_add(&s, look(), true, true, 5000000);
    streams_table(&out, &s, true);
    for (size_t i = 0; i < 3; i++)
        ck_assert_msg(strstr(out.s, ends[i]) != NULL, "%s", out.s);
    ck_assert_ptr_nonnull(strstr(out.s, "\033[1;31m503"));
    ck_assert_ptr_nonnull(strstr(out.s, "\033[1min progress"));
    VEC_FREE(&s.rows);
    end();
}
END_TEST

START_TEST(only_files_of_workers_are_read)
{
    static const char *const names[] = { "flight.0.new", "flight.x", "flight.", "flight",
                                         "flight.1.old.x", "flights.0", "postmortem.0" };
    struct streams s;
    char text[200];

    begin();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(text, sizeof text, "%s/%s", dir, names[i]);
        munmap(make(text, 9), flight_size());
    }
    ck_assert(streams_read(&s, dir, "flight", true, -1));
    ck_assert_uint_eq(s.logs.n, 1);
    ck_assert_uint_eq(s.logs.v[0]->worker, 3);
    ck_assert(!s.is_damaged);
    streams_fini(&s);
    ck_assert(!streams_read(&s, dir, "flight", true, 2));
    streams_fini(&s);
    snprintf(text, sizeof text, "%s/flight.3.old", dir);
    munmap(make(text, 5), flight_size());
    ck_assert(streams_read(&s, dir, "flight", true, 3));
    ck_assert_uint_eq(s.logs.n, 2);
    streams_fini(&s);
    unlink(text);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(text, sizeof text, "%s/%s", dir, names[i]);
        unlink(text);
    }
    end();
    ck_assert(!streams_read(&s, dir, "flight", true, -1));
    streams_fini(&s);
}
END_TEST

UNIT_MAIN("flight", what_is_written_is_read, texts_are_cut_without_an_end, ring_wraps,
          table_of_those_in_progress_is_full, half_written_records_are_not_shown,
          reader_beside_a_writer, without_room_it_makes_do, names_are_numbered_once, events_wrap_and_are_cut,
          without_memory_nothing_is_recorded, what_is_no_such_file_is_refused,
          header_may_say_anything, records_may_hold_anything, control_characters_are_escaped,
          streams_are_filtered_and_merged_by_time,
          failures_have_the_colours_of_other_commands, only_files_of_workers_are_read)
