/* The first message of a TLS client, read without TLS: what name it asks for, before it is decided
 * who answers. However it is cut into records and packets; up to 16 KiB. */
#ifndef RPD_IO_CLIENTHELLO_H
#define RPD_IO_CLIENTHELLO_H

#include "worker/io/buf.h"

#define CLIENTHELLO_MAX 16384 /* of the message, without its header of 4 bytes */
#define CLIENTHELLO_NAME_MAX 255
#define CLIENTHELLO_ALERT_SIZE 7

enum clienthello_result {
    CLIENTHELLO_MORE, /* bytes so far are fine; need more */
    CLIENTHELLO_DONE, /* sni is set */
    CLIENTHELLO_BAD,  /* alert is set */
};

/* RFC 8446 6.2; RFC 6066 3 for the last. */
enum clienthello_alert {
    CLIENTHELLO_UNEXPECTED_MESSAGE = 10,
    CLIENTHELLO_RECORD_OVERFLOW = 22,
    CLIENTHELLO_ILLEGAL_PARAMETER = 47,
    CLIENTHELLO_DECODE_ERROR = 50,
    CLIENTHELLO_PROTOCOL_VERSION = 70,
    CLIENTHELLO_UNRECOGNIZED_NAME = 112,
};

/* Where in records and message the bytes so far end. */
struct clienthello_frame {
    uint32_t record_left;  /* of the record's payload; 0: within or before a record's header */
    uint32_t message;      /* bytes of the message so far, header included */
    uint32_t message_size; /* once the header was read */
    uint8_t nheader;       /* bytes of a record's header */
};

/* Zeroed at first. */
struct clienthello {
    size_t seen; /* bytes of the queue */
    struct clienthello_frame frame;
    enum clienthello_alert alert;
    uint8_t sni_size;
    char sni[CLIENTHELLO_NAME_MAX];
};

/* `in` is all that has come so far, from the hello's first byte on, in memory bufs; more at its
 * end than at the last call. What follows the hello is not looked at. Work is by the bytes that
 * are new, whatever pieces they come in. Not to be called again after DONE or BAD. */
enum clienthello_result clienthello_read(struct clienthello *h, const struct bufq *in);

/* The name asked for: lower case, printable ASCII, no trailing dot. Empty: none, or an IP address,
 * which is no name (RFC 6066 3). */
static inline struct slice clienthello_sni(const struct clienthello *h)
{
    return slice_of(h->sni, h->sni_size);
}

/* The record of a fatal alert. */
struct slice clienthello_alert_record(char room[CLIENTHELLO_ALERT_SIZE],
                                      enum clienthello_alert alert);

#endif
