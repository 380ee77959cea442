"""Where a site says which pages are stored, and how. What stores them is the middleware alone, for it
stands outside: only there has an answer all the cookies and headers that it goes out with. A single view is
kept out of its hands by Django's own `@never_cache`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from asgiref.sync import iscoroutinefunction
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.deprecation import MiddlewareMixin

from pagecache import conf, probe, problems
from pagecache.key import KeyPattern
from pagecache.store import prepare, store

logger = logging.getLogger("pagecache")

View = TypeVar("View", bound=Callable[..., Any])


class PageCacheMiddleware(MiddlewareMixin):
    """Stores every page that may be stored; with PAGECACHE_ONLY_MARKED, those of decorated views. Before it stands
    nothing but what `before.py` allows."""

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        super().__init__(get_response)
        # Said here, too: servers of applications run no system checks.
        wrong = [problem.text for problem in problems.problems()]
        if not conf.has_middleware():  # a class above it, or around a view: nobody knows what stands before it
            wrong.append(f'MIDDLEWARE does not name "{conf.MIDDLEWARE}" itself, which would not see what others add to a page')
        for text in wrong:
            logger.error("No page is stored: %s", text)
        self._wrong = wrong[0] if wrong else None

    def process_request(self, request: HttpRequest) -> None:
        if hasattr(request, "pagecache_outermost"):
            return
        request.pagecache_outermost = self  # type: ignore[attr-defined]
        if self._wrong is None:
            prepare(request)
        probe.prepare(request)

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        if getattr(request, "pagecache_outermost", self) is not self:  # one around a view does not see what is added
            return response
        why_not = self._wrong
        wishes = getattr(response, "pagecache_wishes", None)
        if why_not is None and (wishes is not None or not conf.only_marked()):
            why_not = store(request, response, **(wishes or {}))
        probe.say(request, response, why_not)
        return response


def page_cache(timeout: int | None = None, key: str | None = None) -> Callable[[View], View]:
    """`@page_cache(timeout=60)`: says how PageCacheMiddleware stores one view's pages.

    `timeout` is in seconds. `key` is the `pagecache_key` of the nginx location that the view's pages are
    looked up in, if it is not that of PAGECACHE_KEY. None: as the settings say.
    """
    conf.has_marked_views = True
    # With what is wrong the site goes on, without these pages in the cache.
    if timeout is not None and type(timeout) is not int:
        said = f"timeout={timeout!r}"
        conf.wrong_timeouts_of_views[said] = f"@page_cache({said}): a timeout is a whole number of seconds"
    if key is not None:
        try:
            KeyPattern.parse(key)
            conf.keys_of_views.add(key)
        except (ImproperlyConfigured, TypeError) as error:
            conf.wrong_keys_of_views[str(key)] = f"@page_cache(key={key!r}): {error}"

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
