"""The log of one server. It is read and written in plain text, past the client of the cache, which chooses one server
for each key, and which would take the random flags of a log for those of a pickle or of a compressed value."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass

from pagecache.purges.target import ALL, LINE
from pagecache.servers import Link, NotMemcached

ATTEMPTS = 4
"""How often a log is appended to or created, at most: others may create it, and it may be evicted, at any time."""

LENGTH_MOST = 64 * 1024
"""A longer log is begun again, in bytes. nginx rotates its logs long before that; this is for a site without."""

HARD_SECONDS = 30 * 24 * 3600
"""For how long a hard purge is repeated: no page is kept for longer (core/src/purge/carried.rs)."""

CARRIED_MOST = 1536
"""The most bytes of hard purges in a header (core/src/purge/carried.rs)."""

TYPE_OF_LOGS = 0x5B
"""The top byte of the flags of a log; the others are bits of its epoch (core/src/purge/epoch.rs)."""

_HEADER = re.compile(rb"E([0-9a-fA-F]{16}) (\d+)((?: \d+ [^ \n]+)*)\n")


@dataclass(frozen=True)
class Log:
    epoch: bytes
    base: int
    """The number of the first byte of the lines."""
    carried: bytes
    """The hard purges in the header: times and targets."""
    lines: bytes

    @classmethod
    def parse(cls, value: bytes) -> Log | None:
        """None if it is no log."""
        header = _HEADER.match(value)
        return cls(header[1].lower(), int(header[2]), header[3], value[header.end() :]) if header else None

    @property
    def end(self) -> int:
        """The number behind the last byte."""
        return self.base + len(self.lines)

    @property
    def mark(self) -> bytes:
        """The note of a page that is rendered from now on (core/src/purge/mark.rs)."""
        return b"%s.%d" % (self.epoch, self.end)

    def since(self, older: Log) -> list[bytes] | None:
        """The lines that were added; None if they are not known."""
        if older.epoch != self.epoch or not self.base <= older.end <= self.end:
            return None
        return self.lines[older.end - self.base :].split(b"\n")


@dataclass(frozen=True)
class Version:
    """Names a version of an item."""

    flags: bytes
    size: bytes
    cas: bytes


class Refused(Exception):
    """The server did not carry out a command."""


def append(server: str, key: str, lines: bytes, timeout: float) -> None:
    """Adds purges to the log, or creates it; `timeout` in seconds. Raises OSError, NotMemcached or Refused: then it is unknown whether they
    were added; to add them again does no harm."""
    with Link(server, timeout) as link:
        for attempt in range(ATTEMPTS):
            # The first line feed ends a line that another writer has not ended.
            if _write(link, b"append", key, b"\n" + lines):
                if _length(link, key) > LENGTH_MOST:
                    _begin_again(link, key)
                return
            if _create(link, key, lines):
                return
            # memcached says the same of an item that would be larger than its limit.
            if attempt > 0 and _begin_again(link, key, lines):
                return
        raise Refused(f"{server} has not taken the purges")


_known: dict[tuple[str, str], tuple[Version, Log]] = {}
"""The logs that this process has read last, by server and key."""

_without_meta: set[str] = set()
"""Servers that know no meta commands, such as twemproxy."""


def read(server: str, key: str, timeout: float, creates: bool) -> Log | None:
    """The log; None if there is none, unless it `creates` one. If it has not changed since this process has read it, one
    command without a body is sent. Raises OSError, NotMemcached or Refused."""
    known = _known.get((server, key))
    if known is not None and server not in _without_meta and _version(server, key, timeout) == known[0]:
        return known[1]
    with Link(server, timeout) as link:
        for _ in range(ATTEMPTS):
            value, version = _get(link, key)
            log = None if value is None else Log.parse(value)
            if log is not None:
                if version.cas != b"0":  # memcached -C
                    _known[server, key] = version, log
                return log
            if value is None and not creates:
                return None
            if value is None:
                _create(link, key)
            else:  # no log: readers replace it as one that was evicted
                _replace(link, key, b"", version.cas)
        raise Refused(f"{server} has no log of purges")


def _version(server: str, key: str, timeout: float) -> Version | None:
    """None if there is no log, or if the server knows no meta commands."""
    try:
        with Link(server, timeout) as link:
            link.send(b"mg %s f s c" % key.encode())
            reply = link.line()
    except ConnectionError:
        reply = b""
    if reply == b"EN":
        return None
    found = re.fullmatch(rb"HD f(\d+) s(\d+) c(\d+)", reply)
    if found is None:
        _without_meta.add(server)
        return None
    return Version(*found.groups())


def _create(link: Link, key: str, lines: bytes = b"") -> bool:
    epoch = secrets.randbits(64)
    return _write(link, b"add", key, b"E%016x 0\n" % epoch + lines, _flags(epoch))


def _begin_again(link: Link, key: str, lines: bytes = b"") -> bool:
    """Replaces a log by one of a new epoch, with these lines: older pages are stale. Its hard purges are repeated."""
    value, version = _get(link, key)
    log = None if value is None else Log.parse(value)
    return value is not None and _replace(link, key, lines, version.cas, _carried(log) if log else b"")


def _replace(link: Link, key: str, lines: bytes, cas: bytes, carried: bytes = b"") -> bool:
    epoch = secrets.randbits(64)
    return _write(link, b"cas", key, b"E%016x 0%s\n" % (epoch, carried) + lines, _flags(epoch), cas)


def _carried(log: Log) -> bytes:
    """The hard purges of the last 30 days, for a header. If they are too many, one of all pages stands for them."""
    words = log.carried.split()
    last: dict[bytes, int] = {}
    pairs: Iterable[tuple[bytes, bytes]] = zip(words[1::2], words[::2])
    hard = [(line[3], line[2]) for line in map(LINE.fullmatch, log.lines.split(b"\n")) if line and line[1] == b"h"]
    for target, said in (*pairs, *hard):
        last[target] = max(int(said), last.get(target, 0))
    now = int(time.time())
    young = {target: min(said, now) for target, said in last.items() if said + HARD_SECONDS >= now}
    text = b"".join(b" %d %s" % (said, target) for target, said in young.items())
    return text if len(text) <= CARRIED_MOST else b" %d %s" % (max(young.values()), ALL)


def _flags(epoch: int) -> int:
    return TYPE_OF_LOGS << 24 | (epoch & 0xFFFFFF)


def _write(link: Link, command: bytes, key: str, value: bytes, flags: int = 0, cas: bytes = b"") -> bool:
    """Was the value stored? Raises OSError or Refused."""
    end = b" " + cas if cas else b""
    link.send(b"%s %s %d 0 %d%s\r\n%s" % (command, key.encode(), flags, len(value), end, value))
    reply = link.line()
    if reply in (b"STORED", b"NOT_STORED", b"EXISTS", b"NOT_FOUND"):
        return reply == b"STORED"
    raise Refused(f'{link.server} answered "{reply.decode("latin-1")}"')


def _get(link: Link, key: str) -> tuple[bytes | None, Version]:
    """The value, None if there is no item, and its version."""
    value, version = None, Version(b"", b"", b"")
    link.send(b"gets %s" % key.encode())
    while (head := link.line().split()) != [b"END"]:
        if head[:1] != [b"VALUE"] or len(head) != 5:
            raise NotMemcached(f'{link.server} answered "{b" ".join(head).decode("latin-1")}"')
        value, version = link.read(int(head[3]) + 2)[:-2], Version(*head[2:])
    return value, version


def _length(link: Link, key: str) -> int:
    """The length of the value, 0 if it is not known: servers without meta commands close the connection, or answer
    with an error."""
    try:
        link.send(b"mg %s s" % key.encode())
        found = re.fullmatch(rb"HD s(\d+)", link.line())
    except ConnectionError:
        return 0
    return int(found[1]) if found else 0
