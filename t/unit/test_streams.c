/* What rpctl makes of flight recorders: damaged ones harm nobody, filters, order, forms. */
#include "ctl/streams.h"
#include "t/unit/flight_fixture.h"

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

UNIT_MAIN("streams", header_may_say_anything, records_may_hold_anything,
          control_characters_are_escaped, streams_are_filtered_and_merged_by_time,
          failures_have_the_colours_of_other_commands, only_files_of_workers_are_read)
