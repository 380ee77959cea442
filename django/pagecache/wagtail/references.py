"""The pages that show an object, such as an image, a document or a snippet. Wagtail's reference index has each reference
from one object to another: fields, choosers in StreamFields, links in rich text."""

from __future__ import annotations

from typing import Any

from django.contrib.contenttypes.models import ContentType
from django.db.models import Model, QuerySet
from wagtail.models import Page, ReferenceIndex


def pages_that_show(obj: Model) -> list[Page]:
    """Also by way of other objects: a page shows a snippet, and the snippet an image."""
    of_pages = ContentType.objects.get_for_model(Page).pk
    found: set[tuple[int, str]] = set()
    pks: set[str] = set()
    waiting = [ReferenceIndex.get_references_to(obj)]
    while waiting:
        for reference in sources(waiting.pop()) - found:
            found.add(reference)
            if reference[0] == of_pages:
                pks.add(reference[1])
            else:
                waiting.append(ReferenceIndex.objects.filter(to_content_type=reference[0], to_object_id=reference[1]))
    return list(Page.objects.filter(pk__in=pks, live=True)) if pks else []


def sources(references: QuerySet[Any]) -> set[tuple[int, str]]:
    """The objects that refer: content type and primary key."""
    return set(references.values_list("base_content_type", "object_id"))
