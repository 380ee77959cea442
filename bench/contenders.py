"""The contenders: for each its part of nginx's configuration and its requirements.

Each has a server {} of its own, on a port of its own, in one nginx, and serves the same URIs from the same
memcached; the configuration around the lookup is the same for all. If a peer has a setting that makes it
faster (connections kept alive, buffers), it is set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from bench.cells import LARGE, Cell
from bench.pages import FALLBACK, GZIP_FLAG, GZIP_PREFIX, HEAD_PREFIX, body

KEEPALIVE = 512
MANY_KEEPALIVE = 4096
BUFFER = "64k"

QUICK = ["return200", "stock", "ours"]

# As long as the other contenders wait: a late page is to be measured, not given up.
PATIENCE = "pagecache_timeout 60s; pagecache_connect_timeout 60s;"

FALLBACK_TEXT = FALLBACK.decode().rstrip("\n")
NAMED_FALLBACK = f'location @fallback {{ return 200 "{FALLBACK_TEXT}\\n"; }}'

PROXIED = """proxy_pass         http://application;
             proxy_http_version 1.1;
             proxy_set_header   Connection "";
             proxy_set_header   Accept-Encoding "";"""
APPLICATION = f"location @fallback {{ {PROXIED} }}"
SRCACHE_MODULES = ("ngx_http_memc_module.so", "ngx_http_srcache_filter_module.so")
SRCACHE_PACKAGES = ("libnginx-mod-http-memc", "libnginx-mod-http-srcache-filter")

CACHE_MEGABYTES = 1024  # as much as memcached has
CACHE = f"keys_zone=%s:100m inactive=1h max_size={CACHE_MEGABYTES}m use_temp_path=off"


@dataclass(frozen=True)
class Contender:
    """One way to serve a page. In the templates, $memcached is an address, $root a folder in tmpfs, $origin
    the port of a server of files, $application and $uwsgi the ports of applications that speak HTTP and uwsgi;
    an nginx variable is written $$name."""

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
    works: tuple[str, ...] = ("plain",)  # the kinds of cells, see Cell
    usual: tuple[str, ...] = ()  # those of them at which it is measured unless contenders are named
    stores: bool = False  # nginx stores what the application answers

    def takes(self, cell: Cell, usual: bool = False) -> bool:
        """Whether it can be measured at a cell, or also usually is."""
        works = self.usual if usual else self.works
        return cell.work in works and self.serves(cell)


def files(cell: Cell) -> bool:
    """Contenders that serve files have one file for each size, and no memcached, so that its socket does not
    matter."""
    return cell.kind in ("closed", "stampede") and cell.plain


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
    fallback: str = NAMED_FALLBACK,
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
            {fallback}""",
        http=f"upstream {upstream} {{ server $memcached; {connections} }}",
        ours=True,
        **more,
    )


def filled(name: str, title: str, settings: str, works: tuple[str, ...], **more) -> Contender:
    """This module in front of an application, with a key of its own."""
    key = f"/{name}$$uri"
    return ours(name, title, settings, key, fallback=APPLICATION, works=works, usual=works, **more)


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


def locked(kind: str, passed: str) -> Contender:
    """One of nginx's own caches with its lock, in the folder of its nginx: several nginx have caches of their own.
    With tcp_nopush, the visitor whose request renews a page in the background would get its end 200 ms late."""
    return Contender(
        f"{kind}-cache-lock",
        f"{kind}_cache with its lock",
        server=f"""
            location / {{
                {kind}_cache      {kind}_locked;
                {kind}_cache_key  $$uri;
                {kind}_cache_lock on;
                {kind}_cache_background_update on;
                tcp_nopush off;
                {passed}
            }}""",
        http=f"{kind}_cache_path {kind}-locked {CACHE % f'{kind}_locked'};",
        works=("stampede",),
        usual=("stampede",),
    )


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
            usual=("plain",),
        ),
        Contender("static", "static file", server="root $root/files;", serves=files, usual=("plain",)),
        stock(
            "stock",
            "memcached_pass",
            KEEPALIVE,
            works=("plain", "stored", "gzip", "h2"),
            usual=("plain", "stored", "gzip", "h2"),
        ),
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
            usual=("plain",),
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
            modules=("ndk_http_module.so", "ngx_http_echo_module.so", *SRCACHE_MODULES),
            packages=("libnginx-mod-http-echo", *SRCACHE_PACKAGES),
            serves=lambda cell: lookups(cell) and cell.keys == 1,
            works=("plain", "gzip", "h2"),
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
                   """
                + PROXIED
            ),
            http=f"proxy_cache_path $root/proxied {CACHE % 'proxied'};",
            serves=files,
            works=("plain", "gzip", "h2", "fill"),
            usual=("gzip", "h2", "fill"),
        ),
        Contender(
            "proxy-cache-gzip",
            "proxy_cache, the application compresses",
            server=cached(
                """proxy_cache        compressed;
                   proxy_cache_key    $$uri;
                   proxy_cache_valid  200 1h;
                   proxy_http_version 1.1;
                   proxy_set_header   Accept-Encoding gzip;
                   proxy_pass         http://127.0.0.1:$origin;"""
            ),
            http=f"proxy_cache_path $root/compressed {CACHE % 'compressed'};",
            works=("gzip", "h2"),
            usual=("gzip", "h2"),
        ),
        locked("proxy", PROXIED),
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
            http=f"uwsgi_cache_path $root/applied {CACHE % 'applied'};",
            serves=files,
            works=("plain", "gzip", "h2"),
        ),
        locked(
            "uwsgi",
            """uwsgi_param REQUEST_METHOD $$request_method;
               uwsgi_param PATH_INFO $$uri;
               uwsgi_pass  127.0.0.1:$uwsgi;""",
        ),
        Contender(
            "srcache-store",
            "srcache + memc, storing",
            server=f"""
                location / {{
                    srcache_fetch  GET /store "key=/srcache$$uri";
                    srcache_store  PUT /store "key=/srcache$$uri&life=$$srcache_expire";
                    {PROXIED}
                }}
                location = /store {{
                    internal;
                    set              $$memc_key $$arg_key;
                    set              $$memc_exptime $$arg_life;
                    memc_pass        srcache_store;
                    memc_buffer_size {BUFFER};
                }}""",
            http=f"upstream srcache_store {{ server $memcached; keepalive {KEEPALIVE}; }}",
            modules=SRCACHE_MODULES,
            packages=SRCACHE_PACKAGES,
            # it serves nothing that is stale
            serves=lambda cell: cell.state != "stale",
            works=("stampede",),
            usual=("stampede",),
        ),
        Contender(
            "varnish",
            "Varnish",
            packages=("varnish", "gcc", "libc6-dev"),
            serves=files,
            works=("plain", "gzip", "stampede"),  # it has no TLS of its own
            usual=("stampede",),
        ),
        ours("ours", "this module", works=("plain", "stored"), usual=("plain", "stored")),
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
        ours(
            "ours-gzip",
            "this module, page stored as gzip",
            f"pagecache_gzip_flag {GZIP_FLAG};",
            f"{GZIP_PREFIX}$$uri",
            works=("gzip", "h2"),
            usual=("gzip", "h2"),
        ),
        filled(
            "ours-stored",
            "this module, stored by nginx",
            "pagecache_store on; pagecache_store_gzip off;",
            ("stored", "fill", "stampede"),
            stores=True,
        ),
        filled(
            "ours-stored-gzip",
            "this module, stored by nginx as gzip",
            "pagecache_store on;",
            ("gzip", "h2", "fill"),
            stores=True,
        ),
        filled("ours-unstored", "this module, nothing stored", "", ("fill",)),
        Contender(
            "application",
            "the application alone",
            server=f"location / {{ {PROXIED} }}",
            works=("fill",),
            usual=("fill",),
        ),
        ours(
            "ours-b",
            "this module, build B",
            build="b",
            works=("plain", "stored"),
            usual=("plain", "stored"),
        ),
    ]
}

FULL = [name for name in CONTENDERS if name != "ours-b"]
