"""Runs the HTTP caching tests: for each profile the suite's origin server, memcached and nginx, then the suite's
client, and prints the counts.

    run.py SUITE RESULTS MODULE [--test ID] PROFILE...

scripts/cache-suite calls it in a network namespace of its own, in which all ports are free.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent

sys.path.append(str(HERE.parents[2] / "testkit" / "python"))

from pagecache_testkit import NotReady, Process, listening, memcached, nginx_user, tail  # noqa: E402

ORIGIN, NGINX, MEMCACHED = 8000, 8001, 11211
MEGABYTES = 64
# The suite waits 3 seconds after many of the requests, and runs 25 tests at a time.
LIMIT_SECONDS = 900
KINDS = ("required", "optimal", "check")


def main() -> None:
    arguments = parsed()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    try:
        for profile in arguments.profile:
            with servers(arguments.suite, arguments.results / profile, arguments.module, profile, arguments.test):
                if arguments.test:
                    show(arguments.suite, arguments.results / profile, arguments.test)
                else:
                    measure(arguments.suite, arguments.results, profile)
    except (NotReady, Failed, subprocess.TimeoutExpired) as error:
        sys.exit(f"cache-suite: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    if not arguments.test:
        print_counts(arguments.suite, arguments.results, arguments.profile)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("suite", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("module", type=Path)
    parser.add_argument("--test", default="")
    parser.add_argument("profile", nargs="+")
    return parser.parse_args()


class Failed(Exception):
    """The suite's client did not give results; contains the reason."""


@contextlib.contextmanager
def servers(suite: Path, folder: Path, module: Path, profile: str, test: str) -> Iterator[None]:
    """The servers of one profile, in a folder that is emptied first."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "tmp").mkdir(parents=True)
    (folder / "nginx.conf").write_text(nginx_conf(module, profile))
    with contextlib.ExitStack() as stack:

        def run(name: str, command: list[str], port: int, cwd: Path, log: Path | None) -> None:
            os.chdir(cwd)
            process = Process(name, command, log, suite_environment(folder, test))
            stack.callback(process.stop)
            process.wait_until(lambda: listening(port))

        server = ["node", "test-engine/server/server.mjs"]
        # Of a single test it prints each request and response.
        run("the origin server", server, ORIGIN, suite, None if test else folder / "origin.log")
        run("memcached", memcached(MEMCACHED, MEGABYTES), MEMCACHED, folder, folder / "memcached.log")
        nginx = ["nginx", "-p", str(folder), "-e", "error.log", "-c", "nginx.conf"]
        run("nginx", nginx, NGINX, folder, folder / "nginx.log")
        yield


def suite_environment(folder: Path, test: str) -> dict[str, str]:
    """The environment of the suite's programs. Their options are variables that npm would set."""
    options = {
        "protocol": "http",
        "port": str(ORIGIN),
        "base": f"http://127.0.0.1:{NGINX}",
        "id": test,
        "pidfile": str(folder / "origin.pid"),
    }
    # They look there for options that are empty.
    package = {f"npm_package_config_{name}": "" for name in options}
    return {**os.environ, **package, **{f"npm_config_{name}": value for name, value in options.items()}}


def nginx_conf(module: Path, profile: str) -> str:
    conf = (HERE / "nginx.conf.in").read_text()
    for word, text in (
        ("@LOAD_MODULE@", "" if profile == "proxy_cache" else f'load_module "{module}";'),
        ("@USER@", nginx_user()),
        ("@ORIGIN@", str(ORIGIN)),
        ("@MEMCACHED@", str(MEMCACHED)),
        ("@PROFILE@", str(HERE / f"{profile}.conf")),
    ):
        conf = conf.replace(word, text)
    return conf


def show(suite: Path, folder: Path, test: str) -> None:
    """Runs one test, with what the suite prints of it, and nginx's logs."""
    print(f"==== {folder.name}: {test}", flush=True)
    done = client(suite, folder, test, None)
    print(f"==== nginx's access.log\n{(folder / 'access.log').read_text()}")
    print(f"==== nginx's error.log\n{(folder / 'error.log').read_text()}", flush=True)
    if done:
        raise Failed(f"no results of {test}: is there a test of this id?")


def measure(suite: Path, results: Path, profile: str) -> None:
    """Runs all tests, and writes the result files of the profile."""
    print(f"{profile}: running the tests ...", end=" ", flush=True)
    raw, log = results / f"{profile}.json", results / profile / "client.log"
    with raw.open("wb") as output:
        status = client(suite, results / profile, "", output)
    if status:
        raise Failed(f"the suite's client failed: {tail(log)}")
    counted = subprocess.run(["node", HERE / "count.mjs", suite, raw], check=True, stdout=subprocess.PIPE)
    (results / f"{profile}.counts.json").write_bytes(counted.stdout)
    print("done", flush=True)


def client(suite: Path, folder: Path, test: str, output: Any) -> int:
    """Runs the suite's client until it ends; its exit status. Of all tests it prints only the results."""
    command = ["setpriv", "--pdeathsig", "TERM", "node", "--no-warnings", "test-engine/cli.mjs"]
    with (folder / "client.log").open("wb") if output else contextlib.nullcontext() as log:
        return subprocess.run(
            command,
            cwd=suite,
            env=suite_environment(folder, test),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=log,
            timeout=LIMIT_SECONDS,
        ).returncode


def print_counts(suite: Path, results: Path, profiles: list[str]) -> None:
    counts = {profile: json.loads((results / f"{profile}.counts.json").read_text()) for profile in profiles}
    for profile, count in counts.items():
        print_failures(profile, [test for test in count["failures"] if test["kind"] == "required"])
    print(f"\n{versions(suite)}\n")
    print("passed: the result of the test itself. strictly: so did all tests that it depends on.\n")
    print_row("", ["all", *KINDS], "")
    for profile, count in counts.items():
        kinds = [count["kinds"][kind] for kind in KINDS]
        for text, value in (("passed", lambda kind: kind["passed"]), ("strictly", strictly)):
            of = [(value(kind), kind["run"]) for kind in kinds]
            total = (sum(passed for passed, _ in of), sum(run for _, run in of))
            print_row(profile, [f"{passed} of {run}" for passed, run in (total, *of)], text)


def strictly(kind: dict[str, Any]) -> int:
    return sum(kind["outcomes"].get(outcome, 0) for outcome in ("pass", "yes"))


def print_row(name: str, cells: list[str], text: str) -> None:
    print(f"{name:<14}{text:<10}", *(f"{cell:>12}" for cell in cells))


def print_failures(profile: str, failures: list[dict[str, str]]) -> None:
    print(f"\n{profile}: {len(failures)} required tests do not pass")
    for test in failures:
        print(f"  {test['outcome']:<16}{test['id']}: {test['name']}")
        if test["message"]:
            print(f"{'':<18}{test['message']}")


def versions(suite: Path) -> str:
    """What was run, in one line."""
    commands = {
        "cache-tests": ["git", "-C", str(suite), "rev-parse", "--short", "HEAD"],
        "": ["nginx", "-v"],
        " ": ["memcached", "--version"],
        "node": ["node", "--version"],
    }
    parts = []
    for name, command in commands.items():
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        parts.append(f"{name} {done.stdout.strip().removeprefix('nginx version: ')}".strip())
    return ", ".join(parts)


if __name__ == "__main__":
    main()
