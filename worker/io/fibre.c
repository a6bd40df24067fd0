/* Stacks of OpenSSL's jobs: fibre.h. Keeps nothing. Called by keys_job.c.
 *
 * OpenSSL changes stacks by setjmp and longjmp, before which AddressSanitizer wipes its marks from
 * the stack in use: for that it must know its bounds. Between "a switch has begun" and "it is done"
 * it takes whichever of the two stacks the stack pointer is in; so that is what it is told for as
 * long as the job's may be in use. */
#include "worker/io/fibre.h"

#include <stddef.h>

/* AddressSanitizer's, where there is one. */
extern const char *__asan_locate_address(void *addr, char *name, size_t name_size, void **region,
                                         size_t *region_size) __attribute__((weak));
extern void __sanitizer_start_switch_fiber(void **save, const void *bottom, size_t size)
    __attribute__((weak));
extern void __sanitizer_finish_switch_fiber(void *save, const void **bottom, size_t *size)
    __attribute__((weak));

void fibre_on(struct fibre *f)
{
    void *stack = NULL;
    size_t size = 0;
    char name[8];

    if (!__sanitizer_start_switch_fiber || f->is_on)
        return;
    /* OpenSSL has it from malloc. */
    (void)__asan_locate_address(__builtin_frame_address(0), name, sizeof name, &stack, &size);
    __sanitizer_start_switch_fiber(&f->fake, stack, size);
    f->is_on = true;
}

void fibre_off(struct fibre *f)
{
    const void *stack;
    void *none;
    size_t size;

    if (!f->is_on)
        return;
    __sanitizer_finish_switch_fiber(NULL, &stack, &size);
    __sanitizer_start_switch_fiber(&none, stack, size);
    __sanitizer_finish_switch_fiber(f->fake, NULL, NULL);
    f->is_on = false;
}
