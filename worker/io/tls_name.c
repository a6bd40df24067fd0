/* Whom a server's certificate has to name. Pure; called by who connects with TLS: a backend's
 * servers and their checks. */
#include <string.h>
#include "common/base/mem.h"
#include "worker/io/tls.h"

char *tls_host_of(const char *text)
{
    struct addr addr;
    struct slice name = SLICE_NONE;
    char buf[ADDR_TEXT_MAX], *host;
    struct ip ip;

    if (addr_parse(slice_str(text), &addr, &name) == ADDR_NAME) {
        if (name.n > 0 && name.p[name.n - 1] == '.')
            name.n--;
        host = xstrndup(name.p, name.n);
        for (char *p = host; *p; p++)
            *p = ascii_lower(*p);
        return host;
    }
    if (addr.sa.sa_family == AF_UNIX)
        return xstrdup("");
    ip = ip_of(&addr.sa);
    ip_format(&ip, buf);
    return xstrdup(buf);
}
