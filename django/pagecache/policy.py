"""Which pages may be stored: those that a shared cache may keep (RFC 9111, section 3), except for some.

A hit is the same for every visitor without a session; with PAGECACHE_FORMAT = "body" it is the body alone with the
status 200 and the Content-Type of nginx's configuration. A page that differs from that is refused here. So is a page
that is not determined by its key: anybody could cause it to be stored by a request, and it would be served to visitors
who request another page.
"""

from __future__ import annotations

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from pagecache import conf, visitor
from pagecache.address import PageAddress, bare_host, split_port
from pagecache.freshness import control_of, directives, listed
from pagecache.key import KeyPattern

REFUSED_HEADERS = ("Set-Cookie", "Content-Encoding", "Content-Range", "X-Accel-Redirect", "X-Sendfile")
"""Headers of responses for one visitor, or whose body is not the page, in any format. X-Accel-Redirect makes nginx
send another response; PAGECACHE_GZIP compresses pages itself."""

OF_A_POLICY = ("Content-Security-Policy", "Content-Security-Policy-Report-Only")

LOST_HEADERS = ("Content-Disposition",)
"""Headers that a body without a head would lack, and without which it has another meaning."""


def refusal(request: HttpRequest, response: HttpResponseBase, pattern: KeyPattern) -> str | None:
    """The reason why this response must not be stored under a key of this pattern, in a few words; None if it may
    be."""
    return (
        refusal_of_request(request, pattern)
        or _of_response(response)
        or _of_cache_control(response)
        or visitor.refusal(request)
    )


def refusal_of_request(request: HttpRequest, pattern: KeyPattern) -> str | None:
    """The part of `refusal` that is known before there is a response."""
    return _of_request(request) or _of_host(request) or _of_key(request, pattern)


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
    if "no-store" in directives(meta.get("HTTP_CACHE_CONTROL", "")):
        return "a request that asks for nothing to be stored"
    return None


def _of_host(request: HttpRequest) -> str | None:
    """Django may write the name that it takes for the site's into the page: if that name were not the one in the key,
    a visitor could cause links to any site to be stored."""
    try:
        host = request.get_host()
    except DisallowedHost:
        return "a Host that is not allowed"
    of_nginx = request.META.get("HTTP_HOST")
    if of_nginx is not None and bare_host(host) != bare_host(of_nginx):
        return "a host that Django does not have from the Host header"
    if bare_host(host) != split_port(host)[0].encode("latin-1", "replace"):
        return "a Host with capitals or a final dot"  # the links of everybody's page would have this spelling
    return None


def _of_key(request: HttpRequest, pattern: KeyPattern) -> str | None:
    page = PageAddress.of_request(request)
    if pattern.lacks(page.args):
        return "a query that is not in the key"
    for name in pattern.cookies:
        # nginx uses the first of several cookies and ignores case; Django uses the last and is case-sensitive.
        value = page.cookie_value(name)
        if value is None:
            return f"a cookie {name} that versions of nginx read differently"
        if request.COOKIES.get(name) != (value.decode(errors="replace") or None):
            return f"a cookie {name} that Django and nginx read differently"
    return None


def _of_response(response: HttpResponseBase) -> str | None:
    # A 304 has nginx keep the page that it is about to renew.
    is_confirmed = response.status_code == 304 and conf.is_filled_by_nginx()
    if response.status_code not in conf.statuses() and not is_confirmed:
        return "its status"
    if response.status_code == 404 and settings.DEBUG:
        return "a 404 with DEBUG"  # it may be Django's own page, which lists the site's URLs
    if response.streaming:
        return "a streaming answer"
    if response.cookies:
        return "a cookie"
    for header in REFUSED_HEADERS:
        if response.has_header(header):
            return f"a {header} header"
    if any("'nonce-" in response.get(header, "").lower() for header in OF_A_POLICY):
        return "a nonce"  # it is valid for one response
    if response.status_code in (301, 308) and not _is_path(response.get("Location", "")):
        # A redirect to the same path under https, which the key need not contain, would be an endless loop.
        return "a redirect to more than a path"
    # A page without Content-Encoding is the same for every Accept-Encoding.
    if set(listed(response.get("Vary", ""))) - {"accept-encoding", *conf.ignored_vary()}:
        return "its Vary"
    return None if conf.stores_heads() else _of_bare_body(response)


def _of_bare_body(response: HttpResponseBase) -> str | None:
    for header in LOST_HEADERS:
        if response.has_header(header):
            return f"a {header} header"
    if _normal(response.get("Content-Type", "")) != _normal(conf.content_type()):
        return "a Content-Type other than PAGECACHE_CONTENT_TYPE"
    if not getattr(response, "content", b""):
        return "an empty page"  # nginx takes a value of 0 bytes for the placeholder of another client
    return None


def _of_cache_control(response: HttpResponseBase) -> str | None:
    if not control_of(response).keys().isdisjoint({"private", "no-store", "no-cache"}):
        return "its Cache-Control"
    return None


def _is_path(location: str) -> bool:
    return location.startswith("/") and not location.startswith(("//", "/\\"))


def _normal(content_type: str) -> str:
    return content_type.replace(" ", "").lower()
