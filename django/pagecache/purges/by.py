"""The functions that purge: by URL, by the beginning of a URL, by tag, by object, or all. `invalidate.py` exports them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS
from django.db.models import Model

from pagecache import conf
from pagecache.address import PageAddress
from pagecache.key import KeyPattern, NoKey
from pagecache.purges.batch import Outcome, Purge, make
from pagecache.purges.target import ALL, of_key, of_prefix, of_tag
from pagecache.purges.zone import zone_of, zones
from pagecache.tags import Tagged, names_of, names_of_changed

logger = logging.getLogger("pagecache")

_dependencies: list[tuple[type[Model], Callable[[Any], Iterable[Tagged]]]] = []


class Addressed(Protocol):
    def get_absolute_url(self) -> str: ...


def invalidate(
    *paths: str,
    key: str | None = None,
    host: str | None = None,
    scheme: str | None = None,
    cookies: Mapping[str, str] | None = None,
    using: str = DEFAULT_DB_ALIAS,
    hard: bool = False,
) -> Outcome:
    """Purges the pages of paths such as "/artikel/größe/" or "/artikel/gr%C3%B6%C3%9Fe/?page=2". Their items are marked
    as stale too, or deleted: those that Django has stored, and with `hard`.

    Percent-encoded and decoded characters are the same; a literal percent sign is "%25". A whole URL contains its
    `$host` and `$scheme`; for a path, a key with these variables needs the arguments, and one with a `$cookie_name`
    the cookie. A key with $request_uri has a page for each spelling of the same URL: the usual spelling, that of
    `reverse` and of browsers, is purged. `key` is that of `@page_cache(key=...)`. `using` is the database whose
    transaction is waited for.

    Raises NoKey, a ValueError, if the path has no key.
    """

    def purge(pattern: KeyPattern, page: PageAddress) -> Purge:
        return Purge(zone_of(pattern), of_key(pattern.value(page)), hard, pattern.key(page))

    return _by_url(purge, paths, key, host, scheme, cookies, using)


def invalidate_prefix(
    *prefixes: str,
    key: str | None = None,
    host: str | None = None,
    scheme: str | None = None,
    cookies: Mapping[str, str] | None = None,
    using: str = DEFAULT_DB_ALIAS,
    hard: bool = False,
) -> Outcome:
    """Purges the pages whose URLs begin so, such as "https://example.com/blog/"; the arguments are those of
    `invalidate`. In a key, what comes before the path is the same for all of them."""

    def purge(pattern: KeyPattern, page: PageAddress) -> Purge:
        return Purge(zone_of(pattern), of_prefix(pattern.prefix(page)), hard)

    return _by_url(purge, prefixes, key, host, scheme, cookies, using)


def invalidate_tags(*things: Tagged, using: str = DEFAULT_DB_ALIAS, hard: bool = False) -> Outcome:
    """Purges the pages with one of these tags: names, model classes, or instances, whose pages have the tag of the
    instance or of its class."""
    return invalidate_names((name for thing in things for name in names_of_changed(thing)), using=using, hard=hard)


def invalidate_names(names: Iterable[str], using: str = DEFAULT_DB_ALIAS, hard: bool = False) -> Outcome:
    """Purges the pages with one of these tags, as `names_of` writes them."""
    written = list(dict.fromkeys(names))
    return _made(written, lambda: [Purge(zone, of_tag(zone, name), hard) for zone in zones() for name in written], using)


def invalidate_all(using: str = DEFAULT_DB_ALIAS, hard: bool = False) -> Outcome:
    """Purges all pages of the site's zones."""
    return _made("all pages", lambda: [Purge(zone, ALL, hard) for zone in zones()], using)


def invalidate_object(obj: Any, using: str | None = None, hard: bool = False, **where: Any) -> Outcome:
    """Purges the pages that show an object: those with its tag or that of its class, those that `add_dependencies`
    names, and the page of its `get_absolute_url`, if it has one; `where` as for `invalidate`.

    With PAGECACHE_FILL = "nginx", a URL without a key is no error: the tags name the page as well.
    """
    database = using or getattr(getattr(obj, "_state", None), "db", None) or DEFAULT_DB_ALIAS
    outcome = Outcome(is_made=True)
    if hasattr(obj, "get_absolute_url"):
        try:
            outcome = invalidate(obj.get_absolute_url(), using=database, hard=hard, **where)
        except NoKey:
            if where or not conf.is_filled_by_nginx():
                raise
    if not isinstance(obj, Model):
        return outcome
    names = names_of_changed(obj)
    for model, named in _dependencies:
        if isinstance(obj, model):
            names += [name for thing in named(obj) for name in names_of(thing)]
    return outcome.joined(invalidate_names(names, using=database, hard=hard))


def add_dependencies(model: type[Model], named: Callable[[Any], Iterable[Tagged]]) -> None:
    """`named` returns what else `invalidate_object` purges for an object of this model: other objects whose pages show
    it, model classes, or names of tags.

        add_dependencies(Comment, lambda comment: [comment.article, "front page"])
    """
    _dependencies.append((model, named))


def _by_url(
    purge: Callable[[KeyPattern, PageAddress], Purge],
    urls: Iterable[str],
    key: str | None,
    host: str | None,
    scheme: str | None,
    cookies: Mapping[str, str] | None,
    using: str,
) -> Outcome:
    def purges() -> list[Purge]:
        pattern = conf.key_pattern(key)
        return [purge(pattern, PageAddress.of_url(url, host, scheme, cookies)) for url in urls]

    return _made(urls, purges, using)


def _made(of: Any, purges: Callable[[], list[Purge]], using: str) -> Outcome:
    try:
        return make(purges(), using)
    except ImproperlyConfigured as error:  # the site works without pages in the cache
        logger.warning("%s are not purged: %s", of, error)
        return Outcome(not_reached={"": str(error)})
