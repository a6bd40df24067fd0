/* The segment: objects by name, growth under inherited mappings, workers' deaths, and files that
 * are no segment. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "common/core/segment_layout.h"
#include "common/core/stats.h"
#include "t/unit/unit.h"

#define ROUNDS 200000

static char dir[64];
static char path[96];

static void setup(void)
{
    snprintf(dir, sizeof dir, "/tmp/rpd-segment-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/stats", dir);
}

static void teardown(void)
{
    unlink(path);
    rmdir(dir);
}

START_TEST(test_create_makes_the_fixed_objects)
{
    struct segment *seg = segment_create(path);
    struct stat st;

    ck_assert_ptr_nonnull(seg);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0644);
    ck_assert_uint_lt(st.st_blocks * 512u, 1u << 20);
    ck_assert_ptr_nonnull(STATS_SHARED(seg, rpd, "rpd"));
    ck_assert_ptr_nonnull(STATS_SLOT(seg, worker, "worker", 255));
    ck_assert_ptr_null(segment_slot(seg, STATS_rpd, "rpd", 0));
    ck_assert_ptr_null(segment_shared(seg, STATS_worker, "worker"));
    ck_assert_ptr_null(segment_slot(seg, STATS_route, "a", 0));
    segment_close(&seg);
    ck_assert_ptr_null(seg);
    segment_close(&seg);
}
END_TEST

START_TEST(test_a_peek_sees_only_what_was_written)
{
    struct segment *seg = segment_create(path);

    ck_assert_ptr_nonnull(seg);
    ck_assert_ptr_null(segment_peek(seg, STATS_route, "a", 0));
    ck_assert_int_eq(segment_add(seg, STATS_route, "a"), 0);
    ck_assert_ptr_null(segment_peek(seg, STATS_route, "a", 7));
    stat_inc(&STATS_SLOT(seg, route, "a", 7)->requests_total);
    ck_assert_ptr_eq(segment_peek(seg, STATS_route, "a", 7), STATS_SLOT(seg, route, "a", 7));
    ck_assert_ptr_null(segment_peek(seg, STATS_route, "a", 8));
    segment_close(&seg);
}
END_TEST

START_TEST(test_a_directory_that_is_not_there)
{
    ck_assert_ptr_null(segment_create("/nonexistent/stats"));
    ck_assert_int_eq(errno, ENOENT);
    ck_assert_ptr_null(segment_open("/nonexistent/stats"));
    ck_assert_int_eq(errno, ENOENT);
}
END_TEST

START_TEST(test_add_finds_by_kind_and_name)
{
    struct segment *seg = segment_create(path);
    struct stats_route *a;
    char name[STATS_NAME_MAX + 1];

    ck_assert_int_eq(segment_add(seg, STATS_route, "a"), 0);
    a = STATS_SLOT(seg, route, "a", 3);
    stat_set(&a->requests_total, 7);
    ck_assert_int_eq(segment_add(seg, STATS_backend, "a"), 0);
    ck_assert_int_eq(segment_add(seg, STATS_route, "a"), 0);
    ck_assert_ptr_eq(STATS_SLOT(seg, route, "a", 3), a);
    ck_assert_uint_eq(STATS_SLOT(seg, backend, "a", 3)->requests_total, 0);
    ck_assert_uint_eq((uintptr_t)a % 64, 0);
    ck_assert_ptr_eq((char *)a + segment_stride(STATS_route), STATS_SLOT(seg, route, "a", 4));
    memset(name, 'n', sizeof name);
    name[STATS_NAME_MAX] = '\0';
    ck_assert_int_eq(segment_add(seg, STATS_route, name), -1);
    ck_assert_int_eq(errno, ENAMETOOLONG);
    name[STATS_NAME_MAX - 1] = '\0';
    ck_assert_int_eq(segment_add(seg, STATS_route, name), 0);
    ck_assert_ptr_nonnull(STATS_SLOT(seg, route, name, 0));
    segment_close(&seg);
}
END_TEST

#define LINE 64
#define OBJECTS 100

static void add_lines(uintptr_t *lines, size_t *n, const void *record, size_t size)
{
    for (uintptr_t at = (uintptr_t)record / LINE; at <= ((uintptr_t)record + size - 1) / LINE; at++)
        lines[(*n)++] = at;
}

static int compare_lines(const void *a, const void *b)
{
    uintptr_t x = *(const uintptr_t *)a, y = *(const uintptr_t *)b;

    return (x > y) - (x < y);
}

/* All that a worker writes while it serves are its slots' records (and its own memory): so no line
 * goes to and fro between two processors, and records of one worker do not share one either. */
START_TEST(test_no_cache_line_belongs_to_two_records)
{
    static const enum stats_kind kinds[] = { STATS_listener, STATS_route, STATS_backend,
                                             STATS_server };
    static const size_t sizes[] = { sizeof(struct stats_listener), sizeof(struct stats_route),
                                    sizeof(struct stats_backend), sizeof(struct stats_server) };
    static uintptr_t lines[4 * OBJECTS * 2 * 80];
    struct segment *seg = segment_create(path);
    size_t n = 0;

    for (size_t k = 0; k < 4; k++) {
        for (unsigned i = 0; i < OBJECTS; i++) {
            char name[32];

            snprintf(name, sizeof name, "b/%u", i);
            ck_assert_int_eq(segment_add(seg, kinds[k], name), 0);
            for (unsigned slot = 0; slot < 2; slot++)
                add_lines(lines, &n, segment_slot(seg, kinds[k], name, slot), sizes[k]);
        }
    }
    for (unsigned slot = 0; slot < 2; slot++)
        add_lines(lines, &n, STATS_SLOT(seg, worker, "worker", slot), sizeof(struct stats_worker));
    ck_assert_uint_le(n, sizeof lines / sizeof lines[0]);
    qsort(lines, n, sizeof lines[0], compare_lines);
    for (size_t i = 1; i < n; i++)
        ck_assert_uint_ne(lines[i - 1], lines[i]);
    segment_close(&seg);
}
END_TEST

START_TEST(test_slots)
{
    struct segment *seg = segment_create(path);

    ck_assert_uint_eq(segment_slots(seg), 0);
    segment_use_slots(seg, 4);
    segment_use_slots(seg, 2);
    ck_assert_uint_eq(segment_slots(seg), 4);
    segment_close(&seg);
}
END_TEST

/* Every record of a segment that has grown by thousands keeps what was written to it, so no two
 * overlap; and the pointers of before still hold. */
START_TEST(test_growth)
{
    static const unsigned slots[] = { 0, 1, 255 };
    struct segment *seg = segment_create(path);
    struct stats_server *first;
    char name[32];

    segment_add(seg, STATS_server, "b/first");
    first = STATS_SLOT(seg, server, "b/first", 1);
    for (unsigned i = 0; i < 2000; i++) {
        snprintf(name, sizeof name, "b/%u", i);
        ck_assert_int_eq(segment_add(seg, i % 2 ? STATS_server : STATS_route, name), 0);
    }
    ck_assert_ptr_eq(STATS_SLOT(seg, server, "b/first", 1), first);
    for (unsigned i = 0; i < 2000; i++) {
        snprintf(name, sizeof name, "b/%u", i);
        for (unsigned k = 0; k < 3; k++) {
            if (i % 2 == 0)
                STATS_SLOT(seg, route, name, slots[k])->requests_total = i * 10 + k;
            else
                STATS_SLOT(seg, server, name, slots[k])->latency.bucket[463] = i * 10 + k;
        }
    }
    for (unsigned i = 0; i < 2000; i++) {
        snprintf(name, sizeof name, "b/%u", i);
        for (unsigned k = 0; k < 3; k++)
            ck_assert_uint_eq(i * 10 + k,
                              i % 2 == 0 ? STATS_SLOT(seg, route, name, slots[k])->requests_total
                                         : STATS_SLOT(seg, server, name, slots[k])
                                               ->latency.bucket[463]);
    }
    ck_assert_uint_eq(first->requests_total, 0);
    segment_close(&seg);
}
END_TEST

START_TEST(test_the_directory_has_an_end)
{
    struct segment *seg = segment_create(path);
    char name[32];
    int r = 0, n = 0;

    /* Listeners are the smallest: the directory ends before the space does. */
    for (; r == 0; n++) {
        snprintf(name, sizeof name, "l%d", n);
        r = segment_add(seg, STATS_listener, name);
    }
    ck_assert_int_eq(errno, ENOSPC);
    ck_assert_int_eq(n, 65536 - 2 + 1);
    ck_assert_ptr_nonnull(STATS_SLOT(seg, listener, "l65533", 255));
    ck_assert_ptr_null(STATS_SLOT(seg, listener, "l65534", 0));
    ck_assert_int_eq(segment_add(seg, STATS_listener, "l7"), 0);
    segment_close(&seg);
}
END_TEST

/* A worker's life: counts what it finds, then what the master added after the fork. */
static void worker(struct segment *seg, unsigned slot, int go)
{
    struct stats_route *r = STATS_SLOT(seg, route, "early", slot);
    char c;

    for (uint64_t i = 0; i < ROUNDS; i++) {
        stat_inc(&r->requests_total);
        histogram_add(&r->latency, i % 100000);
    }
    if (read(go, &c, 1) != 1)
        _exit(2);
    r = STATS_SLOT(seg, route, "late", slot);
    if (!r)
        _exit(3);
    stat_add(&r->requests_total, slot + 1);
    segment_close(&seg);
    _exit(0);
}

START_TEST(test_two_workers_count_while_the_parent_reads)
{
    struct segment *seg = segment_create(path);
    uint64_t sum, last = 0;
    struct stats_route *early;
    char name[32];
    int go[2], status;
    pid_t pids[2];

    segment_use_slots(seg, 2);
    segment_add(seg, STATS_route, "early");
    ck_assert_int_eq(pipe(go), 0);
    for (unsigned i = 0; i < 2; i++)
        if ((pids[i] = fork()) == 0)
            worker(seg, i, go[0]);
    early = STATS_SLOT(seg, route, "early", 0);
    do {
        struct stats_route *second = STATS_SLOT(seg, route, "early", 1);

        sum = stat_get(&early->requests_total) + stat_get(&second->requests_total);
        ck_assert_uint_ge(sum, last);
        last = sum;
    } while (sum < 2 * ROUNDS);
    for (int i = 0; i < 3000; i++) { /* several chunks */
        snprintf(name, sizeof name, "r%d", i);
        ck_assert_int_eq(segment_add(seg, STATS_route, name), 0);
    }
    ck_assert_int_eq(segment_add(seg, STATS_route, "late"), 0);
    ck_assert_int_eq(write(go[1], "xx", 2), 2);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(waitpid(pids[i], &status, 0), pids[i]);
        ck_assert_int_eq(status, 0);
    }
    ck_assert_uint_eq(STATS_SLOT(seg, route, "late", 0)->requests_total, 1);
    ck_assert_uint_eq(STATS_SLOT(seg, route, "late", 1)->requests_total, 2);
    ck_assert_uint_eq(early->latency.count, ROUNDS);
    close(go[0]);
    close(go[1]);
    segment_close(&seg);
}
END_TEST

START_TEST(test_a_dead_worker_keeps_counts_and_loses_gauges)
{
    struct segment *seg = segment_create(path);
    struct stats_worker *w = STATS_SLOT(seg, worker, "worker", 1);
    struct stats_worker *other = STATS_SLOT(seg, worker, "worker", 0);
    struct stats_server *s;

    segment_add(seg, STATS_server, "b/s");
    segment_add(seg, STATS_server, "b/t");
    s = STATS_SLOT(seg, server, "b/s", 1);
    stat_set(&w->pid, 100);
    stat_set(&w->state, WORKER_RUNNING);
    stat_set(&w->connections, 5);
    stat_set(&w->requests, 6);
    stat_set(&other->connections, 8);
    stat_set(&s->active, 3);
    stat_set(&s->requests_total, 9);
    STATS_SHARED(seg, server, "b/s")->state = SERVER_UP;
    segment_worker_died(seg, 1);
    ck_assert_uint_eq(w->pid, 0);
    ck_assert_uint_eq(w->state, WORKER_GONE);
    ck_assert_uint_eq(w->connections, 0);
    ck_assert_uint_eq(w->requests, 6);
    ck_assert_uint_eq(other->connections, 8);
    ck_assert_uint_eq(s->active, 0);
    ck_assert_uint_eq(s->requests_total, 9);
    ck_assert_uint_eq(STATS_SHARED(seg, server, "b/s")->state, SERVER_UP);
    segment_close(&seg);
}
END_TEST

static int is_used(const char *name)
{
    struct segment_header h;
    struct segment_entry e;
    int fd = open(path, O_RDONLY), used = -1;

    ck_assert_int_eq(pread(fd, &h, sizeof h, 0), sizeof h);
    for (uint64_t i = 0; i < h.count; i++) {
        off_t at = (off_t)(h.directory_offset + i * h.entry_size);

        ck_assert_int_eq(pread(fd, &e, sizeof e, at), sizeof e);
        if (strcmp(e.name, name) == 0)
            used = (int)e.is_used;
    }
    close(fd);
    return used;
}

START_TEST(test_names_that_a_reload_drops_come_back)
{
    struct segment *seg = segment_create(path);

    segment_add(seg, STATS_route, "keep");
    segment_add(seg, STATS_route, "drop");
    STATS_SLOT(seg, route, "drop", 0)->requests_total = 4;
    segment_mark_begin(seg);
    segment_add(seg, STATS_route, "keep");
    segment_add(seg, STATS_route, "new");
    segment_mark_end(seg);
    ck_assert_int_eq(is_used("keep"), 1);
    ck_assert_int_eq(is_used("new"), 1);
    ck_assert_int_eq(is_used("drop"), 0);
    ck_assert_int_eq(is_used("rpd"), 1);
    ck_assert_int_eq(is_used("worker"), 1);
    ck_assert_int_eq(segment_add(seg, STATS_route, "drop"), 0);
    ck_assert_int_eq(is_used("drop"), 1);
    ck_assert_uint_eq(STATS_SLOT(seg, route, "drop", 0)->requests_total, 4);
    segment_close(&seg);
}
END_TEST

START_TEST(test_reopen_read_only)
{
    struct segment *seg = segment_create(path), *reader;

    segment_use_slots(seg, 3);
    segment_add(seg, STATS_route, "a");
    STATS_SLOT(seg, route, "a", 2)->requests_total = 11;
    reader = segment_open(path);
    ck_assert_ptr_nonnull(reader);
    ck_assert_uint_eq(segment_slots(reader), 3);
    ck_assert_uint_eq(STATS_SLOT(reader, route, "a", 2)->requests_total, 11);
    stat_inc(&STATS_SLOT(seg, route, "a", 2)->requests_total);
    ck_assert_uint_eq(STATS_SLOT(reader, route, "a", 2)->requests_total, 12);
    /* What was added within the file's size is seen. */
    segment_add(seg, STATS_route, "b");
    ck_assert_ptr_nonnull(STATS_SLOT(reader, route, "b", 0));
    segment_close(&reader);
    segment_close(&seg);
}
END_TEST

START_TEST(test_a_new_segment_takes_the_name)
{
    struct segment *old = segment_create(path), *seg, *reader;

    segment_add(old, STATS_route, "a");
    seg = segment_create(path);
    reader = segment_open(path);
    ck_assert_ptr_null(STATS_SLOT(reader, route, "a", 0));
    ck_assert_ptr_nonnull(STATS_SLOT(old, route, "a", 0));
    segment_close(&reader);
    segment_close(&seg);
    segment_close(&old);
}
END_TEST

static void put(const char *bytes, size_t n, off_t at)
{
    int fd = open(path, O_RDWR | O_CREAT, 0644);

    ck_assert_int_eq(pwrite(fd, bytes, n, at), n);
    close(fd);
}

static void refused(void)
{
    errno = 0;
    ck_assert_ptr_null(segment_open(path));
    ck_assert_int_eq(errno, EPROTO);
}

START_TEST(test_files_that_are_no_segment)
{
    struct segment *seg, *reader;

    put("", 0, 0);
    refused();
    put("not a segment, but long enough to hold its header: .............................."
        "...............................................................................", 150, 0);
    refused();
    for (off_t at = 0; at < 72; at += 8) {
        seg = segment_create(path);
        segment_close(&seg);
        put("\xff\xff\xff\xff\xff\xff\xff\xff", 8, at);
        refused();
    }
    seg = segment_create(path);
    put("X", 1, 4096); /* another schema */
    refused();
    segment_close(&seg);
    seg = segment_create(path);
    ck_assert_int_eq(truncate(path, 5000), 0);
    refused();
    /* Cut behind the directory: what is gone is not there, and nobody dies of it. */
    segment_close(&seg);
    seg = segment_create(path);
    segment_add(seg, STATS_route, "a");
    segment_close(&seg);
    ck_assert_int_eq(truncate(path, 16 << 20), 0);
    reader = segment_open(path);
    ck_assert_ptr_nonnull(reader);
    ck_assert_ptr_null(STATS_SLOT(reader, route, "a", 0));
    ck_assert_ptr_null(STATS_SHARED(reader, rpd, "rpd"));
    segment_close(&reader);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("segment");
    TCase *tcase = tcase_create("segment");
    const TTest *const tests[] = {
        test_create_makes_the_fixed_objects, test_a_directory_that_is_not_there,
        test_add_finds_by_kind_and_name, test_no_cache_line_belongs_to_two_records, test_slots,
        test_growth, test_the_directory_has_an_end,
        test_two_workers_count_while_the_parent_reads,
        test_a_peek_sees_only_what_was_written, test_a_dead_worker_keeps_counts_and_loses_gauges,
        test_names_that_a_reload_drops_come_back, test_reopen_read_only,
        test_a_new_segment_takes_the_name, test_files_that_are_no_segment,
    };

    tcase_set_timeout(tcase, UNIT_TIMEOUT_S);
    tcase_add_checked_fixture(tcase, setup, teardown);
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        tcase_add_test(tcase, tests[i]);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
