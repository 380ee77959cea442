"""Which pages are stored, as what, and for how long."""

import hashlib
import unittest

from django.test import override_settings
from django.utils.http import http_date

from pagecache import store
from pagecache.middleware import page_cache
from tests import site
from tests.cases import DECORATED_ALONE, PageCase


class Stored(PageCase):
    def test_bytes_with_the_flag_0(self):
        for url in ("/", "/safe-string/", "/template/", "/empty/", "/größe/", "/?page=2"):
            with self.subTest(url):
                self.assertStored(url)

    def test_a_long_key(self):
        response = self.client.get("/" + "a" * 300)
        digest = hashlib.sha256(b"/test-/" + b"a" * 300).hexdigest()
        self.assertEqual(self.memcached.get(digest), response.content)

    def test_vary_on_what_does_not_matter(self):
        self.assertStored("/header/Vary/Accept-Encoding")
        with override_settings(PAGECACHE_IGNORE_VARY=["Cookie"]):
            self.assertStored("/header/Vary/cookie,Accept-Encoding")
            self.assertStored("/look-at-session/")

    def test_for_how_long(self):
        for url, least, most in (
            ("/", 290, 300),
            ("/minute/", 50, 60),
            ("/header/Cache-Control/max-age=20", 10, 20),
            ("/header/Cache-Control/max-age=20,s-maxage=99", 89, 99),
            ("/header/Cache-Control/max-age=999", 290, 300),
            ("/header/Expires/" + http_date(4_000_000_000).replace(" ", "%20"), 290, 300),
        ):
            with self.subTest(url):
                self.client.get(url)
                left = self.seconds_left(url.replace("%20", " ").replace(" ", "%20"))
                self.assertIn(left, range(least, most + 1))

    def test_longer_than_memcached_counts_from_now(self):
        # Above 30 days, memcached takes a number of seconds for a date (protocol.txt, "Expiration times").
        with override_settings(PAGECACHE_TIMEOUT=90 * 24 * 3600):
            self.assertStored("/")
        self.assertGreater(self.seconds_left("/"), 89 * 24 * 3600)

    async def test_under_asgi(self):
        response = await self.async_client.get("/a?b=c")
        self.assertEqual(self.item("/a?b=c"), (0, response.content))


class NotStored(PageCase):
    def test_methods_and_bodies(self):
        for method in ("post", "put", "delete", "options", "head"):
            with self.subTest(method):
                self.assertNotStored("/", method)
        self.client.generic("GET", "/", b"a body")
        self.assertIsNone(self.item("/"))
        self.assertNotStored("/", headers={"Transfer-Encoding": "chunked"})

    def test_answers(self):
        for url in (
            "/status/404/",
            "/status/500/",
            "/status/203/",
            "/redirect/301/?to=/a/",
            "/stream/",
            "/never/",
            "/cookie/",
            "/csrf/",
            "/session/",
            "/look-at-session/",
            "/header/Vary/Cookie",
            "/header/Vary/*",
            "/header/Vary/Accept-Language",
            "/header/Cache-Control/private",
            "/header/Cache-Control/no-store,max-age=60",
            "/header/Cache-Control/no-cache",
            "/header/Cache-Control/max-age=0",
            "/header/Cache-Control/max-age=soon",
            "/header/Expires/0",
            "/header/Expires/" + http_date(1_000_000_000).replace(" ", "%20"),
            "/header/Content-Encoding/gzip",
            "/header/Content-Range/bytes%200-1%2F2",
            "/header/X-Accel-Redirect/secret",
            "/header/Content-Disposition/attachment",
            "/header/Content-Type/application/json",
        ):
            with self.subTest(url):
                self.client.get(url)
                self.assertEqual(self.memcached.stats()[b"cmd_set"], self.sets)

    def setUp(self):
        super().setUp()
        self.sets = self.memcached.stats()[b"cmd_set"]

    def test_visitors(self):
        self.assertNotStored("/", headers={"Authorization": "Basic eDp5"})
        self.assertNotStored("/", headers={"Cache-Control": "no-cache, No-Store"})
        self.client.get("/session/")
        self.assertNotStored("/")

    def test_a_page_that_would_have_the_key_of_another(self):
        self.client.get("/a%3Fb=c")
        self.assertIsNone(self.item("/a?b=c"))
        with override_settings(PAGECACHE_KEY="/test-$uri"):
            self.client.get("/a?b=c")
            self.assertIsNone(self.item("/a"))

    def test_the_log_says_why(self):
        with self.assertLogs("pagecache", "DEBUG") as log:
            self.client.get("/cookie/")
        self.assertEqual(log.output, ['DEBUG:pagecache:"/cookie/" is not stored: a cookie'])


class Decorated(PageCase):
    def test_with_the_middleware_a_view_says_for_how_long(self):
        self.assertStored("/minute/")
        self.assertLess(self.seconds_left("/minute/"), 61)

    def test_with_the_middleware_a_view_says_under_which_key(self):
        response = self.client.get("/other-key/", REQUEST_URI="/other-key/")
        self.assertIsNone(self.item("/other-key/"))
        self.assertEqual(self.item("/other-key/", "/other-"), (0, response.content))

    def test_a_wrong_key_is_an_error_at_start(self):
        with self.assertRaisesMessage(Exception, '"$nonsense" is not a variable'):
            page_cache(key="/$nonsense")


@DECORATED_ALONE
class DecoratedAlone(PageCase):
    def test_only_decorated_views_are_stored(self):
        self.assertNotStored("/")
        self.assertStored("/minute/")
        self.assertStored("/decorated-template/")
        self.assertStored("/decorated-async/")
        response = self.client.get("/other-key/", REQUEST_URI="/other-key/")
        self.assertEqual(self.item("/other-key/", "/other-"), (0, response.content))

    def test_what_the_middlewares_will_add_is_foreseen(self):
        self.assertNotStored("/decorated-csrf/")
        self.assertNotStored("/decorated-session/")


class Trouble(PageCase):
    def setUp(self):
        super().setUp()
        store._last_warning = float("-inf")

    def test_a_page_larger_than_memcached_takes(self):
        for backend in ("PyMemcacheCache", "PyLibMCCache"):
            store._last_warning = float("-inf")
            pages = site.cache_of(site.MEMCACHED, backend=backend)
            with override_settings(CACHES={"default": site.DUMMY, "pages": pages}):
                with self.assertLogs("pagecache", "WARNING") as log:
                    self.assertEqual(len(self.client.get("/large/").content), 2_000_000)
            self.assertIn('"/test-/large/" is not stored: ', log.output[0])
            self.assertIsNone(self.item("/large/"))

    def test_memcached_is_down(self):
        for backend in ("PyMemcacheCache", "PyLibMCCache"):
            store._last_warning = float("-inf")
            nobody_listens = site.cache_of("127.0.0.1:1", backend=backend)
            down = override_settings(CACHES={"default": site.DUMMY, "pages": nobody_listens})
            with down, self.assertLogs("pagecache", "WARNING") as log:
                for _ in range(3):
                    self.assertEqual(self.client.get("/").status_code, 200)
            self.assertEqual(len(log.output), 1)
            self.assertIn('"/test-/" is not stored: ', log.output[0])


if __name__ == "__main__":
    unittest.main()
