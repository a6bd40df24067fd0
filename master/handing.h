/* A hand-off record in the making, and the descriptors that go with it over an exec. */
#ifndef RPD_MASTER_HANDING_H
#define RPD_MASTER_HANDING_H

#include <stdbool.h>
#include <sys/types.h>
#include "common/base/vec.h"
#include "common/core/handoff.h"

/* The descriptor in which the next master finds the record. */
#define HANDING_VARIABLE "RPD_HANDOFF"

struct handing {
    struct strbuf text;
    VEC(int) fds; /* each stays its owner's */
    int program;  /* but this one: the program that is handing over; -1 */
};

/* How the program is called again. */
struct handing_args {
    char config[3], daemon[3];
    char *v[5];
};

void handing_args(struct handing_args *a, char *program, char *file, bool is_background);

void handing_init(struct handing *h);
void handing_fini(struct handing *h);
/* A word of the line in progress: a descriptor that is to live on. */
void handing_fd(struct handing *h, const char *key, int fd);
/* The same with this process's program. */
void handing_program(struct handing *h, const char *key);
/* Begins a line for a worker's process. */
void handing_worker(struct handing *h, pid_t pid, unsigned index, int channel);
/* Executes the program of the descriptor `program`, or with -1 that of the arguments, which finds
 * the record. Comes back when that cannot be, with errno, and everything is as it was. */
void handing_exec(const struct handing *h, const struct handing_args *a, int program);
/* The record's descriptor is taken out of sight, for children not to find it. */
void handing_forget(void);

#endif
