"""Which pages may be stored: what a shared cache may keep (RFC 9111, section 3), and a little less.

A hit is the same for every visitor without a session; without PAGECACHE_FORMAT = "http" it is the bare
body with the status 200 and the Content-Type of nginx's configuration. Whatever that would not be true
of, is refused here. So is a page that its key does not describe: anybody could ask for it to be stored,
and it would be served to those who ask for another.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.functional import LazyObject, empty
from django.utils.http import parse_http_date_safe

from pagecache import conf
from pagecache.address import PageAddress, bare_host
from pagecache.key import KeyPattern

REFUSED_HEADERS = ("Set-Cookie", "Content-Encoding", "Content-Range", "X-Accel-Redirect", "X-Sendfile")
"""Headers of answers that are one visitor's, or whose body is not the page, in any format. X-Accel-Redirect
has nginx answer something else; PAGECACHE_GZIP compresses by itself."""

LOST_HEADERS = ("Content-Disposition",)
"""Headers that a bare body would lack, and without which it means something else."""


def refusal(request: HttpRequest, response: HttpResponseBase, pattern: KeyPattern) -> str | None:
    """Why this answer must not be stored under a key of this pattern, in a few words; None if it may be."""
    return (
        _of_request(request)
        or _of_host(request)
        or _of_key(request, pattern)
        or _of_response(response)
        or _of_freshness(response)
        or _of_visitor(request)
    )


def _of_request(request: HttpRequest) -> str | None:
    meta = request.META
    if request.method != "GET":
        return "not a GET"
    if meta.get("CONTENT_LENGTH") not in (None, "", "0") or meta.get("HTTP_TRANSFER_ENCODING"):
        return "a request with a body"
    if settings.SESSION_COOKIE_NAME in request.COOKIES:
        return "a visitor with a session"
    if "HTTP_AUTHORIZATION" in meta:
        return "a request with an Authorization header"
    if "no-store" in _directives(meta.get("HTTP_CACHE_CONTROL", "")):
        return "a request that asks for nothing to be stored"
    return None


def _of_host(request: HttpRequest) -> str | None:
    """Django may write the name that it takes for the site's into the page: with another one than the key
    speaks of, a visitor could have links to anywhere stored."""
    try:
        host = request.get_host()
    except DisallowedHost:
        return "a Host that is not allowed"
    of_nginx = request.META.get("HTTP_HOST")
    if of_nginx is not None and bare_host(host) != bare_host(of_nginx):
        return "a host that Django does not have from the Host header"
    _, _, port = host.rpartition("]")[2].partition(":")
    if port not in ("", "443" if request.is_secure() else "80", str(request.META.get("SERVER_PORT", ""))):
        return "a port of its Host header's own"
    return None


def _of_key(request: HttpRequest, pattern: KeyPattern) -> str | None:
    query = request.META.get("QUERY_STRING", "")
    if query and not pattern.has_query and not _is_of(query, pattern.arguments):
        return "a query that is not in the key"
    page = PageAddress.of_request(request)
    for name in pattern.cookies:
        # nginx takes the first of several and minds no case; Django takes the last and does.
        value = page.cookie_value(name).decode(errors="replace")
        if request.COOKIES.get(name) != (value or None):
            return f"a cookie {name} that Django and nginx read differently"
    return None


def _is_of(query: str, arguments: tuple[str, ...]) -> bool:
    """Does a query say nothing but what `$arg_` variables say of it? Django and nginx read `?a=1&a=2`, `?A=1`
    and `?%61=1` differently, and nginx tells neither `?a` nor `?a=` from no query at all."""
    pairs = parse_qsl(query, keep_blank_values=True)
    names = [name for name, value in pairs if value]
    as_written = [argument.partition("=")[0] for argument in query.split("&")]
    return names == as_written and len(set(names)) == len(names) and set(names) <= set(arguments)


def _of_response(response: HttpResponseBase) -> str | None:
    if response.status_code not in conf.statuses():
        return "its status"
    if response.streaming:
        return "a streaming answer"
    if response.cookies:
        return "a cookie"
    for header in REFUSED_HEADERS:
        if response.has_header(header):
            return f"a {header} header"
    if response.status_code in (301, 308) and not _is_path(response.get("Location", "")):
        # One to the same path under https, which need not be in the key, would be an endless loop.
        return "a redirect to more than a path"
    # A page without Content-Encoding is the same whatever encodings a browser takes.
    if set(_listed(response.get("Vary", ""))) - {"accept-encoding", *conf.ignored_vary()}:
        return "its Vary"
    return None if conf.stores_heads() else _of_bare_body(response)


def _of_bare_body(response: HttpResponseBase) -> str | None:
    for header in LOST_HEADERS:
        if response.has_header(header):
            return f"a {header} header"
    if _normal(response.get("Content-Type", "")) != _normal(conf.content_type()):
        return "a Content-Type other than PAGECACHE_CONTENT_TYPE"
    return None


def _of_freshness(response: HttpResponseBase) -> str | None:
    directives = _directives(response.get("Cache-Control", ""))
    if not directives.keys().isdisjoint({"private", "no-store", "no-cache"}):
        return "its Cache-Control"
    # What nginx's own caches mind as well: 0 keeps a page out.
    if lifetime(response, 1) <= 0 or response.get("X-Accel-Expires", "").strip() in ("0", "@0"):
        return "a lifetime of 0"
    return None


def _of_visitor(request: HttpRequest) -> str | None:
    """What was looked at while the page was made: who asks, and what the site remembers of that visitor."""
    if request.META.get("CSRF_COOKIE_NEEDS_UPDATE"):
        return "a CSRF token"
    if request.META.get("REMOTE_USER") or any(user.is_authenticated for user in _known_users(request)):
        return "a visitor who is logged in"
    session = getattr(request, "session", None)
    if session is None or not session.accessed:
        return None
    if session.modified:
        return "a changed session"
    if "cookie" not in conf.ignored_vary():
        return "a look at the session"
    return None


def _known_users(request: HttpRequest) -> Iterator[Any]:
    """The users that somebody has set or asked for. One that nobody has is not looked up now: this would be
    a query to the database for each page."""
    for name in ("user", "_cached_user", "_acached_user"):  # those of AuthenticationMiddleware are lazy
        user = request.__dict__.get(name)
        is_unknown = isinstance(user, LazyObject) and user.__dict__.get("_wrapped", empty) is empty
        if user is not None and not is_unknown and hasattr(user, "is_authenticated"):
            yield user


def lifetime(response: HttpResponseBase, timeout: int) -> int:
    """Seconds a page may be served: `timeout`, or less if its Cache-Control or Expires say less (RFC 9111,
    section 4.2.1). What they say wrongly is no time at all."""
    directives = _directives(response.get("Cache-Control", ""))
    said = directives.get("s-maxage", directives.get("max-age"))
    if said is not None:
        return min(timeout, int(said)) if said.isdecimal() else 0
    if response.has_header("Expires"):
        expires = parse_http_date_safe(response["Expires"])
        return 0 if expires is None else min(timeout, expires - int(time.time()))
    return timeout


def _directives(cache_control: str) -> dict[str, str]:
    """The directives of a Cache-Control in lower case, with their values, "" for none."""
    directives = {}
    for directive in _listed(cache_control):
        name, _, value = directive.partition("=")
        directives[name.strip()] = value.strip(' "')
    return directives


def _listed(header: str) -> list[str]:
    """The elements of a header that is a list, in lower case."""
    return [element.strip() for element in header.lower().split(",") if element.strip()]


def _is_path(location: str) -> bool:
    return location.startswith("/") and not location.startswith(("//", "/\\"))


def _normal(content_type: str) -> str:
    return content_type.replace(" ", "").lower()
