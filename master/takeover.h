/* Taking over from a predecessor: after an exec (upgrade.c), to try whether one could be made, or
 * from workers whose master was killed. */
#ifndef RPD_MASTER_TAKEOVER_H
#define RPD_MASTER_TAKEOVER_H

#include <stdbool.h>
#include <stdint.h>
#include "common/base/strbuf.h"
#include "common/core/report.h"

struct carry;
struct conf;
struct handing;
struct master;

#define TAKEOVER_READY 'r' /* what a trial says when it is */

enum takeover_kind {
    TAKEOVER_NONE,    /* a start like any other */
    TAKEOVER_TRIAL,   /* everything but taking */
    TAKEOVER_UPGRADE, /* this process was the predecessor */
    TAKEOVER_ORPHANS, /* there are workers that have lost their master */
};

struct takeover {
    enum takeover_kind kind;
    struct strbuf text;     /* the record */
    struct strbuf version;  /* of the predecessor */
    struct strbuf failed;   /* why a newer program gave the process back; empty: none did */
    struct strbuf why;      /* this one fails */
    bool is_untouched;      /* what the record names is all as it came */
    int previous;           /* the program before this one; -1 */
    int bundle, keyring;    /* of the configuration before; -1 */
    int names;              /* answers of name servers, of before; -1 */
    int handed_names;       /* the same to be handed over; -1 */
    int status;             /* TRIAL: where to say that it is ready; -1 */
};

/* ---- the predecessor ---- */

/* All that the next program needs. */
void takeover_hand(struct master *m, struct handing *h);
/* What a trial may look at. */
void takeover_hand_trial(struct master *m, struct handing *h, int status);

/* ---- the successor ---- */

/* What it is that starts here. false: there is a record, and it cannot be read. */
bool takeover_begin(struct master *m);
/* Takes what is in the record; the loop is there. false, said: that cannot be. */
bool takeover_adopt(struct master *m);
/* After a master that was killed: its counts, and its workers where they live; the directory is
 * ours. The same. (orphans.c) */
bool takeover_find_orphans(struct master *m);
/* Slots for the workers that there will be; the counts of all that has ended, in one slot, which is
 * returned (SLOT_NONE: it could not be): steps of the two above. */
void takeover_reserve_slots(struct master *m, uint64_t workers);
unsigned takeover_carry_ended(struct master *m, struct carry *c, const bool *is_living);
/* Every worker of ours is ready: those of before retire. */
void takeover_done(struct master *m);
/* The start has failed, and no worker of ours lives: back to the program before, which does not
 * return; or it does, and there is none. */
void takeover_give_back(struct master *m);
void takeover_fini(struct master *m);

#endif
