/* Processes of a predecessor: workers that its master started and that this one has taken over, to
 * serve until the new workers are ready and then to finish what they have. They count in the
 * segment of their time, from where this one's is brought up to date. */
#ifndef RPD_MASTER_RETIREE_H
#define RPD_MASTER_RETIREE_H

#include <stdbool.h>
#include <sys/types.h>
#include "common/base/list.h"
#include "common/core/carry.h"
#include "master/events.h"

struct handing;
struct master;

struct retirees {
    struct list list;
    struct deadline mirror; /* when to copy what they count, while there are any */
};

/* What is known of one when it is taken over; the channel is taken over with it. */
struct retiree_facts {
    pid_t pid;
    unsigned index;
    int channel;
    struct carry *from;   /* where it counts; a reference is taken */
    unsigned from_slot;
    unsigned slot;        /* in this master's segment; SLOT_NONE */
    bool is_told;         /* to retire, by the predecessor */
};

void retirees_init(struct master *m);
/* -1 with errno: it has ended, or cannot be watched; the channel is closed. */
int retiree_add(struct master *m, const struct retiree_facts *facts);
/* The new workers serve: these finish within shutdown_timeout. */
void retirees_retire(struct master *m);
/* They end at once; killed after `ms`. */
void retirees_stop(struct master *m, uint64_t ms);
void retirees_kill(struct master *m);
/* What is wanted of servers has changed: theirs as well, at once. */
void retirees_follow(struct master *m);
/* New log files for them as well. */
void retirees_reopen(struct master *m);
unsigned retirees_count(const struct master *m);
/* SIGCHLD: true when the process was one of them. */
bool retiree_exited(struct master *m, pid_t pid, int status);
/* Brings their counts up to date. */
void retirees_mirror(struct master *m);
/* Their lines in a hand-off to the next master. */
void retirees_hand(struct master *m, struct handing *h);
/* Forgets them: they are another master's now. */
void retirees_fini(struct master *m);

#endif
