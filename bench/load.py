"""The load. Closed loop, wrk, and h2load for HTTP/2: each connection sends the next request as soon as it has
the answer, which finds the capacity of a server. Open loop, bench/openloop: requests are due at a constant rate
whether or not the server keeps up, which finds the waiting time of a visitor."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from bench import figures
from bench.cells import LARGE
from bench.pages import HOST

SCRIPT = Path(__file__).with_name("wrk.lua")
GRACE_SECONDS = 15  # for a load generator to start, to load its script, and to end

INTERRUPT_SECONDS = 1
BURST_SECONDS = 30  # the longest, in bench/openloop

# A closed loop is not limited by the server if the generator itself uses a whole core.
GENERATOR_BUSY = 0.95


@dataclass(frozen=True)
class Load:
    """The result of a generator. Times in microseconds; `cpu`: seconds of the generator itself."""

    requests: float
    seconds: float
    p50: float
    p99: float
    p999: float
    cpu: float
    late: float = 0.0  # open loop: how late the generator itself was, p99
    more: dict[str, float] = field(default_factory=dict)  # of Sample

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


class Failed(Exception):
    """The answers of a run were wrong, so that its figures mean nothing."""


class Nothing(Failed):
    """No answer arrived in time; another program may have used the machine."""


def closed(
    port: int, path: str, connections: int, seconds: float, size: int, core: int | None,
    requests: dict[str, str],
) -> Load:
    """`size`: the fewest bytes of an answer's body. `requests`: the variables of wrk.lua."""
    whole = seconds == int(seconds)
    command = ["wrk", "-t1", f"-c{connections}", f"-d{math.ceil(seconds) if whole else 60}s"]
    command += ["--timeout", "10s", "-s", str(SCRIPT), f"http://127.0.0.1:{port}{path}"]
    # wrk accepts whole seconds only, but prints its results when it is interrupted
    output, cpu = generate(
        pinned(command, core), seconds, requests, interrupt=not whole
    )
    return wrk_load(output, cpu, size)


def wrk_load(output: str, cpu: float, size: int) -> Load:
    """Parses the output of wrk.lua. `size`: of each body, bytes."""
    line = next((line for line in output.splitlines() if line.startswith("BENCH ")), None)
    if line is None:
        raise Failed(f"wrk ended without figures: {output.strip()[-300:]}")
    said = json.loads(line.removeprefix("BENCH "))
    wrong = {kind: said[kind] for kind in ("connect", "read", "write", "status", "timeout")}
    if any(wrong.values()):
        counts = [f"{count} {kind} errors" for kind, count in wrong.items() if count]
        raise Failed("wrk: " + ", ".join(counts))
    if said["requests"] == 0:
        raise Nothing("wrk: no request was answered")
    if said["bytes"] < said["requests"] * size:
        raise Failed(
            f"wrk: {said['bytes']} bytes in {said['requests']} answers are too few: some are the fallback's"
        )
    # many large answers are in flight when the load ends: parts of answers count as parts
    requests = said["bytes"] / size if size >= LARGE else said["requests"]
    return Load(requests, said["duration"] / 1e6, said["p50"], said["p99"], said["p999"], cpu)


def over_tls(
    port: int, path: str, connections: int, requests: int, seconds: float, size: int, core: int | None,
    log: Path,
) -> Load:
    """Over HTTP/2, one request at a time on each connection, from a client that accepts gzip. `requests` should
    take about `seconds`. (With a duration in place of a number, h2load may never end.)"""
    log.unlink(missing_ok=True)
    command = ["h2load", "-t1", f"-c{connections}", "-m1", f"-n{max(requests, connections)}"]
    command += [f"--log-file={log}", "-H", f":authority: {HOST}", "-H", "Accept-Encoding: gzip"]
    command.append(f"https://127.0.0.1:{port}{path}")
    output, cpu = generate(pinned(command, core), seconds, {})
    return h2load_load(output, log.read_text() if log.exists() else "", cpu, size)


def h2load_load(output: str, times: str, cpu: float, size: int) -> Load:
    """Parses the output of h2load, and its log.

    output: finished in 1.01s, 4961.39 req/s, 58.67MB/s
            requests: 5011 total, 5011 started, 5011 done, 5011 succeeded, 0 failed, 0 errored, 0 timeout
            status codes: 5011 2xx, 0 3xx, 0 4xx, 0 5xx
            traffic: 59.42MB (62306839) total, 103.58KB (106070) headers, 59.26MB (62136400) data
    log:    for each answer, microseconds since 1970, the status, microseconds"""
    finished = re.search(r"finished in ([0-9.]+)(us|ms|s),", output)
    answers = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", output)
    statuses = re.search(r"(\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", output)
    data = re.search(r"\((\d+)\) data", output)
    if not (finished and answers and statuses and data):
        raise Failed(f"h2load ended without figures: {output.strip()[-300:]}")
    succeeded, *wrong = map(int, answers.groups())
    if any(wrong) or int(statuses[1]) != succeeded:
        raise Failed(f"h2load: {answers[0]}; {statuses[0]}")
    if int(data[1]) < succeeded * size:
        raise Failed(f"h2load: {data[1]} bytes in {succeeded} answers are too few")
    took = sorted(int(line.split()[2]) for line in times.splitlines())
    if not took:
        raise Nothing("h2load: no request was answered")
    p50, p99, p999 = (figures.percentile(took, percent) for percent in (50, 99, 99.9))
    seconds = float(finished[1]) / {"us": 1e6, "ms": 1e3, "s": 1}[finished[2]]
    return Load(succeeded, seconds, p50, p99, p999, cpu)


def open_loop(
    program: str, port: int, path: str, connections: int, seconds: float, rate: float, size: int,
    core: int | None,
) -> Load:
    command = [program, f"127.0.0.1:{port}", path, f"{rate:.0f}", f"{seconds:g}"]
    command += [str(connections), str(size)]
    output, cpu = generate(pinned(command, core), seconds, {})
    return open_load(output, cpu)


def open_load(output: str, cpu: float) -> Load:
    """Parses the output of bench/openloop: one line of JSON."""
    try:
        said = json.loads(output)
    except ValueError:
        raise Failed(f"openloop ended without figures: {output.strip()[-300:]}") from None
    if said["errors"]:
        raise Failed(f"openloop: {said['errors']} errors, the first: {said['error']}")
    if said["unanswered"]:
        raise Failed(f"openloop: {said['unanswered']} requests were never answered")
    return Load(
        said["requests"], said["seconds"], said["p50"], said["p99"], said["p999"], cpu, said["late_p99"]
    )


@dataclass(frozen=True)
class Burst:
    """Requests of all visitors at the same moment. Times in microseconds since `began`, which is microseconds of
    the machine's monotonic clock."""

    began: float
    sent: float  # when the last request was sent
    requests: int  # that were answered
    p50: float
    p99: float
    most: float
    errors: int
    error: str  # one of them


def bursts(
    program: str, ports: list[int], paths: list[str], connections: int, size: int
) -> tuple[list[Burst], float]:
    """A burst for each path, over the same connections, and the processor time of the generator."""
    addresses = ",".join(f"127.0.0.1:{port}" for port in ports)
    command = [program, "burst", HOST, addresses, str(connections), str(size), *paths]
    output, cpu = generate(command, BURST_SECONDS * len(paths), {})
    return bursts_of(output, len(paths)), cpu


def bursts_of(output: str, count: int) -> list[Burst]:
    """Parses the output of bench/openloop: a line of JSON for each burst."""
    try:
        found = [Burst(**json.loads(line)) for line in output.splitlines()]
    except (ValueError, TypeError):
        found = []
    if len(found) != count:
        raise Failed(f"openloop ended without figures: {output.strip()[-300:]}")
    return found


def pinned(command: list[str], core: int | None) -> list[str]:
    return command if core is None else ["taskset", "--cpu-list", str(core), *command]


def generate(
    command: list[str], seconds: float, environment: dict[str, str], interrupt: bool = False
) -> tuple[str, float]:
    """Runs a generator; returns its output, and its processor time."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **environment},
        start_new_session=True,
    )
    try:
        if interrupt:
            if not taken(process, signal.SIGINT):
                raise Failed(f"{Path(command[0]).name} did not start in {GRACE_SECONDS} s")
            time.sleep(seconds)
        output = read_all(process, seconds + GRACE_SECONDS, interrupt)
        # wait4 also returns the resource usage of this process alone
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    finally:
        if process.returncode is None:
            process.kill()
            process.wait()
        process.stdout.close()
    return output, usage.ru_utime + usage.ru_stime


def taken(process: subprocess.Popen, number: signal.Signals) -> bool:
    """Waits until a process has a handler for a signal, which would otherwise end it."""
    deadline = time.monotonic() + GRACE_SECONDS
    while time.monotonic() < deadline:
        try:
            lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        except OSError:
            return False
        caught = next((line.split()[1] for line in lines if line.startswith("SigCgt:")), "0")
        if int(caught, 16) >> (number - 1) & 1:
            return True
        time.sleep(0.002)
    return False


def read_all(process: subprocess.Popen, seconds: float, interrupt: bool) -> str:
    """Its output until it ends; a generator prints a few lines at its end. wrk misses an interrupt that
    arrives just before it sleeps, so it is interrupted until it ends."""
    deadline = time.monotonic() + seconds
    next_interrupt = 0.0
    os.set_blocking(process.stdout.fileno(), False)
    pieces: list[bytes] = []
    while (now := time.monotonic()) < deadline:
        if interrupt and now >= next_interrupt:
            process.send_signal(signal.SIGINT)
            next_interrupt = now + INTERRUPT_SECONDS
        piece = process.stdout.read()
        if piece == b"":
            return b"".join(pieces).decode(errors="replace")
        if piece:
            pieces.append(piece)
        else:
            time.sleep(0.005)
    raise Failed(f"{Path(process.args[0]).name} did not end in {seconds:.0f} s")
