/* Servers that are known by name, while a generation is in force: the master passes on what name
 * servers say, and the backends that have that name change in place. */
#include <errno.h>
#include <string.h>
#include "common/base/log.h"
#include "worker/self.h"

void self_names_init(struct worker *w)
{
    names_init(&w->names);
    w->proxy.up.names = &w->names;
}

void self_names_fini(struct worker *w)
{
    if (w->proxy.generation)
        names_users_fini(&w->users);
    names_fini(&w->names);
}

void self_names_follow(struct worker *w)
{
    names_users_fini(&w->users);
    names_users_init(&w->users, w->proxy.generation->conf);
    names_follow(&w->names, w->proxy.generation->conf);
}

static void change(struct worker *w, struct slice name)
{
    const struct names_user *user = names_users_of(&w->users, name);
    struct generation *g = w->proxy.generation;

    for (size_t i = 0; user && i < user->backends.n; i++) {
        size_t index = user->backends.v[i];
        struct names_view view;
        const struct conf_backend *b = names_view(&view, &w->names, &g->conf->backends[index]);

        backend_servers(g->backends[index], b, &b->server);
        names_view_fini(&view);
        flight_event(&w->proxy.recorder.flight, "servers of backend %s changed",
                     g->conf->backends[index].name);
    }
}

void self_names_take(struct worker *w, const struct ipc_msg *msg)
{
    struct names said;

    names_init(&said);
    if (msg->nfds != 1 || names_open(msg->fds[0], &said) < 0)
        log_errorx("answers of name servers that the master passes on cannot be read");
    LIST_EACH(it, &said.order) {
        const struct name_answer *a = CONTAINER(it, struct name_answer, link);

        if (w->proxy.generation && names_users_of(&w->users, slice_str(a->name))
            && names_set(&w->names, slice_str(a->name), &a->addresses))
            change(w, slice_str(a->name));
    }
    names_fini(&said);
}
