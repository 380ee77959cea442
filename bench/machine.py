"""On what a run was made: processor, kernel, versions, commit; and what the machine did before."""

from __future__ import annotations

import datetime
import os
import platform
import re
import subprocess
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
    """What a program says of itself; some say it on stderr, and wrk with an exit status of 1."""
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError:
        return "none"
    found = re.search(pattern, done.stdout + done.stderr)
    return found[1] if found else "unknown"


def commit() -> str:
    """With "+" if files differ from it."""
    git = ["git", "-C", str(ROOT)]
    name = said([*git, "rev-parse", "--short", "HEAD"], r"^([0-9a-f]+)$")
    if name in ("none", "unknown"):
        return "unknown"
    changed = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True).stdout
    return name + ("+" if changed.strip() else "")


def sentence(machine: dict) -> str:
    return (
        f"{machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}; "
        f"nginx {machine['nginx']}, memcached {machine['memcached']}, wrk {machine['wrk']}; "
        f"commit {machine['commit']}, {machine['date'][:10]}"
    )
