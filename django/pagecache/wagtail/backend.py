"""The backend of `wagtail.contrib.frontend_cache`, for the URLs that a site purges itself, by `purge_url_from_cache`:

    WAGTAILFRONTENDCACHE = {"nginx": {"BACKEND": "pagecache.wagtail.backend.PageCacheBackend"}}
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from wagtail.contrib.frontend_cache.backends import BaseBackend

from pagecache.purges.by import invalidate, invalidate_names
from pagecache.wagtail import names
from pagecache.wagtail.purge import by_url


class PageCacheBackend(BaseBackend):  # type: ignore[misc]  # Wagtail has no types
    """Purges a URL. If it has no query, it stands for the page with each query."""

    def purge(self, url: str) -> None:
        self.purge_batch([url])

    def purge_batch(self, urls: Iterable[str]) -> None:
        each = list(urls)
        by_url(invalidate, each)
        invalidate_names(names.of_path(urlsplit(url).path or "/") for url in each if "?" not in url)
