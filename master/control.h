/* The control socket, run_dir/rpd.sock: one command per connection, answered when its outcome is
 * known. The words are those of common/core/control.h. */
#ifndef RPD_MASTER_CONTROL_H
#define RPD_MASTER_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include "common/base/list.h"
#include "common/base/slice.h"
#include "common/base/strbuf.h"
#include "common/core/control.h"
#include "master/bind.h"
#include "master/events.h"

struct handing;
struct master;

struct client {
    struct list list;
    struct list waiting; /* for an outcome, in a list of reload.c, apply.c or stop.c; or alone */
    struct master *master;
    uid_t uid;           /* whose process it is */
    struct slice args;   /* in the line; while it waits its turn */
    struct event event;
    struct deadline deadline;
    char line[CONTROL_LINE_MAX];
    size_t n;
    struct strbuf answer;
    size_t sent;
    bool is_asked, is_answered;
    bool is_diff;        /* of the two that wait their turn */
};

struct control {
    struct event event;
    struct addr addr;
    struct bind_socket bound;
    struct list clients;
    unsigned nclients;
};

void control_init(struct control *c);
/* Binds run_dir/rpd.sock (0660); -1 with errno. The run_dir is locked by us. */
int control_open(struct master *m);
/* The socket of a predecessor, taken over; false with the reason logged. */
bool control_adopt(struct master *m, int fd);
/* A client of a predecessor, as its line in the hand-off says: it waits for how the upgrade goes,
 * or has not said yet what it wants. */
void client_adopt(struct master *m, int fd, struct slice words);
/* The socket's line in a hand-off, and the clients'. */
void control_hand(const struct master *m, struct handing *h);
/* No more clients: the socket goes. */
void control_close(struct master *m);
/* Ends every client as it is, with `ok` for those that asked for the end. */
void control_fini(struct master *m);
/* The outcome of what the client asked for. Does not wait for it to be read. */
void control_answer(struct client *c, bool is_ok, struct slice text);
/* The same for all that wait in a list. */
void control_answer_all(struct list *waiting, bool is_ok, struct slice text);

#endif
