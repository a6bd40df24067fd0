/* The configuration as the rest of rpd sees it.
 *
 *   files --conf_read--> conf_text --conf_build--> conf
 *                          |  ^
 *               bundle_seal|  |bundle_open        (bundle.h: master -> workers)
 *
 * conf_text is the files merged and expanded, each value with its place; it is all that a process
 * without files needs to build the same conf. A conf is immutable. Everything in it (texts,
 * lists) lives as long as it does; texts are NUL-terminated. */
#ifndef RPD_CORE_CONF_H
#define RPD_CORE_CONF_H

#include <stdbool.h>
#include <stdint.h>
#include "common/base/addr.h"
#include "common/base/log.h"
#include "common/base/vec.h"
#include "common/core/report.h"
#include "common/core/template.h"

struct conf;
struct nets;
struct regex;

/* ---- files ---- */

struct conf_entry {
    const char *kind;    /* "listener"; "defaults" sections have is_defaults set */
    const char *name;    /* "" for [global] and defaults */
    bool is_defaults;
    bool is_section;     /* the header line itself; key and value are "" */
    bool is_continued;   /* an indented line: continues the entry before */
    bool is_bad;         /* the value could not be expanded (reported); value is "" */
    const char *key, *value;
    const char *file;    /* as the user named it or the include did */
    const char *chain;   /* ", included from a.ini:3" or "" */
    unsigned line;
};

/* Most addresses of one name; what goes beyond is left out. */
#define CONF_ADDRESSES_MAX 512

/* One of the addresses of a name. */
struct conf_address {
    struct addr addr;  /* with its port */
    const char *host;  /* of an SRV record: its target; else "" */
    uint32_t weight;   /* of an SRV record, 1..65535; 0: the server's own */
    bool is_backup;    /* of an SRV record that has not the lowest priority number */
};
struct conf_addresses { struct conf_address *v; size_t n; };

/* An address of a name of the text, or that it has none. All those of a name are neighbours. */
struct conf_resolved {
    const char *name;          /* "db.internal:5432" or "srv:_http._tcp.db.internal" as written */
    struct conf_address found; /* addr.len 0: did not resolve */
};

/* What a file that a setting names has in it, as read. Files of private keys never are. */
struct conf_file_read {
    const char *path;     /* as the setting has it; "": the system's CA certificates */
    struct slice content; /* any bytes */
};

struct conf_text {
    VEC(struct conf_entry) entries;
    VEC(struct conf_resolved) resolved;
    VEC(struct conf_file_read) files;
    VEC(char *) memory; /* all strings above */
};

/* Reads `path` and what it includes, expands ${NAME}. Syntax errors go to the report; the rest is
 * read on, so that conf_build of it finds the other mistakes in the same run. false when the
 * report has errors. *text need not be initialised; conf_text_fini is due in any case. May block
 * on files. */
bool conf_read(struct conf_text *text, const char *path, struct report *report);
/* Reads the files that settings of `conf` name into text->files, but for private keys; and the
 * system's CA certificates (system_ca, NULL: there is no such file) where some backend is verified
 * by them. What is in them is not looked at, but that a private key is refused. May block. */
void conf_read_files(struct conf_text *text, const struct conf *conf, const char *system_ca,
                     struct report *report);
/* What start-up checks beyond the text: log files and run_dir can be written. */
void conf_check_system(const struct conf *conf, struct report *report);
void conf_text_fini(struct conf_text *text);

/* ---- values ---- */

struct conf_origin {
    const char *file;
    const char *chain;
    unsigned line; /* 0: a default */
};

static inline struct report_place conf_place(const struct conf_origin *o)
{
    return (struct report_place){ o->file, o->line, o->chain };
}

enum conf_mode { CONF_MODE_HTTP, CONF_MODE_TCP };
enum conf_balance { CONF_BALANCE_ROUND_ROBIN, CONF_BALANCE_LEAST_CONN, CONF_BALANCE_RANDOM,
                    CONF_BALANCE_EWMA, CONF_BALANCE_HASH };
enum conf_sticky { CONF_STICKY_OFF, CONF_STICKY_COOKIE, CONF_STICKY_SOURCE };
enum conf_check { CONF_CHECK_OFF, CONF_CHECK_TCP, CONF_CHECK_HTTP };
enum conf_protocol { CONF_PROTOCOL_HTTP1 };
enum conf_send_proxy { CONF_SEND_PROXY_OFF, CONF_SEND_PROXY_V1, CONF_SEND_PROXY_V2 };
enum conf_log_target { CONF_LOG_OFF, CONF_LOG_STDERR, CONF_LOG_STDOUT, CONF_LOG_SYSLOG,
                       CONF_LOG_FILE };
enum conf_log_format { CONF_FORMAT_COMBINED, CONF_FORMAT_JSON, CONF_FORMAT_CUSTOM };
enum conf_host_header { CONF_HOST_PRESERVE, CONF_HOST_SERVER, CONF_HOST_VALUE };
enum conf_tls_version { CONF_TLS_1_2, CONF_TLS_1_3 };
enum conf_client_verify { CONF_CLIENT_VERIFY_OFF, CONF_CLIENT_VERIFY_OPTIONAL,
                          CONF_CLIENT_VERIFY_REQUIRED };
enum conf_route_tls { CONF_ROUTE_TERMINATE, CONF_ROUTE_PASSTHROUGH };
enum conf_rewrite_how { CONF_REWRITE_OFF, CONF_REWRITE_PREFIX, CONF_REWRITE_REGEX };
enum conf_coding { CONF_CODING_NONE, CONF_CODING_GZIP, CONF_CODING_ZSTD, CONF_CODING_BR,
                   CONF_CODINGS };
enum conf_canary_start { CONF_CANARY_AUTO, CONF_CANARY_MANUAL };
enum conf_rule_op { CONF_RULE_SET, CONF_RULE_ADD, CONF_RULE_REMOVE };
/* What a route asks of a request before it is answered or sent on, in this order. */
#define CONF_STEP_ACCESS 1u       /* allow, deny */
#define CONF_STEP_CORS 2u
#define CONF_STEP_LIMIT 4u        /* limits whose key is known from the start */
#define CONF_STEP_BASIC 8u        /* a name and its password */
#define CONF_STEP_JWT 16u
#define CONF_STEP_AUTH_REQUEST 32u
#define CONF_STEP_LIMIT_AFTER 64u /* limits whose key is who was let in */
#define CONF_STEP_FAULT 128u
#define CONF_STEP_SPLIT 256u     /* which of several backends */
#define CONF_STEP_CANARY 512u    /* which of two */
/* How a try can fail: bits of retry_on and eject_on. */
#define CONF_FAIL_CONNECT 1u /* no connection, or no TLS on it */
#define CONF_FAIL_RESET 2u   /* it broke, or ended too early, or what came was no HTTP */
#define CONF_FAIL_TIMEOUT 4u
#define CONF_FAIL_502 8u
#define CONF_FAIL_503 16u
#define CONF_FAIL_504 32u
#define CONF_FAIL_5XX 64u    /* any status from 500 on */

struct conf_bind {
    struct addr addr;
    const char *text;
    struct conf_origin origin;
};
struct conf_binds { struct conf_bind *v; size_t n; };
struct conf_nets { struct net *v; size_t n; };

/* A file that a setting names. */
struct conf_file {
    const char *path;     /* "": none */
    struct slice content; /* p NULL: not in the text (a private key never is) */
    struct conf_origin origin;
};

/* An item of allow or deny: a network, all, or a file of networks. */
struct conf_access {
    struct net net;
    bool is_all;
    struct conf_file file; /* path "": none */
    struct conf_origin origin;
};
struct conf_access_list { struct conf_access *v; size_t n; };

/* Who a file of passwords lets in. */
struct conf_user {
    struct slice name;
    const char *hash; /* as crypt(3) makes it */
};
#define CONF_USER_HASH_MAX 256 /* bytes of the longest */
/* In the order of their names; at least one. */
struct conf_users { struct conf_user *v; size_t n; };

struct conf_listener;
struct conf_backend;
struct conf_certificate;
struct conf_canary;
struct conf_certificates { const struct conf_certificate **v; size_t n; };
/* Names of protocols (RFC 7301), without the length byte of the wire. Of a listener: exactly what
 * is offered, best first. */
struct conf_alpns { struct slice *v; size_t n; };
struct conf_listeners { const struct conf_listener **v; size_t n; };
struct conf_limit;
struct conf_limits { const struct conf_limit **v; size_t n; };
/* `count` requests in `seconds`; 0, 0: any rate. */
struct conf_rate { uint32_t count, seconds; };
/* Bytes of a key that are told apart: what is behind them is not looked at. */
#define CONF_LIMIT_KEY_MAX 1024

/* One of the backends that a route spreads its requests over. */
struct conf_share {
    const struct conf_backend *backend;
    uint32_t weight; /* 0: it gets none */
    uint32_t below;  /* of the sum of all weights: its are those from the share before's on */
};
/* n 1: no split. The last one's `below` is the sum, and above 0. */
struct conf_split { struct conf_share *v; size_t n; };

struct conf_host {
    struct slice name; /* lower case; for a wildcard what follows "*" with its dot */
    bool is_wildcard;
};
struct conf_hosts { struct conf_host *v; size_t n; };

/* What a route asks of a field, a query parameter or a cookie. */
enum conf_wanted { CONF_IS_THERE, CONF_IS_VALUE, CONF_IS_LIKE };
struct conf_condition {
    struct slice name;
    enum conf_wanted how;
    struct slice value;
    const struct regex *like; /* of `value`, which is a pattern then; else NULL */
};
struct conf_conditions { struct conf_condition *v; size_t n; };
struct conf_pattern { struct slice text; const struct regex *re; }; /* "", NULL: none */
struct conf_methods { struct slice *v; size_t n; };
/* Shares in hundredths of a percent, each above the one before. */
struct conf_steps { uint32_t *v; size_t n; };
/* What the 99th percentile of a canary's latency may be. Both 0: anything. */
struct conf_slowest {
    uint32_t ms;
    uint32_t times; /* hundredths of the stable backend's */
};
/* A field or cookie that requests may have. */
struct conf_mark {
    struct slice name;  /* empty: none */
    struct slice value; /* p NULL: any */
};
/* Who is asked whether a request may go on. */
struct conf_auth_request {
    const struct conf_backend *backend; /* NULL: nobody */
    struct slice path; /* with its query; empty: that of the request */
};
/* Who gets copies of requests. */
struct conf_mirror {
    const struct conf_backend *backend; /* NULL: nobody */
    uint32_t share; /* hundredths of a percent of them */
};
struct conf_field_names { struct slice *v; size_t n; };

struct conf_respond {
    unsigned status; /* 0 = none */
    struct template body; /* sent unless there is a respond_file */
};
/* What is answered in place of an error's own text. */
struct conf_error_page {
    unsigned status;         /* 404; a class: 5; any: 0 */
    struct conf_file file;
    struct slice type;       /* Content-Type */
    bool is_template;        /* the file's name ends in .tmpl: */
    struct template body;    /* it, once the file's content is there */
};
struct conf_error_pages { struct conf_error_page *v; size_t n; };
/* Content codings, the best first. */
struct conf_codings { enum conf_coding v[CONF_CODINGS]; size_t n; bool is_off; };
struct conf_media_types { struct slice *v; size_t n; };
struct conf_redirect {
    unsigned status; /* 301 302 303 307 308; 0 = none */
    struct template location;
    uint16_t https_port; /* not 0: instead of it, the same at https on that port; the status is
                            then 308 for what is neither GET nor HEAD */
};

/* Whose scripts may read answers (Fetch, 3.2): an origin as browsers write it. */
struct conf_cors_origin {
    bool is_any;
    bool is_wildcard;
    struct slice text; /* lower case; of a wildcard what stands before the `*` */
    struct slice tail; /* and what behind it, with its dot */
};
struct conf_cors_origins { struct conf_cors_origin *v; size_t n; };
struct conf_tokens { struct slice *v; size_t n; };
/* Values of what a route with `cors` adds to its answers. */
struct conf_cors_texts {
    struct slice methods, headers, expose; /* lists; may be empty */
    struct slice max_age;                  /* seconds */
    bool is_any;                           /* every origin gets the same answer */
};

/* What happens to a share of requests, on purpose. */
struct conf_fault {
    uint32_t delay_ms; /* 0: none, but */
    unsigned status;   /* this answer */
    uint32_t share;    /* of requests, in hundredths of a percent */
    struct slice text; /* for logs: `delay 2s` */
};
struct conf_faults { struct conf_fault *v; size_t n; };

/* What the server gets in place of the client's path. */
struct conf_rewrite {
    enum conf_rewrite_how how;
    struct slice source;         /* as written */
    struct slice prefix;         /* prefix: without a slash at its end, "" for `/` */
    const struct regex *pattern; /* regex: the path becomes `path`, and the query `query`, */
    struct template path, query;
    bool has_query;              /* if that was written; else it stays */
};

struct conf_field_rule {
    enum conf_rule_op op;
    struct slice name; /* as written */
    struct template value; /* set and add */
};
struct conf_field_rules { struct conf_field_rule *v; size_t n; };

struct conf_host_header_value {
    enum conf_host_header how;
    struct template value;
};

struct conf_log_format_value {
    enum conf_log_format how;
    struct template value; /* custom */
};

struct conf_balance_value {
    enum conf_balance how;
    struct template key; /* hash */
};
struct conf_sticky_value {
    enum conf_sticky how;
    struct slice cookie; /* its name */
};
struct conf_check_value {
    enum conf_check how;
    struct slice method, path;      /* http */
    unsigned status_min, status_max;
    struct slice host;              /* empty: the server's address as written */
    struct slice body;              /* has to be in the answer; empty: nothing has to */
};
/* When a second try is sent while the first has no answer. Both 0: never. */
struct conf_hedge {
    uint32_t after_ms;
    uint32_t quantile; /* of the backend's latency, in thousandths */
};

struct conf_server {
    const char *name;  /* name=, or the address as written; unique within the backend */
    const char *text;  /* the address as written */
    struct addr addr;  /* len 0: the name did not resolve; if it has several, the first */
    bool is_name;      /* it stands for the servers that a name has at the moment: names.h */
    bool is_srv;       /* they are those of SRV records */
    struct conf_addresses found; /* when the configuration was read; none: did not resolve */
    uint32_t weight;   /* 1..65535, before run-time changes */
    uint32_t max_conns;/* 0: the backend's */
    bool is_backup, is_down;
    struct conf_origin origin;
};
struct conf_servers { struct conf_server *v; size_t n; };
struct conf_nameservers { struct addr *v; size_t n; };
struct conf_files { struct conf_file *v; size_t n; };
struct conf_texts { struct slice *v; size_t n; };

/* C types of the table's TYPE column. */
#define CONF_C_BOOL bool
#define CONF_C_COUNT uint32_t
#define CONF_C_WORKERS uint32_t /* auto already counted */
#define CONF_C_SIZE uint64_t
#define CONF_C_DURATION uint32_t /* milliseconds */
#define CONF_C_NAME const char * /* of a user or group */
#define CONF_C_RUN_DIR const char *
#define CONF_C_ERROR_LOG const char * /* see conf_log_target */
#define CONF_C_ACCESS_LOG const char *
#define CONF_C_INCLUDE const char * /* always "": the files are merged */
#define CONF_C_LOG_LEVEL enum log_level
#define CONF_C_LOG_FORMAT struct conf_log_format_value
#define CONF_C_BINDS struct conf_binds
#define CONF_C_MODE enum conf_mode
#define CONF_C_NETS struct conf_nets
#define CONF_C_ACCESS struct conf_access_list
#define CONF_C_BACKEND const struct conf_backend *
#define CONF_C_SPLIT struct conf_split
#define CONF_C_CANARY const struct conf_canary * /* NULL: none */
#define CONF_C_STEPS struct conf_steps
#define CONF_C_SLOWEST struct conf_slowest
#define CONF_C_HEADER_MARK struct conf_mark
#define CONF_C_COOKIE_MARK struct conf_mark
#define CONF_C_PROGRAM const char * /* "": none */
#define CONF_C_CANARY_START enum conf_canary_start
#define CONF_C_LISTENERS struct conf_listeners
#define CONF_C_HOSTS struct conf_hosts
#define CONF_C_AUTH_REQUEST struct conf_auth_request
#define CONF_C_ASKED_FIELDS struct conf_field_names
#define CONF_C_MIRROR struct conf_mirror
#define CONF_C_PATH struct slice /* "" or starts with "/"; no trailing slash but for "/" */
#define CONF_C_PATH_EXACT struct slice
#define CONF_C_PATH_REGEX struct conf_pattern
#define CONF_C_METHODS struct conf_methods
#define CONF_C_HEADERS struct conf_conditions
#define CONF_C_PARAMS struct conf_conditions
#define CONF_C_RESPOND struct conf_respond
#define CONF_C_REDIRECT struct conf_redirect
#define CONF_C_CORS_ORIGINS struct conf_cors_origins
#define CONF_C_CORS_METHODS struct conf_tokens
#define CONF_C_FIELD_NAMES struct conf_tokens
#define CONF_C_FAULTS struct conf_faults
#define CONF_C_REWRITE struct conf_rewrite
#define CONF_C_CONTENT_TYPE struct slice /* "": none */
#define CONF_C_REALM struct slice /* "": none was set */
#define CONF_C_TEXT struct slice /* "": none */
#define CONF_C_TEXTS struct conf_texts
#define CONF_C_FILES struct conf_files
#define CONF_C_ERROR_PAGES struct conf_error_pages
#define CONF_C_CODINGS struct conf_codings
#define CONF_C_MEDIA_TYPES struct conf_media_types
#define CONF_C_FIELD_RULES struct conf_field_rules
#define CONF_C_HOST_HEADER struct conf_host_header_value
#define CONF_C_RETRY_ON uint32_t /* CONF_FAIL_ bits */
#define CONF_C_EJECT_ON uint32_t
#define CONF_C_PERCENT uint32_t /* hundredths of a percent */
#define CONF_C_HEDGE struct conf_hedge
#define CONF_C_STICKY struct conf_sticky_value
#define CONF_C_CHECK struct conf_check_value
#define CONF_C_ROUTE_LOG bool /* is the route's access log off */
#define CONF_C_SERVERS struct conf_servers
#define CONF_C_RATE struct conf_rate
#define CONF_C_KEY struct template
#define CONF_C_LIMITS struct conf_limits
#define CONF_C_NAMESERVERS struct conf_nameservers
#define CONF_C_BALANCE struct conf_balance_value
#define CONF_C_PROTOCOL enum conf_protocol
#define CONF_C_SEND_PROXY enum conf_send_proxy
#define CONF_C_FILE struct conf_file
#define CONF_C_CERTIFICATE const struct conf_certificate * /* NULL: none */
#define CONF_C_CERTIFICATES struct conf_certificates
#define CONF_C_ALPNS struct conf_alpns
#define CONF_C_TLS_VERSION enum conf_tls_version
#define CONF_C_TLS_NAME const char * /* lower case; "": the server's host */
#define CONF_C_CLIENT_VERIFY enum conf_client_verify
#define CONF_C_ROUTE_TLS enum conf_route_tls

#define SETTING(kind, field, key, TYPE, def, lo, hi, when, help) CONF_FIELD_##kind(TYPE, field)
#define LATER(kind, key, help)
#define SECTION(kind, is_named, help)
#define CONF_SKIP(TYPE, field)
#define CONF_TAKE(TYPE, field) CONF_C_##TYPE field;

struct conf_global {
    struct conf_origin origin;
#define CONF_FIELD_global CONF_TAKE
#define CONF_FIELD_listener CONF_SKIP
#define CONF_FIELD_route CONF_SKIP
#define CONF_FIELD_backend CONF_SKIP
#define CONF_FIELD_certificate CONF_SKIP
#define CONF_FIELD_canary CONF_SKIP
#define CONF_FIELD_limit CONF_SKIP
#include "common/core/settings.def"
#undef CONF_FIELD_global
#undef CONF_FIELD_listener
};

struct conf_listener {
    const char *name;
    size_t index; /* in conf->listeners */
    struct conf_origin origin;
#define CONF_FIELD_global CONF_SKIP
#define CONF_FIELD_listener CONF_TAKE
#include "common/core/settings.def"
#undef CONF_FIELD_listener
#undef CONF_FIELD_route
};

struct conf_route {
    const char *name;
    size_t index; /* file order, in conf->routes */
    struct conf_origin origin;
    const struct conf_backend *backend; /* the first that it leads to; NULL: none */
    uint32_t steps; /* CONF_STEP_ bits: what it asks of a request before the answer */
    const struct nets *access; /* allow and deny (nets.h); NULL: there are none */
    const struct conf_cors_texts *cors_texts; /* NULL: there is no cors */
    const struct conf_users *users; /* of auth_basic; NULL: anybody */
    struct slice challenge;    /* WWW-Authenticate of who is none of them */
    struct slice respond_as;   /* Content-Type of `respond` and respond_file */
    struct slice respond_etag; /* of a file that is there; else empty */
#define CONF_FIELD_listener CONF_SKIP
#define CONF_FIELD_route CONF_TAKE
#include "common/core/settings.def"
#undef CONF_FIELD_route
#undef CONF_FIELD_backend
};

struct conf_backend {
    const char *name;
    size_t index; /* in conf->backends */
    struct conf_origin origin;
#define CONF_FIELD_route CONF_SKIP
#define CONF_FIELD_backend CONF_TAKE
#include "common/core/settings.def"
#undef CONF_FIELD_backend
#undef CONF_FIELD_certificate
};

struct conf_certificate {
    const char *name;
    size_t index; /* in conf->certificates */
    struct conf_origin origin;
#define CONF_FIELD_backend CONF_SKIP
#define CONF_FIELD_certificate CONF_TAKE
#include "common/core/settings.def"
#undef CONF_FIELD_certificate
#undef CONF_FIELD_canary
};

struct conf_canary {
    const char *name;
    size_t index; /* in conf->canaries */
    struct conf_origin origin;
#define CONF_FIELD_certificate CONF_SKIP
#define CONF_FIELD_canary CONF_TAKE
#include "common/core/settings.def"
#undef CONF_FIELD_canary
#undef CONF_FIELD_limit
};

struct conf_limit {
    const char *name;
    size_t index; /* in conf->limits */
    struct conf_origin origin;
#define CONF_FIELD_canary CONF_SKIP
#define CONF_FIELD_limit CONF_TAKE
#include "common/core/settings.def"
#undef CONF_FIELD_global
#undef CONF_FIELD_listener
#undef CONF_FIELD_route
#undef CONF_FIELD_backend
#undef CONF_FIELD_certificate
#undef CONF_FIELD_canary
#undef CONF_FIELD_limit
};

#undef SETTING
#undef LATER
#undef SECTION
#undef CONF_SKIP
#undef CONF_TAKE

struct conf {
    struct conf_global global;
    struct conf_listener *listeners;
    size_t nlisteners;
    struct conf_route *routes;
    size_t nroutes;
    struct conf_backend *backends;
    size_t nbackends;
    struct conf_certificate *certificates;
    size_t ncertificates;
    struct conf_canary *canaries;
    size_t ncanaries;
    struct conf_limit *limits;
    size_t nlimits;
    struct slice system_ca; /* PEM; p NULL: not in the text */
    struct conf_route route_defaults; /* [defaults route]: what default_backend is served by */
    struct conf_memory *memory; /* all that the pointers above lead to */
};

/* As Content-Encoding has it. */
struct slice conf_coding_name(enum conf_coding coding);

/* Validates all of the text and builds. NULL when the report has errors (those of conf_read
 * included); warnings do not hinder. Server names are looked up in text->resolved: those that are
 * not there have an address of length 0. The text may go afterwards. Needs no file, no name
 * service and no privilege. */
struct conf *conf_build(const struct conf_text *text, struct report *report);
/* The same, but never NULL: with errors it is good for conf_resolve (common/net) and
 * conf_check_system only, which then find their mistakes in the same run. */
struct conf *conf_build_partial(const struct conf_text *text, struct report *report);
void conf_free(struct conf **conf);

/* Whether the listener's connections are the route's. One that names no listener has all http
 * ones, or, if it passes TLS through, all that have TLS: that is the second. */
bool conf_route_belongs(const struct conf_route *route, const struct conf_listener *listener);
bool conf_route_takes_unnamed(const struct conf_route *route, const struct conf_listener *listener);

/* All that a route may lead to, in an order of its own. */
size_t conf_route_nbackends(const struct conf_route *route);
const struct conf_backend *conf_route_backend(const struct conf_route *route, size_t i);
/* Nanoseconds from one request of such a rate to the next; 0: any rate. */
uint64_t conf_rate_interval(struct conf_rate rate);
/* Whether its key is only known once a request of the route was let in: a claim, or a field that
 * auth_request may set. */
bool conf_limit_is_after(const struct conf_route *route, const struct conf_limit *limit);

/* The target a log setting names. */
enum conf_log_target conf_log_target(const char *setting);

/* The running configuration as one rpd.ini, defaults filled in: conf_build of it gives the same. */
void conf_print(const struct conf *conf, struct strbuf *out);

/* The same for comparing, with a line `KEY content = HASH` behind each file's that was read; the
 * hash is another in another process. */
void conf_print_contents(const struct conf *conf, struct strbuf *out);

enum conf_help_format { CONF_HELP_TEXT, CONF_HELP_MDOC, CONF_HELP_SAMPLE };
/* The settings table: for --help-config, for rpd.ini(5) (mdoc), as a commented sample file. */
void conf_help(enum conf_help_format format, struct strbuf *out);

#endif
