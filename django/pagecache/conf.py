"""The settings of the page cache: their names, their defaults, and what is wrong with them.

Two of them repeat a line of nginx's configuration, and must be changed together with it:

    PAGECACHE_KEY           pagecache_key  "/your-site-name-$uri";
    PAGECACHE_CONTENT_TYPE  default_type   "text/html; charset=utf-8";
"""

from __future__ import annotations

from collections.abc import Collection

from django.conf import settings
from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from django.core.exceptions import ImproperlyConfigured

from pagecache.key import KeyPattern, raw_key


def key_pattern() -> KeyPattern:
    """PAGECACHE_KEY, required: the value of nginx's `pagecache_key`."""
    text = getattr(settings, "PAGECACHE_KEY", "")
    if not text:
        raise ImproperlyConfigured(
            'PAGECACHE_KEY is not set: give it the value of nginx\'s pagecache_key, such as "/your-site-name-$uri"'
        )
    return KeyPattern.parse(text)


def cache() -> BaseCache:
    """PAGECACHE_CACHE: which of CACHES holds the pages."""
    return caches[cache_alias()]


def cache_alias() -> str:
    return getattr(settings, "PAGECACHE_CACHE", "pages")


def timeout() -> int:
    """PAGECACHE_TIMEOUT, seconds: how long a page that says nothing else may be served."""
    return getattr(settings, "PAGECACHE_TIMEOUT", 300)


def content_type() -> str:
    """PAGECACHE_CONTENT_TYPE: what nginx says every page is, for memcached holds the bare body."""
    return getattr(settings, "PAGECACHE_CONTENT_TYPE", "text/html; charset=utf-8")


def ignored_vary() -> Collection[str]:
    """PAGECACHE_IGNORE_VARY: request headers that may stand in a stored page's Vary.

    `["Cookie"]` is right for a site whose pages differ for logged-in visitors alone, and whose nginx
    has `pagecache_bypass $cookie_sessionid`.
    """
    return getattr(settings, "PAGECACHE_IGNORE_VARY", ())


def check() -> None:
    """Raises ImproperlyConfigured when nginx could never find what these settings store."""
    key_pattern()
    alias = cache_alias()
    if alias not in settings.CACHES:
        raise ImproperlyConfigured(f'PAGECACHE_CACHE names "{alias}", which CACHES does not have')
    if cache().key_func is not raw_key:
        raise ImproperlyConfigured(
            f'CACHES["{alias}"] needs KEY_FUNCTION = "pagecache.key.raw_key": '
            "Django's own puts a prefix and a version before the key, which nginx does not know"
        )
