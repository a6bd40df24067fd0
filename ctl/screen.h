/* The terminal: keys, size, redrawing, and leaving it as it was. One a process. */
#ifndef RPD_CTL_SCREEN_H
#define RPD_CTL_SCREEN_H

#include <stdbool.h>
#include <stdint.h>
#include "common/base/slice.h"

enum screen_event {
    SCREEN_TICK,   /* the time given is over */
    SCREEN_KEY,
    SCREEN_RESIZE, /* or it came back from being stopped: draw again */
    SCREEN_END,    /* a signal asked to end, or nobody reads any more */
};

/* Signals that ask to end are events from now on. With `is_full` the terminal is taken over:
 * another screen, no cursor, keys one by one; it is given back by screen_close, at exit and when
 * a signal kills the process. */
void screen_open(bool is_full);
void screen_close(void);
/* Waits until `until_us` of clock_mono_us; *key is set for SCREEN_KEY. */
enum screen_event screen_wait(uint64_t until_us, char *key);
void screen_size(unsigned *rows, unsigned *columns);
/* From the top: as many lines of the text as fit, each cut to the width; what was there goes. */
void screen_draw(struct slice text);

#endif
