/* Compression of a response on its way to the client: stands between what sends it (a server's
 * side, reply.c) and the down side. Called by attempt.c, l7.c and reply.c. */
#ifndef RPD_PROXY_ENCODE_H
#define RPD_PROXY_ENCODE_H

#include "worker/proxy/exchange.h"

/* What the client takes, as it asked: the route's rules may change that for the server. */
enum conf_coding encode_choice(const struct exchange *x);
/* Decides by the final head, and changes it (RFC 9110 8.4, 8.8.3.3, 12.5.5); for routes with
 * `compress`. The body that follows is x->encode's if that is there. false: memory exhausted. */
bool encode_head(struct exchange *x, struct head *h) __attribute__((warn_unused_result));
/* For x->encode. Takes the (memory) buf over; x may be finished afterwards. */
void encode_data(struct exchange *x, struct buf *b);
void encode_end(struct exchange *x, const struct fields *trailers);
/* So many of its bytes have left the down side. */
void encode_credit(struct exchange *x, uint64_t bytes);
/* The stream is over. */
void encode_fini(struct exchange *x);

static inline void answer_data(struct exchange *x, struct buf *b)
{
    if (x->encode)
        encode_data(x, b);
    else
        x->stream.down->ops->send_data(x->stream.down, b);
}
static inline void answer_end(struct exchange *x, const struct fields *trailers)
{
    if (x->encode)
        encode_end(x, trailers);
    else
        x->stream.down->ops->send_end(x->stream.down, trailers);
}

#endif
