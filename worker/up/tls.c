/* TLS to servers: what a backend's settings are worth to its connections, whom a server has to be,
 * and what it means when a handshake fails. */
#include "worker/io/tls.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/mem.h"
#include "worker/up/internal.h"

/* ---- names ---- */

bool server_name_it(struct server *s, const char *tls_name)
{
    char *name = *tls_name ? xstrdup(tls_name) : tls_host_of(s->text);
    bool is_same = s->tls_name && strcmp(s->tls_name, name) == 0;

    free(s->tls_name);
    s->tls_name = name;
    return is_same;
}

/* ---- connecting ---- */

int server_secure(struct server *s, struct conn *c, struct slice alpn)
{
    if (!s->resumption && !(s->resumption = tls_resumption_new())) {
        errno = ENOMEM;
        return -1;
    }
    return conn_tls_connect(c, s->backend->tls, s->tls_name, alpn, s->resumption);
}

void server_secured(struct server *s, const struct conn *c)
{
    stat_inc(&s->stats->tls_handshakes);
    if (conn_tls(c)->is_resumed)
        stat_inc(&s->stats->tls_resumed);
}

/* ---- failure ---- */

static enum end_reason certificate_reason(enum tls_verify v)
{
    switch (v) {
    case TLS_VERIFY_EXPIRED:
        return END_SERVER_CERT_EXPIRED;
    case TLS_VERIFY_NAME:
        return END_SERVER_CERT_NAME;
    case TLS_VERIFY_UNTRUSTED:
        return END_SERVER_CERT_UNTRUSTED;
    case TLS_VERIFY_OK:
    case TLS_VERIFY_MISSING:
    case TLS_VERIFY_NOT_YET:
    case TLS_VERIFY_OTHER:
        return END_SERVER_CERT_REFUSED;
    }
    return END_SERVER_CERT_REFUSED;
}

static enum end_reason failure_reason(const struct conn *c, int error)
{
    if (error == ENOMEM || error == ENOBUFS)
        return END_EXHAUSTED;
    switch (conn_tls_failure(c)) {
    case TLS_FAIL_CERTIFICATE:
        return certificate_reason(conn_tls_verify(c));
    case TLS_FAIL_ALERT:
        return END_SERVER_ALERT;
    case TLS_FAIL_KEYS:
        return END_INTERNAL; /* the client certificate's: no server's fault */
    case TLS_FAIL_NONE:
    case TLS_FAIL_HELLO:
    case TLS_FAIL_VERSION:
    case TLS_FAIL_CIPHER:
    case TLS_FAIL_NAME:
    case TLS_FAIL_CLOSED:
    case TLS_FAIL_TIMEOUT:
    case TLS_FAIL_OTHER:
        return END_SERVER_TLS;
    }
    return END_SERVER_TLS;
}

enum end_reason server_insecure(struct server *s, const struct conn *c, int error)
{
    stat_inc(&s->stats->tls_failed);
    /* Should it be the session: the next handshake is a full one. */
    tls_resumption_unref(&s->resumption);
    return failure_reason(c, error);
}
