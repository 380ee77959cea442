"""http3.py PORT HOW PATH...: a client that requests all paths at once over HTTP/3, and leaves or reads nothing.

When it reads a line from its standard input, it leaves: by HOW it sends "stop" for its requests (it reads none of
their answers), "reset" (it sends no more of them) or "close" (its whole connection ends). When nginx has answered
a further request after that, on a new connection if the first one is closed, it prints "left", and keeps its
connection until its standard input ends.

If HOW is "hold", it lets nginx send only the first few KB of each answer. Once all have begun it prints how many
of them are hits, and keeps its connection until its standard input ends.
"""

import asyncio
import ssl
import sys

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration

CANCELLED = 0x10C  # H3_REQUEST_CANCELLED of RFC 9114

FIRST = 4096  # the bytes of each stream that are accepted with "hold"


class Visitor(QuicConnectionProtocol):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.http = H3Connection(self._quic)
        self.answered = {}
        self.heads = {}
        self.has_heads = asyncio.Event()

    def quic_event_received(self, event):
        for part in self.http.handle_event(event):
            if isinstance(part, HeadersReceived | DataReceived) and part.stream_ended:
                self.answered.setdefault(part.stream_id, asyncio.Event()).set()
            if isinstance(part, HeadersReceived):
                self.heads[part.stream_id] = dict(part.headers)
                self.has_heads.set()

    def ask(self, path, is_whole=True):
        stream = self._quic.get_next_available_stream_id()
        head = {":method": "GET", ":scheme": "https", ":authority": "site.example", ":path": path}
        fields = [(name.encode(), value.encode()) for name, value in head.items()]
        self.http.send_headers(stream, fields, end_stream=is_whole)
        self.transmit()
        return stream

    def hold(self):
        # the window of a stream is never enlarged
        self._quic._write_stream_limits = lambda *_, **__: None

    async def hits(self, streams):
        while not self.heads.keys() >= set(streams):
            self.has_heads.clear()
            await self.has_heads.wait()
        return sum(self.heads[stream].get(b"x-cache") == b"HIT" for stream in streams)

    async def is_answered(self, path):
        await self.answered.setdefault(self.ask(path), asyncio.Event()).wait()


def visit(port, how=None):
    limits = {"max_stream_data": FIRST} if how == "hold" else {}
    return connect(
        "127.0.0.1",
        port,
        configuration=QuicConfiguration(
            alpn_protocols=H3_ALPN, verify_mode=ssl.CERT_NONE, **limits
        ),
        create_protocol=Visitor,
    )


async def says_left(visitor):
    await visitor.is_answered("/mark")
    print("left", flush=True)
    await asyncio.to_thread(sys.stdin.readline)


async def main(port, how, *paths):
    async with visit(port, how) as visitor:
        if how == "hold":
            visitor.hold()
            print(await visitor.hits([visitor.ask(path) for path in paths]), flush=True)
            await asyncio.to_thread(sys.stdin.readline)
            return
        streams = [visitor.ask(path, is_whole=how != "reset") for path in paths]
        await asyncio.to_thread(sys.stdin.readline)
        if how == "close":
            visitor.close()
            await visitor.wait_closed()
        else:
            leave = visitor._quic.stop_stream if how == "stop" else visitor._quic.reset_stream
            for stream in streams:
                leave(stream, CANCELLED)
            await says_left(visitor)
    if how == "close":
        async with visit(port) as visitor:
            await says_left(visitor)


asyncio.run(main(int(sys.argv[1]), *sys.argv[2:]))
