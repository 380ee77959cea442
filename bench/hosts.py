"""The servers of a run, each of which is started when it is first needed: an nginx for the contenders at the cells
of one kind of work, and the memcached and the application behind it."""

from __future__ import annotations

import os
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from pagecache_testkit import nginx_user

from bench import pages, servers, stampede
from bench.cells import Cell
from bench.conf import application_conf, nginx_conf
from bench.contenders import Contender
from bench.servers import Server, StandIn

DESCRIPTORS = 16384

# The processes that have a core of their own, if there are only two.
PINS = ("load", "nginx", "none")


@dataclass
class Options:
    nginx: str
    modules_folder: str
    module: str
    module_b: str
    openloop: str
    uwsgi: str
    repeats: int
    seconds: float
    open_seconds: float
    pin: str  # PINS
    syscalls: bool
    usual: bool  # each cell has its usual contenders


@dataclass
class Host:
    """A running nginx: the port of each contender, and the memcached behind it."""

    server: Server
    ports: dict[str, int]
    memcached: Server
    others: dict[str, Server]  # contenders that are servers of their own
    application: Server | None = None

    def pids(self, contender: str) -> list[int]:
        return self.others.get(contender, self.server).pids()


class Hosts:
    def __init__(
        self, options: Options, cells: list[Cell], contenders: list[Contender], root: Path, stack: ExitStack
    ) -> None:
        self.options = options
        self.cells = cells
        self.contenders = contenders
        self.root = root
        self.stack = stack
        self.cores = cores(options.pin)
        self.running: dict[tuple, Host] = {}
        self.stores: dict[tuple, tuple[Server, str]] = {}
        self.applications: dict[bool, tuple[Server, int]] = {}
        self.renderers: list[tuple[Server, int, int]] = []  # at most one

    def rejected(self, contender: Contender) -> str:
        folder = self.root / "trial" / contender.name
        folder.mkdir(parents=True)
        ports = servers.free_ports([contender.name, "origin"])
        conf = self.conf([contender], ports, self.values("127.0.0.1:1", 1, 1, 1), self.options.module, 1)
        (folder / "nginx.conf").write_text(conf)
        done = subprocess.run(
            [self.options.nginx, "-t", "-q", "-p", f"{folder}/", "-e", "error.log", "-c", "nginx.conf"],
            capture_output=True,
            text=True,
        )
        return done.stderr.strip().split("\n")[0] if done.returncode else ""

    def fleet(self, cell: Cell, contender: Contender) -> list[Host]:
        """One for each nginx of a fleet, which share a memcached."""
        return [self.one(cell, contender, nth) for nth in range(cell.fleet)]

    def one(self, cell: Cell, contender: Contender, nth: int = 0) -> Host:
        key = (contender.build, contender.apart, cell.workers, cell.unix, cell.work, nth)
        if key not in self.running:
            self.running[key] = self.start(*key)
        return self.running[key]

    def start(self, build: str, apart: bool, workers: int, unix: bool, work: str, nth: int) -> Host:
        """All contenders at the cells of one kind of work in one nginx, except those that need one of their own;
        build B in one that differs only by the module."""
        pinned = workers == 1
        store, address = self.store(unix, pinned, work in ("fill", "stampede"))
        there = [
            one for one in self.contenders if one.server and one.apart == apart and work in one.works
        ]
        module = self.options.module if build == "a" else self.options.module_b
        ports = servers.free_ports([*(one.name for one in there), "origin"])
        core = self.cores.get("nginx") if pinned else None
        if work == "stampede":
            application, port, uwsgi = self.renderer()
        else:
            # at plain cells the server of files is enough
            application, port = (None, ports["origin"]) if work == "plain" else self.application(pinned)
            uwsgi = self.uwsgi_stand_in()
        if work == "h2":
            servers.certificate(self.root)
        values = self.values(address, ports["origin"], uwsgi, port)
        conf = self.conf(there, ports, values, module, workers, work)
        name = f"nginx-{work}-{build}-{workers}" + "-apart" * apart + "-unix" * unix + f"-{nth}" * (nth > 0)
        nginx = servers.nginx(self.options.nginx, name, self.root, conf, [*ports.values()], core)
        self.stack.callback(nginx.stop)
        others = {}
        has_varnish = any(one.name == "varnish" and work in one.works for one in self.contenders)
        if has_varnish and not unix and build == "a":
            behind, parameters = ports["origin"], []
            if work == "stampede":
                behind, parameters = port, stampede.VARNISH_PARAMETERS
            varnish, port = servers.varnish(self.root, name, behind, core, parameters)
            self.stack.callback(varnish.stop)
            ports["varnish"], others["varnish"] = port, varnish
        return Host(nginx, ports, store, others, application)

    def application(self, pinned: bool) -> tuple[Server, int]:
        """It shares the core of memcached."""
        if pinned not in self.applications:
            name = f"application{'' if pinned else '-free'}"
            port = servers.free_ports([name])[name]
            conf = application_conf(port, str(self.root), nginx_user(), DESCRIPTORS)
            core = self.cores.get("memcached") if pinned else None
            server = servers.nginx(self.options.nginx, name, self.root, conf, [port], core)
            self.stack.callback(server.stop)
            self.applications[pinned] = server, port
        return self.applications[pinned]

    def renderer(self) -> tuple[Server, int, int]:
        if not self.renderers:
            self.renderers.append(servers.renderer(self.root, self.options.uwsgi))
            self.stack.callback(self.renderers[0][0].stop)
        return self.renderers[0]

    def uwsgi_stand_in(self) -> int:
        stand_in = StandIn(pages.uwsgi_answer)
        self.stack.callback(stand_in.close)
        return stand_in.port

    def store(self, unix: bool, pinned: bool, is_filled: bool = False) -> tuple[Server, str]:
        """The memcached of each kind, with the pages. `is_filled`: an empty one, because all that nginx stores
        there would displace the pages."""
        if (unix, pinned, is_filled) not in self.stores:
            name = "memcached" + "-unix" * unix + "-free" * (not pinned) + "-filled" * is_filled
            path = self.root / f"{name}.sock" if unix else None
            core = self.cores.get("memcached") if pinned else None
            server, address = servers.memcached(self.root, name, core, path)
            self.stack.callback(server.stop)
            host, _, port = address.partition(":")
            there = [cell for cell in self.cells if cell.unix == unix and cell.hit and cell.work != "fill"]
            if not is_filled:
                pages.fill(str(path) if unix else (host, int(port)), there)
            self.stores[unix, pinned, is_filled] = server, address
        return self.stores[unix, pinned, is_filled]

    def values(self, memcached: str, origin: int, uwsgi: int, application: int) -> dict[str, str]:
        host, _, port = memcached.partition(":")
        lua = f'"{memcached}"' if host == "unix" else f'"{host}", {port}'
        return {
            "memcached": memcached,
            "lua_address": lua,
            "root": str(self.root),
            "origin": str(origin),
            "uwsgi": str(uwsgi),
            "application": str(application),
        }

    def conf(
        self, there: list[Contender], ports: dict[str, int], values: dict[str, str], module: str,
        workers: int, work: str = "plain",
    ) -> str:
        return nginx_conf(
            there,
            ports,
            values,
            module=module,
            modules_folder=self.options.modules_folder,
            workers=workers,
            user=nginx_user(),
            descriptors=DESCRIPTORS,
            work=work,
        )


def cores(pin: str) -> dict[str, int]:
    """The core of each process. With three cores each has one; with two, two of them share one."""
    usable = sorted(os.sched_getaffinity(0))
    if pin == "none" or len(usable) < 2:
        return {}
    if len(usable) > 2:
        return {"nginx": usable[0], "memcached": usable[1], "load": usable[2]}
    shared = usable[0] if pin == "load" else usable[1]
    return {"nginx": usable[0], "memcached": shared, "load": usable[1]}
