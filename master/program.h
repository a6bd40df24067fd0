/* The path of this program as whoever started it named it: symbolic links are not followed, for an
 * upgrade may be a link that points elsewhere now. */
#ifndef RPD_MASTER_PROGRAM_H
#define RPD_MASTER_PROGRAM_H

/* Absolute; the caller's to free(). */
char *program_path(const char *argv0);

#endif
