/* An h1_up on a connection to a peer, and a fake stream: for its tests. */
#ifndef RPD_UNIT_H1_UP_FIXTURE_H
#define RPD_UNIT_H1_UP_FIXTURE_H

#include "t/unit/stream_fixture.h"
#include "worker/http/h1_up.h"

static struct h1_up up;
static struct conn *kept; /* what was released for another request */
static unsigned released;
static uint64_t bytes_in, bytes_out;
static struct h1_up_config config;

static inline void on_release(void *arg, struct conn *c)
{
    ck_assert_ptr_eq(arg, &kept);
    released++;
    kept = c;
}

static inline void begin(bool is_reused)
{
    open_tcp(false);
    fake_begin();
    released = 0;
    kept = NULL;
    bytes_in = bytes_out = 0;
    config = (struct h1_up_config){ 5000, 5000, 1024, true, &bytes_in, &bytes_out };
    f.st.up = &up.side;
    f.on_head_grant = STREAM_CREDIT;
    f.gives_back = true;
    h1_up_init(&up, &f.st, u.c, is_reused, &config, on_release, &kept);
    u.c = NULL;
}

static inline void end(void)
{
    if (f.st.up)
        up.side.ops->reset(&up.side, END_INTERNAL);
    ck_assert_uint_eq(released, 1);
    conn_close(&kept);
    fake_end();
    if (peer >= 0)
        close(peer);
    peer = -1;
}

static inline void send_head(const char *method, enum http_method id, enum body_kind body,
                             uint64_t n)
{
    struct head h;

    head_init(&h, &f.st.arena);
    h.method = id;
    h.method_text = slice_str(method);
    h.path = SLICE("/p");
    h.authority = SLICE("a");
    h.body = body;
    h.content_length = n;
    if (f.trailer[0] == 'U')
        h.upgrade = SLICE("ws");
    up.side.ops->send_head(&up.side, &h);
}

static inline void get(void)
{
    send_head("GET", METHOD_GET, BODY_NONE, 0);
    up.side.ops->send_end(&up.side, NULL);
    peer_expects("GET /p HTTP/1.1\r\nHost: a\r\n\r\n");
}

static inline void detach(struct side *s)
{
    f.st.up = NULL;
    s->ops->detach(s);
}

#endif
