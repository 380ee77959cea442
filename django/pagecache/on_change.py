"""Purges when objects are saved or deleted, by Django's signals. None is sent for `QuerySet.update` and `bulk_create`:
`querysets.py` has help for these."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable
from typing import Any

from django.apps import apps
from django.db.models import Model
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_save

from pagecache.purges.by import Addressed, invalidate, invalidate_names, invalidate_object
from pagecache.tags import names_of_pks

logger = logging.getLogger("pagecache")

_calls = itertools.count()
"""Numbers the calls of `invalidate_on_change`."""


def invalidate_on_save(*models: type[Model] | str, hard: bool = False, **where: Any) -> None:
    """Purges the pages of an object, as `invalidate_object` does, whenever an object of these models, or of one below
    them, is saved or deleted, or one of its many-to-many relations changes. Call it in `AppConfig.ready`."""
    for model in map(_model, models):
        for sender in _with_those_below(model):
            post_save.connect(_purger("saved", hard, where), sender=sender, weak=False)
            post_delete.connect(_purger("deleted", hard, where), sender=sender, weak=False)
        m2m_changed.connect(_purger_of_relations(model, hard), weak=False)


def _purger(done: str, hard: bool, where: dict[str, Any]) -> Callable[..., None]:
    def purge(instance: Model, using: str, raw: bool = False, **_: Any) -> None:
        if raw:  # a fixture, whose related objects may not exist yet
            return
        try:
            invalidate_object(instance, using=using, hard=hard, **where)
        except Exception as error:  # NoKey, or an error of the site's own code
            logger.warning(
                "The pages of %r, which was %s, are not purged: %s: %s", type(instance), done, type(error).__name__, error
            )

    return purge


def _purger_of_relations(of: type[Model], hard: bool) -> Callable[..., None]:
    def purge(
        sender: type[Model],
        instance: Model,
        action: str,
        model: type[Model],
        pk_set: set[Any] | None,
        using: str,
        **_: Any,
    ) -> None:
        if action not in ("post_add", "post_remove", "pre_clear"):
            return
        names = []
        if isinstance(instance, of):
            names += names_of_pks(type(instance), [instance.pk])
        if issubclass(model, of):
            pks = _others(sender, instance, model, using) if pk_set is None else pk_set
            names += names_of_pks(model, pks)
        if names:
            invalidate_names(names, hard=hard, using=using)

    return purge


def _others(through: type[Model], instance: Model, model: type[Model], using: str) -> set[Any]:
    """The objects at the other end of a relation that is about to be cleared."""
    keys = [field for field in through._meta.fields if field.is_relation]
    pks: set[Any] = set()
    for own, other in itertools.permutations(keys, 2):
        if isinstance(instance, own.related_model) and issubclass(model, other.related_model):  # type: ignore[arg-type]
            rows = through._base_manager.using(using).filter(**{own.attname: instance.pk})
            pks.update(rows.values_list(other.attname, flat=True))
    return pks


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
            logger.warning("The pages of %r are not purged: %s: %s", type(instance), type(error).__name__, error)
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
                logger.warning('"%s" is not purged: %s: %s', path, type(error).__name__, error)

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
