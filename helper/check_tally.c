/* Rise, fall and the interval. Called by check.c. */
#include "helper/check_tally.h"

/* The share of the interval that it is moved by at most. */
#define JITTER 10

static void count(struct check_tally *t, bool is_good)
{
    uint32_t *row = is_good ? &t->good : &t->bad;

    *(is_good ? &t->bad : &t->good) = 0;
    if (*row < UINT32_MAX)
        (*row)++;
}

enum check_turn check_tally_count(struct check_tally *t, const struct check_rules *rules,
                                  bool is_good, enum server_state state, bool may_return)
{
    bool rises, falls;

    count(t, is_good);
    rises = t->good >= rules->rise;
    falls = t->bad >= rules->fall;
    switch (state) {
    case SERVER_UNCHECKED:
        return is_good ? CHECK_TURNS_UP : CHECK_TURNS_DOWN;
    case SERVER_UP:
    case SERVER_STARTING:
        return falls ? CHECK_TURNS_DOWN : CHECK_STAYS;
    case SERVER_DOWN:
        return rises ? CHECK_TURNS_UP : CHECK_STAYS;
    case SERVER_EJECTED:
        return falls ? CHECK_TURNS_DOWN : rises && may_return ? CHECK_TURNS_UP : CHECK_STAYS;
    }
    return CHECK_STAYS;
}

bool check_tally_is_changing(const struct check_tally *t, enum server_state state)
{
    switch (state) {
    case SERVER_UP:
    case SERVER_STARTING:
        return t->bad > 0;
    case SERVER_DOWN:
        return t->good > 0;
    case SERVER_UNCHECKED:
    case SERVER_EJECTED:
        return false;
    }
    return false;
}

uint64_t check_delay_us(uint64_t interval_us, uint64_t took_us, uint64_t draw)
{
    uint64_t span = interval_us / JITTER;
    uint64_t whole = interval_us - span + draw % (2 * span + 1);

    return whole > took_us && whole - took_us > whole / 4 ? whole - took_us : whole / 4;
}
