/* The limits' memory, as the master has it: made at start, or gone on with where a master was
 * before (common/core/limits.h); each worker has it mapped from its fork on. */
#ifndef RPD_MASTER_LIMITING_H
#define RPD_MASTER_LIMITING_H

#include <stdbool.h>

struct handing;
struct master;

/* At a start without predecessor; `is_after_crash`: its workers may live, and count on in it.
 * Where none is to be had (said), a configuration with limits will be refused. */
void limiting_begin(struct master *m, bool is_after_crash);
/* The same with the predecessor's descriptor, or -1: it had none. */
void limiting_adopt(struct master *m, int fd);
/* A word of the line `rpd` of a hand-off record. */
void limiting_hand(const struct master *m, struct handing *h);
/* is_left: others may look for it. */
void limiting_fini(struct master *m, bool is_left);

#endif
