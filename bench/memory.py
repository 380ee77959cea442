"""The memory that nginx takes for each idle connection, and for each request that waits for memcached: the
growth of its anonymous memory and of its open descriptors. The kernel's memory for a socket is not included;
the number of descriptors stands for it."""

from __future__ import annotations

import contextlib
import resource
import socket
import time
from dataclasses import dataclass

from bench import measure, pages
from bench.cells import Cell
from bench.servers import Server

ABOUT_SECONDS = 2.5
CONNECTIONS = 2000
WARM_UP = 20
QUIET_SECONDS = 0.3
LONGEST_SECONDS = 15


class NotAnswered(Exception):
    pass


@dataclass(frozen=True)
class Growth:
    bytes_each: float
    descriptors_each: float


def grow(nginx: Server, port: int, cell: Cell) -> Growth:
    # in this process and in a stand-in memcached
    room = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 3
    count = min(CONNECTIONS, room)
    request = f"GET {pages.target(cell)} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()
    workers = nginx.pids()
    with contextlib.ExitStack() as stack:
        # the first requests also fill memory that later ones share
        ask(stack, port, request, WARM_UP, cell)
        settle(workers)
        memory, open_files = measure.anonymous_bytes(workers), measure.descriptors(workers)
        ask(stack, port, request, count, cell)
        settle(workers)
        return Growth(
            (measure.anonymous_bytes(workers) - memory) / count,
            (measure.descriptors(workers) - open_files) / count,
        )


def ask(stack: contextlib.ExitStack, port: int, request: bytes, count: int, cell: Cell) -> None:
    """Opens connections with one request each, and keeps them open. Those that are answered follow one
    another: memory that many requests take at once for a moment does not belong to idle connections."""
    for _ in range(count):
        client = socket.create_connection(("127.0.0.1", port), timeout=LONGEST_SECONDS)
        stack.enter_context(client)
        client.sendall(request)
        if not cell.waiting:
            answer = client.recv(65536)
            if not answer.startswith(b"HTTP/1.1 200 "):
                raise NotAnswered(f"answered {answer[:40]!r}")


def settle(pids: list[int]) -> None:
    """Waits until the processes are idle."""
    deadline = time.monotonic() + LONGEST_SECONDS
    before = -1.0
    while (now := measure.cpu_seconds(pids)) != before:
        if time.monotonic() > deadline:
            raise NotAnswered("nginx does not come to rest")
        before = now
        time.sleep(QUIET_SECONDS)
