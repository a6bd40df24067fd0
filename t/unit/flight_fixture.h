/* A flight recorder's file and its writer: for the tests of flight and of rpctl's view of it. */
#ifndef RPD_UNIT_FLIGHT_FIXTURE_H
#define RPD_UNIT_FLIGHT_FIXTURE_H

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "common/core/flight_read.h"
#include "t/unit/unit.h"

static char dir[64], path[96];
static struct flight fl;
static void *memory;
static struct strbuf why, out;
static struct flight_log *lg;

static inline void *make(const char *name, unsigned worker)
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

static inline void begin(void)
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

static inline void end(void)
{
    flight_log_free(&lg);
    flight_close(&fl);
    munmap(memory, flight_size());
    strbuf_fini(&why);
    strbuf_fini(&out);
    unlink(path);
    rmdir(dir);
}

static inline struct flight_log *look(void)
{
    flight_log_free(&lg);
    strbuf_clear(&why);
    lg = flight_log_read(path, &why);
    ck_assert_msg(lg != NULL, "%s", why.s);
    return lg;
}

/* A stream known by its number, in progress. */
static inline void fill(struct flight_record *r, uint64_t n)
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

static inline struct flight_record *opened(uint64_t n)
{
    struct flight_record *r = flight_take(&fl);

    ck_assert_ptr_nonnull(r);
    fill(r, n);
    return r;
}

static inline void finished(struct flight_record *r)
{
    flight_write(r);
    flight_finish(&fl, r);
    flight_written(r);
}

static inline bool is_stream(const struct flight_record *r, uint64_t n)
{
    char text[32];

    snprintf(text, sizeof text, "/%llu", (unsigned long long)n);
    return strcmp(r->path, text) == 0 && strcmp(r->request_id, text + 1) == 0
           && r->began_us == 1000000 + n && r->bytes_in == n && r->response_us == n
           && r->port == (uint16_t)n;
}

#endif
