"""The middleware and the decorator by which a site says which pages are stored, and how. Only the middleware stores
pages, or has nginx store them, because it is outermost: only there does a response have all its cookies and headers. Django's own
`@never_cache` excludes a single view."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, TypeVar, cast

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.deprecation import MiddlewareMixin

from pagecache import conf, probe, problems
from pagecache.fill import fill, forbid
from pagecache.key import KeyPattern
from pagecache.store import prepare, store
from pagecache.tags import Tagged, tag

logger = logging.getLogger("pagecache")

View = TypeVar("View", bound=Callable[..., Any])


class PageCacheMiddleware(MiddlewareMixin):
    """Stores every page that may be stored, or has nginx store it; with PAGECACHE_ONLY_MARKED, only those of decorated views. Only the
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
        if wishes is None and response.status_code == 304:  # a middleware's, in place of the view's response
            wishes = getattr(request, "pagecache_wishes", None)
        is_by_nginx = conf.is_filled_by_nginx()
        if why_not is None and (wishes is not None or not conf.only_marked()):
            why_not = (fill if is_by_nginx else store)(request, response, **(wishes or {}))
        elif is_by_nginx:
            forbid(response)
        probe.say(request, response, why_not)
        return response


def page_cache(
    timeout: int | None = None,
    key: str | None = None,
    tags: Iterable[Tagged] | Callable[..., Iterable[Tagged]] = (),
) -> Callable[[View], View]:
    """`@page_cache(timeout=60)`: sets how the pages of one view are stored.

    `timeout` is in seconds. `key` is the `pagecache_key` of the nginx location that looks up the view's pages, if it
    is not PAGECACHE_KEY. None: the value of the settings. `tags` are those of the pages, or a function of the request
    and the view's arguments that returns them; `tags.tag` adds others.
    """
    conf.has_marked_views = True
    fixed = [] if callable(tags) else [tags] if isinstance(tags, str) else list(tags)
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

    def mark(response: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if isinstance(response, HttpResponseBase):  # Django reports other return values of a view itself
            wishes = {"timeout": timeout, "key": key, "wrong": add_tags(args, kwargs)}
            response.pagecache_wishes = wishes  # type: ignore[attr-defined]
            if args:
                args[0].pagecache_wishes = wishes
        return response

    def add_tags(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
        """The mistake, if there is one."""
        try:
            things = list(tags(*args, **kwargs)) if callable(tags) else fixed
            if things:
                tag(args[0], *things)
        except Exception as error:  # of the site's own code
            logger.warning("A page is not stored: @page_cache(tags=...): %s: %s", type(error).__name__, error)
            return f"its tags: {type(error).__name__}: {error}"
        return None

    def decorate(view: View) -> View:
        @wraps(view)
        def sync_view(*args: Any, **kwargs: Any) -> Any:
            return mark(view(*args, **kwargs), args, kwargs)

        @wraps(view)
        async def async_view(*args: Any, **kwargs: Any) -> Any:
            response = await view(*args, **kwargs)
            return await sync_to_async(mark)(response, args, kwargs) if callable(tags) else mark(response, args, kwargs)

        return cast(View, async_view if iscoroutinefunction(view) else sync_view)

    return decorate
