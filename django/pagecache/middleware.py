"""Where a site says which pages are stored: all that may be (the middleware), or one view's (the
decorator). A single view is kept out of the middleware's hands by Django's own `@never_cache`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.decorators import decorator_from_middleware_with_args
from django.utils.deprecation import MiddlewareMixin

from pagecache.store import store


class PageCacheMiddleware(MiddlewareMixin):
    """Stores every page that may be stored. It stands first in MIDDLEWARE, or right after
    GZipMiddleware, so that it sees pages as the other middlewares leave them."""

    def process_request(self, request: HttpRequest) -> None:
        request.pagecache_middleware = True

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        store(request, response, getattr(response, "pagecache_timeout", None))
        return response


class _OfOneView(MiddlewareMixin):
    def __init__(self, get_response: Callable[..., Any], timeout: int | None = None) -> None:
        super().__init__(get_response)
        self.timeout = timeout

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        if hasattr(request, "pagecache_middleware"):
            # It comes later and sees more; all that this view has to say is for how long.
            response.pagecache_timeout = self.timeout
        else:
            store(request, response, self.timeout)
        return response


page_cache = decorator_from_middleware_with_args(_OfOneView)
"""`@page_cache()` or `@page_cache(timeout=60)`: stores one view's pages, with or without the middleware."""
