"""PAGECACHE_FILL = "django": a page that was rendered while its purge was made shows the old data, and is not stored.

The log is read before the view, and again when the page is stored. With PAGECACHE_PURGE_ZONE, the page also notes the
log as it was before the view, and its tags, so that nginx compares it with later purges as pages of its own.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from django.http import HttpRequest

from pagecache import client, conf, told
from pagecache.address import PageAddress
from pagecache.key import KeyPattern
from pagecache.looked_up import pattern_of
from pagecache.purges import log
from pagecache.purges.target import hash_of, is_named
from pagecache.purges.zone import log_key, zone_of
from pagecache.servers import servers_of_logs, timeout_of
from pagecache.tags import COUNT_MOST

RETRY_SECONDS = 1.0
"""How long a server is left alone after it did not answer."""

UNKNOWN = "a log of purges that cannot be read"

_failed: dict[str, float] = {}
"""Servers that did not answer, each with the time."""


@dataclass(frozen=True)
class Render:
    """The logs before the view was called."""

    zone: str
    value: bytes
    """The key of the page, before it is escaped or shortened."""
    logs: dict[str, log.Log | None]
    """By server: of that of the page, or of all if the client library does not say which one it is."""

    def refusal(self, tags: Iterable[str]) -> str | None:
        """The reason why the page must not be stored: a purge was made that may name it."""
        hashes = [hash_of(self.zone, tag) for tag in tags]
        for server, older in self.logs.items():
            try:
                newer = _read(server, self.zone)
            except Exception:
                return UNKNOWN
            if newer == older:
                continue
            lines = _added(older, newer)
            if lines is None or any(is_named(line, self.value, hashes) for line in lines):
                return "a purge that was made while it was rendered"
        return None

    def note(self, tags: list[str]) -> str:
        """The members of X-Pagecache by which nginx compares the page with the log."""
        logs = list(self.logs.values())
        if not conf.notes_purges() or len(logs) != 1 or logs[0] is None:
            return ""
        hashes = "*" if len(tags) > COUNT_MOST else ",".join(hash_of(self.zone, tag).decode() for tag in tags)
        return f"; purges={logs[0].mark.decode()}" + (f"; tags={hashes}" if hashes else "")


def begin(request: HttpRequest) -> None:
    """Reads the logs, if the page may be stored. Raises errors of the servers and of the client library."""
    if not told.is_miss(request.META) or conf.is_filled_by_nginx():
        return
    pattern = pattern_of(request)
    if pattern is None:
        return
    request.pagecache_render = _begin(request, pattern)  # type: ignore[attr-defined]


def render_of(request: HttpRequest) -> Render | None:
    """None if the logs could not be read."""
    found: Render | None = getattr(request, "pagecache_render", None)
    return found


def _begin(request: HttpRequest, pattern: KeyPattern) -> Render:
    page = PageAddress.of_request(request)
    servers = servers_of_logs(conf.cache_alias())
    zone = zone_of(pattern)
    server = client.server_of(conf.cache(), servers, pattern.key(page))
    logs = {place: _read(place, zone) for place in ([server] if server else servers)}
    return Render(zone, pattern.value(page), logs)


def _read(server: str, zone: str) -> log.Log | None:
    if time.monotonic() - _failed.get(server, float("-inf")) < RETRY_SECONDS:
        raise ConnectionError(f"{server} did not answer before")
    try:
        return log.read(server, log_key(zone), timeout_of(conf.cache_alias()), creates=conf.notes_purges())
    except OSError:
        _failed[server] = time.monotonic()
        raise


def _added(older: log.Log | None, newer: log.Log | None) -> list[bytes] | None:
    """The lines that were added in between; None if they are not known."""
    if newer is None:
        return None
    if older is None:
        return newer.lines.split(b"\n") if newer.base == 0 else None
    return newer.since(older)
