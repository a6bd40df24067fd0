/* HTTP/1 wire format (RFC 9112): bytes to heads and bodies and back; no connection, no timer.
 * What is ambiguous is refused (RFC 9112 2.2, 3, 5, 6.3, 11.2). Heads and trailers are read here,
 * chunk framing by llhttp; line discipline (CRLF only, no obs-fold, no NUL) is checked first. */
#ifndef RPD_HTTP_H1_H
#define RPD_HTTP_H1_H

#include <llhttp.h>
#include "worker/http/head.h"
#include "worker/io/buf.h"
#include "worker/io/end_reason.h"

/* ---- finding the end of a head (h1_scan.c) ---- */

/* State of a scan over bytes that arrive in pieces; zero to begin. */
struct h1_scan {
    uint32_t seen;       /* bytes scanned */
    uint32_t line;       /* bytes of the current line so far */
    uint32_t first_line; /* length of the start line with its CRLF, 0 until known */
    bool was_cr;
};
enum h1_scanned { H1_SCAN_MORE, H1_SCAN_DONE, H1_SCAN_BAD };
/* Scans new bytes. DONE: the head's last byte is bytes.p[*used - 1]. Empty lines before a request
 * line must be skipped by the caller (RFC 9112 2.2). BAD: a bare CR or LF, NUL, obs-fold. */
enum h1_scanned h1_scan(struct h1_scan *s, struct slice bytes, size_t *used);

/* ---- heads (h1_parse.c) ---- */

/* `bytes` begin with a whole head: h->wire_bytes says how long it is, and it ends where h1_scan
 * says it does. The head's slices point into it, h->fields grows in its arena (head_init). END_OK,
 * or why not: a head cut short is nonsense. Upgrades of a request to HTTP itself (h2c) are not
 * seen. */
enum end_reason h1_parse_request(struct slice bytes, struct head *h);
/* request_method decides on the framing (HEAD). END_OK, BAD_RESPONSE, RESPONSE_HEADER_TOO_LARGE
 * (too many fields) or EXHAUSTED. */
enum end_reason h1_parse_response(struct slice bytes, struct head *h,
                                  enum http_method request_method);

/* ---- bodies, received (h1_body.c) ---- */

struct h1_body {
    enum body_kind kind;
    uint64_t left;         /* BODY_LENGTH: bytes to come; chunked: of this chunk */
    uint64_t total;        /* payload bytes so far */
    llhttp_t *parser;      /* chunked */
    struct fields *trailers; /* chunked: filled, copied into its arena; NULL until the first */
    struct arena *arena;
    char *trailer_buf;     /* in the arena: the trailer section as far as it came */
    uint32_t trailer_bytes, trailer_cap, trailer_max;
    struct h1_scan scan;   /* of the trailer section */
    uint32_t framing_bytes; /* of the chunk header being read, bounded */
    uint64_t waste;        /* bytes of chunk headers beyond need, bounded */
    char last_byte;        /* of the chunk's size as far as it came */
    bool is_extension;     /* within one of a chunk header */
    bool is_last;          /* the last chunk's header was read */
    bool is_done;
};
/* The parser is used for BODY_CHUNKED alone, and has to live as long as the body. */
void h1_body_init(struct h1_body *b, const struct head *h, llhttp_t *parser, struct arena *arena,
                  size_t trailer_max);
/* Decodes the bytes of `in` (a memory buf), payload at most `max` bytes. Chunked payload is moved
 * together in place. On return *out is a buf with payload or NULL; *in is what was not consumed
 * (NULL if nothing): one of the two is the buf that came, the other (only when both remain) a new
 * one from `pool` with the smaller part. END_OK, or BAD_FRAMING, HEADER_TOO_LARGE (trailers),
 * EXHAUSTED. b->is_done when the message is complete. */
/* On an error *in stays the caller's and *out is NULL. Framing is read even with max 0. */
enum end_reason h1_body_decode(struct h1_body *b, struct buf_pool *pool, struct buf **in,
                               uint64_t max, struct buf **out);
/* Payload bytes that may come next by another way than h1_body_decode, unseen; 0 if framing has to
 * be read first. h1_body_skip says that `n` of them, at least one, have come so. */
uint64_t h1_body_unseen(const struct h1_body *b);
void h1_body_skip(struct h1_body *b, uint64_t n);
/* The connection ended: END_OK if that completes the body (BODY_CLOSE), else CLIENT_CLOSED. */
enum end_reason h1_body_eof(struct h1_body *b);

/* ---- writing (h1_write.c); false: buffers exhausted, nothing was added ---- */

enum h1_framing {
    H1_FRAME_NONE,    /* no body, no framing field */
    H1_FRAME_LENGTH,  /* Content-Length: h->content_length */
    H1_FRAME_CHUNKED, /* Transfer-Encoding: chunked */
    H1_FRAME_CLOSE,   /* until close */
};
/* How this head's body goes to a peer of that minor version. */
enum h1_framing h1_framing_response(const struct head *h, enum http_method request_method,
                                    unsigned peer_minor);
enum h1_framing h1_framing_request(const struct head *h);

/* Request line in origin form (or "*"), Host first, then the fields, framing, Connection
 * (upgrade if h->upgrade), TE: trailers if te_trailers. Always HTTP/1.1. */
bool h1_write_request(struct bufq *out, struct buf_pool *pool, const struct head *h,
                      enum h1_framing framing, bool keep_alive);
bool h1_write_response(struct bufq *out, struct buf_pool *pool, const struct head *h,
                       enum h1_framing framing, unsigned peer_minor, bool keep_alive);
/* Payload as it must appear: for CHUNKED the chunk header is put into the buf's head room and the
 * CRLF behind it. Takes the buf over. Pipes get separate header and CRLF bufs. */
bool h1_write_data(struct bufq *out, struct buf_pool *pool, enum h1_framing framing,
                   struct buf *b);
/* The last chunk and trailers for CHUNKED; nothing otherwise. */
bool h1_write_end(struct bufq *out, struct buf_pool *pool, enum h1_framing framing,
                  const struct fields *trailers);

#endif
