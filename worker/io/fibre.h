/* OpenSSL's jobs run on stacks of their own. AddressSanitizer has to be told where such a stack is
 * while code of ours is on it; without it these do nothing. */
#ifndef RPD_IO_FIBRE_H
#define RPD_IO_FIBRE_H

#include <stdbool.h>

struct fibre {
    bool is_on;
    void *fake; /* AddressSanitizer's, of the thread's own stack */
};

/* By code that has just come onto a job's stack. */
void fibre_on(struct fibre *f);
/* By code that is back on the thread's own. */
void fibre_off(struct fibre *f);

#endif
