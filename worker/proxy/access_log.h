/* The access log of one worker: lines are gathered and written whole, a batch at a time, never
 * waiting: what a full pipe does not take is dropped by the line and counted. */
#ifndef RPD_PROXY_ACCESS_LOG_H
#define RPD_PROXY_ACCESS_LOG_H

#include "common/core/conf.h"
#include "common/core/stats.h"
#include "worker/io/loop.h"
#include "worker/proxy/vars.h"

#define ACCESS_LOG_BUFFER 65536
#define ACCESS_LOG_LINE_MAX 32768

/* How a file is written to without waiting, though others may share its description. */
enum access_log_kind {
    ACCESS_LOG_FILE,   /* a regular file always takes it */
    ACCESS_LOG_PIPE,   /* spliced from a pipe of our own: what does not fit is not waited for */
    ACCESS_LOG_SOCKET, /* MSG_DONTWAIT */
    ACCESS_LOG_OTHER,  /* a terminal: asked before each write */
};

struct access_log {
    struct loop *loop;
    struct task task;    /* writes what is gathered at the batch's end */
    enum conf_log_target target;
    int fd;              /* file, stdout; -1: none */
    enum access_log_kind kind;
    int pipe[2];         /* ACCESS_LOG_PIPE: our own, by which lines go */
    struct template combined;
    char *buf;           /* allocated with the first line */
    size_t n;
    uint64_t time_until_us; /* of the loop's clock: until then the text below holds */
    char time[CLOCK_TEXT_MAX];
    size_t time_n;
    uint64_t *dropped;
};

void access_log_init(struct access_log *l, struct loop *loop, uint64_t *dropped);
void access_log_fini(struct access_log *l);
/* Writes what is gathered to the old target first. The fd is taken over. */
void access_log_open(struct access_log *l, enum conf_log_target target, int fd);
void access_log_flush(struct access_log *l);
static inline bool access_log_is_on(const struct access_log *l)
{
    return l->target != CONF_LOG_OFF;
}
/* One line in that format: combined (as nginx and Apache), json (one object with all variables),
 * or a template. */
void access_log_line(struct access_log *l, const struct conf_log_format_value *format,
                     const struct vars *v);

#endif
