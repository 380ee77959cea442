"""One run: for each repeat, at each cell, one contender after the other, so that changes of the machine
affect all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TypeVar

from bench import load, measure, memory, pages, servers, stampede
from bench.cells import OPEN_CONNECTIONS, Cell
from bench.contenders import CONTENDERS, Contender
from bench.hosts import Host, Hosts, Options
from bench.progress import Progress
from bench.results import Calls, Results, Sample
from bench.servers import StandIn, Trouble

WARM_UP_SECONDS = 0.3
FIRST_RATE = 1000  # requests/s, of a load that ends after a number of requests
ATTEMPTS = 3
CALLS_SECONDS = 0.5
ATTACH_SECONDS = 0.2  # for perf or strace
AROUND_SECONDS = 0.15  # what starting and ending a load takes
CAPACITY_REPEATS = 3
BUSY_BEFORE = 0.5  # load average

Measured = TypeVar("Measured")


class Run:
    """`results` is complete after each step, so that an interrupted run can be reported, too."""

    def __init__(
        self, options: Options, cells: list[Cell], contenders: list[Contender], results: Results,
        progress: Progress, root: Path, stack: ExitStack,
    ) -> None:
        self.options = options
        self.cells = cells
        self.contenders = contenders
        self.results = results
        self.progress = progress
        self.root = root
        self.hosts = Hosts(options, cells, contenders, root, stack)
        self.counter = measure.SyscallCounter(root)
        self.loads = 0
        self.rates: dict[tuple[str, str], float] = {}
        self.bad: set[tuple[str, str]] = set()

    def go(self) -> None:
        if self.results.machine["load_before"] > BUSY_BEFORE:
            self.note(f"The machine was busy before the run (load {self.results.machine['load_before']}).")
        pages.write_files(self.root / "files", self.cells)
        self.drop_unusable()
        timed = [cell for cell in self.cells if cell.kind not in ("memory", "stampede")]
        bursts = [cell for cell in self.cells if cell.kind == "stampede"]
        closed = [cell for cell in timed if cell.kind == "closed"]
        counted = closed if self.options.syscalls and self.counter.tool else []
        opened = {cell.size for cell in timed if cell.kind == "open"}
        if self.options.syscalls and not self.counter.tool:
            self.results.notes.append("system calls were not counted: neither perf nor strace works here")

        each = self.options.seconds + AROUND_SECONDS
        self.progress.expect(CAPACITY_REPEATS * each * len(opened))
        for cell in timed:
            self.progress.expect(len(self.at(cell)) * self.options.repeats * self.duration(cell))
        calls_step = CALLS_SECONDS + ATTACH_SECONDS + AROUND_SECONDS
        self.progress.expect(sum(len(self.at(cell)) for cell in counted) * calls_step)
        for cell in bursts:
            each = len(self.at(cell)) * stampede.ABOUT_SECONDS + stampede.EXPIRY_SECONDS
            self.progress.expect(self.options.repeats * each)
        remembered = [cell for cell in self.cells if cell.kind == "memory"]
        for cell in remembered:
            self.progress.expect(len(self.at(cell)) * self.options.repeats * memory.ABOUT_SECONDS)

        self.start_and_check(timed + bursts)
        for size in sorted(opened):
            self.find_capacity(size)
        for repeat in range(self.options.repeats):
            for cell in timed:
                for contender in self.turn(cell, repeat):
                    self.progress.step(f"{cell.name}  {contender.name}  #{repeat + 1}", self.duration(cell))
                    self.sample(cell, contender, repeat)
        for cell in counted:
            for contender in self.turn(cell, 0):
                self.progress.step(f"{cell.name}  {contender.name}  system calls", calls_step)
                self.count(cell, contender)
        for repeat in range(self.options.repeats):
            for cell in bursts:
                self.burst(cell, repeat)
        for repeat in range(self.options.repeats):
            for cell in remembered:
                for contender in self.turn(cell, repeat):
                    self.progress.step(
                        f"{cell.name}  {contender.name}  #{repeat + 1}", memory.ABOUT_SECONDS
                    )
                    self.remember(cell, contender, repeat)
        self.progress.clear()
        for line in servers.alarms(self.root):
            self.results.notes.append(f"nginx logged: {line}")

    # The contenders that take part.

    def at(self, cell: Cell) -> list[Contender]:
        return [
            one
            for one in self.contenders
            if one.takes(cell, self.options.usual) and (cell.name, one.name) not in self.bad
        ]

    def turn(self, cell: Cell, repeat: int) -> list[Contender]:
        """Each repeat begins with another contender."""
        there = self.at(cell)
        first = repeat % len(there) if there else 0
        return there[first:] + there[:first]

    def duration(self, cell: Cell) -> float:
        open_loop = cell.kind == "open"
        return (self.options.open_seconds if open_loop else self.options.seconds) + AROUND_SECONDS

    def note(self, text: str) -> None:
        self.results.notes.append(text)
        self.progress.say(text)

    def drop_unusable(self) -> None:
        """Only Debian's nginx can load Debian's modules."""
        usable = []
        for one in self.contenders:
            trouble = self.hosts.rejected(one) if one.modules else ""
            if trouble:
                self.note(f"{one.name} is left out: {trouble}")
            else:
                usable.append(one)
        self.contenders[:] = usable

    def start_and_check(self, cells: list[Cell]) -> None:
        for cell in cells:
            for contender in self.at(cell):
                for host in self.hosts.fleet(cell, contender):
                    port = host.ports[contender.name]
                    # twice: contenders that cache files must then have the page
                    wrong = pages.check(port, cell) or pages.check(port, cell, contender.stores)
                    if wrong:
                        self.fail(cell, contender, f"before the run: {wrong}")
                        break

    def fail(self, cell: Cell, contender: Contender, text: str, repeat: int = 0) -> None:
        self.bad.add((cell.name, contender.name))
        self.results.samples.append(Sample(cell.name, contender.name, repeat, failed=text))
        self.progress.say(f"{cell.name}: {contender.name} failed: {text}")

    # The measurements.

    def load(self, cell: Cell, host: Host, contender: Contender, seconds: float) -> load.Load:
        core = self.hosts.cores.get("load") if cell.workers == 1 else None
        port, path = host.ports[contender.name], pages.target(cell)
        size = pages.least_bytes(cell)
        if cell.kind == "open":
            rate = self.results.capacity[cell.size] * cell.percent / 100
            return load.open_loop(
                self.options.openloop, port, path, cell.connections, seconds, rate, size, core
            )
        if cell.work == "h2":
            key, log = (cell.name, contender.name), self.root / "h2load.log"
            count = round(self.rates.get(key, FIRST_RATE) * seconds)
            done = load.over_tls(port, path, cell.connections, count, seconds, size, core, log)
            self.rates[key] = done.per_second
            return done
        requests = {"BENCH_KEYS": str(cell.keys)}
        if cell.accepts_gzip:
            requests["BENCH_GZIP"] = "yes"
        if cell.work == "fill":
            self.loads += 1
            requests["BENCH_RUN"] = str(self.loads)
        return load.closed(port, path, cell.connections, seconds, size, core, requests)

    def sample(self, cell: Cell, contender: Contender, repeat: int) -> None:
        host = self.hosts.one(cell, contender)
        seconds = self.options.open_seconds if cell.kind == "open" else self.options.seconds

        def work() -> load.Load:
            return self.load(cell, host, contender, seconds)

        if repeat == 0:
            with suppress(load.Failed):
                self.load(cell, host, contender, WARM_UP_SECONDS)
        try:
            sample = again(lambda: self.watch([host], contender, work))
        except (load.Failed, measure.Gone) as error:
            self.fail(cell, contender, str(error), repeat)
            return
        sample.cell, sample.repeat = cell.name, repeat
        self.results.samples.append(sample)

    def burst(self, cell: Cell, repeat: int) -> None:
        """All contenders at a cell. Their pages expire at the same time."""
        there = self.turn(cell, repeat)
        ports = {
            one.name: [host.ports[one.name] for host in self.hosts.fleet(cell, one)] for one in there
        }
        paths = {one.name: stampede.new_page(cell) for one in there}
        if cell.state != "cold":
            self.progress.step(f"{cell.name}  #{repeat + 1}", stampede.EXPIRY_SECONDS)
            for one in there:
                try:
                    stampede.prepare(ports[one.name], paths[one.name])
                except load.Failed as error:
                    self.fail(cell, one, str(error), repeat)
            time.sleep(stampede.EXPIRY_SECONDS)
        program, log = self.options.openloop, self.root / servers.RENDERS
        for one in self.turn(cell, repeat):
            self.progress.step(f"{cell.name}  {one.name}  #{repeat + 1}", stampede.ABOUT_SECONDS)

            def work() -> load.Load:
                return stampede.measure(program, log, cell, ports[one.name], paths[one.name])

            try:
                sample = self.watch(self.hosts.fleet(cell, one), one, work)
            except (load.Failed, measure.Gone) as error:
                self.fail(cell, one, str(error), repeat)
                continue
            sample.cell, sample.repeat = cell.name, repeat
            self.results.samples.append(sample)

    def watch(self, hosts: list[Host], contender: Contender, work: Callable[[], load.Load]) -> Sample:
        """A load, and the measurements of the servers and of the machine during it. Several hosts share a
        memcached and an application."""
        application = hosts[0].application
        measured = [
            [pid for host in hosts for pid in host.pids(contender.name)],
            hosts[0].memcached.pids(),
            application.pids() if application else [],
        ]
        before = [measure.cpu_seconds(pids) for pids in measured]
        machine = measure.Machine.now()
        done = work()
        now = measure.Machine.now()
        nginx_cpu, memcached_cpu, application_cpu = (
            measure.cpu_seconds(pids) - since for pids, since in zip(measured, before)
        )
        known = nginx_cpu + memcached_cpu + application_cpu + done.cpu
        return Sample(
            cell="",
            contender=contender.name,
            repeat=0,
            requests=done.requests,
            seconds=done.seconds,
            p50=done.p50,
            p99=done.p99,
            p999=done.p999,
            late=done.late,
            nginx_cpu=nginx_cpu,
            memcached_cpu=memcached_cpu,
            application_cpu=application_cpu,
            generator_cpu=done.cpu,
            others_cpu=max(0.0, now.busy - machine.busy - known),
            stolen=now.stolen - machine.stolen,
            **done.more,
        )

    def find_capacity(self, size: int) -> None:
        """The capacity of the stock module, of which the rates of open loops are shares."""
        cell = Cell(f"capacity/{size}", "closed", size, OPEN_CONNECTIONS)
        stock = CONTENDERS["stock"]
        found = []
        for repeat in range(CAPACITY_REPEATS):
            self.progress.step(f"{cell.name}  #{repeat + 1}", self.options.seconds + AROUND_SECONDS)
            try:
                done = again(lambda: self.load(cell, self.hosts.one(cell, stock), stock, self.options.seconds))
            except load.Failed as error:
                raise Trouble(f"what the stock module does at most could not be found: {error}") from error
            found.append(done.per_second)
        self.results.capacity[size] = sorted(found)[len(found) // 2]

    def count(self, cell: Cell, contender: Contender) -> None:
        host = self.hosts.one(cell, contender)
        counting = [
            self.counter.start("nginx", host.pids(contender.name)),
            self.counter.start("memcached", host.memcached.pids()),
        ]
        requests = 0
        try:
            time.sleep(ATTACH_SECONDS)
            requests = self.load(cell, host, contender, CALLS_SECONDS).requests
        except load.Nothing:
            pass  # its figures stand; this one is missing
        except load.Failed as error:
            self.fail(cell, contender, f"while its system calls were counted: {error}")
        finally:
            calls = [one.stop() if one else None for one in counting]
        if requests and calls[0]:
            store = calls[1] / requests if calls[1] is not None else None
            self.results.calls.append(Calls(cell.name, contender.name, calls[0] / requests, store))

    def remember(self, cell: Cell, contender: Contender, repeat: int) -> None:
        """Memory that is in use is not returned, so each measurement starts a new nginx."""
        with ExitStack() as stack:
            ports = servers.free_ports([contender.name, "origin"])
            if cell.waiting:
                silent = StandIn()
                stack.callback(silent.close)
                address = f"127.0.0.1:{silent.port}"
            else:
                address = self.hosts.store(unix=False, pinned=True)[1]
            module = self.options.module if contender.build == "a" else self.options.module_b
            values = self.hosts.values(address, ports["origin"], 1, 1)
            conf = self.hosts.conf([contender], ports, values, module, 1)
            name = f"memory-{contender.name}-{cell.name.replace('/', '-')}-{repeat}"
            nginx = servers.nginx(self.options.nginx, name, self.root, conf, [*ports.values()], None)
            stack.callback(nginx.stop)
            try:
                grown = memory.grow(nginx, ports[contender.name], cell)
            except memory.NotAnswered as error:
                self.fail(cell, contender, str(error), repeat)
                return
        self.results.samples.append(
            Sample(
                cell.name,
                contender.name,
                repeat,
                bytes_each=grown.bytes_each,
                descriptors_each=grown.descriptors_each,
            )
        )


def again(work: Callable[[], Measured]) -> Measured:
    """Repeats the measurement if there was no answer at all."""
    for _ in range(ATTEMPTS - 1):
        with suppress(load.Nothing):
            return work()
    return work()
