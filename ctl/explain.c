/* `rpctl explain`: which route takes a request, by the router that workers use, over the running
 * configuration or a file. Called by main. */
#include "ctl/explain.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "common/base/fd.h"
#include "common/base/path.h"
#include "common/core/control.h"
#include "ctl/ctl.h"
#include "ctl/load.h"

struct options {
    const char *listener, *config, *host;
    char *path; /* malloc'd: the normal form */
};

/* ---- arguments ---- */

static bool usage(const char *what)
{
    ctl_error("%s; usage: rpctl explain " CTL_EXPLAIN_USAGE, what);
    return false;
}

static bool take_field(struct explain *e, struct options *o, const char *text)
{
    struct slice value = slice_str(text), name = slice_trim(slice_cut(&value, ':'));

    if (!value.p || !slice_is_token(name))
        return usage("-H takes 'Name: value'");
    value = slice_trim(value);
    if (slice_ieq(name, SLICE("Host")))
        o->host = value.p;
    *VEC_PUSH(&e->fields) = (struct explain_field){ name, value };
    return true;
}

/* An option that has a value. */
static bool take_option(struct explain *e, struct options *o, const char *name, const char *value)
{
    if (!value)
        return usage("an option has no value");
    if (strcmp(name, "-H") == 0)
        return take_field(e, o, value);
    if (strcmp(name, "--listener") == 0)
        o->listener = value;
    else if (strcmp(name, "--config") == 0)
        o->config = value;
    else if (strcmp(name, "--client") != 0)
        return usage("there is no such option");
    else if (!ip_parse(slice_str(value), &e->client_ip))
        return usage("--client takes an address");
    else
        e->client = value;
    return true;
}

/* [scheme://authority]/path[?query][#fragment]; a word without a slash before it is a host. */
static void take_url(struct explain *e, const char *url)
{
    struct slice rest = slice_str(url);
    size_t n;

    rest.n = slice_find(rest, '#');
    e->scheme = SLICE("http");
    if (slice_istarts(rest, SLICE("https://")))
        e->scheme = SLICE("https");
    if (slice_istarts(rest, SLICE("https://")) || slice_istarts(rest, SLICE("http://")))
        rest = slice_of(rest.p + e->scheme.n + 3, rest.n - e->scheme.n - 3);
    n = slice_find(rest, '/') < slice_find(rest, '?') ? slice_find(rest, '/')
                                                      : slice_find(rest, '?');
    e->authority = slice_of(rest.p, n);
    e->target = slice_of(rest.p + n, rest.n - n);
}

static bool take_arguments(struct explain *e, struct options *o, char **args)
{
    const char *words[2] = { NULL, NULL };
    size_t n = 0;

    for (; *args; args++) {
        if ((*args)[0] == '-') {
            if (!take_option(e, o, args[0], args[1]))
                return false;
            args++;
        } else if (n == 2) {
            return usage("too many words");
        } else {
            words[n++] = *args;
        }
    }
    if (n < 2)
        return usage("which METHOD and URL?");
    e->method = slice_str(words[0]);
    take_url(e, words[1]);
    if (o->host)
        e->authority = slice_str(o->host);
    return true;
}

/* ---- the configuration ---- */

/* Files that settings name may be unreadable for who asks, which hinders nothing here: what is
 * wrong with a text is known to whoever has it in force, or is told. */
static struct conf *build(const char *file, bool is_told, struct conf_text *text)
{
    struct report report, files;
    struct conf *conf;
    bool is_good;

    report_init(&report);
    report_init(&files);
    is_good = conf_read(text, file, &report);
    conf = conf_build_partial(text, &report);
    is_good = is_good && report.errors == 0;
    if (!is_good && is_told)
        (void)fd_write_all(STDERR_FILENO, report.text.s, report.text.n);
    conf_read_files(text, conf, NULL, &files);
    conf_free(&conf);
    report_fini(&files);
    report_init(&files);
    conf = conf_build_partial(text, &files);
    report_fini(&files);
    report_fini(&report);
    if (!is_good && is_told)
        conf_free(&conf);
    return conf;
}

/* What the master prints, read as a file. */
static struct conf *build_running(const char *printed, size_t n, struct conf_text *text)
{
    int fd = memfd_create("rpd.ini", MFD_CLOEXEC);
    struct conf *conf = NULL;
    char name[64];

    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    if (fd >= 0 && fd_write_all(fd, printed, n) == 0)
        conf = build(name, false, text);
    else
        ctl_error("explain: no memory for the configuration");
    fd_close(&fd);
    return conf;
}

static enum ctl_exit load(const struct ctl *ctl, const struct options *o, struct conf_text *text,
                          struct conf **conf)
{
    struct strbuf answer;
    int r;

    if (o->config) {
        *conf = build(o->config, true, text);
        return *conf ? CTL_DONE : CTL_FAILED;
    }
    strbuf_init(&answer);
    r = control_call(ctl->run_dir, "config", &answer);
    if (r == 0)
        *conf = build_running(answer.s, answer.n, text);
    else
        ctl_error("no rpd answers at %s/rpd.sock (--config FILE asks a file)", ctl->run_dir);
    strbuf_fini(&answer);
    return *conf ? CTL_DONE : r < 0 ? CTL_NO_DAEMON : CTL_FAILED;
}

/* ---- the listener ---- */

static struct slice host_of(struct slice authority)
{
    size_t end = authority.n > 0 && *authority.p == '[' ? slice_find(authority, ']') + 1
                                                        : slice_find(authority, ':');

    return slice_of(authority.p, end < authority.n ? end : authority.n);
}

static uint64_t port_of(const struct explain *e)
{
    struct slice host = host_of(e->authority);
    uint64_t port;

    if (e->authority.n > host.n + 1 &&
        slice_u64(slice_of(host.p + host.n + 1, e->authority.n - host.n - 1), &port))
        return port;
    return slice_eq(e->scheme, SLICE("https")) ? 443 : 80;
}

/* How well the URL fits. */
static unsigned fitness(const struct explain *e, const struct conf_listener *l)
{
    unsigned fits = l->tls == slice_eq(e->scheme, SLICE("https"));

    for (size_t i = 0; i < l->bind.n; i++)
        if (ip_of(&l->bind.v[i].addr.sa).port == port_of(e))
            return fits + 2;
    return fits;
}

static bool find_listener(struct explain *e, const char *name)
{
    const struct conf *conf = e->conf;
    unsigned best = 0;

    for (size_t i = 0; i < conf->nlisteners; i++) {
        const struct conf_listener *l = &conf->listeners[i];

        if (name ? strcmp(l->name, name) != 0 : l->mode == CONF_MODE_TCP)
            continue;
        if (!e->listener || fitness(e, l) > best) {
            e->listener = l;
            best = fitness(e, l);
        }
    }
    if (!e->listener && name)
        ctl_error("there is no [listener %s]", name);
    else if (!e->listener)
        ctl_error("there is no http listener");
    else if (e->listener->mode == CONF_MODE_TCP)
        ctl_error("[listener %s] is in tcp mode: it has no requests", name);
    else
        return true;
    return false;
}

/* ---- asking ---- */

static bool next_field(const void *from, struct slice name, size_t *at, struct slice *value)
{
    const struct explain *e = from;

    while (*at < e->fields.n) {
        const struct explain_field *f = &e->fields.v[(*at)++];

        if (!slice_ieq(f->name, name))
            continue;
        *value = f->value;
        return true;
    }
    return false;
}

static void saw(struct route_trace *trace, const struct route_seen *seen)
{
    struct explain *e = (struct explain *)trace;

    *VEC_PUSH(&e->seen) = *seen;
}

/* Of the target; false: it is refused. */
static bool settle_path(struct explain *e, struct options *o)
{
    enum path_verdict verdict;
    struct slice query = e->target, path = slice_cut(&query, '?');
    size_t n;

    if (path.n == 0)
        path = SLICE("/");
    e->query = query.p ? query : SLICE("");
    o->path = xmalloc(path.n);
    verdict = path_normalise(path, o->path, &n);
    e->path = slice_of(o->path, verdict == PATH_GOOD ? n : 0);
    e->refused = verdict == PATH_GOOD ? NULL : path_verdict_text(verdict);
    return !e->refused;
}

static void ask(struct explain *e)
{
    struct router *router = router_new(e->conf, e->listener);
    struct regex_room *room = regex_room_new();
    const struct route_request q = {
        .host = host_of(e->authority), .path = e->path, .query = e->query, .method = e->method,
        .field = next_field, .from = e, .room = room,
    };
    const struct conf_route *found = router_find(router, &q, &e->trace);

    for (size_t i = 0; i < e->seen.n && !e->winner; i++)
        if (e->seen.v[i].verdict == ROUTE_TAKES && e->seen.v[i].route == found)
            e->winner = &e->seen.v[i];
    regex_room_free(&room);
    router_free(&router);
}

static enum ctl_exit answer(const struct ctl *ctl, struct explain *e, struct options *o)
{
    struct strbuf out;
    enum ctl_exit status;

    if (!find_listener(e, o->listener))
        return CTL_FAILED;
    if (settle_path(e, o))
        ask(e);
    strbuf_init(&out);
    if (ctl->format == CTL_JSON)
        explain_json(e, &out);
    else
        explain_text(e, &out);
    status = ctl_print(&out);
    strbuf_fini(&out);
    if (status != CTL_DONE)
        return status;
    return e->winner || (!e->refused && e->listener->default_backend) ? CTL_DONE : CTL_FAILED;
}

enum ctl_exit ctl_explain(const struct ctl *ctl, char **args)
{
    struct explain e = { .trace = { .saw = saw } };
    struct options o = { .path = NULL };
    struct conf_text text = { .entries = { NULL, 0, 0 } };
    struct conf *conf = NULL;
    enum ctl_exit status = CTL_USAGE;

    if (take_arguments(&e, &o, args)) {
        status = load(ctl, &o, &text, &conf);
        e.conf = conf;
        if (conf)
            status = answer(ctl, &e, &o);
    }
    VEC_FREE(&e.fields);
    VEC_FREE(&e.seen);
    free(o.path);
    conf_free(&conf);
    conf_text_fini(&text);
    return status;
}
