"""The item of a page in memcached: its value and flags, in the form that nginx's `pagecache_format` and
`pagecache_gzip_flag` expect.

With PAGECACHE_FORMAT = "head" the value is the head and body of a response, and the flags are 0x5Crrrrrr. r are random
bits, new for each store: they tell two versions of a page apart. The last header is for nginx alone:

    HTTP/1.1 200 OK\\r\\n
    Content-Type: text/html; charset=utf-8\\r\\n
    Date: Tue, 05 Mar 2024 10:00:00 GMT\\r\\n
    X-Pagecache: v=1; life=300; window=0; ttl=300; age=0\\r\\n
    \\r\\n
    hello

With "http" it is the same without X-Pagecache, and the flags are 0; with "body" it is the body alone.
"""

from __future__ import annotations

import gzip
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus

from django.http import HttpResponse
from django.utils.http import http_date

from pagecache import conf
from pagecache.freshness import listed

GZIP_LEVEL = 6

TYPE_OF_PAGES = 0x5C
"""The top byte of the flags of a page with a head."""

SECONDS_MOST = 30 * 24 * 3600
"""The longest life of a page with a head: memcached takes a larger number of seconds for a date (protocol.txt,
"Expiration times")."""

HEADERS_MOST = 100
HEAD_BYTES_MOST = 64 * 1024
"""nginx refuses a larger head (core/src/page/http.rs)."""

_OF_A_CONNECTION = {
    "accept-ranges",
    "cache-tag",
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
    "x-pagecache",
}
"""Headers that nginx writes itself or that concern one connection (RFC 9110, section 7.6.1): they are not stored, and
neither are instructions to nginx, such as X-Accel-Buffering."""


class NoItem(ValueError):
    """A page that nginx would not serve from memcached: the message gives the reason."""


@dataclass(frozen=True)
class Item:
    value: bytes
    flags: int = 0


def item_of(response: HttpResponse, seconds: int, age: int = 0, note: str = "") -> Item:
    """The item for a page that may be served for this many seconds from now, and was rendered `age` seconds ago; `note`
    are further members of its X-Pagecache. Its value is plain bytes: a template's SafeString would be pickled, and nginx does not serve a pickle.

    Raises NoItem.
    """
    body = bytes(response.content)
    packed = gzip.compress(body, GZIP_LEVEL, mtime=0) if conf.compresses() else body
    is_gzip = len(packed) < len(body)
    if is_gzip:
        body = packed
    if not conf.stores_heads():
        return Item(body, conf.gzip_flag() if is_gzip else 0)
    lines = list(_head(response, is_gzip))
    if not conf.marks_pages():
        return Item(_joined(lines) + body)
    lines.append(f"X-Pagecache: v=1; life={seconds}; window=0; ttl={seconds}; age={age}{note}")
    return Item(_joined(lines) + body, new_flags())


def new_flags() -> int:
    """The flags of one version of a page."""
    while True:
        version = secrets.randbits(24)
        # A client with only 16 bits for flags would read these versions as the flags of bytes or of text.
        if version & 0xFFFF not in (0, 16):
            return TYPE_OF_PAGES << 24 | version


def _head(response: HttpResponse, is_gzip: bool) -> Iterator[str]:
    """The lines of a stored head."""
    yield f"HTTP/1.1 {response.status_code} {HTTPStatus(response.status_code).phrase}"
    dropped = {*_OF_A_CONNECTION, *listed(response.get("Connection", ""))}
    for name, value in response.items():
        if name.lower() in dropped or name.lower().startswith("x-accel-"):
            continue
        if is_gzip and name.lower() == "etag" and not value.startswith("W/"):
            # A strong ETag would name two bodies, this one and the uncompressed one.
            value = "W/" + value
        yield f"{name}: {value}"
    if not response.has_header("Date"):
        # From this, caches behind nginx compute the age of a page that was served from memcached.
        yield f"Date: {http_date()}"
    if is_gzip:
        yield "Content-Encoding: gzip"
        if "accept-encoding" not in listed(response.get("Vary", "")):
            yield "Vary: Accept-Encoding"


def _joined(lines: list[str]) -> bytes:
    head = "\r\n".join([*lines, "", ""]).encode("latin-1")
    headers = len(lines) - 1
    if headers > HEADERS_MOST or len(head) > HEAD_BYTES_MOST:
        raise NoItem(f"{headers} headers of {len(head)} bytes")
    return head
