"""The memcached servers of a cache, each queried directly in plain text: which server has an item, and which keys are
looked up. Pages are written only through the cache's own client, which chooses the server.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from django.conf import settings
from django.core.cache import caches

from pagecache import client

TIMEOUT_SECONDS = 2.0

DEFAULT_PORT = 11211


class NotMemcached(Exception):
    """A server sent a reply that is not memcached's."""


@dataclass(frozen=True)
class Found:
    """An item, and its metadata from memcached."""

    server: str
    flags: int
    value: bytes
    seconds_left: int | None
    """None: it never expires, or the server does not report it."""


@dataclass(frozen=True)
class Lookup:
    """A key that a client has looked up on a server."""

    server: str
    key: str
    found: bool


def servers_of(alias: str) -> list[str]:
    """The servers of one of CACHES, as LOCATION names them."""
    location = settings.CACHES[alias].get("LOCATION", "")
    servers = re.split("[;,]", location) if isinstance(location, str) else location
    return [server for server in servers if server]


def servers_of_logs(alias: str) -> list[str]:
    """The servers with a log of purges: none if the cache is not memcached."""
    return [] if client.place_unknown_to_nginx(caches[alias]) else servers_of(alias)


def timeout_of(alias: str) -> float:
    """How long to wait for a server where visitors and editors wait too, in seconds."""
    return client.timeout_of(settings.CACHES[alias].get("OPTIONS") or {}, TIMEOUT_SECONDS)


def find(servers: list[str], key: str) -> list[Found]:
    """The items with this key on all servers. Raises OSError or NotMemcached."""
    return [found for server in servers for found in _find_at(server, key.encode())]


def _find_at(server: str, key: bytes) -> Iterator[Found]:
    with Link(server) as link:
        link.send(b"get %s" % key)
        head = link.line().split()
        if head == [b"END"]:
            return
        if head[:1] != [b"VALUE"]:
            raise NotMemcached(f'{server} answered "{b" ".join(head).decode("latin-1")}"')
        value = link.read(int(head[3]) + len(b"\r\nEND\r\n")).removesuffix(b"\r\nEND\r\n")
        yield Found(server, int(head[2]), value, _seconds_left(link, key))


def _seconds_left(link: Link, key: bytes) -> int | None:
    """Sends a meta command, at which twemproxy would close the connection."""
    try:
        link.send(b"mg %s t" % key)
        left = re.fullmatch(rb"HD t(\d+)", link.line())
    except OSError:
        return None
    return int(left[1]) if left else None


@contextmanager
def watch(servers: list[str]) -> Iterator[Watch]:
    """Raises OSError or NotMemcached if a server cannot be watched."""
    with ExitStack() as stack:
        links = [stack.enter_context(Link(server)) for server in servers]
        for link in links:
            link.send(b"watch fetchers")
            if link.line() != b"OK":
                raise NotMemcached(f"{link.server} cannot be watched")
        yield Watch(links)


class Watch:
    """Lookups at some servers as they happen, by memcached's `watch fetchers`:

    ts=1700000000.5 gid=2 type=item_get key=/a%2520b status=not_found clsid=0 cfd=25 size=0
    """

    LOG_SECONDS = 1.5
    """memcached's logger checks at least once a second for something to write (logger.c)."""

    LOOK_EVERY_SECONDS = 0.02

    def __init__(self, links: list[Link]) -> None:
        self._links = links

    def lookup_of(self, *marks: str) -> Lookup | None:
        """The first lookup whose key contains one of the marks; None if there is none within LOG_SECONDS."""
        deadline = time.monotonic() + self.LOG_SECONDS
        while time.monotonic() < deadline:
            for link in self._links:
                for line in link.lines_within(self.LOOK_EVERY_SECONDS):
                    seen = re.search(rb"type=item_get key=(\S+) status=(\S+)", line)
                    key = unquote_to_bytes(seen[1]).decode(errors="replace") if seen else ""
                    if seen and any(mark in key for mark in marks):
                        return Lookup(link.server, key, seen[2] == b"found")
        return None


class Link:
    """A connection to one server, named as in LOCATION: host[:port], [v6]:port, unix:/path or /path."""

    def __init__(self, server: str, timeout: float = TIMEOUT_SECONDS) -> None:
        self.server = server
        self._timeout = timeout
        self._received = b""
        path = server.removeprefix("unix:")
        if path.startswith("/"):
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.settimeout(timeout)
            try:
                self._socket.connect(path)
            except OSError:
                self._socket.close()
                raise
        else:
            host, port = re.fullmatch(r"(\[.*\]|[^:]*)(?::(\d+))?.*", server).group(1, 2)  # type: ignore[union-attr]
            address = (host.strip("[]"), int(port or DEFAULT_PORT))
            self._socket = socket.create_connection(address, timeout)

    def __enter__(self) -> Link:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, command: bytes) -> None:
        self._socket.sendall(command + b"\r\n")

    def line(self) -> bytes:
        """The next line, without its end."""
        while b"\r\n" not in self._received:
            self._receive()
        line, _, self._received = self._received.partition(b"\r\n")
        return line

    def read(self, length: int) -> bytes:
        while len(self._received) < length:
            self._receive()
        taken, self._received = self._received[:length], self._received[length:]
        return taken

    def lines_within(self, seconds: float) -> list[bytes]:
        """The complete lines that were received, or are received within this time. Lines of the log end with a bare
        LF."""
        self._socket.settimeout(seconds)
        try:
            self._receive()
        except socket.timeout:
            return []
        finally:
            self._socket.settimeout(self._timeout)
        *lines, self._received = self._received.split(b"\n")
        return lines

    def _receive(self) -> None:
        received = self._socket.recv(65536)
        if not received:
            raise ConnectionResetError(f"{self.server} has closed the connection")
        self._received += received
