"""Which pages may be stored: what a shared cache may keep (RFC 9111, section 3), and a little less.

A hit is the bare body with the status 200 and the Content-Type of nginx's configuration, for every
visitor without a session. Whatever that would not be true of, is refused here.
"""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from pagecache import conf

LOST_HEADERS = ("Set-Cookie", "Content-Encoding", "Content-Disposition")
"""Headers that a hit would lack, and without which its body means something else."""


def refusal(request: HttpRequest, response: HttpResponseBase) -> str | None:
    """Why this answer must not be stored, in a few words; None if it may be."""
    return _of_request(request) or _of_response(response) or _of_visitor(request)


def _of_request(request: HttpRequest) -> str | None:
    meta, pattern = request.META, conf.key_pattern()
    if request.method != "GET":
        return "not a GET"
    if meta.get("CONTENT_LENGTH") not in (None, "", "0"):
        return "a request with a body"
    if settings.SESSION_COOKIE_NAME in request.COOKIES:
        return "a visitor with a session"
    if "HTTP_AUTHORIZATION" in meta:
        return "a request with an Authorization header"
    # The next two would put one page under another's key, where anybody could ask for it to be put.
    if meta.get("QUERY_STRING") and not pattern.has_query:
        return "a query that is not in the key"
    if "?" in request.path and pattern.joins_query:
        return "a question mark inside the path"
    return None


def _of_response(response: HttpResponseBase) -> str | None:
    if response.status_code != 200:
        return "a status other than 200"
    if response.streaming:
        return "a streaming answer"
    if response.cookies:
        return "a cookie"
    for header in LOST_HEADERS:
        if response.has_header(header):
            return f"a {header} header"
    if _normal(response.get("Content-Type", "")) != _normal(conf.content_type()):
        return "a Content-Type other than PAGECACHE_CONTENT_TYPE"
    if not cache_control(response).keys().isdisjoint({"private", "no-store", "no-cache"}):
        return "its Cache-Control"
    if lifetime(response, 1) <= 0:
        return "a lifetime of 0"
    # A page without Content-Encoding is the same whatever encodings a browser takes.
    if set(_listed(response, "Vary")) - {"accept-encoding"} - _ignored_vary():
        return "its Vary"
    return None


def _of_visitor(request: HttpRequest) -> str | None:
    """What the middlewares of Django are about to make of the answer: a decorated view is asked
    before they have added their cookies and their Vary to it."""
    if request.META.get("CSRF_COOKIE_NEEDS_UPDATE"):
        return "a CSRF token"
    session = getattr(request, "session", None)
    if session is None or not session.accessed:
        return None
    if session.modified:
        return "a changed session"
    if "cookie" not in _ignored_vary():
        return "a look at the session"
    user = getattr(request, "user", None)
    if user is not None and user.is_authenticated:
        return "a visitor who is logged in"
    return None


def cache_control(response: HttpResponseBase) -> dict[str, str]:
    """The directives of Cache-Control in lower case, with their values, "" for none."""
    directives = {}
    for directive in _listed(response, "Cache-Control"):
        name, _, value = directive.partition("=")
        directives[name.strip()] = value.strip(' "')
    return directives


def lifetime(response: HttpResponseBase, timeout: int) -> int:
    """Seconds a page may be served: `timeout`, or less if its Cache-Control says less."""
    directives = cache_control(response)
    said = directives.get("s-maxage") or directives.get("max-age") or ""
    return min(timeout, int(said)) if said.isdecimal() else timeout


def _listed(response: HttpResponseBase, header: str) -> list[str]:
    """The elements of a header that is a list, in lower case."""
    elements = response.get(header, "").lower().split(",")
    return [element.strip() for element in elements if element.strip()]


def _ignored_vary() -> set[str]:
    return {name.lower() for name in conf.ignored_vary()}


def _normal(content_type: str) -> str:
    return content_type.replace(" ", "").lower()
