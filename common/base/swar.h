/* Eight bytes at a time, in one register: where in a text a byte of some sort stands first.
 * A mark has the top bit of the first byte found set; bits above that one mean nothing, so a mark
 * may be tested for zero and asked for its first byte, and nothing else. Marks may be or-ed. */
#ifndef RPD_BASE_SWAR_H
#define RPD_BASE_SWAR_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

#define SWAR_ONES 0x0101010101010101ULL
#define SWAR_TOPS 0x8080808080808080ULL

/* The byte at p lowest, whatever the machine's order. */
static inline uint64_t swar_load(const char *p)
{
    uint64_t w;

    memcpy(&w, p, 8);
    return le64toh(w);
}

/* Bytes below n; n <= 128. */
static inline uint64_t swar_below(uint64_t w, unsigned n)
{
    return (w - SWAR_ONES * n) & ~w & SWAR_TOPS;
}

static inline uint64_t swar_equal(uint64_t w, unsigned char c)
{
    return swar_below(w ^ SWAR_ONES * c, 1);
}

/* 0..7; mark is not zero. */
static inline unsigned swar_first(uint64_t mark)
{
    return (unsigned)__builtin_ctzll(mark) / 8;
}

#endif
