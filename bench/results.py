"""The results of a run, as they are written to the JSON file and read again: one sample for each measurement
of a contender at a cell; and the quantities that are derived from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field

from bench import figures
from bench.cells import Cell
from bench.figures import Figure
from bench.load import GENERATOR_BUSY

# In a closed loop with many connections, servers that are not busy are waiting for another process.
SERVERS_BUSY = 0.90
MANY_CONNECTIONS = 64
# The share of the machine that other processes used, from which a sample is doubtful.
OTHERS_BUSY = 0.05
STOLEN = 0.02
# The most by which an open loop's generator may be late, as a share of the time of a request.
LATE_SHARE = 0.5


@dataclass
class Sample:
    """One measurement. Processor times and `seconds` in seconds, `p50` and the like in microseconds."""

    cell: str
    contender: str
    repeat: int
    failed: str = ""
    requests: float = 0  # of large pages also parts of one
    seconds: float = 0.0
    p50: float = 0.0
    p99: float = 0.0
    p999: float = 0.0
    late: float = 0.0
    nginx_cpu: float = 0.0
    memcached_cpu: float = 0.0
    application_cpu: float = 0.0  # of the application whose answers nginx stores
    generator_cpu: float = 0.0
    others_cpu: float = 0.0  # of the whole machine, by processes that are not of this run
    stolen: float = 0.0  # by other guests of the host, seconds
    bytes_each: float = 0.0  # memory cells: growth for each connection or request
    descriptors_each: float = 0.0
    # stampede cells; times from the moment at which all requests are sent
    renders: float = 0  # by the application
    errors: float = 0  # visitors without the page
    rendered: float = 0.0  # when the first render ended; 0 if nobody waits for it
    most: float = 0.0  # the slowest visitor's time
    quiet_p99: float = 0.0  # the same visitors with a page that is fresh, the median of several times
    next_most: float = 0.0  # the slowest one's next request, for a page that is being renewed


@dataclass
class Calls:
    """System calls for each request."""

    cell: str
    contender: str
    nginx: float
    memcached: float | None


Quantity = Callable[[Sample], float]

# The quantities of a sample; their names are used in the JSON file and in bench.bars.
QUANTITIES: dict[str, Quantity] = {
    "rps": lambda one: one.requests / one.seconds,
    "p50": lambda one: one.p50,
    "p99": lambda one: one.p99,
    "p999": lambda one: one.p999,
    "nginx_us": lambda one: one.nginx_cpu / one.requests * 1e6,
    "memcached_us": lambda one: one.memcached_cpu / one.requests * 1e6,
    "generator": lambda one: one.generator_cpu / one.seconds,
    "worker": lambda one: one.nginx_cpu / one.seconds,
    "servers": lambda one: (one.nginx_cpu + one.memcached_cpu + one.application_cpu) / one.seconds,
    "late": lambda one: one.late,
    "bytes": lambda one: one.bytes_each,
    "descriptors": lambda one: one.descriptors_each,
    "renders": lambda one: one.renders,
    "errors": lambda one: one.errors,
    "most": lambda one: one.most,
    "quiet_p99": lambda one: one.quiet_p99,
    "next_most": lambda one: one.next_most,
    "behind_p50": lambda one: (one.p50 - one.rendered) / 1000,  # milliseconds
    "behind_p99": lambda one: (one.p99 - one.rendered) / 1000,
    "times_quiet": lambda one: one.p99 / one.quiet_p99,
}


@dataclass
class Results:
    machine: dict = field(default_factory=dict)
    settings: dict = field(default_factory=dict)
    cells: list[Cell] = field(default_factory=list)
    contenders: dict[str, str] = field(default_factory=dict)  # name to title, in the tables' order
    capacity: dict[int, float] = field(default_factory=dict)  # of stock by size, for open loops
    samples: list[Sample] = field(default_factory=list)
    calls: list[Calls] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def keep(self, cells: list[Cell], contenders: list[str] | None) -> None:
        """Limits the results to these cells."""
        self.cells = cells
        self.contenders = {
            name: title for name, title in self.contenders.items() if not contenders or name in contenders
        }

    def of(self, cell: str, contender: str) -> list[Sample]:
        return [one for one in self.samples if (one.cell, one.contender) == (cell, contender)]

    def failures(self) -> list[Sample]:
        return [one for one in self.samples if one.failed or one.errors]

    def failed(self, cell: str, contender: str) -> str:
        return next((one.failed for one in self.of(cell, contender) if one.failed), "")

    def values(self, cell: str, contender: str, quantity: str) -> dict[int, float]:
        """By repeat."""
        value = QUANTITIES[quantity]
        return {one.repeat: value(one) for one in self.of(cell, contender) if not one.failed}

    def figure(self, cell: str, contender: str, quantity: str) -> Figure | None:
        return figures.figure(list(self.values(cell, contender, quantity).values()))

    def ratio(self, cell: str, contender: str, base: str, quantity: str) -> Figure | None:
        return figures.ratio(
            self.values(cell, contender, quantity), self.values(cell, base, quantity)
        )

    def syscalls(self, cell: str, contender: str) -> Calls | None:
        for calls in self.calls:
            if (calls.cell, calls.contender) == (cell, contender):
                return calls
        return None

    def measured(self, cell: str) -> list[str]:
        """The contenders that were measured at a cell, in the order of the tables."""
        there = {one.contender for one in self.samples if one.cell == cell}
        return [name for name in self.contenders if name in there]

    def limits(self, cell: Cell, contender: str) -> str:
        """The reason why the requests/s of a contender at a cell are not its maximum: "generator" if the load
        generator was at its limit, "waiting" if the servers waited for another process, which may also be
        another program that used their core. For an open loop "late", if the generator was late. Empty if
        there was no such reason."""
        if cell.kind == "open":
            late = self.figure(cell.name, contender, "late")
            p99 = self.figure(cell.name, contender, "p99")
            return "late" if late and p99 and late.median > LATE_SHARE * p99.median else ""
        if cell.kind == "stampede":
            return ""  # they wait for the application
        generator = self.figure(cell.name, contender, "generator")
        if generator and generator.median >= GENERATOR_BUSY:
            return "generator"
        cores = self.settings.get("cores", {})
        shared = cell.workers == 1 and cores and cores["nginx"] == cores["memcached"]
        busy = self.figure(cell.name, contender, "servers" if shared else "worker")
        if busy and cell.connections >= MANY_CONNECTIONS and busy.median < SERVERS_BUSY * cell.workers:
            return "waiting"
        return ""

    def disturbed(self) -> list[Sample]:
        """Samples during which other processes used the machine."""
        cores = self.machine.get("cores", 1)
        return [
            one
            for one in self.samples
            if one.seconds
            and (
                one.others_cpu > OTHERS_BUSY * cores * one.seconds
                or one.stolen > STOLEN * cores * one.seconds
            )
        ]

    def as_json(self) -> dict:
        return asdict(self)

    @staticmethod
    def from_json(data: dict) -> Results:
        def each(kind: type, rows: Iterable[dict]) -> list:
            return [kind(**row) for row in rows]

        return Results(
            machine=data["machine"],
            settings=data["settings"],
            cells=each(Cell, data["cells"]),
            contenders=data["contenders"],
            capacity={int(size): value for size, value in data["capacity"].items()},
            samples=each(Sample, data["samples"]),
            calls=each(Calls, data["calls"]),
            notes=data["notes"],
        )
