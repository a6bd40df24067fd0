/* A limit's table: how much each key has had, in memory that all workers share.
 *
 *   set = 512 bytes = 8 keys    [who x 8][tat x 8][detail x 8]
 *   who = fingerprint (44 bits) and how many are held (20 bits), in one word
 *   tat = when the key will have earned what it took, in nanoseconds of the monotonic clock
 *
 * The rate is GCRA's: a key whose tat has passed is as one that never came, so it may leave its
 * place; a request adds one interval to it, by compare-and-swap, and is refused where that would
 * be more than `burst` intervals ahead. Each key has two sets in which it may stand. Where both are
 * full of keys that still count, the one leaves that would be forgotten first; one with something
 * held never does.
 *
 * No locks: a word is changed by compare-and-swap or left alone, so whoever dies at whatever
 * instant leaves a table that is good. What he may leave undone is one request's worth: a token
 * that nobody used, a count in `detail`. A request of a key that leaves in the same instant may
 * charge its one token to the key that comes.
 *
 * Called by the proxy, by the master for those who died, and by rpctl, which only reads. */
#ifndef RPD_CORE_LIMIT_TABLE_H
#define RPD_CORE_LIMIT_TABLE_H

#include <stdbool.h>
#include <stdint.h>
#include "common/base/slice.h"

#define LIMIT_WAYS 8
#define LIMIT_KEY_MAX 40       /* of a key's text, NUL or the mark of a cut one included */
#define LIMIT_HOLD_BITS 20
#define LIMIT_HOLDS_MAX 1000000 /* that a key may have */
#define LIMIT_CUT '\1'          /* in place of the last NUL: there was more */

struct limit_detail {
    uint32_t allowed, limited; /* since the key came; they wrap */
    char text[LIMIT_KEY_MAX];
};

struct limit_set {
    uint64_t who[LIMIT_WAYS]; /* 0: free */
    uint64_t tat_ns[LIMIT_WAYS];
    struct limit_detail detail[LIMIT_WAYS];
};

/* What is said of a table beside its sets; shared too, written by all. */
struct limit_totals {
    uint64_t used; /* places taken, by idle keys as well */
};

struct limit_journal;

/* A table as a process sees it. */
struct limit_table {
    struct limit_set *sets;
    uint64_t mask;            /* sets - 1; sets are a power of two */
    uint64_t seed[2];         /* of the keys' hash: secret */
    struct limit_totals *totals;
    struct limit_journal *journal; /* this process's; NULL: what it holds is lost if it dies */
    uint64_t places;               /* in that */
    unsigned char *base;           /* of the memory in which all of it lies */
};

struct limit_rule {
    uint64_t interval_ns; /* of one request; 0: any rate */
    uint32_t burst;       /* at once, 1 or more */
    uint32_t max_holds;   /* 0: any number */
};

enum limit_verdict {
    LIMIT_ALLOWED,
    LIMIT_TOO_FAST,
    LIMIT_TOO_MANY,
    LIMIT_UNCOUNTED, /* allowed: there is no place for the key */
};

/* What a request took, and how it stands. */
struct limit_taken {
    struct limit_set *set; /* NULL: nothing */
    uint32_t way;
    uint32_t hold;         /* place in the journal; 0: none */
    uint64_t finger;
    uint64_t interval_ns;  /* taken of the rate; 0: nothing was */
    uint64_t wait_ns;      /* TOO_FAST: until it would be allowed; else until all is earned back */
    uint32_t left;         /* requests that would be allowed now */
    bool is_held;
    bool has_ousted;       /* a key that counted, for want of room */
};

/* One request, or session, of `key`. It is remembered in *taken, whatever the verdict. */
enum limit_verdict limit_ask(const struct limit_table *t, const struct limit_rule *rule,
                             struct slice key, uint64_t now_ns, struct limit_taken *taken);
/* As if it had not asked: another limit refused it. */
void limit_give_back(const struct limit_table *t, struct limit_taken *taken);
/* It has ended: what is held is given back, once. */
void limit_release(const struct limit_table *t, struct limit_taken *taken);
/* The key begins anew, but for what it holds; false: it is not there. */
bool limit_forget(const struct limit_table *t, struct slice key);

static inline uint64_t limit_holds(uint64_t who)
{
    return who & (((uint64_t)1 << LIMIT_HOLD_BITS) - 1);
}

/* ---- journals ---- */

/* What a process holds, so that it can be given back for it when it has died: one writer, which
 * notes a hold before it takes it. Free places are a list through the places themselves. If it
 * dies between the two, one hold too many is given back; a count never falls below zero. */
struct limit_journal {
    uint64_t high; /* places ever used */
    uint64_t next; /* free place, 0: none; the owner's */
    uint64_t reserved[6];
    uint64_t place[]; /* [0] is not used; offset of a `who` from the memory's base, where there
                       * is none, or next free place << 1 | 1; 0: nothing */
};

/* Of a dead process: gives back what is in it, and the journal is empty. `size` bytes of memory
 * begin at `base`. Returns how many holds there were. */
uint64_t limit_journal_undo(struct limit_journal *j, uint64_t places, unsigned char *base,
                            uint64_t size);

#endif
