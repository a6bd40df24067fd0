/* A peak-sensitive mean of latencies (as in Finagle): one above the mean takes it over at once,
 * one below draws it down over some ten seconds, and so does time alone, so that a server nobody
 * asks any more is asked again. */
#ifndef RPD_UP_EWMA_H
#define RPD_UP_EWMA_H

#include <stdbool.h>
#include <stdint.h>

#define EWMA_TIME_US 10000000

/* What is left of it after age_us; at least 1, but 0 (unknown) stays that. */
uint64_t ewma_now(uint64_t ewma_us, uint64_t age_us);
/* *ewma_us, of age_us, with a latency more. false: it made no difference, so its age counts on:
 * else many small steps would be rounded away. */
bool ewma_add(uint64_t *ewma_us, uint64_t age_us, uint64_t latency_us);
/* The latency that a failure counts as: seconds, more for one that has failed before. */
uint64_t ewma_penalty(uint64_t ewma_us);

#endif
