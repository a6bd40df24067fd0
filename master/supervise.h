/* What happens to workers: ready, refusing, dead. */
#ifndef RPD_MASTER_SUPERVISE_H
#define RPD_MASTER_SUPERVISE_H

#include <stdbool.h>
#include <stdint.h>
#include "common/base/slice.h"
#include "master/worker.h"

/* Forks the workers that should run and do not, retires those beyond m->nworkers, sends the
 * others what is new. */
void supervise_settle(struct master *m);
/* SIGCHLD: reaps every child that ended. */
void supervise_reap(struct master *m);
/* In words, what waitpid(2) says of an end. */
void supervise_describe_end(int status, char *text, size_t size);
/* The worker has taken the generation, or refused it. */
void supervise_ready(struct worker *w, uint64_t generation);
void supervise_failed(struct worker *w, uint64_t generation, struct slice why);
/* The back-off of a crashed worker has passed. */
void supervise_start_due(struct deadline *d);
/* Whether every worker that should run is at the generation in force, and `rpd: keys` has its
 * keys. */
bool supervise_is_settled(const struct master *m);
/* The oldest generation that a worker in service is at. */
uint64_t supervise_acknowledged(const struct master *m);
/* Whether some worker's process is left. */
bool supervise_any_alive(const struct master *m);

#endif
