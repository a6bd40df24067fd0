/* Bodies as they come off the wire: counted, chunked or until the connection ends. llhttp reads
 * the chunk headers; payload is moved together in the buf it came in. Called by the codecs for both
 * sides; reads and writes no connection. */
#include "worker/http/h1.h"
#include "worker/http/h1_field.h"

#include <assert.h>

#define CHUNK_HEADER_MAX 1024 /* with the CRLF of the chunk before */
#define CHUNK_HEADER_NEED 24  /* what a chunk of any size can need */
#define WASTE_MAX 16384       /* of chunk headers beyond need, besides as much as payload */
#define TRAILERS_MAX 256      /* fields */
#define TRAILER_BUF_MIN 64

/* ---- llhttp's callbacks ---- */

/* Stops behind each chunk header: what follows is counted here and not searched. */
static int on_chunk_header(llhttp_t *parser)
{
    (void)parser;
    return HPE_PAUSED;
}

static const llhttp_settings_t chunk_settings = { .on_chunk_header = on_chunk_header };

/* llhttp comes to chunks by way of a head only. */
static void chunks_begin(llhttp_t *parser)
{
    static const struct slice head = SLICE_INIT("PUT / HTTP/1.1\r\n"
                                                "Transfer-Encoding: chunked\r\n\r\n");
    llhttp_errno_t err;

    llhttp_init(parser, HTTP_REQUEST, &chunk_settings);
    err = llhttp_execute(parser, head.p, head.n);
    assert(err == HPE_OK);
}

void h1_body_init(struct h1_body *b, const struct head *h, llhttp_t *parser, struct arena *arena,
                  size_t trailer_max)
{
    *b = (struct h1_body){
        .kind = h->body, .parser = parser, .arena = arena,
        .trailer_max = trailer_max < UINT32_MAX ? (uint32_t)trailer_max : UINT32_MAX,
        .scan = { .first_line = 1 }, /* the last chunk's header is the line before */
    };
    switch (h->body) {
    case BODY_NONE:
        b->is_done = true;
        break;
    case BODY_LENGTH:
        b->left = h->content_length;
        b->is_done = b->left == 0;
        break;
    case BODY_CHUNKED:
        chunks_begin(parser);
        break;
    case BODY_CLOSE:
        break;
    }
}

/* ---- a buf of which a part is payload ---- */

/* Divides `b` before its byte `at`: the smaller part goes to a new buf. */
static bool split(struct buf_pool *pool, struct buf *b, uint32_t at, struct buf **front,
                  struct buf **rest)
{
    struct buf *other = buf_get(pool);
    uint32_t n = b->len - at;

    if (!other)
        return false;
    if (at < n) {
        memcpy(buf_bytes(other), buf_bytes(b), at);
        other->len = at;
        buf_skip(b, at);
        *front = other;
        *rest = b;
    } else {
        memcpy(buf_bytes(other), buf_bytes(b) + at, n);
        other->len = n;
        b->len = at;
        *front = b;
        *rest = other;
    }
    return true;
}

/* Of *in, `payload` bytes from `start` on are payload; what begins at `at` was not consumed. */
static enum end_reason hand_out(struct buf_pool *pool, struct buf **in, uint32_t start,
                                uint32_t payload, uint32_t at, struct buf **out)
{
    struct buf *b = *in;
    uint32_t rest = b->len - at;

    if (payload == 0) {
        buf_skip(b, at);
        if (rest == 0)
            buf_put(in);
        return END_OK;
    }
    if (rest == 0) {
        b->len = start + payload;
        buf_skip(b, start);
        *out = b;
        *in = NULL;
        return END_OK;
    }
    if (at > start + payload) {
        /* Framing lies between: as one piece, that split can divide. */
        if (rest <= payload) {
            memmove(buf_bytes(b) + start + payload, buf_bytes(b) + at, rest);
        } else {
            memmove(buf_bytes(b) + at - payload, buf_bytes(b) + start, payload);
            start = at - payload;
        }
    }
    b->len = start + payload + rest;
    buf_skip(b, start);
    return split(pool, b, payload, out, in) ? END_OK : END_EXHAUSTED;
}

/* ---- counted, and until the end ---- */

static enum end_reason decode_counted(struct h1_body *b, struct buf_pool *pool, struct buf **in,
                                      uint64_t max, struct buf **out)
{
    uint64_t n = (*in)->len;
    enum end_reason why;

    if (n > max)
        n = max;
    if (b->kind == BODY_LENGTH && n > b->left)
        n = b->left;
    why = hand_out(pool, in, 0, (uint32_t)n, (uint32_t)n, out);
    if (why != END_OK)
        return why;
    b->total += n;
    if (b->kind == BODY_LENGTH) {
        b->left -= n;
        b->is_done = b->left == 0;
    }
    return END_OK;
}

/* ---- chunked ---- */

/* Room for n more bytes of trailer section. */
static bool grow_trailers(struct h1_body *b, uint32_t n)
{
    uint32_t cap = b->trailer_cap * 2;
    char *buf;

    if (b->trailer_cap - b->trailer_bytes >= n)
        return true;
    if (cap < b->trailer_bytes + n)
        cap = b->trailer_bytes + n;
    if (cap < TRAILER_BUF_MIN)
        cap = TRAILER_BUF_MIN;
    buf = arena_alloc(b->arena, cap);
    if (!buf)
        return false;
    if (b->trailer_bytes > 0)
        memcpy(buf, b->trailer_buf, b->trailer_bytes);
    b->trailer_buf = buf;
    b->trailer_cap = cap;
    return true;
}

static enum end_reason add_trailer(struct h1_body *b, const struct field *f)
{
    if (!field_may_trail(f->id))
        return END_OK;
    if (!b->trailers) {
        b->trailers = arena_zalloc(b->arena, sizeof *b->trailers);
        if (!b->trailers)
            return END_EXHAUSTED;
        b->trailers->arena = b->arena;
    }
    return fields_add(b->trailers, f->id, f->name, f->value) ? END_OK : END_EXHAUSTED;
}

/* The section whole, with its empty line. */
static enum end_reason parse_trailers(struct h1_body *b, struct slice section)
{
    const char *at = section.p, *end = section.p + section.n - 2;

    for (unsigned count = 0; at != end; count++) {
        struct field f;
        enum end_reason why;

        at = h1_field_read(at, end, &f);
        if (!at)
            return END_BAD_FRAMING;
        if (count == TRAILERS_MAX)
            return END_HEADER_TOO_LARGE;
        why = add_trailer(b, &f);
        if (why != END_OK)
            return why;
    }
    b->is_done = true;
    return END_OK;
}

/* Gathers the trailer section until it is whole. */
static enum end_reason read_trailers(struct h1_body *b, struct slice bytes, uint32_t *used)
{
    size_t n;
    enum h1_scanned r = h1_scan(&b->scan, bytes, &n);

    if (r == H1_SCAN_BAD)
        return END_BAD_FRAMING;
    *used = (uint32_t)n;
    if (n == 2 && r == H1_SCAN_DONE && b->trailer_bytes == 0)
        return parse_trailers(b, slice_of(bytes.p, n));
    if (n > b->trailer_max || b->trailer_bytes > b->trailer_max - n)
        return END_HEADER_TOO_LARGE;
    if (!grow_trailers(b, (uint32_t)n))
        return END_EXHAUSTED;
    memcpy(b->trailer_buf + b->trailer_bytes, bytes.p, n);
    b->trailer_bytes += (uint32_t)n;
    if (r == H1_SCAN_MORE)
        return END_OK;
    return parse_trailers(b, slice_of(b->trailer_buf, b->trailer_bytes));
}

/* The chunk's header is complete. */
static enum end_reason begin_chunk(struct h1_body *b)
{
    if (b->framing_bytes > CHUNK_HEADER_NEED)
        b->waste += b->framing_bytes - CHUNK_HEADER_NEED;
    if (b->waste > WASTE_MAX + b->total)
        return END_BAD_FRAMING;
    b->framing_bytes = 0;
    b->last_byte = '\0';
    b->left = b->parser->content_length;
    b->is_last = b->left == 0;
    llhttp_resume(b->parser);
    return END_OK;
}

/* Up to the CR, which is llhttp's again. Any text may stand there: nobody asks what it says. */
static enum end_reason skip_extension(struct h1_body *b, struct slice bytes, uint32_t *used)
{
    uint32_t n = 0;

    while (n < bytes.n && ((unsigned char)bytes.p[n] >= ' ' || bytes.p[n] == '\t') &&
           bytes.p[n] != 0x7f)
        n++;
    *used = n;
    if (n == bytes.n)
        return END_OK;
    b->is_extension = false;
    return bytes.p[n] == '\r' ? END_OK : END_BAD_FRAMING;
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'f');
}

/* The CRLF behind a chunk and the next one's size. llhttp does not see extensions, for it refuses
 * some that RFC 9112 7.1.1 allows: a semicolon after a digit is where one begins. */
static enum end_reason read_size(struct h1_body *b, struct slice bytes, uint32_t *used)
{
    size_t n = bytes.n < CHUNK_HEADER_NEED ? bytes.n : CHUNK_HEADER_NEED;
    size_t text = slice_find(slice_of(bytes.p, n), ';');
    llhttp_errno_t err = llhttp_execute(b->parser, bytes.p, text);

    if (err == HPE_PAUSED) {
        *used = (uint32_t)(llhttp_get_error_pos(b->parser) - bytes.p);
        return END_OK;
    }
    *used = (uint32_t)text;
    if (text > 0)
        b->last_byte = bytes.p[text - 1];
    if (text < n) {
        ++*used;
        b->is_extension = true;
    }
    return err == HPE_OK && (text == n || is_hex(b->last_byte)) ? END_OK : END_BAD_FRAMING;
}

static enum end_reason read_chunk_header(struct h1_body *b, struct slice bytes, uint32_t *used)
{
    enum end_reason why = b->is_extension ? skip_extension(b, bytes, used)
                                          : read_size(b, bytes, used);

    if (why != END_OK)
        return why;
    b->framing_bytes += *used;
    if (b->framing_bytes > CHUNK_HEADER_MAX)
        return END_BAD_FRAMING;
    return llhttp_get_errno(b->parser) == HPE_PAUSED ? begin_chunk(b) : END_OK;
}

static enum end_reason read_framing(struct h1_body *b, struct slice bytes, uint32_t *used)
{
    if (b->is_last)
        return read_trailers(b, bytes, used);
    return read_chunk_header(b, bytes, used);
}

/* How much of `n` bytes is payload of this chunk that may be given out. */
static uint32_t payload_of(const struct h1_body *b, uint32_t n, uint64_t max)
{
    uint64_t take = n < max ? n : max;

    return (uint32_t)(take < b->left ? take : b->left);
}

/*   start           end        at
 *     | payload     | framing  | not yet read
 * Payload is moved to `end`; the first of it stays where it lies. */
static enum end_reason decode_chunked(struct h1_body *b, struct buf_pool *pool, struct buf **in,
                                      uint64_t max, struct buf **out)
{
    char *bytes = buf_bytes(*in);
    uint32_t n = (*in)->len, start = 0, end = 0, at = 0, used;

    while (at < n && !b->is_done) {
        if (b->left == 0) {
            enum end_reason why = read_framing(b, slice_of(bytes + at, n - at), &used);
            if (why != END_OK)
                return why;
            at += used;
            continue;
        }
        used = payload_of(b, n - at, max - (end - start));
        if (used == 0)
            break;
        if (llhttp_execute(b->parser, bytes + at, used) != HPE_OK)
            return END_BAD_FRAMING;
        if (end == start)
            start = end = at;
        else if (end != at)
            memmove(bytes + end, bytes + at, used);
        end += used;
        at += used;
        b->left -= used;
        b->total += used;
    }
    return hand_out(pool, in, start, end - start, at, out);
}

enum end_reason h1_body_decode(struct h1_body *b, struct buf_pool *pool, struct buf **in,
                               uint64_t max, struct buf **out)
{
    *out = NULL;
    assert(!(*in)->is_pipe);
    switch (b->kind) {
    case BODY_NONE:
        return END_OK;
    case BODY_LENGTH:
    case BODY_CLOSE:
        return decode_counted(b, pool, in, max, out);
    case BODY_CHUNKED:
        return decode_chunked(b, pool, in, max, out);
    }
    return END_INTERNAL;
}

/* llhttp has to see the last byte of a chunk, to know that what follows is framing. */
uint64_t h1_body_unseen(const struct h1_body *b)
{
    switch (b->kind) {
    case BODY_NONE:
    case BODY_CLOSE:
        break;
    case BODY_LENGTH:
        return b->left;
    case BODY_CHUNKED:
        return b->left > 0 ? b->left - 1 : 0;
    }
    return 0;
}

void h1_body_skip(struct h1_body *b, uint64_t n)
{
    assert(n <= h1_body_unseen(b));
    b->left -= n;
    b->total += n;
    if (b->kind == BODY_CHUNKED)
        b->parser->content_length -= n;
    else
        b->is_done = b->left == 0;
}

enum end_reason h1_body_eof(struct h1_body *b)
{
    if (b->kind == BODY_CLOSE)
        b->is_done = true;
    return b->is_done ? END_OK : END_CLIENT_CLOSED;
}
