"""The environment of a run: processor, kernel, versions, commit; and the load of the machine before it."""

from __future__ import annotations

import contextlib
import datetime
import os
import platform
import re
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def describe(nginx: str) -> dict:
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "cpu": cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "nginx": said([nginx, "-v"], r"nginx/(\S+)"),
        "memcached": said(["memcached", "-V"], r"memcached (\S+)"),
        "wrk": said(["wrk", "-v"], r"wrk (?:debian/)?(\S+)"),
        "commit": commit(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def said(command: list[str], pattern: str) -> str:
    """The version that a program prints; some print it to stderr, and wrk with an exit status of 1."""
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError:
        return "none"
    found = re.search(pattern, done.stdout + done.stderr)
    return found[1] if found else "unknown"


def commit() -> str:
    """The commit, with "+" if files differ from it."""
    git = ["git", "-C", str(ROOT)]
    name = said([*git, "rev-parse", "--short", "HEAD"], r"^([0-9a-f]+)$")
    if name in ("none", "unknown"):
        return "unknown"
    changed = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True).stdout
    return name + ("+" if changed.strip() else "")


@contextlib.contextmanager
def awake(wanted: bool) -> Iterator[bool]:
    """While this is active, idle cores wait in a loop, as with tuned's profiles for low latency: to sleep and
    to wake up can take longer than a request, above all on virtual machines, and it would count as the
    server's time. Yields whether it is active; only root may activate it."""
    try:
        latency = open("/dev/cpu_dma_latency", "wb", buffering=0) if wanted else None
    except OSError:
        latency = None
    with latency or contextlib.nullcontext():
        if latency:
            latency.write(struct.pack("i", 0))  # microseconds; withdrawn when the file is closed
        yield latency is not None


def sentence(machine: dict) -> str:
    return (
        f"{machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}; "
        f"nginx {machine['nginx']}, memcached {machine['memcached']}, wrk {machine['wrk']}; "
        f"commit {machine['commit']}, {machine['date'][:10]}"
    )
