/* Handshakes in jobs of OpenSSL's: keys.h. Owns this thread's pool of them. Called by conn_tls.c;
 * what runs in a job pauses through keys.c only.
 *
 * The job is ours and not the one that SSL_MODE_ASYNC makes: so its first frame is known here, and
 * there is one struct less per connection. */
#include <assert.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include "worker/io/keys_impl.h"

#define JOBS_KEPT 32  /* however idle the worker is */
#define CALM_TICKS 60 /* without more than those, before stacks are given back */

struct call {
    struct keys *keys;
    SSL *ssl;
};

static int job_main(void *arg)
{
    const struct call *call = arg;

    fibre_on(&call->keys->fibre);
    return SSL_do_handshake(call->ssl);
}

bool keys_pause(struct keys *k)
{
    uint64_t turn = k->turns;

    (void)ASYNC_pause_job(); /* which may come back at once: blocked, or failed */
    if (k->turns == turn)
        return false;
    fibre_on(&k->fibre);
    return true;
}

int keys_handshake(struct keys *k, struct key_wait *w, SSL *ssl)
{
    struct call call = { k, ssl };
    ASYNC_JOB *job = w->job;
    bool is_new = !job;
    int result = -1, r;

    if (w->op)
        return KEYS_WAITS; /* still */
    if (k->nkeys == 0 && !job)
        return SSL_do_handshake(ssl);
    assert(!k->running);
    k->running = w;
    k->turns++;
    r = ASYNC_start_job(&job, k->wait_ctx, &result, job_main, &call, sizeof call);
    k->running = NULL;
    fibre_off(&k->fibre);
    switch (r) {
    case ASYNC_PAUSE:
        w->job = job;
        if (is_new)
            demand_take(&k->jobs, 1);
        return KEYS_WAITS;
    case ASYNC_FINISH:
        if (!is_new)
            demand_give(&k->jobs, 1);
        w->job = NULL;
        return result;
    case ASYNC_NO_JOBS:
        return KEYS_CROWDED;
    default:
        return -1; /* OpenSSL has put the reason into its queue */
    }
}

void keys_jobs_tick(struct keys *k)
{
    demand_tick(&k->jobs);
    if (k->jobs.limit > JOBS_KEPT)
        k->calm = CALM_TICKS;
    if (k->calm == 0 || --k->calm > 0)
        return;
    if (k->jobs.used > 0) {
        k->calm = 1;
        return;
    }
    /* The pool gives back all or none, and each new one costs a few bytes for good. */
    ASYNC_cleanup_thread();
    if (ASYNC_init_thread(KEYS_WAITING_MAX, 0) != 1)
        ERR_clear_error(); /* OpenSSL makes one itself, without a limit */
}

int keys_jobs_init(struct keys *k)
{
    demand_init(&k->jobs, JOBS_KEPT);
    k->wait_ctx = ASYNC_WAIT_CTX_new();
    return k->wait_ctx && ASYNC_is_capable() && ASYNC_init_thread(KEYS_WAITING_MAX, 0) == 1
               ? 0 : -1;
}

void keys_jobs_fini(struct keys *k)
{
    ASYNC_cleanup_thread();
    ASYNC_WAIT_CTX_free(k->wait_ctx);
    k->wait_ctx = NULL;
}
