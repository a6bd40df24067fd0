/* The thread that checks passwords, the queue to it and back, and what is known to be good. `lock`
 * guards the lists `queue` and `done`, the states of jobs and is_stopping; everything else is the
 * loop's, but for the job the thread is at, of which the loop reads nothing. */
#include "worker/proxy/passwords.h"

#include <assert.h>
#include <crypt.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include "common/base/fd.h"
#include "common/base/hash.h"
#include "common/core/conf.h"

/* What was good is asked of crypt again after this. */
#define KNOWN_US (UINT64_C(300) * 1000000)
#define KNOWN_SETS 256
#define KNOWN_WAYS 4

/* Of a question; 128 bits that nobody can foresee, for their key is drawn at random. */
struct digest {
    uint64_t v[2];
};

struct known {
    struct digest digest;
    uint64_t until_us; /* 0: free */
};

enum job_state { JOB_QUEUED, JOB_RUNNING, JOB_DONE };

struct password_job {
    struct list node;    /* in `queue` or in `done` */
    struct list link;    /* in `jobs` */
    struct list waiters; /* password_wait.node; none: it was given up while it was running */
    enum job_state state;
    struct digest digest;
    bool is_known, is_good;
    char password[PASSWORD_MAX + 1];
    char hash[CONF_USER_HASH_MAX + 1];
};

struct passwords {
    struct loop *loop;
    struct stats_worker *stats;
    struct watch watch;
    int wake;              /* eventfd: something is done */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t work;   /* `queue` is not empty, or is_stopping */
    struct list queue, done;
    bool is_stopping;
    struct list jobs;      /* all */
    unsigned njobs;
    uint64_t keys[2][2];   /* of digests */
    struct known known[KNOWN_SETS][KNOWN_WAYS];
    struct crypt_data data; /* the thread's */
};

/* ---- the thread ---- */

/* Takes as long wherever they differ. */
static bool is_same(const char *a, const char *b)
{
    size_t n = strlen(b);
    unsigned char differ = 0;

    if (strlen(a) != n)
        return false;
    for (size_t i = 0; i < n; i++)
        differ |= (unsigned char)(a[i] ^ b[i]);
    return differ == 0;
}

static bool check(struct crypt_data *data, const struct password_job *job)
{
    const char *made = crypt_r(job->password, job->hash, data);
    bool is_good = made && is_same(made, job->hash);

    explicit_bzero(data, sizeof *data);
    return is_good && job->is_known;
}

static void *run(void *arg)
{
    struct passwords *p = arg;

    pthread_mutex_lock(&p->lock);
    while (!p->is_stopping) {
        struct list *node = list_shift(&p->queue);
        struct password_job *job;

        if (!node) {
            pthread_cond_wait(&p->work, &p->lock);
            continue;
        }
        job = CONTAINER(node, struct password_job, node);
        job->state = JOB_RUNNING;
        pthread_mutex_unlock(&p->lock);
        job->is_good = check(&p->data, job);
        explicit_bzero(job->password, sizeof job->password);
        pthread_mutex_lock(&p->lock);
        job->state = JOB_DONE;
        list_push(&p->done, &job->node);
        (void)eventfd_write(p->wake, 1);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* Signals are the loop's, but for those of the thread's own faults. */
static int start(struct passwords *p)
{
    static const int faults[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP };
    sigset_t blocked, before;
    int error;

    (void)sigfillset(&blocked);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        (void)sigdelset(&blocked, faults[i]);
    (void)pthread_sigmask(SIG_SETMASK, &blocked, &before);
    error = pthread_create(&p->thread, NULL, run, p);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return error ? -1 : 0;
}

/* ---- what is known ---- */

/* No part of a question can pass for another's: each has its length before it. */
static struct digest digest_of(const struct passwords *p, const struct password_question *q)
{
    const struct slice parts[] = { q->user, q->password, slice_str(q->hash) };
    char text[PASSWORD_CREDENTIALS_MAX + CONF_USER_HASH_MAX + 3 * sizeof(uint32_t) + 1];
    struct digest d;
    size_t n = 0;

    assert(q->user.n + q->password.n <= PASSWORD_CREDENTIALS_MAX &&
           parts[2].n <= CONF_USER_HASH_MAX);
    text[n++] = (char)q->is_known;
    for (size_t i = 0; i < 3; i++) {
        uint32_t size = (uint32_t)parts[i].n;

        memcpy(text + n, &size, sizeof size);
        n += sizeof size;
        if (size > 0)
            memcpy(text + n, parts[i].p, size);
        n += size;
    }
    for (size_t i = 0; i < 2; i++)
        d.v[i] = hash_bytes_keyed(text, n, p->keys[i][0], p->keys[i][1]);
    explicit_bzero(text, sizeof text);
    return d;
}

static bool digest_eq(const struct digest *a, const struct digest *b)
{
    return a->v[0] == b->v[0] && a->v[1] == b->v[1];
}

static bool is_known(const struct passwords *p, const struct digest *d)
{
    const struct known *set = p->known[d->v[0] % KNOWN_SETS];

    for (size_t i = 0; i < KNOWN_WAYS; i++)
        if (digest_eq(&set[i].digest, d) && p->loop->now_us < set[i].until_us)
            return true;
    return false;
}

/* In place of what is known the longest. */
static void learn(struct passwords *p, const struct digest *d)
{
    struct known *set = p->known[d->v[0] % KNOWN_SETS], *oldest = set;

    for (size_t i = 1; i < KNOWN_WAYS; i++)
        if (set[i].until_us < oldest->until_us)
            oldest = &set[i];
    *oldest = (struct known){ *d, p->loop->now_us + KNOWN_US };
}

/* ---- jobs ---- */

static void job_free(struct passwords *p, struct password_job *job)
{
    list_remove(&job->link);
    p->njobs--;
    explicit_bzero(job->password, sizeof job->password);
    free(job);
}

static struct password_job *job_find(struct passwords *p, const struct digest *d)
{
    LIST_EACH(it, &p->jobs) {
        struct password_job *job = CONTAINER(it, struct password_job, link);

        if (digest_eq(&job->digest, d))
            return job;
    }
    return NULL;
}

static struct password_job *job_new(struct passwords *p, const struct password_question *q,
                                    const struct digest *d)
{
    struct password_job *job = calloc(1, sizeof *job);

    if (!job)
        return NULL;
    list_init(&job->waiters);
    job->digest = *d;
    job->is_known = q->is_known;
    if (!slice_copy(job->password, sizeof job->password, q->password) ||
        !slice_copy(job->hash, sizeof job->hash, slice_str(q->hash)))
        assert(!"a password that is too long");
    list_push(&p->jobs, &job->link);
    p->njobs++;
    pthread_mutex_lock(&p->lock);
    list_push(&p->queue, &job->node);
    pthread_cond_signal(&p->work);
    pthread_mutex_unlock(&p->lock);
    return job;
}

static void wait_on(struct password_job *job, struct password_wait *w)
{
    w->job = job;
    list_push(&job->waiters, &w->node);
}

enum passwords_answer passwords_ask(struct passwords *p, const struct password_question *q,
                                    struct password_wait *w)
{
    struct digest d = digest_of(p, q);
    struct password_job *job;

    if (is_known(p, &d))
        return PASSWORDS_GOOD;
    job = job_find(p, &d);
    if (!job) {
        if (p->njobs > PASSWORDS_WAITING_MAX) {
            stat_inc(&p->stats->password_shed);
            return PASSWORDS_FULL;
        }
        job = job_new(p, q, &d);
        if (!job)
            return PASSWORDS_EXHAUSTED;
    }
    wait_on(job, w);
    return PASSWORDS_WAIT;
}

void passwords_cancel(struct passwords *p, struct password_wait *w)
{
    struct password_job *job = w->job;
    bool was_queued;

    list_remove(&w->node);
    if (!list_empty(&job->waiters))
        return;
    pthread_mutex_lock(&p->lock);
    was_queued = job->state == JOB_QUEUED;
    if (was_queued)
        list_remove(&job->node);
    pthread_mutex_unlock(&p->lock);
    if (was_queued)
        job_free(p, job);
}

/* Who gets the answer may ask anew, and end others that wait. */
static void finish(struct passwords *p, struct password_job *job)
{
    bool is_good = job->is_good;
    struct list *node;

    stat_inc(&p->stats->password_checks);
    if (is_good)
        learn(p, &job->digest);
    while ((node = list_shift(&job->waiters)) != NULL) {
        struct password_wait *w = CONTAINER(node, struct password_wait, node);

        w->answer(w, is_good);
    }
    job_free(p, job);
}

static void on_wake(struct watch *watch, uint32_t events)
{
    struct passwords *p = CONTAINER(watch, struct passwords, watch);
    struct list done, *node;
    eventfd_t count;

    (void)events;
    list_init(&done);
    (void)eventfd_read(p->wake, &count);
    pthread_mutex_lock(&p->lock);
    list_splice(&done, &p->done);
    pthread_mutex_unlock(&p->lock);
    while ((node = list_shift(&done)) != NULL)
        finish(p, CONTAINER(node, struct password_job, node));
}

/* ---- life ---- */

struct passwords *passwords_new(struct loop *loop, struct stats_worker *stats)
{
    struct passwords *p = calloc(1, sizeof *p);

    if (!p)
        return NULL;
    p->loop = loop;
    p->stats = stats;
    p->watch.fn = on_wake;
    list_init(&p->queue);
    list_init(&p->done);
    list_init(&p->jobs);
    p->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (p->wake < 0 || getrandom(p->keys, sizeof p->keys, 0) != (ssize_t)sizeof p->keys ||
        loop_add_input(loop, p->wake, &p->watch) < 0)
        goto fail;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->work, NULL);
    if (start(p) == 0)
        return p;
    pthread_cond_destroy(&p->work);
    pthread_mutex_destroy(&p->lock);
fail:
    fd_close(&p->wake);
    free(p);
    return NULL;
}

void passwords_free(struct passwords **pp)
{
    struct passwords *p = *pp;

    *pp = NULL;
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->is_stopping = true;
    pthread_cond_signal(&p->work);
    pthread_mutex_unlock(&p->lock);
    pthread_join(p->thread, NULL);
    LIST_EACH(it, &p->jobs) {
        struct password_job *job = CONTAINER(it, struct password_job, link);

        assert(list_empty(&job->waiters));
        job_free(p, job);
    }
    loop_forget(p->loop, &p->watch);
    fd_close(&p->wake);
    pthread_cond_destroy(&p->work);
    pthread_mutex_destroy(&p->lock);
    explicit_bzero(p, sizeof *p);
    free(p);
}
