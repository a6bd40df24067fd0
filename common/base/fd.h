/* Small helpers around file descriptors. */
#ifndef RPD_BASE_FD_H
#define RPD_BASE_FD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "common/base/strbuf.h"

/* close() unless -1, and sets it to -1; errno is kept. */
void fd_close(int *fd);
int fd_nonblock(int fd);
int fd_cloexec(int fd, bool on);
/* All of n bytes, restarting; -1 with errno. Blocking descriptors only. */
int fd_write_all(int fd, const void *p, size_t n);
/* n bytes from `at` on; how many there were (at an error too). */
size_t fd_read_at(int fd, void *to, size_t n, uint64_t at);
/* Whole file appended to *out; -1 with errno (EFBIG above max bytes). */
int fd_read_file(const char *path, size_t max, struct strbuf *out);
/* Closes every descriptor >= first but those in keep[] (sorted or not). */
void fd_close_from(int first, const int *keep, size_t nkeep);

/* What is in a memfd (MFD_ALLOW_SEALING) stays as it is from now on; -1 with errno. */
int fd_seal(int fd);
/* The size of one that was sealed so; -1 with EINVAL: it was not, and may change while it is
 * read. */
off_t fd_sealed_size(int fd);

#endif
