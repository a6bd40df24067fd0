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
/* The record as a file, to be closed by the caller; -1 with errno. */
int handing_write(const struct handing *h);
/* Whether the descriptors, and `record`, survive an exec. */
void handing_keep(const struct handing *h, int record, bool on);
/* Puts `record` where the next master looks; with -1 it finds none. -1 with errno. */
int handing_announce(int record);

#endif
