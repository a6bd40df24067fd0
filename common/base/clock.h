/* Time. A loop caches now; everything else passes it on. */
#ifndef RPD_BASE_CLOCK_H
#define RPD_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

/* CLOCK_MONOTONIC in microseconds: the same in all processes of this boot. */
uint64_t clock_mono_us(void);
/* CLOCK_REALTIME in microseconds since 1970. */
uint64_t clock_wall_us(void);

/* From `at_us` to `now_us` of the wall's clock, as two processes may have read it: 0 if `at_us` is
 * somewhat later. UINT64_MAX, long ago, if it is much later: the clock was set back since. */
#define CLOCK_SKEW_US 5000000
static inline uint64_t clock_wall_passed(uint64_t at_us, uint64_t now_us)
{
    if (now_us >= at_us)
        return now_us - at_us;
    return at_us - now_us > CLOCK_SKEW_US ? UINT64_MAX : 0;
}

#define CLOCK_TEXT_MAX 40
/* These are pure but for the time zone; a caller on the hot path keeps the text of a second. All
 * end in NUL and return the length without it. Years 1970 to 9999. */
/* `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 5.6.7), 29 bytes. */
size_t clock_http_date(char buf[CLOCK_TEXT_MAX], uint64_t wall_us);
/* `2026-11-23T19:20:21.123+01:00`, local time. */
size_t clock_iso8601(char buf[CLOCK_TEXT_MAX], uint64_t wall_us);
/* `2026-11-23T18:20:21.123Z`; async-signal-safe, as clock_http_date is. */
size_t clock_iso8601_utc(char buf[CLOCK_TEXT_MAX], uint64_t wall_us);
/* `23/Nov/2026:19:20:21 +0100`, the common log format's. */
size_t clock_local(char buf[CLOCK_TEXT_MAX], uint64_t wall_us);

#endif
