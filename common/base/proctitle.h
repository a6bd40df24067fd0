/* The title of this process in ps(1), written over argv and environ; and PR_SET_NAME. */
#ifndef RPD_BASE_PROCTITLE_H
#define RPD_BASE_PROCTITLE_H

/* Call once, first in main; moves the strings of argv and environ to the heap and lets argv[i]
 * and environ[i] point there. */
void proctitle_init(int argc, char **argv);
/* "rpd: worker 3"; cut to the room there is. No-op before proctitle_init. */
void proctitle_set(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
