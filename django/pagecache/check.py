"""Checks that nginx and Django have the same key for a page, on the same memcached; if not, finds the reason.

It stores probes: pages of its own, with keys that no page has, for a few seconds, through the cache's own client. Then
it requests them from nginx. If one is not served, it requests it again and watches in memcached which keys nginx looks
up: this needs no knowledge of nginx's configuration. When all probes were served, `check_site.py` continues with pages
that Django renders.
"""

from __future__ import annotations

import http.client
import re
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from urllib.parse import unquote

from django.conf import settings
from django.core.cache import caches
from django.http import HttpResponse

from pagecache import client, conf
from pagecache.address import PageAddress
from pagecache.check_site import SiteCheck
from pagecache.finding import Finding
from pagecache.item import TYPE_OF_PAGES, Item, item_of
from pagecache.key import KEY_MAX, KeyPattern, NoKey
from pagecache.servers import Found, Lookup, NotMemcached, find, servers_of, watch
from pagecache.visit import Answer, visit

PROBE_SECONDS = 20
"""The lifetime of a probe, in case it is not deleted, in seconds."""

PROBES_OF_SEVERAL_SERVERS = 8
"""With another rule than the client's, nginx still chooses the right one of n servers for one key in n."""

SERVABLE_FLAGS = (0, 16)
"""nginx's default of pagecache_flags: bytes and text."""

OF_AN_ITEM = ("flags", "format", "size")
"""nginx's reasons for not serving an item that it has found."""


@dataclass(frozen=True)
class Probe:
    """A page of this check: its address and its body."""

    url: str
    token: str
    key: str
    item: Item
    body: bytes


class Check:
    """One check of the pages below a URL; `pattern`, `host` and `cookies` are those of nginx's location."""

    def __init__(self, url: str, pattern: KeyPattern, host: str | None = None, cookies: dict[str, str] | None = None):
        self.url = url.partition("#")[0].partition("?")[0].rstrip("/")
        self.page = url
        self.pattern = pattern
        self.host = host
        self.cookies = cookies or {}
        self.alias = conf.cache_alias()
        self.servers = servers_of(self.alias)

    def findings(self) -> Iterator[Finding]:
        """The findings, up to and including the first problem."""
        try:
            for word, name in self._names():
                finding = self._of_probe(word, name)
                yield finding
                if not finding.is_right:
                    return
            for finding in self._of_page():
                yield finding
                if not finding.is_right:
                    return
            yield from SiteCheck(self.url, self.pattern, self.host, self.cookies).findings()
        except NoKey as error:
            yield Finding("key", f"{self.page} has no key: {error}")
        except (OSError, NotMemcached) as error:
            yield Finding("memcached", f"a server of LOCATION does not answer: {error}")

    def _names(self) -> Iterator[tuple[str, str]]:
        """The names of the checks, each with the end of a URL that tests it."""
        for _ in range(PROBES_OF_SEVERAL_SERVERS if len(self.servers) > 1 else 1):
            yield "server", ""
        yield "escaping", "/%20%25%C3%A4"
        if self.pattern.has_query:
            yield "query", "?a=%20b"
        yield "long key", "/" + "a" * 250

    def _of_probe(self, word: str, name: str) -> Finding:
        probe = self._probe(name)
        backend = caches[self.alias]
        try:
            client.put(backend, probe.key, probe.item.value, PROBE_SECONDS, probe.item.flags)
        except Exception as error:  # every client library has its own exceptions
            return Finding("memcached", f"Django's client cannot store a page: {type(error).__name__}: {error}")
        try:
            return self._of_stored(word, probe)
        finally:
            with suppress(Exception):  # the item expires by itself
                backend.delete(probe.key)

    def _probe(self, name: str) -> Probe:
        token = secrets.token_hex(8)
        url = f"{self.url}/pagecache-check-{token}{name}"
        # Long enough to be compressed, if pages are compressed.
        body = f"a probe of pagecache, {token}\n".encode() * 20
        item = item_of(HttpResponse(body, content_type=conf.content_type()), PROBE_SECONDS)
        return Probe(url, token, self._key(url), item, body)

    def _key(self, url: str) -> str:
        return self.pattern.key(PageAddress.of_url(url, self.host, None, self.cookies))

    def _of_stored(self, word: str, probe: Probe) -> Finding:
        found = find(self.servers, probe.key)
        if len(found) != 1 or (found[0].value, found[0].flags) != (probe.item.value, probe.item.flags):
            return _of_client(probe, found)
        try:
            answer = self._visit(probe)
            if answer.body == probe.body:
                return Finding(word, f'"{probe.key}" on {found[0].server}', is_right=True)
            finding = self._why_not(probe, found[0].server)
            if word == "long key" and finding.word in ("bypass", "server"):
                return Finding(word, "nginx looks up none (pagecache_long_keys bypass)", is_right=True)
            return finding
        except (OSError, http.client.HTTPException) as error:
            return Finding("nginx", f"no answer to {probe.url}: {type(error).__name__}: {error}")

    def _visit(self, probe: Probe) -> Answer:
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        # A page that Django stores in the meantime would replace the probe, and would be mistaken for a lookup by
        # nginx: memcached logs both as item_get.
        return visit(probe.url, self.host, cookies, stores=False)

    def _why_not(self, probe: Probe, server: str) -> Finding:
        """Requests the probe again, and examines nginx's answer and lookups."""
        lookup = None
        with ExitStack() as stack:
            try:
                watched = stack.enter_context(watch(self.servers))
            except (OSError, NotMemcached):  # a proxy, or an old memcached
                watched = None
            answer = self._visit(probe)
            # If nginx reports that it made no lookup, there is nothing to wait for.
            if watched is not None and answer.cache not in ("BYPASS", "ERROR"):
                lookup = watched.lookup_of(probe.token, probe.key)
        if answer.cache == "ERROR" and answer.reason not in OF_AN_ITEM:
            return _of_no_lookup(answer, self.servers, watched is not None)
        if lookup is None and answer.key and answer.server in self.servers:
            lookup = Lookup(answer.server, answer.key, answer.reason in OF_AN_ITEM)
        if lookup is None and answer.key and answer.key != probe.key:
            return self._of_keys(probe, answer.key)
        if lookup is None:
            return _of_no_lookup(answer, self.servers, watched is not None)
        if lookup.key != probe.key:
            return self._of_keys(probe, lookup.key)
        if lookup.server != server:
            return Finding(
                "distribution",
                f'"{probe.key}" is on {server} for Django, and on {lookup.server} for nginx: pagecache_distribution, '
                "the order and the names of the servers must be those of LOCATION and of its client",
            )
        if lookup.found:
            return _of_refused_item(answer, probe)
        return Finding("memcached", f'"{probe.key}" was stored on {server}, and is gone: memcached may be full')

    def _of_keys(self, probe: Probe, of_nginx: str) -> Finding:
        both = f'nginx has "{of_nginx}", Django "{probe.key}"'
        mine, other = probe.key.partition(probe.token), of_nginx.partition(probe.token)
        if mine[1:] == other[1:] and mine[1] and _plain(mine[0]) != _plain(other[0]):
            return Finding("prefix", f"{both}: pagecache_key and PAGECACHE_KEY begin differently")
        if _plain(probe.key) == _plain(of_nginx):
            return Finding(
                "escaping", f"{both}: one has $uri, which is decoded, where the other has $request_uri, which is not"
            )
        return Finding("key", f"{both}: pagecache_key and PAGECACHE_KEY must be the same text")

    def _of_page(self) -> Iterator[Finding]:
        """Examines the item for the URL itself, which other code may have stored."""
        key = self._key(self.page)
        for found in find(self.servers, key):
            if found.flags >> 24 == TYPE_OF_PAGES or found.flags & ~conf.gzip_flag() in SERVABLE_FLAGS:
                yield Finding("page", f'"{key}" is stored, with the flags {found.flags}', is_right=True)
            else:
                yield Finding("flags", f'"{key}" has the flags {found.flags}: {_meaning(found)}')
        for alias in settings.CACHES:
            prefixed = caches[alias].make_key(key)
            is_one = len(prefixed.encode()) <= KEY_MAX and not re.search(r"[\x00-\x20\x7f]", prefixed)
            if prefixed != key and is_one and find(self.servers, prefixed):
                yield Finding(
                    "prefix",
                    f'"{prefixed}" is stored, which nginx never asks for: CACHES["{alias}"] needs '
                    'KEY_FUNCTION = "pagecache.key.raw_key" to write pages',
                )


def _of_client(probe: Probe, found: list[Found]) -> Finding:
    if not found:
        return Finding("prefix", f'Django\'s client has stored a page, but under another key than "{probe.key}"')
    if len(found) > 1:
        servers = " and ".join(item.server for item in found)
        return Finding("distribution", f'"{probe.key}" lies on {servers}: LOCATION names one memcached twice')
    if found[0].value == probe.item.value:
        text = f"Django's client writes pages with the flags {found[0].flags}, not {probe.item.flags}"
        return Finding("flags", text)
    return Finding("format", f"Django's client does not store a page as it is: {_meaning(found[0])}")


def _of_no_lookup(answer: Answer, servers: list[str], was_watched: bool) -> Finding:
    if answer.cache == "BYPASS":
        return Finding("bypass", f"nginx does not look the page up: {answer.reason or 'pagecache_bypass'}")
    if answer.cache == "ERROR":
        at = f" {answer.server}" if answer.server else ""
        return Finding("server", f"nginx gets no page from its memcached{at}: {answer.reason}")
    if not answer.cache and 300 <= answer.status < 400:
        return Finding("bypass", f"nginx answers {answer.status}: check the URL that it redirects to")
    if answer.server:
        return Finding("server", f"nginx asks {answer.server}; LOCATION is {', '.join(servers)}")
    if was_watched:
        return Finding(
            "server",
            f"nginx asked none of {', '.join(servers)}, which is LOCATION: another server in pagecache_pass, "
            "a bypass, or a location without pagecache_pass",
        )
    return Finding("server", "nginx has not served a stored page; with the X-Cache headers it would say why")


def _of_refused_item(answer: Answer, probe: Probe) -> Finding:
    text = f'nginx found "{probe.key}" and took it for no page'
    flags = f"its flags are {probe.item.flags}, see pagecache_flags and pagecache_gzip_flag"
    form = 'pagecache_format must be "auto" for the PAGECACHE_FORMATs "head" and "body", and "http" for "http"'
    if answer.reason == "flags":
        return Finding("flags", f"{text}: {flags}")
    if answer.reason == "format":
        return Finding("format", f"{text}: {form}")
    if answer.reason:
        return Finding("format", f"{text}: {answer.reason}")
    return Finding("flags or format", f"{text}: {flags}; or {form}")


def _meaning(found: Found) -> str:
    if found.value.startswith(b"\x80"):
        return "a pickle, such as a template's SafeString becomes; nginx serves no pickles"
    return "nginx serves items with the flags 0 and 16"


def _plain(key: str) -> str:
    """A key with its percent-encoding decoded repeatedly, until nothing is encoded."""
    while unquote(key) != key:
        key = unquote(key)
    return key
