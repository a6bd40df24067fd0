/* Keys in shared memory: limit_table.h. Never blocks, never allocates. */
#include "common/core/limit_table.h"

#include <assert.h>
#include <string.h>
#include "common/base/hash.h"

#define TRIES 8
/* Workers' clocks differ by less; what is owed beyond that was so by another rule. */
#define SKEW_NS 1000000000ull
#define HOLDS_MASK (((uint64_t)1 << LIMIT_HOLD_BITS) - 1)

static_assert(sizeof(struct limit_set) == 512, "whole cache lines");
static_assert(LIMIT_HOLDS_MAX <= HOLDS_MASK, "they fit");

/* What a place is worth to who needs one, best first. */
enum worth { WORTH_FREE, WORTH_IDLE, WORTH_ACTIVE, WORTH_HELD };

struct place {
    struct limit_set *set;
    uint32_t way;
    enum worth worth;
    uint64_t who, tat_ns; /* as they were seen */
};

static uint64_t load(const uint64_t *word)
{
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static bool swap(uint64_t *word, uint64_t *seen, uint64_t value)
{
    return __atomic_compare_exchange_n(word, seen, value, false, __ATOMIC_ACQ_REL,
                                       __ATOMIC_ACQUIRE);
}

static void count(uint32_t *counter)
{
    (void)__atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

/* ---- where a key stands ---- */

static uint64_t hash_of(const struct limit_table *t, struct slice key)
{
    return hash_bytes_keyed(key.p, key.n, t->seed[0], t->seed[1]);
}

/* Never 0; no bit of it says which set. */
static uint64_t finger_of(uint64_t hash)
{
    uint64_t finger = hash >> LIMIT_HOLD_BITS;

    return finger ? finger : 1;
}

static struct limit_set *set_of(const struct limit_table *t, uint64_t hash, unsigned i)
{
    /* Of a large table's index the higher bits are the fingerprint's too. */
    uint64_t other = (hash >> LIMIT_HOLD_BITS) * 0x9e3779b97f4a7c15ull >> 32;

    return &t->sets[(i == 0 ? hash : hash ^ (other | 1)) & t->mask];
}

static bool find_in(struct limit_set *set, uint64_t finger, struct limit_taken *at)
{
    for (uint32_t way = 0; way < LIMIT_WAYS; way++) {
        if (load(&set->who[way]) >> LIMIT_HOLD_BITS != finger)
            continue;
        at->set = set;
        at->way = way;
        return true;
    }
    return false;
}

static bool find(const struct limit_table *t, uint64_t hash, struct limit_taken *at)
{
    return find_in(set_of(t, hash, 0), at->finger, at) ||
           find_in(set_of(t, hash, 1), at->finger, at);
}

/* ---- a place for a key that comes ---- */

static enum worth worth_of(uint64_t who, uint64_t tat_ns, uint64_t now_ns)
{
    if (who == 0)
        return WORTH_FREE;
    if (who & HOLDS_MASK)
        return WORTH_HELD;
    return tat_ns <= now_ns ? WORTH_IDLE : WORTH_ACTIVE;
}

static void choose_in(struct limit_set *set, uint64_t now_ns, struct place *best)
{
    for (uint32_t way = 0; way < LIMIT_WAYS; way++) {
        struct place p = { .set = set, .way = way, .who = load(&set->who[way]),
                           .tat_ns = load(&set->tat_ns[way]) };

        p.worth = worth_of(p.who, p.tat_ns, now_ns);
        if (!best->set || p.worth < best->worth ||
            (p.worth == best->worth && p.tat_ns < best->tat_ns))
            *best = p;
    }
}

static void write_text(struct limit_detail *d, struct slice key)
{
    size_t n = key.n < LIMIT_KEY_MAX ? key.n : LIMIT_KEY_MAX - 1;

    memcpy(d->text, key.p, n);
    memset(d->text + n, 0, LIMIT_KEY_MAX - n);
    if (n < key.n)
        d->text[LIMIT_KEY_MAX - 1] = LIMIT_CUT;
}

/* Another process may have brought the same key in the same instant: then this one's goes. */
static bool is_twice(const struct limit_table *t, uint64_t hash, const struct limit_taken *at)
{
    for (unsigned i = 0; i < 2; i++) {
        const struct limit_set *set = set_of(t, hash, i);

        for (uint32_t way = 0; way < LIMIT_WAYS; way++)
            if ((set != at->set || way != at->way) &&
                load(&set->who[way]) >> LIMIT_HOLD_BITS == at->finger)
                return true;
    }
    return false;
}

static void leave(const struct limit_table *t, const struct limit_taken *at)
{
    uint64_t who = at->finger << LIMIT_HOLD_BITS;

    if (swap(&at->set->who[at->way], &who, 0))
        (void)__atomic_fetch_sub(&t->totals->used, 1, __ATOMIC_RELAXED);
}

static void move_in(const struct limit_table *t, struct place *p, struct slice key,
                    struct limit_taken *at)
{
    struct limit_detail *d = &at->set->detail[at->way];

    if (p->worth == WORTH_FREE)
        (void)__atomic_fetch_add(&t->totals->used, 1, __ATOMIC_RELAXED);
    at->has_ousted = p->worth == WORTH_ACTIVE;
    if (p->tat_ns > 0) /* unless somebody has taken of the new key's rate already */
        (void)swap(&at->set->tat_ns[at->way], &p->tat_ns, 0);
    __atomic_store_n(&d->allowed, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&d->limited, 0, __ATOMIC_RELAXED);
    write_text(d, key);
}

/* false: everything that could make way holds something, or too much goes on there. */
static bool bring(const struct limit_table *t, uint64_t hash, struct slice key, uint64_t now_ns,
                  struct limit_taken *at)
{
    for (unsigned i = 0; i < TRIES; i++) {
        struct place p = { .set = NULL };

        if (find(t, hash, at))
            return true;
        choose_in(set_of(t, hash, 0), now_ns, &p);
        if (p.worth > WORTH_IDLE)
            choose_in(set_of(t, hash, 1), now_ns, &p);
        if (p.worth == WORTH_HELD)
            return false;
        if (!swap(&p.set->who[p.way], &p.who, at->finger << LIMIT_HOLD_BITS))
            continue;
        at->set = p.set;
        at->way = p.way;
        move_in(t, &p, key, at);
        if (i + 1 == TRIES || !is_twice(t, hash, at))
            return true;
        leave(t, at);
    }
    return find(t, hash, at);
}

/* ---- the rate ---- */

enum step { STEP_TAKEN, STEP_REFUSED, STEP_MOVED };

static bool is_still(const struct limit_taken *at)
{
    return load(&at->set->who[at->way]) >> LIMIT_HOLD_BITS == at->finger;
}

/* Who took by a slower rule owes no more than all of this one's burst. */
static uint64_t settle(uint64_t *word, uint64_t most_ns)
{
    uint64_t tat = load(word);

    while (tat > most_ns + SKEW_NS)
        if (swap(word, &tat, most_ns))
            tat = most_ns;
    return tat;
}

static enum step take(const struct limit_rule *rule, uint64_t now_ns, struct limit_taken *at)
{
    const uint64_t one = rule->interval_ns, most = one * rule->burst;
    uint64_t *word = &at->set->tat_ns[at->way];
    uint64_t tat = settle(word, now_ns + most), debt;

    do {
        debt = tat > now_ns ? tat - now_ns : 0;
        if (debt + one > most) {
            at->wait_ns = debt + one - most;
            return is_still(at) ? STEP_REFUSED : STEP_MOVED;
        }
    } while (!swap(word, &tat, now_ns + debt + one));
    at->wait_ns = debt + one;
    at->left = (uint32_t)((most - debt - one) / one);
    at->interval_ns = one;
    return is_still(at) ? STEP_TAKEN : STEP_MOVED;
}

static void untake(const struct limit_taken *at)
{
    uint64_t *word = &at->set->tat_ns[at->way];
    uint64_t tat = load(word);

    while (at->interval_ns && tat > at->interval_ns && is_still(at))
        if (swap(word, &tat, tat - at->interval_ns))
            break;
}

/* ---- what is held ---- */

static uint32_t note(const struct limit_table *t, const uint64_t *who)
{
    struct limit_journal *j = t->journal;
    uint64_t i;

    if (!j)
        return 0;
    i = j->next;
    if (i != 0) {
        j->next = j->place[i] >> 1;
    } else if (j->high + 1 < t->places) {
        i = j->high + 1;
        __atomic_store_n(&j->high, i, __ATOMIC_RELEASE);
    }
    if (i != 0)
        __atomic_store_n(&j->place[i], (uint64_t)((const unsigned char *)who - t->base),
                         __ATOMIC_RELEASE);
    return (uint32_t)i;
}

static void strike(const struct limit_table *t, uint32_t i)
{
    struct limit_journal *j = t->journal;

    if (!j || i == 0)
        return;
    __atomic_store_n(&j->place[i], j->next << 1 | 1, __ATOMIC_RELEASE);
    j->next = i;
}

static enum step hold(const struct limit_table *t, const struct limit_rule *rule,
                      struct limit_taken *at)
{
    uint64_t *word = &at->set->who[at->way];
    uint64_t who = load(word);
    uint32_t noted;

    if (who >> LIMIT_HOLD_BITS == at->finger && limit_holds(who) >= rule->max_holds)
        return STEP_REFUSED;
    noted = note(t, word);
    do {
        if (who >> LIMIT_HOLD_BITS != at->finger || limit_holds(who) >= rule->max_holds) {
            strike(t, noted);
            return who >> LIMIT_HOLD_BITS != at->finger ? STEP_MOVED : STEP_REFUSED;
        }
    } while (!swap(word, &who, who + 1));
    at->hold = noted;
    at->is_held = true;
    return STEP_TAKEN;
}

static void hold_no_more(uint64_t *word, uint64_t finger)
{
    uint64_t who = load(word);

    while (limit_holds(who) > 0 && (finger == 0 || who >> LIMIT_HOLD_BITS == finger))
        if (swap(word, &who, who - 1))
            return;
}

void limit_release(const struct limit_table *t, struct limit_taken *taken)
{
    if (!taken->is_held)
        return;
    taken->is_held = false;
    hold_no_more(&taken->set->who[taken->way], taken->finger);
    strike(t, taken->hold);
}

/* ---- asking ---- */

/* The hold first: a request that is one too many at a time takes nothing of the rate. */
static enum step ask(const struct limit_table *t, const struct limit_rule *rule, uint64_t now_ns,
                     struct limit_taken *at, enum limit_verdict *verdict)
{
    enum step step = rule->max_holds ? hold(t, rule, at) : STEP_TAKEN;

    if (step != STEP_TAKEN) {
        *verdict = LIMIT_TOO_MANY;
        return step;
    }
    step = rule->interval_ns ? take(rule, now_ns, at) : STEP_TAKEN;
    if (step != STEP_TAKEN) {
        limit_release(t, at);
        *verdict = LIMIT_TOO_FAST;
    }
    return step;
}

enum limit_verdict limit_ask(const struct limit_table *t, const struct limit_rule *rule,
                             struct slice key, uint64_t now_ns, struct limit_taken *taken)
{
    uint64_t hash = hash_of(t, key);
    enum limit_verdict verdict = LIMIT_ALLOWED;

    *taken = (struct limit_taken){ .finger = finger_of(hash) };
    for (unsigned i = 0; i < TRIES; i++) {
        struct limit_detail *d;
        enum step step;

        if (!find(t, hash, taken) && !bring(t, hash, key, now_ns, taken))
            break;
        step = ask(t, rule, now_ns, taken, &verdict);
        d = &taken->set->detail[taken->way];
        switch (step) {
        case STEP_TAKEN:
            count(&d->allowed);
            return LIMIT_ALLOWED;
        case STEP_REFUSED:
            count(&d->limited);
            return verdict;
        case STEP_MOVED:
            taken->interval_ns = 0;
            break;
        }
    }
    *taken = (struct limit_taken){ .set = NULL };
    return LIMIT_UNCOUNTED;
}

void limit_give_back(const struct limit_table *t, struct limit_taken *taken)
{
    if (!taken->set || (!taken->is_held && taken->interval_ns == 0))
        return;
    untake(taken);
    (void)__atomic_fetch_sub(&taken->set->detail[taken->way].allowed, 1, __ATOMIC_RELAXED);
    limit_release(t, taken);
    taken->set = NULL;
}

bool limit_forget(const struct limit_table *t, struct slice key)
{
    uint64_t hash = hash_of(t, key);
    struct limit_taken at = { .finger = finger_of(hash) };

    if (!find(t, hash, &at))
        return false;
    __atomic_store_n(&at.set->tat_ns[at.way], 0, __ATOMIC_RELEASE);
    return true;
}

/* ---- who died ---- */

uint64_t limit_journal_undo(struct limit_journal *j, uint64_t places, unsigned char *base,
                            uint64_t size)
{
    uint64_t high = load(&j->high), n = 0;

    for (uint64_t i = 1; i <= high && i < places; i++) {
        uint64_t at = j->place[i];

        j->place[i] = 0;
        if (at == 0 || at & 1 || at % sizeof at != 0 || at >= size - sizeof at)
            continue;
        hold_no_more((uint64_t *)(void *)(base + at), 0);
        n++;
    }
    j->next = 0;
    j->high = 0;
    return n;
}
