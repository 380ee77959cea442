"""Requests a page from the site like a visitor without cookies, and reads nginx's report about the cache.

nginx sends it in headers, if its configuration has these lines in both locations:

    add_header X-Cache        $pagecache_status always;
    add_header X-Cache-Reason $pagecache_reason always;
    add_header X-Cache-Key    $pagecache_key    always;
    add_header X-Cache-Server $pagecache_server always;
"""

from __future__ import annotations

import http.client
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from django.utils.encoding import iri_to_uri

from pagecache.address import ascii_host

TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    milliseconds: float
    cache: str
    """X-Cache: HIT, MISS, EXPIRED, BYPASS, ERROR and others, or "" if nginx does not send it."""
    reason: str
    key: str
    server: str
    headers: http.client.HTTPMessage


def visit(url: str, host: str | None = None, cookies: str = "", stores: bool = True) -> Answer:
    """Fetches a URL without following redirects. `host` is the Host header, if it is not that of the URL; unless
    `stores`, Django is told not to store the page.

    Raises OSError, http.client.HTTPException, or ValueError for an invalid URL.
    """
    parts = urlsplit(url)
    target = iri_to_uri((parts.path or "/") + (f"?{parts.query}" if parts.query else ""))
    server = ascii_host(parts.netloc.rpartition("@")[2])
    secure = parts.scheme == "https"
    connection = (http.client.HTTPSConnection if secure else http.client.HTTPConnection)(
        server, timeout=TIMEOUT_SECONDS
    )
    headers = {"Host": ascii_host(host) if host else server, "User-Agent": "django-nginx-pagecache"}
    if cookies:
        headers["Cookie"] = cookies
    if not stores:
        headers["Cache-Control"] = "no-store"
    started = time.perf_counter()
    try:
        connection.request("GET", target, headers=headers)
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    said = response.headers
    return Answer(
        response.status,
        body,
        (time.perf_counter() - started) * 1000,
        said.get("X-Cache", ""),
        said.get("X-Cache-Reason", ""),
        # http.client reads headers as latin-1; a key is UTF-8.
        said.get("X-Cache-Key", "").encode("latin-1").decode(errors="replace"),
        said.get("X-Cache-Server", ""),
        said,
    )
