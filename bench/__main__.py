"""The command line of scripts/bench: selects cells, contenders and times, runs them, and prints the
tables."""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import shutil
import signal
import sys
import time
from pathlib import Path

from bench import bars, cells, contenders, machine, report
from bench.cells import Cell
from bench.contenders import CONTENDERS, Contender
from bench.progress import Progress, clock
from bench.results import Results

TARGET = machine.ROOT / "target"
OUTPUT = TARGET / "bench"
MODULES_FOLDER = "/usr/lib/nginx/modules"
UWSGI = TARGET / "venv" / "bin" / "uwsgi"
OPENLOOP = OUTPUT / "cargo" / "release" / "openloop"
MOST_SECONDS = 60
MOST_REPEATS = 100

# Cells, contenders (None: the usual ones of each cell), repeats, seconds of each measurement, and of an open
# loop's.
QUICK = (cells.QUICK, contenders.QUICK, 4, 0.6, 2)
DEFAULT = (cells.DEFAULT, None, 5, 1, 5)
FULL = (cells.FULL, contenders.FULL, 5, 1, 5)


def main() -> int:
    arguments = parse()
    if arguments.needs:
        print_needs(arguments)
        return 0
    if arguments.read:
        results = report.read_json(arguments.read)
        results.keep(cells.select(results.cells, arguments.only), arguments.contenders)
        return finish(results, arguments, None)
    results = Results()
    status = 0
    try:
        measure(arguments, results)
    except KeyboardInterrupt:
        status = 130
        results.notes.append("The run was interrupted: repeats and cells are missing.")
    return finish(results, arguments, output_file(arguments)) or status


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measures this module beside nginx's memcached module and others, in one interleaved "
        "run. Tables go to stdout, progress to stderr, all figures to target/bench/. Everything stays on "
        "loopback, in tmpfs, and ends with the run.",
        epilog="examples: scripts/bench --quick;  scripts/bench --only 'hit/100B/*' --contenders "
        "stock,ours;  scripts/bench --only 'hit/*/c64' --contenders ours --module old.so --module-b new.so",
    )
    add = parser.add_argument
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="a first look: six cells, under a minute")
    size.add_argument("--full", action="store_true", help="all cells and all contenders")
    add("--only", action="append", default=[], metavar="GLOB",
        help="only cells whose names fit, of the whole matrix; may be repeated: 'hit/*/c64', 'open/*'")
    add("--contenders", type=names, metavar="A,B", help=f"of: {', '.join(CONTENDERS)}")
    add("--repeats", type=bounded(int, 1, MOST_REPEATS), metavar="N", help="how often each is measured")
    add("--seconds", type=bounded(float, 0.3, MOST_SECONDS), metavar="S",
        help="how long a measurement takes")
    add("--module", type=Path, metavar="FILE",
        help="this project's module; default: built first, by scripts/build")
    add("--module-b", type=Path, metavar="FILE",
        help="a second build of it, which takes part as ours-b in an nginx of its own")
    add("--nginx", default=shutil.which("nginx") or "nginx", metavar="FILE",
        help="default: Debian's. Another takes none of Debian's modules: who needs them is left out")
    add("--pin", choices=("load", "nginx", "none"), default="load",
        help="who has a core to itself where there are two; default: %(default)s")
    add("--let-cores-sleep", action="store_true",
        help="do not keep idle cores awake, which needs root and takes much of the noise away")
    add("--no-syscalls", action="store_true",
        help="do not count system calls, which takes measurements of its own")
    add("--json", type=Path, metavar="FILE", help="default: target/bench/DATE.json")
    add("--chart", type=Path, nargs="?", const=OUTPUT / "chart.svg", metavar="FILE",
        help="draws the chart; default: target/bench/chart.svg")
    add("--read", type=Path, metavar="FILE",
        help="measures nothing: tables and chart of an earlier run's JSON file, or of some of its cells "
        "and contenders")
    add("--list", action="store_true", help="shows which cells and contenders there would be")
    add("--needs", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.module_b and arguments.contenders and "ours-b" not in arguments.contenders:
        arguments.contenders.append("ours-b")
    if arguments.contenders and "ours-b" in arguments.contenders and not arguments.module_b:
        parser.error("ours-b needs --module-b")
    for file in (arguments.module, arguments.module_b, arguments.read):
        if file and not file.is_file():
            parser.error(f"there is no {file}")
    arguments.cells, arguments.there, arguments.usual, *length = plan(arguments)
    if not arguments.cells:
        parser.error("no cell has such a name; --list shows them")
    arguments.repeats, arguments.seconds, arguments.open_seconds = length
    if arguments.list:
        show(arguments)
        parser.exit()
    return arguments


def names(text: str) -> list[str]:
    found = [name for name in text.split(",") if name]
    for name in found:
        if name not in CONTENDERS:
            raise argparse.ArgumentTypeError(f"no contender is called {name!r}")
    return found


def bounded(kind: type, least: float, most: float):
    def number(text: str):
        value = kind(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text} is not from {least} to {most}")
        return value

    return number


def plan(arguments: argparse.Namespace) -> tuple[list[Cell], list[Contender], bool, int, float, float]:
    there, who, repeats, seconds, open_seconds = DEFAULT
    if arguments.quick:
        there, who, repeats, seconds, open_seconds = QUICK
    elif arguments.full:
        there, who, repeats, seconds, open_seconds = FULL
    elif arguments.only:
        there = cells.FULL
    who = arguments.contenders or who
    usual = who is None
    who = set(who or contenders.FULL)
    if arguments.module_b:
        who.add("ours-b")
    picked = cells.select(there, arguments.only)
    # the rates are shares of its capacity
    if any(cell.kind == "open" for cell in picked):
        who.add("stock")
    return (
        picked,
        [
            one
            for name, one in CONTENDERS.items()
            if name in who and any(one.takes(cell, usual) for cell in picked)
        ],
        usual,
        arguments.repeats or repeats,
        arguments.seconds or seconds,
        arguments.seconds or open_seconds,
    )


def show(arguments: argparse.Namespace) -> None:
    for cell in arguments.cells:
        there = [one.name for one in arguments.there if one.takes(cell, arguments.usual)]
        print(f"{cell.name:24} {' '.join(there)}")


def print_needs(arguments: argparse.Namespace) -> None:
    """For scripts/bench, which installs it: one package a line."""
    if arguments.read:
        return
    for package in sorted({package for one in arguments.there for package in one.packages}):
        print("package", package)
    if any(cell.kind in ("open", "stampede") for cell in arguments.cells):
        print("openloop")
    if any(cell.kind == "stampede" for cell in arguments.cells):
        print("uwsgi")
    if any(cell.work == "h2" for cell in arguments.cells):
        print("package nghttp2-client")
        print("package openssl")
    if any(one.ours for one in arguments.there) and not arguments.module:
        print("module")


def measure(arguments: argparse.Namespace, results: Results) -> None:
    from bench.hosts import Options
    from bench.run import Run
    from bench.servers import Trouble, folder

    # also if a shell has started it in the background, with Ctrl-C ignored
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    module = arguments.module or TARGET / "ngx_http_pagecache_module.so"
    options = Options(
        nginx=arguments.nginx,
        modules_folder=MODULES_FOLDER,
        module=str(module.resolve()),
        module_b=str((arguments.module_b or module).resolve()),
        openloop=str(OPENLOOP),
        uwsgi=str(UWSGI),
        repeats=arguments.repeats,
        seconds=arguments.seconds,
        open_seconds=arguments.open_seconds,
        pin=arguments.pin,
        syscalls=not (arguments.no_syscalls or arguments.quick),
        usual=arguments.usual,
    )
    results.machine = machine.describe(arguments.nginx)
    results.cells = arguments.cells
    results.contenders = {one.name: one.title for one in arguments.there}
    progress = Progress()
    try:
        with folder() as root, contextlib.ExitStack() as stack:
            awake = stack.enter_context(machine.awake(not arguments.let_cores_sleep))
            run = Run(options, arguments.cells, arguments.there, results, progress, root, stack)
            results.settings = {
                "repeats": options.repeats,
                "seconds": options.seconds,
                "open_seconds": options.open_seconds,
                "pin": options.pin,
                "cores": run.hosts.cores,
                "awake": awake,
                "syscalls": run.counter.tool if options.syscalls else None,
            }
            run.go()
    except Trouble as error:
        progress.clear()
        sys.exit(f"scripts/bench: {error}")
    progress.clear()
    print(f"measured in {clock(time.monotonic() - progress.started)}", file=sys.stderr)


def output_file(arguments: argparse.Namespace) -> Path:
    return arguments.json or OUTPUT / f"{time.strftime('%Y-%m-%d-%H%M%S')}.json"


def finish(results: Results, arguments: argparse.Namespace, file: Path | None) -> int:
    """0 if nothing failed; the reader judges whether the targets were reached."""
    if not results.samples:
        print("scripts/bench: nothing was measured", file=sys.stderr)
        return 1
    text = report.markdown(results)
    print(text)
    if file:
        report.write_json(results, file)
        file.with_suffix(".md").write_text(text)
        print(f"figures: {relative(file)}, tables: {relative(file.with_suffix('.md'))}", file=sys.stderr)
    if arguments.chart:
        from bench import chart

        chart.write(results, arguments.chart)
        print(f"chart: {relative(arguments.chart)}", file=sys.stderr)
    words = [verdict.word.split(",")[0].split(":")[0] for verdict in bars.verdicts(results)]
    if words:
        print(f"bars: {words.count('reached')} reached, {words.count('missed')} missed", file=sys.stderr)
    return 1 if results.failures() else 0


def relative(path: Path) -> str:
    return os.path.relpath(path)


if __name__ == "__main__":
    sys.exit(main())
