"""Owns the processes of the benchmark, of the demo site and of the Django package's tests: free ports, and
programs that are started, waited for, and ended by their pids. It does not know the purpose of the programs.

The Rust package beside this one does the same for the tests in Rust.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

READY_SECONDS = 20
STOP_SECONDS = 5

# Below the ports of the tests in Rust (12000 and up) and the ephemeral ports of the kernel (32768 and up), of
# which a load uses many.
PORTS = range(10240, 12000)

# The bytes from the end of a log that an error contains.
LAST_WORDS = 600


class NotReady(Exception):
    """A program did not start; contains the reason."""


class Process:
    """A program that runs until it is stopped, and its child processes with it. Its output is written to `log`;
    without one, to the output of this process."""

    def __init__(
        self,
        name: str,
        command: list[str],
        log: Path | None = None,
        environment: dict[str, str] | None = None,
        core: int | None = None,
    ) -> None:
        self.name = name
        self.log = log
        # util-linux's setpriv: the program ends with this process even if that is killed.
        wrapped = ["setpriv", "--pdeathsig", "TERM"]
        if core is not None:
            wrapped += ["taskset", "--cpu-list", str(core)]
        with log.open("wb") if log else contextlib.nullcontext() as output:
            self.process = subprocess.Popen(
                wrapped + command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,  # Ctrl-C reaches only this process, which then stops all programs in order
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def is_running(self) -> bool:
        return self.process.poll() is None

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """A program that does not become ready is stopped."""
        deadline = time.monotonic() + READY_SECONDS
        try:
            while True:
                # Another program may answer on the port of one that has ended.
                if not self.is_running():
                    raise NotReady(f"{self.name} ended: {self.last_words()}")
                if ready():
                    return
                if time.monotonic() > deadline:
                    raise NotReady(f"{self.name} is not ready after {READY_SECONDS} s: {self.last_words()}")
                time.sleep(0.02)
        except BaseException:
            self.stop()
            raise

    def last_words(self) -> str:
        return tail(self.log) if self.log else "see above"

    def stop(self) -> None:
        if self.is_running():
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_SECONDS)
        # The processes of its session: a killed master leaves its workers behind.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()


def tail(log: Path) -> str:
    """The end of a log, if it exists."""
    with contextlib.suppress(OSError):
        return log.read_text(errors="replace")[-LAST_WORDS:].strip()
    return ""


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that are free at the moment."""
    found: list[int] = []
    with contextlib.ExitStack() as held:
        while len(found) < count:
            listener = held.enter_context(socket.socket())
            port = random.choice(PORTS)
            with contextlib.suppress(OSError):
                listener.bind(("127.0.0.1", port))
                found.append(port)
    return found


def listening(port: int) -> bool:
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex(("127.0.0.1", port)) == 0


def memcached(place: int | Path, megabytes: int) -> list[str]:
    """The command line of a memcached, for a port of 127.0.0.1 or a unix socket. Root must name an account.
    Another account could not access the folder of a run, and the kernel would not end the program with this
    process."""
    where = ["-s", str(place)] if isinstance(place, Path) else ["-l", "127.0.0.1", "-p", str(place), "-U", "0"]
    account = ["-u", "root"] if os.geteuid() == 0 else []
    return ["memcached", *where, "-m", str(megabytes), *account]


def nginx_user() -> str:
    """A directive: as root, nginx would run its workers under an account that cannot access the folder of a
    run."""
    return "user root;" if os.geteuid() == 0 else ""
