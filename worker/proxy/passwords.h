/* Passwords, checked by crypt(3). That takes 10 to 300 ms, so it is done by a thread of its own:
 *
 *   passwords_ask --queue (bounded)--> the thread: crypt_r --eventfd--> the loop --> answer()
 *
 * What was good is known for some minutes, by a keyed digest of user, password and hash, and is
 * answered at once. The same question of several who wait is asked once. Passwords are wiped when
 * they have been checked. One object in a worker, made at the first question: the thread begins
 * long after the worker has become who it is. */
#ifndef RPD_PROXY_PASSWORDS_H
#define RPD_PROXY_PASSWORDS_H

#include "common/base/list.h"
#include "common/base/slice.h"
#include "common/core/stats.h"
#include "worker/io/loop.h"

/* Bytes of a password; crypt(3) takes no more. */
#define PASSWORD_MAX 511
/* Bytes of a user and their password together. */
#define PASSWORD_CREDENTIALS_MAX 1024
/* Questions that wait at once, beside the one that is being answered. */
#define PASSWORDS_WAITING_MAX 64

struct passwords;
struct password_job;

/* Somebody who waits; the asker's. */
struct password_wait {
    struct list node;
    struct password_job *job;
    /* From the loop; it does not wait any more. */
    void (*answer)(struct password_wait *w, bool is_good);
};

struct password_question {
    struct slice user, password; /* the password without NUL, of PASSWORD_MAX bytes at most */
    const char *hash;            /* of the right one */
    bool is_known;               /* false: there is no such user. It takes as long, for nothing */
};

enum passwords_answer {
    PASSWORDS_GOOD,      /* known */
    PASSWORDS_WAIT,      /* w->answer comes, unless passwords_cancel does */
    PASSWORDS_FULL,      /* too many wait */
    PASSWORDS_EXHAUSTED, /* memory or threads */
};

/* NULL with errno. */
struct passwords *passwords_new(struct loop *loop, struct stats_worker *stats);
/* Ends the thread, after the password that it is at. Nobody waits any more. */
void passwords_free(struct passwords **p);
enum passwords_answer passwords_ask(struct passwords *p, const struct password_question *q,
                                    struct password_wait *w);
/* No answer is wanted. */
void passwords_cancel(struct passwords *p, struct password_wait *w);

#endif
