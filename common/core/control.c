/* The client's side of the control socket: one line out, `ok` or `refused` and text back. Called
 * by rpctl; never by the daemon. */
#include "common/core/control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "common/base/fd.h"

#define SOCKET_NAME "rpd.sock"
#define READ_SIZE 4096

static int call_connect(int sock, const struct sockaddr_un *un)
{
    int r;

    do
        r = connect(sock, (const struct sockaddr *)un, sizeof *un);
    while (r != 0 && errno == EINTR);
    return r;
}

/* A path too long for sun_path is reached through the directory's descriptor. */
static int connect_to(int sock, const char *run_dir)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    int n = snprintf(un.sun_path, sizeof un.sun_path, "%s/" SOCKET_NAME, run_dir);
    int dir, r;

    if (n >= 0 && (size_t)n < sizeof un.sun_path)
        return call_connect(sock, &un);
    dir = open(run_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return -1;
    snprintf(un.sun_path, sizeof un.sun_path, "/proc/self/fd/%d/" SOCKET_NAME, dir);
    r = call_connect(sock, &un);
    fd_close(&dir);
    return r;
}

static int send_line(int sock, const char *command)
{
    struct strbuf line;
    size_t done = 0;
    ssize_t n = 0;

    strbuf_init(&line);
    strbuf_adds(&line, command);
    strbuf_addc(&line, '\n');
    while (done < line.n && n >= 0) {
        n = send(sock, line.s + done, line.n - done, MSG_NOSIGNAL);
        if (n > 0)
            done += (size_t)n;
        else if (n < 0 && errno == EINTR)
            n = 0;
    }
    strbuf_fini(&line);
    return n < 0 ? -1 : 0;
}

static int receive_all(int sock, struct strbuf *out)
{
    char buf[READ_SIZE];
    ssize_t n;

    for (;;) {
        n = recv(sock, buf, sizeof buf, 0);
        if (n == 0)
            return 0;
        if (n > 0)
            strbuf_add(out, slice_of(buf, (size_t)n));
        else if (errno != EINTR)
            return -1;
    }
}

/* Splits the first line off; -1 when it is neither of the two. */
static int take_verdict(struct slice reply, struct strbuf *answer)
{
    struct slice rest = reply;
    struct slice word = slice_cut(&rest, '\n');
    bool is_ok = slice_eq(word, SLICE("ok"));

    if (!rest.p || (!is_ok && !slice_eq(word, SLICE("refused")))) {
        errno = EPROTO;
        return -1;
    }
    strbuf_add(answer, rest);
    return is_ok ? 0 : 1;
}

int control_call(const char *run_dir, const char *command, struct strbuf *answer)
{
    struct strbuf reply;
    int sock, r = -1;

    if (strchr(command, '\n') || strlen(command) + 1 >= CONTROL_LINE_MAX) {
        errno = EINVAL;
        return -1;
    }
    sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (sock < 0)
        return -1;
    strbuf_init(&reply);
    /* A master that refuses without reading may have closed already: its answer still counts. */
    if (connect_to(sock, run_dir) == 0 && (send_line(sock, command) == 0 || errno == EPIPE)
        && receive_all(sock, &reply) == 0)
        r = take_verdict(strbuf_slice(&reply), answer);
    strbuf_fini(&reply);
    fd_close(&sock);
    return r;
}
