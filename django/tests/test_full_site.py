"""The package in a site with OpenTelemetry, Prometheus, WhiteNoise, CORS, languages and tests of its own
(tests/fullsite): nothing of that is in its way, it says what it will not store, and the tests leave its pages alone."""

import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from tests.cases import memcached_at
from tests.processes import Memcached, Nginx, Server, free_port

SITE = Path(__file__).with_name("fullsite")

SECONDS = 120

KEY = 'pagecache_key "$scheme://$host$uri$pagecache_args";'
BYPASS = "pagecache_bypass $cookie_sessionid $cookie_messages $http_origin;"
SAYING = "add_header X-Cache $pagecache_status always;"


class FullSite(unittest.TestCase):
    def setUp(self):
        self.server = Memcached()
        self.addCleanup(self.server.stop)
        self.memcached = memcached_at(self.server.address)
        self.addCleanup(self.memcached.close)
        folder = tempfile.TemporaryDirectory(prefix="pagecache-site-")
        self.addCleanup(folder.cleanup)
        here = [str(SITE), str(SITE.parents[1]), os.environ.get("PYTHONPATH", "")]
        self.environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(here),
            "PYTHONDONTWRITEBYTECODE": "1",
            "SITE_MEMCACHED": self.server.address,
            "SITE_DATABASE": str(Path(folder.name) / "site.sqlite3"),
            "DJANGO_SETTINGS_MODULE": "settings",
        }

    def run_python(self, *arguments, **environment):
        """Exit status, and all that it prints."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=SITE,
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
        )
        return done.returncode, done.stdout

    def serve(self, **environment):
        port = free_port()
        command = [sys.executable, str(SITE / "manage.py"), "serve", str(port)]
        site = Server(command, port, {**self.environment, **environment})
        self.addCleanup(site.stop)
        return site.address

    def test_it_says_what_is_not_stored_and_why(self):
        self.assertEqual(self.run_python("manage.py", "migrate")[0], 0)
        status, said = self.run_python("manage.py", "check")
        self.assertEqual(status, 0, said)
        self.assertIn("(pagecache.W012) No page of the default language is stored", said)
        self.assertIn('(pagecache.W013) No page is stored: "corsheaders', said)
        self.assertEqual(said.count("pagecache.W"), 2, said)
        status, said = self.run_python("manage.py", "check", SITE_IGNORE_VARY="Origin")
        self.assertEqual((status, said.count("pagecache.W")), (0, 1), said)

    def test_wrong_settings_do_not_stop_it(self):
        status, said = self.run_python("manage.py", "migrate", SITE_KEY="$nonsense")
        self.assertEqual(status, 0, said)
        self.assertIn("(pagecache.W003)", said)
        status, said = self.run_python("manage.py", "check", "--deploy", "--tag", "caches", SITE_KEY="$nonsense")
        self.assertEqual(status, 1, said)
        self.assertIn("(pagecache.E002) No page is stored: see pagecache.W003", said)

    def test_behind_nginx(self):
        site = self.serve(SITE_IGNORE_VARY="Origin")
        nginx = Nginx(f"{KEY} {BYPASS} pagecache_pass {self.server.address}; {SAYING}", fallback=SAYING, application=site)
        self.addCleanup(nginx.stop)
        for status in ("MISS", "HIT"):
            answer = nginx.get("/de/page/", {"Accept-Language": "en"})
            self.assertEqual((answer.headers["X-Cache"], answer.body), (status, b"in de"))
            self.assertEqual(answer.headers["X-Content-Type-Options"], "nosniff")
        for _ in range(2):
            of_other = nginx.get("/de/page/", {"Origin": "https://other.test"})
            self.assertEqual(of_other.headers["Access-Control-Allow-Origin"], "https://other.test")
            for target in ("/page/", "/static/site.css"):
                self.assertEqual(nginx.get(target).headers["X-Cache"], "MISS")
        self.assertEqual(nginx.get("/static/site.css").body, (SITE / "static/site.css").read_bytes())
        self.assertEqual(self.memcached.stats()[b"curr_items"], 1)

        url = f"{nginx.url}/de/"
        status, said = self.run_python("manage.py", "pagecache", "check", url, SITE_IGNORE_VARY="Origin")
        self.assertEqual(status, 0, said)
        for word in ("server", "middleware", "cookie", "headers"):
            self.assertIn(f"ok     {word}: ", said)
        # The default language has no URLs of its own.
        status, said = self.run_python("manage.py", "pagecache", "check", nginx.url, SITE_IGNORE_VARY="Origin")
        self.assertEqual(status, 1, said)
        self.assertIn("WRONG  middleware: Django has made a page, and not stored it: its Vary", said)

    def test_its_tests_leave_pages_alone(self):
        of_tests = Memcached()
        self.addCleanup(of_tests.stop)
        other = memcached_at(of_tests.address)
        self.addCleanup(other.close)
        environment = {"SITE_IGNORE_VARY": "Origin", "SITE_MEMCACHED_OF_TESTS": of_tests.address}
        self.memcached.set("http://127.0.0.1/kept/", b"a page")
        before = self.memcached.stats()
        for command, words in (
            (["manage.py", "test"], "Ran 2 tests"),
            (["-m", "pytest", "-p", "no:cacheprovider", "test_pages.py"], "2 passed"),
        ):
            with self.subTest(command):
                other.flush_all()
                status, said = self.run_python(*command, **environment)
                self.assertEqual(status, 0, said)
                self.assertIn(words, said)
                self.assertIsNotNone(other.get("http://127.0.0.1/de/page/"))
                now = self.memcached.stats()
                for name in (b"cmd_set", b"curr_items", b"delete_hits", b"delete_misses"):
                    self.assertEqual(now[name], before[name], name)


if __name__ == "__main__":
    unittest.main()
