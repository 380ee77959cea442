"""The query that a view sees: only the part that the key contains. A page may show its own address, or copy it into
its links: the ignored arguments of one visitor would then be served to everybody.

    nginx asks for  /list?utm_source=mail&page=2, key "http://example.com/list?page=2"
    the view sees   /list?page=2
"""

from __future__ import annotations

from django.http import HttpRequest

from pagecache import conf, origin, policy, told
from pagecache.address import REQUEST_URIS, PageAddress, wire_of
from pagecache.key import KeyPattern, NoKey


def hide(request: HttpRequest) -> None:
    """Removes the part of the query that nginx's key does not contain, if the response may be stored. All other
    requests remain unchanged."""
    if not told.is_miss(request.META):
        return
    page = PageAddress.of_request(request)
    for pattern in conf.key_patterns():
        held = pattern.held(page.args)
        if held != page.args and _is_for(request, page, pattern):
            _show(request, page.args, held)
            return


def refusal(request: HttpRequest, pattern: KeyPattern) -> str | None:
    """The reason why a page must not be stored under a key of this pattern: the view has seen another query than the
    key contains."""
    seen = str(request.META.get("QUERY_STRING", "")).encode(wire_of(request), "replace")
    if seen != pattern.held(PageAddress.of_request(request).args):
        return "a query with ignored arguments that the view has seen"
    return None


def _is_for(request: HttpRequest, page: PageAddress, pattern: KeyPattern) -> bool:
    """Did nginx look the page up under a key of this pattern, and may the page be stored?"""
    try:
        key = pattern.key(page)
    except NoKey:
        return False
    is_refused = policy.refusal_of_request(request, pattern) or origin.trouble(request)
    return told.is_key(request.META, key) and not is_refused


def _show(request: HttpRequest, asked: bytes, query: bytes) -> None:
    request.pagecache_args = asked  # type: ignore[attr-defined]  # from which the key is computed
    text = query.decode(wire_of(request))
    request.META["QUERY_STRING"] = text
    for name in REQUEST_URIS:
        if name in request.META:
            path = str(request.META[name]).partition("?")[0]
            request.META[name] = f"{path}?{text}" if text else path
    scope = getattr(request, "scope", None)
    if scope is not None:  # other objects may refer to the scope, so it is copied
        path = scope.get("raw_path")
        changed = {"query_string": query, "raw_path": path and path.partition(b"?")[0]}
        request.scope = {**scope, **changed}  # type: ignore[attr-defined]
    request.__dict__.pop("GET", None)  # drops the parsed query, if other code has read it already
