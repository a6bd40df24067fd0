/* What all TLS conns of a worker share: OpenSSL's buffers among those that are in use, ticket keys,
 * memory that records pass through. Called by conn_tls.c, and by the worker at start and end.
 *
 * OpenSSL needs 34 kB of buffers to read and to write, and would take and give them back with every
 * record (SSL_MODE_RELEASE_BUFFERS), which costs, or keep them for good, which an idle connection
 * must not. So the few conns used last are warm: they keep them. Who has not been used for a
 * second, or longest when they become too many, gives them back. */
#include <stdlib.h>
#include "common/base/mem.h"
#include "worker/io/tls_impl.h"

#define WARM_MAX 256
#define COOL_US 1000000

/* ---- warm and cold ---- */

void tls_process_chill(struct tls_conn *t)
{
    if (!t->info || list_empty(&t->warm))
        return;
    list_remove(&t->warm);
    t->process->nwarm--;
}

/* One that has half a record keeps its buffers, for the next use makes it warm again. */
static void cool(struct tls_conn *t)
{
    tls_process_chill(t);
    (void)SSL_free_buffers(t->ssl);
}

static struct tls_conn *coldest(struct tls_process *p)
{
    return CONTAINER(p->warm.prev, struct tls_conn, warm);
}

void tls_process_warm(struct tls_conn *t)
{
    struct tls_process *p = t->process;

    if (list_empty(&t->warm)) {
        if (p->nwarm++ == 0)
            timer_set(&p->conns->loop->timers, &p->cool, t->used_us, COOL_US);
        else if (p->nwarm > WARM_MAX)
            cool(coldest(p));
    }
    list_remove(&t->warm);
    list_unshift(&p->warm, &t->warm);
}

static void on_cool(struct timer *timer)
{
    struct tls_process *p = CONTAINER(timer, struct tls_process, cool);
    uint64_t now = p->conns->loop->now_us;

    while (p->nwarm > 0 && now - coldest(p)->used_us >= COOL_US)
        cool(coldest(p));
    if (p->nwarm > 0)
        timer_set(&p->conns->loop->timers, timer, now, COOL_US);
}

/* ---- life ---- */

struct tls_process *tls_process_new(struct conn_pool *conns, const struct tls_keys *keys)
{
    struct tls_process *p = xcalloc(1, sizeof *p);

    p->conns = conns;
    p->keys = keys;
    p->site_index = -1;
    smap_init(&p->certs, false);
    smap_init(&p->cas, false);
    list_init(&p->warm);
    list_init(&p->starved);
    timer_init(&p->cool, on_cool);
    conns->tls = p;
    return p;
}

int tls_process_start(struct tls_process *p)
{
    if (!p->method)
        p->method = tls_bio_method();
    if (!p->bio && p->method)
        p->bio = tls_bio_new(p->method, p);
    if (p->site_index < 0)
        p->site_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, tls_site_free);
    if (!p->tickets)
        p->tickets = tls_tickets_new();
    if (!p->bio || p->site_index < 0 || !p->tickets)
        return -1;
    tls_tickets_share(p->tickets, &p->shared);
    return 0;
}

int tls_process_tickets(struct tls_process *p, int fd)
{
    struct tickets *new = tickets_open(fd);

    if (!new)
        return -1;
    tickets_free(&p->shared);
    p->shared = new;
    if (p->tickets)
        tls_tickets_share(p->tickets, &p->shared);
    return 0;
}

int tls_process_tickets_fd(const struct tls_process *p)
{
    return p->shared ? tickets_fd(p->shared) : -1;
}

void tls_process_free(struct tls_process **pp)
{
    struct tls_process *p = *pp;

    *pp = NULL;
    if (!p)
        return;
    timer_clear(&p->conns->loop->timers, &p->cool);
    tls_tickets_unref(&p->tickets);
    tickets_free(&p->shared);
    if (p->site_index >= 0)
        CRYPTO_free_ex_index(CRYPTO_EX_INDEX_SSL_CTX, p->site_index);
    smap_fini(&p->certs);
    smap_fini(&p->cas);
    BIO_free(p->bio);
    BIO_meth_free(p->method);
    p->conns->tls = NULL;
    free(p);
}
