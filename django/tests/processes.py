"""The real servers of the tests: memcached, and nginx with the module. They end with the tests."""

from __future__ import annotations

import atexit
import http.client
import os
import shutil
import tempfile
from pathlib import Path

from pagecache_testkit import Process, free_ports, listening, memcached, nginx_user

ROOT = Path(__file__).resolve().parents[2]

NEVER_LOGGED = ("[alert]", "[emerg]", "panicked")


class Server:
    """A process that listens on a port of 127.0.0.1."""

    def __init__(self, command: list[str], port: int, environment: dict[str, str] | None = None) -> None:
        self.address = f"127.0.0.1:{port}"
        self._command, self._port, self._environment = command, port, environment
        self.start()
        atexit.register(self.stop)

    def start(self) -> None:
        """Also once more, at the same address, after it was stopped."""
        self._process = Process(self._command[0], self._command, environment=self._environment)
        self._process.wait_until(lambda: listening(self._port))

    def stop(self) -> None:
        self._process.stop()


class Memcached(Server):
    def __init__(self) -> None:
        port = free_port()
        super().__init__(memcached(port, megabytes=64), port)


class Nginx(Server):
    """nginx with a `location /` of these lines. `around` stands outside the server, `fallback` in the location
    that asks the application where there is no page, with `host` as its Host, or answers 404 without one."""

    def __init__(
        self, location: str, around: str = "", fallback: str = "", application: str = "", host: str = "$host"
    ) -> None:
        port = free_port()
        self._prefix = tempfile.TemporaryDirectory(prefix="pagecache-nginx-")
        folder = Path(self._prefix.name)
        (folder / "temp").mkdir()
        to_application = f"proxy_set_header Host {host}; proxy_pass http://{application};"
        ends = to_application if application else 'return 404 "of no cache";'
        written = _configuration(folder, port, location, around, fallback + ends)
        (folder / "nginx.conf").write_text(written, encoding="utf-8")
        self._log = folder / "error.log"
        super().__init__([_nginx(), "-p", str(folder), "-e", str(self._log), "-c", str(folder / "nginx.conf")], port)
        self.url = f"http://{self.address}"

    def get(self, target: str, headers: dict[str, str] | None = None) -> http.client.HTTPResponse:
        """An answer, with its `body` read."""
        connection = http.client.HTTPConnection(self.address, timeout=10)
        try:
            connection.request("GET", target, headers=headers or {})
            response = connection.getresponse()
            response.body = response.read()  # type: ignore[attr-defined]
            return response
        finally:
            connection.close()

    def stop(self) -> None:
        super().stop()
        log = self._log.read_text(errors="replace") if self._log.exists() else ""
        self._prefix.cleanup()
        assert not any(word in log for word in NEVER_LOGGED), log


def free_port() -> int:
    return free_ports(1)[0]


def _configuration(folder: Path, port: int, location: str, around: str, fallback: str) -> str:
    paths = "".join(
        f"{kind}_temp_path {folder}/temp/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""
        load_module {_module()};
        daemon off;
        {nginx_user()}
        pid {folder}/nginx.pid;
        error_log {folder}/error.log info;
        events {{ }}
        http {{
            access_log off;
            {paths}
            types {{ }}
            default_type "text/html; charset=utf-8";
            pagecache_connect_timeout 5s;
            pagecache_timeout 5s;
            {around}
            server {{
                listen 127.0.0.1:{port};
                location / {{
                    {location}
                    pagecache_fallback @none;
                }}
                location @none {{
                    {fallback}
                }}
            }}
        }}
    """


def _nginx() -> str:
    """The nginx under test, as the end-to-end tests find it."""
    path = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin"
    return os.environ.get("PAGECACHE_NGINX") or shutil.which("nginx", path=path) or "nginx"


def _module() -> Path:
    module = Path(os.environ.get("PAGECACHE_MODULE") or ROOT / "target/ngx_http_pagecache_module.so")
    if not module.exists():
        raise FileNotFoundError(f"{module} is missing: run scripts/build")
    return module
