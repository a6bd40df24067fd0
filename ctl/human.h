/* Numbers as people read them. */
#ifndef RPD_CTL_HUMAN_H
#define RPD_CTL_HUMAN_H

#include <stdbool.h>

#define HUMAN_MAX 32

/* `0`, `999`, `1.2k`, `34M`: at most five columns for all below 1e15. Returns buf. */
const char *human_count(char buf[HUMAN_MAX], double n);
/* `0`, `0.3`, `12`, `1.2k`: a rate or another number that need not be whole. */
const char *human_rate(char buf[HUMAN_MAX], double n);
/* `-` for 0, `12us`, `3.4ms`, `1.2s`, `2m`. */
const char *human_latency(char buf[HUMAN_MAX], double seconds);
/* What is left until `at`, both in seconds since 1970: `12d03h`, `expired`; `-` for 0. */
const char *human_left(char buf[HUMAN_MAX], double at, double now);
/* Less than the 14 days are left from which on one is warned. */
bool human_is_soon(double at, double now);
/* `5s`, `3m12s`, `4h05m`, `12d03h`: how long something has lasted. */
const char *human_span(char buf[HUMAN_MAX], double seconds);

#endif
