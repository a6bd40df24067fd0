/* Numbers with units, as rpd.ini and rpctl write them: parsing and the shortest exact text. */
#ifndef RPD_CORE_UNITS_H
#define RPD_CORE_UNITS_H

#include <stdbool.h>
#include <stdint.h>
#include "common/base/slice.h"
#include "common/base/strbuf.h"

/* Each parser returns false with a sentence appended to *error, which quotes the text. */

/* `500ms 10s 5m 1m30s 1h 1d`, largest unit first; 0 may stand alone. Milliseconds. */
bool units_duration(struct slice text, uint64_t *ms, struct strbuf *error);
/* `512 8k 16m 1g`, powers of 1024. Bytes. */
bool units_size(struct slice text, uint64_t *bytes, struct strbuf *error);
bool units_count(struct slice text, uint64_t *count, struct strbuf *error);
/* `5% 0.25%`. Hundredths of a percent. */
bool units_percent(struct slice text, uint64_t *hundredths, struct strbuf *error);

void units_print_duration(uint64_t ms, struct strbuf *out);
void units_print_size(uint64_t bytes, struct strbuf *out);
void units_print_percent(uint64_t hundredths, struct strbuf *out);

#endif
