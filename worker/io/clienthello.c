/* The ClientHello, read by the proxy's front; a pure function of bytes, which owns nothing and
 * never reads a socket. It judges no more than it has to: who answers the hello, OpenSSL or a
 * server behind, judges the rest.
 *
 *   records    | 22 3.x length | piece of the message | 22 3.x length | next piece |
 *   message                    | 1 length24 | version random session ciphers ... extensions |
 *
 * Pieces are followed as they come and kept by nobody but the caller's queue; the message is put
 * together, on the stack, once it is whole. */
#include "worker/io/clienthello.h"

#include <arpa/inet.h>

#define RECORD_HANDSHAKE 22
#define RECORD_ALERT 21
#define RECORD_HEADER 5
#define RECORD_MAX 16384 /* RFC 8446 5.1 */
#define MESSAGE_HEADER 4
#define MESSAGE_CLIENTHELLO 1
#define VERSION_MAJOR 3
#define RANDOM_SIZE 32
#define SESSION_ID_MAX 32
#define EXTENSION_SERVER_NAME 0
#define NAME_TYPE_HOST 0
#define ALERT_FATAL 2

/* An alert, or: nothing is wrong. */
#define FINE 0

/* ---- records ---- */

/* One more byte of a record's header. What is no TLS shows in the first or the second. */
static unsigned take_record_header(struct clienthello_frame *f, uint8_t byte)
{
    switch (f->nheader++) {
    case 0:
        if (byte == RECORD_HANDSHAKE)
            return FINE;
        /* SSL 2.0's hello begins with its length, the top bit set. */
        return f->message == 0 && (byte & 0x80) ? CLIENTHELLO_PROTOCOL_VERSION
                                                : CLIENTHELLO_UNEXPECTED_MESSAGE;
    case 1:
        return byte == VERSION_MAJOR ? FINE : CLIENTHELLO_PROTOCOL_VERSION;
    case 2:
        return FINE; /* RFC 8446 5.1: to be ignored */
    case 3:
        f->record_left = (uint32_t)byte << 8;
        return FINE;
    default:
        f->nheader = 0;
        f->record_left |= byte;
        if (f->record_left > RECORD_MAX)
            return CLIENTHELLO_RECORD_OVERFLOW;
        /* RFC 8446 5.1: no fragment of a handshake message is empty. */
        return f->record_left > 0 ? FINE : CLIENTHELLO_UNEXPECTED_MESSAGE;
    }
}

static unsigned take_message_header(struct clienthello_frame *f, uint8_t byte)
{
    f->record_left--;
    if (f->message++ == 0)
        return byte == MESSAGE_CLIENTHELLO ? FINE : CLIENTHELLO_UNEXPECTED_MESSAGE;
    f->message_size = f->message_size << 8 | byte;
    return f->message == MESSAGE_HEADER && f->message_size > CLIENTHELLO_MAX
               ? CLIENTHELLO_ILLEGAL_PARAMETER
               : FINE;
}

static bool is_whole(const struct clienthello_frame *f)
{
    return f->message >= MESSAGE_HEADER && f->message - MESSAGE_HEADER == f->message_size;
}

/* Goes on over more bytes, up to the message's end; into `body`, if it is not NULL, goes what they
 * hold of the message behind its header. */
static unsigned follow(struct clienthello_frame *f, struct slice bytes, uint8_t *body)
{
    const uint8_t *p = (const uint8_t *)bytes.p, *end = p + bytes.n;
    unsigned alert = FINE;

    while (p < end && alert == FINE && !is_whole(f)) {
        if (f->nheader > 0 || f->record_left == 0) {
            alert = take_record_header(f, *p++);
        } else if (f->message < MESSAGE_HEADER) {
            alert = take_message_header(f, *p++);
        } else {
            uint32_t at = f->message - MESSAGE_HEADER, n = f->message_size - at;

            if (n > f->record_left)
                n = f->record_left;
            if (n > (size_t)(end - p))
                n = (uint32_t)(end - p);
            if (body)
                memcpy(body + at, p, n);
            f->message += n;
            f->record_left -= n;
            p += n;
        }
    }
    return alert;
}

/* ---- the message ---- */

struct cursor {
    const uint8_t *p, *end;
};

static size_t left(const struct cursor *c)
{
    return (size_t)(c->end - c->p);
}

static bool take(struct cursor *c, size_t n, struct cursor *part)
{
    if (left(c) < n)
        return false;
    *part = (struct cursor){ c->p, c->p + n };
    c->p += n;
    return true;
}

/* A number of so many bytes. */
static bool take_number(struct cursor *c, unsigned size, unsigned *value)
{
    struct cursor part;

    if (!take(c, size, &part))
        return false;
    for (*value = 0; part.p < part.end; part.p++)
        *value = *value << 8 | *part.p;
    return true;
}

/* A vector: its length, in so many bytes, and so much. */
static bool take_vector(struct cursor *c, unsigned size, struct cursor *part)
{
    unsigned n;

    return take_number(c, size, &n) && take(c, n, part);
}

/* An address where a name should be: those are not permitted (RFC 6066 3), and name nothing. */
static bool is_address(const char *name)
{
    uint8_t room[16];

    return inet_pton(AF_INET, name, room) == 1 || inet_pton(AF_INET6, name, room) == 1;
}

static unsigned take_host(struct clienthello *h, struct cursor host)
{
    char text[CLIENTHELLO_NAME_MAX + 1];
    size_t n = left(&host);

    if (n > CLIENTHELLO_NAME_MAX)
        return CLIENTHELLO_ILLEGAL_PARAMETER;
    for (size_t i = 0; i < n; i++) {
        if (host.p[i] <= ' ' || host.p[i] >= 0x7f)
            return CLIENTHELLO_ILLEGAL_PARAMETER;
        text[i] = ascii_lower((char)host.p[i]);
    }
    if (n > 0 && text[n - 1] == '.')
        n--;
    text[n] = '\0';
    if (is_address(text))
        n = 0;
    memcpy(h->sni, text, n);
    h->sni_size = (uint8_t)n;
    return FINE;
}

/* RFC 6066 3: at most one name of each type. Of other types than a host's there are none, and how
 * they would begin is said there too. */
static unsigned take_server_name(struct clienthello *h, struct cursor extension)
{
    struct cursor list, name, host = { NULL, NULL };
    unsigned type;

    if (!take_vector(&extension, 2, &list) || left(&extension) > 0 || left(&list) == 0)
        return CLIENTHELLO_DECODE_ERROR;
    while (left(&list) > 0) {
        if (!take_number(&list, 1, &type) || !take_vector(&list, 2, &name))
            return CLIENTHELLO_DECODE_ERROR;
        if (type != NAME_TYPE_HOST)
            continue;
        if (left(&name) == 0)
            return CLIENTHELLO_DECODE_ERROR;
        if (host.p)
            return CLIENTHELLO_ILLEGAL_PARAMETER;
        host = name;
    }
    return host.p ? take_host(h, host) : FINE;
}

static unsigned take_extensions(struct clienthello *h, struct cursor all)
{
    bool is_named = false;

    while (left(&all) > 0) {
        struct cursor extension;
        unsigned type, alert;

        if (!take_number(&all, 2, &type) || !take_vector(&all, 2, &extension))
            return CLIENTHELLO_DECODE_ERROR;
        if (type != EXTENSION_SERVER_NAME)
            continue;
        if (is_named) /* RFC 8446 4.2: each comes once */
            return CLIENTHELLO_ILLEGAL_PARAMETER;
        is_named = true;
        if ((alert = take_server_name(h, extension)) != FINE)
            return alert;
    }
    return FINE;
}

/* RFC 8446 4.1.2, RFC 5246 7.4.1.2. */
static unsigned parse(struct clienthello *h, struct cursor body)
{
    struct cursor random, session, ciphers, compressions, extensions;
    unsigned version;

    if (!take_number(&body, 2, &version))
        return CLIENTHELLO_DECODE_ERROR;
    if (version >> 8 != VERSION_MAJOR)
        return CLIENTHELLO_PROTOCOL_VERSION;
    if (!take(&body, RANDOM_SIZE, &random) ||
        !take_vector(&body, 1, &session) || left(&session) > SESSION_ID_MAX ||
        !take_vector(&body, 2, &ciphers) || left(&ciphers) < 2 || left(&ciphers) % 2 != 0 ||
        !take_vector(&body, 1, &compressions) || left(&compressions) < 1)
        return CLIENTHELLO_DECODE_ERROR;
    if (left(&body) == 0)
        return FINE; /* before TLS 1.2, there may be none */
    if (!take_vector(&body, 2, &extensions) || left(&body) > 0)
        return CLIENTHELLO_DECODE_ERROR;
    return take_extensions(h, extensions);
}

static unsigned parse_whole(struct clienthello *h, const struct bufq *in)
{
    uint8_t body[CLIENTHELLO_MAX];
    struct clienthello_frame again = { 0 };

    for (const struct buf *b = in->head; b && !is_whole(&again); b = b->next)
        follow(&again, buf_slice(b), body);
    return parse(h, (struct cursor){ body, body + again.message_size });
}

enum clienthello_result clienthello_read(struct clienthello *h, const struct bufq *in)
{
    size_t before = h->seen;
    unsigned alert = FINE;

    for (const struct buf *b = in->head; b && alert == FINE; b = b->next) {
        struct slice bytes = buf_slice(b);

        if (before >= bytes.n) {
            before -= bytes.n;
            continue;
        }
        alert = follow(&h->frame, slice_of(bytes.p + before, bytes.n - before), NULL);
        before = 0;
    }
    h->seen = in->bytes;
    if (alert == FINE && !is_whole(&h->frame))
        return CLIENTHELLO_MORE;
    if (alert == FINE)
        alert = parse_whole(h, in);
    h->alert = (enum clienthello_alert)alert;
    return alert == FINE ? CLIENTHELLO_DONE : CLIENTHELLO_BAD;
}

struct slice clienthello_alert_record(char room[CLIENTHELLO_ALERT_SIZE],
                                      enum clienthello_alert alert)
{
    const char record[CLIENTHELLO_ALERT_SIZE] = { RECORD_ALERT, VERSION_MAJOR, 3, 0, 2,
                                                  ALERT_FATAL, (char)alert };

    memcpy(room, record, sizeof record);
    return slice_of(room, sizeof record);
}
