"""The resources of a run: processor time of processes, other load of the machine, system calls, memory."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
SYSCALLS = "raw_syscalls:sys_enter"


def cpu_seconds(pids: list[int]) -> float:
    """utime + stime of processes and all their threads.

    The scheduler's own count, /proc/PID/task/TID/schedstat, contains the same in nanoseconds, while
    /proc/PID/stat counts ticks of 10 ms."""
    total = 0.0
    for pid in pids:
        try:
            tasks = Path(f"/proc/{pid}/task").iterdir()
            total += sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
        except (FileNotFoundError, ProcessLookupError, IndexError):
            # a kernel without this file, or a thread that has just ended
            total += ticks_of(pid) / TICKS
    return total


def ticks_of(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        raise Gone(f"process {pid} of the servers has ended") from None
    # the name in parentheses may contain blanks
    fields = text.rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


class Gone(Exception):
    """A server, or one of its processes, has ended."""


@dataclass(frozen=True)
class Machine:
    """Seconds of all cores since the machine's start."""

    busy: float
    stolen: float

    @staticmethod
    def now() -> Machine:
        return machine_of(Path("/proc/stat").read_text())


def machine_of(stat: str) -> Machine:
    """Parses the first line of /proc/stat:

    cpu  user nice system idle iowait irq softirq steal guest guest_nice"""
    values = [int(value) / TICKS for value in stat.split("\n", 1)[0].split()[1:9]]
    user, nice, system, _idle, _iowait, irq, softirq, steal = values
    return Machine(user + nice + system + irq + softirq, steal)


def anonymous_bytes(pids: list[int]) -> int:
    """The private RSS of the processes: neither files nor shared memory."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                total += int(line.split()[1]) * 1024
    return total


def descriptors(pids: list[int]) -> int:
    return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids)


class SyscallCounter:
    """Counts the system calls of processes while a command runs: with perf, which hardly slows them, or else
    with strace, which does, so that a process finds more events each time it wakes up."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.tool = next((tool for tool in ("perf", "strace") if self.usable(tool)), None)

    def usable(self, tool: str) -> bool:
        if shutil.which(tool) is None:
            return False
        command = {"perf": ["perf", "stat", "-x,", "-e", SYSCALLS], "strace": ["strace", "-c", "-f"]}
        done = subprocess.run([*command[tool], "true"], capture_output=True, text=True)
        return done.returncode == 0 and "not supported" not in done.stderr

    def start(self, name: str, pids: list[int]) -> Counting | None:
        if self.tool is None or not pids:
            return None
        output = self.scratch / f"{name}.count"
        listed = ",".join(map(str, pids))
        if self.tool == "perf":
            command = ["perf", "stat", "-x,", "-o", str(output), "-e", SYSCALLS, "-p", listed]
        else:
            command = ["strace", "-c", "-f", "-o", str(output), "-p", listed]
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        return Counting(process, output)


class Counting:
    """A running counter; `stop` returns the number of calls."""

    def __init__(self, process: subprocess.Popen, output: Path) -> None:
        self.process = process
        self.output = output

    def stop(self) -> int | None:
        self.process.send_signal(2)  # SIGINT: both then print their results
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        try:
            return calls_of(self.output.read_text())
        except OSError:
            return None


def calls_of(text: str) -> int | None:
    """Parses the count in the output of perf or strace.

    perf:    123456,,raw_syscalls:sys_enter,2000000000,100.00,,
    strace:  100.00    0.004711           3      1234       17 total"""
    for line in text.splitlines():
        if SYSCALLS in line:
            count = line.split(",")[0]
            return int(count) if count.isdigit() else None
        fields = line.split()
        if fields and fields[-1] == "total":
            return int(fields[3])
    return None
