"""The application of the cells "stampede": a WSGI application, run by uWSGI, that takes a while to render a page,
and writes down when it began and ended.

    /html/SIZE/N            fresh for an hour
    /html/SIZE/stale-N      the same; may be served for ten minutes after that, while it is renewed

A request with X-Prepare gets its page at once, fresh for as many seconds as the header says: it fills a cache
before the measurement.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable

from bench import pages

RENDER_SECONDS = 0.3
LIFETIME = 3600  # seconds
WINDOW = 600  # seconds

LOG = os.open(os.environ["BENCH_RENDERS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def application(environ: dict, start_response: Callable) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    _, _, size, name = path.split("/")
    lifetime = environ.get("HTTP_X_PREPARE")
    if lifetime is None:
        log("begin", path)
        time.sleep(RENDER_SECONDS)
    content = pages.html(int(size))
    control = f"max-age={lifetime or LIFETIME}"
    if name.startswith("stale"):
        control += f", stale-while-revalidate={WINDOW}"
    if lifetime is None:
        log("end", path)
    headers = [
        ("Content-Type", pages.CONTENT_TYPE),
        ("Content-Length", str(len(content))),
        ("Cache-Control", control),
        ("Connection", "close"),  # as uWSGI does
    ]
    start_response("200 OK", headers)
    return [content]


def log(what: str, path: str) -> None:
    """One write for each line, so that lines of several threads do not mix."""
    os.write(LOG, f"{what} {path} {time.monotonic():.6f}\n".encode())
