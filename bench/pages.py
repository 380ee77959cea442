"""The pages in memcached and in files: one for each URI; and the check that a contender serves them.

    /p/SIZE/N     a page of SIZE bytes that begins with its own URI
    /html/SIZE/N  a page of SIZE bytes of HTML; the application has one for any N
    /miss/...     never stored: the fallback answers
"""

from __future__ import annotations

import gzip
import http.client
import random
import ssl
import time
from functools import cache
from pathlib import Path

from bench.cells import Cell

FALLBACK = b"made by the fallback\n"
TEXT = b"The quick brown fox jumps over the lazy dog. "
CONTENT_TYPE = "text/html; charset=utf-8"

# The host of all requests. With a port, their responses would not be stored.
HOST = "bench.example"

# srcache and "pagecache_format http" need a value with its head, under a key of its own.
HEAD_PREFIX = "/with-head"

# Pages of HTML are also stored compressed, with this flag, under a key of their own.
GZIP_PREFIX = "/as-gzip"
GZIP_FLAG = 32
GZIP_LEVEL = 6  # as this module compresses
WORDS = 400

FILL_AT_ONCE = 1000
CHECK_SECONDS = 10


def uri(size: int, number: int = 0) -> str:
    return f"/p/{size}/{number}"


def html_uri(size: int, number: int | str = 0) -> str:
    return f"/html/{size}/{number}"


@cache
def html(size: int) -> bytes:
    """Paragraphs of words of which some are frequent, as in a language. gzip makes a fifth of it."""
    dice = random.Random(size)
    words = ["".join(dice.choices("aaeeeiinnorrsstdhlucmg", k=dice.randint(2, 9))) for _ in range(WORDS)]
    weights = [1 / (nth + 1) for nth in range(WORDS)]
    parts = ['<!DOCTYPE html>\n<html lang="en">\n<title>A page</title>\n']
    length = 0
    while length < size:
        heading, link, *text = dice.choices(words, weights, k=30)
        parts.append(
            f'<h2 class="heading">{heading}</h2>\n<p>{" ".join(text)} <a href="/{link}/">{link}</a></p>\n'
        )
        length += len(parts[-1])
    return "".join(parts).encode()[:size]


def page(cell: Cell, number: int = 0) -> bytes:
    return html(cell.size) if cell.is_html else body(cell.size, number)


@cache
def compressed(size: int) -> bytes:
    return gzip.compress(html(size), GZIP_LEVEL, mtime=0)


def least_bytes(cell: Cell) -> int:
    """The fewest bytes that an answer's body may have."""
    if not cell.hit:
        return len(FALLBACK)
    return len(compressed(cell.size)) * 9 // 10 if cell.accepts_gzip else cell.size


def body(size: int, number: int = 0) -> bytes:
    start = uri(size, number).encode() + b" "
    return (start + TEXT * (size // len(TEXT) + 1))[:size]


def with_head(content: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


def target(cell: Cell) -> str:
    """The URI that a cell's load requests, or with many pages the first part of it."""
    if not cell.hit:
        return "/miss/0"
    if cell.is_html:
        return html_uri(cell.size, "" if cell.work == "fill" else 0)
    return uri(cell.size) if cell.keys == 1 else f"/p/{cell.size}/"


def fill(server: str | tuple[str, int], cells: list[Cell]) -> None:
    """Stores all pages of the cells in memcached."""
    import pymemcache  # not there for --help

    client = pymemcache.Client(server, timeout=CHECK_SECONDS)
    for size in {cell.size for cell in cells if cell.accepts_gzip}:
        client.set(html_uri(size), html(size), noreply=False)
        client.set(HEAD_PREFIX + html_uri(size), with_head(html(size)), noreply=False)
        client.set(GZIP_PREFIX + html_uri(size), compressed(size), noreply=False, flags=GZIP_FLAG)
    most: dict[int, int] = {}
    for cell in cells:
        if not cell.is_html:
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
        for path, content in ((uri(size), body(size)), (html_uri(size), html(size))):
            file = folder / path.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)


def check(port: int, cell: Cell, is_stored: bool = False) -> str | None:
    """The error in the answer to the cell's request, if there is one. `is_stored`: the answer must be a page
    that nginx has stored, which may take a moment."""
    deadline = time.monotonic() + CHECK_SECONDS
    while True:
        response, content = get(port, cell)
        if isinstance(response, str):
            return response
        wrong = fault(cell, response, content)
        if wrong or not is_stored or "Age" in response.headers:
            return wrong
        if time.monotonic() > deadline:
            return "not stored"


def get(port: int, cell: Cell) -> tuple[http.client.HTTPResponse | str, bytes]:
    """An answer and its body, or an error."""
    if cell.is_html:
        path = html_uri(cell.size)
    else:
        path = uri(cell.size, cell.keys - 1) if cell.hit else target(cell)
    if cell.work == "h2":
        # the certificate is one of this run
        context = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=CHECK_SECONDS, context=context)
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=CHECK_SECONDS)
    try:
        coding = {"Accept-Encoding": "gzip"} if cell.accepts_gzip else {}
        connection.request("GET", path, headers={"Host": HOST} | coding)
        response = connection.getresponse()
        return response, response.read()
    except (OSError, http.client.HTTPException) as error:
        return f"{type(error).__name__}: {error}", b""
    finally:
        connection.close()


def fault(cell: Cell, response: http.client.HTTPResponse, content: bytes) -> str | None:
    if response.status != 200:
        return f"status {response.status}"
    length = str(len(content))
    if cell.accepts_gzip:
        if response.headers["Content-Encoding"] != "gzip":
            return "not compressed"
        content = gzip.decompress(content)
    wanted = page(cell, cell.keys - 1) if cell.hit else FALLBACK
    if content != wanted:
        return f"another body: {len(content)} bytes, {content[:40]!r}"
    # nginx does not know the length of what it compresses or decompresses
    is_changed = cell.is_html and "Content-Length" not in response.headers
    if cell.hit and not is_changed and response.headers["Content-Length"] != length:
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
    _, kind, size, number = variables["PATH_INFO"].split("/")
    return with_head(html(int(size)) if kind == "html" else body(int(size), int(number)))
