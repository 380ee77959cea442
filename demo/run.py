"""Runs the demo site: two memcached, Django under uWSGI, and nginx with the module, all of which end with it.

    run.py MODULE FOLDER [--check] [--port N]

scripts/demo calls it when everything that it needs is installed. FOLDER is emptied first, and then has the
site's files and logs.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

DEMO = Path(__file__).resolve().parent

sys.path.append(str(DEMO.parent / "testkit" / "python"))

import check  # noqa: E402
from pagecache_testkit import (  # noqa: E402
    NotReady,
    Process,
    free_ports,
    listening,
    memcached,
    nginx_user,
    tail,
)

MEGABYTES = 64


def main() -> None:
    arguments = parsed()
    on_signal(lambda caught: sys.exit(128 + caught))
    folder = arguments.folder.resolve()
    with alone(folder), contextlib.ExitStack() as stack:
        enter_empty(folder)
        site = Site(folder, arguments.module, arguments.port, stack)
        try:
            site.start()
        except NotReady as error:
            die(f"{error}\nsee {folder}/logs")
        stack.callback(on_signal, None)
        if arguments.check:
            sys.exit(check.visit(site.url, site.stop_application))
        site.stay()


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("module", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--port", type=int)
    return parser.parse_args()


class Site:
    def __init__(self, folder: Path, module: Path, port: int | None, stack: contextlib.ExitStack) -> None:
        first, second, free = free_ports(3)
        self.memcached = [first, second]
        self.port = port or free
        self.url = f"http://127.0.0.1:{self.port}"
        self.folder, self.module, self.stack = folder, module, stack
        self.started: list[Process] = []
        self.environment = {
            **os.environ,
            "DEMO_DIR": str(folder),
            "DEMO_SITE": str(DEMO / "site"),
            "DEMO_MEMCACHED": " ".join(self.addresses()),
            "DEMO_ORIGINS": f"{self.url} http://localhost:{self.port}",
            "DEMO_SECRET_KEY": secrets.token_hex(24),
        }

    def addresses(self) -> list[str]:
        return [f"127.0.0.1:{port}" for port in self.memcached]

    def start(self) -> None:
        for port in self.memcached:
            self.run(f"memcached-{port}", memcached(port, MEGABYTES)).wait_until(lambda: listening(port))
        self.fill_database()
        uwsgi = Path(sys.executable).with_name("uwsgi")
        self.application = self.run("uwsgi", [str(uwsgi), "--ini", str(DEMO / "uwsgi.ini")])
        self.application.wait_until(Path("uwsgi.ready").exists)
        Path("nginx.conf").write_text(self.nginx_conf())
        nginx = self.run("nginx", ["nginx", "-p", str(self.folder), "-e", "logs/error.log", "-c", "nginx.conf"])
        # Another server, which was started before, might answer on its port.
        pid = Path("logs/nginx.pid")
        nginx.wait_until(lambda: pid.exists() and pid.stat().st_size > 0)

    def run(self, name: str, command: list[str]) -> Process:
        process = Process(name, command, Path("logs", f"{name}.log"), self.environment)
        self.stack.callback(process.stop)
        self.started.append(process)
        return process

    def stop_application(self) -> None:
        self.application.stop()

    def fill_database(self) -> None:
        begin, log = time.monotonic(), Path("logs/database.log")
        print("filling the site's database ...", end=" ", flush=True)
        environment = {**self.environment, "DJANGO_SUPERUSER_PASSWORD": "demo"}
        superuser = ["createsuperuser", "--noinput", "--username", "demo", "--email", "demo@localhost"]
        with log.open("wb") as output:
            for command in (["migrate"], ["loaddata", "articles"], superuser):
                manage = [sys.executable, str(DEMO / "site" / "manage.py"), *command]
                done = subprocess.run(
                    manage, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
                )
                if done.returncode:
                    print("failed")
                    die(f"{tail(log)}\nthe whole log: {self.folder / log}")
        print(f"{time.monotonic() - begin:.0f} s done", flush=True)

    def nginx_conf(self) -> str:
        conf = (DEMO / "nginx.conf.in").read_text()
        first, second = self.addresses()
        for word, text in (
            ("@MODULE@", str(self.module)),
            ("@USER@", nginx_user()),
            ("@PORT@", str(self.port)),
            ("@MEMCACHED_1@", first),
            ("@MEMCACHED_2@", second),
        ):
            conf = conf.replace(word, text)
        return conf

    def stay(self) -> None:
        on_signal(leave)
        print(
            f"""
  Open     {self.url}
  Compare  {self.url}/by-nginx/ (Django stores the other pages, nginx stores these)
  Watch    {self.url}/pagecache-stats
  Log in   demo, password demo
  Logs     {self.folder}/logs (access.log says who answered)
  Cache    memcached on {" and ".join(self.addresses())}

Ctrl-C stops it all.""",
            flush=True,
        )
        while all(process.is_running() for process in self.started):
            time.sleep(0.2)
        die(f"a program has ended by itself: see {self.folder}/logs")


def on_signal(act: Callable[[int], None] | None) -> None:
    """Handles SIGINT and SIGTERM. Only the first signal is handled: the started programs are then ended in
    order. `None`: does nothing."""

    def handle(caught: int, _: object) -> None:
        on_signal(None)
        act(caught)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handle if act else signal.SIG_IGN)


def leave(_: int) -> None:
    print()
    sys.exit()


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """While this is active, no other demo uses the folder."""
    with folder.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            die("a demo is running already")
        yield


def enter_empty(folder: Path) -> None:
    """A site without comments, and with empty logs. Sockets and logs are named relative to the folder: an
    absolute path may be too long for a socket."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "logs").mkdir(parents=True)
    (folder / "tmp").mkdir()
    os.chdir(folder)


def die(text: str) -> None:
    sys.exit(f"demo: {text}")


if __name__ == "__main__":
    main()
