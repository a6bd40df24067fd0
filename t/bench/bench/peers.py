"""nginx and HAProxy, configured as their manuals advise. NGINX and HAPROXY take other binaries."""
import os
import re

from . import system
from .certificates import NAME
from .proxies import KEEPALIVE, Proxy, output_of

FOR_EVER = 1000000000

NGINX_HTTP = """
http {{
  {log}
  keepalive_timeout 1h;
  keepalive_requests {for_ever};
  client_max_body_size 0;
  client_body_buffer_size 128k;
  {upload}
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_set_header Host $host;
  proxy_buffers 16 16k;
  proxy_max_temp_file_size 0;
  server_names_hash_max_size 8192;
  server_names_hash_bucket_size 64;
  {temporary}
  {tls}
  {sites}
}}
"""
NGINX_SITE = """
  upstream u{i} {{
    server 127.0.0.1:{origin};
    keepalive {keepalive};
    keepalive_timeout 1h;
    keepalive_requests {for_ever};
  }}
  server {{
    listen 127.0.0.1:{port}{tls}{backlog};
    server_name {host};
    location / {{ proxy_pass {scheme}://u{i}; }}
  }}
"""
NGINX_TLS = """
  ssl_protocols TLSv1.2 TLSv1.3;
  ssl_certificate {own.cert};
  ssl_certificate_key {own.key};
"""
NGINX_TLS_UP = """
  proxy_ssl_protocols TLSv1.2 TLSv1.3;
  proxy_ssl_verify on;
  proxy_ssl_trusted_certificate {own.cert};
  proxy_ssl_name {name};
  proxy_ssl_server_name on;
"""
NGINX_STREAM = """
stream {{
  proxy_timeout 1h;
  proxy_buffer_size 64k;
  server {{ listen 127.0.0.1:{port} backlog=4096; proxy_pass 127.0.0.1:{origin}; }}
}}
"""
NGINX_PASS = """
stream {{
  proxy_timeout 1h;
  proxy_buffer_size 64k;
  map $ssl_preread_server_name $site {{ bench 127.0.0.1:{origin}; }}
  server {{ listen 127.0.0.1:{port} backlog=4096; ssl_preread on; proxy_pass $site; }}
}}
"""
HAPROXY = """
global
  nbthread {threads}
  maxconn {connections}
  maxpipes 64
  log stdout format raw local0
defaults
  mode {mode}
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  option splice-auto
  {reuse}
frontend f
  bind 127.0.0.1:{port} backlog 4096 {tls}
  {log}
  {route}
"""


HAPROXY_PASS = """
  tcp-request inspect-delay 5s
  tcp-request content accept if { req.ssl_hello_type 1 }
  use_backend b0 if { req.ssl_sni -i bench }
"""


class Nginx(Proxy):
    name = word = "nginx"
    program = os.environ.get("NGINX", "nginx")

    @classmethod
    def version(cls, _build):
        return output_of([cls.program, "-v"]).strip()

    def stream_module(self):
        """The line that loads it, where it is not built in."""
        options = output_of([self.program, "-V"])
        folder = re.search(r"--modules-path=(\S+)", options)
        if "--with-stream=dynamic" not in options or not folder:
            return ""
        return f"load_module {folder.group(1)}/ngx_stream_module.so;"

    def http(self):
        sites = [NGINX_SITE.format(i=i, host=host, port=self.port, origin=self.origin,
                                   keepalive=KEEPALIVE, for_ever=FOR_EVER,
                                   tls=" ssl" if self.setup.tls == "ends" else "",
                                   scheme="https" if self.setup.tls == "begins" else "http",
                                   backlog="" if i else " backlog=4096")
                 for i, host in enumerate(self.setup.hosts() or ["_"])]
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        log = f"{self.dir}/access.log combined buffer=64k flush=1s" if self.setup.has_log else "off"
        tls = {"": "", "ends": NGINX_TLS, "begins": NGINX_TLS_UP}[self.setup.tls]
        return NGINX_HTTP.format(
            tls=tls and tls.format(own=self.setup.certificate(), name=NAME),
            log=f"access_log {log};", for_ever=FOR_EVER, sites="".join(sites),
            upload="proxy_request_buffering off;" if self.setup.is_upload else "",
            temporary=" ".join(f"{kind}_temp_path {self.dir}/{kind};" for kind in kinds))

    def command(self):
        files = system.raise_files()
        if self.setup.is_tcp or self.setup.tls == "passes":
            stream = NGINX_PASS if self.setup.tls else NGINX_STREAM
            body = stream.format(port=self.port, origin=self.origin)
            module = self.stream_module()
        else:
            body, module = self.http(), ""
        user = "user root;" if os.geteuid() == 0 else ""
        path = self.write("nginx.conf", (
            f"{module} {user} daemon off; pid {self.dir}/pid; error_log stderr;\n"
            f"worker_processes {self.setup.workers}; worker_rlimit_nofile {files};\n"
            f"events {{ worker_connections {files - 100}; }}\n{body}"))
        return [self.program, "-p", self.dir, "-c", path]


class Haproxy(Proxy):
    name = "HAProxy"
    word = "haproxy"
    program = os.environ.get("HAPROXY", "haproxy")

    @classmethod
    def version(cls, _build):
        return output_of([cls.program, "-v"]).split("\n")[0]

    def route(self):
        hosts = self.setup.hosts()
        if self.setup.tls == "passes":
            return HAPROXY_PASS
        if not hosts:
            return "default_backend b0"
        table = self.write("hosts.map", "".join(f"{h} b{i}\n" for i, h in enumerate(hosts)))
        return f"use_backend %[req.hdr(host),lower,map({table})]"

    def server_tls(self):
        if self.setup.tls != "begins":
            return ""
        own = self.setup.certificate()
        return f" ssl verify required ca-file {own.cert} sni str({NAME}) verifyhost {NAME}"

    def command(self):
        backends = [f"backend b{i}\n  server s 127.0.0.1:{self.origin} pool-purge-delay 1h"
                    f"{self.server_tls()}\n" for i in range(max(self.setup.routes, 1))]
        is_tcp = self.setup.is_tcp or self.setup.tls == "passes"
        is_end = self.setup.tls == "ends"
        text = HAPROXY.format(
            threads=self.setup.workers, connections=(system.raise_files() - 500) // 2,
            mode="tcp" if is_tcp else "http", reuse="" if is_tcp else "http-reuse always",
            port=self.port, tls=f"ssl crt {self.setup.certificate().both}" if is_end else "",
            log="log global\n  option httplog" if self.setup.has_log else "", route=self.route())
        return [self.program, "-db", "-f", self.write("haproxy.cfg", text + "".join(backends))]
