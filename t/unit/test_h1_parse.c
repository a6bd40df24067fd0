/* Every rule of RFC 9110 and 9112 that a head is held to, as rows: what comes in, and the head or
 * the reason that comes out. */
#include <stdio.h>
#include <stdlib.h>
#include "t/unit/unit.h"
#include "worker/http/h1.h"

/* A row's bytes are a head's; `is` says what became of it: see render(). */
struct row {
    struct slice bytes;
    const char *is;
    enum end_reason why;
    enum http_method method; /* of the request, for responses */
};

#define OK(text, is) { SLICE_INIT(text), is, END_OK, METHOD_GET }
#define NO(text, reason) { SLICE_INIT(text), NULL, END_##reason, METHOD_GET }
#define FOR(text, method, is) { SLICE_INIT(text), is, END_OK, METHOD_##method }

#define GET(fields) "GET / HTTP/1.1\r\nHost: h\r\n" fields "\r\n"
#define POST(fields) "POST / HTTP/1.1\r\nHost: h\r\n" fields "\r\n"
#define LINE(line) line "\r\nHost: h\r\n\r\n"
#define G "GET h / 1.1 none"

static const struct row requests[] = {
    /* request lines and targets */
    OK(GET(""), G " keep"),
    OK(LINE("GET / HTTP/1.0"), "GET h / 1.0 none"),
    OK("GET /a HTTP/1.0\r\n\r\n", "GET  /a 1.0 none"),
    OK(LINE("GET /a?b=\"<>|\\^`{}~%zz HTTP/1.1"), "GET h /a?b=\"<>|\\^`{}~%zz 1.1 none keep"),
    OK(LINE("GET //a/../b HTTP/1.1"), "GET h //a/../b 1.1 none keep"),
    OK(LINE("GET /http://x HTTP/1.1"), "GET h /http://x 1.1 none keep"),
    OK(LINE("HEAD / HTTP/1.1"), "HEAD h / 1.1 none keep"),
    OK(LINE("PROPFIND / HTTP/1.1"), "PROPFIND h / 1.1 none keep"),
    OK(LINE("M-SEARCH / HTTP/1.1"), "M-SEARCH h / 1.1 none keep"),
    OK(LINE("OPTIONS * HTTP/1.1"), "OPTIONS h * 1.1 none keep"),
    OK(LINE("GET http://a.b:1/c?d HTTP/1.1"), "GET a.b:1 /c?d 1.1 none keep"),
    OK(LINE("GET HTTPS://a HTTP/1.1"), "GET a / 1.1 none keep https"),
    OK(LINE("GET http://a?b=c HTTP/1.1"), "GET a /?b=c 1.1 none keep"),
    OK(LINE("GET http://[::1]:80 HTTP/1.1"), "GET [::1]:80 / 1.1 none keep"),
    OK(LINE("OPTIONS http://a HTTP/1.1"), "OPTIONS a * 1.1 none keep"),
    OK(LINE("OPTIONS http://a/ HTTP/1.1"), "OPTIONS a / 1.1 none keep"),
    NO(LINE("GET  / HTTP/1.1"), BAD_REQUEST),
    NO(LINE("GET /  HTTP/1.1"), BAD_REQUEST),
    NO(LINE("GET / HTTP/1.1 "), BAD_REQUEST),
    NO(LINE("GET\t/ HTTP/1.1"), BAD_REQUEST),
    NO(LINE("GET / x HTTP/1.1"), BAD_REQUEST),
    NO(LINE("GET /\x01 HTTP/1.1"), BAD_REQUEST),
    NO(LINE("GET /\x7f HTTP/1.1"), BAD_REQUEST),
    NO(LINE("GET /\xc3\xa9 HTTP/1.1"), BAD_REQUEST),
    NO(LINE("GET /\t HTTP/1.1"), BAD_REQUEST),
    NO(LINE("GET /a#b HTTP/1.1"), BAD_REQUEST),
    NO(LINE("GET http://a/#b HTTP/1.1"), BAD_REQUEST),
    NO(LINE("GET a HTTP/1.1"), BAD_REQUEST),
    NO(LINE("GET ?a HTTP/1.1"), BAD_REQUEST),
    NO(LINE("GET a:80 HTTP/1.1"), BAD_REQUEST),
    NO(LINE("GET * HTTP/1.1"), BAD_REQUEST),
    NO(LINE("OPTIONS ** HTTP/1.1"), BAD_REQUEST),
    NO(LINE("GET http:/a HTTP/1.1"), BAD_REQUEST),
    NO(LINE("GET http:///a HTTP/1.1"), BAD_REQUEST),
    NO(LINE("GET http://?a HTTP/1.1"), BAD_REQUEST),
    NO(LINE("GET http:// HTTP/1.1"), BAD_REQUEST),
    NO(LINE("GET http://u@a/ HTTP/1.1"), BAD_REQUEST),
    NO(LINE("GET http://u:p@a/ HTTP/1.1"), BAD_REQUEST),
    NO(LINE("GET http://a:99999/ HTTP/1.1"), BAD_REQUEST),
    NO(LINE("GET http://a\\b/ HTTP/1.1"), BAD_REQUEST),
    NO(LINE("GET ftp://a/ HTTP/1.1"), BAD_REQUEST),
    NO(LINE("GET"), BAD_REQUEST),
    NO(LINE("GET HTTP/1.1"), BAD_REQUEST),
    NO(LINE("/ HTTP/1.1"), BAD_REQUEST),
    /* methods */
    OK(LINE("FOO / HTTP/1.1"), "FOO h / 1.1 none keep"),
    OK(LINE("get / HTTP/1.1"), "get h / 1.1 none keep"),
    OK(LINE("GE / HTTP/1.1"), "GE h / 1.1 none keep"),
    OK(LINE("QUERY / HTTP/1.1"), "QUERY h / 1.1 none keep"),
    OK(LINE("a!#$%&'*+-.^_`|~9 / HTTP/1.1"), "a!#$%&'*+-.^_`|~9 h / 1.1 none keep"),
    OK(LINE("A23456789012345678901234567890123456789012345678901234567890123B / HTTP/1.1"),
       "A23456789012345678901234567890123456789012345678901234567890123B h / 1.1 none keep"),
    NO(LINE("A234567890123456789012345678901234567890123456789012345678901234B / HTTP/1.1"),
       BAD_REQUEST),
    NO("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", BAD_METHOD),
    NO(LINE("G<T / HTTP/1.1"), BAD_REQUEST),
    NO(LINE("G\xc9T / HTTP/1.1"), BAD_REQUEST),
    NO(LINE("SOURCE / ICE/1.0"), BAD_REQUEST),
    NO(LINE("DESCRIBE / RTSP/1.0"), BAD_REQUEST),
    /* versions */
    NO(LINE("GET / HTTP/2.0"), BAD_VERSION),
    NO(LINE("GET / HTTP/0.9"), BAD_VERSION),
    NO(LINE("GET / HTTP/1.2"), BAD_VERSION),
    NO(LINE("GET / HTTP/1.10"), BAD_VERSION),
    NO(LINE("GET / HTTP/3.1"), BAD_VERSION),
    NO(LINE("GET /"), BAD_VERSION),
    NO("PRI * HTTP/2.0\r\n\r\n", BAD_VERSION),
    NO(LINE("GET / HTTP/1"), BAD_REQUEST),
    NO(LINE("GET / HTTP/1."), BAD_REQUEST),
    NO(LINE("GET / HTTP/x.y"), BAD_REQUEST),
    NO(LINE("GET / http/1.1"), BAD_REQUEST),
    NO(LINE("GET / ICY/1.1"), BAD_REQUEST),
    NO(LINE("GET / HTTPS/1.1"), BAD_REQUEST),
    /* fields */
    OK(GET("X:a\r\nY: \t b c \t \r\nZ:\r\n"), G " keep|X=a|Y=b c|Z="),
    OK(GET("X!#$%&'*+-.^_`|~9: \xff\x80\t\"\r\n"), G " keep|X!#$%&'*+-.^_`|~9=\xff\x80\t\""),
    OK(GET("A: 1\r\na: 2\r\nCookie: x\r\nA: 3\r\n"), G " keep|A=1|a=2|Cookie=x|A=3"),
    OK(GET("Content_Length: 5\r\n"), G " keep|Content_Length=5"),
    NO(GET("X\r\n"), BAD_REQUEST),
    NO(GET(": a\r\n"), BAD_REQUEST),
    NO(GET("X : a\r\n"), BAD_REQUEST),
    NO(GET("X\t: a\r\n"), BAD_REQUEST),
    NO(GET("X Y: a\r\n"), BAD_REQUEST),
    NO(GET("X(: a\r\n"), BAD_REQUEST),
    NO(GET("X\xe9: a\r\n"), BAD_REQUEST),
    NO(GET("X\x01: a\r\n"), BAD_REQUEST),
    NO(GET("X/y: a\r\n"), BAD_REQUEST),
    NO(GET("X\": a\r\n"), BAD_REQUEST),
    NO(GET("X: a\x01\r\n"), BAD_REQUEST),
    NO(GET("X: a\x7f\r\n"), BAD_REQUEST),
    NO(GET("X: a\x0b\r\n"), BAD_REQUEST),
    NO(GET("Connection: a\x01\r\n"), BAD_REQUEST),
    NO(GET("Content-Length : 5\r\n"), BAD_REQUEST),
    NO(POST("Transfer-Encoding : chunked\r\n"), BAD_REQUEST),
    /* Host */
    OK("GET / HTTP/1.1\r\nhOsT: \t A.b:80 \r\n\r\n", "GET A.b:80 / 1.1 none keep"),
    OK("GET http://a/ HTTP/1.1\r\nHost:\r\n\r\n", "GET a / 1.1 none keep"),
    OK("GET http://a/ HTTP/1.0\r\n\r\n", "GET a / 1.0 none"),
    NO("GET / HTTP/1.1\r\n\r\n", BAD_HOST),
    NO("GET http://a/ HTTP/1.1\r\n\r\n", BAD_HOST),
    NO("GET / HTTP/1.1\r\nHost:\r\n\r\n", BAD_HOST),
    NO("GET / HTTP/1.0\r\nHost:\r\n\r\n", BAD_HOST),
    NO("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", BAD_HOST),
    NO("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", BAD_HOST),
    NO("GET http://a/ HTTP/1.1\r\nHost: a/b\r\n\r\n", BAD_HOST),
    NO("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", BAD_HOST),
    NO("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", BAD_HOST),
    NO("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", BAD_HOST),
    NO("GET / HTTP/1.1\r\nHost: a:70000\r\n\r\n", BAD_HOST),
    NO("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", BAD_HOST),
    /* Content-Length */
    OK(POST("Content-Length: 5\r\n"), "POST h / 1.1 length=5 keep"),
    OK(POST("CONTENT-LENGTH:\t005 \r\n"), "POST h / 1.1 length=5 keep"),
    OK(GET("Content-Length: 0\r\n"), "GET h / 1.1 length=0 keep"),
    OK(POST("Content-Length: 9223372036854775807\r\n"),
       "POST h / 1.1 length=9223372036854775807 keep"),
    NO(POST("Content-Length: 9223372036854775808\r\n"), BAD_FRAMING),
    NO(POST("Content-Length: 18446744073709551621\r\n"), BAD_FRAMING),
    NO(POST("Content-Length: 5\r\nContent-Length: 5\r\n"), BAD_FRAMING),
    NO(POST("Content-Length: 5\r\ncontent-length: 6\r\n"), BAD_FRAMING),
    NO(POST("Content-Length: 0\r\nContent-Length: 0\r\n"), BAD_FRAMING),
    NO(POST("Content-Length: 5, 5\r\n"), BAD_FRAMING),
    NO(POST("Content-Length: 5,\r\n"), BAD_FRAMING),
    NO(POST("Content-Length:\r\n"), BAD_FRAMING),
    NO(POST("Content-Length: +5\r\n"), BAD_FRAMING),
    NO(POST("Content-Length: -5\r\n"), BAD_FRAMING),
    NO(POST("Content-Length: 0x5\r\n"), BAD_FRAMING),
    NO(POST("Content-Length: 5 5\r\n"), BAD_FRAMING),
    NO(POST("Content-Length: 5.0\r\n"), BAD_FRAMING),
    NO(POST("Content-Length: 5a\r\n"), BAD_FRAMING),
    NO(POST("Content-Length: \"5\"\r\n"), BAD_FRAMING),
    /* Transfer-Encoding */
    OK(POST("Transfer-Encoding: chunked\r\n"), "POST h / 1.1 chunked keep"),
    OK(POST("transfer-ENCODING: \t Chunked \r\n"), "POST h / 1.1 chunked keep"),
    OK(GET("Transfer-Encoding: chunked\r\n"), "GET h / 1.1 chunked keep"),
    OK(POST("Transfer-Encoding: chunked\r\nTrailer: X\r\n"),
       "POST h / 1.1 chunked keep|Trailer=X"),
    OK(POST("Trailer: X\r\nContent-Length: 1\r\n"), "POST h / 1.1 length=1 keep"),
    NO(POST("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), BAD_FRAMING),
    NO(POST("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), BAD_FRAMING),
    NO(POST("Transfer-Encoding: gzip\r\nContent-Length: 5\r\n"), BAD_FRAMING),
    NO(POST("Content-Length: 0\r\nTransfer-Encoding: x\r\n"), BAD_FRAMING),
    NO("POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", BAD_FRAMING),
    NO("POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n", BAD_FRAMING),
    NO(POST("Transfer-Encoding: chunked, chunked\r\n"), BAD_FRAMING),
    NO(POST("Transfer-Encoding: chunked,\r\n"), BAD_FRAMING),
    NO(POST("Transfer-Encoding: ,chunked\r\n"), BAD_FRAMING),
    NO(POST("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), BAD_FRAMING),
    NO(POST("Transfer-Encoding: chunked, gzip\r\n"), BAD_FRAMING),
    NO(POST("Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n"), BAD_FRAMING),
    NO(POST("Transfer-Encoding: chunked\r\nTransfer-Encoding:\r\n"), BAD_FRAMING),
    NO(POST("Transfer-Encoding: gzip, chunked\r\n"), BAD_CODING),
    NO(POST("Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n"), BAD_CODING),
    NO(POST("Transfer-Encoding: gzip\r\n"), BAD_CODING),
    NO(POST("Transfer-Encoding: identity\r\n"), BAD_CODING),
    NO(POST("Transfer-Encoding: xchunked\r\n"), BAD_CODING),
    NO(POST("Transfer-Encoding: chunkedx\r\n"), BAD_CODING),
    NO(POST("Transfer-Encoding: chunked;q=1\r\n"), BAD_CODING),
    NO(POST("Transfer-Encoding: \"chunked\"\r\n"), BAD_CODING),
    NO(POST("Transfer-Encoding: chun ked\r\n"), BAD_CODING),
    NO(POST("Transfer-Encoding:\r\n"), BAD_FRAMING),
    NO(POST("Transfer-Encoding: \x0b" "chunked\r\n"), BAD_REQUEST),
    NO(POST("Transfer-Encoding: chunked\x0c\r\n"), BAD_REQUEST),
    /* keep-alive (RFC 9112 9.3) */
    OK(GET("Connection: close\r\n"), G),
    OK(GET("Connection: keep-alive\r\n"), G " keep"),
    OK(GET("Connection: Keep-Alive, CLOSE\r\n"), G),
    OK(GET("Connection: x\r\nConnection: ,, close ,\r\n"), G),
    OK("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "GET  / 1.0 none keep"),
    OK("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", "GET  / 1.0 none"),
    /* hop-by-hop fields (RFC 9110 7.6.1) */
    OK(GET("Keep-Alive: a\r\nProxy-Connection: b\r\nTE: gzip\r\nUpgrade: c\r\n"
           "HTTP2-Settings: d\r\nProxy-Authorization: e\r\nProxy-Authenticate: f\r\nX: g\r\n"),
       G " keep|X=g"),
    OK(GET("X-A: 1\r\nConnection: x-a, X-B\r\nX-B: 2\r\nx-a: 3\r\nX-C: 4\r\n"), G " keep|X-C=4"),
    OK(GET("Connection: Cookie, authorization, Via, Content-Type, X-Forwarded-For\r\nCookie: a\r\n"
           "Authorization: b\r\nVia: c\r\nContent-Type: d\r\nX-Forwarded-For: e\r\n"),
       G " keep|Cookie=a|Authorization=b|Via=c|Content-Type=d|X-Forwarded-For=e"),
    NO(GET("Connection: Host\r\n"), BAD_REQUEST),
    NO(POST("Connection: close, content-length\r\nContent-Length: 1\r\n"), BAD_REQUEST),
    NO(POST("Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n"), BAD_REQUEST),
    NO(GET("Connection: a b\r\n"), BAD_REQUEST),
    NO(GET("Connection: \"close\"\r\n"), BAD_REQUEST),
    OK(GET("TE: trailers\r\nConnection: TE\r\n"), G " keep te"),
    OK(GET("TE: gzip;q=0.5, Trailers\r\n"), G " keep te"),
    OK("GET / HTTP/1.0\r\nTE: trailers\r\n\r\n", "GET  / 1.0 none"),
    /* Expect */
    OK(POST("Expect: 100-Continue\r\nContent-Length: 1\r\n"),
       "POST h / 1.1 length=1 keep 100|Expect=100-Continue"),
    OK(POST("Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n"),
       "POST h / 1.1 chunked keep 100|Expect=100-continue"),
    OK(POST("Expect: 100-continue\r\n"), "POST h / 1.1 none keep|Expect=100-continue"),
    OK(POST("Expect: x\r\nContent-Length: 1\r\n"), "POST h / 1.1 length=1 keep|Expect=x"),
    OK("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n",
       "POST  / 1.0 length=1"),
    /* Upgrade */
    OK(GET("Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"), G " keep up=websocket"),
    OK(GET("Connection: upgrade\r\nUpgrade: a/1, b\r\n"), G " keep up=a/1, b"),
    OK(GET("Upgrade: websocket\r\n"), G " keep"),
    OK(GET("Connection: upgrade\r\n"), G " keep"),
    OK(GET("Connection: upgrade\r\nUpgrade: a\r\nUpgrade: b\r\n"), G " keep"),
    OK(GET("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n"),
       G " keep"),
    OK(GET("Connection: Upgrade\r\nUpgrade: websocket, H2C\r\n"), G " keep"),
    OK(GET("Connection: Upgrade\r\nUpgrade: TLS/1.0, HTTP/1.1\r\n"), G " keep"),
    OK("GET / HTTP/1.0\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
       "GET h / 1.0 none"),
    OK(POST("Transfer-Encoding: chunked\r\nUpgrade: a\r\nConnection: Upgrade\r\n"),
       "POST h / 1.1 chunked keep up=a"),
};
#define REQUESTS ((int)(sizeof requests / sizeof requests[0]))

#define R(fields) "HTTP/1.1 200 OK\r\n" fields "\r\n"
#define S(line) line "\r\nContent-Length: 1\r\n\r\n"

static const struct row responses[] = {
    /* status lines */
    OK(S("HTTP/1.1 200 OK"), "200 OK 1.1 length=1 keep"),
    OK(S("HTTP/1.0 200 OK"), "200 OK 1.0 length=1"),
    OK(S("HTTP/1.1 299 Fine \t by\xe9 me"), "299 Fine \t by\xe9 me 1.1 length=1 keep"),
    OK(S("HTTP/1.1 200 "), "200  1.1 length=1 keep"),
    OK(S("HTTP/1.1 200"), "200  1.1 length=1 keep"),
    OK(S("HTTP/1.1 599 x"), "599 x 1.1 length=1 keep"),
    NO(S("HTTP/1.1 099 x"), BAD_RESPONSE),
    NO(S("HTTP/1.1 000 x"), BAD_RESPONSE),
    NO(S("HTTP/1.1 600 x"), BAD_RESPONSE),
    NO(S("HTTP/1.1 999 x"), BAD_RESPONSE),
    NO(S("HTTP/1.1 20 x"), BAD_RESPONSE),
    NO(S("HTTP/1.1 2000 x"), BAD_RESPONSE),
    NO(S("HTTP/1.1 2x0 x"), BAD_RESPONSE),
    NO(S("HTTP/1.1 OK"), BAD_RESPONSE),
    NO(S("HTTP/1.1  200 OK"), BAD_RESPONSE),
    NO(S("HTTP/1.1\t200 OK"), BAD_RESPONSE),
    NO(S("HTTP/1.1 200\tOK"), BAD_RESPONSE),
    NO(S("HTTP/1.1 200 O\x01K"), BAD_RESPONSE),
    NO(S("HTTP/1.1 200 O\x7fK"), BAD_RESPONSE),
    NO(S("HTTP/2.0 200 OK"), BAD_RESPONSE),
    NO(S("HTTP/0.9 200 OK"), BAD_RESPONSE),
    NO(S("HTTP/1.2 200 OK"), BAD_RESPONSE),
    NO(S("http/1.1 200 OK"), BAD_RESPONSE),
    NO(S("ICY 200 OK"), BAD_RESPONSE),
    NO(S("nonsense"), BAD_RESPONSE),
    /* fields */
    OK(R("Server: a\r\nSet-Cookie: b\r\nSet-Cookie: c\r\nContent-Length: 0\r\n"),
       "200 OK 1.1 length=0 keep|Server=a|Set-Cookie=b|Set-Cookie=c"),
    OK(R("Host: a\r\nContent-Length: 0\r\n"), "200 OK 1.1 length=0 keep|Host=a"),
    NO(R("X : a\r\n"), BAD_RESPONSE),
    NO(R("X\r\n"), BAD_RESPONSE),
    NO(R(": a\r\n"), BAD_RESPONSE),
    NO(R("X Y: a\r\n"), BAD_RESPONSE),
    NO(R("X: \x01\r\n"), BAD_RESPONSE),
    NO(R("Content-Length : 1\r\n"), BAD_RESPONSE),
    /* framing (RFC 9112 6.3) */
    OK(R(""), "200 OK 1.1 close"),
    OK(R("Connection: keep-alive\r\n"), "200 OK 1.1 close"),
    OK(R("Transfer-Encoding: Chunked\r\n"), "200 OK 1.1 chunked keep"),
    OK(R("Transfer-Encoding: chunked\r\nTrailer: X\r\n"), "200 OK 1.1 chunked keep|Trailer=X"),
    OK(R("Content-Length: 0\r\n"), "200 OK 1.1 length=0 keep"),
    NO(R("Content-Length: 1\r\nContent-Length: 1\r\n"), BAD_RESPONSE),
    NO(R("Content-Length: 1\r\nContent-Length: 2\r\n"), BAD_RESPONSE),
    NO(R("Content-Length: 1, 1\r\n"), BAD_RESPONSE),
    NO(R("Content-Length: -1\r\n"), BAD_RESPONSE),
    NO(R("Content-Length:\r\n"), BAD_RESPONSE),
    NO(R("Content-Length: 9223372036854775808\r\n"), BAD_RESPONSE),
    NO(R("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"), BAD_RESPONSE),
    NO(R("Transfer-Encoding: chunked\r\nContent-Length: 1\r\n"), BAD_RESPONSE),
    NO(R("Transfer-Encoding: gzip\r\n"), BAD_RESPONSE),
    NO(R("Transfer-Encoding: gzip, chunked\r\n"), BAD_RESPONSE),
    NO(R("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), BAD_RESPONSE),
    NO("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", BAD_RESPONSE),
    /* without body */
    FOR(R("Content-Length: 9\r\n"), HEAD, "200 OK 1.1 none (9) keep"),
    FOR(R("Transfer-Encoding: chunked\r\n"), HEAD, "200 OK 1.1 none keep"),
    FOR(R(""), HEAD, "200 OK 1.1 none keep"),
    OK("HTTP/1.1 304 x\r\nContent-Length: 9\r\nETag: e\r\n\r\n",
       "304 x 1.1 none (9) keep|ETag=e"),
    OK("HTTP/1.1 304 x\r\n\r\n", "304 x 1.1 none keep"),
    OK("HTTP/1.1 204 x\r\n\r\n", "204 x 1.1 none keep"),
    OK("HTTP/1.1 204 x\r\nContent-Length: 9\r\n\r\n", "204 x 1.1 none keep"),
    OK("HTTP/1.1 100 Continue\r\n\r\n", "100 Continue 1.1 none keep"),
    OK("HTTP/1.1 103 x\r\nLink: a\r\nContent-Length: 9\r\n\r\n",
       "103 x 1.1 none keep|Link=a"),
    NO("HTTP/1.1 204 x\r\nTransfer-Encoding: chunked\r\n\r\n", BAD_RESPONSE),
    NO("HTTP/1.1 103 x\r\nTransfer-Encoding: chunked\r\n\r\n", BAD_RESPONSE),
    NO("HTTP/1.1 304 x\r\nTransfer-Encoding: gzip\r\n\r\n", BAD_RESPONSE),
    NO("HTTP/1.1 204 x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", BAD_RESPONSE),
    /* the connection */
    OK(R("Content-Length: 1\r\nConnection: close\r\n"), "200 OK 1.1 length=1"),
    OK("HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\n",
       "200 OK 1.0 length=1 keep"),
    OK(R("Content-Length: 1\r\nConnection: X-A\r\nX-A: 1\r\nX-B: 2\r\nKeep-Alive: x\r\n"
         "Proxy-Authenticate: y\r\nUpgrade: h2c\r\n"), "200 OK 1.1 length=1 keep|X-B=2"),
    NO(R("Content-Length: 1\r\nConnection: Content-Length\r\n"), BAD_RESPONSE),
    OK("HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX: y\r\n\r\n",
       "101 x 1.1 none keep up=websocket|X=y"),
    NO("HTTP/1.1 101 x\r\nUpgrade: websocket\r\n\r\n", BAD_RESPONSE),
    NO("HTTP/1.1 101 x\r\nConnection: Upgrade\r\n\r\n", BAD_RESPONSE),
    NO("HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade:\r\n\r\n", BAD_RESPONSE),
    NO("HTTP/1.0 101 x\r\nConnection: Upgrade\r\nUpgrade: a\r\n\r\n", BAD_RESPONSE),
};
#define RESPONSES ((int)(sizeof responses / sizeof responses[0]))

static struct arena arena;
static struct head head;

static void setup(void)
{
    arena_init(&arena, NULL);
    head_init(&head, &arena);
}

static void teardown(void)
{
    arena_reset(&arena);
}

/* "GET host /path 1.1 body keep 100 te up=x https|Name=value|..." or "200 reason 1.1 ...". */
static const char *render(const struct head *h)
{
    static char text[1024];
    static const char *const bodies[] = { "none", "length", "chunked", "close" };
    FILE *f = fmemopen(text, sizeof text, "w");

    if (h->status != 0)
        fprintf(f, "%d %.*s", h->status, SLICE_ARG(h->reason));
    else
        fprintf(f, "%.*s %.*s %.*s", SLICE_ARG(h->method_text), SLICE_ARG(h->authority),
                SLICE_ARG(h->path));
    fprintf(f, " 1.%d %s", h->minor, bodies[h->body]);
    if (h->body == BODY_LENGTH)
        fprintf(f, "=%llu", (unsigned long long)h->content_length);
    else if (h->has_length)
        fprintf(f, " (%llu)", (unsigned long long)h->content_length);
    fprintf(f, "%s%s%s", h->keep_alive ? " keep" : "", h->expects_continue ? " 100" : "",
            h->te_trailers ? " te" : "");
    if (h->upgrade.n > 0)
        fprintf(f, " up=%.*s", SLICE_ARG(h->upgrade));
    if (slice_eq(h->scheme, SLICE("https")))
        fputs(" https", f);
    FIELDS_EACH(it, &h->fields)
        fprintf(f, "|%.*s=%.*s", SLICE_ARG(it->name), SLICE_ARG(it->value));
    fclose(f);
    return text;
}

static void expect(const struct row *row, enum end_reason why)
{
    ck_assert_msg(why == row->why, "%.*s: %s, not %s", SLICE_ARG(row->bytes),
                  end_reason_text(why), end_reason_text(row->why));
    if (why == END_OK)
        ck_assert_str_eq(render(&head), row->is);
    ck_assert_uint_eq(head.wire_bytes, row->bytes.n);
}

/* The bytes alone in memory, that a sanitizer may see what is read behind them. */
static struct slice exactly(struct slice s)
{
    char *p = malloc(s.n);

    memcpy(p, s.p, s.n);
    return slice_of(p, s.n);
}

static void free_exactly(struct slice s)
{
    free((void *)(uintptr_t)s.p);
}

START_TEST(request_rows)
{
    const struct row *row = &requests[_i];
    struct slice bytes = exactly(row->bytes);

    expect(row, h1_parse_request(bytes, &head));
    free_exactly(bytes);
}
END_TEST

START_TEST(response_rows)
{
    const struct row *row = &responses[_i];
    struct slice bytes = exactly(row->bytes);

    expect(row, h1_parse_response(bytes, &head, row->method));
    free_exactly(bytes);
}
END_TEST

/* All rows pass the scan's line discipline, wherever they are cut, and end where it says. */
static void scan_cut(struct slice bytes)
{
    for (size_t cut = 0; cut < bytes.n; cut++) {
        struct h1_scan s = { 0 };
        size_t used;

        ck_assert_int_eq(h1_scan(&s, slice_of(bytes.p, cut), &used), H1_SCAN_MORE);
        ck_assert_int_eq(h1_scan(&s, slice_of(bytes.p + cut, bytes.n - cut), &used),
                         H1_SCAN_DONE);
        ck_assert_uint_eq(used, bytes.n - cut);
    }
}

START_TEST(request_rows_scan_at_any_cut)
{
    scan_cut(requests[_i].bytes);
}
END_TEST

START_TEST(response_rows_scan_at_any_cut)
{
    scan_cut(responses[_i].bytes);
}
END_TEST

/* ---- beside another parser ---- */

#define MUTANTS 1000 /* of each row */

static int stop(llhttp_t *parser)
{
    (void)parser;
    return HPE_PAUSED;
}

/* llhttp, which many servers read with, takes the head too, and finds its end where we do. */
static bool llhttp_takes(struct slice bytes, bool is_request)
{
    static const llhttp_settings_t settings = { .on_headers_complete = stop };
    llhttp_t other;
    llhttp_errno_t err;

    llhttp_init(&other, is_request ? HTTP_REQUEST : HTTP_RESPONSE, &settings);
    err = llhttp_execute(&other, bytes.p, bytes.n);
    if (is_request && (err == HPE_INVALID_METHOD || err == HPE_INVALID_CONSTANT))
        return true; /* it has a list of them */
    if (err == HPE_INVALID_CONTENT_LENGTH && slice_find(bytes, '\t') < bytes.n)
        return true; /* a tab behind the digits is OWS (RFC 9110 5.6.3), but not to it */
    return err == HPE_PAUSED && llhttp_get_error_pos(&other) + 1 >= bytes.p + bytes.n;
}

/* One byte, or two, become others: those that mean something, more often than not. */
static void mutate(char *p, size_t n, uint64_t *seed)
{
    static const char meaning[] = "\r\n\t\0 :,;/0\x7f\x80\xff\x01\x0b";

    for (unsigned i = 0; i < 2; i++) {
        *seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;
        if (i == 0 || *seed >> 63)
            p[(*seed >> 20) % n] = *seed >> 62 ? meaning[(*seed >> 40) % (sizeof meaning - 1)]
                                               : (char)(*seed >> 33);
    }
}

static void compare_mutants(const struct row *row, bool is_request, uint64_t seed)
{
    for (unsigned i = 0; i < MUTANTS; i++) {
        struct slice bytes = exactly(row->bytes);
        struct h1_scan scan = { 0 };
        enum end_reason why;
        size_t used;

        if (i > 0)
            mutate((char *)(uintptr_t)bytes.p, bytes.n, &seed);
        head_init(&head, &arena);
        why = is_request ? h1_parse_request(bytes, &head)
                         : h1_parse_response(bytes, &head, row->method);
        if (why == END_OK) {
            struct slice taken = slice_of(bytes.p, head.wire_bytes);

            ck_assert_int_eq(h1_scan(&scan, bytes, &used), H1_SCAN_DONE);
            ck_assert_uint_eq(used, taken.n);
            ck_assert_msg(llhttp_takes(taken, is_request), "%.*s", SLICE_ARG(taken));
        }
        free_exactly(bytes);
        arena_reset(&arena);
    }
}

START_TEST(requests_taken_are_taken_by_llhttp)
{
    compare_mutants(&requests[_i], true, (uint64_t)_i);
}
END_TEST

START_TEST(responses_taken_are_taken_by_llhttp)
{
    compare_mutants(&responses[_i], false, (uint64_t)_i);
}
END_TEST

/* What a scan refuses is no head: one that was cut short or runs on is not taken for one. */
START_TEST(head_cut_short_is_refused)
{
    struct slice whole = SLICE("GET / HTTP/1.1\r\nHost: h\r\nX: y\r\n\r\n");

    for (size_t n = 0; n < whole.n; n++) {
        head_init(&head, &arena);
        ck_assert_int_ne(h1_parse_request(slice_of(whole.p, n), &head), END_OK);
    }
}
END_TEST

START_TEST(what_follows_a_head_is_left)
{
    struct slice two = SLICE("GET / HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\n\r\n");

    ck_assert_int_eq(h1_parse_request(two, &head), END_OK);
    ck_assert_uint_eq(head.wire_bytes, sizeof GET("") - 1);
    head_init(&head, &arena);
    ck_assert_int_eq(h1_parse_response(SLICE(R("Content-Length: 2\r\n") "\r\n"), &head,
                                       METHOD_GET), END_OK);
    ck_assert_uint_eq(head.wire_bytes, sizeof R("Content-Length: 2\r\n") - 1);
}
END_TEST

START_TEST(slices_point_into_the_bytes)
{
    struct slice s = SLICE("GET /p HTTP/1.1\r\nHost: h\r\nX: y\r\n\r\n");

    ck_assert_int_eq(h1_parse_request(s, &head), END_OK);
    ck_assert_ptr_eq(head.path.p, s.p + 4);
    ck_assert_ptr_eq(head.authority.p, s.p + 23);
    ck_assert_ptr_eq(head.fields.v[0].name.p, s.p + 26);
    ck_assert_int_eq(head.method, METHOD_GET);
    ck_assert(slice_eq(head.scheme, SLICE("http")));
}
END_TEST

START_TEST(known_fields_are_known)
{
    struct slice s = SLICE(GET("cookie: a\r\nX: b\r\n"));

    ck_assert_int_eq(h1_parse_request(s, &head), END_OK);
    ck_assert_int_eq(head.fields.v[0].id, FIELD_COOKIE);
    ck_assert_int_eq(head.fields.v[1].id, FIELD_OTHER);
}
END_TEST

START_TEST(method_of_a_refused_request_is_told)
{
    ck_assert_int_eq(h1_parse_request(SLICE("HEAD / HTTP/1.1\r\nX : y\r\n\r\n"), &head),
                     END_BAD_REQUEST);
    ck_assert_int_eq(head.method, METHOD_HEAD);
}
END_TEST

/* A head of a start line, n times a field, and the end. */
static struct slice many(const char *start, const char *field, unsigned n)
{
    size_t field_len = strlen(field), at = strlen(start);
    char *p = arena_alloc(&arena, at + n * field_len + 2);

    memcpy(p, start, at);
    for (unsigned i = 0; i < n; i++, at += field_len)
        memcpy(p + at, field, field_len);
    memcpy(p + at, "\r\n", 2);
    return slice_of(p, at + 2);
}

START_TEST(number_of_fields_is_bounded)
{
    const char *start = "GET / HTTP/1.1\r\nHost: h\r\n";

    ck_assert_int_eq(h1_parse_request(many(start, "X: y\r\n", 255), &head), END_OK);
    ck_assert_uint_eq(head.fields.n, 255);
    ck_assert(slice_eq(head.fields.v[254].value, SLICE("y")));
    head_init(&head, &arena);
    ck_assert_int_eq(h1_parse_request(many(start, "X: y\r\n", 256), &head),
                     END_HEADER_TOO_LARGE);
    head_init(&head, &arena);
    ck_assert_int_eq(h1_parse_request(many(start, "Keep-Alive: y\r\n", 256), &head),
                     END_HEADER_TOO_LARGE);
    head_init(&head, &arena);
    ck_assert_int_eq(h1_parse_response(many("HTTP/1.1 200 OK\r\n", "X: y\r\n", 257),
                                       &head, METHOD_GET), END_RESPONSE_HEADER_TOO_LARGE);
}
END_TEST

START_TEST(number_of_connection_options_is_bounded)
{
    const char *start = "GET / HTTP/1.1\r\nHost: h\r\n";

    ck_assert_int_eq(h1_parse_request(many(start, "Connection: a, b\r\n", 32), &head),
                     END_OK);
    head_init(&head, &arena);
    ck_assert_int_eq(h1_parse_request(many(start, "Connection: a, b\r\n", 33), &head),
                     END_BAD_REQUEST);
}
END_TEST

START_TEST(want_of_memory_is_said)
{
    struct arena_pool pool;
    struct arena small;
    struct slice big = many("GET / HTTP/1.1\r\nHost: h\r\n", "X: y\r\n", 200);

    arena_pool_init(&pool, 0, 1);
    arena_init(&small, &pool);
    head_init(&head, &small);
    ck_assert_int_eq(h1_parse_request(big, &head), END_EXHAUSTED);
    arena_reset(&small);
    head_init(&head, &small);
    big = many("HTTP/1.1 200 OK\r\n", "X: y\r\n", 200);
    ck_assert_int_eq(h1_parse_response(big, &head, METHOD_GET), END_EXHAUSTED);
    arena_reset(&small);
    arena_pool_fini(&pool);
}
END_TEST

START_TEST(large_head_is_read)
{
    struct slice big = many("GET / HTTP/1.1\r\nHost: h\r\nX: ", "abcdefghijklmnop", 20000);
    char *p = arena_alloc(&arena, big.n + 2);

    memcpy(p, big.p, big.n);
    memcpy(p + big.n, "\r\n", 2);
    ck_assert_int_eq(h1_parse_request(slice_of(p, big.n + 2), &head), END_OK);
    ck_assert_uint_eq(head.fields.v[0].value.n, 320000);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        head_cut_short_is_refused, what_follows_a_head_is_left, slices_point_into_the_bytes,
        known_fields_are_known, method_of_a_refused_request_is_told, number_of_fields_is_bounded,
        number_of_connection_options_is_bounded, want_of_memory_is_said, large_head_is_read,
    };
    Suite *suite = suite_create("h1_parse");
    TCase *tcase = tcase_create("h1_parse");

    tcase_set_timeout(tcase, UNIT_TIMEOUT_S);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, request_rows, 0, REQUESTS);
    tcase_add_loop_test(tcase, response_rows, 0, RESPONSES);
    tcase_add_loop_test(tcase, requests_taken_are_taken_by_llhttp, 0, REQUESTS);
    tcase_add_loop_test(tcase, responses_taken_are_taken_by_llhttp, 0, RESPONSES);
    tcase_add_loop_test(tcase, request_rows_scan_at_any_cut, 0, REQUESTS);
    tcase_add_loop_test(tcase, response_rows_scan_at_any_cut, 0, RESPONSES);
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++)
        tcase_add_test(tcase, tests[i]);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
