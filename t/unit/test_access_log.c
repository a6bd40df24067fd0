/* Access log lines: whole, cut where they must be, never waited for; JSON whatever bytes come. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "common/base/fd.h"
#include "t/unit/unit.h"
#include "worker/proxy/access_log.h"

static struct loop loop;
static struct access_log lg;
static uint64_t dropped;
static struct arena arena;
static struct head head;
static struct vars vars;
static int out; /* where what was logged can be read */
static char got[1 << 20];
static const struct conf_log_format_value combined = { .how = CONF_FORMAT_COMBINED };
static const struct conf_log_format_value json = { .how = CONF_FORMAT_JSON };

static void begin(void)
{
    ck_assert_int_eq(loop_init(&loop), 0);
    dropped = 0;
    access_log_init(&lg, &loop, &dropped);
    arena_init(&arena, NULL);
    head_init(&head, &arena);
    head.method_text = SLICE("GET");
    head.path = SLICE("/x");
    head.minor = 1;
    vars = (struct vars){ .request = &head, .status = 200, .bytes_out = 5, .duration_us = 1500,
                          .response_us = UINT64_MAX, .connect_us = UINT64_MAX };
    ck_assert(ip_parse(SLICE("192.0.2.7"), &vars.client));
}

static void end(void)
{
    access_log_fini(&lg);
    loop_fini(&loop);
    arena_reset(&arena);
    fd_close(&out);
}

static void field(const char *name, struct slice value)
{
    struct slice n = slice_str(name);

    ck_assert(fields_add(&head.fields, field_lookup(n), n, value));
}

static void begin_file(void)
{
    begin();
    out = open("/tmp", O_TMPFILE | O_RDWR, 0600);
    ck_assert_int_ge(out, 0);
    access_log_open(&lg, CONF_LOG_FILE, dup(out));
}

static void begin_pipe(void)
{
    int fds[2];

    begin();
    ck_assert_int_eq(pipe(fds), 0);
    out = fds[0];
    ck_assert_int_eq(fd_nonblock(out), 0);
    access_log_open(&lg, CONF_LOG_STDOUT, fds[1]);
}

/* Runs a batch, then reads all there is. */
static struct slice read_out(void)
{
    size_t n = 0;
    ssize_t r;

    ck_assert_int_eq(loop_once(&loop, 0), 0);
    lseek(out, 0, SEEK_SET);
    while ((r = read(out, got + n, sizeof got - n)) > 0)
        n += (size_t)r;
    return slice_of(got, n);
}

static size_t lines(struct slice s)
{
    size_t n = 0;

    for (size_t i = 0; i < s.n; i++)
        n += s.p[i] == '\n';
    return n;
}

START_TEST(a_combined_line)
{
    struct slice s;

    begin_file();
    field("User-Agent", SLICE("a \"b\" \\ \t\xff"));
    access_log_line(&lg, &combined, &vars);
    s = read_out();
    ck_assert_uint_eq(lines(s), 1);
    ck_assert_ptr_eq(strstr(got, "192.0.2.7 - - ["), got);
    ck_assert(slice_ends(s, SLICE("] \"GET /x HTTP/1.1\" 200 5 \"-\" "
                                  "\"a \\x22b\\x22 \\x5c \\x09\\xff\"\n")));
    end();
}
END_TEST

/* Nothing is written before the batch's end, and then all at once. */
START_TEST(lines_of_a_batch_go_together)
{
    begin_file();
    for (unsigned i = 0; i < 100; i++)
        access_log_line(&lg, &combined, &vars);
    ck_assert_int_eq(lseek(out, 0, SEEK_END), 0);
    ck_assert_uint_eq(lines(read_out()), 100);
    for (unsigned i = 0; i < 5000; i++)
        access_log_line(&lg, &combined, &vars);
    ck_assert_uint_eq(lines(read_out()), 5100);
    ck_assert_uint_eq(dropped, 0);
    end();
}
END_TEST

START_TEST(a_new_target_gets_no_old_lines)
{
    int second = open("/tmp", O_TMPFILE | O_RDWR, 0600);

    begin_file();
    access_log_line(&lg, &combined, &vars);
    access_log_open(&lg, CONF_LOG_FILE, dup(second));
    access_log_line(&lg, &combined, &vars);
    access_log_line(&lg, &combined, &vars);
    ck_assert_uint_eq(lines(read_out()), 1);
    fd_close(&out);
    out = second;
    ck_assert_uint_eq(lines(read_out()), 2);
    end();
}
END_TEST

/* No request is too long to be logged. */
START_TEST(long_values_are_cut)
{
    static char big[60000];

    begin_file();
    memset(big, '"', sizeof big);
    head.path = slice_of(big, sizeof big);
    field("User-Agent", slice_of(big, sizeof big));
    field("Referer", slice_of(big, sizeof big));
    access_log_line(&lg, &combined, &vars);
    access_log_line(&lg, &json, &vars);
    ck_assert_uint_eq(lines(read_out()), 2);
    ck_assert_uint_eq(dropped, 0);
    end();
    begin_pipe();
    head.path = slice_of(big, sizeof big);
    field("User-Agent", slice_of(big, sizeof big));
    access_log_line(&lg, &combined, &vars);
    access_log_line(&lg, &json, &vars);
    struct slice s = read_out();
    ck_assert_uint_eq(lines(s), 2);
    ck_assert_uint_le(s.n, 2 * PIPE_BUF);
    ck_assert_uint_eq(dropped, 0);
    end();
}
END_TEST

static void fill(int fd)
{
    char page[PIPE_BUF];

    memset(page, 'f', sizeof page);
    ck_assert_int_eq(fd_nonblock(fd), 0);
    while (write(fd, page, sizeof page) > 0)
        continue;
    ck_assert_int_eq(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK), 0);
}

/* The description is shared and may block: it is not waited for (the unit's time limit ends what
 * waits). What did not fit is counted by the line, and what did is whole. */
START_TEST(a_full_pipe_drops_and_counts)
{
    struct slice s;
    size_t n;

    begin_pipe();
    fill(lg.fd);
    for (unsigned i = 0; i < 10; i++)
        access_log_line(&lg, &combined, &vars);
    s = read_out();
    ck_assert_uint_eq(dropped, 10);
    ck_assert_uint_eq(lines(s), 0);
    for (unsigned i = 0; i < 20000; i++) /* far more than a pipe holds */
        access_log_line(&lg, &combined, &vars);
    s = read_out();
    n = lines(s);
    ck_assert_uint_gt(n, 0);
    ck_assert_uint_gt(dropped, 10);
    ck_assert_uint_eq(n + dropped, 20010);
    ck_assert_int_eq(s.p[s.n - 1], '\n');
    for (size_t i = 0; i + 1 < s.n; i++)
        ck_assert(s.p[i] != '\n' || memcmp(s.p + i + 1, "192.0.2.7 ", 10) == 0);
    access_log_line(&lg, &combined, &vars); /* and it goes on */
    ck_assert_uint_eq(lines(read_out()), 1);
    end();
}
END_TEST

/* POLLOUT may have promised room that another worker has taken since. */
START_TEST(a_pipe_with_little_room_is_not_waited_for)
{
    char page[PIPE_BUF];

    begin_pipe();
    fill(lg.fd);
    ck_assert_int_eq(read(out, page, sizeof page), PIPE_BUF); /* one slot */
    for (unsigned i = 0; i < 200; i++)
        access_log_line(&lg, &combined, &vars);
    size_t n = lines(read_out());
    ck_assert_uint_gt(n, 0);
    ck_assert_uint_eq(n + dropped, 200);
    end();
}
END_TEST

START_TEST(a_reader_that_is_gone)
{
    begin_pipe();
    fd_close(&out);
    signal(SIGPIPE, SIG_IGN);
    access_log_line(&lg, &combined, &vars);
    ck_assert_int_eq(loop_once(&loop, 0), 0);
    ck_assert_uint_eq(dropped, 1);
    end();
}
END_TEST

START_TEST(a_socket)
{
    int fds[2];
    size_t n;

    begin();
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    out = fds[0];
    ck_assert_int_eq(fd_nonblock(out), 0);
    access_log_open(&lg, CONF_LOG_STDOUT, fds[1]);
    for (unsigned i = 0; i < 20000; i++)
        access_log_line(&lg, &combined, &vars);
    n = lines(read_out());
    ck_assert_uint_gt(n, 0);
    ck_assert_uint_gt(dropped, 0);
    ck_assert_uint_eq(n + dropped, 20000);
    end();
}
END_TEST

START_TEST(no_descriptor_to_write_to)
{
    begin();
    access_log_open(&lg, CONF_LOG_FILE, -1);
    access_log_line(&lg, &combined, &vars);
    access_log_flush(&lg);
    ck_assert_uint_eq(dropped, 1);
    out = -1;
    end();
}
END_TEST

START_TEST(a_custom_line)
{
    struct conf_log_format_value f = { .how = CONF_FORMAT_CUSTOM };
    struct strbuf error;
    struct slice s;

    strbuf_init(&error);
    ck_assert(template_parse(&f.value, SLICE("\"$method\" $user_agent $backend"), &error));
    begin_file();
    field("User-Agent", SLICE("a\nb"));
    access_log_line(&lg, &f, &vars);
    s = read_out();
    ck_assert(slice_eq(s, SLICE("\"GET\" a\\x0ab -\n")));
    end();
    template_fini(&f.value);
    strbuf_fini(&error);
}
END_TEST

/* ---- JSON ---- */

/* Enough of RFC 8259 to know a line that is not it. */
static const char *string_end(const char *p)
{
    ck_assert_int_eq(*p, '"');
    for (p++; *p != '"'; p++) {
        size_t n;

        ck_assert_uint_ge((unsigned char)*p, 0x20);
        if (*p == '\\') {
            p++;
            ck_assert_ptr_nonnull(strchr("\"\\/bfnrtu", *p));
            if (*p == 'u')
                for (int i = 0; i < 4; i++)
                    ck_assert_ptr_nonnull(strchr("0123456789abcdefABCDEF", *++p));
            continue;
        }
        n = slice_utf8(slice_of(p, strlen(p)));
        ck_assert_uint_gt(n, 0);
        p += n - 1;
    }
    return p + 1;
}

static unsigned object_members(const char *p)
{
    unsigned n = 0;

    ck_assert_int_eq(*p++, '{');
    for (;; n++) {
        p = string_end(p);
        ck_assert_int_eq(*p++, ':');
        if (*p == '"')
            p = string_end(p);
        else if (strncmp(p, "null", 4) == 0)
            p += 4;
        else
            for (ck_assert(*p >= '0' && *p <= '9'); (*p >= '0' && *p <= '9') || *p == '.'; p++)
                continue;
        if (*p == '}')
            break;
        ck_assert_int_eq(*p++, ',');
    }
    ck_assert_str_eq(p, "}\n");
    return n + 1;
}

START_TEST(json_of_hostile_bytes)
{
    char bytes[255];

    begin_file();
    for (unsigned i = 1; i < 256; i++)
        bytes[i - 1] = (char)i;
    head.path = slice_of(bytes, sizeof bytes);
    field("User-Agent", slice_of(bytes, sizeof bytes));
    field("Referer", SLICE("\xe2\x82")); /* cut in the middle of a character */
    access_log_line(&lg, &json, &vars);
    struct slice s = read_out();
    got[s.n] = '\0';
    ck_assert_uint_gt(object_members(got), 15);
    ck_assert_ptr_nonnull(strstr(got, "\"status\":200,"));
    ck_assert_ptr_nonnull(strstr(got, "\"backend\":null,"));
    ck_assert_ptr_nonnull(strstr(got, "\"response_time\":null,"));
    ck_assert_ptr_nonnull(strstr(got, "\"duration\":0.001,"));
    end();
}
END_TEST

START_TEST(json_of_random_bytes)
{
    char a[300], b[300];
    unsigned seed = 7;

    for (unsigned round = 0; round < 300; round++) {
        begin_file();
        for (unsigned i = 0; i < sizeof a; i++) {
            seed = seed * 1103515245 + 12345;
            a[i] = (char)(seed >> 16);
            b[i] = (char)(seed >> 24);
        }
        head.path = slice_of(a, seed % sizeof a);
        field("User-Agent", slice_of(b, sizeof b));
        access_log_line(&lg, &json, &vars);
        struct slice s = read_out();
        got[s.n] = '\0';
        object_members(got);
        end();
    }
}
END_TEST

UNIT_MAIN("access_log", a_combined_line, lines_of_a_batch_go_together,
          a_new_target_gets_no_old_lines, long_values_are_cut, a_full_pipe_drops_and_counts,
          a_pipe_with_little_room_is_not_waited_for, a_reader_that_is_gone, a_socket,
          no_descriptor_to_write_to, a_custom_line, json_of_hostile_bytes,
          json_of_random_bytes)
