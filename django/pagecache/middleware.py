"""Where a site says which pages are stored: all that may be (the middleware), or one view's (the
decorator). A single view is kept out of the middleware's hands by Django's own `@never_cache`."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.http import HttpRequest, HttpResponse
from django.utils.deprecation import MiddlewareMixin

from pagecache.key import KeyPattern
from pagecache.store import store

View = TypeVar("View", bound=Callable[..., Any])


class PageCacheMiddleware(MiddlewareMixin):
    """Stores every page that may be stored. It stands first in MIDDLEWARE, or right after
    GZipMiddleware, so that it sees pages as the other middlewares leave them."""

    def process_request(self, request: HttpRequest) -> None:
        request.pagecache_middleware = True  # type: ignore[attr-defined]

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        store(request, response, **getattr(response, "pagecache_wishes", {}))
        return response


def page_cache(timeout: int | None = None, key: str | None = None) -> Callable[[View], View]:
    """`@page_cache(timeout=60)`: stores one view's pages, with or without the middleware.

    `timeout` is in seconds. `key` is the `pagecache_key` of the nginx location that the view's pages are
    looked up in, if it is not that of PAGECACHE_KEY. None: as the settings say.
    """
    if key is not None:
        KeyPattern.parse(key)  # a wrong one is an error at start, not a page that is never found

    def keep(request: HttpRequest, response: Any) -> Any:
        if hasattr(request, "pagecache_middleware"):
            # It comes later and sees more: all that this view has to say is how.
            response.pagecache_wishes = {"timeout": timeout, "key": key}
        elif hasattr(response, "add_post_render_callback"):
            response.add_post_render_callback(lambda rendered: store(request, rendered, timeout, key))
        else:
            store(request, response, timeout, key)
        return response

    def decorate(view: View) -> View:
        @wraps(view)
        def sync_view(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            return keep(request, view(request, *args, **kwargs))

        @wraps(view)
        async def async_view(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            return await sync_to_async(keep)(request, await view(request, *args, **kwargs))

        return cast(View, async_view if iscoroutinefunction(view) else sync_view)

    return decorate
