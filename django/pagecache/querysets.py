"""Purges where Django sends no signals: changes of whole querysets.

    class Article(models.Model):
        objects = InvalidatingQuerySet.as_manager()

    Article.objects.filter(author=author).update(hidden=True)    # purges the pages of these articles
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import router
from django.db.models import QuerySet

from pagecache.purges.batch import TARGETS_MOST, Outcome
from pagecache.purges.by import invalidate_all, invalidate_names
from pagecache.tags import names_of_pks


class InvalidatingQuerySet(QuerySet[Any]):
    """A queryset whose changes purge the pages of the changed objects."""

    def update(self, **values: Any) -> int:
        pks = _pks(self)
        changed = super().update(**values)  # `bulk_update` calls it, too
        _purge(self, pks)
        return changed

    update.alters_data = True  # type: ignore[attr-defined]

    def delete(self) -> tuple[int, dict[str, int]]:
        pks = _pks(self)
        deleted = super().delete()
        _purge(self, pks)
        return deleted

    delete.alters_data = True  # type: ignore[attr-defined]
    delete.queryset_only = True  # type: ignore[attr-defined]

    def bulk_create(self, objs: Iterable[Any], *args: Any, **options: Any) -> list[Any]:
        created = super().bulk_create(objs, *args, **options)
        _purge(self, [obj.pk for obj in created if obj.pk is not None])
        return created


def invalidate_queryset(queryset: QuerySet[Any], hard: bool = False) -> Outcome:
    """Purges the pages with the tag of one of these objects, or of their class. Call it before a change after which the
    queryset has other objects: within `transaction.atomic()`, so that pages are purged when it is over."""
    return _purge(queryset, _pks(queryset), hard)


def _pks(queryset: QuerySet[Any]) -> list[Any]:
    """The primary keys, at most one more than are purged one by one."""
    if queryset.query.is_sliced:
        return list(queryset.values_list("pk", flat=True))
    return list(queryset.order_by().values_list("pk", flat=True)[: TARGETS_MOST + 1])


def _purge(queryset: QuerySet[Any], pks: list[Any], hard: bool = False) -> Outcome:
    using = getattr(queryset, "_db", None) or router.db_for_write(queryset.model)
    if len(pks) > TARGETS_MOST:
        return invalidate_all(using=using, hard=hard)
    return invalidate_names(names_of_pks(queryset.model, pks), using=using, hard=hard)
