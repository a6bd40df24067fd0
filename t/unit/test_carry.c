/* Counts carried from one segment to the next: by name, whatever the old one's tables look like. */
#include "common/core/carry.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "common/core/segment_layout.h"
#include "t/unit/unit.h"

static char dir[64], path[96], next_path[96];
static struct segment *old, *new;

static void setup(void)
{
    snprintf(dir, sizeof dir, "/tmp/rpd-carry-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/old", dir);
    snprintf(next_path, sizeof next_path, "%s/new", dir);
    old = segment_create(path);
    new = segment_create(next_path);
    ck_assert(old && new);
    segment_use_slots(old, 4);
    ck_assert_int_eq(segment_add(old, STATS_route, "r"), 0);
    ck_assert_int_eq(segment_add(old, STATS_server, "b/s"), 0);
}

static void teardown(void)
{
    segment_close(&old);
    segment_close(&new);
    unlink(path);
    unlink(next_path);
    rmdir(dir);
}

static struct carry *open_old(void)
{
    struct carry *c = carry_open(open(path, O_RDWR | O_CLOEXEC));

    ck_assert_ptr_nonnull(c);
    ck_assert_int_eq(carry_objects(c, new), 0);
    return c;
}

static struct stats_route *route(struct segment *seg, unsigned slot)
{
    return STATS_SLOT(seg, route, "r", slot);
}

START_TEST(those_that_ended_are_added_up)
{
    struct carry *c;

    for (unsigned slot = 0; slot < 3; slot++) {
        stat_set(&route(old, slot)->status_2xx, 10 + slot);
        stat_set(&route(old, slot)->active, 5);
        histogram_add(&route(old, slot)->latency, 100 << slot);
    }
    c = open_old();
    ck_assert_uint_eq(carry_slots(c), 4);
    for (unsigned slot = 0; slot < 4; slot++)
        carry_slot(c, slot, new, 7, CARRY_ADD);
    ck_assert_uint_eq(route(new, 7)->status_2xx, 33);
    ck_assert_uint_eq(route(new, 7)->active, 0);
    ck_assert_uint_eq(route(new, 7)->latency.count, 3);
    ck_assert_uint_eq(route(new, 7)->latency.sum, 700);
    ck_assert_uint_eq(route(new, 7)->latency.max, 400);
    ck_assert_uint_eq(route(new, 7)->latency.bucket[histogram_bucket(200)], 1);
    carry_unref(&c);
    ck_assert_ptr_null(c);
}
END_TEST

START_TEST(one_that_lives_is_followed)
{
    struct carry *c;

    stat_set(&route(old, 1)->status_2xx, 3);
    c = open_old();
    for (unsigned n = 0; n < 3; n++) {
        stat_set(&route(old, 1)->status_2xx, 10 * n);
        stat_set(&route(old, 1)->active, n);
        histogram_add(&route(old, 1)->latency, 5);
        carry_slot(c, 1, new, 2, CARRY_COPY);
        ck_assert_uint_eq(route(new, 2)->status_2xx, 10 * n);
        ck_assert_uint_eq(route(new, 2)->active, n);
        ck_assert_uint_eq(route(new, 2)->latency.count, n + 1);
        ck_assert_uint_eq(route(new, 2)->latency.bucket[5], n + 1);
    }
    stat_inc(&route(old, 1)->status_2xx);
    carry_slot(c, 1, new, 2, CARRY_LAST);
    ck_assert_uint_eq(route(new, 2)->status_2xx, 21);
    ck_assert_uint_eq(route(new, 2)->active, 0);
    carry_unref(&c);
}
END_TEST

START_TEST(shared_parts_go_there_and_wishes_back)
{
    struct stats_server_shared *was = STATS_SHARED(old, server, "b/s"), *is;
    struct stats_rpd_shared *rpd = STATS_SHARED(old, rpd, "rpd");
    struct carry *c;

    stat_set(&was->admin, ADMIN_DRAIN);
    stat_set(&was->weight, 7);
    strcpy(was->address, "127.0.0.1:80");
    stat_set(&rpd->reloads, 12);
    stat_set(&rpd->generation, 13);
    c = open_old();
    ck_assert_uint_eq(carry_rpd(c, "generation"), 13);
    ck_assert_uint_eq(carry_rpd(c, "nonsense"), 0);
    carry_shared(c, new);
    is = STATS_SHARED(new, server, "b/s");
    ck_assert_uint_eq(is->admin, ADMIN_DRAIN);
    ck_assert_uint_eq(is->weight, 7);
    ck_assert_str_eq(is->address, "127.0.0.1:80");
    ck_assert_uint_eq(STATS_SHARED(new, rpd, "rpd")->reloads, 12);
    stat_set(&is->admin, ADMIN_READY);
    stat_set(&is->weight, 9);
    strcpy(is->address, "127.0.0.1:81");
    carry_back(c, new);
    ck_assert_uint_eq(was->admin, ADMIN_READY);
    ck_assert_uint_eq(was->weight, 9);
    ck_assert_str_eq(was->address, "127.0.0.1:80");
    carry_unref(&c);
}
END_TEST

START_TEST(pids_say_who_counts_where)
{
    struct carry *c;

    stat_set(&STATS_SLOT(old, worker, "worker", 2)->pid, 4711);
    c = open_old();
    ck_assert_uint_eq(carry_pid(c, 2), 4711);
    ck_assert_uint_eq(carry_pid(c, 1), 0);
    carry_unref(&c);
}
END_TEST

/* In the old one's schema text, as far as the first `after`: a name of the same length. */
static void rename_field(const char *after, const char *from, const char *to)
{
    static char text[60000];
    int fd = open(path, O_RDWR | O_CLOEXEC);
    struct segment_header h;
    char *at;

    ck_assert_int_eq(pread(fd, &h, sizeof h, 0), sizeof h);
    ck_assert_uint_lt(h.schema_size, sizeof text);
    ck_assert_int_eq(pread(fd, text, h.schema_size, (off_t)h.schema_offset), (int)h.schema_size);
    text[h.schema_size] = '\0';
    at = strstr(text, after);
    ck_assert_ptr_nonnull(at);
    at = strstr(at, from);
    ck_assert_ptr_nonnull(at);
    memcpy(at, to, strlen(to));
    ck_assert_int_eq(pwrite(fd, text, h.schema_size, (off_t)h.schema_offset), (int)h.schema_size);
    close(fd);
}

START_TEST(other_tables_are_met_by_name)
{
    struct carry *c;

    stat_set(&route(old, 0)->status_2xx, 2);
    stat_set(&route(old, 0)->status_3xx, 3);
    stat_set(&route(old, 0)->bytes_in, 4);
    stat_set(&STATS_SLOT(old, worker, "worker", 0)->requests, 5);
    rename_field("field\troute", "status_2xx", "status_qxx");
    rename_field("field\troute", "status_3xx", "status_2xx");
    rename_field("field\troute\tslot\tCOUNTER\tbytes_in", "bytes_in", "bites_in");
    c = open_old();
    carry_slot(c, 0, new, 0, CARRY_ADD);
    ck_assert_uint_eq(route(new, 0)->status_2xx, 3);
    ck_assert_uint_eq(route(new, 0)->status_3xx, 0);
    ck_assert_uint_eq(route(new, 0)->bytes_in, 0);
    ck_assert_uint_eq(STATS_SLOT(new, worker, "worker", 0)->requests, 5);
    carry_unref(&c);
}
END_TEST

START_TEST(what_is_no_segment_is_refused)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);

    ck_assert_int_eq(pwrite(fd, "nonsense", 8, 0), 8);
    ck_assert_ptr_null(carry_open(fd));
    ck_assert_int_eq(errno, EPROTO);
    ck_assert_int_eq(fcntl(fd, F_GETFD), -1);
    fd = open(path, O_RDWR | O_CLOEXEC | O_TRUNC);
    ck_assert_ptr_null(carry_open(fd));
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        those_that_ended_are_added_up, one_that_lives_is_followed,
        shared_parts_go_there_and_wishes_back, pids_say_who_counts_where,
        other_tables_are_met_by_name, what_is_no_segment_is_refused,
    };
    Suite *suite = suite_create("carry");
    TCase *tcase = tcase_create("carry");

    tcase_set_timeout(tcase, UNIT_TIMEOUT_S);
    tcase_add_checked_fixture(tcase, setup, teardown);
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++)
        tcase_add_test(tcase, tests[i]);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
