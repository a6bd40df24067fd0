"""rpd.ini's mistakes: each is an error with its place, all of them in one run, status 1."""

import re

import pytest

from harness.util import RPD

GLOBAL = "[global]\nrun_dir = @dir@/run\nuser = root\ngroup = root\nlog = stderr\nworkers = 1\n"
REST = """
[listener web]
bind = @web@

[route all]
backend = pool

[backend pool]
server = 127.0.0.1:9
"""
BASE = GLOBAL + REST


def findings(done):
    return done.stderr + done.stdout


def line_of(site, text):
    """Number of the last line that holds text."""
    lines = site.config.read_text().splitlines()
    return max(i + 1 for i, line in enumerate(lines) if text in line)


CANARIED = "[route b]\npath = /b\ncanary = release\n"
CANARY = "[backend next]\nserver = 127.0.0.1:7\n[canary release]\nstable = pool\ncanary = next\n"

# id, what is added to a good file, a part of the wrong line, what the message must say
ERRORS = [
    # keys and sections
    ("unknown key", "[listener b]\nbnd = @b@\nbind = @c@\n", "bnd",
     r"\[listener b\] bnd: .*did you mean 'bind'"),
    ("unknown global key", "[global]\nworkrs = 2\n", "workrs",
     r"\[global\] workrs: .*did you mean 'workers'"),
    ("unknown route key", "[route b]\npath = /b\nbackedn = pool\n", "backedn",
     r"did you mean 'backend'"),
    ("unknown section", "[listner b]\nbind = @b@\n", "[listner", r"did you mean 'listener'"),
    ("unknown section, nothing close", "[zzzzzz b]\nbind = @b@\n", "[zzzzzz", r"zzzzzz"),
    ("section without name", "[backend]\nserver = 127.0.0.1:9\n", "[backend]", r"name"),
    ("global with name", "[global x]\nworkers = 2\n", "[global x]", r"name"),
    ("defaults of unknown type", "[defaults rout]\nretries = 2\n", "[defaults rout]", r"route"),
    ("unknown key in defaults", "[defaults route]\nretrys = 2\n", "retrys",
     r"did you mean 'retries'"),
    ("line without =", "[route b]\npath = /b\nbackend pool\n", "backend pool", r""),
    ("key without value", "[route b]\npath = /b\nretries =\nbackend = pool\n", "retries =",
     r"retries"),
    ("duplicate listener", "[listener web]\nbind = @b@\n", "[listener web]",
     r"web.*(twice|already|defined)"),
    ("duplicate route", "[route all]\npath = /x\nbackend = pool\n", "[route all]",
     r"all.*(twice|already|defined)"),
    ("duplicate backend", "[backend pool]\nserver = 127.0.0.1:8\n", "[backend pool]",
     r"pool.*(twice|already|defined)"),
    ("key twice", "[route b]\npath = /b\nbackend = pool\nretries = 1\nretries = 2\n",
     "retries = 2", r"retries"),
    # answers made here
    ("respond and file", "[route b]\npath = /b\nrespond = 200 x\nrespond_file = /dev/null\n",
     "respond_file", r"respond_file: the text of `respond` and a file exclude each other"),
    ("respond without body", "[route b]\npath = /b\nrespond = 204\nrespond_file = /etc/passwd\n",
     "respond_file", r"a 204 has no body"),
    ("file and backend", "[route b]\npath = /b\nbackend = pool\nrespond_file = /etc/passwd\n",
     "[route b]", r"exclude each other"),
    ("no such file", "[route b]\npath = /b\nrespond_file = /none/x.html\n", "respond_file",
     r"\[route b\] respond_file: cannot read '/none/x.html': No such file"),
    ("no file", "[route b]\npath = /b\nrespond_file = /etc\n", "respond_file", r"directory"),
    ("no type", "[route b]\npath = /b\nrespond = 200 x\nrespond_type = html\n", "respond_type",
     r"'html' is no type"),
    ("page without status", "[route b]\npath = /b\nbackend = pool\nerror_page = /x.html\n",
     "error_page", r"'/x.html' begins with no status: write `502 503 504 FILE`"),
    ("page without file", "[route b]\npath = /b\nbackend = pool\nerror_page = 502, 503\n",
     "error_page", r"'502, 503' names no file"),
    ("page of no error", "[route b]\npath = /b\nbackend = pool\nerror_page = 302 /x.html\n",
     "error_page", r"'302' is no error's status"),
    ("no such page", "[defaults route]\nerror_page = 5xx /none/x.html\n", "error_page",
     r"error_page: cannot read '/none/x.html'"),
    # compression
    ("unknown coding", "[route b]\npath = /b\nbackend = pool\ncompress = gzip, zst\n", "zst",
     r"compress: 'zst' is none of .*did you mean 'zstd'"),
    ("coding twice", "[route b]\npath = /b\nbackend = pool\ncompress = gzip, gzip\n", "gzip",
     r"'gzip' is named twice"),
    ("off and on", "[route b]\npath = /b\nbackend = pool\ncompress = off, gzip\n", "off, gzip",
     r"`off` stands alone"),
    ("on and off", "[route b]\npath = /b\nbackend = pool\ncompress = gzip\ncompress = off\n",
     "compress = off", r"`off` stands alone"),
    ("no media type", "[route b]\npath = /b\nbackend = pool\ncompress_types = html\n", "html",
     r"'html' is none of `text/html`, `text/\*` and `\*\+xml`"),
    ("level beyond", "[route b]\npath = /b\nbackend = pool\ncompress_level = 11\n", "11",
     r"compress_level: "),
    # tokens
    ("issuer without key", "[route b]\npath = /b\nbackend = pool\njwt_issuer = me\n",
     "jwt_issuer", r"jwt_issuer: lets everybody in without a `jwt_key`"),
    ("audience without key", "[route b]\npath = /b\nbackend = pool\njwt_audience = me\n",
     "jwt_audience", r"lets everybody in without a `jwt_key`"),
    ("no such key", "[route b]\npath = /b\nbackend = pool\njwt_key = /none/x.pem\n", "jwt_key",
     r"\[route b\] jwt_key: cannot read '/none/x.pem': No such file"),
    ("key in defaults", "[defaults route]\njwt_key = /dev/null\n", "jwt_key", r"jwt_key"),
    ("token for sessions", "[listener b]\nbind = @b@\nmode = tcp\n[route b]\nlistener = b\n"
     "backend = pool\njwt_leeway = 5s\n", "jwt_leeway", r"does not belong in a route of a tcp"),
    ("jwt variable without name", "[route b]\npath = /b\nbackend = pool\n"
     "request_header = set X: $jwt_\n", "request_header", r"'\$jwt_' needs a name behind it"),
    # references
    ("undefined backend", "[route b]\npath = /b\nbackend = pol\n", "backend = pol",
     r"pol.*did you mean 'pool'"),
    ("undefined default_backend", "[listener b]\nbind = @b@\ndefault_backend = poool\n", "poool",
     r"did you mean 'pool'"),
    ("undefined listener", "[route b]\npath = /b\nlistener = wep\nbackend = pool\n", "wep",
     r"did you mean 'web'"),
    ("bind twice", "[listener b]\nbind = @web@\n", "bind = ", r""),
    ("same server name twice",
     "[backend b]\nserver = 127.0.0.1:1 name=x\nserver = 127.0.0.1:2 name=x\n"
     "[route b]\npath = /b\nbackend = b\n", "127.0.0.1:2", r"x"),
    # required things
    ("listener without bind", "[listener b]\nmode = http\n", "[listener b]", r"bind"),
    ("backend without server", "[backend b]\nbalance = least_conn\n", "[backend b]", r"server"),
    ("route that does nothing", "[route b]\npath = /b\n", "[route b]", r"backend"),
    ("route that does two things", "[route b]\npath = /b\nbackend = pool\nrespond = 200 x\n", "",
     r"\[route b\]"),
    ("route that can never match", "[route b]\nbackend = pool\n", "[route b]", r"(never|match)"),
    ("route that can never match by path",
     "[route b]\npath = /b\nbackend = pool\n[route c]\npath = /b/\nbackend = pool\n",
     "[route c]", r"(never|match)"),
    # values
    ("duration without unit", "[route b]\npath = /b\nbackend = pool\ntimeout_connect = 5\n",
     "timeout_connect", r"5ms.*5s|5s.*5ms"),
    ("bad duration", "[route b]\npath = /b\nbackend = pool\ntimeout_connect = 5x\n",
     "timeout_connect", r"timeout_connect"),
    ("negative duration", "[route b]\npath = /b\nbackend = pool\ntimeout_connect = -5s\n",
     "timeout_connect", r"timeout_connect"),
    ("bad size", "[listener b]\nbind = @b@\nmax_body_size = 10q\n", "max_body_size",
     r"max_body_size"),
    ("size out of range", "[listener b]\nbind = @b@\nmax_header_size = 16g\n", "max_header_size",
     r"max_header_size"),
    ("bad boolean", "[route b]\npath = /b\nbackend = pool\nbuffer_request = maybe\n", "maybe",
     r"buffer_request"),
    ("bad count", "[backend b]\nserver = 127.0.0.1:1\nkeepalive = many\n", "many", r"keepalive"),
    ("count out of range", "[global]\nmax_connections = 0\n", "max_connections",
     r"max_connections"),
    ("bad mode", "[listener b]\nbind = @b@\nmode = htpp\n", "htpp", r"did you mean 'http'"),
    ("bad balance", "[backend b]\nserver = 127.0.0.1:1\nbalance = roundrobin\n", "roundrobin",
     r"did you mean 'round_robin'"),
    ("bad send_proxy", "[backend b]\nserver = 127.0.0.1:1\nsend_proxy = v3\n", "v3",
     r"send_proxy"),
    ("bad log level", "[global]\nlog_level = loud\n", "loud", r"log_level"),
    ("bad address", "[listener b]\nbind = 127.0.0.1:99999\n", "99999", r"bind"),
    ("address without port", "[listener b]\nbind = 127.0.0.1\n", "bind = 127.0.0.1", r"bind"),
    ("bad server option", "[backend b]\nserver = 127.0.0.1:1 wieght=2\n", "wieght",
     r"did you mean 'weight"),
    ("bad weight", "[backend b]\nserver = 127.0.0.1:1 weight=70000\n", "weight=70000", r"weight"),
    ("bad network", "[listener b]\nbind = @b@\ntrusted_proxies = 10.0.0.0/40\n", "/40",
     r"trusted_proxies"),
    ("bad respond", "[route b]\npath = /b\nrespond = hello\n", "respond", r"respond"),
    ("bad respond status", "[route b]\npath = /b\nrespond = 99 hello\n", "respond", r"respond"),
    ("bad redirect status", "[route b]\npath = /b\nredirect = 200 http://x/\n", "redirect",
     r"redirect"),
    ("bad path", "[route b]\npath = b\nbackend = pool\n", "path = b", r"path"),
    *[("path: " + why, f"[route b]\npath = {value}\nbackend = pool\n", value, says)
      for why, value, says in [
          ("bad escape", "/a%4", r"'/a%4': `%` without two hexadecimal digits"),
          ("above the root", "/a/../../b", r"'/a/../../b': path leads above its root"),
          ("NUL", "/a%00", r"'/a%00': NUL in the path")]],
    ("same path, escaped", "[route b]\npath = /b//c\nbackend = pool\n[route c]\n"
     "path = /%62/c\nbackend = pool\n", "[route c]", r"never matches"),
    ("bad host", "[route b]\nhost = a*b.example\nbackend = pool\n", "a*b", r"host"),
    ("bad field rule", "[route b]\npath = /b\nbackend = pool\nrequest_header = put X: 1\n",
     "put X", r"request_header"),
    ("bad field name", "[route b]\npath = /b\nbackend = pool\nrequest_header = set X Y: 1\n",
     "X Y", r"request_header"),
    ("unknown variable", "[route b]\npath = /b\nredirect = 301 http://$hots/\n", "$hots",
     r"did you mean '\$?host'"),
    ("bad retry_on", "[route b]\npath = /b\nbackend = pool\nretry_on = never\n", "never",
     r"retry_on"),
    # limits
    ("rate without period", "[limit l]\nrate = 10\n", "rate = 10",
     r"has no period: did you mean 10/s or 10/m"),
    ("rate of words", "[limit l]\nrate = often\n", "often", r"no rate: write 10/s, 600/m"),
    ("rate for a year", "[limit l]\nrate = 10/y\n", "10/y", r"a rate is for /s, /m, /h or /d"),
    ("rate of nothing", "[limit l]\nrate = 0/s\n", "0/s", r"let nothing through: write off"),
    ("rate above the most", "[limit l]\nrate = 1000001/s\n", "1000001", r"the most, 1000000"),
    ("limit without limits", "[limit l]\nrate = off\n", "[limit l]",
     r"limits nothing: it needs a rate or max_conns"),
    ("burst of none", "[limit l]\nburst = 0\n", "burst", r"burst: .*1"),
    ("status that is no error", "[limit l]\nstatus = 200\n", "status = 200", r"400"),
    ("few keys", "[limit l]\nkeys = 3\n", "keys = 3", r"64"),
    ("key of an unknown variable", "[limit l]\nkey = $cilent_ip\n", "$cilent_ip",
     r"did you mean '\$?client_ip'"),
    ("long key", f"[limit l]\nkey = {'x' * 600}\n", "xxx", r"longer than 512 bytes"),
    ("unknown limit", "[limit login]\n[route b]\npath = /b\nbackend = pool\nlimit = logni\n",
     "logni", r"did you mean 'login'"),
    ("limit twice", "[limit l]\n[route b]\npath = /b\nbackend = pool\nlimit = l, l\n", "l, l",
     r"'l' is named twice"),
    ("many limits", "".join(f"[limit l{i}]\n" for i in range(9)) + "[route b]\npath = /b\n"
     f"backend = pool\nlimit = {', '.join(f'l{i}' for i in range(9))}\n", "l8",
     r"more than 8 limits"),
    ("key that sessions have not", "[limit l]\nkey = $path\n[listener t]\nbind = @t@\nmode = tcp\n"
     "[route t]\nlistener = t\nbackend = pool\nlimit = l\n", "limit = l",
     r"the key of \[limit l\], '\$path', is nothing that tcp sessions have"),
    ("key of tokens nobody needs", "[limit l]\nkey = $jwt_sub\n[route b]\npath = /b\n"
     "backend = pool\nlimit = l\n", "limit = l", r"'\$jwt_sub', is known of who has shown who"),
    ("bad check", "[backend b]\nserver = 127.0.0.1:1\ncheck = http up\n", "http up",
     r"no path: write off, tcp, or"),
    ("bad sticky", "[backend b]\nserver = 127.0.0.1:1\nsticky = cookei\n", "cookei",
     r"did you mean 'cookie'"),
    ("hash of nothing", "[backend b]\nserver = 127.0.0.1:1\nbalance = hash\n", "hash",
     r"hash of what"),
    ("percent without sign", "[backend b]\nserver = 127.0.0.1:1\npanic = 50\n", "panic",
     r"write 5% or 0\.25%"),
    ("bad hedge", "[route b]\npath = /b\nbackend = pool\nhedge_after = 95\n", "hedge",
     r"nor a share of the backend's latency"),
    ("environment unset", "[route b]\npath = /b\nrespond = 200 ${RPD_TEST_UNSET}\n",
     "RPD_TEST_UNSET", r"RPD_TEST_UNSET"),
    ("include of nothing", "[global]\ninclude = nowhere.ini\n", "nowhere.ini", r"nowhere\.ini"),
    # over-long
    ("line too long", "[route b]\npath = /b\nrespond = 200 " + "x" * 100000 + "\n", "xxxx",
     r"long"),
    ("name too long", f"[backend {'n' * 300}]\nserver = 127.0.0.1:1\n", "nnnn", r"long"),
    ("key too long", f"[route b]\npath = /b\nbackend = pool\n{'k' * 300} = 1\n", "kkkk", r""),
    # splits
    *[("split: " + why, f"[route b]\npath = /b\nbackend = {value}\n", value, says)
      for why, value, says in [
          ("no such backend", "pool 95, poul 5", r"poul.*did you mean 'pool'"),
          ("unknown, without a weight", "pool 95, pool2", r"backend pool2"),
          ("one has no weight", "pool, pool 5", r"'pool' has no weight"),
          ("twice", "pool 95, pool 5", r"'pool' is there twice"),
          ("no comma", "pool 95 pool2 5", r"with a comma between"),
          ("no number", "pool many", r"'many', the weight of 'pool', is no whole number"),
          ("nobody", "pool 0", r"every weight is 0")]],
    ("split as default", "[listener b]\nbind = @b@\ndefault_backend = pool 1, pool 2\n", "pool 1",
     r"one backend stands here"),
    ("split_sticky", "[route b]\npath = /b\nbackend = pool\nsplit_sticky = source cookie\n",
     "split_sticky", r"'cookie' after 'source'"),
    ("split_sticky of sessions", "[backend p2]\nserver = 127.0.0.1:8\n[listener t]\nbind = @t@\n"
     "mode = tcp\n[route t]\nlistener = t\nbackend = pool 1, p2 1\nsplit_sticky = cookie a\n",
     "split_sticky", r"have no cookies: write `source`"),
    # access
    ("deny: no network", "[route b]\npath = /b\nbackend = pool\ndeny = 10.0.0.0/8, lan\n",
     "deny = ", r"\[route b\] deny: 'lan'"),
    ("deny: bits behind the prefix", "[route b]\npath = /b\nbackend = pool\ndeny = 10.0.0.1/8\n",
     "deny = ", r"bits are set behind the prefix"),
    ("allow: no such file", "[route b]\npath = /b\nbackend = pool\nallow = @dir@/none.txt\n",
     "allow = ", r"\[route b\] allow: cannot read '/.*none.txt'"),
    ("allow: no path", "[route b]\npath = /b\nbackend = pool\nallow = file:\n", "allow = ",
     r"needs a path"),
    ("allowed and denied",
     "[route b]\npath = /b\nbackend = pool\nallow = 10.0.0.0/8\ndeny = ::1, 10.0.0.0/8\n",
     "deny = ", r"10\.0\.0\.0/8 is denied \(.*\) and allowed \(.*rpd.ini:\d+\)"),
    # faults
    *[(f"fault = {value}", f"[route b]\npath = /b\nbackend = pool\nfault = {value}\n",
       "fault = ", says) for value, says in [
           ("dely 2s", r"did you mean 'delay'"),
           ("delay", r"write `delay 2s 5%` or `status 503 1%`"),
           ("delay 2", r"'2' has no unit"), ("delay 0", r"'0' is no delay from 1ms to 1h"),
           ("delay 2h", r"'2h' is no delay"), ("status 200", r"'200' is no status from 400 to 599"),
           ("status abc", r"'abc' is no status"), ("status 503 5", r"'5' is no percentage"),
           ("delay 1s 101%", r"more than all requests"),
           ("delay 1s 5% 3", r"'5% 3' is no percentage"),
           ("delay 1s, staus 503", r"did you mean 'status'")]],
    # cors
    *[(f"cors: {text}", f"[route b]\npath = /b\nbackend = pool\n{text}\n",
       text.splitlines()[-1], says) for text, says in [
           ("cors = app.test", r"'app.test' has no scheme: did you mean https://app\.test\?"),
           ("cors = *.app.test", r"has no scheme: did you mean https://\*\.app\.test\?"),
           ("cors = App.test/x", r"has no scheme: did you mean https://app\.test\?"),
           ("cors = https://app.test/", r"no slash at its end: did you mean https://app\.test\?"),
           ("cors = https://a:81/b/c", r"an origin has no path.*did you mean https://a:81\?"),
           ("cors = null", r"'null' is the origin of any sandboxed page"),
           ("cors = https://*", r"'https://\*' is no origin: write https://app\.example\.com"),
           ("cors = https://a.*.test", r"is no origin"), ("cors = https://a:0", r"is no origin"),
           ("cors = https://u@a", r"is no origin"), ("cors = https://", r"is no origin"),
           ("cors = https://a, b", r"'b' has no scheme"),
           ("cors = https://a\ncors_methods = get", r"upper case: did you mean GET\?"),
           ("cors = https://a\ncors_methods = A B", r"'A B' is no method"),
           ("cors = https://a\ncors_headers = X-A:", r"'X-A:' is no name of a field"),
           ("cors = https://a\ncors_max_age = 60", r"'60' has no unit"),
           ("cors = https://a, *\ncors_credentials = on", r"any site could act as those who"),
           ("cors = https://a\ncors_credentials = on\ncors_headers = *",
            r"browsers take `\*` for a name")]],
    # passwords
    ("auth_basic: no such file",
     "[route b]\npath = /b\nbackend = pool\nauth_basic = @dir@/none\n", "auth_basic = ",
     r"\[route b\] auth_basic: cannot read '/.*none'"),
    ("auth_basic and jwt_key", "[route b]\npath = /b\nbackend = pool\njwt_key = @dir@/rpd.ini\n"
     "auth_basic = @dir@/rpd.ini\n", "auth_basic = ", r"auth_basic: and jwt_key both want"),
    ("auth_basic of sessions", "[listener t]\nbind = @t@\nmode = tcp\n[route t]\nlistener = t\n"
     "backend = pool\nauth_basic = @dir@/rpd.ini\n", "auth_basic = ",
     r"\[route t\] auth_basic: does not belong in a route of a tcp listener"),
    # redirect
    *[(f"redirect = {value}", f"[route b]\npath = /b\nredirect = {value}\n", "redirect = ", says)
      for value, says in [
          ("htps", r"write `301 https://\$host\$uri`, or `https`"),
          ("https:", r"'' is no port: write `https` or `https:8443`"),
          ("https:0", r"'0' is no port"), ("https:65536", r"'65536' is no port"),
          ("https://x/", r"begins with none of 301"),
          ("301 /$1", r"is what path_regex caught, and there is none")]],
    # rewrite
    *[(f"rewrite = {value}", f"[route b]\npath = /b\nbackend = pool\nrewrite = {value}\n",
       "rewrite = ", says) for value, says in [
           ("/new", r"'/new': write `prefix /new` or `regex PATTERN REPLACEMENT`"),
           ("prefx /new", r"'prefx' is none of prefix, regex.*did you mean 'prefix'"),
           ("prefix", r"write `prefix /new`, or `prefix /` to strip it"),
           ("prefix new", r"'new' does not begin with '/'"),
           ("prefix /a b", r"a path holds no ' '"),
           ("prefix /a?b", r"a path holds no '\?'"),
           ("prefix /a/../..", r"above"),
           ("prefix /$host", r"`prefix` takes no variables; `regex` does"),
           ("regex ^/a", r"write `regex PATTERN REPLACEMENT`"),
           ("regex ^/(a /b", r"'\^/\(a' is no pattern: missing closing parenthesis, behind '"),
           (r"regex \C /b", r"is no pattern"),
           ("regex ^/a b", r"'b' does not begin with '/'"),
           ("regex ^/a https://x/", r"a URL belongs in redirect"),
           ("regex ^/a /b c", r"a path holds no space"),
           ("regex ^/(a) /$2", r"'\$2': the pattern has 1 group"),
           ("regex ^/a /?x=$1", r"'\$1': the pattern has 0 groups"),
           ("regex ^/a /$hots", r"did you mean '\$host'"),
           ("regex ^/a /a#b", r"holds no '#': write %23"),
           ("regex ^/a /{a}", r"holds no '\{': write %7B")]],
    ("rewrite without a path", "[route b]\nhost = b\nbackend = pool\nrewrite = prefix /b\n",
     "rewrite = ", r"replaces what `path` matched, and the route has no path"),
    ("rewrite of a raw path",
     "[route b]\npath = /b\nbackend = pool\nraw_path = on\nrewrite = prefix /c\n",
     "rewrite = ", r"only one of them can be"),
    ("capture without a pattern",
     "[route b]\npath = /b\nbackend = pool\nresponse_header = set X: $1\n",
     "response_header = ", r"is what path_regex caught, and there is none"),
    # canaries
    ("canary: no such", "[route b]\npath = /b\ncanary = relase\n" + CANARY, "canary = relase",
     r"\[route b\] canary: .*did you mean 'release'"),
    ("canary and backend", "[route b]\npath = /b\ncanary = release\nbackend = pool\n" + CANARY,
     "[route b]", r"backend, canary, respond and redirect exclude each other"),
    ("canary: the same twice", CANARIED + "[canary release]\nstable = pool\ncanary = pool\n",
     "canary = pool", r"\[canary release\] canary: is the stable backend as well: 'pool'"),
    ("canary: no stable", CANARIED + "[canary release]\ncanary = pool\n", "[canary release]",
     r"has no stable, and needs one"),
    ("canary: no such backend", CANARIED + "[canary release]\nstable = pol\ncanary = pool\n",
     "stable = pol", r"\[canary release\] stable: .*did you mean 'pool'"),
    ("steps fall", CANARIED + CANARY + "steps = 5%, 50%, 25%\n", "steps =",
     r"\[canary release\] steps: '25%' is not above the step before it"),
    ("step of nothing", CANARIED + CANARY + "steps = 0%, 50%\n", "steps =",
     r"'0%': a step is a share above 0% and up to 100%"),
    ("step of more than all", CANARIED + CANARY + "steps = 50%, 101%\n", "steps =",
     r"'101%': a step is a share above 0% and up to 100%"),
    ("step without unit", CANARIED + CANARY + "steps = 5, 50%\n", "steps =", r"'5'"),
    ("no steps", CANARIED + CANARY + "steps =\n", "steps =", r"steps: needs a step"),
    ("p99 of nothing", CANARIED + CANARY + "max_p99 = soon\n", "max_p99",
     r"'soon' is neither off, a duration \(500ms\) nor a multiple"),
    ("p99 faster than stable", CANARIED + CANARY + "max_p99 = 0.5x\n", "max_p99",
     r"'0.5x': the canary would have to be faster than the stable backend"),
    ("match_header without name", CANARIED + CANARY + "match_header = : yes\n", "match_header",
     r"': yes' has no good name: write `X-Canary: yes`"),
    ("match_cookie without name", CANARIED + CANARY + "match_cookie = a b=c\n", "match_cookie",
     r"'a b=c' has no good name: write `canary=yes`"),
    ("on_change that is none", CANARIED + CANARY + "on_change = /none/x\n", "[canary release]",
     r"\[canary release\] on_change: '/none/x' cannot be run: No such file"),
    ("on_change that may not be run", CANARIED + CANARY + "on_change = /etc/passwd\n",
     "[canary release]", r"'/etc/passwd' cannot be run: Permission denied"),
    ("on_change with arguments", CANARIED + CANARY + "on_change = /bin/sh -c\n", "on_change",
     r"'/bin/sh -c': a program alone"),
    ("start later", CANARIED + CANARY + "start = later\n", "start = later",
     r"'later' is none of auto, manual"),
    ("no canary requests", CANARIED + CANARY + "min_requests = 0\n", "min_requests",
     r"'0' is below the least, 1"),
    # auth_request, mirror
    *[(f"{line}: {why}", f"[route b]\npath = /b\nbackend = pool\n{line}\n", line, says)
      for why, line, says in [
          ("no such backend", "auth_request = poul /x", r"poul.*did you mean 'pool'"),
          ("no path", "auth_request = pool verify",
           r"'verify' behind the backend is no path: write `pool /verify`"),
          ("two paths", "auth_request = pool /a /b", r"'/a /b': a path has no blanks"),
          ("a fragment", "auth_request = pool /a#b", r"'/a#b': a path has .* no '#'"),
          ("no name", "auth_request_header = X-A, X B", r"'X B' is no name of a field"),
          ("not for it to say", "auth_request_header = Content-Length",
           r"Content-Length belongs to the connection"),
          ("Host", "auth_request_header = host", r"Host is set by host_header"),
          ("no time", "auth_request_timeout = 0", r"below the least, 1ms"),
          ("no such backend", "mirror = poul", r"poul.*did you mean 'pool'"),
          ("no percentage", "mirror = pool 10", r"'10'.*write 5% or 0\.25%"),
          ("nothing", "mirror = pool 0%", r"'0%': a share is above 0% and at most 100%"),
          ("too much", "mirror = pool 101%", r"'101%': a share is above 0%")]],
    ("mirror of sessions", "[listener t]\nbind = @t@\nmode = tcp\n[route t]\nlistener = t\n"
     "backend = pool\nmirror = pool\n", "mirror = pool", r"does not belong in a route of a tcp"),
    # not built yet
    *[(f"not yet: {kind}.{line.split()[0]}", f"[{kind} b]\n{line}\n", line, r"not supported yet")
      for kind, line in [
          ("listener", "http2_cleartext = on"),
          ("route", "cache = c")]],
    ("not yet: protocol http2", "[backend b]\nserver = 127.0.0.1:1\nprotocol = http2\n", "http2",
     r"not supported yet"),
    *[(f"not yet: [{kind}]", f"[{kind}]\nx = 1\n", f"[{kind}]", r"not supported yet")
      for kind in ("cache a", "admin")],
]


@pytest.mark.parametrize("added, where, says", [row[1:] for row in ERRORS],
                         ids=[row[0] for row in ERRORS])
def test_mistake_is_an_error_with_its_place(site, added, where, says):
    s = site(raw=BASE + "\n" + added)
    done = s.check()
    out = findings(done)
    assert done.returncode == 1, out
    assert re.search(says, out), out
    if where:
        assert re.search(rf"rpd\.ini:{line_of(s, where)}: ", out), out


def test_good_file_passes_and_says_so(site):
    done = site(raw=BASE).check()
    assert done.returncode == 0, findings(done)
    assert "error" not in findings(done).lower()


def test_every_mistake_is_reported_in_one_run(site):
    s = site(raw=BASE + """
[route b]
path = /b
backend = nope
timeout_connect = 5

[listener c]
bind = @c@
mode = nonsense

[bakend d]
server = 127.0.0.1:1

[route e]
path = /e
cache = pool
respond = 200 ${NOT_SET_AT_ALL}
""")
    done = s.check()
    out = findings(done)
    assert done.returncode == 1
    for text in ("backend = nope", "timeout_connect = 5", "mode = nonsense", "[bakend d]",
                 "cache = pool", "NOT_SET_AT_ALL"):
        assert f"rpd.ini:{line_of(s, text)}: " in out, (text, out)


def test_start_refuses_what_the_check_refuses(site):
    s = site(raw=BASE + "[listener b]\nbnd = @b@\n")
    done = s.run(RPD, "-c", s.config)
    assert done.returncode == 1
    assert "did you mean 'bind'" in findings(done)
    assert not (s.run_dir / "rpd.pid").exists() or not (s.run_dir / "rpd.pid").read_text()


def test_error_in_an_included_file_names_the_chain(site):
    s = site(raw=GLOBAL + "include = conf.d/*.ini\n" + REST)
    (s.dir / "conf.d").mkdir()
    (s.dir / "conf.d" / "a.ini").write_text("[global]\ninclude = more/b.ini\n")
    (s.dir / "conf.d" / "more").mkdir()
    (s.dir / "conf.d" / "more" / "b.ini").write_text("\n[route b]\npath = /b\nbakend = pool\n")
    done = s.check()
    out = findings(done)
    assert done.returncode == 1
    line = next(line for line in out.splitlines() if "bakend" in line)
    assert re.search(r"b\.ini:4: ", line), line
    assert re.search(r"included from .*a\.ini:2", line), line
    assert re.search(r"included from .*rpd\.ini:\d+", line), line


def test_include_loop_is_an_error(site):
    s = site(raw=GLOBAL + "include = rpd.ini\n" + REST)
    done = s.check()
    assert done.returncode == 1
    assert "include" in findings(done)


def test_unused_backend_is_only_a_warning(site):
    s = site(raw=BASE + "[backend spare]\nserver = 127.0.0.1:1\n")
    done = s.check()
    assert done.returncode == 0, findings(done)
    assert re.search(r"rpd\.ini:\d+: .*warning.*spare|warning: .*rpd\.ini:\d+.*spare|"
                     r"rpd\.ini:\d+: \[backend spare\].*warning", findings(done)), findings(done)


@pytest.mark.parametrize("text, want", [
    ("compress_level = 3\n", r":\d+: warning: .*compress_level: means nothing, for `compress` is"),
    ("compress = gzip\ncompress_types =\n", r":\d+: warning: .*no type is left"),
    ("compress = gzip\ncompress_level = 3\n", None),
])
def test_compression_of_nothing_is_warned_of(site, text, want):
    s = site(raw=BASE + "[route b]\npath = /b\nbackend = pool\n" + text)
    done = s.check()
    assert done.returncode == 0, findings(done)
    found = re.findall(r".*compress.*", findings(done))
    assert len(found) == (want is not None), found
    assert not want or re.search(want, found[0]), found


def test_name_that_does_not_resolve_is_a_warning_unless_strict(site):
    text = REST.replace("127.0.0.1:9", "no-such-host.invalid:80")
    done = site(raw=GLOBAL + text).check()
    assert done.returncode == 0, findings(done)
    assert "no-such-host.invalid" in findings(done)
    done = site(raw=GLOBAL + "strict = on\n" + text).check()
    assert done.returncode == 1
    assert "no-such-host.invalid" in findings(done)


def test_missing_file_is_an_error(site):
    s = site()
    done = s.run(RPD, "-t", "-c", s.dir / "absent.ini")
    assert done.returncode == 1
    assert "absent.ini" in findings(done)


def test_missing_run_dir_is_an_error(site):
    s = site(raw=BASE.replace("@dir@/run", "@dir@/absent/deeper"))
    done = s.check()
    assert done.returncode == 1
    assert "absent/deeper" in findings(done)


def test_rpctl_check_does_the_same(site):
    s = site(raw=BASE + "[listener b]\nbnd = @b@\n")
    done = s.ctl("check", s.config)
    assert done.returncode == 1
    assert "did you mean 'bind'" in findings(done)
    s.config.write_text(s.fill(BASE))
    assert s.ctl("check", s.config).returncode == 0


def test_inline_comments_do_not_exist(rpd):
    d = rpd("""
        [listener web]
        bind = @web@
        [route all]
        respond = 200 a ; b # c
        """)
    assert d.ask().body.rstrip(b"\n") == b"a ; b # c"
