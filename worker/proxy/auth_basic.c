/* Finds who the client says it is, and has the password checked (passwords.h). A user that there is
 * not costs what some other would. Called by steps.c. */
#include "worker/proxy/auth_basic.h"

#include <stdlib.h>
#include "common/base/base64.h"
#include "common/base/hash.h"
#include "worker/proxy/passwords.h"

/* A request whose password is being checked; in its arena. */
struct pending {
    struct password_wait wait;
    struct exchange *exchange;
    struct slice user;
};

/* ---- answers ---- */

static enum step_result refuse(struct exchange *x, enum end_reason why)
{
    struct field challenge = { .name = SLICE("WWW-Authenticate"), .value = x->route->challenge,
                               .id = FIELD_WWW_AUTHENTICATE };

    if (x->route_stats)
        stat_inc(&x->route_stats->unauthorized);
    reply_error_with(x, why, 0, &challenge, 1);
    return STEP_DONE;
}

static void on_answer(struct password_wait *w, bool is_good)
{
    struct pending *pending = CONTAINER(w, struct pending, wait);
    struct exchange *x = pending->exchange;

    x->password = NULL;
    if (is_good) {
        x->auth_user = pending->user;
        steps_go_on(x);
    } else {
        steps_drop(x);
        (void)refuse(x, END_BAD_PASSWORD);
    }
}

void auth_basic_drop(struct exchange *x)
{
    if (!x->password)
        return;
    passwords_cancel(x->proxy->passwords, x->password);
    x->password = NULL;
}

/* ---- the request ---- */

/* token68 behind the scheme (RFC 9110 11.4); p NULL: there is none. Two fields are no answer to who
 * it is. */
static struct slice find_token(const struct exchange *x)
{
    static const struct slice scheme = SLICE_INIT("basic ");
    struct slice token = SLICE_NONE;
    unsigned n = 0;

    FIELDS_EACH(f, &x->stream.request.fields) {
        if (f->id != FIELD_AUTHORIZATION)
            continue;
        n++;
        if (slice_istarts(f->value, scheme))
            token = slice_trim(slice_of(f->value.p + scheme.n, f->value.n - scheme.n));
    }
    return n == 1 ? token : SLICE_NONE;
}

/* false: it is no user and password. They lie in `room`, which the caller wipes. */
static bool read_token(struct slice token, char room[PASSWORD_CREDENTIALS_MAX],
                       struct password_question *q)
{
    struct slice rest;
    size_t n;

    if (token.n / 4 * 3 > PASSWORD_CREDENTIALS_MAX - 3 ||
        !base64_read(BASE64_PADDED, token, (unsigned char *)room, &n))
        return false;
    rest = slice_of(room, n);
    q->user = slice_cut(&rest, ':');
    if (!rest.p)
        return false;
    q->password = rest;
    return rest.n <= PASSWORD_MAX && slice_find(rest, '\0') == rest.n;
}

static int compare_name(const void *key, const void *user)
{
    const struct slice *name = key;
    const struct conf_user *of = user;

    return slice_cmp(*name, of->name);
}

/* false: the route has no user at all, for its file was refused. */
static bool find_hash(const struct conf_users *users, struct password_question *q)
{
    const struct conf_user *user;

    if (users->n == 0)
        return false;
    user = bsearch(&q->user, users->v, users->n, sizeof *users->v, compare_name);
    q->is_known = user != NULL;
    if (!user)
        user = &users->v[hash_bytes(q->user.p, q->user.n) % users->n];
    q->hash = user->hash;
    return true;
}

static enum step_result ask(struct exchange *x, const struct password_question *q)
{
    struct arena *arena = &x->stream.arena;
    struct pending *pending = arena_alloc(arena, sizeof *pending);
    struct proxy *p = x->proxy;
    enum passwords_answer answer = PASSWORDS_EXHAUSTED;

    if (!p->passwords)
        p->passwords = passwords_new(&p->loop, p->stats);
    if (pending && p->passwords) {
        *pending = (struct pending){
            .wait.answer = on_answer,
            .exchange = x,
            .user = arena_printf(arena, "%.*s", SLICE_ARG(q->user)),
        };
        if (pending->user.p)
            answer = passwords_ask(p->passwords, q, &pending->wait);
    }
    switch (answer) {
    case PASSWORDS_GOOD:
        x->auth_user = pending->user;
        return STEP_NEXT;
    case PASSWORDS_WAIT:
        x->password = &pending->wait;
        return STEP_WAIT;
    case PASSWORDS_FULL:
        reply_error(x, END_PASSWORD_QUEUE);
        return STEP_DONE;
    case PASSWORDS_EXHAUSTED:
        break;
    }
    exchange_fail(x, END_EXHAUSTED);
    return STEP_DONE;
}

enum step_result auth_basic_step(struct exchange *x)
{
    struct slice token = find_token(x);
    char room[PASSWORD_CREDENTIALS_MAX];
    struct password_question q = { .hash = NULL };
    enum step_result result;

    if (!token.p)
        return refuse(x, END_NO_PASSWORD);
    if (read_token(token, room, &q) && find_hash(x->route->users, &q))
        result = ask(x, &q);
    else
        result = refuse(x, END_BAD_PASSWORD);
    explicit_bzero(room, sizeof room);
    return result;
}
