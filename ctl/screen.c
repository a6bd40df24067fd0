/* The terminal, by ANSI sequences and termios. Owns its settings while the screen is open and
 * gives them back on every way out. Called by top and `stats --watch`. */
#include "ctl/screen.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/strbuf.h"

#define ENTER "\033[?1049h\033[?25l\033[?7l"
#define LEAVE "\033[?7h\033[?25h\033[?1049l"

/* The one root of this process: a signal handler needs it. */
static struct {
    int signals;
    bool is_full;      /* the terminal is ours */
    bool is_tty_in;    /* its settings are ours to change */
    bool has_keys;
    bool is_drawn;     /* what stood there before us is gone */
    struct termios was;
    sigset_t mask;     /* before screen_open */
} screen = { .signals = -1 };

static const int ending[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE };
static const int deadly[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT };

/* ---- the terminal ---- */

static void put(const char *s)
{
    (void)fd_write_all(STDOUT_FILENO, s, strlen(s));
}

static void take(void)
{
    struct termios raw;

    if (!screen.is_full)
        return;
    if (screen.is_tty_in) {
        raw = screen.was;
        raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        raw.c_cc[VMIN] = 1;
        raw.c_cc[VTIME] = 0;
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
    put(ENTER);
}

/* Async-signal-safe. */
static void give_back(void)
{
    static const char leave[] = LEAVE;

    if (!screen.is_full)
        return;
    if (screen.is_tty_in)
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &screen.was);
    if (write(STDOUT_FILENO, leave, sizeof leave - 1) < 0)
        return; /* the terminal is gone: nothing to give back */
}

/* SA_RESETHAND: the signal comes again and kills. */
static void on_deadly(int sig)
{
    give_back();
    (void)raise(sig);
}

static void stopped(void)
{
    sigset_t stop;

    give_back();
    sigemptyset(&stop);
    sigaddset(&stop, SIGTSTP);
    (void)raise(SIGTSTP);
    (void)sigprocmask(SIG_UNBLOCK, &stop, NULL); /* stops here */
    (void)sigprocmask(SIG_BLOCK, &stop, NULL);
    take();
}

/* ---- open and close ---- */

static void signals_take(void)
{
    struct sigaction sa = { .sa_handler = on_deadly, .sa_flags = (int)SA_RESETHAND };
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < sizeof ending / sizeof *ending; i++)
        sigaddset(&set, ending[i]);
    sigaddset(&set, SIGWINCH);
    if (screen.is_full)
        sigaddset(&set, SIGTSTP);
    (void)sigprocmask(SIG_BLOCK, &set, &screen.mask);
    screen.signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (!screen.is_full)
        return;
    for (size_t i = 0; i < sizeof deadly / sizeof *deadly; i++)
        (void)sigaction(deadly[i], &sa, NULL);
}

void screen_open(bool is_full)
{
    screen.is_full = is_full;
    screen.is_tty_in = is_full && tcgetattr(STDIN_FILENO, &screen.was) == 0;
    screen.has_keys = screen.is_tty_in;
    signals_take();
    take();
}

void screen_close(void)
{
    give_back();
    screen.is_full = false;
    fd_close(&screen.signals);
    (void)sigprocmask(SIG_SETMASK, &screen.mask, NULL);
}

/* ---- events ---- */

/* true: *event is to be told. */
static bool signal_event(enum screen_event *event)
{
    struct signalfd_siginfo info;

    if (read(screen.signals, &info, sizeof info) != (ssize_t)sizeof info)
        return false;
    *event = SCREEN_RESIZE;
    if (info.ssi_signo == SIGTSTP)
        stopped();
    else if (info.ssi_signo != SIGWINCH)
        *event = SCREEN_END;
    return true;
}

/* A key; the end of the input is none, and asked for no more. */
static bool key_event(char *key)
{
    ssize_t n = read(STDIN_FILENO, key, 1);

    if (n == 1)
        return true;
    if (n == 0 || (errno != EAGAIN && errno != EINTR))
        screen.has_keys = false;
    return false;
}

static int wait_ms(uint64_t until_us)
{
    uint64_t now = clock_mono_us();

    return until_us <= now ? 0 : (int)((until_us - now + 999) / 1000);
}

enum screen_event screen_wait(uint64_t until_us, char *key)
{
    enum screen_event event;

    for (;;) {
        struct pollfd fds[] = {
            { .fd = screen.signals, .events = POLLIN },
            { .fd = screen.has_keys ? STDIN_FILENO : -1, .events = POLLIN },
            /* No event asked for: tells when the reader of a pipe is gone. */
            { .fd = STDOUT_FILENO },
        };
        int n = poll(fds, sizeof fds / sizeof *fds, wait_ms(until_us));

        if (n == 0)
            return SCREEN_TICK;
        if (n < 0)
            continue;
        if (fds[0].revents && signal_event(&event))
            return event;
        if (fds[2].revents & (POLLERR | POLLHUP))
            return SCREEN_END;
        if (fds[1].revents && key_event(key))
            return SCREEN_KEY;
    }
}

/* ---- drawing ---- */

void screen_size(unsigned *rows, unsigned *columns)
{
    struct winsize ws;

    *rows = 24;
    *columns = 80;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) == 0 && ws.ws_row > 0 && ws.ws_col > 0) {
        *rows = ws.ws_row;
        *columns = ws.ws_col;
    }
}

/* Bytes of an escape sequence or of one character at s. */
static size_t unit_at(struct slice s, bool *is_escape)
{
    size_t n = 1;

    *is_escape = s.p[0] == '\033' && s.n > 1 && s.p[1] == '[';
    if (*is_escape) {
        for (n = 2; n < s.n && (s.p[n] < '@' || s.p[n] > '~'); n++)
            ;
        return n < s.n ? n + 1 : n;
    }
    while (n < s.n && ((unsigned char)s.p[n] & 0xc0) == 0x80)
        n++;
    return n;
}

/* Escapes pass beyond the width too: they end what they began. */
static void put_line(struct strbuf *out, struct slice line, unsigned columns)
{
    unsigned used = 0;
    bool is_escape;

    /* Before the text: behind a full line it would take the last column away. */
    strbuf_adds(out, "\033[K");
    while (line.n > 0) {
        size_t n = unit_at(line, &is_escape);

        if (is_escape || used < columns)
            strbuf_add(out, slice_of(line.p, n));
        used += !is_escape;
        line = slice_of(line.p + n, line.n - n);
    }
}

void screen_draw(struct slice text)
{
    struct strbuf out;
    unsigned rows, columns, used = 0;

    screen_size(&rows, &columns);
    strbuf_init(&out);
    strbuf_adds(&out, screen.is_drawn ? "\033[H" : "\033[H\033[2J");
    screen.is_drawn = true;
    for (; used < rows && text.n > 0; used++) {
        if (used > 0)
            strbuf_adds(&out, "\r\n");
        put_line(&out, slice_cut(&text, '\n'), columns);
    }
    if (used < rows)
        strbuf_adds(&out, "\r\n\033[J");
    (void)fd_write_all(STDOUT_FILENO, out.s, out.n);
    strbuf_fini(&out);
}
