/* Buffers of buf.h: a worker has one pool, used by its conns and codecs. Never blocks, never
 * aborts for want of memory.
 *
 * Memory comes in slabs of 64 bufs, mapped once and kept, but not the pages: a buf put back beyond
 * the demand gives its pages to the system (MADV_DONTNEED) and is then "cold". So a burst leaves 40
 * bytes a buf behind, whatever order the bufs come back in. */
#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>
#include "worker/io/buf.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#define POISON(p, n) ASAN_POISON_MEMORY_REGION(p, n)
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#else
#define POISON(p, n) ((void)0)
#define UNPOISON(p, n) ((void)0)
#endif

#define SLAB_BUFS 64
#define PIPE_LEAST 65536
#define COPY_MAX 1024 /* a buf of less is copied behind a queue's tail */

struct buf_slab {
    struct buf_slab *next;
    char *data;
    struct buf bufs[SLAB_BUFS];
};

void buf_pool_init(struct buf_pool *p, size_t keep, size_t used_max, size_t pipes_max)
{
    memset(p, 0, sizeof *p);
    demand_init(&p->demand, keep);
    p->gauge = &p->no_gauge;
    demand_init(&p->pipes, keep);
    p->used_max = used_max;
    p->pipes_max = pipes_max;
}

static void pipe_free(struct buf *b)
{
    close(b->pipe[0]);
    close(b->pipe[1]);
    free(b);
}

static void drop_pipe(struct buf_pool *p)
{
    struct buf *b = p->free_pipes;

    p->free_pipes = b->next;
    p->free_pipe_count--;
    pipe_free(b);
}

void buf_pool_fini(struct buf_pool *p)
{
    while (p->slabs) {
        struct buf_slab *slab = p->slabs;
        p->slabs = slab->next;
        UNPOISON(slab->data, (size_t)SLAB_BUFS * BUF_SIZE);
        munmap(slab->data, (size_t)SLAB_BUFS * BUF_SIZE);
        free(slab);
    }
    while (p->free_pipes)
        drop_pipe(p);
    p->free = p->cold = NULL;
    p->free_count = 0;
}

static bool slab_add(struct buf_pool *p)
{
    size_t size = (size_t)SLAB_BUFS * BUF_SIZE;
    struct buf_slab *slab = malloc(sizeof *slab);

    if (!slab)
        return false;
    slab->data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (slab->data == MAP_FAILED) {
        free(slab);
        return false;
    }
    /* One buf in use must not cost 2 MiB. */
    madvise(slab->data, size, MADV_NOHUGEPAGE);
    POISON(slab->data, size);
    for (size_t i = SLAB_BUFS; i-- > 0;) {
        struct buf *b = &slab->bufs[i];
        *b = (struct buf){ .pool = p, .data = slab->data + i * BUF_SIZE, .next = p->cold };
        p->cold = b;
    }
    slab->next = p->slabs;
    p->slabs = slab;
    return true;
}

static void count_used(struct buf_pool *p)
{
    __atomic_store_n(p->gauge, p->demand.used, __ATOMIC_RELAXED);
}

static void chill(struct buf_pool *p, struct buf *b)
{
    madvise(b->data, BUF_SIZE, MADV_DONTNEED);
    b->next = p->cold;
    p->cold = b;
}

void buf_pool_tick(struct buf_pool *p)
{
    demand_tick(&p->demand);
    while (p->free_count > 0 && !demand_keeps(&p->demand, p->free_count)) {
        struct buf *b = p->free;

        p->free = b->next;
        p->free_count--;
        chill(p, b);
    }
    demand_tick(&p->pipes);
    while (p->free_pipes && !demand_keeps(&p->pipes, p->free_pipe_count))
        drop_pipe(p);
}

struct buf *buf_get(struct buf_pool *p)
{
    struct buf *b = p->free;

    if (p->used_max != 0 && p->demand.used >= p->used_max)
        return NULL;
    if (b) {
        p->free = b->next;
        p->free_count--;
    } else {
        if (!p->cold && !slab_add(p))
            return NULL;
        b = p->cold;
        p->cold = b->next;
    }
    demand_take(&p->demand, 1);
    count_used(p);
    UNPOISON(b->data, BUF_SIZE);
    b->next = NULL;
    b->off = BUF_HEADROOM;
    b->len = 0;
    return b;
}

/* The kernel bounds what one user's pipes may hold (pipe-user-pages-soft in pipe(7)): past that,
 * new ones are small. One of the usual size will do; a smaller one is not worth the calls. */
static int pipe_open(int fds[2])
{
    if (pipe2(fds, O_NONBLOCK | O_CLOEXEC) < 0)
        return -1;
    if (fcntl(fds[1], F_SETPIPE_SZ, BUF_PIPE_SIZE) >= 0 ||
        fcntl(fds[1], F_GETPIPE_SZ) >= PIPE_LEAST)
        return 0;
    close(fds[0]);
    close(fds[1]);
    return -1;
}

struct buf *buf_get_pipe(struct buf_pool *p)
{
    struct buf *b = p->free_pipes;

    if (p->pipes.used >= p->pipes_max)
        return NULL;
    if (b) {
        p->free_pipes = b->next;
        p->free_pipe_count--;
        b->next = NULL;
    } else {
        b = calloc(1, sizeof *b);
        if (!b)
            return NULL;
        if (pipe_open(b->pipe) < 0) {
            free(b);
            return NULL;
        }
        b->is_pipe = true;
        b->pool = p;
    }
    demand_take(&p->pipes, 1);
    return b;
}

static void put_pipe(struct buf_pool *p, struct buf *b)
{
    demand_give(&p->pipes, 1);
    if (b->len > 0 || !demand_keeps(&p->pipes, p->free_pipe_count + 1)) {
        pipe_free(b);
        return;
    }
    b->off = 0;
    b->next = p->free_pipes;
    p->free_pipes = b;
    p->free_pipe_count++;
}

void buf_put(struct buf **bp)
{
    struct buf *b = *bp;

    *bp = NULL;
    if (!b)
        return;
    struct buf_pool *p = b->pool;
    if (b->is_pipe) {
        put_pipe(p, b);
        return;
    }
    assert(p->demand.used > 0);
    demand_give(&p->demand, 1);
    count_used(p);
    if (demand_keeps(&p->demand, p->free_count + 1)) {
        b->next = p->free;
        p->free = b;
        p->free_count++;
    } else {
        chill(p, b);
    }
    POISON(b->data, BUF_SIZE);
}

void bufq_clear(struct bufq *q)
{
    while (q->head) {
        struct buf *b = q->head;
        q->head = b->next;
        buf_put(&b);
    }
    q->tail = NULL;
    q->bytes = 0;
}

static void link_tail(struct bufq *q, struct buf *b)
{
    b->next = NULL;
    if (q->tail)
        q->tail->next = b;
    else
        q->head = b;
    q->tail = b;
}

static size_t tail_room(const struct bufq *q)
{
    return q->tail && !q->tail->is_pipe ? buf_room(q->tail) : 0;
}

/* A queue that is one short buf, a head as a rule, goes in front of the bytes in `b`, where the
 * head that came with them has left room: one buf to hold and to send. */
static bool move_in_front(struct bufq *q, struct buf *b)
{
    struct buf *head = q->tail;

    if (!head || q->head != head || head->is_pipe || b->is_pipe ||
        head->len > b->off || head->len > COPY_MAX)
        return false;
    b->off -= head->len;
    b->len += head->len;
    memcpy(buf_bytes(b), buf_bytes(head), head->len);
    buf_put(&head);
    b->next = NULL;
    q->head = q->tail = b;
    return true;
}

void bufq_push(struct bufq *q, struct buf *b)
{
    if (b->len == 0) {
        buf_put(&b);
        return;
    }
    q->bytes += b->len;
    if (!b->is_pipe && b->len < COPY_MAX && tail_room(q) >= b->len) {
        memcpy(buf_tail(q->tail), buf_bytes(b), b->len);
        q->tail->len += b->len;
        buf_put(&b);
        return;
    }
    if (!move_in_front(q, b))
        link_tail(q, b);
}

struct buf *bufq_shift(struct bufq *q)
{
    struct buf *b = q->head;

    if (!b)
        return NULL;
    q->head = b->next;
    if (!q->head)
        q->tail = NULL;
    q->bytes -= b->len;
    b->next = NULL;
    return b;
}

char *bufq_reserve(struct bufq *q, struct buf_pool *p, size_t n)
{
    assert(n <= BUF_READ_MAX);
    if (!q->tail || tail_room(q) < n) {
        struct buf *b = buf_get(p);
        if (!b)
            return NULL;
        link_tail(q, b);
    }
    return buf_tail(q->tail);
}

void bufq_commit(struct bufq *q, size_t n)
{
    assert(n <= tail_room(q));
    q->tail->len += (uint32_t)n;
    q->bytes += n;
}

unsigned bufq_open(struct bufq *q, struct buf_pool *p, size_t n, struct iovec *iov, unsigned max)
{
    unsigned count = 0;

    while (n > 0 && count < max) {
        struct buf *b = buf_get(p);
        size_t room = b ? buf_room(b) : 0;

        if (!b)
            break;
        if (room > n)
            room = n;
        iov[count++] = (struct iovec){ buf_tail(b), room };
        n -= room;
        link_tail(q, b);
    }
    return count;
}

void bufq_fill(struct bufq *q, size_t n)
{
    struct bufq empty = *q;

    bufq_init(q);
    while (n > 0) {
        struct buf *b = bufq_shift(&empty);
        size_t room = buf_room(b);

        b->len = (uint32_t)(n < room ? n : room);
        n -= b->len;
        q->bytes += b->len;
        link_tail(q, b);
    }
    bufq_clear(&empty);
}

bool bufq_add(struct bufq *q, struct buf_pool *p, struct slice s)
{
    size_t fits = tail_room(q);
    struct bufq more;

    /* All memory first, so that nothing is added when it does not suffice. */
    bufq_init(&more);
    for (size_t got = fits; got < s.n; got += BUF_READ_MAX) {
        struct buf *b = buf_get(p);
        if (!b) {
            bufq_clear(&more);
            return false;
        }
        link_tail(&more, b);
    }
    if (fits > s.n)
        fits = s.n;
    if (fits > 0) {
        memcpy(buf_tail(q->tail), s.p, fits);
        q->tail->len += (uint32_t)fits;
    }
    q->bytes += s.n;
    s.p += fits;
    s.n -= fits;
    for (struct buf *b = more.head; b; b = b->next) {
        size_t n = s.n < BUF_READ_MAX ? s.n : BUF_READ_MAX;
        memcpy(buf_tail(b), s.p, n);
        b->len = (uint32_t)n;
        s.p += n;
        s.n -= n;
    }
    bufq_splice(q, &more);
    return true;
}

void bufq_splice(struct bufq *to, struct bufq *from)
{
    if (!from->head)
        return;
    if (to->tail)
        to->tail->next = from->head;
    else
        to->head = from->head;
    to->tail = from->tail;
    to->bytes += from->bytes;
    bufq_init(from);
}

unsigned bufq_iov(const struct bufq *q, struct iovec *iov, unsigned max)
{
    unsigned n = 0;

    for (const struct buf *b = q->head; b && !b->is_pipe && n < max; b = b->next) {
        if (b->len == 0)
            continue;
        iov[n].iov_base = buf_bytes(b);
        iov[n].iov_len = b->len;
        n++;
    }
    return n;
}

void bufq_skip(struct bufq *q, size_t n)
{
    assert(n <= q->bytes);
    while (q->head && !q->head->is_pipe && q->head->len <= n) {
        struct buf *b = bufq_shift(q);
        n -= b->len;
        buf_put(&b);
    }
    if (n > 0) {
        assert(q->head && !q->head->is_pipe);
        buf_skip(q->head, n);
        q->bytes -= n;
    }
}
