"""The settings of the page cache: their names, their defaults, and their values. `problems.py` checks them.

Some of them repeat a line of nginx's configuration, and must be changed together with it:

    PAGECACHE_KEY           pagecache_key        "/your-site-name-$uri$is_args$args";
    PAGECACHE_IGNORE_ARGS   pagecache_ignore_args utm_* gclid;
    PAGECACHE_CONTENT_TYPE  default_type         "text/html; charset=utf-8";
    PAGECACHE_FORMAT        pagecache_format     auto;
    PAGECACHE_GZIP_FLAG     pagecache_gzip_flag  2;
    PAGECACHE_PURGE_ZONE    pagecache_purge_zone site;
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from django.conf import settings
from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from django.core.exceptions import ImproperlyConfigured

from pagecache.args import ALL, IgnoredArgs
from pagecache.key import KeyPattern

STATUSES = (200, 203, 300, 301, 308, 404, 410)
"""The statuses that PAGECACHE_STATUSES may contain: those that a cache may store by default (RFC 9110, section 15.1)
and that answer a GET with a body."""

FORMATS = ("head", "http", "body")

FILLS = ("nginx", "django")

MIDDLEWARE = "pagecache.middleware.PageCacheMiddleware"

IN_TESTS = "in tests"

DEFAULTS: dict[str, Any] = {
    "PAGECACHE_ENABLED": True,
    "PAGECACHE_FILL": "django",
    "PAGECACHE_KEY": "",
    "PAGECACHE_IGNORE_ARGS": (),
    "PAGECACHE_PORT": None,
    "PAGECACHE_CACHE": "pages",
    "PAGECACHE_PURGE_ZONE": None,
    "PAGECACHE_TIMEOUT": 300,
    "PAGECACHE_CONTENT_TYPE": "text/html; charset=utf-8",
    "PAGECACHE_ONLY_MARKED": False,
    "PAGECACHE_ALLOW_BEFORE": (),
    "PAGECACHE_IGNORE_VARY": (),
    "PAGECACHE_FORMAT": "head",
    "PAGECACHE_STATUSES": (200,),
    "PAGECACHE_GZIP": None,
    "PAGECACHE_GZIP_FLAG": None,
}


keys_of_views: set[str] = set()
"""The keys of all loaded views with `@page_cache(key=...)`."""

wrong_keys_of_views: dict[str, str] = {}
"""The invalid keys of those views, each with the mistake."""

wrong_timeouts_of_views: dict[str, str] = {}
"""The invalid timeouts of loaded views with `@page_cache(timeout=...)`, each with the mistake."""

has_marked_views = False
"""Is a view with `@page_cache` loaded?"""


def key_pattern(text: str | None = None) -> KeyPattern:
    """PAGECACHE_KEY, required: the value of nginx's `pagecache_key`; or `text`, the key of another location."""
    text = text or setting("PAGECACHE_KEY")
    if not text or not isinstance(text, str):
        raise ImproperlyConfigured(
            f"PAGECACHE_KEY is {text!r}: give it the value of nginx's pagecache_key, such as "
            '"$scheme://$host$uri$pagecache_args"'
        )
    return KeyPattern.parse(text, ignored_args())


def key_patterns() -> Iterator[KeyPattern]:
    """PAGECACHE_KEY, and the keys of `@page_cache(key=...)` of all loaded views."""
    yield key_pattern()
    yield from map(key_pattern, sorted(keys_of_views))


def ignored_args() -> IgnoredArgs:
    """PAGECACHE_IGNORE_ARGS: arguments that do not change a page, as for nginx's `pagecache_ignore_args`."""
    words = setting("PAGECACHE_IGNORE_ARGS")
    form = 'it is a list of names, such as ["utm_*", "gclid"], or "all"'
    if words != ALL and (not is_list(words) or not all(isinstance(word, str) for word in words)):
        raise ImproperlyConfigured(f"PAGECACHE_IGNORE_ARGS is {words!r}; {form}")
    try:
        return IgnoredArgs.parse([words] if words == ALL else words)
    except ValueError as error:
        raise ImproperlyConfigured(f'PAGECACHE_IGNORE_ARGS has "{error}"; {form}') from None


def enabled() -> bool | str:
    """PAGECACHE_ENABLED: whether pages are stored; IN_TESTS: also while tests run. `enabled.py` detects tests."""
    is_enabled: bool | str = setting("PAGECACHE_ENABLED")
    return is_enabled


def port() -> int | None:
    """PAGECACHE_PORT: the port in the site's public address; None for the default port of the scheme."""
    number: int | None = setting("PAGECACHE_PORT")
    return number


def cache() -> BaseCache:
    """PAGECACHE_CACHE: the one of CACHES that stores the pages."""
    return caches[cache_alias()]


def cache_alias() -> str:
    return str(setting("PAGECACHE_CACHE"))


def is_filled_by_nginx() -> bool:
    """PAGECACHE_FILL is "nginx": nginx stores the pages (`pagecache_store on`), and Django says which ones."""
    return bool(setting("PAGECACHE_FILL") == "nginx")


def purge_zone() -> str | None:
    """PAGECACHE_PURGE_ZONE: the name of the log of purges; None for the beginning of the key, see `purges/zone.py`."""
    name: str | None = setting("PAGECACHE_PURGE_ZONE")
    return name


def notes_purges() -> bool:
    """Do the pages that Django stores note the log of purges, so that nginx compares them with it?"""
    return purge_zone() is not None and not is_filled_by_nginx()


def timeout() -> int:
    """PAGECACHE_TIMEOUT, seconds: how long a page may be served if its headers do not say."""
    return int(setting("PAGECACHE_TIMEOUT"))


def content_type() -> str:
    """PAGECACHE_CONTENT_TYPE: the Content-Type that nginx gives to a page without a stored head."""
    return str(setting("PAGECACHE_CONTENT_TYPE"))


def only_marked() -> bool:
    """PAGECACHE_ONLY_MARKED: only pages of views with `@page_cache` are stored."""
    return bool(setting("PAGECACHE_ONLY_MARKED"))


def allowed_before() -> Collection[str]:
    """PAGECACHE_ALLOW_BEFORE: the site's own middlewares that are allowed before PageCacheMiddleware."""
    return tuple(setting("PAGECACHE_ALLOW_BEFORE"))


def ignored_vary() -> Collection[str]:
    """PAGECACHE_IGNORE_VARY: request headers that the Vary of a stored page may contain, in lower case.

    `["Cookie"]` is right for a site whose pages differ only for logged-in visitors, and whose nginx has
    `pagecache_bypass $cookie_sessionid`.
    """
    names = setting("PAGECACHE_IGNORE_VARY")  # system checks read it, too, even if it is invalid
    return {name.lower() for name in names if isinstance(name, str)} if is_list(names) else set()


def stores_heads() -> bool:
    """PAGECACHE_FORMAT: "head" and "http" store status and headers with the body, "body" stores the body alone. So does
    nginx where it stores pages."""
    return is_filled_by_nginx() or bool(setting("PAGECACHE_FORMAT") != "body")


def marks_pages() -> bool:
    """PAGECACHE_FORMAT is "head": flags and a header say that an item is a page, and for how long."""
    return is_filled_by_nginx() or bool(setting("PAGECACHE_FORMAT") == "head")


def statuses() -> Collection[int]:
    """PAGECACHE_STATUSES: the statuses of responses that are stored. A body without a head is served with the status
    200."""
    return tuple(setting("PAGECACHE_STATUSES"))


def compresses() -> bool:
    """PAGECACHE_GZIP, or true if PAGECACHE_GZIP_FLAG is set: pages are stored compressed."""
    gzip = setting("PAGECACHE_GZIP")
    return gzip_flag() != 0 if gzip is None else bool(gzip)


def gzip_flag() -> int:
    """PAGECACHE_GZIP_FLAG: the bit of an item's flags that marks a compressed body; 0 for none."""
    return setting("PAGECACHE_GZIP_FLAG") or 0


def has_middleware() -> bool:
    return MIDDLEWARE in settings.MIDDLEWARE


def setting(name: str) -> Any:
    return getattr(settings, name, DEFAULTS[name])


def is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple, set, frozenset))
