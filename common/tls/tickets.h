/* The keys that TLS session tickets are encrypted with (RFC 5077): so that a session resumes in any
 * worker, after a reload, a crash and an upgrade, all of them share them.
 *
 * The master makes them in a memfd and changes them every 12 hours; one that encrypts no more
 * decrypts for 24 hours yet. Workers map it for reading. Neither ever waits for the other: there
 * are two halves, of which the master writes the one that is not in force. */
#ifndef RPD_TLS_TICKETS_H
#define RPD_TLS_TICKETS_H

#include <stdbool.h>
#include <stdint.h>
#include "common/base/slice.h"

#define TICKET_NAME_SIZE 16
#define TICKET_KEY_SIZE_MAX 32
#define TICKET_KEYS_MAX 16
#define TICKETS_ROTATE_US (12ull * 3600 * 1000000)
#define TICKETS_KEEP_US (24ull * 3600 * 1000000) /* after another took its place */

struct ticket_key {
    unsigned char name[TICKET_NAME_SIZE]; /* in the clear, in front of each ticket */
    unsigned char mac[TICKET_KEY_SIZE_MAX];
    unsigned char aes[TICKET_KEY_SIZE_MAX];
    uint32_t size;    /* of mac and aes: 16 (AES-128) or 32 (AES-256) */
    uint64_t made_us; /* clock_mono_us */
};

/* The first encrypts, all decrypt. */
struct ticket_keys {
    uint32_t n;
    struct ticket_key v[TICKET_KEYS_MAX];
};

/* What a ticket_key_file holds: keys of 80 bytes (name, 32 of mac, 32 of aes) or, when its size
 * fits no number of those, of 48 (name, 16 of aes, 16 of mac), as nginx and HAProxy read them. -1:
 * neither, none, or more than TICKET_KEYS_MAX. */
int ticket_keys_parse(struct ticket_keys *keys, struct slice content);
/* No key is left in memory. */
void ticket_keys_wipe(struct ticket_keys *keys);

struct tickets;

/* The master's: a memfd with a new key. NULL with errno. */
struct tickets *tickets_new(uint64_t now_us);
/* The same with the keys of another one's memory, which is not taken over; keys that are too old by
 * now are left out. NULL with errno (EINVAL: it is none). */
struct tickets *tickets_adopt(int fd, uint64_t now_us);
/* A new key encrypts from now on. 0, or -1 with errno: nothing changed. */
int tickets_rotate(struct tickets *t, uint64_t now_us);
/* When that is to be done. */
uint64_t tickets_due_us(const struct tickets *t);
/* A descriptor to hand on, through which nothing can be written; stays t's. A worker's, too. */
int tickets_fd(const struct tickets *t);

/* A worker's: takes fd over. NULL with errno (fd is closed). */
struct tickets *tickets_open(int fd);
/* Whether keys are other than at the last call that said so; then they are written to *keys. */
bool tickets_read(struct tickets *t, struct ticket_keys *keys);

/* Clears *t. */
void tickets_free(struct tickets **t);

#endif
