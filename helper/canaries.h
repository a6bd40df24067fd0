/* Judgement of canaries: several times a second each one's counters, since its step began, are held
 * against the stable backend's, and what they come to is told to the master, which acts. Where
 * a step's counts began stands in the segment, so that a helper that comes after goes on with them;
 * but the evidence of latency begins with the process. */
#ifndef RPD_HELPER_CANARIES_H
#define RPD_HELPER_CANARIES_H

#include "common/base/list.h"
#include "common/core/conf.h"
#include "common/core/stats.h"
#include "worker/io/loop.h"

struct canaries {
    struct list list; /* struct trial, by name over generations */
    struct segment *segment;
    struct loop *loop;
    struct timer timer;
    /* Found at this number of the canary's changes: good for the next step, or bad. `text` is its
     * name, a tab and the reason. */
    void (*tell)(struct canaries *all, enum canary_event event, uint64_t changes,
                 struct slice text);
};

/* `tell` is the caller's to set. */
void canaries_init(struct canaries *all, struct segment *segment, struct loop *loop);
void canaries_fini(struct canaries *all);
/* Takes a configuration, which must outlive the next call; the objects are in the segment. */
void canaries_follow(struct canaries *all, const struct conf *conf);

#endif
