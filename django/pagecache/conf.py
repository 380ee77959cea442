"""The settings of the page cache: their names, their defaults, and what is wrong with them.

Some of them repeat a line of nginx's configuration, and must be changed together with it:

    PAGECACHE_KEY           pagecache_key        "/your-site-name-$uri$is_args$args";
    PAGECACHE_IGNORE_ARGS   pagecache_ignore_args utm_* gclid;
    PAGECACHE_CONTENT_TYPE  default_type         "text/html; charset=utf-8";
    PAGECACHE_FORMAT        pagecache_format     auto;
    PAGECACHE_GZIP_FLAG     pagecache_gzip_flag  2;
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from django.conf import settings
from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from django.core.exceptions import ImproperlyConfigured

from pagecache import client
from pagecache.args import ALL, IgnoredArgs
from pagecache.key import KeyPattern, raw_key

STATUSES = (200, 203, 300, 301, 308, 404, 410)
"""What PAGECACHE_STATUSES may hold: what a cache may keep by itself (RFC 9110, section 15.1), as far as it
answers a GET with a body."""

FORMATS = ("head", "http", "body")

MIDDLEWARE = "pagecache.middleware.PageCacheMiddleware"

MAY_STAND_BEFORE = "django.middleware.gzip.GZipMiddleware"
"""What it makes of a page is for one browser, and is not stored."""

DEFAULTS: dict[str, Any] = {
    "PAGECACHE_KEY": "",
    "PAGECACHE_IGNORE_ARGS": (),
    "PAGECACHE_PORT": None,
    "PAGECACHE_CACHE": "pages",
    "PAGECACHE_TIMEOUT": 300,
    "PAGECACHE_CONTENT_TYPE": "text/html; charset=utf-8",
    "PAGECACHE_ONLY_MARKED": False,
    "PAGECACHE_IGNORE_VARY": (),
    "PAGECACHE_FORMAT": "head",
    "PAGECACHE_STATUSES": (200,),
    "PAGECACHE_GZIP": None,
    "PAGECACHE_GZIP_FLAG": None,
}


keys_of_views: set[str] = set()
"""The keys of views with `@page_cache(key=...)` that are loaded."""


def key_pattern(text: str | None = None) -> KeyPattern:
    """PAGECACHE_KEY, required: the value of nginx's `pagecache_key`; or `text`, another location's."""
    text = text or _setting("PAGECACHE_KEY")
    if not text:
        raise ImproperlyConfigured(
            'PAGECACHE_KEY is not set: give it the value of nginx\'s pagecache_key, such as "/your-site-name-$uri"'
        )
    return KeyPattern.parse(text, IgnoredArgs.parse(_ignored_words()))


def key_patterns() -> Iterator[KeyPattern]:
    """PAGECACHE_KEY, and those of `@page_cache(key=...)`, of views that are loaded."""
    yield key_pattern()
    yield from map(key_pattern, sorted(keys_of_views))


def _ignored_words() -> list[str]:
    """PAGECACHE_IGNORE_ARGS: arguments that do not change a page, as the words of nginx's `pagecache_ignore_args`."""
    words = _setting("PAGECACHE_IGNORE_ARGS")
    return [words] if words == ALL else list(words)


def port() -> int | None:
    """PAGECACHE_PORT: the port that visitors have in the site's address; None where it is the scheme's own."""
    number: int | None = _setting("PAGECACHE_PORT")
    return number


def cache() -> BaseCache:
    """PAGECACHE_CACHE: which of CACHES holds the pages."""
    return caches[cache_alias()]


def cache_alias() -> str:
    return str(_setting("PAGECACHE_CACHE"))


def timeout() -> int:
    """PAGECACHE_TIMEOUT, seconds: how long a page that says nothing else may be served."""
    return int(_setting("PAGECACHE_TIMEOUT"))


def content_type() -> str:
    """PAGECACHE_CONTENT_TYPE: what nginx says every page is whose bare body memcached holds."""
    return str(_setting("PAGECACHE_CONTENT_TYPE"))


def only_marked() -> bool:
    """PAGECACHE_ONLY_MARKED: nothing is stored but pages of views with `@page_cache`."""
    return bool(_setting("PAGECACHE_ONLY_MARKED"))


def ignored_vary() -> Collection[str]:
    """PAGECACHE_IGNORE_VARY: request headers that may stand in a stored page's Vary, in lower case.

    `["Cookie"]` is right for a site whose pages differ for logged-in visitors alone, and whose nginx
    has `pagecache_bypass $cookie_sessionid`.
    """
    return {name.lower() for name in _setting("PAGECACHE_IGNORE_VARY")}


def stores_heads() -> bool:
    """PAGECACHE_FORMAT: "head" and "http" store status and headers with the body, "body" the bare body."""
    return bool(_setting("PAGECACHE_FORMAT") != "body")


def marks_pages() -> bool:
    """PAGECACHE_FORMAT is "head": flags and a header say that an item is a page, and for how long."""
    return bool(_setting("PAGECACHE_FORMAT") == "head")


def statuses() -> Collection[int]:
    """PAGECACHE_STATUSES: which answers are stored. A bare body is served with the status 200."""
    return tuple(_setting("PAGECACHE_STATUSES"))


def compresses() -> bool:
    """PAGECACHE_GZIP, or whether there is a PAGECACHE_GZIP_FLAG: pages are stored compressed."""
    gzip = _setting("PAGECACHE_GZIP")
    return gzip_flag() != 0 if gzip is None else bool(gzip)


def gzip_flag() -> int:
    """PAGECACHE_GZIP_FLAG: the bit of an item's flags that marks a compressed body; 0 for none."""
    return _setting("PAGECACHE_GZIP_FLAG") or 0


def check() -> None:
    """Raises ImproperlyConfigured when nginx could never find, or would misread, what these settings store."""
    for problem in _problems():
        raise ImproperlyConfigured(problem)


def has_middleware() -> bool:
    return MIDDLEWARE in settings.MIDDLEWARE


def problems_of_place() -> Iterator[str]:
    """What stands before the middleware gives an answer its headers after it: a cookie, a Vary."""
    if has_middleware():
        before = list(settings.MIDDLEWARE)[: list(settings.MIDDLEWARE).index(MIDDLEWARE)]
        if before not in ([], [MAY_STAND_BEFORE]):
            yield (
                f'MIDDLEWARE has "{before[-1]}" before "{MIDDLEWARE}", which would not see what that one adds to '
                f'a page, such as a cookie: put it first, or right after "{MAY_STAND_BEFORE}" as the first'
            )


def _setting(name: str) -> Any:
    return getattr(settings, name, DEFAULTS[name])


def _problems() -> Iterator[str]:
    yield from _of_names()
    yield from _of_args()
    key_pattern()
    yield from problems_of_place()
    yield from _of_values()
    yield from _of_gzip()
    yield from _of_cache()


def _of_names() -> Iterator[str]:
    for name in dir(settings):
        if name.startswith("PAGECACHE_") and name not in DEFAULTS:
            yield f"{name} is no setting of pagecache; it has {' '.join(DEFAULTS)}"


def _of_args() -> Iterator[str]:
    words = _setting("PAGECACHE_IGNORE_ARGS")
    form = 'it is a list of names, such as ["utm_*", "gclid"], or "all"'
    if words != ALL and (not _is_list(words) or not all(isinstance(word, str) for word in words)):
        yield f"PAGECACHE_IGNORE_ARGS is {words!r}; {form}"
        return
    try:
        IgnoredArgs.parse(_ignored_words())
    except ValueError as error:
        yield f'PAGECACHE_IGNORE_ARGS has "{error}"; {form}'


def _of_values() -> Iterator[str]:
    number = _setting("PAGECACHE_PORT")
    if number is not None and (type(number) is not int or not 0 < number < 65536 or number in (80, 443)):
        yield (
            f"PAGECACHE_PORT is {number!r}; it is the port in the address that visitors have, such as 8080, "
            "or None where that is without a port, as with 80 and 443"
        )
    seconds = _setting("PAGECACHE_TIMEOUT")
    if not isinstance(seconds, int) or isinstance(seconds, bool) or seconds < 1:
        yield f"PAGECACHE_TIMEOUT is {seconds!r}; it is a number of seconds, from 1"
    kind = _setting("PAGECACHE_CONTENT_TYPE")
    if not isinstance(kind, str) or not kind:
        yield f'PAGECACHE_CONTENT_TYPE is {kind!r}; it is a Content-Type, such as "text/html; charset=utf-8"'
    names = _setting("PAGECACHE_IGNORE_VARY")
    if not _is_list(names) or not all(isinstance(name, str) for name in names):
        yield f'PAGECACHE_IGNORE_VARY is {names!r}; it is a list of header names, such as ["Cookie"]'
    if _setting("PAGECACHE_FORMAT") not in FORMATS:
        yield f'PAGECACHE_FORMAT is {_setting("PAGECACHE_FORMAT")!r}; it is one of {" ".join(FORMATS)}'
    kept = _setting("PAGECACHE_STATUSES")
    if not _is_list(kept):
        yield f"PAGECACHE_STATUSES is {kept!r}; it is a list, such as [200, 404]"
        return
    wrong = [status for status in kept if status not in STATUSES]
    if wrong:
        yield f"PAGECACHE_STATUSES has {wrong}; it may have {' '.join(map(str, STATUSES))}"
    if set(kept) != {200} and not stores_heads():
        yield 'PAGECACHE_STATUSES needs PAGECACHE_FORMAT = "head": of a bare body nginx knows no status but 200'


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple, set, frozenset))


def _of_gzip() -> Iterator[str]:
    flag = gzip_flag()
    if not isinstance(flag, int) or isinstance(flag, bool) or flag & (flag - 1) or not 0 <= flag < 2**32:
        yield f"PAGECACHE_GZIP_FLAG is {flag!r}; it is one bit, a power of two up to 2147483648"
    elif compresses() and not stores_heads() and not flag:
        yield (
            "PAGECACHE_GZIP needs PAGECACHE_GZIP_FLAG, the number of nginx's pagecache_gzip_flag, "
            'or PAGECACHE_FORMAT = "head"'
        )


def _of_cache() -> Iterator[str]:
    alias = cache_alias()
    if alias not in settings.CACHES:
        yield f'PAGECACHE_CACHE names "{alias}", which CACHES does not have'
        return
    backend = cache()
    if backend.key_func is not raw_key:
        yield (
            f'CACHES["{alias}"] needs KEY_FUNCTION = "pagecache.key.raw_key": '
            "Django's own puts a prefix and a version before the key, which nginx does not know"
        )
    problem = client.problem_of(backend, settings.CACHES[alias].get("OPTIONS") or {})
    if problem:
        yield f'CACHES["{alias}"]: {problem}'
    if client.takes_flags(backend):
        return
    if marks_pages():
        yield (
            f'CACHES["{alias}"]: PAGECACHE_FORMAT = "head" needs a client that can set flags, that of '
            'PyMemcacheCache or of PyLibMCCache; with any other, use PAGECACHE_FORMAT = "http"'
        )
    elif compresses() and not stores_heads():
        yield (
            f'CACHES["{alias}"]: PAGECACHE_GZIP_FLAG needs a client that can set flags, that of '
            'PyMemcacheCache or of PyLibMCCache; with any other, use PAGECACHE_FORMAT = "http" and PAGECACHE_GZIP'
        )
