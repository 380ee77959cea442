"""What is stored in each format and by each client, as nginx serves it: status, headers, body."""

import gzip
import http.client
import unittest
from unittest.mock import patch

from django.core.cache import caches
from django.http import HttpResponse
from django.test import override_settings

from pagecache import item
from tests import site
from tests.cases import PageCase, item_of, memcached_at
from tests.processes import Memcached, Nginx

FORMATS = """
    pagecache_pass {memcached};
    pagecache_key "/test-$uri$is_args$args";
"""

HEADS = {"PAGECACHE_FORMAT": "http", "PAGECACHE_STATUSES": [200, 301, 308, 404]}

BACKENDS = ("PyMemcacheCache", "PyLibMCCache")


class Served(PageCase):
    """Stored by Django, then asked of nginx."""

    def served_by(self, *lines):
        nginx = Nginx(FORMATS.format(memcached=site.MEMCACHED) + "\n".join(lines))
        self.addCleanup(nginx.stop)
        return nginx

    def get(self, nginx, target, **headers):
        connection = http.client.HTTPConnection(nginx.address, timeout=10)
        self.addCleanup(connection.close)
        connection.request("GET", target, headers=headers)
        response = connection.getresponse()
        return response.status, response.headers, response.read()

    @override_settings(PAGECACHE_FORMAT="body")
    def test_a_bare_body(self):
        nginx = self.served_by()
        for url in ("/safe-string/", "/gr%C3%B6%C3%9Fe/?a=%20b"):
            stored = self.client.get(url)
            status, headers, body = self.get(nginx, url)
            self.assertEqual((status, body), (200, stored.content))
            self.assertEqual(headers["Content-Type"], stored["Content-Type"])
        self.assertEqual(self.get(nginx, "/nothing/")[0], 404)

    @override_settings(**HEADS)
    def test_status_and_headers(self):
        nginx = self.served_by("pagecache_format http;")
        for url, status, name, value in (
            ("/header/Content-Type/application/json", 200, "Content-Type", "application/json"),
            ("/header/Content-Disposition/attachment", 200, "Content-Disposition", "attachment"),
            ("/header/Content-Security-Policy/default-src%20x", 200, "Content-Security-Policy", "default-src x"),
            ("/header/Cache-Control/max-age=20", 200, "Cache-Control", "max-age=20"),
            ("/header/ETag/%22a%22", 200, "ETag", '"a"'),
            ("/status/404/", 404, "Content-Type", "text/html; charset=utf-8"),
            ("/redirect/301/?to=/a/", 301, "Location", "/a/"),
        ):
            with self.subTest(url):
                stored = self.client.get(url)
                self.assertEqual(stored.status_code, status)
                got, headers, body = self.get(nginx, url)
                self.assertEqual((got, headers[name], body), (status, value, stored.content))
                self.assertEqual(headers["Content-Length"], str(len(body)))
                self.assertEqual(headers.get_all("Date"), [headers["Date"]])

    def test_a_404_that_shows_the_site_s_urls(self):
        for form in ("head", "http"):
            with self.subTest(form), override_settings(PAGECACHE_FORMAT=form, PAGECACHE_STATUSES=[200, 404]):
                with override_settings(DEBUG=True):
                    page = self.client.get("/missing/")
                    self.assertIn(b"DEBUG = True", page.content)
                    self.assertIsNone(self.item("/missing/"))
                    self.assertStored("/")
                self.assertStored("/missing/")
                self.memcached.flush_all()

    @override_settings(**HEADS)
    def test_what_no_format_makes_storable(self):
        for url in (
            "/status/500/",
            "/status/203/",
            "/redirect/301/?to=http://a.test/",
            "/redirect/308/?to=//a.test/",
            "/header/Content-Encoding/br",
            "/header/Set-Cookie/a=b",
            "/header/X-Accel-Redirect/secret",
            "/cookie/",
            "/header/Vary/Cookie",
        ):
            self.assertNotStored(url)

    def test_compressed_bodies(self):
        nginx = self.served_by("pagecache_gzip_flag 2;")
        for backend in BACKENDS:
            pages = {"default": site.DUMMY, "pages": site.cache_of(site.MEMCACHED, backend=backend)}
            flagged = {"PAGECACHE_FORMAT": "body", "PAGECACHE_GZIP_FLAG": 2}
            with self.subTest(backend), override_settings(CACHES=pages, **flagged):
                self.memcached.flush_all()
                self.is_compressed(nginx, flags=2)
                # No larger than it was, and the client writes others as ever.
                small = self.client.get("/a")
                self.assertEqual(self.item("/a"), (0, small.content))

    @override_settings(PAGECACHE_GZIP=True, **HEADS)
    def test_compressed_pages_with_heads(self):
        nginx = self.served_by("pagecache_format http;")
        for backend in BACKENDS:
            pages = {"default": site.DUMMY, "pages": site.cache_of(site.MEMCACHED, backend=backend)}
            with self.subTest(backend), override_settings(CACHES=pages):
                self.memcached.flush_all()
                self.is_compressed(nginx, flags=0)

    def is_compressed(self, nginx, flags):
        page = self.client.get("/lines/").content
        stored, value = self.item("/lines/")
        self.assertEqual(stored, flags)
        self.assertLess(len(value), len(page) // 2)
        _, headers, body = self.get(nginx, "/lines/", **{"Accept-Encoding": "gzip"})
        self.assertEqual((headers["Content-Encoding"], headers["Vary"]), ("gzip", "Accept-Encoding"))
        self.assertEqual(gzip.decompress(body), page)
        _, headers, body = self.get(nginx, "/lines/")
        self.assertEqual((headers["Content-Encoding"], body), (None, page))

    @override_settings(PAGECACHE_GZIP=True, **HEADS)
    def test_a_strong_etag_names_one_body(self):
        page = HttpResponse("a line of the page\n" * 500, headers={"etag": '"a"', "Connection": "close"})
        head = item.item_of(page, 60).value.partition(b"\r\n\r\n")[0].decode()
        self.assertIn('\r\netag: W/"a"\r\n', head)
        self.assertNotIn("Connection", head)


HEAD = {"PAGECACHE_FORMAT": "head"}


class Heads(PageCase):
    """Pages with flags and a header of this project's own."""

    def head_of(self, url):
        flags, value = self.item(url)
        head, _, body = value.partition(b"\r\n\r\n")
        return flags, head.decode("latin-1").split("\r\n"), body

    def member(self, url, name):
        last = self.head_of(url)[1][-1]
        return int(dict(member.split("=") for member in last.removeprefix("X-Pagecache: ").split("; "))[name])

    def test_status_headers_and_what_nginx_needs(self):
        for backend in BACKENDS:
            pages = {"default": site.DUMMY, "pages": site.cache_of(site.MEMCACHED, backend=backend)}
            with self.subTest(backend), override_settings(CACHES=pages, PAGECACHE_STATUSES=[200, 404], **HEAD):
                self.memcached.flush_all()
                page = self.client.get("/headers/X-Frame-Options/DENY/X-Accel-Buffering/no")
                flags, lines, body = self.head_of("/headers/X-Frame-Options/DENY/X-Accel-Buffering/no")
                self.assertEqual(flags >> 24, 0x5C)
                self.assertEqual(lines[0], "HTTP/1.1 200 OK")
                names = sorted(line.partition(":")[0] for line in lines[1:-1])
                self.assertEqual(names, ["Content-Type", "Date", "X-Frame-Options"])
                self.assertEqual(lines[-1], "X-Pagecache: v=1; life=300; window=0; ttl=300; age=0")
                self.assertEqual(body, page.content)
                self.client.get("/status/404/")
                self.assertEqual(self.head_of("/status/404/")[1][0], "HTTP/1.1 404 Not Found")

    @override_settings(**HEAD)
    def test_each_store_is_a_version(self):
        versions = set()
        for _ in range(20):
            self.client.get("/")
            versions.add(self.item("/")[0])
        self.assertGreater(len(versions), 10)

    def test_flags_that_another_client_may_cut_to_16_bits(self):
        taken = iter([0x120000, 0x340010, 0x560001])
        with patch("secrets.randbits", lambda bits: next(taken)):
            self.assertEqual(item.new_flags(), 0x5C560001)

    @override_settings(**HEAD)
    def test_how_long_and_how_old(self):
        url = "/headers/Cache-Control/max-age=100/Age/40"
        self.client.get(url)
        self.assertEqual([self.member(url, name) for name in ("life", "ttl", "age")], [60, 60, 40])
        self.assertIn(self.seconds_left(url), range(55, 61))
        with override_settings(PAGECACHE_TIMEOUT=90 * 24 * 3600):
            self.client.get("/")
        self.assertEqual(self.member("/", "ttl"), 30 * 24 * 3600)
        self.assertIn(self.seconds_left("/"), range(30 * 24 * 3600 - 5, 30 * 24 * 3600 + 1))

    @override_settings(**HEAD)
    def test_a_header_of_the_application_s_that_speaks_for_nginx(self):
        self.client.get("/headers/X-Pagecache/v=9/Connection/X-Frame-Options")
        _, lines, _ = self.head_of("/headers/X-Pagecache/v=9/Connection/X-Frame-Options")
        self.assertEqual([line for line in lines if "agecache" in line], [lines[-1]])
        page = HttpResponse(headers={"X-A": "1", "X-B": "2", "Connection": "close, x-a"})
        head = item.item_of(page, 60).value.decode()
        self.assertNotIn("X-A", head)
        self.assertIn("\r\nX-B: 2\r\n", head)

    @override_settings(PAGECACHE_GZIP=True, **HEAD)
    def test_compressed(self):
        self.client.get("/lines/")
        _, lines, body = self.head_of("/lines/")
        self.assertIn("Content-Encoding: gzip", lines)
        self.assertIn("Vary: Accept-Encoding", lines)
        self.assertEqual(gzip.decompress(body), b"a line of the page\n" * 500)
        self.client.get("/")
        self.assertFalse([line for line in self.head_of("/")[1] if line.startswith(("Content-Encoding", "Vary"))])

    @override_settings(**HEAD)
    def test_a_head_that_nginx_would_not_read(self):
        page = HttpResponse("a page", headers={f"X-{number}": "" for number in range(97)})
        self.assertIn(b"\r\nX-96: ", item.item_of(page, 60).value)
        page["X-97"] = ""
        self.assertRaises(item.NoItem, item.item_of, page, 60)
        self.assertRaises(item.NoItem, item.item_of, HttpResponse(headers={"X-A": "a" * 65536}), 60)
        with self.behind("tests.site.a_long_header"), self.assertLogs("pagecache", "DEBUG") as log:
            self.assertNotStored("/")
        self.assertIn("is not stored: 4 headers of 65", log.output[0][-80:])

    @override_settings(**HEAD)
    def test_an_empty_page_has_a_head(self):
        self.client.get("/empty/")
        self.assertEqual(self.head_of("/empty/")[2], b"")


class Placed(PageCase):
    """Each page lies where the client library puts it, on one of several servers."""

    PAGES = 40

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.servers = [Memcached() for _ in range(3)]

    @classmethod
    def tearDownClass(cls):
        for server in cls.servers:
            server.stop()
        super().tearDownClass()

    def setUp(self):
        super().setUp()
        self.links = [memcached_at(address) for address in self.addresses()]
        for link in self.links:
            self.addCleanup(link.close)

    def test_as_the_client_places_it(self):
        ketama = {"ketama": True}
        for backend, options in (
            ("PyMemcacheCache", {}),
            ("PyLibMCCache", {}),
            ("PyLibMCCache", {"binary": True}),
            ("PyLibMCCache", {"behaviors": ketama}),
            ("PyLibMCCache", {"binary": True, "behaviors": {**ketama, "tcp_nodelay": True}}),
        ):
            for form, flag in (("body", None), ("body", 2), ("head", None)):
                pages = site.cache_of(*self.addresses(), backend=backend, **options)
                changed = {"PAGECACHE_FORMAT": form, "PAGECACHE_GZIP_FLAG": flag}
                with (
                    self.subTest(backend=backend, **options, **changed),
                    override_settings(CACHES={"default": site.DUMMY, "pages": pages}, **changed),
                ):
                    self.is_placed(0x5C if form == "head" else flag or 0)

    def is_placed(self, marks):
        used = set()
        for number in range(self.PAGES):
            url = f"/lines/?größe={number}"
            self.client.get(url)
            found = [(link, stored[0]) for link in self.links for stored in [item_of(link, "/test-" + url)] if stored]
            # Of a page with a head, the rest of the flags is random.
            self.assertEqual([flags >> 24 or flags for _, flags in found], [marks])
            used.add(found[0][0])
            # The library looks for it there, too.
            self.assertTrue(caches["pages"].delete("/test-" + url))
        self.assertEqual(used, set(self.links))

    def addresses(self):
        return [server.address for server in self.servers]


if __name__ == "__main__":
    unittest.main()
