/* What results of checks in a row make of a server's state, and when the next one is due. Pure. */
#ifndef RPD_HELPER_CHECK_TALLY_H
#define RPD_HELPER_CHECK_TALLY_H

#include <stdbool.h>
#include <stdint.h>
#include "common/core/stats.h"

struct check_tally {
    uint32_t good, bad; /* in a row: one of them is 0 */
};

struct check_rules {
    uint32_t rise, fall; /* in a row, until it is up or down */
    uint64_t interval_us;
};

enum check_turn { CHECK_STAYS, CHECK_TURNS_UP, CHECK_TURNS_DOWN };

/* Counts one more result of a server that is in `state`. Of one that is not known the first result
 * decides. `may_return`: it is ejected, and has been for as long as rise checks take. */
enum check_turn check_tally_count(struct check_tally *t, const struct check_rules *rules,
                                  bool is_good, enum server_state state, bool may_return);
/* Results lately were other than the state says: the next check is due in a quarter of the time. */
bool check_tally_is_changing(const struct check_tally *t, enum server_state state);
/* From the end of a check that took so long to the next one: they begin interval_us apart, a tenth
 * more or less as `draw` (any random number) has it; never less than a quarter of that apart from
 * the end. */
uint64_t check_delay_us(uint64_t interval_us, uint64_t took_us, uint64_t draw);

#endif
