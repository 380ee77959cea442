"""The report at the end of a run: Markdown tables, fit for the documentation, and the JSON file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from bench import bars, machine
from bench.cells import Cell
from bench.figures import Figure
from bench.results import Results

NONE = ""
LIMITS = {
    "generator": "the load generator took its whole core: more might be possible",
    "waiting": "the servers' core was not busy with them all the time",
    "late": "the load generator was late itself: the latencies are partly its own",
}
MARKS = {"": "", "generator": " (g)", "waiting": " (w)", "late": " (l)"}


def write_json(results: Results, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = json.dumps(results.as_json(), indent=1, ensure_ascii=False)
    fresh = path.with_suffix(".new")
    fresh.write_text(data + "\n")
    fresh.replace(path)


def read_json(path: Path) -> Results:
    return Results.from_json(json.loads(path.read_text()))


def markdown(results: Results) -> str:
    parts = [machine.sentence(results.machine) + ".", settings(results)]
    closed = [cell for cell in results.cells if cell.kind == "closed"]
    opened = [cell for cell in results.cells if cell.kind == "open"]
    bursts = [cell for cell in results.cells if cell.kind == "stampede"]
    remembered = [cell for cell in results.cells if cell.kind == "memory"]
    if closed:
        parts.append("### Throughput and processor time\n\n" + closed_table(results, closed))
    if opened:
        parts.append("### Latency at a constant rate\n\n" + open_table(results, opened))
    if bursts:
        parts.append("### A page that expires\n\n" + stampede_table(results, bursts))
    if remembered:
        parts.append("### Memory\n\n" + memory_table(results, remembered))
    if bars.verdicts(results) or {bars.OURS, bars.STOCK} <= results.contenders.keys():
        parts.append("### Bars\n\n" + bars_table(results))
    if "ours-b" in results.contenders:
        parts.append("### Build B against build A\n\n" + builds_table(results))
    parts += [notes for notes in [remarks(results)] if notes]
    return "\n\n".join(parts) + "\n"


def settings(results: Results) -> str:
    used = results.settings
    cores = used["cores"]
    where = ", ".join(f"{name} on core {core}" for name, core in cores.items()) or "not tied to cores"
    idle = "kept awake" if used["awake"] else "free to sleep"
    return (
        f"{used['repeats']} × {used['seconds']:g} s, interleaved; medians, and ± half the distance from "
        f"the least to the most; {where}; idle cores {idle}."
    )


def closed_table(results: Results, cells: list[Cell]) -> str:
    head = ["cell", "", "requests/s", "×", "p50", "p99", "nginx µs", "×", "memcached µs", "calls"]
    about = (
        "×: as a multiple of memcached_pass (`fill`: of proxy_cache), the median of the repeats' ratios. nginx µs, "
        "memcached µs: processor time for each request. calls: nginx's system calls for each request."
    )

    def row(cell: Cell, name: str, mark: str) -> list[str]:
        def figure(quantity: str) -> Figure | None:
            return results.figure(cell.name, name, quantity)

        def times(quantity: str) -> str:
            base = bars.PROXY_CACHE if cell.work == "fill" else bars.STOCK
            return factor(results.ratio(cell.name, name, base, quantity))

        calls = results.syscalls(cell.name, name)
        return [
            count(figure("rps")) + mark,
            times("rps"),
            duration(figure("p50")),
            duration(figure("p99")),
            micros(figure("nginx_us")),
            times("nginx_us"),
            micros(figure("memcached_us")),
            f"{calls.nginx:.2f}" if calls else NONE,
        ]

    return timed_table(results, cells, head, row, about)


def open_table(results: Results, cells: list[Cell]) -> str:
    head = ["cell", "", "requests/s", "p50", "p99", "p99.9", "× p50", "× p99", "× p99.9", "nginx µs"]
    about = "Times count from when a request was due. The rate is a share of what memcached_pass does at most."
    quantiles = ("p50", "p99", "p999")

    def row(cell: Cell, name: str, mark: str) -> list[str]:
        return [
            plain_count(results.figure(cell.name, name, "rps")) + mark,
            *(duration(results.figure(cell.name, name, one)) for one in quantiles),
            *(factor(results.ratio(cell.name, name, bars.STOCK, one)) for one in quantiles),
            micros(results.figure(cell.name, name, "nginx_us")),
        ]

    return timed_table(results, cells, head, row, about)


def stampede_table(results: Results, cells: list[Cell]) -> str:
    head = ["cell", "", "renders", "errors", "p50", "p99", "slowest", "p50 - render", "p99 - render", "p99 quiet", "next"]
    about = (
        "Medians of the repeats, in brackets the least and the most. p50, p99, slowest: of the visitors, from the "
        "moment at which all send their requests. - render: minus the time at which the first render ended. "
        "p99 quiet: of the same visitors with a page that is fresh. next: the slowest visitor's next request, during "
        "the renewal."
    )

    def row(cell: Cell, name: str, mark: str) -> list[str]:
        def figure(quantity: str) -> Figure | None:
            return results.figure(cell.name, name, quantity)

        is_stale = cell.state == "stale"
        return [
            span(figure("renders")) + mark,
            span(figure("errors")),
            *(duration(figure(one)) for one in ("p50", "p99", "most")),
            *(NONE if is_stale else millis(figure(one)) for one in ("behind_p50", "behind_p99")),
            duration(figure("quiet_p99")),
            duration(figure("next_most")) if is_stale else NONE,
        ]

    return timed_table(results, cells, head, row, about)


def timed_table(
    results: Results, cells: list[Cell], head: list[str], row: Callable[[Cell, str, str], list[str]],
    about: str,
) -> str:
    """A line for each contender at each cell; `row` has the columns after their names, `about` the
    remarks."""
    rows = []
    marks: set[str] = set()
    for cell in cells:
        for nth, name in enumerate(results.measured(cell.name)):
            first = [f"`{cell.name}`" if nth == 0 else NONE, results.contenders[name]]
            if failed := results.failed(cell.name, name):
                rows.append(first + [f"failed: {failed}"] + [NONE] * (len(head) - 3))
                continue
            limit = results.limits(cell, name)
            marks.add(limit)
            rows.append(first + row(cell, name, MARKS[limit]))
    below = [about]
    below += [f"{MARKS[mark].strip()}: {text}." for mark, text in LIMITS.items() if mark in marks]
    return table(head, rows) + "\n\n" + "\n".join(below)


def memory_table(results: Results, cells: list[Cell]) -> str:
    head = ["for each", "", "bytes", "×", "descriptors"]
    rows = []
    for cell in cells:
        what = "waiting request" if cell.waiting else "idle connection"
        for nth, name in enumerate(results.measured(cell.name)):
            first = [what if nth == 0 else NONE, results.contenders[name]]
            if failed := results.failed(cell.name, name):
                rows.append(first + [f"failed: {failed}", NONE, NONE])
                continue
            grown = results.figure(cell.name, name, "bytes")
            handles = results.figure(cell.name, name, "descriptors")
            rows.append(
                first
                + [
                    plain_count(grown),
                    factor(results.ratio(cell.name, name, bars.STOCK, "bytes")),
                    f"{handles.median:.2f}" if handles else NONE,
                ]
            )
    return table(head, rows)


def bars_table(results: Results) -> str:
    rows = []
    for verdict in bars.verdicts(results):
        bar = verdict.bar
        title = results.contenders.get
        who = NONE if bar.contender == bars.OURS else f" of {title(bar.contender, bar.contender)}"
        base = NONE if bar.base in (bars.STOCK, "") else f", of {title(bar.base, bar.base)}"
        ratio = verdict.ratio
        measured = f"{ratio.median:.2f} ({ratio.least:.2f} to {ratio.most:.2f})" if ratio else NONE
        what = NAMES[bar.quantity] + who + base
        rows.append([bar.work, f"`{verdict.cell}`", what, bar.bound, measured, verdict.word])
    if not rows:
        return "None of the measured cells has one."
    return table(["work", "cell", "quantity", "bar", "measured", ""], rows)


NAMES = {
    "rps": "requests/s",
    "nginx_us": "CPU per request",
    "memcached_us": "memcached's CPU per request",
    "p50": "p50",
    "p99": "p99",
    "p999": "p99.9",
    "bytes": "bytes",
    "renders": "renders",
    "behind_p50": "p50 - render, ms,",
    "times_quiet": "p99, of a quiet burst's",
}


def builds_table(results: Results) -> str:
    """Build B as a multiple of build A, and the number of repeats in which it was better."""
    better = {"rps": 1, "nginx_us": -1, "memcached_us": -1, "p99": -1}
    head = ["cell", *(f"{NAMES[quantity]}, B/A" for quantity in better)]
    rows = []
    for cell in results.cells:
        row = [f"`{cell.name}`"]
        for quantity, sign in better.items():
            if cell.kind in ("memory", "stampede"):
                row.append(NONE)
                continue
            ratio = results.ratio(cell.name, "ours-b", bars.OURS, quantity)
            a = results.values(cell.name, bars.OURS, quantity)
            b = results.values(cell.name, "ours-b", quantity)
            both = [repeat for repeat in a if repeat in b]
            wins = sum(sign * (b[repeat] - a[repeat]) > 0 for repeat in both)
            spread = f"{ratio.median:.3f} ({ratio.least:.3f} to {ratio.most:.3f})" if ratio else NONE
            row.append(f"{spread}, {wins}/{len(both)}" if ratio else NONE)
        rows.append(row)
    about = (
        "In brackets the least and the most over the repeats; behind them in how many of the repeats B was "
        "the better one. Run a build against itself to see how far apart the same code comes out."
    )
    return table(head, rows) + "\n\n" + about


def remarks(results: Results) -> str:
    lines = list(results.notes)
    disturbed = results.disturbed()
    if disturbed:
        timed = sum(1 for one in results.samples if one.seconds)
        lines.append(
            f"During {len(disturbed)} of {timed} measurements other programs, or other guests of the host, "
            "used the processors: expect spread."
        )
    return "\n".join(f"- {line}" for line in lines)


# Cells of tables.


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


def count(figure: Figure | None) -> str:
    if figure is None:
        return NONE
    return f"{figure.median:,.0f} ± {figure.spread * 50:.0f} %"


def plain_count(figure: Figure | None) -> str:
    return f"{figure.median:,.0f}" if figure else NONE


def factor(figure: Figure | None) -> str:
    return f"{figure.median:.2f}" if figure else NONE


def micros(figure: Figure | None) -> str:
    return f"{figure.median:.1f}" if figure else NONE


def span(figure: Figure | None) -> str:
    if figure is None:
        return NONE
    if figure.least == figure.most:
        return f"{figure.median:.0f}"
    return f"{figure.median:.0f} ({figure.least:.0f} to {figure.most:.0f})"


def millis(figure: Figure | None) -> str:
    """Formats milliseconds."""
    return f"{span(figure)} ms" if figure else NONE


def duration(figure: Figure | None) -> str:
    """Formats microseconds."""
    if figure is None:
        return NONE
    if figure.median < 1000:
        return f"{figure.median:.0f} µs"
    return f"{figure.median / 1000:.2f} ms"
