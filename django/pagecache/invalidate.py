"""Drops pages whose content has changed.

Inside a transaction, a page is dropped when the transaction is committed: if it were dropped earlier, another visitor
could cause the old page to be stored again.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Protocol

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import Model
from django.db.models.signals import post_delete, post_save, pre_save

from pagecache import conf, store
from pagecache.address import PageAddress

logger = logging.getLogger("pagecache")

_calls = itertools.count()
"""Numbers the calls of `invalidate_on_change`."""


class Addressed(Protocol):
    def get_absolute_url(self) -> str: ...


def invalidate(
    *paths: str,
    key: str | None = None,
    host: str | None = None,
    scheme: str | None = None,
    cookies: Mapping[str, str] | None = None,
    using: str = DEFAULT_DB_ALIAS,
) -> None:
    """Drops the pages of paths such as "/artikel/größe/" or "/artikel/gr%C3%B6%C3%9Fe/?page=2".

    Percent-encoded and decoded characters are the same; a literal percent sign is "%25". A whole URL contains its
    `$host` and `$scheme`; for a path, a key with these variables needs the arguments, and one with a `$cookie_name`
    the cookie. A key with $request_uri has a page for each spelling of the same URL: the usual spelling, that of
    `reverse` and of browsers, is dropped. `key` is that of `@page_cache(key=...)`.

    Raises NoKey, a ValueError, if the path has no key.
    """
    try:
        pattern = conf.key_pattern(key)
    except ImproperlyConfigured as error:  # the site works without pages in the cache
        logger.warning("%s are not dropped: %s", paths, error)
        return
    names = [pattern.key(PageAddress.of_url(path, host, scheme, cookies)) for path in paths]
    connection = connections[using]
    for name in names:
        if connection.in_atomic_block:
            connection.on_commit(partial(store.drop, name))
        else:
            store.drop(name)


def invalidate_object(obj: Addressed, **where: Any) -> None:
    """Drops the page of an object that has `get_absolute_url`; `where` as for `invalidate`."""
    invalidate(obj.get_absolute_url(), **where)


def invalidate_on_change(
    model: type[Model] | str, paths: Callable[[Any], Iterable[str]] | None = None, **where: Any
) -> None:
    """Drops pages whenever an object of a model is saved or deleted: the page of its `get_absolute_url`, or all that
    `paths` returns for it. When an object is saved, the pages of its old state are dropped as well, since it may have
    had another URL. `where` as for `invalidate`. Call it in `AppConfig.ready`.

    It applies to the models below this one, too: proxies and children. If a path cannot be determined, or has no key,
    that is logged; the change itself is not prevented.

    Django sends no signals for `QuerySet.update`, `bulk_create` and many-to-many changes.
    """
    if isinstance(model, str):
        model = apps.get_model(model)
    said: Callable[[Any], Iterable[str]] = paths or _own_path
    call = next(_calls)  # each call for a model has paths of its own

    def paths_of(instance: Model) -> list[str]:
        try:
            return list(said(instance))
        except Exception as error:  # raised by the site's own code
            logger.warning("The pages of %r are not dropped: %s: %s", type(instance), type(error).__name__, error)
            return []

    def remember(sender: type[Model], instance: Model, raw: bool, using: str, **_: Any) -> None:
        if raw or instance._state.adding:
            return
        old = sender._base_manager.using(using).filter(pk=instance.pk).first()
        instance.__dict__.setdefault("_pagecache_old_paths", {})[call] = paths_of(old) if old else []

    def drop(instance: Model, using: str, raw: bool = False, **_: Any) -> None:
        if raw:  # a fixture, whose related objects may not exist yet
            return
        old = instance.__dict__.get("_pagecache_old_paths", {}).pop(call, [])
        for path in dict.fromkeys([*old, *paths_of(instance)]):
            try:
                invalidate(path, using=using, **where)
            except Exception as error:  # NoKey, or an error because it is not a path
                logger.warning('"%s" is not dropped: %s: %s', path, type(error).__name__, error)

    for sender in _with_those_below(model):
        pre_save.connect(remember, sender=sender, weak=False)
        post_save.connect(drop, sender=sender, weak=False)
        post_delete.connect(drop, sender=sender, weak=False)


def _with_those_below(model: type[Model]) -> set[type[Model]]:
    """Signals are sent for the exact class of an object, not for its parents."""
    return {model}.union(*(_with_those_below(child) for child in model.__subclasses__()))


def _own_path(obj: Addressed) -> list[str]:
    return [obj.get_absolute_url()]
