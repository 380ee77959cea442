"""The cells of the matrix, their names, and the selection of a run."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass

KB = 1000
SIZES = {"100B": 100, "10KB": 10 * KB, "50KB": 50 * KB, "100KB": 100 * KB, "500KB": 500 * KB}
VALUES = ["100B", "10KB", "100KB", "500KB"]
LARGE = SIZES["100KB"]  # from here on copying takes most of the time
MANY_KEYS = 100_000

# Shares of the stock module's capacity.
OPEN_LOADS = (30, 60, 90)
OPEN_CONNECTIONS = 64


@dataclass(frozen=True)
class Cell:
    """One row of the matrix. `size`: bytes of the page. `keys`: the number of pages, which are requested in
    turn. `work`:

    plain   a page that another program has stored, or a miss
    stored  a page that nginx has stored, beside a plain one
    gzip    a page of HTML, for clients that accept gzip; nginx compresses what is not compressed
    h2      the same, over TLS and HTTP/2
    fill    each request for another page, which the application renders and nginx stores
    stampede  all connections request a page at the same moment, which the application takes a while to render
    """

    name: str
    kind: str  # "closed", "open", "stampede" or "memory"
    size: int = 100
    connections: int = 64
    keys: int = 1
    hit: bool = True
    workers: int = 1
    unix: bool = False  # memcached listens on a unix socket
    percent: int = 0  # open: of the stock module's capacity
    waiting: bool = False  # memory: of waiting requests, not of idle connections
    work: str = "plain"
    state: str = ""  # stampede: of the page, one of STATES
    fleet: int = 1  # stampede: the number of nginx

    @property
    def plain(self) -> bool:
        """A hit on one page over TCP: every contender can be measured at it."""
        return self.hit and self.keys == 1 and not self.unix

    @property
    def accepts_gzip(self) -> bool:
        return self.work in ("gzip", "h2")

    @property
    def is_html(self) -> bool:
        """The page has text that compresses as that of a site. The other pages repeat one sentence."""
        return self.accepts_gzip or self.work in ("fill", "stampede")


def hits(sizes: list[str], connections: list[int]) -> list[Cell]:
    return [
        Cell(f"hit/{size}/c{count}", "closed", SIZES[size], count)
        for size in sizes
        for count in connections
    ]


def misses(connections: list[int]) -> list[Cell]:
    return [Cell(f"miss/c{count}", "closed", connections=count, hit=False) for count in connections]


def distinct(keys: list[int], connections: list[int], size: str = "100B") -> list[Cell]:
    kind = "" if size == "100B" else f"{size}/"
    return [
        Cell(f"keys/{many}/{kind}c{count}", "closed", SIZES[size], count, keys=many)
        for many in keys
        for count in connections
    ]


def over_unix(sizes: list[str], connections: list[int]) -> list[Cell]:
    return [
        Cell(f"unix/{size}/c{count}", "closed", SIZES[size], count, unix=True)
        for size in sizes
        for count in connections
    ]


def two_workers(sizes: list[str], connections: list[int]) -> list[Cell]:
    return [
        Cell(f"workers2/{size}/c{count}", "closed", SIZES[size], count, workers=2)
        for size in sizes
        for count in connections
    ]


def open_loop(sizes: list[str]) -> list[Cell]:
    return [
        Cell(f"open/{size}/{percent}%", "open", SIZES[size], OPEN_CONNECTIONS, percent=percent)
        for size in sizes
        for percent in OPEN_LOADS
    ]


def of_work(work: str, sizes: list[str], connections: int = 64) -> list[Cell]:
    return [
        Cell(f"{work}/{size}/c{connections}", "closed", SIZES[size], connections, work=work)
        for size in sizes
    ]


# What a site does whose pages nginx stores.
SITE = (
    of_work("stored", ["100B", "10KB"])
    + of_work("gzip", ["50KB"])
    + of_work("h2", ["50KB"])
    + of_work("fill", ["10KB"])
)

# A page that is in no cache, or was in all, and has expired; `stale`: and may be served while it is renewed.
STATES = ("cold", "expired", "stale")
STAMPEDE = [
    Cell(
        f"stampede/{state}/n{fleet}", "stampede", SIZES["10KB"], 512,
        workers=2, work="stampede", state=state, fleet=fleet,
    )
    for state in STATES
    for fleet in (1, 3)
]
MEMORY = [Cell("memory/idle", "memory"), Cell("memory/waiting", "memory", waiting=True)]

QUICK = hits(["100B", "10KB", "100KB"], [1, 64])
DEFAULT = (
    hits(VALUES, [1, 4, 64, 512])
    + misses([1, 4, 64, 512])
    + distinct([MANY_KEYS], [64, 512])
    + distinct([1000], [64, 512], "100KB")
    + distinct([200], [64, 512], "500KB")
    + SITE
    + STAMPEDE
)
FULL = (
    DEFAULT
    + hits(["100B", "10KB"], [4096])
    + distinct([10, 1000], [64])
    + over_unix(["100B", "10KB", "100KB"], [1, 64, 512])
    + two_workers(["100B", "10KB", "100KB"], [64, 512])
    + open_loop(["100B", "10KB", "100KB"])
    + MEMORY
)


def select(cells: list[Cell], patterns: list[str]) -> list[Cell]:
    """The cells whose names match one of the patterns, such as "hit/*/c64"; without a pattern, all."""
    if not patterns:
        return cells
    return [cell for cell in cells if any(fnmatch.fnmatchcase(cell.name, one) for one in patterns)]
