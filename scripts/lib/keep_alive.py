"""Asks for a cached page over one kept connection, byte for byte: an answer that is shorter or longer than
its head says shifts all that follow, which clients hide that open a connection for each request.

    keep_alive.py http://127.0.0.1:8080/page

The page must be in the cache, and nginx must say so in X-Cache. Prints a line for each step, and exits
non-zero if one is wrong.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 20
PIPELINED = 3


def main() -> int:
    url = urlsplit(sys.argv[1])
    wrong = 0
    for step, fault in steps(url.hostname or "", url.port or 80, url.path):
        print(f"{step}: {fault or 'ok'}", flush=True)
        wrong += bool(fault)
    return 1 if wrong else 0


def steps(host: str, port: int, path: str) -> Iterator[tuple[str, str]]:
    """Each step, and what is wrong in it, if anything is. The first fault is the last step: after it nobody
    knows where an answer begins."""
    visitor = Visitor(host, port, path)
    for step in (visitor.get, visitor.head, visitor.pipelined, visitor.part, visitor.unchanged, visitor.last):
        fault = ""
        try:
            step()
        except (AssertionError, LookupError, OSError, ValueError) as error:
            fault = f"{type(error).__name__}: {error}"
        yield step.__doc__ or "", fault
        if fault:
            break
    visitor.connection.close()


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


class Visitor:
    """One connection, which lasts for all steps."""

    def __init__(self, host: str, port: int, path: str) -> None:
        self.connection = socket.create_connection((host, port), TIMEOUT_SECONDS)
        self.name = f"{host}:{port}"
        self.path = path
        self.received = b""
        self.page = Answer(0, {}, b"")

    def get(self) -> None:
        """GET"""
        self.send(self.request())
        self.page = self.receive()
        expect(self.page.status == 200, f"status {self.page.status}")
        expect(self.page.headers.get("x-cache") == "HIT", "no hit")
        expect(len(self.page.body) > 3, "the page is too short for this check")

    def head(self) -> None:
        """HEAD, then GET"""
        self.send(self.request("HEAD"))
        answer = self.receive(has_body=False)
        expect(answer.status == 200, f"status {answer.status}")
        expect(answer.headers["content-length"] == str(len(self.page.body)), "not the page's length")
        self.send(self.request())
        self.receive_page()

    def pipelined(self) -> None:
        """GET, pipelined"""
        self.send(self.request() * PIPELINED)
        for _ in range(PIPELINED):
            self.receive_page()

    def part(self) -> None:
        """GET with Range, then GET"""
        self.send(self.request("GET", "Range: bytes=1-2"))
        answer = self.receive()
        expect(answer.status == 206, f"status {answer.status}")
        expect(answer.headers["content-range"] == f"bytes 1-2/{len(self.page.body)}", "another Content-Range")
        expect(answer.body == self.page.body[1:3], "not the bytes asked for")
        self.send(self.request())
        self.receive_page()

    def unchanged(self) -> None:
        """GET with If-None-Match, then GET"""
        self.send(self.request("GET", f"If-None-Match: {self.page.headers['etag']}"))
        answer = self.receive(has_body=False)
        expect(answer.status == 304, f"status {answer.status}")
        self.send(self.request())
        self.receive_page()

    def last(self) -> None:
        """GET with Connection: close, and nothing after it"""
        self.send(self.request("GET", "Connection: close"))
        self.receive_page()
        self.received += self.connection.recv(100)
        expect(not self.received, f"{self.received[:40]!r} after the last answer")

    def request(self, method: str = "GET", header: str = "") -> bytes:
        lines = [f"{method} {self.path} HTTP/1.1", f"Host: {self.name}", *([header] if header else []), "", ""]
        return "\r\n".join(lines).encode()

    def send(self, text: bytes) -> None:
        self.connection.sendall(text)

    def receive_page(self) -> None:
        answer = self.receive()
        expect(answer.status == 200, f"status {answer.status}")
        expect(answer.headers.get("x-cache") == "HIT", "no hit")
        expect(answer.body == self.page.body, "another body than before")

    def receive(self, has_body: bool = True) -> Answer:
        """The next answer. One that does not begin where the one before has to end is an error."""
        head = self.take(lambda: self.received.find(b"\r\n\r\n") + 4 if b"\r\n\r\n" in self.received else 0)
        first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        expect(first.startswith("HTTP/1.1 "), f"{head[:40]!r} is where an answer should begin")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers["content-length"]) if has_body else 0
        body = self.take(lambda: length if len(self.received) >= length else 0) if length else b""
        return Answer(int(first.split(" ")[1]), headers, body)

    def take(self, complete: Callable[[], int]) -> bytes:
        """Receives until `complete` gives a length, and takes so many bytes."""
        while not (length := complete()):
            more = self.connection.recv(65536)
            expect(bool(more), f"the connection ends after {self.received[:40]!r}")
            self.received += more
        taken, self.received = self.received[:length], self.received[length:]
        return taken


def expect(right: bool, otherwise: str) -> None:
    if not right:
        raise AssertionError(otherwise)


if __name__ == "__main__":
    sys.exit(main())
