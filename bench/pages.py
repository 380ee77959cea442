"""The pages in memcached and in files: one for each URI; and the check that a contender serves them.

    /p/SIZE/N     a page of SIZE bytes that begins with its own URI
    /miss/...     never stored: the fallback answers
"""

from __future__ import annotations

import http.client
from pathlib import Path

from bench.cells import Cell

FALLBACK = b"made by the fallback\n"
TEXT = b"The quick brown fox jumps over the lazy dog. "
CONTENT_TYPE = "text/html; charset=utf-8"

# srcache and "pagecache_format http" need a value with its head, under a key of its own.
HEAD_PREFIX = "/with-head"

FILL_AT_ONCE = 1000
CHECK_SECONDS = 10


def uri(size: int, number: int = 0) -> str:
    return f"/p/{size}/{number}"


def body(size: int, number: int = 0) -> bytes:
    start = uri(size, number).encode() + b" "
    return (start + TEXT * (size // len(TEXT) + 1))[:size]


def with_head(content: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


def target(cell: Cell) -> str:
    """The URI that a cell's load requests, or with many keys the first part of it."""
    if not cell.hit:
        return "/miss/0"
    return uri(cell.size) if cell.keys == 1 else f"/p/{cell.size}/"


def fill(server: str | tuple[str, int], cells: list[Cell]) -> None:
    """Stores all pages of the cells in memcached."""
    import pymemcache  # not there for --help

    client = pymemcache.Client(server, timeout=CHECK_SECONDS)
    most: dict[int, int] = {}
    for cell in cells:
        most[cell.size] = max(most.get(cell.size, 1), cell.keys)
    for size, keys in most.items():
        client.set(HEAD_PREFIX + uri(size), with_head(body(size)), noreply=False)
        for start in range(0, keys, FILL_AT_ONCE):
            numbers = range(start, min(keys, start + FILL_AT_ONCE))
            client.set_many({uri(size, number): body(size, number) for number in numbers})
        if client.get(uri(size, keys - 1)) != body(size, keys - 1):
            raise RuntimeError(f"memcached did not keep {keys} values of {size} bytes")
    client.close()


def write_files(folder: Path, cells: list[Cell]) -> None:
    """The first page of each size as a file, for contenders that serve files."""
    for size in {cell.size for cell in cells}:
        file = folder / uri(size).lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(body(size))


def check(port: int, cell: Cell) -> str | None:
    """The error in the answer to the cell's request, if there is one."""
    if not cell.hit:
        path, wanted = target(cell), FALLBACK
    else:
        last = cell.keys - 1
        path, wanted = uri(cell.size, last), body(cell.size, last)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=CHECK_SECONDS)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        content = response.read()
    except (OSError, http.client.HTTPException) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        connection.close()
    if response.status != 200:
        return f"status {response.status}"
    if content != wanted:
        return f"another body: {len(content)} bytes, {content[:40]!r}"
    if cell.hit and response.headers["Content-Length"] != str(len(wanted)):
        return "no Content-Length"
    return None


def uwsgi_answer(packet: bytes) -> bytes:
    """The answer of an application server to a request for a page.

    packet:  modifier1, size (2 bytes, little-endian), modifier2,
             then for each variable: size (2), name, size (2), value"""
    variables, at = {}, 4
    while at < len(packet):
        pair = []
        for _ in range(2):
            size = int.from_bytes(packet[at : at + 2], "little")
            pair.append(packet[at + 2 : at + 2 + size].decode())
            at += 2 + size
        variables[pair[0]] = pair[1]
    _, _, size, number = variables["PATH_INFO"].split("/")
    return with_head(body(int(size), int(number)))
