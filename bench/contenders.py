"""The contenders: for each its part of nginx's configuration and its requirements.

Each has a server {} of its own, on a port of its own, in one nginx, and serves the same URIs from the same
memcached; the configuration around the lookup is the same for all. If a peer has a setting that makes it
faster (connections kept alive, buffers), it is set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from string import Template

from bench.cells import LARGE, Cell
from bench.pages import CONTENT_TYPE, FALLBACK, HEAD_PREFIX, body

KEEPALIVE = 512
MANY_KEEPALIVE = 4096
BUFFER = "64k"

QUICK = ["return200", "stock", "ours"]
DEFAULT = ["return200", "static", "stock", "memc", "ours"]

# As long as the other contenders wait: a late page is to be measured, not given up.
PATIENCE = "pagecache_timeout 60s; pagecache_connect_timeout 60s;"

FALLBACK_TEXT = FALLBACK.decode().rstrip("\n")
NAMED_FALLBACK = f'location @fallback {{ return 200 "{FALLBACK_TEXT}\\n"; }}'


@dataclass(frozen=True)
class Contender:
    """One way to serve a page. In the templates, $memcached is an address, $root a folder in tmpfs, $origin
    the port of a server of files; an nginx variable is written $$name."""

    name: str
    title: str
    server: str = ""  # of server {}; empty: not in nginx
    http: str = ""  # of http {}
    modules: tuple[str, ...] = ()  # of nginx's folder of modules
    packages: tuple[str, ...] = ()  # Debian's
    ours: bool = False  # needs this project's module
    build: str = "a"  # which build of it
    apart: bool = False  # in an nginx of its own, because it has settings for the whole nginx
    serves: Callable[[Cell], bool] = field(default=lambda cell: True)


def files(cell: Cell) -> bool:
    """Contenders that serve files have one file for each size, and no memcached, so that its socket does not
    matter."""
    return cell.kind == "closed" and cell.plain


def literal(cell: Cell) -> bool:
    """Pages that fit into an argument in nginx.conf."""
    return cell.kind == "closed" and cell.size == 100 and cell.keys == 1 and not cell.unix


def lookups(cell: Cell) -> bool:
    return cell.kind == "closed"


def ours(
    name: str,
    title: str,
    settings: str = "",
    key: str = "$$uri",
    upstream: str = "pages",
    connections: str = "",
    **more,
) -> Contender:
    return Contender(
        name,
        title,
        server=f"""
            location / {{
                pagecache_key      "{key}";
                pagecache_pass     {upstream};
                pagecache_fallback @fallback;
                {PATIENCE}
                {settings}
            }}
            {NAMED_FALLBACK}""",
        http=f"upstream {upstream} {{ server $memcached; {connections} }}",
        ours=True,
        **more,
    )


def stock(name: str, title: str, keepalive: int, **more) -> Contender:
    upstream = name.replace("-", "_")
    return Contender(
        name,
        title,
        server=f"""
            location / {{
                set $$memcached_key    $$uri;
                memcached_pass         {upstream};
                memcached_buffer_size  {BUFFER};
                error_page 404 502 504 = @fallback;
            }}
            {NAMED_FALLBACK}""",
        http=f"upstream {upstream} {{ server $memcached; keepalive {keepalive}; }}",
        **more,
    )


def cached(settings: str) -> str:
    """Locations of one of nginx's own caches. It is faster with tcp_nopush, but at 100 KB the end of a page
    would wait for an acknowledgement."""
    return f"""
        location / {{ {settings} }}
        location ~ "^/p/[0-9]{{6}}" {{ tcp_nopush off; {settings} }}"""


CONTENDERS = {
    contender.name: contender
    for contender in [
        Contender(
            "return200",
            "`return 200`",
            server=f"""
                location / {{ return 200 "{body(100).decode()}"; }}
                location /miss/ {{ return 200 "{FALLBACK_TEXT}\\n"; }}""",
            serves=literal,
        ),
        Contender("static", "static file", server="root $root/files;", serves=files),
        stock("stock", "memcached_pass", KEEPALIVE),
        stock(
            "stock-4096",
            "memcached_pass, keepalive 4096",
            MANY_KEEPALIVE,
            serves=lambda cell: cell.connections > KEEPALIVE,
        ),
        Contender(
            "memc",
            "memc_pass",
            server=f"""
                location / {{
                    set $$memc_key    $$uri;
                    memc_pass         memc;
                    memc_buffer_size  {BUFFER};
                    error_page 404 502 504 = @fallback;
                }}
                {NAMED_FALLBACK}""",
            http=f"upstream memc {{ server $memcached; keepalive {KEEPALIVE}; }}",
            modules=("ngx_http_memc_module.so",),
            packages=("libnginx-mod-http-memc",),
            serves=lookups,
        ),
        Contender(
            "srcache",
            "srcache + memc",
            server=f"""
                location / {{
                    set $$page_key  "{HEAD_PREFIX}$$uri";
                    srcache_fetch   GET /lookup $$page_key;
                    # the application: a content handler, which "return" is not
                    echo            "{FALLBACK_TEXT}";
                }}
                location = /lookup {{
                    internal;
                    set              $$memc_key $$query_string;
                    memc_pass        srcache;
                    memc_buffer_size {BUFFER};
                }}""",
            http=f"upstream srcache {{ server $memcached; keepalive {KEEPALIVE}; }}",
            modules=(
                "ndk_http_module.so",
                "ngx_http_echo_module.so",
                "ngx_http_memc_module.so",
                "ngx_http_srcache_filter_module.so",
            ),
            packages=(
                "libnginx-mod-http-echo",
                "libnginx-mod-http-memc",
                "libnginx-mod-http-srcache-filter",
            ),
            serves=lambda cell: lookups(cell) and cell.keys == 1,
        ),
        Contender(
            "lua",
            "lua-nginx-memcached",
            server=f"""
                location / {{
                    content_by_lua_block {{
                        local same = function(key) return key end
                        local memcached = require "nginx.memcached"
                        local cache = memcached:new({{ key_transform = {{ same, same }} }})
                        cache:set_timeout(1000)
                        if not cache:connect($lua_address) then return ngx.exec("@fallback") end
                        local page = cache:get(ngx.var.uri)
                        cache:set_keepalive(60000, {KEEPALIVE})
                        if not page then return ngx.exec("@fallback") end
                        ngx.header.content_length = #page
                        ngx.print(page)
                    }}
                }}
                {NAMED_FALLBACK}""",
            http='lua_package_path "/usr/share/lua/5.1/?.lua;;"; lua_socket_log_errors off;',
            modules=("ndk_http_module.so", "ngx_http_lua_module.so"),
            packages=("libnginx-mod-http-lua", "lua-nginx-memcached"),
            serves=lookups,
        ),
        Contender(
            "proxy-cache",
            "proxy_cache on tmpfs",
            server=cached(
                """proxy_cache       proxied;
                   proxy_cache_key   $$uri;
                   proxy_cache_valid 200 1h;
                   proxy_pass        http://127.0.0.1:$origin;"""
            ),
            http="proxy_cache_path $root/proxied keys_zone=proxied:10m inactive=1h;",
            serves=files,
        ),
        Contender(
            "uwsgi-cache",
            "uwsgi_cache on tmpfs",
            server=cached(
                """uwsgi_param       PATH_INFO $$uri;
                   uwsgi_cache       applied;
                   uwsgi_cache_key   $$uri;
                   uwsgi_cache_valid 200 1h;
                   uwsgi_pass        127.0.0.1:$uwsgi;"""
            ),
            http="uwsgi_cache_path $root/applied keys_zone=applied:10m inactive=1h;",
            serves=files,
        ),
        Contender("varnish", "Varnish", packages=("varnish", "gcc", "libc6-dev"), serves=files),
        ours("ours", "this module"),
        ours("ours-noetag", "this module, no ETag", "pagecache_etag off;", serves=lookups),
        ours(
            "ours-16",
            "this module, 16 connections",
            upstream="pages16",
            connections="pagecache_connections 16;",
            serves=lambda cell: lookups(cell) and cell.size >= LARGE,
        ),
        ours(
            "ours-http",
            "this module, format http",
            "pagecache_format http;",
            key=f"{HEAD_PREFIX}$$uri",
            serves=lambda cell: lookups(cell) and cell.keys == 1,
        ),
        ours(
            "ours-stats",
            "this module, counting",
            "} location = /pagecache-stats { pagecache_stats;",
            apart=True,
            serves=lambda cell: lookups(cell) and cell.size == 100 and cell.plain,
        ),
        ours("ours-b", "this module, build B", build="b"),
    ]
}

FULL = [name for name in CONTENDERS if name != "ours-b"]


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
) -> str:
    """The whole nginx.conf. `ports`: the port of each contender."""
    inside = [contender for contender in contenders if contender.server]
    # each once, sorted, so that ndk precedes the modules that need it
    modules = sorted({f"{modules_folder}/{name}" for one in inside for name in one.modules})
    if any(one.ours for one in inside):
        modules.append(module)
    load = "".join(f'load_module "{path}";\n' for path in modules)
    shared = "".join(f"    {text}\n" for text in dict.fromkeys(one.http for one in inside) if text)
    servers = "".join(
        f"    server {{ # {one.name}\n        listen 127.0.0.1:{ports[one.name]} backlog=8192;\n"
        f"        {one.server.strip()}\n    }}\n"
        for one in inside
    )
    return load + Template(CONF).substitute(
        values,
        user=user,
        workers=workers,
        descriptors=descriptors,
        connections=descriptors - 100,
        content_type=CONTENT_TYPE,
        origin_port=ports["origin"],
        shared=Template(shared).substitute(values),
        servers=Template(servers).substitute(values),
    )


CONF = """
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
