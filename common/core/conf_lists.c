/* Settings of several values: how an item of each list TYPE is parsed and printed. Reached
 * through the rows of the settings table only. */
#include <string.h>
#include "common/core/conf_impl.h"

bool conf_parse_addr(struct conf_cursor *c, struct slice text, struct addr *addr, bool *is_name)
{
    const struct conf_resolved *r;
    struct slice name;
    enum addr_parse rc = addr_parse(text, addr, &name);

    *is_name = rc == ADDR_NAME;
    if (rc == ADDR_OK)
        return true;
    if (rc == ADDR_NAME) {
        r = smap_get(&c->b->resolved, text);
        *addr = r ? r->found.addr : (struct addr){ .len = 0 };
        return true;
    }
    conf_value_error(c, "'%.*s': %s", SLICE_ARG(text), addr_parse_error(rc));
    return false;
}

/* ---- bind ---- */

static void parse_bind(struct conf_cursor *c, struct slice text, void *field)
{
    struct conf_binds *list = field;
    struct addr addr;
    bool is_name;

    if (!conf_parse_addr(c, text, &addr, &is_name))
        return;
    list->v = conf_grow(c, list->v, list->n, sizeof *list->v);
    list->v[list->n++] = (struct conf_bind){ addr, conf_dup(c->b, text).p, c->origin };
}

static void print_bind(const void *field, size_t i, struct strbuf *out)
{
    const struct conf_binds *list = field;

    conf_print_escaped(out, slice_str(list->v[i].text));
}

COUNT_OF(BINDS)
LIST_TYPE(BINDS, .name = "list of addresses", .parse = parse_bind, .count = count_BINDS,
          .print = print_bind);

/* ---- networks ---- */

static void parse_net(struct conf_cursor *c, struct slice text, void *field)
{
    struct conf_nets *list = field;
    const char *why = "no network";
    struct net net;

    if (!net_parse(text, &net, &why)) {
        conf_value_error(c, "'%.*s': %s", SLICE_ARG(text), why);
        return;
    }
    list->v = conf_grow(c, list->v, list->n, sizeof *list->v);
    list->v[list->n++] = net;
}

void conf_print_net(const struct net *net, struct strbuf *out)
{
    struct ip ip = { .family = net->family };
    char text[ADDR_TEXT_MAX];

    if (net->family == AF_UNIX) {
        strbuf_adds(out, "unix");
        return;
    }
    memcpy(ip.b, net->b, sizeof ip.b);
    strbuf_add(out, slice_of(text, ip_format(&ip, text)));
    strbuf_printf(out, "/%u", net->family == AF_INET ? net->bits - 96u : net->bits);
}

static void print_net(const void *field, size_t i, struct strbuf *out)
{
    const struct conf_nets *list = field;

    conf_print_net(&list->v[i], out);
}

COUNT_OF(NETS)
LIST_TYPE(NETS, .name = "list of networks", .parse = parse_net, .count = count_NETS,
          .print = print_net);

/* ---- listeners ---- */

static void parse_listener(struct conf_cursor *c, struct slice text, void *field)
{
    struct conf_listeners *list = field;
    const void *one = conf_find_once(c, CONF_KIND_listener, text, list->v, list->n);

    if (!one)
        return;
    list->v = conf_grow(c, list->v, list->n, sizeof *list->v);
    list->v[list->n++] = one;
}

static void print_listener(const void *field, size_t i, struct strbuf *out)
{
    const struct conf_listeners *list = field;

    strbuf_adds(out, list->v[i]->name);
}

COUNT_OF(LISTENERS)
LIST_TYPE(LISTENERS, .name = "list of listeners", .parse = parse_listener,
          .count = count_LISTENERS, .print = print_listener);

/* ---- hosts ---- */

struct slice conf_lower(struct conf_builder *b, struct slice text)
{
    struct slice lower = conf_dup(b, text);
    char *p = (char *)(uintptr_t)lower.p;

    for (size_t i = 0; i < lower.n; i++)
        p[i] = ascii_lower(p[i]);
    return lower;
}

bool conf_is_domain(struct slice name)
{
    char before = '.';

    for (size_t i = 0; i < name.n; i++) {
        if (!conf_is_host_char(name.p[i]) && (name.p[i] != '.' || before == '.'))
            return false;
        before = name.p[i];
    }
    return name.n > 0 && name.n <= 253 && before != '.';
}

static bool is_ip_literal(struct slice name)
{
    struct ip ip;

    return name.n > 2 && name.p[0] == '[' && name.p[name.n - 1] == ']' &&
           ip_parse(slice_of(name.p + 1, name.n - 2), &ip) && ip.family == AF_INET6;
}

/* What is wrong with something that is no host. */
static const char *host_error(struct slice text)
{
    if (slice_eq(text, SLICE("*")))
        return "a route without host takes any";
    if (slice_find(text, '/') < text.n)
        return "a host, not a URL, belongs here";
    if (slice_find(text, '*') < text.n)
        return "a wildcard is written *.example.com";
    if (slice_find(text, ':') < text.n)
        return "a host is written without port";
    return "no host: write api.example.com or *.example.com";
}

static void parse_host(struct conf_cursor *c, struct slice text, void *field)
{
    struct conf_hosts *list = field;
    struct slice lower = conf_lower(c->b, text), name = lower;
    char *p = (char *)(uintptr_t)lower.p;
    bool is_wildcard = slice_starts(lower, SLICE("*."));

    /* The root's dot, as in a request for "example.com.". */
    if (name.n > 1 && name.p[name.n - 1] == '.')
        p[--name.n] = '\0';
    if (is_wildcard)
        name = slice_of(name.p + 1, name.n - 1);

    struct slice domain = is_wildcard ? slice_of(name.p + 1, name.n - 1) : name;
    if (!conf_is_domain(domain) && (is_wildcard || !is_ip_literal(name))) {
        conf_value_error(c, "'%.*s': %s", SLICE_ARG(text), host_error(text));
        return;
    }
    list->v = conf_grow(c, list->v, list->n, sizeof *list->v);
    list->v[list->n++] = (struct conf_host){ name, is_wildcard };
}

static void print_host(const void *field, size_t i, struct strbuf *out)
{
    const struct conf_hosts *list = field;

    strbuf_adds(out, list->v[i].is_wildcard ? "*" : "");
    strbuf_add(out, list->v[i].name);
}

COUNT_OF(HOSTS)
LIST_TYPE(HOSTS, .name = "list of hosts", .parse = parse_host, .count = count_HOSTS,
          .print = print_host);

/* ---- field rules ---- */

static const struct {
    struct slice name;
    enum conf_rule_op op;
} rule_ops[] = {
    { SLICE_INIT("set"), CONF_RULE_SET },
    { SLICE_INIT("add"), CONF_RULE_ADD },
    { SLICE_INIT("remove"), CONF_RULE_REMOVE },
};
#define NRULE_OPS (sizeof rule_ops / sizeof rule_ops[0])

/* Framing and hop-by-hop fields belong to the codec (RFC 9110 7.6.1). */
static const struct slice codec_fields[] = {
    SLICE_INIT("Content-Length"), SLICE_INIT("Transfer-Encoding"), SLICE_INIT("Connection"),
    SLICE_INIT("Keep-Alive"),     SLICE_INIT("Proxy-Connection"),  SLICE_INIT("TE"),
    SLICE_INIT("Trailer"),        SLICE_INIT("Upgrade"),
};

/* NRULE_OPS: none. */
static size_t find_rule_op(struct slice word)
{
    size_t i = 0;

    while (i < NRULE_OPS && !slice_eq(rule_ops[i].name, word))
        i++;
    return i;
}

static bool begins_rule(struct slice text)
{
    struct slice rest = text, word = conf_cut_word(&rest);
    size_t op = find_rule_op(word);

    if (op == NRULE_OPS)
        return false;

    struct slice name = slice_of(rest.p, slice_find(rest, ':'));
    if (rule_ops[op].op == CONF_RULE_REMOVE)
        name = slice_trim(slice_of(rest.p, slice_find(rest, ',')));
    else if (name.n == rest.n)
        return false;
    return slice_is_token(name);
}

/* A comma may belong to a field's value: only one before another rule parts two. */
static bool next_rule(struct slice *rest, struct slice *item)
{
    struct slice all = slice_trim(*rest);

    if (all.n == 0)
        return false;
    for (size_t i = 0; i < all.n; i++) {
        if (all.p[i] == ',' && begins_rule(slice_of(all.p + i + 1, all.n - i - 1))) {
            *item = slice_trim(slice_of(all.p, i));
            *rest = slice_of(all.p + i + 1, all.n - i - 1);
            return true;
        }
    }
    *item = all;
    *rest = slice_of(all.p + all.n, 0);
    return true;
}

bool conf_field_name_is_good(struct conf_cursor *c, struct slice name)
{
    if (!slice_is_token(name)) {
        conf_value_error(c, "'%.*s' is no name of a field", SLICE_ARG(name));
        return false;
    }
    if (slice_ieq(name, SLICE("Host"))) {
        conf_value_error(c, "Host is set by host_header");
        return false;
    }
    for (size_t i = 0; i < sizeof codec_fields / sizeof codec_fields[0]; i++) {
        if (slice_ieq(name, codec_fields[i])) {
            conf_value_error(c, "%s belongs to the connection: no rule can change it",
                             codec_fields[i].p);
            return false;
        }
    }
    return true;
}

static void parse_rule(struct conf_cursor *c, struct slice text, void *field)
{
    struct conf_field_rules *list = field;
    struct conf_field_rule rule = { .op = CONF_RULE_SET };
    struct slice rest = text, word = conf_cut_word(&rest);
    size_t op = find_rule_op(word);

    if (op == NRULE_OPS) {
        const char *names[] = { "set", "add", "remove" };

        conf_value_error(c, "'%.*s' is none of `set Name: value`, `add Name: value`, "
                         "`remove Name`%s", SLICE_ARG(word),
                         conf_did_you_mean(c->b, word, names, NRULE_OPS));
        return;
    }
    rule.op = rule_ops[op].op;

    size_t colon = slice_find(rest, ':');
    struct slice name = slice_trim(slice_of(rest.p, colon));
    if (rule.op == CONF_RULE_REMOVE && slice_ends(name, SLICE(",")))
        name = slice_trim(slice_of(name.p, name.n - 1)); /* the list goes on in another line */
    if (!conf_field_name_is_good(c, name))
        return;
    if ((colon < rest.n) != (rule.op != CONF_RULE_REMOVE)) {
        conf_value_error(c, rule.op == CONF_RULE_REMOVE ? "`remove Name` takes no value"
                                                        : "no `: value` after the field's name");
        return;
    }
    if (rule.op != CONF_RULE_REMOVE &&
        !conf_parse_template(c, slice_trim(slice_of(rest.p + colon + 1, rest.n - colon - 1)),
                             &rule.value))
        return;
    rule.name = conf_dup(c->b, name);
    list->v = conf_grow(c, list->v, list->n, sizeof *list->v);
    list->v[list->n++] = rule;
}

static void print_rule(const void *field, size_t i, struct strbuf *out)
{
    const struct conf_field_rules *list = field;
    const struct conf_field_rule *rule = &list->v[i];

    for (size_t k = 0; k < NRULE_OPS; k++) {
        if (rule_ops[k].op == rule->op)
            strbuf_printf(out, "%s ", rule_ops[k].name.p);
    }
    strbuf_add(out, rule->name);
    if (rule->op != CONF_RULE_REMOVE) {
        strbuf_adds(out, rule->value.source.n > 0 ? ": " : ":");
        strbuf_add(out, rule->value.source);
    }
}

COUNT_OF(FIELD_RULES)
LIST_TYPE(FIELD_RULES, .name = "list of rules", .takes_variables = true,
          .takes_captures = true, .parse = parse_rule, .next_item = next_rule,
          .count = count_FIELD_RULES, .print = print_rule);
