"""The targets, as multiples of the tuned stock module, or of another contender, in the same run, and whether
they were reached."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from bench.cells import Cell
from bench.figures import Figure
from bench.results import Results

OURS = "ours"
STOCK = "stock"
PROXY_CACHE = "proxy-cache"
AS_GZIP = "ours-gzip"
STORED = "ours-stored"
STORED_AS_GZIP = "ours-stored-gzip"


@dataclass(frozen=True)
class Bar:
    """`cells` match names. `least` or `most`: the limit of the ratio, one of them. Without `base`, the limit is that
    of the quantity itself."""

    work: str
    cells: tuple[str, ...]
    quantity: str
    least: float | None = None
    most: float | None = None
    base: str = STOCK
    contender: str = OURS

    @property
    def bound(self) -> str:
        return f"≥ {self.least:g}" if self.least is not None else f"≤ {self.most:g}"

    def holds(self, ratio: float) -> bool:
        if self.least is not None:
            return ratio >= self.least
        return self.most is None or ratio <= self.most


@dataclass(frozen=True)
class Verdict:
    bar: Bar
    cell: str
    ratio: Figure | None
    word: str  # "reached", "missed", or one of those with a remark


FEW = ("hit/*/c1", "hit/*/c4")
LARGE = ("hit/100KB/c64", "hit/100KB/c512", "hit/500KB/c64", "hit/500KB/c512")
MISSES = ("miss/c64", "miss/c512")
WAITED_FOR = ("stampede/cold/*", "stampede/expired/*")
GZIP, H2, FILL = ("gzip/*",), ("h2/*",), ("fill/*",)

BARS = [
    Bar("100 B hit, 64 connections", ("hit/100B/c64",), "rps", least=1.8),
    Bar("100 B hit, 64 connections", ("hit/100B/c64",), "nginx_us", most=0.60),
    Bar("100 B hit, 64 connections", ("hit/100B/c64",), "nginx_us", most=1.25, base="return200"),
    Bar("100 B hit, 64 connections", ("hit/100B/c64",), "memcached_us", most=0.30),
    Bar("100 B hit, 512 connections", ("hit/100B/c512",), "rps", least=2.1),
    Bar("100 B hit, 512 connections", ("hit/100B/c512",), "nginx_us", most=0.50),
    Bar("10 KB hit", ("hit/10KB/c64", "hit/10KB/c512"), "rps", least=1.5),
    Bar("10 KB hit", ("hit/10KB/c64", "hit/10KB/c512"), "nginx_us", most=0.68),
    Bar("100 KB and 500 KB hit", LARGE, "rps", least=1.0),
    Bar("100 KB and 500 KB hit", LARGE, "nginx_us", most=1.0),
    Bar("1 and 4 connections", FEW, "rps", least=0.97),
    Bar("1 and 4 connections", FEW, "nginx_us", most=1.03),
    Bar("miss", MISSES, "rps", least=1.6),
    Bar("miss", MISSES, "nginx_us", most=0.62),
    *(
        bar
        for ours in (AS_GZIP, STORED_AS_GZIP)
        for bar in (
            Bar("50 KB, gzip", GZIP, "rps", least=15, contender=ours),
            Bar("50 KB, gzip", GZIP, "rps", least=15, base=PROXY_CACHE, contender=ours),
            Bar("50 KB, gzip", GZIP, "nginx_us", most=0.07, contender=ours),
            Bar("50 KB, gzip", GZIP, "nginx_us", most=0.07, base=PROXY_CACHE, contender=ours),
            Bar("50 KB, gzip, TLS and HTTP/2", H2, "rps", least=4, base=PROXY_CACHE, contender=ours),
            Bar("50 KB, gzip, TLS and HTTP/2", H2, "nginx_us", most=0.3, base=PROXY_CACHE, contender=ours),
        )
    ),
    Bar("hit of a stored page", ("stored/*",), "rps", least=2.4, contender=STORED),
    Bar("hit of a stored page", ("stored/*",), "nginx_us", most=1.05, base=OURS, contender=STORED),
    Bar("hit of a stored page", GZIP, "nginx_us", most=1.05, base=AS_GZIP, contender=STORED_AS_GZIP),
    Bar("miss that is stored", FILL, "rps", least=1.0, base=PROXY_CACHE, contender=STORED),
    Bar("miss that is stored", FILL, "nginx_us", most=1.0, base=PROXY_CACHE, contender=STORED),
    Bar("one render", ("stampede/*",), "renders", most=1, base="", contender=STORED),
    Bar("one render", WAITED_FOR, "behind_p50", most=40, base="", contender=STORED),
    Bar("one render", ("stampede/stale/*",), "times_quiet", most=1.5, base="", contender=STORED),
    Bar("latency at constant rate", ("open/*",), "p50", most=1.0),
    Bar("latency at constant rate", ("open/*",), "p99", most=1.0),
    Bar("latency at constant rate", ("open/*",), "p999", most=1.0),
]


def verdicts(results: Results) -> list[Verdict]:
    """The results of each target at each measured cell, of the contenders of which there are results."""
    found = []
    for bar in BARS:
        if not {bar.contender, bar.base} - {""} <= results.contenders.keys():
            continue
        for cell in results.cells:
            if not any(fnmatchcase(cell.name, pattern) for pattern in bar.cells):
                continue
            if results.failed(cell.name, bar.contender):
                found.append(Verdict(bar, cell.name, None, "missed: failed"))
                continue
            if bar.base:
                ratio = results.ratio(cell.name, bar.contender, bar.base, bar.quantity)
            else:
                ratio = results.figure(cell.name, bar.contender, bar.quantity)
            if ratio is not None:
                found.append(Verdict(bar, cell.name, ratio, word(results, bar, cell, ratio)))
    return found


def word(results: Results, bar: Bar, cell: Cell, ratio: Figure) -> str:
    said = "reached" if bar.holds(ratio.median) else "missed"
    # If the load generator was at its limit, it limited this module, not the stock module.
    if said == "missed" and bar.quantity == "rps":
        limit = results.limits(cell, bar.contender)
        if limit:
            return f"missed: {limit}"
    # The repeats do not agree whether the target was reached.
    if bar.holds(ratio.least) != bar.holds(ratio.most):
        return f"{said}, within the spread"
    return said
