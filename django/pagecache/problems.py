"""Mistakes in the settings with which nginx could never find the pages that Django stores, or would misread them. The
site works all the same, and so does `migrate`: no page is stored, and the log and `manage.py check` give the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from pagecache import before, client, conf
from pagecache.key import raw_key
from pagecache.purges import zone


@dataclass(frozen=True)
class Problem:
    id: str
    """The name in SILENCED_SYSTEM_CHECKS."""
    text: str


def problems() -> list[Problem]:
    """The problems. Pages may be stored only if there are none."""
    return [Problem(id, text) for id, look in _LOOKS.items() for text in _texts(look)]


def problems_of_views() -> list[Problem]:
    """The problems of loaded views: only the pages of those views are not stored."""
    return [Problem("pagecache.W009", text) for text in _of_views()]


def _texts(look: Callable[[], Iterator[str]]) -> list[str]:
    texts = []
    try:
        for text in look():
            texts.append(text)
    except ImproperlyConfigured as error:
        texts.append(str(error))
    except Exception as error:  # raised by a client library, or because a setting has the wrong type
        texts.append(f"The settings of the page cache cannot be used: {type(error).__name__}: {error}")
    return texts


def _of_names() -> Iterator[str]:
    for name in dir(settings):
        if name.startswith("PAGECACHE_") and name not in conf.DEFAULTS:
            yield f"{name} is no setting of pagecache; it has {' '.join(conf.DEFAULTS)}"


def _of_key() -> Iterator[str]:
    if not _texts(_of_args):
        conf.key_pattern()
    yield from ()


def _of_zone() -> Iterator[str]:
    if not [*_texts(_of_args), *_texts(_of_key)]:
        zone.zones()
    yield from ()


def _of_args() -> Iterator[str]:
    conf.ignored_args()
    yield from ()


def _of_place() -> Iterator[str]:
    names = conf.setting("PAGECACHE_ALLOW_BEFORE")
    if not conf.is_list(names) or not all(isinstance(name, str) for name in names):
        yield f"PAGECACHE_ALLOW_BEFORE is {names!r}; it is a list of entries of MIDDLEWARE"
        return
    for name in before.not_allowed():
        yield (
            f'MIDDLEWARE has "{name}" before "{conf.MIDDLEWARE}", which would not see what that one adds to a page, '
            "such as a cookie: put it behind. If what it adds may be missing in a page from the cache, and nothing of it "
            "is for one visitor alone, PAGECACHE_ALLOW_BEFORE may name it"
        )


def _of_values() -> Iterator[str]:
    switch = conf.enabled()
    if not isinstance(switch, bool) and switch != conf.IN_TESTS:
        yield f'PAGECACHE_ENABLED is {switch!r}; it is True, False or "{conf.IN_TESTS}"'
    if conf.setting("PAGECACHE_FILL") not in conf.FILLS:
        yield f'PAGECACHE_FILL is {conf.setting("PAGECACHE_FILL")!r}; it is one of {" ".join(conf.FILLS)}'
    number = conf.setting("PAGECACHE_PORT")
    if number is not None and (type(number) is not int or not 0 < number < 65536 or number in (80, 443)):
        yield (
            f"PAGECACHE_PORT is {number!r}; it is the port in the address that visitors have, such as 8080, "
            "or None where that is without a port, as with 80 and 443"
        )
    seconds = conf.setting("PAGECACHE_TIMEOUT")
    if not isinstance(seconds, int) or isinstance(seconds, bool) or seconds < 1:
        yield f"PAGECACHE_TIMEOUT is {seconds!r}; it is a number of seconds, from 1"
    kind = conf.setting("PAGECACHE_CONTENT_TYPE")
    if not isinstance(kind, str) or not kind:
        yield f'PAGECACHE_CONTENT_TYPE is {kind!r}; it is a Content-Type, such as "text/html; charset=utf-8"'
    names = conf.setting("PAGECACHE_IGNORE_VARY")
    if not conf.is_list(names) or not all(isinstance(name, str) for name in names):
        yield f'PAGECACHE_IGNORE_VARY is {names!r}; it is a list of header names, such as ["Cookie"]'
    elif "*" in conf.ignored_vary():
        yield (
            'PAGECACHE_IGNORE_VARY has "*", by which a page says that it is for one request alone: name the headers that '
            "are in the way"
        )
    elif "accept-language" in conf.ignored_vary():
        yield (
            "PAGECACHE_IGNORE_VARY has Accept-Language, which is in no key: the language of one visitor would be that of "
            "all. Give each language URLs of its own (i18n_patterns)"
        )
    if not isinstance(conf.setting("PAGECACHE_ONLY_MARKED"), bool):
        yield f'PAGECACHE_ONLY_MARKED is {conf.setting("PAGECACHE_ONLY_MARKED")!r}; it is True or False'
    if conf.setting("PAGECACHE_FORMAT") not in conf.FORMATS:
        yield f'PAGECACHE_FORMAT is {conf.setting("PAGECACHE_FORMAT")!r}; it is one of {" ".join(conf.FORMATS)}'
    kept = conf.setting("PAGECACHE_STATUSES")
    if not conf.is_list(kept):
        yield f"PAGECACHE_STATUSES is {kept!r}; it is a list, such as [200, 404]"
        return
    wrong = [status for status in kept if status not in conf.STATUSES]
    if wrong:
        yield f"PAGECACHE_STATUSES has {wrong}; it may have {' '.join(map(str, conf.STATUSES))}"
    if set(kept) != {200} and not conf.stores_heads():
        yield 'PAGECACHE_STATUSES needs PAGECACHE_FORMAT = "head": of a bare body nginx knows no status but 200'


def _of_gzip() -> Iterator[str]:
    if not isinstance(conf.setting("PAGECACHE_GZIP"), (bool, type(None))):
        yield f'PAGECACHE_GZIP is {conf.setting("PAGECACHE_GZIP")!r}; it is True, False or None'
    flag = conf.gzip_flag()
    if not isinstance(flag, int) or isinstance(flag, bool) or flag & (flag - 1) or not 0 <= flag < 2**32:
        yield f"PAGECACHE_GZIP_FLAG is {flag!r}; it is one bit, a power of two up to 2147483648"
    elif conf.compresses() and not conf.stores_heads() and not flag:
        yield (
            "PAGECACHE_GZIP needs PAGECACHE_GZIP_FLAG, the number of nginx's pagecache_gzip_flag, "
            'or PAGECACHE_FORMAT = "head"'
        )


def _of_cache() -> Iterator[str]:
    alias = conf.cache_alias()
    if alias not in settings.CACHES:
        yield f'PAGECACHE_CACHE names "{alias}", which CACHES does not have'
        return
    backend = conf.cache()
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
    if conf.marks_pages() and client.place_unknown_to_nginx(backend):
        yield (
            f'CACHES["{alias}"]: PAGECACHE_FORMAT = "head" needs a client that can set flags, that of '
            "PyMemcacheCache or of PyLibMCCache"
        )
    elif conf.marks_pages():
        yield (
            f'CACHES["{alias}"]: PAGECACHE_FORMAT = "head" needs a client that can set flags, that of '
            'PyMemcacheCache or of PyLibMCCache; with any other, use PAGECACHE_FORMAT = "http"'
        )
    elif conf.compresses() and not conf.stores_heads():
        yield (
            f'CACHES["{alias}"]: PAGECACHE_GZIP_FLAG needs a client that can set flags, that of '
            'PyMemcacheCache or of PyLibMCCache; with any other, use PAGECACHE_FORMAT = "http" and PAGECACHE_GZIP'
        )


def _of_views() -> Iterator[str]:
    if conf.has_marked_views and not conf.has_middleware():
        yield (
            f'@page_cache stores nothing without the middleware: put "{conf.MIDDLEWARE}" into MIDDLEWARE, '
            "and set PAGECACHE_ONLY_MARKED = True if only views with @page_cache are to be stored"
        )
    yield from conf.wrong_keys_of_views.values()
    yield from conf.wrong_timeouts_of_views.values()


_LOOKS: dict[str, Callable[[], Iterator[str]]] = {
    "pagecache.W002": _of_names,
    "pagecache.W003": _of_key,
    "pagecache.W004": _of_args,
    "pagecache.W005": _of_place,
    "pagecache.W006": _of_values,
    "pagecache.W007": _of_gzip,
    "pagecache.W015": _of_zone,
    "pagecache.W008": _of_cache,
}
