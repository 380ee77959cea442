"""The servers of a run: nginx, memcached, Varnish, and two stand-ins. Each starts on free ports with its
files in a folder in tmpfs, is waited for, and is ended by its pid, however the run ends."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pagecache_testkit
from pagecache_testkit import NotReady, Process, listening, tail

from bench.machine import ROOT

MEMCACHED_MEGABYTES = 1024
MEMCACHED_CONNECTIONS = 16384
MEMCACHED_THREADS = 4  # its default
RENDERER_THREADS = 640
RENDERER_BACKLOG = 2048
RENDERS = "renders.log"


class Trouble(Exception):
    """A run cannot continue, or one of its contenders cannot take part; contains the reason."""


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """An empty folder in tmpfs, so that a run does not measure a disk."""
    parent = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="pagecache-bench-", dir=parent, ignore_cleanup_errors=True) as path:
        yield Path(path)


def free_ports(names: list[str]) -> dict[str, int]:
    """A port for each."""
    return dict(zip(names, pagecache_testkit.free_ports(len(names))))


class Server(Process):
    """A program that runs until it is stopped, and its child processes with it."""

    def __init__(
        self, name: str, command: list[str], log: Path, core: int | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        super().__init__(name, command, log, environment, core)

    def wait_for(self, *ports: int, path: Path | None = None) -> None:
        """Waits until it listens on the ports and the path exists."""
        try:
            self.wait_until(lambda: all(map(listening, ports)) and (path is None or path.exists()))
        except NotReady as error:
            raise Trouble(str(error)) from None

    def pids(self) -> list[int]:
        """The processes that handle requests: nginx's workers, without its cache's manager and loader; all
        processes of others."""
        below = children(self.pid)
        workers = [pid for pid in below if "nginx: worker" in command_line(pid)]
        return workers or [self.pid, *below]


def children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:
        return ""


def memcached(root: Path, name: str, core: int | None, unix: Path | None) -> tuple[Server, str]:
    """A memcached, and its address in nginx's notation."""
    port = 0 if unix else free_ports([name])[name]
    command = pagecache_testkit.memcached(unix or port, MEMCACHED_MEGABYTES)
    command += ["-t", str(MEMCACHED_THREADS), "-c", str(MEMCACHED_CONNECTIONS)]
    server = Server(name, command, root / f"{name}.log", core)
    server.wait_for(*([] if unix else [port]), path=unix)
    return server, f"unix:{unix}" if unix else f"127.0.0.1:{port}"


def nginx(binary: str, name: str, root: Path, conf: str, ports: list[int], core: int | None) -> Server:
    prefix = root / name
    prefix.mkdir(parents=True)
    (prefix / "nginx.conf").write_text(conf)
    command = [binary, "-p", f"{prefix}/", "-e", "error.log", "-c", "nginx.conf"]
    server = Server(name, command, prefix / "output.log", core)
    try:
        server.wait_for(*ports)
    except Trouble as error:
        raise Trouble(f"{error}\n{tail(prefix / 'error.log')}") from None
    return server


def certificate(root: Path) -> None:
    """Makes root/tls.crt and root/tls.key, for 127.0.0.1."""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-out", str(root / "tls.crt"), "-keyout", str(root / "tls.key")]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise Trouble(f"no certificate could be made: {done.stderr.strip()}")


def alarms(root: Path) -> list[str]:
    """Messages in nginx's log that no run may cause."""
    found = []
    for log in root.glob("*/error.log"):
        for line in log.read_text(errors="replace").splitlines():
            if any(word in line for word in ("[alert]", "[emerg]", "[crit]", "panicked")):
                found.append(line)
    return found


def varnish(
    root: Path, behind: str, origin: int, core: int | None, parameters: list[str]
) -> tuple[Server, int]:
    port = free_ports(["varnish"])["varnish"]
    # no jail: it would change the user, who could not read the folder
    command = ["varnishd", "-F", "-j", "none", "-n", str(root / f"varnish-{behind}"), "-t", "3600"]
    command += ["-a", f"127.0.0.1:{port}", "-b", f"127.0.0.1:{origin}", "-s", "malloc,256m"]
    command += [part for parameter in parameters for part in ("-p", parameter)]
    server = Server("varnish", command, root / f"varnish-{behind}.log", core)
    server.wait_for(port)
    return server, port


def renderer(root: Path, program: str) -> tuple[Server, int, int]:
    """The application of bench/renderer.py, and its ports for HTTP and for uwsgi."""
    ports = free_ports(["http", "uwsgi"])
    command = [program, "--http-socket", f"127.0.0.1:{ports['http']}"]
    command += ["--uwsgi-socket", f"127.0.0.1:{ports['uwsgi']}", "--module", "bench.renderer"]
    command += ["--master", "--die-on-term", "--need-app", "--enable-threads", "--disable-logging"]
    # it renders as many pages at the same time as anybody asks for, so that none waits for another
    command += [f"--threads={RENDERER_THREADS}", f"--listen={RENDERER_BACKLOG}"]
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1",
        "BENCH_RENDERS": str(root / RENDERS),
    }
    server = Server("renderer", command, root / "renderer.log", environment=environment)
    server.wait_for(*ports.values())
    return server, ports["http"], ports["uwsgi"]


class StandIn:
    """A listener on a thread of this process. `answer` gets the bytes of one read, and returns the whole
    answer, after which the connection is closed; without `answer` no client is ever answered."""

    def __init__(self, answer=None) -> None:
        self.answer = answer
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=8192)
        self.listener.setblocking(False)
        self.port = self.listener.getsockname()[1]
        self.accepted = 0
        self.stop_read, self.stop_write = os.pipe()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self) -> None:
        with selectors.DefaultSelector() as selector, contextlib.ExitStack() as sockets:
            selector.register(self.listener, selectors.EVENT_READ)
            selector.register(self.stop_read, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is self.listener:
                        with contextlib.suppress(BlockingIOError):
                            client = self.listener.accept()[0]
                            self.accepted += 1
                            sockets.enter_context(client)
                            selector.register(client, selectors.EVENT_READ)
                    elif key.fd == self.stop_read:
                        return
                    elif not self.heard(key.fileobj):
                        selector.unregister(key.fileobj)
                        key.fileobj.close()

    def heard(self, client: socket.socket) -> bool:
        """Returns whether the connection continues."""
        try:
            received = client.recv(65536)
            if received and self.answer:
                client.sendall(self.answer(received))
        except OSError:
            return False
        return bool(received) and not self.answer

    def close(self) -> None:
        os.write(self.stop_write, b".")
        self.thread.join()
        self.listener.close()
        os.close(self.stop_read)
        os.close(self.stop_write)
