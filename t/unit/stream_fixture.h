/* A stream that notes what its sides tell it, and does what a test asks of it in a callback: for
 * the tests of the HTTP/1 codecs. */
#ifndef RPD_UNIT_STREAM_FIXTURE_H
#define RPD_UNIT_STREAM_FIXTURE_H

#include <stdio.h>
#include <string.h>
#include "t/unit/conn_fixture.h"
#include "worker/http/side.h"

enum { ON_NOTHING, ON_HEAD = 1, ON_DATA = 2, ON_END = 4, ON_CREDIT = 8 };

static struct {
    struct stream st;
    char got[4 << 20]; /* payload delivered */
    size_t got_n;
    char log[4096];    /* "head 200, data, end, ..." */
    uint64_t granted, credited;
    enum end_reason why;
    unsigned heads, ends, resets, dones, bads;
    uint64_t on_head_grant; /* granted within on_head */
    bool gives_back;        /* grants again what was delivered */
    unsigned reset_in;      /* resets the side within that callback */
    char trailer[64];
    void (*on_head)(struct side *s, struct head *h);
    void (*on_end)(struct side *s);
    void (*on_bad)(struct side *s);
    void (*on_data)(struct side *s, struct buf *b); /* takes it over */
} f;

static inline void note(const char *what)
{
    size_t n = strlen(f.log);

    if (n + strlen(what) + 2 < sizeof f.log)
        snprintf(f.log + n, sizeof f.log - n, "%s%s", n ? " " : "", what);
}

static inline void fake_grant(struct side *s, uint64_t n)
{
    f.granted += n;
    s->ops->grant(s, n);
}

static inline bool fake_resets(struct side *s, unsigned callback)
{
    if (f.reset_in != callback)
        return false;
    note("reset");
    if (s == f.st.up)
        f.st.up = NULL;
    else
        f.st.down = NULL;
    s->ops->reset(s, END_INTERNAL);
    return true;
}

static inline void fake_on_head(struct stream *st, struct side *s, struct head *h)
{
    char text[32];

    ck_assert_ptr_eq(st, &f.st);
    f.heads++;
    snprintf(text, sizeof text, "%u", h->status ? h->status : (unsigned)h->path.n);
    note(text);
    if (fake_resets(s, ON_HEAD))
        return;
    if (f.on_head_grant && (h->status >= 200 || h->status == 101 || h->status == 0))
        fake_grant(s, f.on_head_grant);
    if (f.on_head)
        f.on_head(s, h);
}

static inline void fake_take(struct buf *b)
{
    ck_assert_uint_gt(b->len, 0);
    ck_assert_uint_le(f.got_n + b->len, sizeof f.got);
    if (b->is_pipe)
        ck_assert_int_eq(read(b->pipe[0], f.got + f.got_n, b->len), b->len);
    else
        memcpy(f.got + f.got_n, buf_bytes(b), b->len);
    if (b->is_pipe) /* overdraws what is left, which has to be something */
        ck_assert_uint_lt(f.got_n, f.granted);
    else
        ck_assert_uint_le(f.got_n + b->len, f.granted);
    f.got_n += b->len;
    if (b->is_pipe)
        b->len = 0;
    buf_put(&b);
}

static inline void fake_on_data(struct stream *st, struct side *s, struct buf *b)
{
    uint32_t n = b->len;

    ck_assert_ptr_eq(st, &f.st);
    if (f.on_data) {
        f.on_data(s, b);
        return;
    }
    fake_take(b);
    if (!fake_resets(s, ON_DATA) && f.gives_back)
        fake_grant(s, n);
}

static inline void fake_on_end(struct stream *st, struct side *s, const struct fields *trailers)
{
    ck_assert_ptr_eq(st, &f.st);
    f.ends++;
    note("end");
    if (trailers)
        FIELDS_EACH(it, trailers)
            snprintf(f.trailer, sizeof f.trailer, "%.*s=%.*s", SLICE_ARG(it->name),
                     SLICE_ARG(it->value));
    if (!fake_resets(s, ON_END) && f.on_end)
        f.on_end(s);
}

static inline void fake_on_credit(struct stream *st, struct side *s, uint64_t bytes)
{
    ck_assert_ptr_eq(st, &f.st);
    ck_assert_uint_gt(bytes, 0);
    f.credited += bytes;
    fake_resets(s, ON_CREDIT);
}

static inline void fake_on_done(struct stream *st, struct side *s)
{
    ck_assert_ptr_eq(st, &f.st);
    ck_assert_ptr_eq(s, st->down);
    f.dones++;
    note("done");
    st->down = NULL;
    arena_reset(&st->arena);
}

static inline void fake_on_reset(struct stream *st, struct side *s, enum end_reason why)
{
    ck_assert_ptr_eq(st, &f.st);
    f.resets++;
    f.why = why;
    note(end_reason_text(why));
    if (s == st->down)
        st->down = NULL;
    else
        st->up = NULL;
}

static inline void fake_on_bad(struct stream *st, struct side *s, enum end_reason why)
{
    ck_assert_ptr_eq(st, &f.st);
    f.bads++;
    f.why = why;
    note(end_reason_text(why));
    if (f.on_bad)
        f.on_bad(s);
}

static const struct stream_ops fake_ops = {
    fake_on_head, fake_on_data, fake_on_end, fake_on_credit,
    fake_on_done, fake_on_bad, fake_on_reset,
};

static inline void fake_begin(void)
{
    memset(&f, 0, sizeof f);
    f.st.ops = &fake_ops;
    arena_init(&f.st.arena, NULL);
}

static inline void fake_end(void)
{
    arena_reset(&f.st.arena);
}

/* A buf with n bytes of `big` from `at` on. */
static inline struct buf *data(size_t at, size_t n)
{
    struct buf *b = buf_get(&bufs);

    ck_assert_ptr_nonnull(b);
    ck_assert_uint_le(n, buf_room(b));
    memcpy(buf_tail(b), big + at, n);
    b->len = (uint32_t)n;
    return b;
}

/* The peer reads n bytes and no more, ours the loop runs meanwhile; they must be `expected`. */
static inline void peer_takes(const char *expected, size_t n)
{
    char buf[7001];
    size_t got = 0;

    ck_assert_int_eq(fd_nonblock(peer), 0);
    while (got < n) {
        ssize_t r = read(peer, buf, n - got < sizeof buf ? n - got : sizeof buf);
        if (r > 0) {
            ck_assert_mem_eq(buf, expected + got, (size_t)r);
            got += (size_t)r;
        } else {
            ck_assert_int_lt(r, 0);
            ck_assert_int_eq(errno, EAGAIN);
            ck_assert_int_eq(loop_once(&loop, 5), 0);
        }
    }
}

static inline void peer_expects(const char *text)
{
    peer_takes(text, strlen(text));
}

/* Until a connection's socket, and that of a peer who does not read, take not a byte more. */
static inline void stuff(int fd)
{
    unsigned quiet = 0;

    while (quiet < 10) {
        size_t n = sizeof big;

        while (n > 0 && send(fd, big, n, MSG_DONTWAIT) < 0)
            n /= 2;
        if (n > 0) {
            quiet = 0;
        } else {
            quiet++;
            usleep(2000); /* what is on its way arrives */
        }
    }
}

#endif
