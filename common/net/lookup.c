/* c-ares: the only file that knows it. Its sockets are in an epoll set of our own, level-triggered,
 * which is the one descriptor that users watch. SRV records are taken apart by libresolv, which
 * gives their TTL too. */
#include "common/net/lookup.h"

#include <ares.h>
#include <arpa/nameser.h>
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include "common/base/fd.h"
#include "common/base/strbuf.h"

#define TIMEOUT_MS 2000 /* of the first try at each server; it doubles */
#define TRIES 2
#define EDNS_SIZE 1232  /* bytes of an answer that no path takes apart */
#define HOSTS_TTL_S 5   /* of what is in /etc/hosts */
#define EVENTS 16
#define QUESTIONS_AT_ONCE 32 /* of one lookup */

struct lookups {
    ares_channel channel; /* to the name servers */
    ares_channel hosts;   /* reads /etc/hosts, and is done at once */
    int epoll_fd;
    bool is_closing;
};

/* Addresses of one family of one host; or the SRV records of a name, or a target of theirs, whose
 * addresses are questions of their own. */
struct lookup_question {
    struct lookup *owner;
    char *host;        /* asked */
    const char *label; /* conf_address.host of what it gives */
    in_port_t port;    /* network order */
    int family;        /* AF_UNSPEC: none */
    bool is_of_hosts;
    uint32_t weight, priority;
};

/* ---- the channel ---- */

static void on_socket(void *arg, ares_socket_t fd, int is_reading, int is_writing)
{
    struct lookups *l = arg;
    struct epoll_event e = { .events = (is_reading ? EPOLLIN : 0u) | (is_writing ? EPOLLOUT : 0u),
                             .data.fd = fd };

    if (e.events == 0)
        (void)epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
    else if (epoll_ctl(l->epoll_fd, EPOLL_CTL_MOD, fd, &e) != 0)
        (void)epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &e);
}

static int use_servers(struct lookups *l, const struct conf_nameservers *servers)
{
    char text[ADDR_TEXT_MAX];
    struct strbuf list;
    int rc;

    if (servers->n == 0)
        return ARES_SUCCESS;
    strbuf_init(&list);
    for (size_t i = 0; i < servers->n; i++)
        strbuf_printf(&list, "%s%s", i > 0 ? "," : "", addr_format(&servers->v[i], text));
    rc = ares_set_servers_ports_csv(l->channel, list.s);
    strbuf_fini(&list);
    return rc;
}

/* ARES_ something. On failure there is nothing to destroy. */
static int open_channels(struct lookups *l, const struct conf_nameservers *servers)
{
    char dns[] = "b", files[] = "f";
    struct ares_options o = {
        .flags = ARES_FLAG_EDNS,
        .timeout = TIMEOUT_MS,
        .tries = TRIES,
        .ednspsz = EDNS_SIZE,
        .sock_state_cb = on_socket,
        .sock_state_cb_data = l,
        .lookups = dns,
    };
    struct ares_options of_hosts = { .lookups = files };
    int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_EDNSPSZ
               | ARES_OPT_SOCK_STATE_CB | ARES_OPT_LOOKUPS;
    int rc = ares_init_options(&l->channel, &o, mask);

    if (rc != ARES_SUCCESS)
        return rc;
    rc = use_servers(l, servers);
    if (rc == ARES_SUCCESS)
        rc = ares_init_options(&l->hosts, &of_hosts, ARES_OPT_LOOKUPS);
    if (rc != ARES_SUCCESS)
        ares_destroy(l->channel);
    return rc;
}

struct lookups *lookups_new(const struct conf_nameservers *servers, const char **why)
{
    struct lookups *l = xcalloc(1, sizeof *l);
    int rc;

    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (l->epoll_fd < 0) {
        *why = strerror(errno);
        free(l);
        return NULL;
    }
    rc = open_channels(l, servers);
    if (rc == ARES_SUCCESS)
        return l;
    *why = ares_strerror(rc);
    fd_close(&l->epoll_fd);
    free(l);
    return NULL;
}

void lookups_free(struct lookups **lp)
{
    struct lookups *l = *lp;

    *lp = NULL;
    if (!l)
        return;
    l->is_closing = true;
    ares_destroy(l->channel);
    ares_destroy(l->hosts);
    fd_close(&l->epoll_fd);
    free(l);
}

int lookups_fd(const struct lookups *l)
{
    return l->epoll_fd;
}

int lookups_wait_ms(struct lookups *l)
{
    struct timeval tv;

    if (!ares_timeout(l->channel, NULL, &tv))
        return -1;
    return (int)(tv.tv_sec * 1000 + (tv.tv_usec + 999) / 1000);
}

void lookups_process(struct lookups *l)
{
    struct epoll_event events[EVENTS];
    int n;

    while ((n = epoll_wait(l->epoll_fd, events, EVENTS, 0)) > 0)
        for (int i = 0; i < n; i++) {
            bool is_bad = (events[i].events & (EPOLLERR | EPOLLHUP)) != 0;
            int fd = events[i].data.fd;

            ares_process_fd(l->channel,
                            is_bad || events[i].events & EPOLLIN ? fd : ARES_SOCKET_BAD,
                            is_bad || events[i].events & EPOLLOUT ? fd : ARES_SOCKET_BAD);
        }
    ares_process_fd(l->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
}

/* ---- the end ---- */

/* The lowest priority number is tried first (RFC 2782): the others are backups. */
static void rank(struct lookup *k)
{
    uint32_t lowest = UINT32_MAX;

    for (size_t i = 0; i < k->questions.n; i++)
        if (k->questions.v[i]->family != AF_UNSPEC && k->questions.v[i]->priority < lowest)
            lowest = k->questions.v[i]->priority;
    for (size_t i = 0; i < k->all.n; i++) {
        k->all.v[i].is_backup = k->all.v[i].weight >> 16 > lowest;
        k->all.v[i].weight &= UINT16_MAX;
    }
}

static void finish(struct lookup *k)
{
    rank(k);
    k->found = (struct conf_addresses){ k->all.v, k->all.n };
    names_sort(&k->found);
    if (k->found.n > CONF_ADDRESSES_MAX) {
        k->is_cut = true;
        k->found.n = CONF_ADDRESSES_MAX;
    }
    k->is_partial = k->problem != NULL;
    if (k->fresh > 0)
        k->outcome = LOOKUP_FOUND;
    else
        k->outcome = k->problem ? LOOKUP_FAILED : LOOKUP_NONE;
    if (k->fresh == 0)
        k->found.n = 0;
    k->why = k->problem ? k->problem : k->nothing ? k->nothing : "it has no address";
    k->done(k);
}

static void ask_targets(struct lookup *k);

/* A question is answered, or given up. */
static void settle(struct lookup *k)
{
    assert(k->pending > 0);
    if (!k->is_asking)
        ask_targets(k);
    if (--k->pending == 0)
        finish(k);
}

static void take_ttl(struct lookup *k, int64_t ttl)
{
    if (ttl >= 0 && (uint64_t)ttl < k->ttl_s)
        k->ttl_s = (uint32_t)ttl;
}

static bool is_nothing(int status)
{
    return status == ARES_ENODATA || status == ARES_ENOTFOUND;
}

/* c-ares asks the next server after a SERVFAIL, and has no words for when that was the last. */
static const char *problem_of(int status)
{
    if (status == ARES_ECONNREFUSED)
        return "no name server gives an answer";
    if (status == ARES_ETIMEOUT)
        return "no name server answers in time";
    return ares_strerror(status);
}

static void note(struct lookup *k, int status)
{
    if (!is_nothing(status))
        k->problem = problem_of(status);
    else if (!k->nothing || status == ARES_ENOTFOUND)
        k->nothing = status == ARES_ENOTFOUND ? "there is no such name" : "it has no address";
}

/* ---- addresses ---- */

static void add(struct lookup_question *q, const struct addr *addr)
{
    struct conf_address *a = VEC_PUSH(&q->owner->all);

    a->addr = *addr;
    a->addr.in4.sin_port = q->port; /* at one place in both */
    a->host = q->label;
    a->weight = q->priority << 16 | q->weight; /* until rank() */
}

/* The question was not answered: what it gave before. */
static void add_before(struct lookup_question *q)
{
    struct lookup *k = q->owner;
    const struct conf_addresses *before = k->known ? names_get(k->known, slice_str(k->text))
                                                   : NULL;

    for (size_t i = 0; before && i < before->n; i++) {
        const struct conf_address *a = &before->v[i];

        if (a->addr.sa.sa_family == q->family && a->addr.in4.sin_port == q->port
            && strcmp(a->host, q->label) == 0)
            add(q, &a->addr);
    }
}

static void take_addresses(struct lookup_question *q, const struct ares_addrinfo *list)
{
    for (const struct ares_addrinfo_node *n = list->nodes; n; n = n->ai_next) {
        struct addr addr = { .len = n->ai_addrlen };

        if (n->ai_family != q->family || n->ai_addrlen > sizeof addr.in6)
            continue;
        memcpy(&addr.sa, n->ai_addr, n->ai_addrlen);
        add(q, &addr);
        q->owner->fresh++;
        take_ttl(q->owner, q->is_of_hosts ? HOSTS_TTL_S : n->ai_ttl);
    }
    for (const struct ares_addrinfo_cname *c = list->cnames; c; c = c->next)
        take_ttl(q->owner, c->ttl);
}

static void on_addresses(void *arg, int status, int timeouts, struct ares_addrinfo *list)
{
    struct lookup_question *q = arg;
    struct lookup *k = q->owner;

    (void)timeouts;
    if (!k->owner->is_closing) {
        if (status == ARES_SUCCESS)
            take_addresses(q, list);
        else if (!q->is_of_hosts) {
            note(k, status);
            if (!is_nothing(status))
                add_before(q);
        }
    }
    if (list)
        ares_freeaddrinfo(list);
    if (!k->owner->is_closing)
        settle(k);
}

static struct lookup_question *question_new(struct lookup *k, struct slice host)
{
    struct lookup_question *q = xcalloc(1, sizeof *q);

    q->owner = k;
    q->host = xstrndup(host.p, host.n);
    q->label = "";
    *VEC_PUSH(&k->questions) = q;
    return q;
}

static void ask(struct lookup *k, struct slice host, const struct lookup_question *like,
                int family, bool is_of_hosts)
{
    struct ares_addrinfo_hints hints = { .ai_flags = ARES_AI_NOSORT, .ai_family = family,
                                         .ai_socktype = SOCK_STREAM };
    struct lookup_question *q = question_new(k, host);

    q->port = like->port;
    q->weight = like->weight;
    q->priority = like->priority;
    q->family = family;
    q->is_of_hosts = is_of_hosts;
    if (k->is_srv)
        q->label = q->host;
    k->pending++;
    ares_getaddrinfo(is_of_hosts ? k->owner->hosts : k->owner->channel, q->host, NULL, &hints,
                     on_addresses, q);
}

/* Who is in /etc/hosts is not asked for. Of the two that "localhost" may have there, servers more
 * often listen on IPv4's; c-ares has it even if it is not there. */
static void ask_both(struct lookup *k, struct slice host, const struct lookup_question *like)
{
    size_t before = k->fresh;

    ask(k, host, like, AF_INET, true);
    if (!slice_ieq(host, SLICE("localhost")))
        ask(k, host, like, AF_INET6, true);
    if (k->fresh > before)
        return;
    ask(k, host, like, AF_INET, false);
    ask(k, host, like, AF_INET6, false);
}

/* ---- SRV ---- */

static void take_record(struct lookup *k, const ns_msg *msg, const ns_rr *record)
{
    const unsigned char *data = ns_rr_rdata(*record);
    char target[NS_MAXDNAME];
    struct lookup_question *q;

    if (ns_rr_rdlen(*record) < 7
        || ns_name_uncompress(ns_msg_base(*msg), ns_msg_end(*msg), data + 6, target,
                              sizeof target) < 0)
        return;
    /* "." says that the service is not there. */
    if (!*target || strcmp(target, ".") == 0 || ns_get16(data + 4) == 0)
        return;
    q = question_new(k, slice_str(target));
    q->priority = ns_get16(data);
    q->weight = ns_get16(data + 2);
    q->port = htons((uint16_t)ns_get16(data + 4));
    if (q->weight == 0)
        q->weight = 1;
    k->targets++;
}

/* Some at a time. Those in /etc/hosts are answered within this. */
static void ask_targets(struct lookup *k)
{
    k->is_asking = true;
    while (k->targets_asked < k->targets && k->pending <= QUESTIONS_AT_ONCE) {
        const struct lookup_question *q = k->questions.v[++k->targets_asked];

        ask_both(k, slice_str(q->host), q);
    }
    k->is_asking = false;
}

static int take_records(struct lookup *k, const unsigned char *bytes, int n)
{
    unsigned taken = 0;
    ns_msg msg;
    ns_rr record;

    if (ns_initparse(bytes, n, &msg) != 0)
        return ARES_EBADRESP;
    for (int i = 0; i < ns_msg_count(msg, ns_s_an); i++) {
        if (ns_parserr(&msg, ns_s_an, i, &record) != 0)
            return ARES_EBADRESP;
        take_ttl(k, ns_rr_ttl(record));
        if (ns_rr_type(record) != ns_t_srv)
            continue;
        if (++taken > CONF_ADDRESSES_MAX)
            k->is_cut = true;
        else
            take_record(k, &msg, &record);
    }
    return k->targets > 0 ? ARES_SUCCESS : ARES_ENODATA;
}

static void on_records(void *arg, int status, int timeouts, unsigned char *bytes, int n)
{
    struct lookup_question *q = arg;
    struct lookup *k = q->owner;

    (void)timeouts;
    if (k->owner->is_closing)
        return;
    if (status == ARES_SUCCESS)
        status = take_records(k, bytes, n);
    if (status == ARES_ENODATA)
        k->nothing = "it has no SRV records";
    else if (status != ARES_SUCCESS)
        note(k, status);
    settle(k);
}

/* ---- one lookup ---- */

void lookup_begin(struct lookups *l, struct lookup *k, const char *text)
{
    struct slice whole = slice_str(text), name;
    struct lookup_question like = { .family = AF_UNSPEC };
    struct addr addr;

    k->owner = l;
    k->text = xstrdup(text);
    k->pending = 1; /* so that it does not end while it begins */
    k->ttl_s = UINT32_MAX;
    k->is_srv = slice_starts(whole, SLICE("srv:"));
    if (k->is_srv) {
        k->pending++;
        ares_search(l->channel, text + 4, ns_c_in, ns_t_srv, on_records,
                    question_new(k, slice_of(whole.p + 4, whole.n - 4)));
    } else if (addr_parse(whole, &addr, &name) == ADDR_NAME) {
        like.port = addr.in4.sin_port;
        ask_both(k, name, &like);
    } else {
        k->problem = "it is no name";
    }
    settle(k);
}

void lookup_fini(struct lookup *k)
{
    for (size_t i = 0; i < k->questions.n; i++) {
        free(k->questions.v[i]->host);
        free(k->questions.v[i]);
    }
    VEC_FREE(&k->questions);
    VEC_FREE(&k->all);
    free(k->text);
    k->text = NULL;
    k->found = (struct conf_addresses){ NULL, 0 };
}
