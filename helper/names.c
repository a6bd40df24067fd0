/* Names between the resolver and the master: what name servers say goes to the master, and counts
 * when it comes back, to this process as to workers. */
#include <errno.h>
#include "common/base/fd.h"
#include "common/base/log.h"
#include "helper/helper.h"

/* false: the master does not take it now. */
static bool on_answer(struct resolver *r, const char *name, const struct conf_addresses *found)
{
    struct helper *h = CONTAINER(r, struct helper, resolver);
    struct ipc_msg *m = &h->msg;
    bool is_told;

    *m = (struct ipc_msg){ .type = IPC_NAMES, .nfds = 1 };
    m->fds[0] = names_seal_one(slice_str(name), found);
    is_told = m->fds[0] >= 0 && ipc_send(h->channel_fd, m) == 0;
    if (!is_told && errno != EPIPE)
        log_warn("telling the master of %s", name);
    fd_close(&m->fds[0]);
    return is_told;
}

void helper_names_init(struct helper *h)
{
    names_init(&h->names);
    resolver_init(&h->resolver, &h->loop, &h->names, on_answer);
}

void helper_names_fini(struct helper *h)
{
    resolver_fini(&h->resolver);
    if (h->conf)
        names_users_fini(&h->users);
    names_fini(&h->names);
}

void helper_names_follow(struct helper *h, const struct conf *conf)
{
    names_users_fini(&h->users);
    names_users_init(&h->users, conf);
    names_follow(&h->names, conf);
    resolver_follow(&h->resolver, conf);
}

/* What is checked follows. */
static void change(struct helper *h, const struct names_user *user)
{
    for (size_t i = 0; user && i < user->backends.n; i++)
        servers_change(&h->servers, &h->conf->backends[user->backends.v[i]]);
}

void helper_names_take(struct helper *h, const struct ipc_msg *msg)
{
    struct names said;

    names_init(&said);
    if (msg->nfds != 1 || names_open(msg->fds[0], &said) < 0)
        log_errorx("answers of name servers that the master passes on cannot be read");
    LIST_EACH(it, &said.order) {
        const struct name_answer *a = CONTAINER(it, struct name_answer, link);

        if (h->conf && names_set(&h->names, slice_str(a->name), &a->addresses))
            change(h, names_users_of(&h->users, slice_str(a->name)));
    }
    names_fini(&said);
}
