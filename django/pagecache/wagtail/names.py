"""The names of the tags of a page of Wagtail:

    wagtailcore.page:7     the page itself; it is the tag that `tags.tag` gives to a page that shows page 7
    wagtail.tree:3         each page of the tree at page 3: page 3 and all pages below it
    wagtail.path:8a5edab2… the page at the path with this digest, whatever its query

Primary keys do not change when a page is moved, paths do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote

from wagtail.models import Page

from pagecache.tags import names_of_pks


def of_page(pk: int) -> str:
    return f"{Page._meta.label_lower}:{pk}"


def of_tree(pk: int) -> str:
    return f"wagtail.tree:{pk}"


def of_path(path: str) -> str:
    """The path may be percent-encoded. In the tag it is short."""
    return "wagtail.path:" + hashlib.sha256(unquote(path).encode()).hexdigest()[:16]


def of_served(page: Page, path: str) -> list[str]:
    """The tags of the response that a page serves at a path."""
    return [of_page(page.pk), of_path(path), *map(of_tree, [page.pk, *pks_above([page])])]


def of_changed(pages: Iterable[Page]) -> list[str]:
    """The tags of the pages that show one of these: itself, those above it, which may list it, and those that a site
    has tagged with it or with its class."""
    changed = list(pages)
    names = [name for page in changed for name in names_of_pks(page.specific_class or type(page), [page.pk])]
    return [*names, *map(of_page, pks_above(changed))]


def pks_above(pages: Iterable[Any]) -> list[int]:
    """Of the ancestors of these pages, without the root of all sites."""
    step = Page.steplen
    paths = {page.path[:end] for page in pages for end in range(2 * step, len(page.path), step)}
    return list(Page.objects.filter(path__in=paths).order_by("path").values_list("pk", flat=True)) if paths else []
