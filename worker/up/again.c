/* Further tries of an up_request, and second ones beside it: which server, and whether the budget
 * permits. Called by request.c when no connection was to be had, else by the request's user. */
#include "worker/up/internal.h"

#include <assert.h>

void up_avoid(struct up_request *r, struct server *s)
{
    if (r->ntried < UP_TRIED_MAX)
        r->tried[r->ntried++] = s->stick;
}

void up_spare(struct up_request *r, const struct server *s)
{
    for (uint32_t i = 0; i < r->ntried; i++)
        if (r->tried[i] == s->stick)
            r->tried[i--] = r->tried[--r->ntried];
}

/* Another server than those it was at, charged; if the budget permits. */
static struct server *pick_other(struct up_request *r)
{
    struct backend *b = r->backend;
    bool is_full;
    struct server *s = backend_pick(b, r, &is_full);

    if (!s || budget_take(&b->budget, b->up->loop->now_us))
        return s;
    stat_inc(&b->stats->retries_over_budget);
    server_give_back(s);
    return NULL;
}

bool up_hedge(struct up_request *r, struct up_request *first)
{
    struct server *s = NULL;

    r->is_begun = false;
    request_begin(r);
    if (first->server)
        up_avoid(r, first->server);
    if (list_empty(&r->backend->queue))
        s = pick_other(r);
    if (!s) {
        r->is_begun = false;
        return false;
    }
    r->beside = first;
    first->beside = r;
    stat_inc(&r->backend->stats->hedges);
    request_go(r, s, r->can_reuse);
    return true;
}

static void count_retry(struct stats_backend *st, uint32_t failure)
{
    stat_inc(&st->retries);
    if (failure & CONF_FAIL_CONNECT)
        stat_inc(&st->retries_connect);
    else if (failure & CONF_FAIL_RESET)
        stat_inc(&st->retries_reset);
    else if (failure & CONF_FAIL_TIMEOUT)
        stat_inc(&st->retries_timeout);
    else
        stat_inc(&st->retries_status);
}

bool up_seek(struct up_request *r, uint32_t failure)
{
    assert(r->server && !r->next);
    if (r->retries == 0 || !(failure & r->retry_on) || r->ntried == UP_TRIED_MAX)
        return false;
    r->tried[r->ntried++] = r->server->stick;
    r->next = pick_other(r);
    if (!r->next) {
        r->ntried--;
        return false;
    }
    count_retry(r->backend->stats, failure);
    return true;
}

void request_move_on(struct up_request *r)
{
    struct server *s = r->next;

    assert(s);
    r->next = NULL;
    r->retries--;
    r->retried++;
    request_leave(r);
    request_go(r, s, r->can_reuse);
}

void up_anew(struct up_request *r)
{
    assert(r->server && !r->next);
    if (!r->server->is_removed && server_is_usable(r->server)) {
        request_connect(r);
        return;
    }
    request_leave(r);
    request_attempt(r);
}

void up_again(struct up_request *r, const struct up_result *result)
{
    request_count(r->server, result);
    request_move_on(r);
}
