"""The tags of a page: names of the data that it shows, by which it is purged when they change.

A model instance has the tag `app_label.model:pk`, a model class, whose instances a page lists, `app_label.model`. A site
may use any other names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Union

from django.db.models import Model
from django.http import HttpRequest
from django.http.response import HttpResponseBase

Tagged = Union[str, Model, "type[Model]"]
"""A name, an instance, or a class."""

HEADER = "Cache-Tag"
"""Of the headers that nginx reads by default, the one in which a tag may contain spaces (`pagecache_tag_header`)."""

BYTES_MOST = 2000
"""The most bytes of the header: nginx refuses a response whose head is larger than a buffer, often of 4 KB."""

COUNT_MOST = 128
"""The most tags of a page that are noted. A page with more has all tags (core/src/purge/mark.rs)."""

_ALL = tuple(map(str, range(COUNT_MOST + 1)))
"""Tags of a page that has all tags."""

_NOT_IN_A_HEADER = re.compile(r"[\x00-\x1f\x7f,]")
"""Characters of a tag that are percent-encoded, in the header and in purges."""


def tag(request: HttpRequest, *things: Tagged) -> None:
    """Adds tags to the page that is rendered for this request: of model instances, of model classes, or names."""
    tags = getattr(request, "_request", request).__dict__.setdefault("_pagecache_tags", {})  # Django REST framework's
    tags.update(dict.fromkeys(name for thing in things for name in names_of(thing)))


def names_of(thing: Tagged) -> list[str]:
    """The tags of an instance, a class, or a name. An instance has those of its parents, too."""
    if isinstance(thing, str):
        return [_NOT_IN_A_HEADER.sub(lambda found: f"%{ord(found[0]):02X}", thing.strip())]
    if isinstance(thing, Model):
        return [f"{of._meta.label_lower}:{getattr(thing, of._meta.pk.attname)}" for of in _with_parents(type(thing))]
    if isinstance(thing, type) and issubclass(thing, Model):
        return [_with_parents(thing)[0]._meta.label_lower]
    raise TypeError(f"{thing!r} has no tag: it is no name, no model and no instance of one")


def names_of_changed(thing: Tagged) -> list[str]:
    """The tags of the pages that change with something: if it is an instance, those of its classes, too."""
    names = names_of(thing)
    return [*names, *(of._meta.label_lower for of in _with_parents(type(thing)))] if isinstance(thing, Model) else names


def names_of_pks(model: type[Model], pks: Iterable[Any]) -> list[str]:
    """The same of instances that are not loaded."""
    classes = _with_parents(model)
    return [*(of._meta.label_lower for of in classes), *(f"{of._meta.label_lower}:{pk}" for pk in pks for of in classes)]


def tags_of(request: HttpRequest, response: HttpResponseBase) -> list[str]:
    """The tags of a page: those of `tag`, and those in the header that a view has set."""
    said = [name.strip() for name in response.get(HEADER, "").encode("latin-1", "replace").decode(errors="replace").split(",")]
    names = [*request.__dict__.get("_pagecache_tags", {}), *said]
    tags = [name for name in dict.fromkeys(names) if name]
    is_too_long = len(tags) > COUNT_MOST or len(header_of(tags)) > BYTES_MOST
    return list(_ALL) if is_too_long else tags


def header_of(names: list[str]) -> str:
    """The value of the header: UTF-8, as WSGI and ASGI send it."""
    return ",".join(names).encode().decode("latin-1")


def _with_parents(model: Any) -> list[Any]:
    """The concrete models of an instance's own class and of its parents in the database."""
    concrete = model._meta.concrete_model
    return [concrete, *(parent for parent in concrete._meta.get_parent_list() if not parent._meta.proxy)]
