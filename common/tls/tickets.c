/* Ticket keys in shared memory: tickets.h. Called by the master, which writes, and by workers.
 *
 *   +-------+------+--------+--------+
 *   | magic | turn | half 0 | half 1 |   half turn & 1 is in force
 *   +-------+------+--------+--------+
 *
 * A writer that dies while it writes leaves what is in force as it was. A reader so slow that two
 * changes passed sees by `turn` that what it copied may be mixed, and keeps what it had. */
#include "common/tls/tickets.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>
#include "common/base/fd.h"

#define TICKETS_MAGIC 0x31746b6374647072ull /* "rpdtckt1" */
#define LONG_SIZE (TICKET_NAME_SIZE + 2 * 32)
#define SHORT_SIZE (TICKET_NAME_SIZE + 2 * 16)
/* Keys of this age decrypt no more. */
#define AGE_MAX_US (TICKETS_ROTATE_US + TICKETS_KEEP_US)
#define READ_TRIES 4

struct memory {
    uint64_t magic;
    uint64_t turn;
    struct ticket_keys half[2];
};

struct tickets {
    struct memory *memory;
    int fd;      /* -1: a reader's */
    int read_fd;
    uint64_t seen; /* turn of the last tickets_read, plus one */
};

/* ---- files ---- */

static void take_long(struct ticket_key *k, const char *p)
{
    k->size = 32;
    memcpy(k->name, p, TICKET_NAME_SIZE);
    memcpy(k->mac, p + TICKET_NAME_SIZE, 32);
    memcpy(k->aes, p + TICKET_NAME_SIZE + 32, 32);
}

static void take_short(struct ticket_key *k, const char *p)
{
    k->size = 16;
    memcpy(k->name, p, TICKET_NAME_SIZE);
    memcpy(k->aes, p + TICKET_NAME_SIZE, 16);
    memcpy(k->mac, p + TICKET_NAME_SIZE + 16, 16);
}

int ticket_keys_parse(struct ticket_keys *keys, struct slice content)
{
    bool is_long = content.n % LONG_SIZE == 0;
    size_t size = is_long ? LONG_SIZE : SHORT_SIZE;

    memset(keys, 0, sizeof *keys);
    if (content.n == 0 || content.n % size != 0 || content.n / size > TICKET_KEYS_MAX)
        return -1;
    for (; content.n > 0; content.p += size, content.n -= size)
        (is_long ? take_long : take_short)(&keys->v[keys->n++], content.p);
    return 0;
}

void ticket_keys_wipe(struct ticket_keys *keys)
{
    explicit_bzero(keys, sizeof *keys);
}

/* ---- memory ---- */

/* Not for who gets it to open anew and write to: only its owner may, and root. */
static int reopen(int fd)
{
    char path[64];

    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return fchmod(fd, S_IRUSR | S_IWUSR) == 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
}

static struct memory *map(int fd, int protection)
{
    struct memory *m = mmap(NULL, sizeof *m, protection, MAP_SHARED, fd, 0);

    if (m == MAP_FAILED)
        return NULL;
    (void)madvise(m, sizeof *m, MADV_DONTDUMP);
    (void)madvise(m, sizeof *m, MADV_DONTFORK); /* who is forked may not write */
    return m;
}

/* Nothing in it yet. */
static struct tickets *make(void)
{
    struct tickets *t = calloc(1, sizeof *t);
    int error;

    if (!t)
        return NULL;
    t->read_fd = -1;
    t->fd = memfd_create("rpd tickets", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (t->fd >= 0 && ftruncate(t->fd, sizeof *t->memory) == 0
        && fcntl(t->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0
        && (t->read_fd = reopen(t->fd)) >= 0
        && (t->memory = map(t->fd, PROT_READ | PROT_WRITE)) != NULL) {
        t->memory->magic = TICKETS_MAGIC;
        return t;
    }
    error = errno;
    tickets_free(&t);
    errno = error;
    return NULL;
}

void tickets_free(struct tickets **tp)
{
    struct tickets *t = *tp;

    *tp = NULL;
    if (!t)
        return;
    if (t->memory)
        (void)munmap(t->memory, sizeof *t->memory);
    fd_close(&t->fd);
    fd_close(&t->read_fd);
    free(t);
}

/* ---- the master's ---- */

static int new_key(struct ticket_key *k, uint64_t now_us)
{
    memset(k, 0, sizeof *k);
    k->size = 32;
    k->made_us = now_us;
    if (getrandom(k->name, sizeof k->name, 0) == (ssize_t)sizeof k->name
        && getrandom(k->mac, sizeof k->mac, 0) == (ssize_t)sizeof k->mac
        && getrandom(k->aes, sizeof k->aes, 0) == (ssize_t)sizeof k->aes)
        return 0;
    return -1;
}

static void publish(struct tickets *t, const struct ticket_keys *keys)
{
    struct memory *m = t->memory;
    uint64_t turn = m->turn + 1;

    m->half[turn & 1] = *keys;
    __atomic_store_n(&m->turn, turn, __ATOMIC_RELEASE);
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* who reads zeroes below sees the turn, too */
    explicit_bzero(&m->half[~turn & 1], sizeof m->half[0]);
}

static void copy_young(struct ticket_keys *to, const struct ticket_keys *from, uint64_t now_us)
{
    for (uint32_t i = 0; i < from->n && i < TICKET_KEYS_MAX && to->n < TICKET_KEYS_MAX; i++) {
        const struct ticket_key *k = &from->v[i];

        if (k->size <= TICKET_KEY_SIZE_MAX && k->made_us <= now_us
            && now_us - k->made_us < AGE_MAX_US)
            to->v[to->n++] = *k;
    }
}

int tickets_rotate(struct tickets *t, uint64_t now_us)
{
    struct ticket_keys keys = { .n = 1 };

    if (new_key(&keys.v[0], now_us) < 0)
        return -1;
    copy_young(&keys, &t->memory->half[t->memory->turn & 1], now_us);
    publish(t, &keys);
    ticket_keys_wipe(&keys);
    return 0;
}

struct tickets *tickets_new(uint64_t now_us)
{
    struct tickets *t = make();

    if (t && tickets_rotate(t, now_us) < 0)
        tickets_free(&t);
    return t;
}

struct tickets *tickets_adopt(int fd, uint64_t now_us)
{
    int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    struct tickets *old = own < 0 ? NULL : tickets_open(own), *t = NULL;
    struct ticket_keys theirs, keys = { .n = 0 };

    if (old && tickets_read(old, &theirs)) {
        copy_young(&keys, &theirs, now_us);
        ticket_keys_wipe(&theirs);
        t = keys.n > 0 ? make() : tickets_new(now_us);
        if (t && keys.n > 0)
            publish(t, &keys);
        ticket_keys_wipe(&keys);
    }
    tickets_free(&old);
    return t;
}

uint64_t tickets_due_us(const struct tickets *t)
{
    return t->memory->half[t->memory->turn & 1].v[0].made_us + TICKETS_ROTATE_US;
}

int tickets_fd(const struct tickets *t)
{
    return t->read_fd;
}

/* ---- a worker's ---- */

/* It cannot be cut short under us. */
static bool is_sound(int fd)
{
    struct stat st;
    int seals = fcntl(fd, F_GET_SEALS);

    return seals >= 0 && (seals & F_SEAL_SHRINK) && fstat(fd, &st) == 0
           && st.st_size == (off_t)sizeof(struct memory);
}

struct tickets *tickets_open(int fd)
{
    struct tickets *t = is_sound(fd) ? calloc(1, sizeof *t) : NULL;

    if (!t) {
        fd_close(&fd);
        errno = EINVAL;
        return NULL;
    }
    t->fd = -1;
    t->read_fd = fd;
    t->memory = map(fd, PROT_READ);
    if (!t->memory || t->memory->magic != TICKETS_MAGIC) {
        tickets_free(&t);
        errno = EINVAL;
    }
    return t;
}

bool tickets_read(struct tickets *t, struct ticket_keys *keys)
{
    struct memory *m = t->memory;

    for (unsigned i = 0; i < READ_TRIES; i++) {
        uint64_t turn = __atomic_load_n(&m->turn, __ATOMIC_ACQUIRE);
        struct ticket_keys copy;

        if (turn + 1 == t->seen)
            return false;
        copy = m->half[turn & 1];
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (__atomic_load_n(&m->turn, __ATOMIC_RELAXED) != turn || copy.n > TICKET_KEYS_MAX)
            continue;
        t->seen = turn + 1;
        *keys = copy;
        ticket_keys_wipe(&copy);
        return true;
    }
    return false;
}
