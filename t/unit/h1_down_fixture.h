/* An h1_down on a connection from a peer, a service and a fake stream: for its tests. */
#ifndef RPD_UNIT_H1_DOWN_FIXTURE_H
#define RPD_UNIT_H1_DOWN_FIXTURE_H

#include "t/unit/stream_fixture.h"
#include "worker/http/h1_down.h"

static struct h1_down_pool downs;
static struct http_service svc;
static uint64_t bytes_in, bytes_out, shed;
static unsigned opened, closed;
static bool is_exhausted, is_starved, is_retiring;
static struct arena_pool one_block;
static struct conn *client; /* the stream's connection, while it is open */

static struct stream *svc_open(struct http_service *s, struct side *down, struct conn *c)
{
    ck_assert_ptr_eq(s, &svc);
    ck_assert_ptr_null(f.st.down); /* one at a time */
    if (is_exhausted)
        return NULL;
    opened++;
    client = c;
    f.st.down = down;
    arena_reset(&f.st.arena);
    arena_init(&f.st.arena, is_starved ? &one_block : NULL);
    if (is_starved)
        ck_assert_ptr_nonnull(arena_alloc(&f.st.arena, 4064));
    return &f.st;
}

static void svc_closed(struct http_service *s)
{
    ck_assert_ptr_eq(s, &svc);
    closed++;
}

static bool svc_keep_alive(struct http_service *s)
{
    ck_assert_ptr_eq(s, &svc);
    return !is_retiring;
}

static const struct http_service_ops svc_ops = { svc_open, svc_closed, svc_keep_alive };

static inline void begin(void)
{
    struct buf *none = NULL;

    open_tcp(true);
    fake_begin();
    bytes_in = bytes_out = shed = 0;
    opened = closed = 0;
    is_exhausted = is_starved = is_retiring = false;
    arena_pool_init(&one_block, 0, 1);
    svc = (struct http_service){ &svc_ops, { 5000, 5000, 5000, 1024, 0 }, &bytes_in, &bytes_out,
                                 &shed };
    h1_down_pool_init(&downs);
    client = u.c;
    ck_assert(h1_down_start(&downs, u.c, &svc, none));
    u.c = NULL;
    f.gives_back = true;
}

static inline void end(void)
{
    if (peer >= 0)
        close(peer);
    peer = -1;
    h1_down_abort(&downs);
    ck_assert_ptr_null(f.st.down);
    UNTIL(closed);
    spin(2);
    ck_assert_uint_eq(closed, 1);
    h1_down_pool_fini(&downs);
    fake_end();
    arena_pool_fini(&one_block);
    ck_assert_uint_eq(bufs.demand.used, 0);
}

static inline void answer_head(unsigned status, enum body_kind body, uint64_t n)
{
    struct head h;

    head_init(&h, &f.st.arena);
    h.status = (uint16_t)status;
    h.minor = 1;
    h.body = body;
    h.content_length = n;
    h.has_length = body == BODY_LENGTH;
    if (status == 101)
        h.upgrade = SLICE("ws");
    f.st.down->ops->send_head(f.st.down, &h);
}

/* The whole answer, with n bytes of `big`. */
static inline void answer(unsigned status, size_t n)
{
    answer_head(status, BODY_LENGTH, n);
    for (size_t at = 0; at < n; at += 10000)
        f.st.down->ops->send_data(f.st.down, data(at, n - at < 10000 ? n - at : 10000));
    f.st.down->ops->send_end(f.st.down, NULL);
}

static inline void answer_now(struct side *s, struct head *h)
{
    (void)s;
    (void)h;
    answer(204, 0);
}

/* What the stream does with nonsense: says so by the reason's status. */
static inline void answer_bad(struct side *s)
{
    (void)s;
    answer(end_reason_status(f.why), 0);
}

#endif
