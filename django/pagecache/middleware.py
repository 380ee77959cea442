"""Where a site says which pages are stored, and how. What stores them is the middleware alone, for it
stands outside: only there has an answer all the cookies and headers that it goes out with. A single view is
kept out of its hands by Django's own `@never_cache`."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from asgiref.sync import iscoroutinefunction
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.deprecation import MiddlewareMixin

from pagecache import conf
from pagecache.key import KeyPattern
from pagecache.store import prepare, store

View = TypeVar("View", bound=Callable[..., Any])


class PageCacheMiddleware(MiddlewareMixin):
    """Stores every page that may be stored; with PAGECACHE_ONLY_MARKED, those of decorated views. It stands
    first in MIDDLEWARE, or right after GZipMiddleware."""

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        # Checked here, too: a site may leave the application out of INSTALLED_APPS.
        for problem in conf.problems_of_place():
            raise ImproperlyConfigured(problem)
        super().__init__(get_response)

    def process_request(self, request: HttpRequest) -> None:
        prepare(request)

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        wishes = getattr(response, "pagecache_wishes", None)
        if wishes is not None or not conf.only_marked():
            store(request, response, **(wishes or {}))
        return response


def page_cache(timeout: int | None = None, key: str | None = None) -> Callable[[View], View]:
    """`@page_cache(timeout=60)`: says how PageCacheMiddleware stores one view's pages.

    `timeout` is in seconds. `key` is the `pagecache_key` of the nginx location that the view's pages are
    looked up in, if it is not that of PAGECACHE_KEY. None: as the settings say.
    """
    if not conf.has_middleware():
        raise ImproperlyConfigured(
            f'@page_cache stores nothing without the middleware: put "{conf.MIDDLEWARE}" first into MIDDLEWARE, '
            "and set PAGECACHE_ONLY_MARKED = True if only views with @page_cache are to be stored"
        )
    if key is not None:
        KeyPattern.parse(key)  # a wrong one is an error at start, not a page that is never found
        conf.keys_of_views.add(key)

    def mark(response: Any) -> Any:
        if isinstance(response, HttpResponseBase):  # what else a view may return, Django complains of itself
            response.pagecache_wishes = {"timeout": timeout, "key": key}  # type: ignore[attr-defined]
        return response

    def decorate(view: View) -> View:
        @wraps(view)
        def sync_view(*args: Any, **kwargs: Any) -> Any:
            return mark(view(*args, **kwargs))

        @wraps(view)
        async def async_view(*args: Any, **kwargs: Any) -> Any:
            return mark(await view(*args, **kwargs))

        return cast(View, async_view if iscoroutinefunction(view) else sync_view)

    return decorate
