/* Settings of servers and of who knows where they are: how an item of each is parsed and printed.
 * Reached through the rows of the settings table only. */
#include <inttypes.h>
#include <string.h>
#include "common/core/conf_impl.h"

/* "backend/server" is a name in the statistics segment: leave room for the backend's. */
#define SERVER_NAME_MAX 100

#define DNS_PORT 53

/* ---- what it is ---- */

enum server_option { SERVER_NAME, SERVER_WEIGHT, SERVER_MAX_CONNS, SERVER_BACKUP, SERVER_DOWN };

static const struct {
    const char *name;
    enum server_option option;
    bool takes_value;
    uint64_t max; /* of a number */
} server_options[] = {
    { "name", SERVER_NAME, true, 0 },
    { "weight", SERVER_WEIGHT, true, 65535 },
    { "max_conns", SERVER_MAX_CONNS, true, 10000000 },
    { "backup", SERVER_BACKUP, false, 0 },
    { "down", SERVER_DOWN, false, 0 },
};
#define NSERVER_OPTIONS (sizeof server_options / sizeof server_options[0])

static bool is_name(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];

        if (!conf_is_host_char(ascii_lower(c)) && c != '.')
            return false;
    }
    return s.n > 0;
}

static void take_server_option(struct conf_cursor *c, struct conf_server *server, size_t i,
                               struct slice value)
{
    uint64_t number = 0;

    if (server_options[i].max > 0 &&
        (!slice_u64(value, &number) || number > server_options[i].max)) {
        conf_value_error(c, "%s: '%.*s' is no number from 0 to %" PRIu64,
                         server_options[i].name, SLICE_ARG(value), server_options[i].max);
        return;
    }
    if (server->is_srv && server_options[i].option == SERVER_WEIGHT) {
        conf_value_error(c, "weight: servers of srv: have the weights of their records");
        return;
    }
    switch (server_options[i].option) {
    case SERVER_NAME:
        if (!is_name(value) || value.n > SERVER_NAME_MAX)
            conf_value_error(c, "name: '%.*s' is no name: up to %d of A-Z a-z 0-9 _ . -",
                             SLICE_ARG(value), SERVER_NAME_MAX);
        server->name = conf_dup(c->b, value).p;
        break;
    case SERVER_WEIGHT:
        server->weight = (uint32_t)number;
        break;
    case SERVER_MAX_CONNS:
        server->max_conns = (uint32_t)number;
        break;
    case SERVER_BACKUP:
        server->is_backup = true;
        break;
    case SERVER_DOWN:
        server->is_down = true;
        break;
    }
}

static void unknown_server_option(struct conf_cursor *c, struct slice name)
{
    const char *names[NSERVER_OPTIONS];

    for (size_t i = 0; i < NSERVER_OPTIONS; i++)
        names[i] = server_options[i].name;
    conf_value_error(c, "'%.*s' is none of name=, weight=, max_conns=, backup, down%s",
                     SLICE_ARG(name), conf_did_you_mean(c->b, name, names, NSERVER_OPTIONS));
}

static void parse_server_options(struct conf_cursor *c, struct conf_server *server,
                                 struct slice rest)
{
    unsigned seen = 0;

    while (rest.n > 0) {
        struct slice word = conf_cut_word(&rest);
        size_t equals = slice_find(word, '='), i = 0;
        struct slice name = slice_of(word.p, equals);
        bool has_value = equals < word.n;

        while (i < NSERVER_OPTIONS && !slice_eq(slice_str(server_options[i].name), name))
            i++;
        if (i == NSERVER_OPTIONS) {
            unknown_server_option(c, name);
        } else if (has_value != server_options[i].takes_value) {
            conf_value_error(c, "'%s' %s", server_options[i].name,
                             has_value ? "takes no value" : "needs a value: write it with '='");
        } else if (seen & 1u << i) {
            conf_value_error(c, "'%s' is given twice", server_options[i].name);
        } else {
            seen |= 1u << i;
            take_server_option(c, server, i,
                               has_value ? slice_of(word.p + equals + 1, word.n - equals - 1)
                                         : SLICE_NONE);
        }
    }
}

/* ---- where it is ---- */

/* What text->resolved has of a name: adjacent records. */
static struct conf_addresses found_of(struct conf_cursor *c, struct slice text)
{
    const struct conf_resolved *first = smap_get(&c->b->resolved, text);
    const struct conf_resolved *end = c->b->text->resolved.v + c->b->text->resolved.n;
    struct conf_addresses found = { NULL, 0 };

    if (!first || first->found.addr.len == 0)
        return found;
    while (first + found.n < end && found.n < CONF_ADDRESSES_MAX
           && slice_eq(slice_str(first[found.n].name), text))
        found.n++;
    found.v = conf_alloc(c->b, found.n * sizeof *found.v);
    for (size_t i = 0; i < found.n; i++) {
        found.v[i] = first[i].found;
        found.v[i].host = conf_dup(c->b, slice_str(first[i].found.host)).p;
    }
    return found;
}

/* `srv:_http._tcp.example.com`: the port is in the records. */
static bool parse_srv(struct conf_cursor *c, struct slice text)
{
    struct slice host = slice_of(text.p + 4, text.n - 4), name;
    struct strbuf whole;
    struct addr addr;
    enum addr_parse rc;

    strbuf_init(&whole);
    strbuf_printf(&whole, "%.*s:1", SLICE_ARG(host));
    rc = addr_parse(strbuf_slice(&whole), &addr, &name);
    if (rc != ADDR_NAME && slice_find(host, ':') < host.n)
        conf_value_error(c, "'%.*s': the port of srv: is in its records (did you mean "
                         "'srv:%.*s'?)", SLICE_ARG(text), (int)slice_find(host, ':'), host.p);
    else if (rc == ADDR_OK && host.n > 0)
        conf_value_error(c, "'%.*s': srv: takes a name, not an address (did you mean "
                         "'%.*s:PORT'?)", SLICE_ARG(text), SLICE_ARG(host));
    else if (rc != ADDR_NAME)
        conf_value_error(c, "'%.*s': no name to ask SRV records of (such as "
                         "'srv:_http._tcp.example.com')", SLICE_ARG(text));
    strbuf_fini(&whole);
    return rc == ADDR_NAME;
}

static bool parse_where(struct conf_cursor *c, struct slice text, struct conf_server *server)
{
    bool is_name = true;

    server->is_srv = slice_starts(text, SLICE("srv:"));
    if (server->is_srv ? !parse_srv(c, text) : !conf_parse_addr(c, text, &server->addr, &is_name))
        return false;
    if (*text.p == ':') {
        conf_value_error(c, "'%.*s' names no host to connect to", SLICE_ARG(text));
        return false;
    }
    server->is_name = is_name;
    if (is_name)
        server->found = found_of(c, text);
    if (server->found.n > 0)
        server->addr = server->found.v[0].addr;
    return true;
}

static void parse_server(struct conf_cursor *c, struct slice text, void *field)
{
    struct conf_servers *list = field;
    struct slice rest = text, word = conf_cut_word(&rest);
    struct conf_server server = { .weight = 1, .origin = c->origin };

    if (!parse_where(c, word, &server))
        return;
    server.text = conf_dup(c->b, word).p;
    parse_server_options(c, &server, rest);
    if (!server.name) {
        server.name = server.text;
        if (word.n > SERVER_NAME_MAX)
            conf_value_error(c, "give it a name=: the address is longer than %d characters",
                             SERVER_NAME_MAX);
    }
    list->v = conf_grow(c, list->v, list->n, sizeof *list->v);
    list->v[list->n++] = server;
}

static void print_server(const void *field, size_t i, struct strbuf *out)
{
    const struct conf_servers *list = field;
    const struct conf_server *s = &list->v[i];

    conf_print_escaped(out, slice_str(s->text));
    /* A name made from the address is made again: "10.0.0.1:80#2" is none to write. */
    if (strcmp(s->name, s->text) != 0 && !strchr(s->name, '#'))
        strbuf_printf(out, " name=%s", s->name);
    if (s->weight != 1)
        strbuf_printf(out, " weight=%" PRIu32, s->weight);
    if (s->max_conns != 0)
        strbuf_printf(out, " max_conns=%" PRIu32, s->max_conns);
    strbuf_adds(out, s->is_backup ? " backup" : "");
    strbuf_adds(out, s->is_down ? " down" : "");
}

COUNT_OF(SERVERS)
LIST_TYPE(SERVERS, .name = "list of servers", .parse = parse_server, .count = count_SERVERS,
          .print = print_server);

/* ---- name servers ---- */

static void parse_nameserver(struct conf_cursor *c, struct slice text, void *field)
{
    struct conf_nameservers *list = field;
    struct addr addr;
    struct slice name;
    struct ip ip;
    enum addr_parse rc;

    if (ip_parse(text, &ip)) {
        ip.port = DNS_PORT;
        ip_to_addr(&ip, &addr);
        rc = ADDR_OK;
    } else {
        rc = addr_parse(text, &addr, &name);
    }
    if (rc == ADDR_OK && (addr.sa.sa_family == AF_UNIX || *text.p == ':'))
        rc = ADDR_BAD_HOST;
    if (rc == ADDR_NAME)
        conf_value_error(c, "'%.*s': a name server is told by its address", SLICE_ARG(text));
    else if (rc != ADDR_OK)
        conf_value_error(c, "'%.*s': %s", SLICE_ARG(text), addr_parse_error(rc));
    else {
        list->v = conf_grow(c, list->v, list->n, sizeof *list->v);
        list->v[list->n++] = addr;
    }
}

static void print_nameserver(const void *field, size_t i, struct strbuf *out)
{
    const struct conf_nameservers *list = field;
    char text[ADDR_TEXT_MAX];

    strbuf_adds(out, addr_format(&list->v[i], text));
}

COUNT_OF(NAMESERVERS)
LIST_TYPE(NAMESERVERS, .name = "list of addresses", .parse = parse_nameserver,
          .count = count_NAMESERVERS, .print = print_nameserver);
