"""What memcached holds of a page: the item's value and flags, as nginx's `pagecache_format` and
`pagecache_gzip_flag` read them.

With PAGECACHE_FORMAT = "http" the value is a response's head and body,

    HTTP/1.1 200 OK\\r\\n
    Content-Type: text/html; charset=utf-8\\r\\n
    Date: Tue, 05 Mar 2024 10:00:00 GMT\\r\\n
    \\r\\n
    hello

and otherwise the bare body.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from http import HTTPStatus

from django.http import HttpResponse
from django.utils.http import http_date

from pagecache import conf

GZIP_LEVEL = 6

_OF_A_CONNECTION = {
    "accept-ranges",
    "age",
    "connection",
    "content-length",
    "content-range",
    "keep-alive",
    "proxy-connection",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}
"""Headers that nginx writes itself or that concern one connection (RFC 9110, section 7.6.1): they are not stored."""


@dataclass(frozen=True)
class Item:
    value: bytes
    flags: int = 0


def item_of(response: HttpResponse) -> Item:
    """The item for a page. Its value is plain bytes: a template's SafeString would be pickled, and nginx
    rightly takes no pickle for a page."""
    body = bytes(response.content)
    packed = gzip.compress(body, GZIP_LEVEL, mtime=0) if conf.compresses() else body
    is_gzip = len(packed) < len(body)
    if is_gzip:
        body = packed
    if conf.stores_heads():
        return Item(_head(response, is_gzip) + body)
    return Item(body, conf.gzip_flag() if is_gzip else 0)


def _head(response: HttpResponse, is_gzip: bool) -> bytes:
    lines = [f"HTTP/1.1 {response.status_code} {HTTPStatus(response.status_code).phrase}"]
    for name, value in response.items():
        if is_gzip and name.lower() == "etag" and not value.startswith("W/"):
            # A strong one would be of two bodies, this and the one that is not compressed.
            value = "W/" + value
        if name.lower() not in _OF_A_CONNECTION:
            lines.append(f"{name}: {value}")
    if not response.has_header("Date"):
        # By this, caches behind nginx know how old a page is that came out of memcached.
        lines.append(f"Date: {http_date()}")
    if is_gzip:
        lines.append("Content-Encoding: gzip")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
