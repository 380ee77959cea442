"""The address of a page in nginx's terms: the values of nginx's variables for a request.

Each rule here repeats one of nginx (ngx_http_parse.c, ngx_http_request.c of 1.22 to 1.31). A value is bytes, as in
nginx; None: Django cannot know it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes, urlsplit

from django.http import HttpRequest
from django.utils.encoding import iri_to_uri


@dataclass(frozen=True)
class PageAddress:
    """The address of one page."""

    uri: bytes | None
    """The path, decoded: `$uri`."""
    args: bytes
    """The text after the `?`, as it was sent: `$args`."""
    request_uri: bytes | None
    """Path and query, as they were sent: `$request_uri`."""
    host: bytes | None
    scheme: bytes | None
    cookie: bytes = b""
    """The Cookie header."""

    @classmethod
    def of_request(cls, request: HttpRequest) -> PageAddress:
        """The address under which nginx looked for the page, before it asked Django for it."""
        meta = request.META
        asked = getattr(request, "pagecache_args", None)  # the original query, which query.py hides from the view
        return cls(
            uri=_uri_of(request),
            args=str(meta.get("QUERY_STRING", "")).encode(wire_of(request)) if asked is None else asked,
            request_uri=_request_uri_of(request),
            host=bare_host(meta.get("HTTP_HOST", "")),
            scheme=(meta.get("REQUEST_SCHEME") or request.scheme or "").encode() or None,
            cookie=meta.get("HTTP_COOKIE", "").encode("latin-1"),
        )

    @classmethod
    def of_url(
        cls,
        url: str,
        host: str | None = None,
        scheme: str | None = None,
        cookies: Mapping[str, str] | None = None,
    ) -> PageAddress:
        """The address of a path or of a whole URL, as returned by `reverse` or as a reader sees it: `%C3%B6` and `ö`
        are the same, a literal percent sign is `%25`; a `#fragment` is ignored.

        `host` and `scheme` take precedence over those of the URL.
        """
        target = url
        if re.match("https?://", url, re.ASCII | re.IGNORECASE):
            parts = urlsplit(url)
            host, scheme = host or parts.netloc.rpartition("@")[2], scheme or parts.scheme
            target = url[url.index("//") + 2 :]
            target = target[len(parts.netloc) :]
            target = target if target.startswith("/") else "/" + target
        before_fragment = target.partition("#")[0]
        path, _, query = before_fragment.partition("?")
        return cls(
            uri=normal_path(path),
            args=iri_to_uri(query).encode(),
            request_uri=iri_to_uri(before_fragment).encode(),
            host=bare_host(ascii_host(host or "")),
            scheme=scheme.lower().encode() if scheme else None,
            cookie="; ".join(f"{name}={value}" for name, value in (cookies or {}).items()).encode(),
        )

    def argument(self, name: str) -> bytes:
        """`$arg_name`: the first argument with that name, in any case; not decoded (ngx_http_arg)."""
        wanted = name.lower().encode() + b"="
        for argument in self.args.split(b"&"):
            if argument.lower().startswith(wanted):
                return argument[len(wanted) :]
        return b""

    def cookie_value(self, name: str) -> bytes | None:
        """`$cookie_name`: the first cookie with that name, in any case. None if the value depends on the version of
        nginx: before 1.29.6, a comma separates cookies as a semicolon does (ngx_http_parse_multi_header_lines), since
        then it does not (ngx_http_parse_cookie_lines). In no version does a comma end a value."""
        value = _first_cookie(self.cookie, name, b";")
        return value if value == _first_cookie(self.cookie, name, b";,") else None


def wire_of(request: HttpRequest) -> str:
    """The encoding in which META contains the bytes of the query. WSGI decodes bytes as latin-1 (PEP 3333); ASGI
    decodes the query, and its headers as latin-1."""
    return "latin-1" if hasattr(request, "environ") else "utf-8"


def _first_cookie(header: bytes, name: str, separators: bytes) -> bytes:
    wanted, at = name.lower().encode(), 0
    while at < len(header):
        if header[at : at + len(wanted)].lower() == wanted:
            at = _behind_spaces(header, at + len(wanted))
            if header[at : at + 1] == b"=":
                return header[_behind_spaces(header, at + 1) :].partition(b";")[0]
            at += 1  # nginx skips the character in the place of the = without looking at it
        end = re.compile(b"[%b]" % separators).search(header, at)
        at = _behind_spaces(header, end.end()) if end else len(header)
    return b""


def _behind_spaces(text: bytes, at: int) -> int:
    while text[at : at + 1] == b" ":
        at += 1
    return at


# Django percent-encodes the invalid bytes of a path that is not UTF-8: /%E4 and /%25E4 are both "/%E4" in Django, and
# two different paths in nginx.
_PERCENT_ENCODED_AGAIN = re.compile("%[89A-F][0-9A-F]")


def _uri_of(request: HttpRequest) -> bytes | None:
    """None for a path that is not UTF-8, and for one that Django cannot tell from such a path."""
    raw = getattr(request, "scope", {}).get("raw_path")
    if raw is not None:  # ASGI, whose servers replace invalid bytes with U+FFFD
        try:
            unquote_to_bytes(raw).decode()
        except UnicodeDecodeError:
            return None
    elif _PERCENT_ENCODED_AGAIN.search(request.path):
        return None
    return request.path.encode()


REQUEST_URIS = ("REQUEST_URI", "RAW_URI")
"""Names in META: that of uWSGI and mod_wsgi, and that of gunicorn."""


def _request_uri_of(request: HttpRequest) -> bytes | None:
    for name in REQUEST_URIS:
        if name in request.META:
            return str(request.META[name]).encode("latin-1")
    scope = getattr(request, "scope", {})
    if scope.get("raw_path") is None:
        return None
    path, query = bytes(scope["raw_path"]).partition(b"?")[0], bytes(scope.get("query_string", b""))
    return path + b"?" + query if query else path


def ascii_host(host: str) -> str:
    """A host as browsers send it: größe.example is xn--gre-6ka8i.example. Python's own codec would replace an ß by
    "ss" (RFC 3490), which browsers no longer do (RFC 5892)."""
    if host.isascii():
        return host
    name, colon, port = unicodedata.normalize("NFC", host.lower()).partition(":")
    labels = (label if label.isascii() else "xn--" + label.encode("punycode").decode() for label in name.split("."))
    return ".".join(labels) + colon + port


def bare_host(host: str) -> bytes | None:
    """`$host` of a Host header: lower case, no port, no final dot (ngx_http_validate_host)."""
    name = re.sub(r"^(\[[^]]*\]|[^:]*).*", r"\1", host, flags=re.DOTALL)
    return name.removesuffix(".").encode("latin-1", "replace").lower() or None


def split_port(host: str) -> tuple[str, str]:
    """The name in a Host header, in brackets if it is an IPv6 address, and its port, "" if there is none."""
    in_brackets, bracket, rest = host.rpartition("]")
    name, _, port = rest.partition(":")
    return in_brackets + bracket + name, port


def normal_path(path: str) -> bytes | None:
    """`$uri` of a path: percent-encoding decoded, slashes merged, dot segments resolved (ngx_http_parse_complex_uri).
    None if nginx answers with 400."""
    decoded = unquote_to_bytes(path)
    if re.search("%(?![0-9A-Fa-f]{2})", path) or b"\0" in decoded or not decoded.startswith(b"/"):
        return None
    folders: list[bytes] = []
    *parents, name = decoded.split(b"/")
    if name in (b".", b".."):
        parents.append(name)
        name = b""
    for folder in parents:
        if folder == b"..":
            if not folders:
                return None
            folders.pop()
        elif folder not in (b"", b"."):
            folders.append(folder)
    return b"".join(b"/" + folder for folder in folders) + b"/" + name
