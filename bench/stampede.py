"""The cells "stampede": all visitors of a page request it at the same moment. bench/renderer.py is the application,
which takes a while to render it, and writes down when. A page is used once."""

from __future__ import annotations

import http.client
import itertools
import statistics
import time
from pathlib import Path

from bench import load, pages
from bench.cells import Cell
from bench.load import Burst, Load

ABOUT_SECONDS = 1.5
QUIET_BURSTS = 5
PREPARED_LIFETIME = 1  # seconds
# A cache that counts whole seconds may keep a page for one more.
EXPIRY_SECONDS = PREPARED_LIFETIME + 1.5
RENEWAL_SECONDS = 5  # for a renewal to begin and to end, after the visitors have been answered

# No grace but what the page says; its default is 10 seconds.
VARNISH_PARAMETERS = ["default_grace=0", "default_keep=0"]

NUMBERS = itertools.count(1)


def new_page(cell: Cell) -> str:
    return pages.html_uri(cell.size, f"{cell.state}-{next(NUMBERS)}")


def prepare(ports: list[int], path: str) -> None:
    """Has each cache get the page, which is fresh for a moment."""
    for port in ports:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=pages.CHECK_SECONDS)
        try:
            connection.request("GET", path, headers={"Host": pages.HOST, "X-Prepare": str(PREPARED_LIFETIME)})
            response = connection.getresponse()
            response.read()
        except (OSError, http.client.HTTPException) as error:
            raise load.Failed(f"not prepared: {type(error).__name__}: {error}") from None
        finally:
            connection.close()
        if response.status != 200:
            raise load.Failed(f"not prepared: status {response.status}")


def measure(program: str, renders: Path, cell: Cell, ports: list[int], path: str) -> Load:
    """The visitors first request a page that is fresh, several times: the first time opens connections to memcached
    and fills free lists. Then all request the page, and, while it is renewed, once more."""
    quiet = pages.html_uri(cell.size)
    is_stale = cell.state == "stale"
    paths = [quiet] * (1 + QUIET_BURSTS) + [path] + [path] * is_stale
    start = time.monotonic()
    found, cpu = load.bursts(program, ports, paths, cell.connections, cell.size)
    times = rendered(renders, path)
    seconds = time.monotonic() - start
    return load_of(found, times, is_stale, seconds, cpu)


def load_of(found: list[Burst], times: list[float], is_stale: bool, seconds: float, cpu: float) -> Load:
    """`times`: when the renders ended, microseconds of the monotonic clock."""
    _, *quiet = found[: 1 + QUIET_BURSTS]
    burst, *after = found[1 + QUIET_BURSTS :]
    more = {
        "renders": len(times),
        "errors": sum(one.errors for one in found),
        "rendered": min(times) - burst.began if times and not is_stale else 0.0,
        "most": burst.most,
        "quiet_p99": statistics.median(one.p99 for one in quiet),
        "next_most": max((one.most for one in after), default=0.0),
    }
    requests = sum(one.requests for one in found)
    return Load(requests, seconds, burst.p50, burst.p99, burst.most, cpu, burst.sent, more)


def rendered(log: Path, path: str) -> list[float]:
    """When the renders of a page ended, microseconds of the monotonic clock. Waits for those that have begun, and
    for one that renews the page behind the visitors."""
    deadline = time.monotonic() + RENEWAL_SECONDS
    while True:
        begun, ended = renders_of(log.read_text(), path)
        if (begun and begun == len(ended)) or time.monotonic() > deadline:
            return ended
        time.sleep(0.02)


def renders_of(text: str, path: str) -> tuple[int, list[float]]:
    """Parses the log of bench/renderer.py:

    begin /html/10000/cold-1 7132.204406
    end /html/10000/cold-1 7132.504520"""
    begun, ended = 0, []
    for line in text.splitlines():
        what, of, when = line.split(" ")
        if of == path and what == "begin":
            begun += 1
        elif of == path:
            ended.append(float(when) * 1e6)
    return begun, ended
