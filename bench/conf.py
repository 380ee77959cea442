"""nginx's configuration for the contenders of a run, and that of the application."""

from __future__ import annotations

from string import Template

from bench.contenders import KEEPALIVE, Contender
from bench.pages import CONTENT_TYPE

APPLICATION_UPSTREAM = f"upstream application {{ server 127.0.0.1:$application; keepalive {KEEPALIVE}; }}"

# nginx's own compression, where clients accept it: the cells "gzip" and "h2".
COMPRESSION = "gzip on; gzip_comp_level 1; gzip_proxied any;"


def nginx_conf(
    contenders: list[Contender],
    ports: dict[str, int],
    values: dict[str, str],
    *,
    module: str,
    modules_folder: str,
    workers: int,
    user: str,
    descriptors: int,
    work: str = "plain",
) -> str:
    """The whole nginx.conf, for cells of one kind of work. `ports`: the port of each contender."""
    inside = [contender for contender in contenders if contender.server]
    # each once, sorted, so that ndk precedes the modules that need it
    modules = sorted({f"{modules_folder}/{name}" for one in inside for name in one.modules})
    if any(one.ours for one in inside):
        modules.append(module)
    load = "".join(f'load_module "{path}";\n' for path in modules)
    # a burst of new connections would otherwise go to the worker that wakes up first
    options = {"h2": " ssl http2", "stampede": " reuseport"}.get(work, "")
    settings = [APPLICATION_UPSTREAM]
    if work == "h2":
        settings.append("ssl_certificate $root/tls.crt; ssl_certificate_key $root/tls.key;")
    if work in ("gzip", "h2"):
        settings.append(COMPRESSION)
    settings += [one.http for one in inside if one.http]
    shared = "".join(f"    {text}\n" for text in dict.fromkeys(settings))
    servers = "".join(
        f"    server {{ # {one.name}\n        listen 127.0.0.1:{ports[one.name]}{options} backlog=8192;\n"
        f"        {one.server.strip()}\n    }}\n"
        for one in inside
    )
    return load + Template(CONF).substitute(
        values,
        user=user,
        workers=workers,
        descriptors=descriptors,
        connections=descriptors - 100,
        # nginx compresses no default type with a charset
        content_type="text/html" if work in ("gzip", "h2") else CONTENT_TYPE,
        origin_port=ports["origin"],
        shared=Template(shared).substitute(values),
        servers=Template(servers).substitute(values),
    )


# What each nginx begins with.
HEAD = """
daemon off;
$user
worker_processes $workers;
worker_rlimit_nofile $descriptors;
pid nginx.pid;
error_log error.log warn;
events { worker_connections $connections; }
http {
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_timeout 600s;
    keepalive_requests 1000000000;
    types { }
    default_type "$content_type";
"""

CONF = HEAD + """\
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
$shared
    server { # the origin of the pages for proxy_cache and Varnish
        listen 127.0.0.1:$origin_port;
        root $root/files;
    }
$servers}
"""

# The application of the contenders that store its answers. It has a page of HTML for any number.
APPLICATION_CONF = HEAD + """\
    etag off;
    open_file_cache max=100;
    open_file_cache_valid 1h;
    server {
        listen 127.0.0.1:$port backlog=8192;
        root $root/files;
        add_header Cache-Control "max-age=3600";
        add_header Last-Modified "";
        location /html/ {
            rewrite "^(/html/[0-9]+)/" $$1/0 break;
        }
    }
}
"""


def application_conf(port: int, root: str, user: str, descriptors: int) -> str:
    return Template(APPLICATION_CONF).substitute(
        port=port,
        root=root,
        user=user,
        workers=1,
        descriptors=descriptors,
        connections=descriptors - 100,
        content_type=CONTENT_TYPE,
    )
