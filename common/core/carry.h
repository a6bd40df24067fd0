/* Counts carried from one statistics segment into the next, whatever build wrote the old one: by
 * the schema in it, kinds, objects and fields found by name. What the new tables do not know is
 * left behind; what the old ones did not know begins at zero.
 *
 * The master's alone: once when it takes over (what has ended), and again and again while processes
 * of its predecessor live, which go on counting in the old one. */
#ifndef RPD_CORE_CARRY_H
#define RPD_CORE_CARRY_H

#include <stdbool.h>
#include <stdint.h>
#include "common/core/stats.h"

struct carry;

enum carry_how {
    CARRY_ADD,  /* of a worker that has gone: counters are added to what is there */
    CARRY_COPY, /* of one that lives: everything as it is now, gauges as well */
    CARRY_LAST, /* of one that has just gone: counters as they are, the rest is zero */
};

/* Reads what is in the segment; `fd`, open for reading and writing, is taken over. NULL with errno,
 * EPROTO when it is none. One reference is the caller's. */
struct carry *carry_open(int fd);
struct carry *carry_ref(struct carry *c);
void carry_unref(struct carry **c);
int carry_fd(const struct carry *c);

/* Every object of the old one is in `to` afterwards; -1 with errno. */
int carry_objects(struct carry *c, struct segment *to);
/* The shared parts: what is written by whoever the table says, the operator's wishes among it. */
void carry_shared(struct carry *c, struct segment *to);
/* What one slot counted, into a slot of `to` that no process writes. */
void carry_slot(struct carry *c, unsigned from, struct segment *to, unsigned slot,
                enum carry_how how);
/* What is wanted of servers and how they do, back to those that still look into the old one. */
void carry_back(struct carry *c, struct segment *to);

/* Slots in use. */
unsigned carry_slots(const struct carry *c);
/* A shared number of the object "rpd"; 0 if there is none. */
uint64_t carry_rpd(struct carry *c, const char *field);
/* The process id in a worker's slot; 0: none. */
uint64_t carry_pid(struct carry *c, unsigned slot);

#endif
