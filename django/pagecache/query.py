"""What a page is made of, of its query: no more than the key holds. A page may show its own address, or copy it into
its links: those of one visitor's ignored arguments would be served to everybody.

    nginx asks for  /list?utm_source=mail&page=2, key "http://example.com/list?page=2"
    the view sees   /list?page=2
"""

from __future__ import annotations

from django.http import HttpRequest

from pagecache import conf, origin, policy, told
from pagecache.address import REQUEST_URIS, PageAddress, wire_of
from pagecache.key import KeyPattern, NoKey


def hide(request: HttpRequest) -> None:
    """Takes out of the query what nginx's key does not hold, where the answer may be stored. All other requests stay
    as they are."""
    if not told.is_miss(request.META):
        return
    page = PageAddress.of_request(request)
    for pattern in conf.key_patterns():
        held = pattern.held(page.args)
        if held != page.args and _is_for(request, page, pattern):
            _show(request, page.args, held)
            return


def refusal(request: HttpRequest, pattern: KeyPattern) -> str | None:
    """Why a page must not be stored under a key of this pattern: the view has seen another query than it holds."""
    seen = str(request.META.get("QUERY_STRING", "")).encode(wire_of(request), "replace")
    if seen != pattern.held(PageAddress.of_request(request).args):
        return "a query with ignored arguments that the view has seen"
    return None


def _is_for(request: HttpRequest, page: PageAddress, pattern: KeyPattern) -> bool:
    """Is it under a key of this pattern that nginx has looked, and that the page may be stored?"""
    try:
        key = pattern.key(page)
    except NoKey:
        return False
    is_refused = policy.refusal_of_request(request, pattern) or origin.trouble(request)
    return told.is_key(request.META, key) and not is_refused


def _show(request: HttpRequest, asked: bytes, query: bytes) -> None:
    request.pagecache_args = asked  # type: ignore[attr-defined]  # by which the key is worked out
    text = query.decode(wire_of(request))
    request.META["QUERY_STRING"] = text
    for name in REQUEST_URIS:
        if name in request.META:
            path = str(request.META[name]).partition("?")[0]
            request.META[name] = f"{path}?{text}" if text else path
    scope = getattr(request, "scope", None)
    if scope is not None:  # others may hold it
        path = scope.get("raw_path")
        changed = {"query_string": query, "raw_path": path and path.partition(b"?")[0]}
        request.scope = {**scope, **changed}  # type: ignore[attr-defined]
    request.__dict__.pop("GET", None)  # which somebody may have read
