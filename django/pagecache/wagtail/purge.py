"""The purges of pages of Wagtail. The tags name the stored pages; the URLs name what was stored at the address of a page
when it did not exist yet, and what Django has stored."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

from django.db import DEFAULT_DB_ALIAS
from wagtail.models import Page

from pagecache.key import NoKey
from pagecache.purges.batch import TARGETS_MOST
from pagecache.purges.by import invalidate, invalidate_all, invalidate_names, invalidate_prefix
from pagecache.wagtail import names
from pagecache.wagtail.urls import urls_at, urls_of

logger = logging.getLogger("pagecache")


def invalidate_pages(*pages: Page) -> None:
    """The pages, and those above them, which may list them."""
    if not pages:
        return
    using = _database_of(pages[0])
    if len(pages) > TARGETS_MOST:
        invalidate_all(using=using)
    else:
        invalidate_names(names.of_changed(pages), using=using)
        by_url(invalidate, (url for page in pages for url in urls_of(page)), using=using)


def withdraw_tree(page: Page) -> None:
    """A page that must not be seen any more, with all pages below it: hard. The pages that may list it are stale."""
    invalidate_names([names.of_tree(page.pk)], using=_database_of(page), hard=True)
    invalidate_pages(page)


def move_tree(page: Page, *paths: str) -> None:
    """A page whose URL changes, with all pages below it, by their tags, and by the beginning of their old and new URLs."""
    using = _database_of(page)
    invalidate_names([names.of_tree(page.pk)], using=using, hard=True)
    by_url(invalidate_prefix, (url for path in paths for url in urls_at(path)), using=using)


def by_url(purge: Callable[..., Any], urls: Iterable[str], **where: Any) -> None:
    """A URL that has no key is none of a stored page."""
    for url in dict.fromkeys(urls):
        try:
            purge(url, **where)
        except NoKey as error:
            logger.debug("%s is not purged: %s", url, error)


def _database_of(page: Page) -> str:
    return page._state.db or DEFAULT_DB_ALIAS
