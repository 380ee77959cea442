"""The middleware and the decorator by which a site says which pages are stored, and how. Only the middleware stores
pages, because it is outermost: only there does a response have all its cookies and headers. Django's own
`@never_cache` excludes a single view."""

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
    """Stores every page that may be stored; with PAGECACHE_ONLY_MARKED, only those of decorated views. Only the
    middlewares that `before.py` allows may precede it."""

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        super().__init__(get_response)
        # Logged here, too: application servers do not run system checks.
        wrong = [problem.text for problem in problems.problems()]
        if not conf.has_middleware():  # a subclass, or used around a view: the middlewares before it are not known
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
    """`@page_cache(timeout=60)`: sets how PageCacheMiddleware stores the pages of one view.

    `timeout` is in seconds. `key` is the `pagecache_key` of the nginx location that looks up the view's pages, if it
    is not PAGECACHE_KEY. None: the value of the settings.
    """
    conf.has_marked_views = True
    # With a mistake the site works, without the pages of this view in the cache.
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
        if isinstance(response, HttpResponseBase):  # Django reports other return values of a view itself
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
