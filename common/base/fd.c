/* Small helpers around file descriptors. Owns nothing. Called by everyone; what blocks (write_all,
 * read_file) is for start-up and tools only. */
#include "common/base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

void fd_close(int *fd)
{
    int saved_errno = errno;

    if (*fd != -1)
        (void)close(*fd); /* Linux frees the number even when close fails */
    *fd = -1;
    errno = saved_errno;
}

int fd_nonblock(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    return flags < 0 ? -1 : fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

int fd_cloexec(int fd, bool on)
{
    return fcntl(fd, F_SETFD, on ? FD_CLOEXEC : 0);
}

int fd_write_all(int fd, const void *p, size_t n)
{
    const char *at = p;

    while (n > 0) {
        ssize_t written = write(fd, at, n);

        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return -1;
        at += written;
        n -= (size_t)written;
    }
    return 0;
}

size_t fd_read_at(int fd, void *to, size_t n, uint64_t at)
{
    size_t done = 0;

    if (at > INT64_MAX - n)
        return 0;
    while (done < n) {
        ssize_t got = pread(fd, (char *)to + done, n - done, (off_t)(at + done));

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        done += (size_t)got;
    }
    return done;
}

static int read_all(int fd, size_t max, struct strbuf *out)
{
    size_t total = 0;

    for (;;) {
        char chunk[8192];
        ssize_t n = read(fd, chunk, sizeof chunk);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return (int)n;
        total += (size_t)n;
        if (total > max) {
            errno = EFBIG;
            return -1;
        }
        strbuf_add(out, slice_of(chunk, (size_t)n));
    }
}

int fd_read_file(const char *path, size_t max, struct strbuf *out)
{
    size_t before = out->n;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    int result;

    if (fd < 0)
        return -1;
    result = read_all(fd, max, out);
    if (result < 0)
        strbuf_cut(out, before);
    fd_close(&fd);
    return result;
}

static void close_range_of(unsigned first, unsigned last)
{
    if (first > last || close_range(first, last, 0) == 0)
        return;
    /* A kernel before 5.9. */
    if (last > (unsigned)sysconf(_SC_OPEN_MAX))
        last = (unsigned)sysconf(_SC_OPEN_MAX);
    for (unsigned fd = first; fd <= last; fd++)
        (void)close((int)fd);
}

void fd_close_from(int first, const int *keep, size_t nkeep)
{
    for (;;) {
        int next = -1; /* lowest to keep at or above first */

        for (size_t i = 0; i < nkeep; i++)
            if (keep[i] >= first && (next < 0 || keep[i] < next))
                next = keep[i];
        if (next < 0)
            break;
        if (next > first)
            close_range_of((unsigned)first, (unsigned)next - 1);
        first = next + 1;
    }
    close_range_of((unsigned)first, ~0U);
}

/* ---- sealed memory ---- */

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL)

int fd_seal(int fd)
{
    return fcntl(fd, F_ADD_SEALS, SEALS);
}

off_t fd_sealed_size(int fd)
{
    int seals = fcntl(fd, F_GET_SEALS);
    struct stat st;

    if (seals >= 0 && (seals & SEALS) == SEALS && fstat(fd, &st) == 0)
        return st.st_size;
    errno = EINVAL;
    return -1;
}
