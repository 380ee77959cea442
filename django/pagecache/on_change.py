"""Purges when objects are saved or deleted, by Django's signals."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable
from typing import Any

from django.apps import apps
from django.db.models import Model
from django.db.models.signals import post_delete, post_save, pre_save

from pagecache.purges.by import Addressed, invalidate

logger = logging.getLogger("pagecache")

_calls = itertools.count()
"""Numbers the calls of `invalidate_on_change`."""


def invalidate_on_change(
    model: type[Model] | str, paths: Callable[[Any], Iterable[str]] | None = None, **where: Any
) -> None:
    """Purges pages by URL whenever an object of a model is saved or deleted: the page of its `get_absolute_url`, or all
    that `paths` returns for it. When an object is saved, the pages of its old state are purged as well, since it may
    have had another URL. `where` as for `invalidate`. Call it in `AppConfig.ready`.

    It applies to the models below this one, too: proxies and children. If a path cannot be determined, or has no key,
    that is logged; the change itself is not prevented.

    Django sends no signals for `QuerySet.update`, `bulk_create` and many-to-many changes.
    """
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

    for sender in _with_those_below(_model(model)):
        pre_save.connect(remember, sender=sender, weak=False)
        post_save.connect(drop, sender=sender, weak=False)
        post_delete.connect(drop, sender=sender, weak=False)


def _model(model: type[Model] | str) -> type[Model]:
    return apps.get_model(model) if isinstance(model, str) else model


def _with_those_below(model: type[Model]) -> set[type[Model]]:
    """Signals are sent for the exact class of an object, not for its parents."""
    return {model}.union(*(_with_those_below(child) for child in model.__subclasses__()))


def _own_path(obj: Addressed) -> list[str]:
    return [obj.get_absolute_url()]
